import { canonicalText } from '../model/canonical-json.ts';
import type { AnyDocument, DocumentOf, FreezeCalendar, FreezeSpec, KeyStatus, PrincipalKey, ProtectedChange, RoleBinding } from '../model/documents.ts';
import { allInForce, rootOf, type LogState } from '../evidence/log-state.ts';

/** One change of a protected document: what is in force, and what would be. Null where there is none. */
export type Sides = { readonly before: AnyDocument | null; readonly after: AnyDocument | null };

/**
 * Whether a change does nothing but stop (T24): a Freeze added or made wider, keys of a Principal made worse, a Principal or an Agent suspended.
 * Computed from the two documents, never declared. Whatever else the change does makes it an ordinary one: a stop gives nothing to anybody.
 */
export function isStop({ before, after }: Sides): boolean {
  if (after === null) return false;
  if (after.kind === 'Freeze') return before === null || (before.kind === 'Freeze' && isWider(before, after));
  if (after.kind === 'Principal') return before?.kind === 'Principal' && isWorsePrincipal(before, after);
  return after.kind === 'Agent' && before?.kind === 'Agent' && isNewlySuspended(before, after);
}

/** An edited reason alone widens nothing. */
function isWider(before: DocumentOf<'Freeze'>, after: DocumentOf<'Freeze'>): boolean {
  const [old, spec] = [before.spec, after.spec];
  const lists = (['environments', 'applications', 'releases'] as const).every((list) => includesAll(spec[list], old[list]));
  const covers = lists && calendarCovers(spec.calendar, old.calendar) && exceptsNoMore(spec, old);
  return covers && canonicalText({ ...spec, reason: '' }) !== canonicalText({ ...old, reason: '' });
}

/** An absent list is everything. */
function includesAll(wide: readonly string[] | undefined, narrow: readonly string[] | undefined): boolean {
  return wide === undefined || (narrow !== undefined && narrow.every((name) => wide.includes(name)));
}

/** No calendar is always. What a calendar means is not compared, only what it says: every window stays, and no exception is new. */
function calendarCovers(wide: FreezeCalendar | undefined, narrow: FreezeCalendar | undefined): boolean {
  if (wide === undefined) return true;
  if (narrow === undefined) return false;
  return says(wide.windows, narrow.windows) && says(wide.weekly, narrow.weekly) && says(narrow.exceptions, wide.exceptions);
}

function says<T extends object>(more: readonly T[] | undefined, fewer: readonly T[] | undefined): boolean {
  const said = new Set((more ?? []).map((one) => canonicalText(one as never)));
  return (fewer ?? []).every((one) => said.has(canonicalText(one as never)));
}

function exceptsNoMore(spec: FreezeSpec, old: FreezeSpec): boolean {
  return spec.except === undefined || (old.except !== undefined && canonicalText(spec.except as never) === canonicalText(old.except as never));
}

/** Nothing differs but keys that got worse, and a suspension that is new. */
function isWorsePrincipal(before: DocumentOf<'Principal'>, after: DocumentOf<'Principal'>): boolean {
  const { keys: oldKeys, ...oldSpec } = before.spec;
  const { keys, ...spec } = after.spec;
  const rest = (document: DocumentOf<'Principal'>, of: object): string => canonicalText({ ...document, signatures: null, spec: of } as never);
  const { suspended, ...unsuspended } = spec;
  const suspends = oldSpec.suspended === undefined && suspended !== undefined;
  if (rest(before, oldSpec) !== rest(after, suspends ? unsuspended : spec) || keys.length !== oldKeys.length) return false;
  const compared = keys.map((key, i) => compareKeys(oldKeys[i], key));
  return !compared.includes('other') && (suspends || compared.includes('worse'));
}

/** What may follow each status by a stop. Retired and superseded stand side by side: from one to the other only the date would move. */
const WORSE: Readonly<Record<KeyStatus, readonly KeyStatus[]>> = { active: ['retired', 'superseded', 'compromised'], retired: ['compromised'], superseded: ['compromised'], compromised: [] };

