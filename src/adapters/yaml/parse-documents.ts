import { Composer, LineCounter, isMap, isScalar, isSeq, type CST, type Document, type Node, type YAMLMap } from 'yaml';
import { compareDiagnostics, type Diagnostic, type DiagnosticCode } from '../../core/desired/diagnostic.ts';
import type { ParsedFile, SourceDocument } from '../../core/desired/parsed-file.ts';
import { positionAt, type Position } from '../../core/desired/source-position.ts';
import type { BlobId } from '../../core/model/commit-id.ts';
import { API_VERSION, documentDigest, documentKey, KINDS, type AnyDocument, type DocumentKey, type Kind } from '../../core/model/documents.ts';
import { limits } from '../../core/model/limits.ts';
import { isPairName, isSegment } from '../../core/model/names.ts';
import { closestName } from '../schema/closest-name.ts';
import type { Schemas } from '../schema/open-schemas.ts';
import { findDuplicateKey } from './duplicate-key.ts';
import { guardDocument, type GuardFinding } from './guard-tokens.ts';
import { couldBeOurs, ownershipOf, ownershipOfText } from './ownership.ts';
import { readNode } from './read-node.ts';
import { tokenise, type TokenFault } from './tokenise.ts';

/** A file of the tree. `bytes` is null for one that nobody read because it is larger than the limit; then `sizeBytes` says how large. */
export type SourceFile = { readonly path: string; readonly blob: BlobId } & (
  | { readonly bytes: Uint8Array }
  | { readonly bytes: null; readonly sizeBytes: number }
);

type Complaint = { readonly code: DiagnosticCode; readonly message: string; readonly remedy: string; readonly subject?: DocumentKey };
type Outcome = { readonly documents: readonly SourceDocument[]; readonly problems: readonly Diagnostic[] };
/** One file while it is read. */
type Reading = { readonly path: string; readonly text: string; readonly lines: LineCounter; readonly schemas: Pick<Schemas, 'validateDocument'> };

const NOTHING: Outcome = { documents: [], problems: [] };

/**
 * Reads the documents of one YAML file. Other YAML is passed over; whatever means to be ours is a valid document or a
 * problem with its place (see `ownership.ts`). It never throws for what a file holds.
 * Source: YAML 1.2.2; of it plain mappings, lists and scalars. Anchors, tags and directives are refused.
 */
export function parseFile(file: SourceFile, schemas: Pick<Schemas, 'validateDocument'>): ParsedFile {
  const { documents, problems } = readFile(file, schemas);
  return { path: file.path, blob: file.blob, documents, problems: [...problems].sort(compareDiagnostics) };
}

function readFile(file: SourceFile, schemas: Pick<Schemas, 'validateDocument'>): Outcome {
  const top = { line: 1, column: 1 };
  const whole = (text: string, complaint: Complaint): Outcome => (ownershipOfText(text) === 'ours' ? refuseAll(text, (subject) => diagnostic(file.path, top, { ...complaint, ...subject })) : NOTHING);
  // Nobody knows what is in a file that was not read, so it is not passed over.
  if (file.bytes === null) return { documents: [], problems: [diagnostic(file.path, top, tooLarge(file.sizeBytes))] };
  if (file.bytes.length > limits.documentBytes) return whole(anyText(file.bytes), tooLarge(file.bytes.length));
  const text = utf8Text(file.bytes);
  // UTF-16 of plain English is valid UTF-8 with a NUL behind every letter.
  if (text === null || text.includes('\0')) return whole(anyText(file.bytes), NOT_UTF8);
  if (!couldBeOurs(text)) return NOTHING;
  if (text.startsWith('\uFEFF')) return whole(text, FILE_COMPLAINTS.ByteOrderMark);
  return readText({ path: file.path, text, lines: new LineCounter(), schemas });
}

