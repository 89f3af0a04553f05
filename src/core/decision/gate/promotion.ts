import type { InstantMs } from '../../model/instant.ts';
import type { DecisionInput, GateResult } from '../types.ts';
import { passed, refused } from './result.ts';

/** Whether the promotion still asks for something. Each objection is a result of its own, so that "why?" is complete. */
export function promotionGate(input: DecisionInput, asOf: InstantMs | null): readonly GateResult[] {
  const results: GateResult[] = [];
  if (input.ended !== null) results.push(refused('promotion', { subject: 'document', code: input.ended }));
  // T22: after a failed run the promotion is closed until a commit raises the attempt.
  if (input.state.closed) results.push(refused('promotion', { subject: 'attempt', code: 'Closed', detail: { attempt: input.attempt } }));
  const nothing = input.problems.filter(({ code }) => code === 'NothingToRemove').map(({ detail }) => detail);
  if (nothing.length > 0) results.push(refused('promotion', { subject: 'removal', code: 'NothingToRemove', detail: { problems: [...new Set(nothing)].sort() } }));
  // Without a time nothing can be judged: an error is never an allow.
  if (asOf === null) results.push(refused('promotion', { subject: 'asOf', code: 'InputInvalid', detail: { asOf: input.asOf } }));
  return results.length > 0 ? results : [passed('promotion', { code: 'Ok' })];
}
