import type { Digest } from '../model/digest.ts';
import type { DocumentOf, Quorum } from '../model/documents.ts';
import { compareText } from '../model/names.ts';
import { canFillRoles, demandOf } from '../decision/match-roles.ts';
import { appStateOf, inForceOf, rootOf, stateKey, type Debt, type LogState } from '../evidence/log-state.ts';
import type { FoldResult, LogSources } from '../evidence/fold.ts';
import type { ObservedYes, RecordHeader, ReviewPredicate } from '../evidence/records.ts';
import { voicesIn } from './observed-approval.ts';

export type Place = { readonly environment: string; readonly application: string };
/** Where a review stands. `missing`: why it does not count yet; null when it does. */
export type ReviewState = { readonly approvals: readonly ObservedYes[]; readonly quorum: Quorum; readonly missing: string | null };

/** Who must review broken glass there: what the environment says; where it says nothing any more, the quorum `default` of the root. */
export function reviewQuorum(state: LogState, environment: string): Quorum {
  return inForceOf(state, 'Environment', environment)?.spec.breakGlass?.review ?? rootOf(state).spec.quorums.default;
}

/** Whether people who took no part, enough of them and in the demanded roles, have reviewed it (T27). A no of one of them holds it open. */
export function reviewOf(state: LogState, place: Place, debt: Debt, asOf: string, sources: LogSources): ReviewState {
  const quorum = reviewQuorum(state, place.environment);
  const wanted = { type: 'review', digest: debt.promotionDigest, asOf } as const;
  const voices = voicesIn(state, state.reviewApprovals.get(debt.promotionDigest) ?? [], wanted, sources);
  if (voices === null) return { approvals: [], quorum, missing: 'a review of it is not in the log; restore the evidence branch from a clone' };
  const hasSay = (person: DocumentOf<'Principal'>): boolean => {
    const demanded = quorum.roles ?? [];
    return demanded.length === 0 || rolesThere(person, place).some((role) => demanded.some((demand) => demand.role === role));
  };
  const counted = [...voices.yes.values()].filter(({ person }) => !debt.participants.includes(person.metadata.name) && hasSay(person));
  const approvals = counted.map(({ approval }) => approval).sort((a, b) => compareText(a.principal, b.principal));
  const against = voices.no.find(hasSay);
  if (against !== undefined) return { approvals, quorum, missing: `${against.metadata.name} does not accept it` };
  const roles = quorum.roles ?? [];
  const need = Math.max(demandOf(quorum.people), roles.reduce((sum, { count }) => sum + demandOf(count), 0), 1) + demandOf(debt.unknown); // T20
  const isMet = counted.length >= need && canFillRoles(roles, counted.map(({ person }) => rolesThere(person, place)));
  return { approvals, quorum, missing: isMet ? null : `${counted.length} of ${need} who took no part have reviewed it` };
}

function rolesThere(person: DocumentOf<'Principal'>, { environment, application }: Place): readonly string[] {
  const reaches = (names: readonly string[] | undefined, name: string): boolean => names?.includes(name) ?? true;
  return (person.spec.roles ?? []).filter((r) => reaches(r.environments, environment) && reaches(r.applications, application)).map((r) => r.role);
}

/** Takes a review: the debt is paid, and its approvals are spent. */
export function applyReview(state: LogState, header: Pick<RecordHeader, 'seq' | 'asOf'>, p: ReviewPredicate, sources: LogSources): FoldResult {
  const app = appStateOf(state, p.environment, p.application);
  const debt = app.debts.find(({ promotionDigest }) => promotionDigest === p.promotionDigest);
  const refuse = (why: string): FoldResult => ({ ok: false, code: 'ReviewNotMet', message: `review ${header.seq}: ${why}` });
  if (debt === undefined) return refuse('it reviews nothing that is owed');
  const { approvals, missing } = reviewOf(state, p, debt, header.asOf, sources);
  if (missing !== null) return refuse(missing);
  const named = (list: readonly ObservedYes[]): string => list.map((yes): Digest => yes.artifact).join(' ');
  if (named(approvals) !== named(p.approvals)) return refuse('its approvals are not those that the log observed');
  const paid = { ...app, debts: app.debts.filter((other) => other !== debt) };
  return {
    ok: true,
    state: { ...state, reviewApprovals: state.reviewApprovals.delete(p.promotionDigest), states: state.states.set(stateKey(p.environment, p.application), paid) },
  };
}
