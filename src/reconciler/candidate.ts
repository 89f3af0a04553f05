import type { CommitId } from '../core/model/commit-id.ts';
import type { DocumentKey } from '../core/model/documents.ts';
import { limits } from '../core/model/limits.ts';
import { applyFiles, type DesiredState } from '../core/desired/desired-state.ts';
import { layOver, type SideChange } from '../core/desired/lay-over.ts';
import { isDeclarationPath } from '../core/desired/parsed-file.ts';
import type { DocumentParser } from '../ports/document-parser.ts';
import type { GitReader, PathChange, TreeEntry } from '../ports/git-reader.ts';
import { parseChanges } from './declarations.ts';

/** Files that are not those of the planned commit: by path, null where there is none (T18). */
export type LaidFiles = ReadonlyMap<string, TreeEntry | null>;

/** A commit that is not on the target branch, laid over its tip. */
export type Candidate = {
  readonly commit: CommitId;
  readonly base: CommitId;
  /** Every path that it changed since the base, and of what it differs from the tip. */
  readonly files: LaidFiles;
};

export type LaidOver =
  | { readonly ok: true; readonly candidate: Candidate; readonly desired: DesiredState; readonly changedKeys: readonly DocumentKey[] }
  /** Conflict: `paths` were changed on both sides. TooLarge: it changes more files with documents than `limits.candidateDocuments`. */
  | { readonly ok: false; readonly code: 'Conflict' | 'Unrelated' | 'TooLarge'; readonly paths: readonly string[] };

/**
 * What the target branch would say if `commit` were merged into it (T18). Reads and parses only what the candidate changed.
 * @param onto the target tip and its declarations
 * @throws GitError
 */
export async function layCandidateOver(reader: GitReader, parser: DocumentParser, onto: { readonly tip: CommitId; readonly desired: DesiredState }, commit: CommitId): Promise<LaidOver> {
  const base = await reader.mergeBase(onto.tip, commit);
  if (base === null) return { ok: false, code: 'Unrelated', paths: [] };
  const [target, candidate] = await Promise.all([onto.tip, commit].map(async (side) => (base === side ? [] : (await reader.diff(base, side)).changes)));
  const { over, conflicts } = layOver((target ?? []).map(sideOf), (candidate ?? []).map((change) => ({ ...sideOf(change), change })));
  if (conflicts.length > 0) return { ok: false, code: 'Conflict', paths: conflicts };
  const changes = over.map(({ change }) => change);
  const declared = changes.filter(({ path }) => isDeclarationPath(path));
  if (declared.length > limits.candidateDocuments) return { ok: false, code: 'TooLarge', paths: declared.map(({ path }) => path) };
  const documents = await parseChanges(reader, parser, declared);
  const files = new Map(changes.map((change) => [change.path, entryOf(change)]));
  const { state, changed } = applyFiles(onto.desired, documents);
  return { ok: true, candidate: { commit, base, files }, desired: state, changedKeys: changed };
}

function sideOf({ path, newBlob, newMode }: PathChange): SideChange {
  return { path, blob: newBlob, mode: newMode };
}

function entryOf({ path, newBlob, newMode }: PathChange): TreeEntry | null {
  return newBlob === null || newMode === null ? null : { path, blob: newBlob, mode: newMode };
}
