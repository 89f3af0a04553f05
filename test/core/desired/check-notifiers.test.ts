import { describe, expect, it } from 'vitest';
import { checkPolicy } from '../../../src/core/desired/check-policy.ts';
import { lookupIn } from '../../../src/core/desired/desired-state.ts';
import { exampleTree, places, stateOf, tools, type Tree } from './fixture.ts';

const head = 'apiVersion: stella/v1alpha1\n';
const notifier = (more: string): string => `${head}kind: Integration\nmetadata: {name: chat}\nspec:\n  type: notifier-slack\n  host: hooks.example\n  urlRef: env:HOOK\n  events: [waiting]\n${more}`;
const found = (more: Tree): readonly string[] => places(checkPolicy(lookupIn(stateOf({ ...exampleTree(), ...more })), tools));

describe('a notifier', () => {
  it.each<readonly [string, string, readonly string[]]>([
    ['a name that means nothing', '  template:\n    subject: ok\n    text: "{{secret}} {{headline}}"\n', ['n.yaml:11 InvalidValue']],
    ['braces without a name', '  template:\n    subject: "{{ headline"\n', ['n.yaml:10 InvalidValue']],
    ['an environment that does not exist', '  environments: [prod, prdo]\n', ['n.yaml:9 DanglingReference']],
    ['an application that does not exist', '  applications: [blog]\n', ['n.yaml:9 DanglingReference']],
  ])('is an error at its line: %s', (_, more, expected) => {
    expect(found({ 'n.yaml': notifier(more) })).toEqual(expected);
  });

  it('with every name that there is, is none', () => {
    expect(found({ 'n.yaml': notifier('  template: {subject: "{{event}} {{headline}}", text: "{{text}} {{environment}} {{application}} {{release}} {{record}} {{at}} {{log}}"}\n') })).toEqual([]);
  });

  it('holds no images', () => {
    expect(found({ 'n.yaml': `${notifier('')}---\n${head}kind: Component\nmetadata: {name: other}\nspec:\n  repository: web\n  registry: chat\n` })).toEqual(['n.yaml:15 InvalidValue']);
  });
});
