import type { DecisionInput, GateResult } from '../types.ts';
import { passed, pending } from './result.ts';

/** While a freeze that applies here is in force, nothing new is allowed (T24). */
export function freezeGate(input: DecisionInput): readonly GateResult[] {
  if (input.freezes.length === 0) return [passed('freeze', { code: 'Ok' })];
  return [...new Set(input.freezes)].map((subject) => pending('freeze', { subject, code: 'Frozen' }));
}
