import { BucketMap } from '../model/bucket-map.ts';
import type { BlobId } from '../model/commit-id.ts';
import type { Digest } from '../model/digest.ts';
import { documentKey, isProtected, KINDS, type DocumentKey, type Kind } from '../model/documents.ts';
import { compareText, splitPair } from '../model/names.ts';
import { compareDiagnostics, type Diagnostic } from './diagnostic.ts';
import { unplaced, type DocumentLookup, type Located } from './document-lookup.ts';
import type { ParsedFile, SourceDocument } from './parsed-file.ts';

/** A usable document of the tree: the only one of its kind and name, and valid. */
export type Entry = Located & { readonly digest: Digest; readonly line: number; readonly file: string; readonly positions: SourceDocument['positions']; readonly blob: BlobId };

/** One place that claims a kind and name; `entry` is null where the document there is invalid. */
export type Claim = { readonly file: string; readonly line: number; readonly entry: Entry | null };

type FileEntry = { readonly blob: BlobId; readonly keys: readonly DocumentKey[] };

/**
 * What the declarations of one commit say. It is a function of the tree alone: built at once or file by file, in any
 * order, it is the same. A change costs what the changed files hold, however many others there are.
 */
export type DesiredState = {
  readonly files: BucketMap<FileEntry>;
  /** Every claim, by document key. */
  readonly claims: BucketMap<readonly Claim[]>;
  readonly usable: Readonly<Record<Kind, BucketMap<Entry>>>;
  /** Problems of single files, by path; only of files that have some. */
  readonly problems: BucketMap<readonly Diagnostic[]>;
  /** Keys that two documents or more claim. */
  readonly conflicts: BucketMap<DocumentKey>;
  /** Promotions by the key of the Release that they name. */
  readonly referrers: BucketMap<BucketMap<DocumentKey>>;
};

/** `absent`: no readable file claims the key. `unusable`: something does, but it says nothing that may be acted on (T10, T12). */
export type Found =
  | { readonly status: 'present'; readonly entry: Entry }
  | { readonly status: 'unusable'; readonly reason: 'invalid' | 'duplicate'; readonly claims: readonly Claim[] }
  | { readonly status: 'absent' };

/** `parsed` is null for a file that is gone. */
export type FileChange = { readonly path: string; readonly parsed: ParsedFile | null };

/** The state of an empty tree. */
export function emptyDesiredState(): DesiredState {
  const usable = Object.fromEntries(KINDS.map((kind) => [kind, BucketMap.empty<Entry>()])) as Record<Kind, BucketMap<Entry>>;
  return { files: BucketMap.empty(), claims: BucketMap.empty(), usable, problems: BucketMap.empty(), conflicts: BucketMap.empty(), referrers: BucketMap.empty() };
}

/**
 * The state after some files changed.
 * @param changes each path at most once
 * @returns `changed`: keys of documents that came, went or changed, and of promotions that name them; sorted
 */
export function applyFiles(previous: DesiredState, changes: readonly FileChange[]): { readonly state: DesiredState; readonly changed: readonly DocumentKey[] } {
  let { files, problems } = previous;
  const touched = new Map<DocumentKey, Claim[]>();
  const claimsOf = (key: DocumentKey): Claim[] => {
    const known = touched.get(key) ?? [...(previous.claims.get(key) ?? [])];
    touched.set(key, known);
    return known;
  };
  for (const { path } of changes) {
    for (const key of previous.files.get(path)?.keys ?? []) touched.set(key, claimsOf(key).filter((claim) => claim.file !== path));
  }
  for (const { path, parsed } of changes) {
    const found = parsed === null ? [] : claimsIn(path, parsed);
    for (const { key, claim } of found) claimsOf(key).push(claim);
    const complaints = parsed === null ? [] : parsed.problems.map((p) => (p.file === path ? p : { ...p, file: path }));
    const isOurs = parsed !== null && found.length > 0;
    files = isOurs ? files.set(path, { blob: parsed.blob, keys: [...new Set(found.map((f) => f.key))] }) : files.delete(path);
    problems = complaints.length > 0 ? problems.set(path, complaints) : problems.delete(path);
  }
  const settled = settle({ ...previous, files, problems }, touched);
  return { state: settled, changed: affected(settled, touched.keys()) };
}

/** All claims of a file: valid documents, and invalid ones whose kind and name could be read. */
function claimsIn(path: string, parsed: ParsedFile): readonly { readonly key: DocumentKey; readonly claim: Claim }[] {
  const valid = parsed.documents.map((source) => {
    const entry: Entry = { ...unplaced(source.document), ...source, document: source.document as Entry['document'], file: path, blob: parsed.blob };
    return { key: entry.key, claim: { file: path, line: source.line, entry } };
  });
  const invalid = new Map<DocumentKey, Claim>();
  for (const { subject, severity, line } of parsed.problems) {
    if (subject !== undefined && severity === 'error' && !invalid.has(subject)) invalid.set(subject, { file: path, line, entry: null });
  }
  return [...valid, ...[...invalid].map(([key, claim]) => ({ key, claim }))];
}

