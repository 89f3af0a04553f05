import { describe, expect, test } from 'vitest';
import { importCycles, layerArrows, stageArrows } from './arrows.ts';
import { forbiddenWords, kebabCase } from './names.ts';
import { impureCore, moduleState, processOutsideBin } from './purity.ts';
import { barrels, deadFiles } from './reach.ts';
import { fileTooLong, functionsTooLong } from './size.ts';
import { parse, type Finding, type Source } from './source.ts';
import { testHabits, testsOutsideTestFolder } from './test-habits.ts';
import { forbiddenTexts, numbered, undescribedProperties } from './texts.ts';

type Rule = (source: Source) => readonly Finding[];
type Sample = readonly [what: string, rule: Rule, path: string, text: string];

const lines = (count: number): string => 'work();\n'.repeat(count);
// Written with a hole, so that these samples are not findings themselves.
const ignored = '// @ts-' + 'ignore';

const BAD: readonly Sample[] = [
  ['a function of 71 lines', functionsTooLong, 'src/core/model/x.ts', `function f() {\n${lines(69)}}\n`],
  ['a long arrow function', functionsTooLong, 'test/x.test.ts', `const f = () => {\n${lines(80)}};\n`],
  ['a long method', functionsTooLong, 'src/api/x.ts', `class A { f() {\n${lines(80)}} }\n`],
  ['a file of 501 lines', fileTooLong, 'src/api/x.ts', lines(501)],
  ['core importing a port', layerArrows, 'src/core/model/x.ts', "import { a } from '../../ports/a.ts';"],
  ['core importing a type of a port', layerArrows, 'src/core/model/x.ts', "import type { A } from '../../ports/a.ts';"],
  ['core importing a package', layerArrows, 'src/core/model/x.ts', "import { parse } from 'yaml';"],
  ['core importing the file system', layerArrows, 'src/core/model/x.ts', "import { readFileSync } from 'node:fs';"],
  ['core importing randomness', layerArrows, 'src/core/model/x.ts', "import { randomBytes } from 'node:crypto';"],
  ['core importing all of node:crypto', layerArrows, 'src/core/model/x.ts', "import * as crypto from 'node:crypto';"],
  ['a port importing an adapter', layerArrows, 'src/ports/x.ts', "import type { A } from '../adapters/git/a.ts';"],
  ['an adapter importing the reconciler', layerArrows, 'src/adapters/git/x.ts', "import { a } from '../../reconciler/a.ts';"],
  ['an adapter running code of config', layerArrows, 'src/adapters/git/x.ts', "import { a } from '../../config/a.ts';"],
  ['the reconciler importing an adapter', layerArrows, 'src/reconciler/x.ts', "import { a } from '../adapters/git/a.ts';"],
  ['a command importing an adapter lazily', layerArrows, 'src/cli/x.ts', "const a = () => import('../adapters/git/a.ts');"],
  ['the agent importing the command line', layerArrows, 'src/agent/x.ts', "import { a } from '../cli/a.ts';"],
  ['a face importing a composition root', layerArrows, 'src/api/x.ts', "import { main } from '../bin/main.ts';"],
  ['the product importing a test', layerArrows, 'src/bin/main.ts', "import { a } from '../../test/fakes/a.ts';"],
  ['an early stage calling a late one', stageArrows, 'src/core/commit/x.ts', "import { decide } from '../decision/decide.ts';"],
  ['a stage nobody has ordered', stageArrows, 'src/core/evidence/x.ts', "import { a } from '../novelty/a.ts';"],
  ['shared values calling a stage', stageArrows, 'src/core/evidence/log-state.ts', "import { a } from '../commit/a.ts';"],
  ['an async function in core', impureCore, 'src/core/model/x.ts', 'export async function f() {}'],
  ['await in core', impureCore, 'src/core/model/x.ts', 'await 1;'],
  ['for await in core', impureCore, 'src/core/model/x.ts', 'for await (const a of b) {}'],
  ['a promise as a type in core', impureCore, 'src/core/model/x.ts', 'type A = Promise<string>;'],
  ['a clock in core', impureCore, 'src/core/model/x.ts', 'const now = Date.now();'],
  ['a date object in core', impureCore, 'src/core/model/x.ts', 'const now = new Date();'],
  ['chance in core', impureCore, 'src/core/model/x.ts', 'const a = Math.random();'],
  ['the environment in core', impureCore, 'src/core/model/x.ts', 'const a = process.env;'],
  ['the console in core', impureCore, 'src/core/model/x.ts', 'console.log(1);'],
  ['a timer in core', impureCore, 'src/core/model/x.ts', 'setTimeout(f, 1);'],
  ['a lazy import in core', impureCore, 'src/core/model/x.ts', "const a = import('./a.ts');"],
  ['a locale in core', impureCore, 'src/core/model/x.ts', 'names.sort((a, b) => a.localeCompare(b));'],
  ['a global by another name in core', impureCore, 'src/core/model/x.ts', "const a = globalThis['fetch'];"],
  ['changing state of a module', moduleState, 'src/adapters/git/x.ts', 'export let count = 0;'],
  ['the environment outside bin', processOutsideBin, 'src/config/x.ts', "const home = process.env['HOME'];"],
  ['an exit outside bin', processOutsideBin, 'src/cli/x.ts', 'process.exit(1);'],
  ['a Manager', forbiddenWords, 'src/api/x.ts', 'class ReleaseManager {}'],
  ['a Service', forbiddenWords, 'src/api/x.ts', 'type ReleaseService = { a: 1 };'],
  ['a file of utils', forbiddenWords, 'src/api/string-utils.ts', ''],
  ['data as a name', forbiddenWords, 'src/api/x.ts', 'const data = 1;'],
  ['info as the end of a name', forbiddenWords, 'src/api/x.ts', 'function f(agentInfo: string) {}'],
  ['a timestamp', forbiddenWords, 'src/api/x.ts', 'type A = { readonly timestampMs: number };'],
  ['a hash for a digest', forbiddenWords, 'src/api/x.ts', 'const fileHash = 1;'],
  ['a boolean named trusted', forbiddenWords, 'src/api/x.ts', 'type A = { trusted: boolean };'],
  ['handling outside HTTP', forbiddenWords, 'src/reconciler/x.ts', 'function handleCommit() {}'],
  ['a barrel in core', barrels, 'src/core/model/all.ts', "export * from './digest.ts';"],
  ['an index in core', barrels, 'src/core/model/index.ts', 'export const a = 1;'],
  ['a skipped test', testHabits, 'test/x.test.ts', "test.skip('one two three', () => {});"],
  ['a lonely test', testHabits, 'test/x.test.ts', "it.only('one two three', () => {});"],
  ['a test to be written', testHabits, 'test/x.test.ts', "test.todo('one two three');"],
  ['a skipped group', testHabits, 'test/x.test.ts', "describe.skip('x', () => {});"],
  ['a hidden condition', testHabits, 'test/x.test.ts', "test.skipIf(isCi)('one two three', () => {});"],
  ['an empty assertion', testHabits, 'test/x.test.ts', 'expect(true).toBe(true);'],
  ['a title that is no sentence', testHabits, 'test/x.test.ts', "test('works', () => {});"],
  ['a title that should', testHabits, 'test/x.test.ts', "test('it should refuse that', () => {});"],
  ['tests in a file that is not run', testHabits, 'test/x.ts', "import { test } from 'vitest';"],
  ['a check switched off', forbiddenTexts, 'src/api/x.ts', ignored],
  ['a path of one machine', forbiddenTexts, 'docs/x.md', 'see /wo' + 'rk/main'],
  ['a registry in the lock', forbiddenTexts, 'package-lock.json', '  "resol' + 'ved": "https://example.test/a.tgz"'],
  ['an unfinished place', forbiddenTexts, 'src/api/x.ts', '// TO' + 'DO later'],
];