function compareKeys(before: PrincipalKey | undefined, after: PrincipalKey): 'same' | 'worse' | 'other' {
  if (before === undefined) return 'other';
  const { status, since, ...rest } = after;
  const { status: was, since: _, ...old } = before;
  if (canonicalText(rest) !== canonicalText(old)) return 'other';
  if (canonicalText(after) === canonicalText(before)) return 'same';
  return WORSE[was].includes(status) && since !== undefined ? 'worse' : 'other';
}

function isNewlySuspended(before: DocumentOf<'Agent'>, after: DocumentOf<'Agent'>): boolean {
  const { suspended, ...spec } = after.spec;
  if (before.spec.suspended !== undefined || suspended === undefined) return false;
  return canonicalText({ ...before, signatures: null } as never) === canonicalText({ ...after, signatures: null, spec } as never);
}

/** What a change takes away of a stop in force; `affected` is who may not lift it alone, null where nobody is. */
export type Lifting = { readonly affected: string | null };

/**
 * Whether a change lifts a stop: a Freeze deleted or no longer as wide, a suspension ended, a key that is no longer as bad as it was, a suspended Agent deleted or given away.
 * @returns null when every stop stays
 */
export function liftingIn({ before, after }: Sides): Lifting | null {
  if (before?.kind === 'Freeze') return after?.kind === 'Freeze' && (isWider(before, after) || isAsWide(before, after)) ? null : { affected: null };
  if (before?.kind === 'Agent') {
    const { suspended, owner } = before.spec;
    // Who gave it away would be somebody else when it is let loose.
    const stays = after?.kind === 'Agent' && after.spec.suspended !== undefined && after.spec.owner === owner;
    return suspended === undefined || stays ? null : { affected: owner };
  }
  if (before?.kind !== 'Principal') return null;
  // Whoever is not in force any more can do nothing, and cannot bring themselves back.
  if (after?.kind !== 'Principal') return null;
  const { keys, suspended } = after.spec;
  const freed = before.spec.suspended !== undefined && suspended === undefined;
  const lifts = freed || before.spec.keys.some((key) => key.status !== 'active' && !keys.some((one) => isNoBetter(key, one)));
  return lifts ? { affected: before.metadata.name } : null;
}

function isAsWide(before: DocumentOf<'Freeze'>, after: DocumentOf<'Freeze'>): boolean {
  return canonicalText({ ...before.spec, reason: '' } as never) === canonicalText({ ...after.spec, reason: '' } as never);
}

function isNoBetter(before: PrincipalKey, after: PrincipalKey): boolean {
  if (after.key !== before.key) return false;
  return WORSE[before.status].includes(after.status) || (after.status === before.status && (after.status === 'compromised' || after.since === before.since));
}

/** A list of pending changes in two: those that lift a stop, which nobody should approve unawares, and all others. */
export function partLiftings<C extends ProtectedChange>(state: LogState, changes: readonly C[], read: (change: C) => AnyDocument | null): { readonly liftings: readonly C[]; readonly others: readonly C[] } {
  const lifts = (change: C): boolean => {
    const before = state.inForce.get(`${change.kind}/${change.name}`)?.document ?? null;
    return liftingIn({ before, after: change.to === null ? null : read(change) }) !== null;
  };
  return { liftings: changes.filter(lifts), others: changes.filter((change) => !lifts(change)) };
}

/** T24: names of the roles whose holders may stop. */
export function stopRolesOf(root: DocumentOf<'TrustRoot'>): readonly string[] {
  return root.spec.stop?.roles ?? ['stop'];
}

/**
 * Whether one person may put a stop in force with their signature alone (T24): the holder of a stop role that reaches as far as the stop does,
 * or the owner for keys of their own. A suspended person stops nothing.
 */
