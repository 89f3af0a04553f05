import { describe, expect, it } from 'vitest';
import { checkPolicy } from '../../../src/core/desired/check-policy.ts';
import { lookupIn } from '../../../src/core/desired/desired-state.ts';
import { exampleTree, places, stateOf, tools, type Tree } from './fixture.ts';

const head = 'apiVersion: stella/v1alpha1\n';
const gate = (name: string, spec: string): string => `${head}kind: Gate\nmetadata: {name: ${name}}\nspec:\n${spec.trimEnd().replace(/^/gm, '  ')}\n`;
const check = (more: Tree) => checkPolicy(lookupIn(stateOf({ ...exampleTree(), ...more })), tools);
const found = (more: Tree): readonly string[] => places(check(more));
const prod = exampleTree()['environments/prod.yaml'] ?? '';
/** Two more applications, and everything may be deployed to prod. */
const apps: Tree = {
  'apps/db.yaml': `${head}kind: Application\nmetadata: {name: db}\nspec: {components: [db], deployment: {type: directory}}\n---\n${head}kind: Component\nmetadata: {name: db}\nspec: {repository: db, registry: images}\n`,
  'apps/vault.yaml': `${head}kind: Application\nmetadata: {name: vault}\nspec: {components: [vault], deployment: {type: directory}}\n---\n${head}kind: Component\nmetadata: {name: vault}\nspec: {repository: vault, registry: images}\n`,
  'targets/prod-1.yaml': (exampleTree()['targets/prod-1.yaml'] ?? '').replace('[shop]', '[shop, db, vault]'),
};

describe('a gate', () => {
  it.each<readonly [string, string, string]>([
    ['an expression of another type', 'type: expression\nexpression: attempt', 'g.yaml:6 ExpressionInvalid'],
    ['an expression about something unknown', 'type: expression\nexpression: nobody == "x"', 'g.yaml:6 ExpressionInvalid'],
    ['an expression with a regular expression', `type: expression\nexpression: 'release.matches("(a+)+$")'`, 'g.yaml:6 ExpressionInvalid'],
    ['a window in an unknown time zone', 'type: window\ncalendar:\n  weekly: [{days: [mon], from: "09:00", to: "16:00", timeZone: Mars/Base}]', 'g.yaml:7 InvalidValue'],
    ['a window that ends before it begins', 'type: window\ncalendar:\n  windows:\n    - {start: "2031-05-17T09:30", end: "2031-05-16T09:30", timeZone: UTC}', 'g.yaml:8 InvalidValue'],
    ['a version that has no order', 'type: dependency\non:\n  - {application: shop, environment: dev, atLeast: nightly}', 'g.yaml:7 InvalidValue'],
    ['an application that does not exist', 'type: dependency\non:\n  - {application: blog}', 'g.yaml:7 DanglingReference'],
    ['an environment that does not exist', 'type: concurrency\nmost: 1\nenvironments: [prod, prdo]', 'g.yaml:7 DanglingReference'],
  ])('is an error at its line: %s', (_, spec, expected) => {
    expect(found({ 'g.yaml': gate('g', spec) })).toEqual([expected]);
  });

  it('that is named and does not exist is an error where it is named', () => {
    expect(found({ 'environments/prod.yaml': prod.replace('one-at-a-time', 'none') })).toEqual(['environments/prod.yaml:16 DanglingReference']);
  });

  it('says at which character an expression goes wrong', () => {
    expect(check({ 'g.yaml': gate('g', `type: expression\nexpression: 'attempt == 1 && nobody'`) }).map(({ message }) => message)).toEqual([expect.stringContaining('Unknown variable: nobody, at character 17')]);
  });
});

describe('dependencies', () => {
  const all = gate('all', 'type: dependency\non:\n  - {application: db}\n  - {application: vault}');
  const named = (...names: readonly string[]): string => prod.replace('[no-prereleases, one-at-a-time]', `[${names.join(', ')}]`);

  it('of a whole environment on one application are none on itself', () => {
    expect(found({ ...apps, 'g.yaml': gate('g', 'type: dependency\non:\n  - {application: db}'), 'environments/prod.yaml': named('g') })).toEqual([]);
  });

  it('on each other are an error at each of them', () => {
    expect(found({ ...apps, 'g.yaml': all, 'environments/prod.yaml': named('all') })).toEqual(['g.yaml:7 Cycle', 'g.yaml:8 Cycle']);
  });

  it('by way of gates of applications and other environments are one circle as well', () => {
    const needs = (name: string, application: string): string => gate(name, `type: dependency\non:\n  - {application: ${application}, environment: prod}`);
    const db = (apps['apps/db.yaml'] ?? '').replace('components: [db],', 'components: [db], gates: [a],');
    const vault = (apps['apps/vault.yaml'] ?? '').replace('components: [vault],', 'components: [vault], gates: [b],');
    expect(found({ ...apps, 'apps/db.yaml': db, 'apps/vault.yaml': vault, 'a.yaml': needs('a', 'vault'), 'b.yaml': needs('b', 'db') })).toEqual(['a.yaml:7 Cycle', 'b.yaml:7 Cycle']);
    expect(found({ ...apps, 'apps/db.yaml': db, 'apps/vault.yaml': vault, 'a.yaml': needs('a', 'vault'), 'b.yaml': needs('b', 'shop') })).toEqual([]);
  });
});
