import type { InstantMs } from '../../model/instant.ts';
import type { Ballot, Circle, Vote } from '../ballot.ts';
import { holdsAt, nextTurn } from '../calendar.ts';
import { earlier, instantText, NEVER, type InstantText } from '../instants.ts';
import { demandOf, matchRoles } from '../match-roles.ts';
import type { DecisionInput, FreezeFact, GateResult } from '../types.ts';
import { firstNames, passed, pending, refused } from './result.ts';

export type FreezeGate = {
  readonly results: readonly GateResult[];
  /** The votes that let it through a freeze: an allow consumes them too (T22). */
  readonly counted: readonly Vote[];
  /** When the first freeze begins that nobody let it through; NEVER if none does. An allow holds no longer (T23). */
  readonly begins: InstantText;
  /** When calendars turn next, each of them. */
  readonly turns: readonly InstantText[];
};

/** While a stop that reaches it holds, nothing new is allowed (T24), unless those whom the freeze itself names let this promotion through. */
export function freezeGate(input: DecisionInput, asOf: InstantMs | null, ballot: Ballot): FreezeGate {
  const judged = input.freezes.map((freeze) => judge(freeze, asOf, ballot));
  const standing = judged.filter(({ isExcepted, turn, holds }) => !holds && !isExcepted && turn !== null);
  return {
    results: judged.length === 0 ? [passed('freeze', { code: 'Ok' })] : judged.map(resultOf),
    counted: [...new Set(judged.flatMap(({ isExcepted, voters }) => (isExcepted ? voters : [])))],
    begins: standing.reduce((first, { turn }) => (turn === null ? first : earlier(first, turn)), NEVER),
    turns: judged.flatMap(({ turn }) => (turn === null ? [] : [turn])),
  };
}

type Judged = { readonly freeze: FreezeFact; readonly holds: boolean; readonly turn: InstantText | null; readonly isExcepted: boolean; readonly voters: readonly Vote[] };

function judge(freeze: FreezeFact, asOf: InstantMs | null, ballot: Ballot): Judged {
  const { calendar } = freeze;
  const holds = calendar === null || asOf === null || holdsAt(calendar, asOf);
  const next = calendar === null || asOf === null ? null : nextTurn(calendar, asOf);
  const turn = next === null ? null : instantText(next);
  const exception = exceptionBy(freeze, ballot);
  return { freeze, holds, turn: turn === NEVER ? null : turn, isExcepted: exception.isMet, voters: exception.voters };
}

/** T19, T20: who asked for it, known or not, lets nobody through. T21: distinct people in the demanded roles. */
function exceptionBy({ except, excepts }: FreezeFact, ballot: Ballot): { readonly isMet: boolean; readonly voters: readonly Vote[] } {
  if (except === null || excepts.length === 0) return { isMet: false, voters: [] };
  const said = new Set(excepts);
  const hasSay = ({ roles, isRequester }: Circle): boolean => !isRequester && (except.roles.length === 0 || except.roles.some(({ role }) => roles.has(role)));
  const voters = ballot.yes.filter((vote) => vote.documents.some((document) => said.has(document)) && hasSay(vote.person.circle));
  const match = matchRoles(except.roles, voters.map(({ person }) => ({ roles: person.circle.roles, people: 1 })));
  const need = Math.max(demandOf(except.people), match.demanded, 1) + ballot.unknownRequesters;
  return { isMet: match.filled >= match.demanded && voters.length >= need, voters };
}

function resultOf({ freeze, holds, turn, isExcepted, voters }: Judged): GateResult {
  const { name: subject, stops, except } = freeze;
  if (!holds) return passed('freeze', { subject, code: 'Ok', detail: { begins: turn ?? '' } });
  if (isExcepted) return passed('freeze', { subject, code: 'Excepted', detail: { by: firstNames(voters, () => true, ({ person }) => person.name) } });
  const detail = { mayExcept: except === null ? 0 : demandOf(except.people), roles: [...new Set((except?.roles ?? []).map(({ role }) => role))].sort() };
  const finding = { subject, detail, opensAt: turn };
  // What is suspended is refused outright: waiting for it is not what anybody means.
  if (stops === 'release') return refused('freeze', { ...finding, code: 'ReleaseSuspended' });
  return pending('freeze', { ...finding, code: stops === 'agent' ? 'AgentSuspended' : 'Frozen' });
}
