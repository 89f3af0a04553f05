import type { DocumentOf, Kind, ProtectedChange, Quorum, RoleCount } from '../model/documents.ts';
import { canFillRoles, demandOf } from '../decision/match-roles.ts';

/** Quorum that one change of a protected document needs (T15): `create` for a new one, else that of its kind or the default. */
export function quorumFor(root: DocumentOf<'TrustRoot'>, change: ProtectedChange): Quorum {
  const { quorums } = root.spec;
  if (change.from === null) return quorums.create;
  const { kinds = {} } = quorums;
  return (Object.hasOwn(kinds, change.kind) ? kinds[change.kind as Kind] : undefined) ?? quorums.default;
}

/** Roles that a principal holds everywhere; a role bound to some environments or applications does not reach protected documents. */
export function unboundRoles(principal: DocumentOf<'Principal'>): readonly string[] {
  return (principal.spec.roles ?? []).filter((r) => r.environments === undefined && r.applications === undefined).map((r) => r.role);
}

/** Roles whose holders have a say; null: everybody has. T21: where roles are demanded only their holders count. */
function electorate(quorum: Quorum): ReadonlySet<string> | null {
  return quorum.roles === undefined || quorum.roles.length === 0 ? null : new Set(quorum.roles.map(({ role }) => role));
}

/** Whether this person's yes or no counts for `quorum` (T11, T21). */
export function hasSay(quorum: Quorum, person: DocumentOf<'Principal'>): boolean {
  const roles = electorate(quorum);
  return person.spec.type === 'person' && (roles === null || unboundRoles(person).some((role) => roles.has(role)));
}

/** Whether these distinct people meet `quorum`; each demanded role takes a person of its own (T21). */
export function meetsQuorum(quorum: Quorum, people: readonly DocumentOf<'Principal'>[]): boolean {
  const roles: readonly RoleCount[] = quorum.roles ?? [];
  const counted = people.filter((person) => hasSay(quorum, person)).map(unboundRoles);
  // T10: a threshold below one is no threshold, and one that is no whole number is met by nobody.
  const demanded = Math.max(demandOf(quorum.people), roles.reduce((sum, { count }) => sum + demandOf(count), 0));
  return demanded >= 1 && counted.length >= demanded && canFillRoles(roles, counted);
}
