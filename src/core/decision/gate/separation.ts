import type { Clause } from '../../model/preimages.ts';
import type { Ballot } from '../ballot.ts';
import { clauseSubject } from '../clauses.ts';
import type { GateResult } from '../types.ts';
import { firstOf, passed, refused } from './result.ts';

/**
 * Separation of duties: whoever asks never approves (T19). That the known requesters are not counted is the approvals
 * gate's work; this gate stops a request of which nobody can say who made it (T20).
 */
export function separationGate(clauses: readonly Clause[], ballot: Ballot): readonly GateResult[] {
  const separating = clauses.filter((clause) => clause.authorNeverApproves);
  if (separating.length === 0) return [passed('separation', { code: 'NotRequired' })];
  const requesters = firstOf(ballot.requesters);
  const unknown = ballot.unknownRequesters;
  const denying = separating.filter((clause) => clause.unknownRequester !== 'one-more').map(clauseSubject);
  if (unknown > 0 && denying.length > 0) {
    return [refused('separation', { code: 'RequesterUnknown', detail: { requesters, unknown, clauses: firstOf([...new Set(denying)].sort()) } })];
  }
  return [passed('separation', { code: 'Ok', detail: { requesters, unknown } })];
}
