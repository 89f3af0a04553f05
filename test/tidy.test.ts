import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { expect, test } from 'vitest';
import { importCycles, layerArrows, stageArrows } from './tidy/arrows.ts';
import { forbiddenWords, kebabCase } from './tidy/names.ts';
import { impureCore, moduleState, processOutsideBin } from './tidy/purity.ts';
import { barrels, deadFiles } from './tidy/reach.ts';
import { fileTooLong, functionsTooLong } from './tidy/size.ts';
import { isGenerated, listFiles, loadSources, type Finding } from './tidy/source.ts';
import { testHabits, testsOutsideTestFolder } from './tidy/test-habits.ts';
import { forbiddenTexts, numbered, undescribedProperties, type TextFile } from './tidy/texts.ts';

const root = fileURLToPath(new URL('..', import.meta.url));
const paths = listFiles(root);
const sources = loadSources(root, paths);

/** One line per finding, so that the failure reads like the output of a compiler. */
function report(findings: readonly Finding[]): readonly string[] {
  return findings.map(({ path, line, message }) => `${path}:${line} ${message}`);
}

function read(path: string): TextFile {
  return { path, text: readFileSync(join(root, path), 'utf8') };
}

test('there is code to look at', () => {
  expect(sources.length).toBeGreaterThan(20);
});

test('no function is longer than 70 lines', () => {
  expect(report(sources.flatMap(functionsTooLong))).toEqual([]);
});

test('no file is longer than 500 lines', () => {
  expect(report(sources.flatMap(fileTooLong))).toEqual([]);
});

test('arrows between the layers point inward', () => {
  expect(report(sources.flatMap(layerArrows))).toEqual([]);
});

test('no stage of the core calls a later one', () => {
  expect(report(sources.flatMap(stageArrows))).toEqual([]);
});

test('no files import each other in a circle', () => {
  expect(report(importCycles(sources))).toEqual([]);
});

test('the core is pure and synchronous', () => {
  expect(report(sources.flatMap(impureCore))).toEqual([]);
});

test('only bin touches the process', () => {
  expect(report(sources.flatMap(processOutsideBin))).toEqual([]);
});

test('what decisions are judged with outside our own code has one exact version', () => {
  const { dependencies } = JSON.parse(readFileSync(join(root, 'package.json'), 'utf8')) as { readonly dependencies: Readonly<Record<string, string>> };
  expect(dependencies['@marcbachmann/cel-js']).toMatch(/^\d+\.\d+\.\d+$/);
});

test('no module keeps state that can change', () => {
  expect(report(sources.flatMap(moduleState))).toEqual([]);
});

test('names use the words of the field', () => {
  expect(report(sources.flatMap(forbiddenWords))).toEqual([]);
});

test('files are named in kebab-case', () => {
  expect(report(kebabCase(paths))).toEqual([]);
});

test('every file of the product is reached from an entry', () => {
  const configurations = paths.filter((path) => /^(package\.json|proto\/.*\.yaml)$/.test(path)).map((path) => read(path).text);
  expect(report(deadFiles(sources, configurations))).toEqual([]);
});

test('the core has no barrel files', () => {
  expect(report(sources.flatMap(barrels))).toEqual([]);
});

test('every test runs, asserts and is named by a sentence', () => {
  expect(report([...sources.flatMap(testHabits), ...testsOutsideTestFolder(paths)])).toEqual([]);
});

test('no text switches checks off, names a machine or is unfinished', () => {
  const texts = paths.filter((path) => !isGenerated(path) && !/\.(png|jpg|ico|woff2?|gz|tar|zip|der)$/.test(path)).map(read);
  expect(report(texts.flatMap(forbiddenTexts))).toEqual([]);
});

test('migrations and decisions are numbered without gaps', () => {
  const migrations = numbered(paths, 'migrations', /^(\d{6})(-[a-z0-9-]+)?\.sql$/);
  const decisions = numbered(paths, 'docs/decisions', /^(\d{4})-[a-z0-9-]+\.md$/);
  expect(report([...migrations, ...decisions])).toEqual([]);
});

test('every property of every schema has a description', () => {
  const schemas = paths.filter((path) => /^schemas\/.*\.json$/.test(path)).map(read);
  expect(report(schemas.flatMap(undescribedProperties))).toEqual([]);
});
