import { digestOfBytes, type Digest } from '../model/digest.ts';
import { finding, sortedFindings } from './finding.ts';
import type { ProposalPlan, PromotionPlan } from './plan-model.ts';
import { shortLine, waitsFor } from './situation-words.ts';

/** A plan in one line and one of four words, for a commit status. */
export type PlanStatus = { readonly state: 'pending' | 'success' | 'failure' | 'error'; readonly description: string };

/**
 * success: it was planned and nothing refuses it, though it may wait for people after the merge. failure: merged now it would be refused, or not
 * count. error: it cannot be planned.
 */
export function planStatus(plan: ProposalPlan): PlanStatus {
  const refused = plan.findings.filter(({ severity }) => severity === 'refused');
  if (plan.outcome === 'error') return { state: 'error', description: shortLine(refused[0]?.message ?? 'it cannot be planned') };
  const isRefused = refused.length > 0 || plan.promotions.some(({ effect, decision }) => effect !== 'nothing' && decision?.outcome === 'refuse');
  const parts = [...plan.promotions.filter(({ effect }) => effect !== 'nothing').map(promotionWords), ...protectedWords(plan), ...(refused.length === 0 ? [] : [`${refused.length} refused: ${refused[0]?.code ?? ''}`])];
  return { state: isRefused ? 'failure' : 'success', description: shortLine(parts.length === 0 ? 'changes nothing that runs or is in force' : parts.join('; ')) };
}

function promotionWords({ environment, application, release, effect, decision }: PromotionPlan): string {
  if (decision === null) return `${environment}/${application}: ${effect === 'withdraw' ? 'withdrawn' : 'cannot be planned'}`;
  const held = (decision?.gates ?? []).filter(({ outcome }) => outcome !== 'passed');
  const verdict = decision === null ? 'the request is withdrawn' : { allow: 'allowed', pending: `waiting for ${waitsFor(held)}`, refuse: `refused, waiting for ${waitsFor(held)}` }[decision.outcome];
  return `${environment}/${application} ${effect === 'remove' ? 'removed' : (release.to ?? '')}: ${verdict}`;
}

function protectedWords({ protectedChanges }: ProposalPlan): readonly string[] {
  const open = protectedChanges.filter(({ isMet }) => !isMet);
  const [first] = open;
  if (protectedChanges.length === 0) return [];
  if (first === undefined) return [`${protectedChanges.length} protected ${protectedChanges.length === 1 ? 'change' : 'changes'} would come into force`];
  return [`${first.kind}/${first.name} needs ${first.quorum}${open.length > 1 ? `, and ${open.length - 1} more` : ''}`];
}

/** Another open proposal that changes the same place is worth knowing: whichever is merged last is what counts. @param others by `environment/application`, as people name them */
export function withOthers(plan: ProposalPlan, others: ReadonlyMap<string, readonly string[]>): ProposalPlan {
  const notes = plan.promotions.flatMap(({ environment, application }) => {
    const place = `${environment}/${application}`;
    const names = others.get(place) ?? [];
    if (names.length === 0) return [];
    return [finding({ code: 'OtherProposal', severity: 'note', subject: `Promotion/${place}`, message: `${names.join(', ')} ${names.length === 1 ? 'changes' : 'change'} ${place} as well`, remedy: 'Whichever is merged last is what is requested; the other is superseded.' })];
  });
  return notes.length === 0 ? plan : { ...plan, findings: sortedFindings([...plan.findings, ...notes]) };
}

/**
 * Tells apart plans that say different things. That the same was said at another time, of another tip or a longer log, is no difference, nor is
 * when an allow would end that begins with the merge: otherwise a plan would be told again and again for nothing.
 */
export function planContent(plan: ProposalPlan): Digest {
  const { target, logSize: _size, asOf: _asOf, promotions, ...said } = plan;
  const lasting = promotions.map(({ lines, decision, ...one }) => ({ ...one, decision: decision === null ? null : { ...decision, notAfter: null, rollbackUntil: null }, lines: lines.filter(({ about }) => about !== 'decision') }));
  return digestOfBytes(JSON.stringify([target.ref, said, lasting]));
}
