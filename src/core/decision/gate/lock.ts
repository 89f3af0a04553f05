import type { DecisionInput, GateResult } from '../types.ts';
import { passed, pending } from './result.ts';

/** Whether it is settled which digests would run. Missing is pending: a registry may answer, a file may be added. */
export function lockGate(input: DecisionInput): readonly GateResult[] {
  const problems = input.problems.filter(({ code }) => code === 'LockMissing').map(({ detail }) => detail);
  if (problems.length > 0) return [pending('lock', { code: 'LockMissing', detail: { problems: [...new Set(problems)].sort() } })];
  if (input.lock !== null) return [passed('lock', { code: 'Ok', detail: { lock: input.lock } })];
  if (input.operation === 'remove') return [passed('lock', { code: 'NotRequired' })];
  return [pending('lock', { code: 'LockMissing', detail: { problems: [] } })];
}