export function mayStop(state: LogState, { before, after }: Sides, person: DocumentOf<'Principal'>): boolean {
  if (person.spec.type !== 'person' || person.spec.suspended !== undefined || after === null) return false;
  const roles = stopRolesOf(rootOf(state));
  const bindings = (person.spec.roles ?? []).filter(({ role }) => roles.includes(role));
  if (reachOf(state, before, after).every((place) => bindings.some((binding) => reaches(binding, place)))) return true;
  return after.kind === 'Principal' && after.metadata.name === person.metadata.name && (before?.kind !== 'Principal' || (before.spec.suspended === undefined) === (after.spec.suspended === undefined));
}

/** Null: every environment, every application. */
type Place = { readonly environment: string | null; readonly application: string | null };

function reaches({ environments, applications }: RoleBinding, { environment, application }: Place): boolean {
  const within = (list: readonly string[] | undefined, name: string | null): boolean => list === undefined || (name !== null && list.includes(name));
  return within(environments, environment) && within(applications, application);
}

/** Why these people may not put these changes in force as a stop, or null (T24). One person is enough for each, and nobody's no outweighs it. */
export function stopFault(state: LogState, sides: readonly Sides[], people: Iterable<DocumentOf<'Principal'>>): string | null {
  const all = [...people];
  const more = sides.find((one) => !isStop(one));
  if (more !== undefined) return `${nameOf(more)}: this does more than stop, so it needs its quorum`;
  const foreign = sides.find((one) => !all.some((person) => mayStop(state, one, person)));
  if (foreign === undefined) return null;
  return `${nameOf(foreign)}: nobody who signed may stop this; it takes the role ${stopRolesOf(rootOf(state)).join(' or ')} wherever it applies`;
}

function nameOf({ before, after }: Sides): string {
  const document = after ?? before;
  return document === null ? 'nothing' : `${document.kind}/${document.metadata.name}`;
}

/** T24: who is affected by a stop does not lift it without somebody else. @param people counted for the quorum @returns why not, or null */
export function liftingFault(sides: readonly Sides[], people: readonly DocumentOf<'Principal'>[]): string | null {
  for (const one of sides) {
    const affected = liftingIn(one)?.affected ?? null;
    if (affected === null || people.some((person) => person.metadata.name !== affected)) continue;
    return `${nameOf(one)}: this lifts a stop of ${affected}, so somebody else must agree`;
  }
  return null;
}

/** Where a stop has an effect. A principal belongs to no place, and an agent without targets to none either: that takes a role without limits. */
function reachOf(state: LogState, before: AnyDocument | null, after: AnyDocument): readonly Place[] {
  const everywhere: readonly Place[] = [{ environment: null, application: null }];
  if (after.kind === 'Freeze') return placesOf(after.spec);
  if (after.kind !== 'Agent') return everywhere;
  const targets = allInForce(state, 'Target').filter(({ spec }) => spec.agent === after.metadata.name);
  return before === null || targets.length === 0 ? everywhere : targets.flatMap(({ spec }) => placesOf(spec));
}

function placesOf({ environments, applications, releases }: { readonly environments?: readonly string[]; readonly applications?: readonly string[]; readonly releases?: readonly string[] }): readonly Place[] {
  const apps = applications ?? (releases === undefined ? undefined : releases.map((release) => release.slice(0, release.indexOf('/'))));
  return (environments ?? [null]).flatMap((environment) => (apps ?? [null]).map((application) => ({ environment, application })));
}

/** Both sides of each change of a list; null when the new document of one is not there, or is another. */
export function sidesIn(state: LogState, changes: readonly ProtectedChange[], read: (change: ProtectedChange) => AnyDocument | null): readonly Sides[] | null {
  const sides: Sides[] = [];
  for (const change of changes) {
    const after = change.to === null ? null : read(change);
    if (change.to !== null && (after?.kind !== change.kind || after.metadata.name !== change.name)) return null;
    sides.push({ before: state.inForce.get(`${change.kind}/${change.name}`)?.document ?? null, after });
  }
  return sides;
}
