import type { DocumentOf, Kind, ProtectedChange, Quorum, RoleCount } from '../model/documents.ts';
import { canFillRoles } from '../decision/match-roles.ts';

/** Quorum that one change of a protected document needs (T15): `create` for a new one, else that of its kind or the default. */
export function quorumFor(root: DocumentOf<'TrustRoot'>, change: ProtectedChange): Quorum {
  const { quorums } = root.spec;
  if (change.from === null) return quorums.create;
  return quorums.kinds?.[change.kind as Kind] ?? quorums.default;
}

/** Roles that a principal holds everywhere; a role bound to some environments or applications does not reach protected documents. */
export function unboundRoles(principal: DocumentOf<'Principal'>): readonly string[] {
  return (principal.spec.roles ?? []).filter((r) => r.environments === undefined && r.applications === undefined).map((r) => r.role);
}

/** Whether these distinct people meet `quorum`; each demanded role takes a person of its own (T21). */
export function meetsQuorum(quorum: Quorum, people: readonly DocumentOf<'Principal'>[]): boolean {
  const roles: readonly RoleCount[] = quorum.roles ?? [];
  const demanded = roles.reduce((sum, r) => sum + r.count, 0);
  // T21: where roles are demanded only their holders count. T10: a threshold below one is no threshold.
  const counted = people.map(unboundRoles).filter((held) => roles.length === 0 || roles.some(({ role }) => held.includes(role)));
  if (Math.max(quorum.people, demanded) < 1 || counted.length < Math.max(quorum.people, demanded)) return false;
  return canFillRoles(roles, counted);
}