const GOOD: readonly Sample[] = [
  ['a function of 70 lines', functionsTooLong, 'src/core/model/x.ts', `function f() {\n${lines(68)}}\n`],
  ['a long group of tests', functionsTooLong, 'test/x.test.ts', `describe('x', () => {\n${lines(100)}});\n`],
  ['core digesting', layerArrows, 'src/core/model/x.ts', "import { createHash, type JsonWebKey } from 'node:crypto';"],
  ['bin putting all together', layerArrows, 'src/bin/main.ts', "import { a } from '../adapters/git/a.ts';"],
  ['a composition of the command line', layerArrows, 'src/cli/compose/serve.ts', "import { a } from '../../adapters/git/a.ts';"],
  ['an adapter taking the shape of a setting', layerArrows, 'src/adapters/git/x.ts', "import type { A } from '../../config/a.ts';"],
  ['a late stage calling an early one', stageArrows, 'src/core/evidence/x.ts', "import { decide } from '../decision/decide.ts';"],
  ['a type of a later stage', stageArrows, 'src/core/commit/x.ts', "import type { A } from '../decision/types.ts';"],
  ['a member that is called like a global', impureCore, 'src/core/model/x.ts', 'const a = { process: 1 }; a.process;'],
  ['a constant of a module', moduleState, 'src/adapters/git/x.ts', 'export const a = 1;'],
  ['a child called process', processOutsideBin, 'src/adapters/git/x.ts', 'const f = (process: Child) => process.stdout;'],
  ['metadata and services', forbiddenWords, 'src/core/release/x.ts', 'const metadata = 1; const composeService = 2;'],
  ['the shape of a foreign value', forbiddenWords, 'src/api/x.ts', 'const a = (e as { data?: { info: 1 } }).data;'],
  ['the hashes of a Merkle log', forbiddenWords, 'src/core/evidence/merkle-log.ts', 'function f(rootHash: Uint8Array) {}'],
  ['a sentence over cases', testHabits, 'test/x.test.ts', "test.each(cases)('%s', (name) => {});"],
  ['a shared contract suite', testHabits, 'test/contract/ledger-contract.ts', "import { test } from 'vitest';"],
];

