import fc from 'fast-check';
import { expect, it } from 'vitest';
import { canFillRoles, matchRoles } from '../../src/core/decision/match-roles.ts';

const roles = ['a', 'b', 'c'] as const;
const arbitraryDemands = fc.array(fc.record({ role: fc.constantFrom(...roles), count: fc.nat(2) }), { maxLength: 4 });
const arbitraryPeople = fc.array(fc.subarray([...roles]), { maxLength: 6 });

/** Tries every way to give each person one place or none. */
function bestByTrying(places: readonly string[], people: readonly (readonly string[])[]): number {
  const [person, ...rest] = people;
  if (person === undefined) return 0;
  let best = bestByTrying(places, rest);
  for (const role of new Set(person)) {
    const index = places.indexOf(role);
    if (index >= 0) best = Math.max(best, 1 + bestByTrying(places.toSpliced(index, 1), rest));
  }
  return best;
}

const groupsOf = (people: readonly (readonly string[])[]): { roles: ReadonlySet<string>; people: number }[] => people.map((held) => ({ roles: new Set(held), people: 1 }));
const placesOf = (demands: readonly { role: string; count: number }[]): string[] => demands.flatMap(({ role, count }) => Array.from({ length: count }, () => role));

it('fills as many places as trying every assignment does', () => {
  fc.assert(
    fc.property(arbitraryDemands, arbitraryPeople, (demands, people) => {
      const places = placesOf(demands);
      const best = bestByTrying(places, people);
      expect(matchRoles(demands, groupsOf(people))).toMatchObject({ filled: best, demanded: places.length });
      expect(canFillRoles(demands, people)).toBe(best === places.length);
    }),
    { numRuns: 1_000 },
  );
});

it('names exactly the roles of which one person more would help', () => {
  fc.assert(
    fc.property(arbitraryDemands, arbitraryPeople, (demands, people) => {
      const places = placesOf(demands);
      const best = bestByTrying(places, people);
      const helping = roles.filter((role) => bestByTrying(places, [...people, [role]]) > best);
      expect(matchRoles(demands, groupsOf(people)).needed).toEqual(helping);
    }),
    { numRuns: 1_000 },
  );
});

it('finds the same for people in groups as one by one', () => {
  const arbitraryGroups = fc.array(fc.record({ roles: fc.subarray([...roles]).map((held) => new Set(held)), people: fc.nat(4) }), { maxLength: 4 });
  fc.assert(
    fc.property(arbitraryDemands, arbitraryGroups, (demands, groups) => {
      const single = groups.flatMap((group) => Array.from({ length: group.people }, () => ({ roles: group.roles, people: 1 })));
      expect(matchRoles(demands, groups)).toEqual(matchRoles(demands, single));
    }),
  );
});

it('is met by nobody when a count is no whole number', () => {
  for (const count of [-1, 0.5, Number.NaN, Number.POSITIVE_INFINITY]) expect(canFillRoles([{ role: 'a', count }], [['a'], ['a']])).toBe(false);
});
