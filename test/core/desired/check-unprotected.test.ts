import { describe, expect, it } from 'vitest';
import { checkUnprotected } from '../../../src/core/desired/check-unprotected.ts';
import { applyFiles, lookupIn } from '../../../src/core/desired/desired-state.ts';
import { documentKey } from '../../../src/core/model/documents.ts';
import { changesOf, exampleTree, places, stateOf, type Tree } from './fixture.ts';

const example = exampleTree();
const inForce = lookupIn(stateOf(example));
const head = 'apiVersion: stella/v1alpha1\n';
const found = (files: Tree): readonly string[] => places(checkUnprotected(stateOf({ ...example, ...files }), inForce));
const promotion = (name: string, spec: string): string => `${head}kind: Promotion\nmetadata:\n  name: ${name}\nspec: ${spec}\n`;

describe('unprotected documents, judged by what is in force', () => {
  it.each<readonly [string, string, readonly string[]]>([
    ['a promotion to an environment that is not in force', promotion('qa/shop', '{release: 1.4.0}'), ['x.yaml:4 DanglingReference']],
    ['a promotion of an application that is not in force', promotion('prod/blog', '{state: absent}'), ['x.yaml:4 DanglingReference']],
    ['a promotion of a version that does not exist', promotion('prod/shop', '{release: 9.9.9}'), ['x.yaml:5 DanglingReference']],
    ['a removal, which needs no release', promotion('prod/shop', '{state: absent}'), []],
    ['a configuration of an unknown environment', `${head}kind: Configuration\nmetadata: {name: qa/shop}\nspec: {}\n`, ['x.yaml:3 DanglingReference']],
    ['a name that is a variable and a secret', `${head}kind: Configuration\nmetadata: {name: qa/shop}\nspec:\n  variables: {A: x}\n  secrets: {A: {ref: env:A}}\n`, ['x.yaml:3 DanglingReference', 'x.yaml:5 InvalidValue']],
    ['a release of an unknown application', `${head}kind: Release\nmetadata: {name: blog/1}\nspec: {components: {web: {tag: x}}}\n`, ['x.yaml:3 DanglingReference']],
    ['a release with a component of nobody', `${head}kind: Release\nmetadata: {name: shop/2}\nspec:\n  components:\n    api: {tag: x}\n    db: {tag: x}\n`, ['x.yaml:7 DanglingReference']],
  ])('%s', (_, text, expected) => {
    expect(found({ 'x.yaml': text })).toEqual(expected);
  });

  it('are not judged by documents of the tree that are not in force yet', () => {
    const environment = `${head}kind: Environment\nmetadata: {name: qa}\nspec: {order: 9}\n`;
    expect(found({ 'e.yaml': environment, 'x.yaml': promotion('qa/shop', '{release: 1.4.0}') })).toEqual(['x.yaml:4 DanglingReference']);
  });

  it('name the release that cannot be used', () => {
    const [diagnostic] = checkUnprotected(stateOf({ ...example, 'releases/shop/1.4.0.yaml': `${head}kind: Release\nmetadata: {name: shop/1.4.0}\nspec: {}\n` }), inForce);
    expect(diagnostic?.code).toBe('DanglingReference');
    expect(diagnostic?.message).toContain('releases/shop/1.4.0.yaml');
  });

  it('are looked at only where something changed, if the changed keys are given', () => {
    const before = stateOf({ ...example, 'x.yaml': promotion('qa/shop', '{release: 1.4.0}'), 'y.yaml': promotion('prod/shop', '{release: "2"}') });
    const [change] = changesOf({ 'releases/2.yaml': `${head}kind: Release\nmetadata: {name: shop/2}\nspec: {components: {api: {tag: x}}}\n` });
    expect(places(checkUnprotected(before, inForce, [documentKey('Promotion', 'prod/shop')]))).toEqual(['y.yaml:5 DanglingReference']);
    const { state, changed } = applyFiles(before, [change!]);
    expect(checkUnprotected(state, inForce, changed)).toEqual([]);
    expect(changed).toContain(documentKey('Promotion', 'prod/shop'));
  });
});