function settle(state: DesiredState, touched: ReadonlyMap<DocumentKey, readonly Claim[]>): DesiredState {
  let { claims, conflicts, referrers } = state;
  const usable = { ...state.usable };
  for (const [key, list] of touched) {
    const sorted = [...list].sort((a, b) => compareText(a.file, b.file) || a.line - b.line);
    claims = sorted.length > 0 ? claims.set(key, sorted) : claims.delete(key);
    conflicts = sorted.length > 1 ? conflicts.set(key, key) : conflicts.delete(key);
    const kind = key.slice(0, key.indexOf('/')) as Kind;
    const before = usable[kind].get(key);
    // T10: two documents of one kind and name: neither is used.
    const after = sorted.length === 1 ? (sorted[0]?.entry ?? undefined) : undefined;
    usable[kind] = after === undefined ? usable[kind].delete(key) : usable[kind].set(key, after);
    referrers = refer(referrers, before, after);
  }
  return { ...state, claims, usable, conflicts, referrers };
}

function refer(referrers: DesiredState['referrers'], before: Entry | undefined, after: Entry | undefined): DesiredState['referrers'] {
  const old = before === undefined ? null : releaseNamedBy(before);
  const now = after === undefined ? null : releaseNamedBy(after);
  if (old === now) return referrers;
  let result = referrers;
  if (old !== null && before !== undefined) {
    const rest = (result.get(old) ?? BucketMap.empty<DocumentKey>()).delete(before.key);
    result = rest.size > 0 ? result.set(old, rest) : result.delete(old);
  }
  if (now !== null && after !== undefined) result = result.set(now, (result.get(now) ?? BucketMap.empty<DocumentKey>()).set(after.key, after.key));
  return result;
}

/** Key of the Release that a Promotion names; null for other documents and for removals. */
export function releaseNamedBy(located: Located): DocumentKey | null {
  if (located.document.kind !== 'Promotion') return null;
  const { metadata, spec } = located.document as Located<'Promotion'>['document'];
  return spec.release === undefined ? null : documentKey('Release', `${splitPair(metadata.name)[1]}/${spec.release}`);
}

function affected(state: DesiredState, touched: Iterable<DocumentKey>): readonly DocumentKey[] {
  const keys = new Set<DocumentKey>();
  for (const key of touched) {
    keys.add(key);
    for (const referrer of state.referrers.get(key)?.values() ?? []) keys.add(referrer);
  }
  return [...keys].sort(compareText);
}

/** What the tree says about one document. */
export function findDocument(state: DesiredState, kind: Kind, name: string): Found {
  const claims = state.claims.get(documentKey(kind, name)) ?? [];
  const [first, second] = claims;
  if (first === undefined) return { status: 'absent' };
  if (second !== undefined) return { status: 'unusable', reason: 'duplicate', claims };
  return first.entry === null ? { status: 'unusable', reason: 'invalid', claims } : { status: 'present', entry: first.entry };
}

/** Usable documents of one kind, sorted by name. Costs what there is of this kind. */
export function documentsOf(state: DesiredState, kind: Kind): readonly Entry[] {
  return [...state.usable[kind].values()].sort((a, b) => compareText(a.key, b.key));
}

/** Usable documents of all protected kinds, sorted by kind and name (T15). */
export function protectedDocuments(state: DesiredState): readonly Entry[] {
  return KINDS.filter(isProtected).flatMap((kind) => documentsOf(state, kind)).sort((a, b) => compareText(a.key, b.key));
}

/** Usable documents as checks look them up. */
export function lookupIn(state: DesiredState): DocumentLookup {
  return {
    get: <K extends Kind>(kind: K, name: string) => state.usable[kind].get(documentKey(kind, name)) as Located<K> | undefined,
    all: <K extends Kind>(kind: K) => documentsOf(state, kind) as unknown as readonly Located<K>[],
  };
}

/** What is wrong with single files, and every two documents of one name; sorted. Costs what is wrong. */
export function fileDiagnostics(state: DesiredState): readonly Diagnostic[] {
  const found = [...state.problems.values()].flat();
  for (const key of state.conflicts.values()) found.push(...conflictDiagnostics(key, state.claims.get(key) ?? []));
  return found.sort(compareDiagnostics);
}

function conflictDiagnostics(key: DocumentKey, claims: readonly Claim[]): readonly Diagnostic[] {
  return claims.map((claim, i) => {
    const other = claims[i === 0 ? 1 : 0] ?? claim;
    return {
      code: 'DuplicateDocument', severity: 'error', file: claim.file, line: claim.line, column: 1, subject: key,
      message: `${key} also stands in ${other.file}:${other.line}, so neither is used and what was in force stays`,
      remedy: 'Keep one of them, or give the other a name of its own.',
    };
  });
}
