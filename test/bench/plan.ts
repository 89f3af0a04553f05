import { renderMarkdown } from '../../src/core/proposal/render-markdown.ts';
import type { ProposalPlan } from '../../src/core/proposal/plan-model.ts';
import { planProposal, type ProposalWorld } from '../../src/reconciler/plan-proposal.ts';
import type { CommitId } from '../../src/core/model/commit-id.ts';
import { elapsedMs, median } from './figure.ts';
import { createLargeWorld } from './large-world.ts';

const DOCUMENTS = 50_000;
const ROUNDS = 30;
const WARM_UPS = 3;
const OPEN = 500;
const COMMENT_CHARS = 65_536;

/**
 * A pull request of one commit that changes one promotion among 50,000 files, planned by a server that is up, from a commit that was fetched to the
 * comment. No commit is planned twice.
 * @returns milliseconds, median of 30
 */
export async function plan50kMs(): Promise<number> {
  const large = await createLargeWorld(DOCUMENTS);
  try {
    const commits = await large.propose(1, ROUNDS + WARM_UPS);
    const world = large.proposalWorld();
    const times: number[] = [];
    for (const [i, commit] of commits.entries()) {
      const ms = await elapsedMs(async () => void (await planned(world, commit)));
      if (i >= WARM_UPS) times.push(ms);
    }
    process.stderr.write(`a plan takes ${median(times).toFixed(1)} ms, at most ${Math.max(...times).toFixed(1)} ms\n`);
    return median(times);
  } finally {
    await large.close();
  }
}

/**
 * 500 open pull requests on 50,000 files, planned again after a rule of their environment changed.
 * @returns seconds for all of them
 */
export async function replan500S(): Promise<number> {
  const large = await createLargeWorld(DOCUMENTS);
  try {
    const commits = await large.propose(1, OPEN);
    const before = large.proposalWorld();
    for (const commit of commits) await planned(before, commit);
    await large.changePolicy(0);
    const after = large.proposalWorld();
    const plans: ProposalPlan[] = [];
    const ms = await elapsedMs(async () => {
      for (const commit of commits) plans.push(await planned(after, commit));
    });
    const asked = plans.filter(({ promotions }) => promotions[0]?.decision?.gates.some(({ gate, outcome }) => gate === 'approvals' && outcome === 'pending'));
    if (asked.length !== OPEN) throw new Error(`${asked.length} of ${OPEN} plans ask for the approvals of the new rule`);
    return ms / 1000;
  } finally {
    await large.close();
  }
}

async function planned(world: ProposalWorld, commit: CommitId): Promise<ProposalPlan> {
  const plan = await planProposal(world, { commit, asOf: new Date().toISOString() });
  if (plan.outcome !== 'changes' || plan.promotions.length !== 1) throw new Error(`an unexpected plan: ${JSON.stringify(plan.findings)}`);
  if (renderMarkdown(plan, { maxChars: COMMENT_CHARS }).length < 500) throw new Error('a comment without its plan');
  return plan;
}
