import type { CommitId } from '../core/model/commit-id.ts';
import type { DocumentOf } from '../core/model/documents.ts';
import { limits } from '../core/model/limits.ts';
import type { DocumentParser } from '../ports/document-parser.ts';
import type { GitReader } from '../ports/git-reader.ts';
import { BarrenBranches } from './barren-branches.ts';
import { parseChanges } from './declarations.ts';
import { approvalsByCommits, isUnreadable } from './observe-approvals.ts';

const CANDIDATES = 'refs/stella/candidates/';

/** Refspecs that bring candidate refs, such as `refs/pull/<star>/head`, to where they are read. @param patterns each with one star */
export function candidateRefspecs(patterns: readonly string[]): readonly string[] {
  return patterns.map((pattern, i) => `+${pattern}:${CANDIDATES}${i}/*`);
}

/**
 * Approvals that lie on candidates, such as branches of pull requests, before their merge. Nothing else of a candidate is acted on (T18), and the
 * refs are not ours to delete. Harvest is best effort: a candidate that cannot be read, or whose history is too long, is left out.
 */
export class CandidateApprovals {
  readonly #parts: { readonly reader: GitReader; readonly parser: DocumentParser };
  readonly #read = new BarrenBranches();
  #pending: readonly { readonly ref: string; readonly commit: CommitId }[] = [];

  constructor(parts: { readonly reader: GitReader; readonly parser: DocumentParser }) {
    this.#parts = parts;
  }

  /** Of candidates that were not read since the keys changed. @param keys as of `BarrenBranches` */
  async read(tip: CommitId, keys: string): Promise<readonly DocumentOf<'Approval'>[]> {
    const refs = await this.#parts.reader.listRefs(CANDIDATES);
    const candidates = refs.map((r) => ({ ref: r.name, commit: r.id as CommitId }));
    this.#pending = this.#read.worthReading(candidates, keys).slice(0, limits.approvalBranches);
    const found: DocumentOf<'Approval'>[] = [];
    for (const { commit } of this.#pending) found.push(...(await this.#approvalsOf(tip, commit)));
    return found;
  }

  /** What was read is in the log now, as far as it counts. */
  settled(): void {
    for (const candidate of this.#pending) this.#read.add(candidate);
    this.#pending = [];
  }

  async #approvalsOf(tip: CommitId, commit: CommitId): Promise<readonly DocumentOf<'Approval'>[]> {
    const { reader, parser } = this.#parts;
    try {
      const base = await reader.mergeBase(tip, commit);
      if (base === null || base === commit) return [];
      const { changes } = await reader.diff(base, commit);
      const files = changes.filter((c) => c.newBlob !== null && c.path.startsWith('approvals/')).slice(0, limits.approvalsPerBranch);
      const documents = (await parseChanges(reader, parser, files)).flatMap(({ parsed }) => parsed?.documents ?? []).flatMap(({ document }) => (document.kind === 'Approval' ? [document] : []));
      const brought = documents.slice(0, limits.approvalsPerBranch);
      if (brought.length === 0) return [];
      const entries = await reader.log(tip, commit, limits.requesterCommits);
      const raw = await reader.readCommits(entries.map((e) => e.commit));
      const signed = [...raw.values()].flatMap((object) => (object.ok ? [{ raw: object.bytes, documents: brought }] : []));
      return [...brought, ...approvalsByCommits(signed)];
    } catch (cause) {
      // A ref may name what is no commit, and a stranger's history may be of any length.
      if (isUnreadable(cause)) return [];
      throw cause;
    }
  }
}
