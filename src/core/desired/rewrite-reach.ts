import type { Digest } from '../model/digest.ts';
import { documentKey, isProtected, KINDS, type DocumentKey, type DocumentOf, type Kind } from '../model/documents.ts';
import { compareText, splitPair } from '../model/names.ts';
import { allInForce, type LogState } from '../evidence/log-state.ts';
import { documentsOf, type DesiredState } from './desired-state.ts';
import { isDeclarationPath, type ParsedFile } from './parsed-file.ts';

/** What another history of the target branch touches: it is frozen until the rewrite is accepted (T25). */
export type RewriteReach = {
  /** Why nothing at all goes on; null where what is not touched does. */
  readonly everything: string | null;
  /** `<environment>/<application>` whose Promotion, Configuration or override file differs, sorted. */
  readonly subjects: readonly string[];
  /** Applications with a Release or a shipped file that differs, sorted: all their environments are touched. */
  readonly applications: readonly string[];
  /** Documents and other files that differ, sorted, for the reader. */
  readonly differs: readonly string[];
};

/** One changed file on both sides; null where it is absent or says nothing. */
export type FileSides = { readonly path: string; readonly before: ParsedFile | null; readonly after: ParsedFile | null };

/**
 * Compares what two commits declare by the files that differ between them. A protected document that differs touches everything: it
 * may be a rule, a person or a stop of any environment. So does a file that cannot be read (T12).
 * @param files every path that differs, with its documents
 * @param desired what the last accepted tip declares
 */
export function reachOfRewrite(state: LogState, desired: DesiredState, files: readonly FileSides[]): RewriteReach {
  const keys = changedDocuments(files);
  const paths = files.flatMap(({ path }) => (isDeclarationPath(path) ? [] : [path]));
  const subjects = new Set<string>();
  const applications = new Set<string>();
  for (const key of keys) {
    const [kind, name] = partsOf(key);
    if (kind === 'Promotion' || kind === 'Configuration') subjects.add(name);
    if (kind === 'Release') applications.add(splitPair(name)[0]);
  }
  const touched = new Set(files.map((f) => f.path));
  for (const { document } of documentsOf(desired, 'Configuration')) {
    const { override } = (document as unknown as DocumentOf<'Configuration'>).spec;
    if (override !== undefined && touched.has(override)) subjects.add(document.metadata.name);
  }
  for (const { metadata, spec } of allInForce(state, 'Application')) {
    const { deployment } = spec;
    const shipped = [...(deployment.files ?? []), ...(deployment.type === 'compose' ? [deployment.compose] : [])];
    if (shipped.some((path) => touched.has(path))) applications.add(metadata.name);
  }
  const sorted = (names: Iterable<string>): readonly string[] => [...names].sort(compareText);
  return { everything: wholeFault(files, keys), subjects: sorted(subjects), applications: sorted(applications), differs: [...sorted(keys), ...sorted(paths)] };
}

/** Everything is frozen, because nobody can tell what differs. */
export function unknownReach(why: string): RewriteReach {
  return { everything: why, subjects: [], applications: [], differs: [] };
}

/** Whether the rewrite touches what runs in one environment. */
export function isTouched(reach: RewriteReach, of: { readonly environment: string; readonly application: string }): boolean {
  return reach.everything !== null || reach.subjects.includes(`${of.environment}/${of.application}`) || reach.applications.includes(of.application);
}

function wholeFault(files: readonly FileSides[], keys: readonly DocumentKey[]): string | null {
  const unreadable = files.find(({ before, after }) => (before?.problems.length ?? 0) + (after?.problems.length ?? 0) > 0);
  if (unreadable !== undefined) return `${unreadable.path} cannot be read in full`;
  const policy = keys.find((key) => { const [kind] = partsOf(key); return !KINDS.includes(kind) || isProtected(kind); });
  return policy === undefined ? null : `${policy} differs, and every environment rests on protected documents`;
}

/** Documents that are there with other content, or in another number, on the two sides; one that only moved is none. */
function changedDocuments(files: readonly FileSides[]): readonly DocumentKey[] {
  const before = digestsIn(files.map((f) => f.before));
  const after = digestsIn(files.map((f) => f.after));
  return [...new Set([...before.keys(), ...after.keys()])].filter((key) => (before.get(key) ?? []).join() !== (after.get(key) ?? []).join());
}

function digestsIn(files: readonly (ParsedFile | null)[]): ReadonlyMap<DocumentKey, readonly Digest[]> {
  const found = new Map<DocumentKey, readonly Digest[]>();
  for (const { document, digest } of files.flatMap((file) => file?.documents ?? [])) {
    const key = documentKey(document.kind, document.metadata.name);
    found.set(key, [...(found.get(key) ?? []), digest].sort());
  }
  return found;
}

function partsOf(key: DocumentKey): readonly [Kind, string] {
  const slash = key.indexOf('/');
  return [key.slice(0, slash) as Kind, key.slice(slash + 1)];
}