function readText(reading: Reading): Outcome {
  const result = tokenise(reading.text, reading.lines);
  if (!result.ok) {
    const { code, offset, message } = result.fault;
    const complaint = code === 'YamlSyntax' ? notYaml(message) : FILE_COMPLAINTS[code];
    return ownershipOfText(reading.text) === 'ours' ? refuseAll(reading.text, (subject) => problemAt(reading, offset, { ...complaint, ...subject })) : NOTHING;
  }
  const parts = partsOf(result.tokens);
  const outcomes = parts.map((part, i) => readPart(reading, part, parts[i + 1]?.offset ?? reading.text.length));
  return { documents: outcomes.flatMap((o) => o.documents), problems: outcomes.flatMap((o) => o.problems) };
}

/** The tokens of one document: directives and comments before it, itself, its end. */
type Part = { readonly offset: number; readonly tokens: readonly CST.Token[]; readonly document: CST.Document | null };

function partsOf(tokens: readonly CST.Token[]): readonly Part[] {
  const parts: { offset: number; tokens: CST.Token[]; document: CST.Document | null }[] = [];
  for (const token of tokens) {
    const last = parts.at(-1);
    const startsAnother = last === undefined || (last.document !== null && token.type !== 'doc-end' && token.type !== 'error');
    const part = startsAnother ? { offset: offsetOfToken(token), tokens: [], document: null } : last;
    if (startsAnother) parts.push(part);
    part.tokens.push(token);
    if (token.type === 'document') part.document = token;
  }
  return parts;
}

function offsetOfToken(token: CST.Token): number {
  return 'offset' in token ? token.offset : 0;
}

function readPart(reading: Reading, part: Part, endOffset: number): Outcome {
  const text = (): string => reading.text.slice(part.offset, endOffset);
  const refused = (offset: number, complaint: Complaint): Outcome =>
    ownershipOfText(text()) === 'ours' ? { documents: [], problems: [problemAt(reading, offset, { ...named(subjectInText(text())), ...complaint })] } : NOTHING;
  const directive = part.tokens.find((token) => token.type === 'directive');
  if (directive !== undefined) return refused(offsetOfToken(directive), DIRECTIVE);
  const guarded = part.document === null ? null : guardDocument(part.document, { aliases: 'refused' });
  if (guarded !== null) return refused(guarded.offset, FILE_COMPLAINTS[guarded.code]);
  const composed = compose(part, endOffset);
  const broken = composed.flatMap((document) => document.errors)[0];
  if (broken !== undefined) return refused(broken.pos[0], { ...notYaml(broken.message), ...named(subjectIn(composed[0]?.contents)) });
  const double = findDuplicateKey(composed[0]?.contents ?? null);
  if (double !== null) return refused(double, { ...DUPLICATE_KEY, ...named(subjectIn(composed[0]?.contents)) });
  return readContents(reading, composed[0]?.contents ?? null);
}

/** Documents without aliases, tags or directives, every scalar as it is written. */
function compose(part: Part, endOffset: number): readonly Document.Parsed[] {
  const composer = new Composer({ version: '1.2', schema: 'failsafe', strict: true, uniqueKeys: false, stringKeys: true, merge: false, prettyErrors: false, logLevel: 'silent' });
  return [...composer.compose(part.tokens, false, endOffset)] as readonly Document.Parsed[];
}

function readContents(reading: Reading, contents: Node | null): Outcome {
  if (isSeq(contents)) return contents.items.some((item) => isMap(item) && ownershipOf(textMembers(item)) === 'ours') ? failed(reading, contents, NOT_A_DOCUMENT) : NOTHING;
  if (!isMap(contents) || ownershipOf(textMembers(contents)) === 'foreign') return NOTHING;
  const subject = subjectIn(contents);
  const tagged = (complaint: Complaint): Complaint => ({ ...complaint, ...named(subject) });
  const result = readNode(contents, reading.lines);
  if (!result.ok) return { documents: [], problems: [problemAt(reading, result.finding.offset, tagged({ code: 'ValueRefused', ...result.finding }))] };
  const value = result.value as { readonly [name: string]: unknown };
  const at = (path: readonly string[]): Position => positionAt(value, result.positions, path);
  const header = headerComplaint(value);
  if (header !== null) return { documents: [], problems: [diagnostic(reading.path, at(header.path), tagged(header.complaint))] };
  const checked = reading.schemas.validateDocument(value['kind'] as Kind, value);
  if (!checked.ok) {
    const problems = checked.problems.map(({ path, ...complaint }) => diagnostic(reading.path, positionAt(value, result.positions, path), tagged(complaint)));
    return { documents: [], problems };
  }
  const document = value as unknown as AnyDocument;
  return { documents: [{ document, digest: documentDigest(document), line: at([]).line, positions: result.positions }], problems: [] };
}