describe('a bad sample is reported', () => {
  test.each(BAD)('%s', (_, rule, path, text) => {
    expect(rule(parse(path, text))).not.toEqual([]);
  });
});

describe('a good sample is left alone', () => {
  test.each(GOOD)('%s', (_, rule, path, text) => {
    expect(rule(parse(path, text))).toEqual([]);
  });
});

test('two files that import each other are a circle, and types do not close one', () => {
  const a = parse('src/api/a.ts', "import { b } from './b.ts';");
  expect(importCycles([a, parse('src/api/b.ts', "import { a } from './a.ts';")])).toHaveLength(1);
  expect(importCycles([a, parse('src/api/b.ts', "import type { A } from './a.ts';")])).toEqual([]);
});

test('a file that nothing leads to is dead, and one that is started as a process is not', () => {
  const main = parse('src/bin/main.ts', "import '../cli/run.ts'; fork(new URL('../adapters/git/child.ts', import.meta.url));");
  const others = ['src/cli/run.ts', 'src/adapters/git/child.ts', 'src/cli/forgotten.ts'].map((path) => parse(path, ''));
  expect(deadFiles([main, ...others]).map(({ path }) => path)).toEqual(['src/cli/forgotten.ts']);
});

test('file names in other cases are reported', () => {
  const paths = ['src/core/model/canonicalJson.ts', 'src/core/Model/digest.ts', 'test/fakes/my_fake.ts', 'docs/README.md', 'src/core/model/digest.ts'];
  expect(kebabCase(paths).map(({ path }) => path)).toEqual(paths.slice(0, 3));
});

test('tests that lie elsewhere or are called otherwise are reported', () => {
  const paths = ['src/core/model/digest.test.ts', 'test/core/digest.spec.ts', 'test/core/digest.test.ts'];
  expect(testsOutsideTestFolder(paths).map(({ path }) => path)).toEqual(paths.slice(0, 2));
});

test('a gap, a double and a foreign name in a numbered folder are reported', () => {
  const form = /^(\d{4})-[a-z-]+\.md$/;
  const findings = (...names: string[]): number => numbered(names.map((name) => `docs/decisions/${name}`), 'docs/decisions', form).length;
  expect(findings('0001-a.md', '0002-b.md')).toBe(0);
  expect(findings('0001-a.md', '0003-b.md')).toBe(1);
  expect(findings('0001-a.md', '0001-b.md')).toBe(1);
  expect(findings('notes.md')).toBe(1);
});

test('a property without a description is named by its place', () => {
  const schema = { properties: { spec: { description: 'what', properties: { soakSeconds: { type: 'integer' } } } } };
  const findings = undescribedProperties({ path: 'schemas/x.json', text: JSON.stringify(schema) });
  expect(findings.map(({ message }) => message)).toEqual(['/properties/spec/properties/soakSeconds has no description']);
});
