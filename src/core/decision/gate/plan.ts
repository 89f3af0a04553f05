import type { DecisionInput, GateResult } from '../types.ts';
import { passed, pending } from './result.ts';

/** Whether there is a plan, and a promotion digest that approvals can name. */
export function planGate(input: DecisionInput): readonly GateResult[] {
  const problems = input.problems.filter(({ code }) => code === 'PlanInvalid').map(({ detail }) => detail);
  const complete = input.plan !== null && input.promotionDigest !== null && (input.operation === 'remove' || input.runs !== null);
  if (!complete || problems.length > 0) return [pending('plan', { code: 'PlanInvalid', detail: { problems: [...new Set(problems)].sort() } })];
  return [passed('plan', { code: 'Ok', detail: { plan: input.plan } })];
}
