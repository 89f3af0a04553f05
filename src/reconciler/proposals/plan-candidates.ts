import type { CommitId } from '../../core/model/commit-id.ts';
import { limits } from '../../core/model/limits.ts';
import { finding } from '../../core/proposal/finding.ts';
import type { ProposalPlan } from '../../core/proposal/plan-model.ts';
import { GitError } from '../../ports/git-reader.ts';
import type { Snapshot } from '../snapshot.ts';
import type { PlanShelf } from './plan-shelf.ts';

/** `isOwed`: something did not answer, so that it is made again soon. */
export type MakePlan = (snapshot: Snapshot, candidate: CommitId, asOf: Date) => Promise<{ readonly plan: ProposalPlan; readonly isOwed: boolean }>;

type Parts = { readonly plan: MakePlan; readonly now: () => Date; /** Lets everything else that waits have its turn. */ readonly rest: () => Promise<void> };

/**
 * Plans these commits until the time of one pass is over. Whatever goes wrong with one is the plan of that one. Nothing of them is executed or
 * recorded (T18).
 * @returns how many were planned, and whether some are left
 */
export async function planCandidates(parts: Parts, shelf: PlanShelf, snapshot: Snapshot, commits: readonly CommitId[]): Promise<{ readonly planned: number; readonly isComplete: boolean }> {
  const { now, rest } = parts;
  const begunAt = now().getTime();
  const due = shelf.due(commits, snapshot, begunAt);
  let planned = 0;
  for (const commit of due) {
    if (planned > 0 && now().getTime() - begunAt > limits.proposalPlanningMs) return { planned, isComplete: false };
    const asOf = now();
    const { plan, retryAt } = await planOne(parts, snapshot, commit, asOf);
    shelf.put(commit, plan, snapshot, asOf.getTime(), retryAt);
    planned += 1;
    await rest();
  }
  return { planned, isComplete: true };
}

async function planOne({ plan }: Parts, snapshot: Snapshot, commit: CommitId, asOf: Date): Promise<{ readonly plan: ProposalPlan; readonly retryAt: number | null }> {
  try {
    const made = await plan(snapshot, commit, asOf);
    return { plan: made.plan, retryAt: made.isOwed ? asOf.getTime() + limits.proposalRetryMs : null };
  } catch (cause) {
    const message = cause instanceof Error ? cause.message : String(cause);
    const failed = errorPlan(snapshot, commit, asOf, { code: cause instanceof GitError ? cause.code : 'PlanFailed', message: `it could not be planned: ${message}`, remedy: null });
    return { plan: failed, retryAt: asOf.getTime() + limits.proposalRetryMs };
  }
}

/** What is said where no plan can be made. */
export function errorPlan({ targetRef, tip, state }: Snapshot, candidate: CommitId, asOf: Date, fault: { readonly code: string; readonly message: string; readonly remedy: string | null }): ProposalPlan {
  return {
    type: 'stella/proposal-plan/v1', candidate, target: { ref: targetRef, commit: tip }, logSize: state.size, asOf: asOf.toISOString(), outcome: 'error',
    promotions: [], protectedChanges: [], releases: [], findings: [finding({ ...fault, severity: 'refused' })], nextChangeAt: null,
  };
}
