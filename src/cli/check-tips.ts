import type { CommitId } from '../core/model/commit-id.ts';
import { limits } from '../core/model/limits.ts';
import type { GitReader } from '../ports/git-reader.ts';
import type { RecordStep } from '../reconciler/read-evidence.ts';
import { isHere } from '../reconciler/rewrites.ts';

type SeenTip = { readonly commit: CommitId; readonly seq: number };
export type TipFault = { readonly code: 'RewriteNotAccepted'; readonly message: string; readonly seq: number };
export type TipsChecked = { readonly fault: TipFault | null; /** Tips whose history is here and was looked at. */ readonly checked: number };

/**
 * Whether each recorded tip descends from the one before it, or from where an accepted rewrite leads (T25). The log alone cannot
 * tell; a clone with the declarations can.
 */
export class TipCheck {
  /** Tips between two accepted rewrites; the first of a later span is where the rewrite leads. */
  readonly #spans: SeenTip[][] = [[]];

  visit({ record }: Pick<RecordStep, 'record'>): void {
    const { seq } = record.header;
    if (record.type === 'anchor') this.#spans.push([{ commit: record.predicate.rewrite.to, seq }]);
    if (record.type === 'observation' && record.predicate.type === 'tip') this.#spans.at(-1)?.push({ commit: record.predicate.commit, seq });
  }

  /** @throws GitError */
  async against(reader: GitReader): Promise<TipsChecked> {
    let checked = 0;
    for (const span of this.#spans) {
      const last = span.at(-1);
      if (last === undefined || !(await isHere(reader, last.commit))) continue;
      const parents = new Map((await reader.log(null, last.commit, limits.historyCommits)).map((entry) => [entry.commit, entry.parents]));
      for (const [i, { commit, seq }] of span.entries()) {
        const before = span[i - 1];
        checked += 1;
        if (before !== undefined && !reaches(parents, commit, before.commit)) {
          return { checked, fault: { code: 'RewriteNotAccepted', seq, message: `record ${seq}: the tip ${commit} does not descend from ${before.commit}, and no record says that a quorum accepted that` } };
        }
      }
    }
    return { checked, fault: null };
  }
}

function reaches(parents: ReadonlyMap<CommitId, readonly CommitId[]>, from: CommitId, wanted: CommitId): boolean {
  const seen = new Set<CommitId>();
  // Newest first: the tip before is never far.
  for (let open = [from]; open.length > 0; open = open.flatMap((commit) => parents.get(commit) ?? []).filter((commit) => !seen.has(commit) && seen.add(commit))) {
    if (open.includes(wanted)) return true;
  }
  return false;
}
