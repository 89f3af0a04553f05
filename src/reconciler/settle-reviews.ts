import { appStateOf, type Debt, type LogState } from '../core/evidence/log-state.ts';
import { reviewOf } from '../core/trust/review.ts';
import { holdArtifacts, type Pass } from './pass.ts';
import type { Subject } from './planning.ts';

/** Records every review that is complete (T27). Looks only at broken glass that somebody has said something about. */
export async function settleReviews(pass: Pass): Promise<void> {
  const { batch } = pass;
  for (const [promotionDigest, approvals] of batch.state.reviewApprovals.entries()) {
    const owed = approvals.map((approval) => owedAt(batch.state, batch.state.approvals.get(approval)?.subject ?? null, promotionDigest)).find((found) => found !== null);
    if (owed === undefined) continue;
    await holdArtifacts(pass, approvals);
    const { approvals: counted, missing } = reviewOf(batch.state, owed, owed.debt, batch.asOf, batch.sources);
    if (missing === null) batch.add({ type: 'review', predicate: { environment: owed.environment, application: owed.application, promotionDigest: owed.debt.promotionDigest, approvals: counted } });
  }
}

/** What is owed there; null where it is not. Anybody may say that it is owed elsewhere, and the digest decides (T27). */
function owedAt(state: LogState, subject: Subject | null, promotionDigest: string): (Subject & { readonly debt: Debt }) | null {
  const debt = subject === null ? undefined : appStateOf(state, subject.environment, subject.application).debts.find((one) => one.promotionDigest === promotionDigest);
  return subject === null || debt === undefined ? null : { ...subject, debt };
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
