import type { Digest } from '../model/digest.ts';
import { compareText } from '../model/names.ts';
import { earlier, instantTextOf, NEVER, type InstantText } from './instants.ts';
import type { CountedApproval, DecisionInput } from './types.ts';

/** People in force whom no clause can tell apart: the same roles, and all or none of them requesters. */
export type Circle = { readonly roles: ReadonlySet<string>; readonly isRequester: boolean };
/** One person in force who may be counted somewhere. */
export type Person = { readonly name: string; readonly circle: Circle };
/** All that one person said and that still stands; several signatures of one person are one vote (T21). */
export type Vote = {
  readonly person: Person;
  readonly documents: readonly Digest[];
  /** Earliest expiry of these documents. */
  readonly expiresAt: InstantText;
};

/** Who said yes and no, as of one moment, counted once for all clauses. */
export type Ballot = {
  readonly circles: readonly Circle[];
  /** These four are sorted by name. */
  readonly yes: readonly Vote[];
  readonly no: readonly Vote[];
  /** People who have not said yes. */
  readonly silent: readonly Person[];
  readonly requesters: readonly string[];
  /** Requesters who cannot be told apart from an approver (T20). */
  readonly unknownRequesters: number;
};

/** @param asOf null when the judge's time is malformed: then no yes stands and every no does */
export function ballotOf(input: DecisionInput, asOf: InstantText | null): Ballot {
  const { people, circles } = peopleOf(input);
  const yes: StandingVote[] = [];
  const no: StandingVote[] = [];
  for (const approval of input.approvals) {
    const person = people.get(approval.principal);
    if (person === undefined) continue; // T12: not a person in force for this promotion
    const expiresAt = standsUntil(approval, asOf);
    if (expiresAt === null) continue;
    (approval.action === 'approve' ? yes : no).push({ person, document: approval.document, expiresAt });
  }
  const { unknown } = input.requesters;
  const agreed = new Set(yes.map(({ person }) => person));
  return {
    circles,
    silent: [...people.values()].filter((person) => !agreed.has(person)).sort((a, b) => compareText(a.name, b.name)),
    yes: votesOf(yes),
    no: votesOf(no),
    requesters: [...new Set(input.requesters.people)].sort(compareText),
    unknownRequesters: Number.isSafeInteger(unknown) && unknown >= 0 ? unknown : Number.MAX_SAFE_INTEGER,
  };
}

function peopleOf(input: DecisionInput): { readonly people: ReadonlyMap<string, Person>; readonly circles: readonly Circle[] } {
  const requesters = new Set(input.requesters.people);
  const circles: Circle[] = [];
  const people = new Map<string, Person>();
  const lists = { requester: emptyList(), other: emptyList() };
  for (const [name, roles] of rolesByPrincipal(input)) {
    const isRequester = requesters.has(name);
    let list = isRequester ? lists.requester : lists.other;
    for (const role of roles) list = longerList(list, role);
    if (list.circle === null) circles.push((list.circle = { roles: new Set(roles), isRequester }));
    people.set(name, { name, circle: list.circle });
  }
  return { people, circles };
}

/** A list of roles, and the lists that begin with it: people with equal lists meet in one circle without any text being built. */
type RoleList = { circle: Circle | null; readonly longer: Map<string, RoleList> };

function emptyList(): RoleList {
  return { circle: null, longer: new Map() };
}

function longerList(list: RoleList, role: string): RoleList {
  const known = list.longer.get(role);
  if (known !== undefined) return known;
  const made = emptyList();
  list.longer.set(role, made);
  return made;
}

/** A principal that stands twice holds what both say. */
function rolesByPrincipal(input: DecisionInput): ReadonlyMap<string, readonly string[]> {
  const byName = new Map<string, readonly string[]>();
  for (const { principal, roles } of input.approvers) {
    const known = byName.get(principal);
    byName.set(principal, known === undefined ? roles : [...known, ...roles]);
  }
  return byName;
}

/**
 * Until when a signature stands: the time its signer wrote, or for ever.
 * @returns null when it does not stand as of `asOf`. A malformed time ends a yes and never ends a no.
 */
function standsUntil(approval: CountedApproval, asOf: InstantText | null): InstantText | null {
  const malformed = approval.action === 'approve' ? null : NEVER;
  if (asOf === null) return malformed;
  if (approval.expires === null) return NEVER;
  const expiresAt = instantTextOf(approval.expires);
  if (expiresAt === null) return malformed;
  return asOf < expiresAt ? expiresAt : null;
}

type StandingVote = { readonly person: Person; readonly document: Digest; readonly expiresAt: InstantText };

/** One vote per person, sorted by name. */
function votesOf(standing: readonly StandingVote[]): readonly Vote[] {
  const byPerson = new Map<Person, { person: Person; documents: Digest[]; expiresAt: InstantText }>();
  for (const { person, document, expiresAt } of standing) {
    const vote = byPerson.get(person);
    if (vote === undefined) {
      byPerson.set(person, { person, documents: [document], expiresAt });
      continue;
    }
    vote.documents.push(document);
    vote.expiresAt = earlier(vote.expiresAt, expiresAt);
  }
  return [...byPerson.values()].sort((a, b) => compareText(a.person.name, b.person.name));
}
