import { compareText } from '../model/names.ts';

/** What one side made of a path since the merge base; `blob` and `mode` are null where it deleted it. */
export type SideChange = { readonly path: string; readonly blob: string | null; readonly mode: string | null };

/**
 * T18: a candidate is planned as the target tip with the files that it changed since the merge base laid over. A file that both sides
 * changed is a conflict, unless both made the same of it (T26: equal is equal); so is a file on one side where the other has a folder.
 * @param target changes from the merge base to the target tip
 * @param candidate changes from the merge base to the candidate
 * @returns `over`: what to lay over the target tip; `conflicts`: paths, sorted. Where there are conflicts nothing is planned
 */
export function layOver<C extends SideChange>(target: readonly SideChange[], candidate: readonly C[]): { readonly over: readonly C[]; readonly conflicts: readonly string[] } {
  const byTarget = new Map(target.map((change) => [change.path, change]));
  const differing = candidate.filter((change) => !isSame(byTarget.get(change.path), change));
  const both = differing.filter(({ path }) => byTarget.has(path)).map(({ path }) => path);
  const shadowed = [...insideOf(target, candidate), ...insideOf(candidate, target)];
  return { over: differing, conflicts: [...new Set([...both, ...shadowed])].sort(compareText) };
}

function isSame(a: SideChange | undefined, b: SideChange): boolean {
  return a !== undefined && a.blob === b.blob && (a.blob === null || a.mode === b.mode);
}

/** Files that one side wrote below a path at which the other side wrote a file. */
function insideOf(files: readonly SideChange[], others: readonly SideChange[]): readonly string[] {
  const written = new Set(files.filter(({ blob }) => blob !== null).map(({ path }) => path));
  return others.filter(({ path, blob }) => blob !== null && foldersOf(path).some((folder) => written.has(folder))).map(({ path }) => path);
}

function foldersOf(path: string): readonly string[] {
  const parts = path.split('/').slice(0, -1);
  return parts.map((_, i) => parts.slice(0, i + 1).join('/'));
}
