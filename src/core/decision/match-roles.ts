import type { RoleCount } from '../model/documents.ts';
import { compareText } from '../model/names.ts';

/** People who hold the same roles and so can stand for each other. */
export type RoleGroup = { readonly roles: ReadonlySet<string>; readonly people: number };

/** How far people fill the demanded roles, each person at most one place (T21). */
export type RoleMatch = {
  /** Most places that these people can fill at once. */
  readonly filled: number;
  /** All places demanded. */
  readonly demanded: number;
  /**
   * Roles of which one person more would fill one place more, sorted. Empty once all places are filled. It does not depend
   * on the order of people: these are the roles from which an empty place can be reached by moving people over.
   */
  readonly needed: readonly string[];
};

/** A count that is not a whole number cannot be met by anybody: fail closed. */
export function demandOf(count: number): number {
  return Number.isSafeInteger(count) && count >= 0 ? count : Number.MAX_SAFE_INTEGER;
}

/** Whether every demanded place can be filled by a person of its own. @param people the roles that each person holds */
export function canFillRoles(demands: readonly RoleCount[], people: readonly (readonly string[])[]): boolean {
  const match = matchRoles(demands, people.map((roles) => ({ roles: new Set(roles), people: 1 })));
  return match.filled >= match.demanded;
}

/**
 * Largest assignment of people to demanded places, by augmenting paths over groups of people. "1 of sre and 1 of qa" takes
 * two people even where one holds both roles.
 * @param demands in any order; a role that stands twice is demanded twice
 * @param groups in any order
 */
export function matchRoles(demands: readonly RoleCount[], groups: readonly RoleGroup[]): RoleMatch {
  const places = placesOf(demands);
  const demanded = Math.min(places.reduce((sum, place) => sum + place.count, 0), Number.MAX_SAFE_INTEGER);
  let filled = 0;
  for (const group of groups) {
    const crowd: Crowd = { edges: edgesOf(places, group.roles) };
    for (let waiting = group.people; waiting > 0 && filled < demanded; ) {
      const moved = augment(places, crowd, waiting);
      if (moved === 0) break;
      waiting -= moved;
      filled += moved;
    }
  }
  return { filled, demanded, needed: filled === demanded ? [] : neededRoles(places) };
}

/** A group, by the places that it may take. */
type Crowd = { readonly edges: readonly number[] };
/** `occupants` counts the people of each crowd on this place; `taken` is their sum. */
type Place = { readonly role: string; readonly count: number; taken: number; readonly occupants: Map<Crowd, number> };
/** How a place was reached: people of this crowd would move into it, from that place (null: they are new). */
type Arrival = { readonly crowd: Crowd; readonly from: number | null };

function placesOf(demands: readonly RoleCount[]): readonly Place[] {
  const counts = new Map<string, number>();
  for (const { role, count } of demands) counts.set(role, Math.min((counts.get(role) ?? 0) + demandOf(count), Number.MAX_SAFE_INTEGER));
  return [...counts].map(([role, count]) => ({ role, count, taken: 0, occupants: new Map() }));
}

function edgesOf(places: readonly Place[], held: ReadonlySet<string>): readonly number[] {
  const edges: number[] = [];
  places.forEach((place, index) => {
    if (held.has(place.role)) edges.push(index);
  });
  return edges;
}

/** Places as many of `waiting` as one shortest path lets through. Breadth-first, so that no number of roles exhausts the stack. */
function augment(places: readonly Place[], newcomer: Crowd, waiting: number): number {
  const arrivals = new Map<number, Arrival>();
  const queue: number[] = [];
  const visit = (crowd: Crowd, from: number | null): void => {
    for (const edge of crowd.edges) {
      if (arrivals.has(edge)) continue;
      arrivals.set(edge, { crowd, from });
      queue.push(edge);
    }
  };
  visit(newcomer, null);
  for (let next = 0; next < queue.length; next += 1) {
    const index = queue[next] ?? 0;
    const place = places[index];
    if (place === undefined) continue;
    if (place.taken < place.count) return moveAlong(places, arrivals, index, waiting);
    for (const occupant of place.occupants.keys()) visit(occupant, index);
  }
  return 0;
}

function moveAlong(places: readonly Place[], arrivals: ReadonlyMap<number, Arrival>, free: number, waiting: number): number {
  const steps = pathTo(places, arrivals, free);
  const last = steps[0];
  if (last === undefined) return 0;
  let moved = Math.min(waiting, last.into.count - last.into.taken);
  for (const { from, crowd } of steps) if (from !== null) moved = Math.min(moved, from.occupants.get(crowd) ?? 0);
  last.into.taken += moved;
  for (const { into, from, crowd } of steps) {
    into.occupants.set(crowd, (into.occupants.get(crowd) ?? 0) + moved);
    const left = (from?.occupants.get(crowd) ?? 0) - moved;
    if (left > 0) from?.occupants.set(crowd, left);
    else from?.occupants.delete(crowd);
  }
  return moved;
}

type Step = { readonly into: Place; readonly from: Place | null; readonly crowd: Crowd };

/** The moves that end at the free place, last first. */
function pathTo(places: readonly Place[], arrivals: ReadonlyMap<number, Arrival>, free: number): readonly Step[] {
  const steps: Step[] = [];
  for (let index: number | null = free; index !== null; ) {
    const into = places[index];
    const arrival: Arrival | undefined = arrivals.get(index);
    if (into === undefined || arrival === undefined) break;
    steps.push({ into, from: arrival.from === null ? null : (places[arrival.from] ?? null), crowd: arrival.crowd });
    index = arrival.from;
  }
  return steps;
}

function neededRoles(places: readonly Place[]): readonly string[] {
  const needed = new Set<number>();
  places.forEach((place, index) => {
    if (place.taken < place.count) needed.add(index);
  });
  const reachesNeeded = (place: Place): boolean => {
    for (const crowd of place.occupants.keys()) if (crowd.edges.some((edge) => needed.has(edge))) return true;
    return false;
  };
  for (let before = -1; before !== needed.size; ) {
    before = needed.size;
    places.forEach((place, index) => {
      if (!needed.has(index) && reachesNeeded(place)) needed.add(index);
    });
  }
  return [...needed].map((index) => places[index]?.role ?? '').sort(compareText);
}
