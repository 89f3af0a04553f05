import type { ApprovalSpec } from '../core/model/documents.ts';
import { appStateOf, type Debt } from '../core/evidence/log-state.ts';
import { reviewOf } from '../core/trust/review.ts';
import type { Subject } from '../reconciler/planning.ts';
import type { Evidence } from './clone.ts';
import { CliError } from './command.ts';
import { plain } from '../core/model/plain-text.ts';

type Answer = Pick<ApprovalSpec, 'action' | 'nonce'> & Partial<Pick<ApprovalSpec, 'comment' | 'expires'>>;
export type ReviewQuestion = { readonly text: string; readonly model: object; readonly specs: readonly ApprovalSpec[]; readonly warnings: readonly string[] };

/**
 * Broken glass that waits for a review, for the eyes of somebody who took no part (T27).
 * @throws CliError `NothingToReview`, `TookPart`
 */
export function reviewQuestion(evidence: Evidence, subject: Subject, p: { readonly principal: string; readonly asOf: string; readonly answer: () => Answer }): ReviewQuestion {
  const { environment, application } = subject;
  const { debts } = appStateOf(evidence.state, environment, application);
  if (debts.length === 0) throw new CliError('NothingToReview', `Nobody broke the glass in ${environment}/${application} without a review since.`, 'See `stella status`.', { exitCode: 1 });
  const open = debts.filter((debt) => !debt.participants.includes(p.principal));
  if (open.length === 0) throw new CliError('TookPart', `${p.principal} asked for it or approved it, and cannot review it.`, 'Somebody else must: stella approve --review', { exitCode: 1 });
  const specs = open.map((debt): ApprovalSpec => ({
    type: 'review', digest: debt.promotionDigest, environment, application, ...(debt.release === null ? {} : { release: debt.release }), ...p.answer(),
  }));
  const lines = open.flatMap((debt) => linesOf(evidence, subject, debt, p.asOf));
  return { text: lines.map(plain).join('\n'), model: { type: 'review', digest: specs[0]?.digest, environment, application, debts: open }, specs, warnings: [] };
}

function linesOf(evidence: Evidence, subject: Subject, debt: Debt, asOf: string): readonly string[] {
  const { approvals, missing } = reviewOf(evidence.state, subject, debt, asOf, evidence);
  return [
    `Broken glass in ${subject.environment}/${subject.application}: release ${debt.release ?? 'none'}`, `  digest      ${debt.promotionDigest}`, `  record      ${debt.seq}`,
    `  reason      ${debt.reason}`, `  took part   ${debt.participants.join(', ')}`, `  reviewed by ${approvals.map((a) => a.principal).join(', ') || 'nobody yet'}${missing === null ? '' : ` (${missing})`}`,
  ];
}
