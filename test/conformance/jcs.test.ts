import { readdir, readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { expect, test } from 'vitest';
import { canonicalTextWithFloats } from '../../src/core/model/canonical-json.ts';
import { requireVectors, vectorsFolder } from './vectors.ts';

test('every public vector of RFC 8785 comes out byte for byte', async (ctx) => {
  requireVectors('jcs', ctx);
  const names = await readdir(join(vectorsFolder, 'jcs/input'));
  const outputs = names.map(async (name) => {
    const input: unknown = JSON.parse(await readFile(join(vectorsFolder, 'jcs/input', name), 'utf8'));
    return [name, canonicalTextWithFloats(input)];
  });
  const expected = names.map(async (name) => [name, await readFile(join(vectorsFolder, 'jcs/output', name), 'utf8')]);
  expect(await Promise.all(outputs)).toEqual(await Promise.all(expected));
  expect(names.length).toBeGreaterThan(0);
});
