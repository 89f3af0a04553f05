import type { Digest } from '../model/digest.ts';
import type { BreakGlass, DocumentOf } from '../model/documents.ts';
import { parseInstant } from '../model/instant.ts';
import { inForceOf, rootOf, type LogState } from '../evidence/log-state.ts';
import type { RuleMode } from './clauses.ts';
import type { PromotionDecisionPredicate } from '../evidence/records.ts';
import { compareText } from '../model/names.ts';
import type { Decision, DecisionInput, StateFacts } from './types.ts';

/** What a promotion would make run. */
export type Wanted = { readonly lock: Digest | null; readonly runs: Digest | null };

/** Whether it goes back to exactly what ran before, to the last variable: another configuration is no rollback. */
export function goesBack(previous: StateFacts['previous'], { lock, runs }: Wanted): boolean {
  return previous !== null && lock !== null && runs !== null && previous.lock === lock && previous.runs === runs;
}

/** T28: whether the environment eases it as of this moment, so many seconds after it was replaced at the latest. */
export function isEased(environment: DocumentOf<'Environment'> | null, previous: StateFacts['previous'], wanted: Wanted, asOf: string): boolean {
  const rule = environment?.spec.rollback;
  const [from, at] = [parseInstant(previous?.replacedAt ?? ''), parseInstant(asOf)];
  return rule !== undefined && goesBack(previous, wanted) && from !== null && at !== null && at - from <= rule.withinSeconds * 1000;
}

/** The rules that may apply, the one that applies to a new run first. A run that is open keeps those that it was opened under. */
export function modesOf(environment: DocumentOf<'Environment'> | null, breakGlass: BreakGlass | undefined, facts: { readonly previous: StateFacts['previous']; readonly wanted: Wanted; readonly asOf: string }): readonly [RuleMode, ...RuleMode[]] {
  const standard: RuleMode = { type: 'standard' };
  const rollback: RuleMode = { type: 'rollback' };
  if (breakGlass !== undefined) return [{ type: 'break-glass', skip: breakGlass.skip }];
  if (environment?.spec.rollback === undefined || !goesBack(facts.previous, facts.wanted)) return [standard];
  return isEased(environment, facts.previous, facts.wanted, facts.asOf) ? [rollback, standard] : [standard, rollback];
}

/** T27: what the environment lets people skip, if it and the root let them at all. */
export function breakGlassFacts(state: LogState, environment: string, asked: BreakGlass | undefined): DecisionInput['breakGlass'] {
  if (asked === undefined) return null;
  const rule = inForceOf(state, 'Environment', environment)?.spec.breakGlass;
  const isAllowed = rule !== undefined && rootOf(state).spec.minimums?.breakGlass !== undefined;
  return { ...asked, skip: [...asked.skip].sort(), allowed: isAllowed ? { skip: [...rule.skip].sort(), withinSeconds: rule.withinSeconds } : null };
}

/** What the record of a decision says of broken glass: what was skipped and why, and everybody who took part. */
export function brokenGlass({ breakGlass, requesters, approvals }: DecisionInput, decision: Decision): PromotionDecisionPredicate['breakGlass'] {
  if (breakGlass === null) return null;
  const { skip, reason, expires } = breakGlass;
  const approvers = approvals.filter(({ action, document }) => action === 'approve' && (decision.outcome !== 'allow' || decision.consumes.includes(document)));
  return { skip, reason, expires, participants: [...new Set([...requesters.people, ...approvers.map(({ principal }) => principal)])].sort(compareText) };
}
