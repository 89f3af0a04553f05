import { fileURLToPath } from 'node:url';
import { expect, test } from 'vitest';
import { registeredAttacks, RULES } from '../tidy/attacks.ts';

const { attacks, unreadable } = registeredAttacks(fileURLToPath(new URL('../..', import.meta.url)));

test('at least 90 attacks are registered, each under a name of its own', () => {
  expect(unreadable).toEqual([]);
  expect(attacks.length).toBeGreaterThanOrEqual(90);
  const names = attacks.map(({ name }) => name);
  expect(names.filter((name, i) => names.indexOf(name) !== i)).toEqual([]);
});

test('every rule from T1 to T32 is attacked', () => {
  const attacked = new Set(attacks.flatMap(({ rules }) => rules));
  expect(RULES.filter((rule) => !attacked.has(rule))).toEqual([]);
});
