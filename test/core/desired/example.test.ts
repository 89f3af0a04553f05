import { existsSync, readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { parse } from 'yaml';
import { openSchemas } from '../../../src/adapters/schema/open-schemas.ts';
import { checkPolicy } from '../../../src/core/desired/check-policy.ts';
import { checkUnprotected } from '../../../src/core/desired/check-unprotected.ts';
import { documentsOf, fileDiagnostics, lookupIn } from '../../../src/core/desired/desired-state.ts';
import { isProtected, KINDS } from '../../../src/core/model/documents.ts';
import { exampleFolder, exampleTree, stateOf, tools } from './fixture.ts';

const state = stateOf(exampleTree());
const files = readdirSync(exampleFolder, { recursive: true, withFileTypes: true }).filter((e) => e.isFile());

describe('the example repository', () => {
  it('has no problem in any file, and with a root no configuration error', () => {
    expect(fileDiagnostics(state)).toEqual([]);
    expect(checkPolicy(lookupIn(state), tools)).toEqual([]);
    expect(checkUnprotected(state, lookupIn(state))).toEqual([]);
  });

  it('shows every kind but approvals, which people write, and freezes, which come and go', () => {
    expect(KINDS.filter((kind) => documentsOf(state, kind).length === 0)).toEqual(['Approval', 'Freeze']);
  });

  it('has every file that its applications and configurations name', () => {
    const lookup = lookupIn(state);
    const shipped = lookup.all('Application').flatMap((a) => a.document.spec.deployment.files ?? []);
    const overrides = lookup.all('Configuration').flatMap((c) => c.document.spec.override ?? []);
    expect([...shipped, ...overrides].length).toBeGreaterThan(1);
    for (const path of [...shipped, ...overrides]) expect({ path, exists: existsSync(join(exampleFolder, path)) }).toEqual({ path, exists: true });
  });

  it('explains every file in its README', () => {
    const readme = readFileSync(join(exampleFolder, 'README.md'), 'utf8');
    const unexplained = files.map((e) => e.name).filter((name) => name !== 'README.md' && !readme.includes(name));
    expect(unexplained).toEqual([]);
  });

  it('holds no private key', () => {
    for (const file of files) expect(readFileSync(join(file.parentPath, file.name), 'utf8')).not.toMatch(/PRIVATE KEY/);
  });
});

describe('the documentation of declarations', () => {
  const sections = readFileSync(new URL('../../../docs/declarations.md', import.meta.url), 'utf8').split(/^## /m);
  const example = (kind: string): string => /```yaml\n([^]*?)```/.exec(sections.find((s) => s.startsWith(`${kind}\n`)) ?? '')?.[1] ?? '';

  it.each(KINDS)('shows a %s with fields that exist, none of the required ones left out', (kind) => {
    const value = parse(example(kind)) as { readonly kind: string };
    expect(value.kind).toBe(kind);
    const result = openSchemas().validateDocument(kind, value);
    // Keys and digests are shortened for the reader.
    expect(result.ok ? [] : result.problems.filter((p) => p.code !== 'InvalidValue')).toEqual([]);
  });

  it.each(KINDS)('says of %s whether it is protected', (kind) => {
    const section = sections.find((s) => s.startsWith(`${kind}\n`)) ?? '';
    expect(section.startsWith(`${kind}\nProtected.`)).toBe(isProtected(kind));
  });
});
