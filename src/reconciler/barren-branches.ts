import type { CommitId } from '../core/model/commit-id.ts';
import type { Digest } from '../core/model/digest.ts';

type Branch = { readonly ref: string; readonly commit: CommitId };

/**
 * Approval branches that held nothing to harvest under the principals of that time. They are not read again, so that junk costs once and
 * keeps nobody's approval from its turn (T31).
 */
export class BarrenBranches {
  #principals: Digest | null = null;
  #known = new Set<string>();

  /** Those of `branches` that may hold something. @param principals digest of the principals in force */
  worthReading<B extends Branch>(branches: readonly B[], principals: Digest): readonly B[] {
    const stillThere = branches.map(keyOf).filter((key) => principals === this.#principals && this.#known.has(key));
    this.#principals = principals;
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