function failed(reading: Reading, node: Node, complaint: Complaint): Outcome {
  return { documents: [], problems: [problemAt(reading, node.range?.[0] ?? 0, complaint)] };
}

/** Version and kind come first: without them no schema applies. */
function headerComplaint(value: { readonly [name: string]: unknown }): { readonly path: readonly string[]; readonly complaint: Complaint } | null {
  const { apiVersion, kind } = value;
  if (apiVersion === undefined) return { path: [], complaint: { code: 'MissingField', message: '`apiVersion` is missing', remedy: `Add \`apiVersion: ${API_VERSION}\`.` } };
  if (apiVersion !== API_VERSION) {
    return { path: ['apiVersion'], complaint: { code: 'UnsupportedVersion', message: `the version ${shown(apiVersion)} is not supported`, remedy: `Write \`apiVersion: ${API_VERSION}\`.` } };
  }
  if (kind === undefined) return { path: [], complaint: { code: 'MissingField', message: '`kind` is missing', remedy: `Add one of: ${KINDS.join(', ')}.` } };
  if ((KINDS as readonly unknown[]).includes(kind)) return null;
  // T12: a kind that has no effect yet is refused, never ignored.
  const meant = typeof kind === 'string' ? closestName(kind, KINDS) : null;
  const hint = meant === null ? '' : `; did you mean ${meant}?`;
  return { path: ['kind'], complaint: { code: 'UnsupportedKind', message: `the kind ${shown(kind)} is not supported${hint}`, remedy: `Use one of: ${KINDS.join(', ')}.` } };
}

function shown(value: unknown): string {
  return (JSON.stringify(value) ?? 'nothing').slice(0, 80);
}

function textMembers(map: YAMLMap): readonly (readonly [string, string])[] {
  return map.items.flatMap(({ key, value }) => (isScalar(key) && isScalar(value) ? [[String(key.value), String(value.value)] as const] : []));
}

/** Kind and name of a document that is otherwise unusable, so that it is not taken for absent. */
function subjectIn(contents: unknown): DocumentKey | null {
  if (!isMap(contents)) return null;
  const text = (path: readonly string[]): string => String((contents as YAMLMap).getIn(path) ?? '');
  const kind = text(['kind']) as Kind;
  const name = text(['metadata', 'name']);
  return KINDS.includes(kind) && (isSegment(name) || isPairName(name)) ? documentKey(kind, name) : null;
}

