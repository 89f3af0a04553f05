import type { CommitId } from '../core/model/commit-id.ts';

type Branch = { readonly ref: string; readonly commit: CommitId };

/**
 * Approval branches that held nothing to harvest under the keys of that time. They are not read again, so that junk costs once and
 * keeps nobody's approval from its turn (T31).
 */
export class BarrenBranches {
  #keys: string | null = null;
  #known = new Set<string>();

  /** Those of `branches` that may hold something. @param keys changes when somebody's keys do: digests of the principals in force and of the trust root at the tip */
  worthReading<B extends Branch>(branches: readonly B[], keys: string): readonly B[] {
    const stillThere = branches.map(keyOf).filter((key) => keys === this.#keys && this.#known.has(key));
    this.#keys = keys;
    this.#known = new Set(stillThere);
    return branches.filter((branch) => !this.#known.has(keyOf(branch)));
  }

  add(branch: Branch): void {
    this.#known.add(keyOf(branch));
  }
}

function keyOf({ ref, commit }: Branch): string {
  return `${ref} ${commit}`;
}
