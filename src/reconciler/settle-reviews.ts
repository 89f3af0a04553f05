import { appStateOf, type Debt } from '../core/evidence/log-state.ts';
import { reviewOf } from '../core/trust/review.ts';
import { holdArtifacts, type Pass } from './pass.ts';
import type { Subject } from './planning.ts';

/** Records every review that is complete (T27). Looks only at broken glass that somebody has said something about. */
export async function settleReviews(pass: Pass): Promise<void> {
  const { batch } = pass;
  for (const [promotionDigest, approvals] of batch.state.reviewApprovals.entries()) {
    const [subject] = approvals.flatMap((approval) => batch.state.approvals.get(approval)?.subject ?? []);
    const debt = subject === undefined ? undefined : appStateOf(batch.state, subject.environment, subject.application).debts.find((d) => d.promotionDigest === promotionDigest);
    if (subject === undefined || debt === undefined) continue;
    await holdArtifacts(pass, approvals);
    const { approvals: counted, missing } = reviewOf(batch.state, subject, debt, batch.asOf, batch.sources);
    if (missing === null) batch.add({ type: 'review', predicate: { ...subject, promotionDigest: debt.promotionDigest, approvals: counted } });
  }
}

/** Broken glass that waits for a review is a condition of its own, whatever else is decided there. */
export function reportDebts(pass: Pass, s: Subject): void {
  const name = `${s.environment}/${s.application}`;
  const { debts } = appStateOf(pass.batch.state, s.environment, s.application);
  pass.conditions.stalled('Review', name, debts[0] === undefined ? null : { reason: 'ReviewMissing', message: debts.map((debt) => debtText(name, debt)).join('; ') });
}

function debtText(name: string, { promotionDigest, release, reason, participants }: Debt): string {
  return `the glass was broken for release ${release ?? 'none'} (${reason}; ${promotionDigest}) and nobody has reviewed it: somebody other than ${participants.join(', ') || 'those who took part'} runs: stella approve --review ${name}`;
}