/** As {@link subjectIn}, of text that cannot be parsed. */
function subjectInText(text: string): DocumentKey | null {
  const kind = (/(?:^|[\s{,"'])kind["']?\s{0,8}:\s{0,8}["']?(\w{1,64})/.exec(text)?.[1] ?? '') as Kind;
  const name = /(?:^|[\s{,"'])metadata["']?\s{0,8}:[^]{0,2000}?[\s{,"']name["']?\s{0,8}:\s{0,8}["']?([a-z0-9._/-]{1,200})/.exec(text)?.[1] ?? '';
  return KINDS.includes(kind) && (isSegment(name) || isPairName(name)) ? documentKey(kind, name) : null;
}

/** One problem for a file of which nothing is used: once for each document whose kind and name can be made out, else once. */
function refuseAll(text: string, problem: (subject: { readonly subject?: DocumentKey }) => Diagnostic): Outcome {
  const subjects = new Set(text.split(/^---/m, limits.documentsPerFile).flatMap((part) => subjectInText(part) ?? []));
  return { documents: [], problems: subjects.size === 0 ? [problem({})] : [...subjects].map((subject) => problem({ subject })) };
}

function named(subject: DocumentKey | null): { readonly subject?: DocumentKey } {
  return subject === null ? {} : { subject };
}

function diagnostic(path: string, { line, column }: Position, complaint: Complaint): Diagnostic {
  const { code, message, remedy, subject } = complaint;
  return { code, severity: 'error', file: path, line, column, message, remedy, ...(subject === undefined ? {} : { subject }) };
}

function problemAt(reading: Reading, offset: number, complaint: Complaint): Diagnostic {
  const { line, col } = reading.lines.linePos(offset);
  return diagnostic(reading.path, { line: Math.max(line, 1), column: Math.max(col, 1) }, complaint);
}

function utf8Text(bytes: Uint8Array): string | null {
  try {
    return new TextDecoder('utf-8', { fatal: true, ignoreBOM: true }).decode(bytes);
  } catch {
    // TypeError: the only thing that a fatal decoder throws for bytes.
    return null;
  }
}

/** Some text in the bytes, whatever their encoding; only to see whether they mean us. */
function anyText(bytes: Uint8Array): string {
  return Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength).toString('latin1').replaceAll('\0', '');
}

function tooLarge(sizeBytes: number): Complaint {
  return {
    code: 'FileTooLarge', message: `the file has ${sizeBytes} bytes; declarations have at most ${limits.documentBytes}, so nothing in it is used`,
    remedy: 'Split it, or, if it holds no declarations, give it a name that does not end with .yaml or .yml.',
  };
}

function notYaml(message: string): Complaint {
  return { code: 'YamlSyntax', message: `this is not YAML: ${message.slice(0, 300)}`, remedy: 'Correct the line; often it is the indentation, a missing colon or an open quote.' };
}

const DUPLICATE_KEY: Complaint = { code: 'DuplicateKey', message: 'a name stands twice in one mapping, and readers disagree on which counts', remedy: 'Keep one of the two.' };
const NOT_UTF8: Complaint = { code: 'NotUtf8', message: 'the file is not UTF-8', remedy: 'Save it as UTF-8 without a byte order mark.' };
const DIRECTIVE: Complaint = { code: 'DirectiveRefused', message: 'directives (`%YAML`, `%TAG`) change what a file means', remedy: 'Take the line out; YAML 1.2 is what is read.' };
const NOT_A_DOCUMENT: Complaint = { code: 'NotADocument', message: 'declarations stand in a list', remedy: 'Make each a document of its own, with a line `---` between them.' };
const FILE_COMPLAINTS: Readonly<Record<GuardFinding['code'] | Exclude<TokenFault['code'], 'YamlSyntax'>, Complaint>> = {
  TooManyDocuments: { code: 'TooManyDocuments', message: `the file holds more than ${limits.documentsPerFile} documents`, remedy: 'Split it into several files.' },
  AliasRefused: { code: 'AliasRefused', message: 'anchors (`&`), aliases (`*`) and merge keys are not allowed in declarations', remedy: 'Write the value out, or put it in quotes if it is meant as text.' },
  TagRefused: { code: 'TagRefused', message: 'tags (`!`) are not allowed', remedy: 'Take the tag out, or put the value in quotes if it is meant as text.' },
  TooDeep: { code: 'TooDeep', message: `values are nested more than ${limits.documentDepth} deep`, remedy: 'Flatten the document.' },
  TooManyEntries: { code: 'TooManyEntries', message: `one mapping or list has more than ${limits.documentEntries} entries`, remedy: 'Split it.' },
  ByteOrderMark: { code: 'ByteOrderMark', message: 'the file holds a byte order mark', remedy: 'Save it as UTF-8 without a byte order mark.' },
};
