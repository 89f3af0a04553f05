import type { DecisionInput, GateResult } from '../types.ts';
import { passed, pending } from './result.ts';

/** One run at a time for each environment and application: while another is open, this promotion waits. */
export function runGate(input: DecisionInput): readonly GateResult[] {
  const open = input.state.otherRunOpen;
  if (open === null) return [passed('run', { code: 'Ok' })];
  return [pending('run', { code: 'RunOpen', detail: { open } })];
}
