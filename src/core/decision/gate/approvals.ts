import type { Clause } from '../../model/preimages.ts';
import type { Ballot, Circle, Vote } from '../ballot.ts';
import { clauseSubject } from '../clauses.ts';
import { demandOf, matchRoles, type RoleMatch } from '../match-roles.ts';
import type { GateResult } from '../types.ts';
import { firstNames, firstOf, passed, pending, refused } from './result.ts';

/** The gate's results, and the votes that its clauses counted: what an allow consumes (T22). */
export type ApprovalsGate = { readonly results: readonly GateResult[]; readonly counted: readonly Vote[] };

/** Each clause is judged by itself, over distinct people in its own roles (T17, T21). */
export function approvalsGate(clauses: readonly Clause[], ballot: Ballot): ApprovalsGate {
  if (clauses.length === 0) return { results: [passed('approvals', { code: 'NotRequired' })], counted: [] };
  const voters = new Map<Circle, number>();
  for (const { person } of ballot.yes) voters.set(person.circle, (voters.get(person.circle) ?? 0) + 1);
  const counts = clauses.map((clause) => countFor(clause, ballot, voters));
  const counted = new Set(counts.flatMap(({ eligible }) => [...eligible]));
  return { results: counts.map((count) => resultOf(count, ballot)), counted: ballot.yes.filter(({ person }) => counted.has(person.circle)) };
}

/** What one clause makes of the ballot. */
type Count = {
  readonly clause: Clause;
  /** Circles with a say: holders of a demanded role, or everybody where none is demanded (T21). */
  readonly electors: ReadonlySet<Circle>;
  /** Of these, the ones whose yes counts. T19: who asked for the change never approves it, unless the clause says so. */
  readonly eligible: ReadonlySet<Circle>;
  /** People who said yes and are eligible. */
  readonly have: number;
  readonly match: RoleMatch;
  readonly need: number;
};

function countFor(clause: Clause, ballot: Ballot, voters: ReadonlyMap<Circle, number>): Count {
  const electors = new Set(ballot.circles.filter(({ roles }) => clause.roles.length === 0 || clause.roles.some(({ role }) => roles.has(role))));
  const eligible = new Set([...electors].filter(({ isRequester }) => !(isRequester && clause.authorNeverApproves)));
  const groups = [...eligible].map((circle) => ({ roles: circle.roles, people: voters.get(circle) ?? 0 }));
  const have = groups.reduce((sum, { people }) => sum + people, 0);
  const match = matchRoles(clause.roles, groups);
  // T20: an unknown requester may be one of the approvers, so one more must agree. T10: less than one is no threshold.
  const more = clause.authorNeverApproves && clause.unknownRequester === 'one-more' ? ballot.unknownRequesters : 0;
  const need = Math.min(Math.max(demandOf(clause.people), match.demanded, 1) + more, Number.MAX_SAFE_INTEGER);
  return { clause, electors, eligible, have, match, need };
}

function resultOf(count: Count, ballot: Ballot): GateResult {
  const { clause, electors, eligible, have, match, need } = count;
  const subject = clauseSubject(clause);
  // A no counts from everybody with a say, who asked included: stopping is easier than going on.
  const rejectedBy = firstNames(ballot.no, ({ person }) => electors.has(person.circle), voterOf);
  const detail = {
    have,
    need,
    counted: firstNames(ballot.yes, ({ person }) => eligible.has(person.circle), voterOf),
    missingRoles: match.needed,
    requesters: clause.authorNeverApproves ? firstOf(ballot.requesters) : [],
    withoutRole: firstNames(ballot.yes, ({ person }) => !electors.has(person.circle), voterOf),
    rejectedBy,
  };
  const met = match.filled >= match.demanded && have >= need;
  if (met && rejectedBy.length === 0) return passed('approvals', { subject, code: 'Ok', detail });
  const full = { ...detail, couldApprove: met ? [] : couldApprove(count, ballot) };
  if (rejectedBy.length > 0) return refused('approvals', { subject, code: 'ApprovalsRejected', detail: full });
  return pending('approvals', { subject, code: 'ApprovalsMissing', detail: full });
}

/** People whose yes would bring the clause nearer, by name. */
function couldApprove({ eligible, match, need, have }: Count, ballot: Ballot): readonly string[] {
  // Somebody who fills no needed role still helps while more people than empty places are missing.
  const anybodyHelps = need - have > match.demanded - match.filled;
  const helping = new Set([...eligible].filter(({ roles }) => anybodyHelps || match.needed.some((role) => roles.has(role))));
  return firstNames(ballot.silent, ({ circle }) => helping.has(circle), ({ name }) => name);
}

function voterOf(vote: Vote): string {
  return vote.person.name;
}
