import { parseHeaders } from '../../core/commit/commit-header.ts';
import type { CommitId } from '../../core/model/commit-id.ts';
import type { Digest } from '../../core/model/digest.ts';
import { documentDigest, documentKey, isProtected, requestDigest, type AnyDocument, type DocumentKey, type DocumentOf } from '../../core/model/documents.ts';
import { splitPair } from '../../core/model/names.ts';
import type { DesiredState } from '../../core/desired/desired-state.ts';
import { isDeclarationPath } from '../../core/desired/parsed-file.ts';
import type { DocumentParser } from '../../ports/document-parser.ts';
import type { GitReader, PathChange } from '../../ports/git-reader.ts';
import { parseChanges } from '../declarations.ts';
import { isHere } from '../rewrites.ts';

/** What a merge asked for: Promotions and protected documents as it left them, null where it removed them. */
export type MergedContents = {
  readonly places: readonly { readonly environment: string; readonly application: string; /** Digest of what its Promotion asks for; undefined where the merge changed something else of the place. */ readonly promotion: Digest | null | undefined }[];
  readonly protectedDocuments: readonly { readonly key: DocumentKey; readonly digest: Digest | null }[];
};

/**
 * Reads what was merged, by whichever method: the paths of the proposal, as they are in what the forge made of it.
 * @param p.onto a tip that the proposal was planned onto; null: what the last merged commit changed is all that is known
 * @throws GitError
 */
export async function readMerged(parts: { readonly reader: GitReader; readonly parser: DocumentParser }, p: { readonly head: CommitId; readonly mergeCommit: CommitId; readonly onto: CommitId | null; readonly desired: DesiredState }): Promise<MergedContents> {
  const { reader, parser } = parts;
  const changes = await changesOf(reader, p);
  const documents = changes.filter(({ path }) => isDeclarationPath(path));
  const now = await documentsIn(reader, parser, documents);
  const before = await documentsIn(reader, parser, documents.map((c) => ({ ...c, oldBlob: c.newBlob, newBlob: c.oldBlob, oldMode: c.newMode, newMode: c.oldMode })));
  const keys = [...new Set([...now.keys(), ...before.keys()])];
  const digestOf = (key: DocumentKey): Digest | null => { const document = now.get(key); return document === undefined ? null : documentDigest(document); };
  // A hold is no part of what the log calls the Promotion.
  const requestOf = (document: AnyDocument | undefined): Digest | null => (document?.kind === 'Promotion' ? requestDigest(document) : null);
  const places = new Map<string, Digest | null | undefined>();
  for (const key of keys) if (key.startsWith('Configuration/')) places.set(key.slice('Configuration/'.length), undefined);
  for (const name of overridden(p.desired, changes)) places.set(name, undefined);
  for (const key of keys) if (key.startsWith('Promotion/')) places.set(key.slice('Promotion/'.length), requestOf(now.get(key)));
  const kindOf = (key: DocumentKey): AnyDocument['kind'] => key.slice(0, key.indexOf('/')) as AnyDocument['kind'];
  return {
    places: [...places].sort(([a], [b]) => (a < b ? -1 : 1)).map(([name, promotion]) => { const [environment, application] = splitPair(name); return { environment, application, promotion }; }),
    protectedDocuments: keys.filter((key) => isProtected(kindOf(key))).sort().map((key) => ({ key, digest: digestOf(key) })),
  };
}

async function changesOf(reader: GitReader, { head, mergeCommit, onto }: { readonly head: CommitId; readonly mergeCommit: CommitId; readonly onto: CommitId | null }): Promise<readonly PathChange[]> {
  const isKnown = onto !== null && (await isHere(reader, onto)) && (await isHere(reader, head));
  const base = isKnown ? await reader.mergeBase(onto, head) : null;
  if (base === null) return (await reader.diff(await parentOf(reader, mergeCommit), mergeCommit)).changes;
  const own = new Set((await reader.diff(base, head)).changes.map(({ path }) => path));
  return (await reader.diff(base, mergeCommit)).changes.filter(({ path }) => own.has(path));
}

async function parentOf(reader: GitReader, commit: CommitId): Promise<CommitId | null> {
  const object = (await reader.readCommits([commit])).get(commit);
  return (object?.ok === true ? parseHeaders(object.bytes, reader.objectFormat)?.parents[0] : undefined) ?? null;
}

async function documentsIn(reader: GitReader, parser: DocumentParser, changes: readonly PathChange[]): Promise<ReadonlyMap<DocumentKey, AnyDocument>> {
  const parsed = await parseChanges(reader, parser, changes.filter(({ newBlob }) => newBlob !== null));
  return new Map(parsed.flatMap((file) => file.parsed?.documents ?? []).map(({ document }) => [documentKey(document.kind, document.metadata.name), document]));
}

/** Places whose Configuration names a file that the merge changed. */
function overridden(desired: DesiredState, changes: readonly PathChange[]): readonly string[] {
  const paths = new Set(changes.map(({ path }) => path));
  return [...desired.usable.Configuration.values()].flatMap((entry) => {
    const { metadata, spec } = entry.document as unknown as DocumentOf<'Configuration'>;
    return spec.override !== undefined && paths.has(spec.override) ? [metadata.name] : [];
  });
}
