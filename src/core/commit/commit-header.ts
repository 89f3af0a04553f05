import type { CommitId, TreeId } from '../model/commit-id.ts';
import { refusal, type SignatureRefusal } from './signature-code.ts';
import { latin1 } from './wire-reader.ts';

/** Digest by which a repository names its objects. */
export type ObjectFormat = 'sha1' | 'sha256';

/** Author or committer, as the commit claims (T8: decides nothing). */
export interface CommitPerson {
  /** The header's value, as written. */
  readonly line: string;
  /** Seconds since 1970-01-01 UTC, by the clock of whoever made the commit. */
  readonly seconds: number;
}

/** The header block of a commit, read once. */
export interface CommitHeaders {
  readonly tree: TreeId;
  readonly parents: readonly CommitId[];
  readonly author: CommitPerson | null;
  readonly committer: CommitPerson | null;
  /** Whether any header looks like a signature, well-formed or not. */
  readonly claimsSignature: boolean;
  /** The one signature header: bytes [start, end) of the raw commit, and its unfolded text with a final newline. */
  readonly signature: { readonly start: number; readonly end: number; readonly value: string } | null;
  /** Why a signature in this commit is void (T2), or null. */
  readonly defect: SignatureRefusal | null;
}

/** One header with its continuation lines. Offsets count characters of the latin1 text, which are bytes of the commit. */
interface Header {
  readonly name: string;
  readonly value: string;
  readonly start: number;
  readonly end: number;
  readonly folded: boolean;
}

/** T2's order. Each may occur once, `parent` any number of times. */
const ORDER: readonly string[] = ['tree', 'parent', 'author', 'committer', 'encoding', 'signature'];
const REQUIRED: readonly string[] = ['tree', 'author', 'committer'];
const PERSON = /^(?:[^<>\0]* )?<[^<>\0]*> (0|[1-9][0-9]{0,11}) [+-][0-9]{4}$/;

/** Splits and checks the header block; null when there is no readable tree or a parent is malformed. */
export function parseHeaders(raw: Uint8Array, objectFormat: ObjectFormat): CommitHeaders | null {
  const bytes = Buffer.from(raw.buffer, raw.byteOffset, raw.byteLength);
  const blank = bytes.indexOf('\n\n', 0, 'latin1');
  const text = latin1(blank === -1 ? raw : raw.subarray(0, blank + 1));
  const headers = splitHeaders(text);
  const ids = readIds(headers, objectFormat === 'sha1' ? 40 : 64);
  if (ids === null) return null;
  const signatureName = objectFormat === 'sha1' ? 'gpgsig' : 'gpgsig-sha256';
  const named = (name: string): Header | undefined => headers.find((header) => header.name === name);
  const signature = named(signatureName);
  return {
    ...ids,
    author: readPerson(named('author')),
    committer: readPerson(named('committer')),
    claimsSignature: headers.some((header) => header.name.startsWith('gpgsig')),
    signature: signature === undefined ? null : { start: signature.start, end: signature.end, value: `${signature.value}\n` },
    defect: blank === -1 ? refusal('HeaderMalformed', 'no blank line ends the headers') : findDefect(headers, signatureName),
  };
}

function splitHeaders(text: string): readonly Header[] {
  const headers: Header[] = [];
  let start = 0;
  while (start < text.length) {
    let end = lineEnd(text, start);
    const lines = [text.slice(start, end - 1)];
    while (text[end] === ' ') {
      const next = lineEnd(text, end);
      lines.push(text.slice(end + 1, next - 1));
      end = next;
    }
    const [first = ''] = lines;
    const space = first.indexOf(' ');
    const name = space === -1 ? first : first.slice(0, space);
    const value = [space === -1 ? '' : first.slice(space + 1), ...lines.slice(1)].join('\n');
    headers.push({ name, value, start, end, folded: lines.length > 1 });
    start = end;
  }
  return headers;
}

/** Offset behind the newline that ends the line at `start`, as if the text ended with one. */
function lineEnd(text: string, start: number): number {
  const newline = text.indexOf('\n', start);
  return newline === -1 ? text.length + 1 : newline + 1;
}

/** Tree and parents where Git reads them: the first line, and the lines that follow. */
function readIds(headers: readonly Header[], hexLength: number): { tree: TreeId; parents: CommitId[] } | null {
  const isId = (value: string): boolean => value.length === hexLength && /^[0-9a-f]*$/.test(value);
  const [first, ...rest] = headers;
  if (first?.name !== 'tree' || !isId(first.value)) return null;
  const stop = rest.findIndex((header) => header.name !== 'parent');
  const parents = (stop === -1 ? rest : rest.slice(0, stop)).map((header) => header.value);
  return parents.every(isId) ? { tree: first.value as TreeId, parents: parents as CommitId[] } : null;
}

function readPerson(header: Header | undefined): CommitPerson | null {
  const match = header === undefined ? null : PERSON.exec(header.value);
  if (header === undefined || match === null) return null;
  return { line: Buffer.from(header.value, 'latin1').toString('utf8'), seconds: Number(match[1]) };
}

/** T2: the first thing about the headers that makes a signature void, or null. */
function findDefect(headers: readonly Header[], signatureName: string): SignatureRefusal | null {
  let reached = 0;
  const seen = new Set<string>();
  for (const header of headers) {
    const role = header.name === signatureName ? 'signature' : header.name;
    const place = header.name === 'signature' ? -1 : ORDER.indexOf(role);
    // An attacker hides text in `gpgsig-x`, which Git leaves out of some views of the commit; `mergetag` brings a signature of its own.
    if (place === -1) return refusal('HeaderUnknown', describe(header));
    // Of two trees, or two signatures, one reader takes the first and another the last.
    if (role !== 'parent' && seen.has(role)) return refusal('HeaderDuplicate', header.name);
    if (place < reached) return refusal('HeaderMisplaced', header.name);
    const defect = findValueDefect(header, role);
    if (defect !== null) return defect;
    reached = place;
    seen.add(role);
  }
  const missing = REQUIRED.find((name) => !seen.has(name));
  return missing === undefined ? null : refusal('HeaderMalformed', `no ${missing}`);
}

function findValueDefect(header: Header, role: string): SignatureRefusal | null {
  if (header.folded && role !== 'signature') return refusal('HeaderMalformed', header.name);
  if ((role === 'author' || role === 'committer') && !PERSON.test(header.value)) return refusal('HeaderMalformed', header.name);
  if (role === 'encoding' && !/^utf-?8$/i.test(header.value)) return refusal('EncodingUnsupported');
  return null;
}

function describe(header: Header): string {
  return /^[\x21-\x7e]{1,64}$/.test(header.name) ? header.name : 'unreadable name';
}
