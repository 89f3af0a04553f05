import { mkdir, readFile, rm, writeFile } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { parse } from 'yaml';
import type { Diagnostic } from '../../src/core/desired/diagnostic.ts';
import type { AnyDocument, DocumentOf, SpecOf } from '../../src/core/model/documents.ts';
import { createSshKey, type SshKey } from '../fakes/git-repository.ts';
import { doc, pathOf, World, yamlOf } from '../fakes/world.ts';
import { cloneFor, json, type Clone } from './cli-fixture.ts';

let world: World;
let clone: Clone;
let spare: SshKey;
beforeAll(async () => {
  world = await World.create();
  spare = await createSshKey(join(world.folder, 'keys'), 'spare');
  clone = await cloneFor(world, world.people.alice);
});
afterAll(() => world.close());

/** What lint says of the worktree with these files written over it. */
async function lint(files: Readonly<Record<string, string>>): Promise<{ readonly code: number; readonly found: readonly Diagnostic[] }> {
  for (const [path, text] of Object.entries(files)) {
    await mkdir(dirname(join(clone.folder, path)), { recursive: true });
    await writeFile(join(clone.folder, path), text);
  }
  const result = await clone.stella(['lint', '-o', 'json']);
  for (const path of Object.keys(files)) await rm(join(clone.folder, path));
  await clone.git('checkout', '-q', '--', '.');
  return { code: result.code, found: json<{ diagnostics: readonly Diagnostic[] }>(result).diagnostics };
}

const written = (...documents: readonly AnyDocument[]): Readonly<Record<string, string>> => Object.fromEntries(documents.map((d) => [pathOf(d), yamlOf(d)]));
const prod = (approvals: SpecOf['Environment']['approvals']): Readonly<Record<string, string>> => written(doc('Environment', 'prod', { order: 2, from: [{ environment: 'dev' }], ...(approvals === undefined ? {} : { approvals }) }));
const person = (name: string, keys: readonly string[], roles: NonNullable<SpecOf['Principal']['roles']> = [{ role: 'dev' }]): DocumentOf<'Principal'> =>
  doc('Principal', name, { type: 'person', keys: keys.map((key) => ({ key, status: 'active' })), roles });

async function root(change: (spec: Record<string, unknown>) => void): Promise<Readonly<Record<string, string>>> {
  const document = parse(await readFile(join(clone.folder, 'trustroots/root.yaml'), 'utf8')) as DocumentOf<'TrustRoot'>;
  const spec = structuredClone(document.spec) as unknown as Record<string, unknown>;
  change(spec);
  return written({ ...document, spec: spec as unknown as SpecOf['TrustRoot'] });
}

type Fault = { readonly name: string; readonly code: Diagnostic['code']; readonly file: string; readonly files: () => Promise<Readonly<Record<string, string>>> | Readonly<Record<string, string>> };
const rule = (people: number, role?: string): { people: number; roles?: { role: string; count: number }[] } => ({ people, ...(role === undefined ? {} : { roles: [{ role, count: people }] }) });

/** T10, and what goes with it: everything of which the server would say that what was in force stays. */
const faults: readonly Fault[] = [
  { name: 'one key under two principals', code: 'SharedKey', file: 'principals/dave.yaml', files: () => written(person('dave', [world.people.bob.publicKey])) },
  { name: 'one key twice under one principal', code: 'SharedKey', file: 'principals/dave.yaml', files: () => written(person('dave', [spare.publicKey, spare.publicKey])) },
  { name: 'a key of the server under a person', code: 'SharedKey', file: 'trustroots/root.yaml', files: () => written(person('dave', [world.keys.commits.publicKey])) },
  { name: 'a root key of somebody else', code: 'SharedKey', file: 'trustroots/root.yaml', files: () => root((spec) => { spec['keys'] = [{ principal: 'alice', key: world.people.bob.publicKey }]; }) },
  { name: 'a threshold of the root below one', code: 'InvalidValue', file: 'trustroots/root.yaml', files: () => root((spec) => { spec['threshold'] = 0; }) },
  { name: 'a threshold of the root above its people', code: 'ThresholdUnreachable', file: 'trustroots/root.yaml', files: () => root((spec) => { spec['threshold'] = 2; }) },
  { name: 'a quorum below one', code: 'InvalidValue', file: 'trustroots/root.yaml', files: () => root((spec) => { spec['quorums'] = { default: rule(0), create: rule(1) }; }) },
  { name: 'a quorum of a kind above the people', code: 'ThresholdUnreachable', file: 'trustroots/root.yaml', files: () => root((spec) => { spec['quorums'] = { default: rule(1), create: rule(1), kinds: { Target: rule(9) } }; }) },
  { name: 'a quorum with a role that nobody holds', code: 'RoleUnheld', file: 'trustroots/root.yaml', files: () => root((spec) => { spec['quorums'] = { default: rule(1), create: rule(1, 'notary') }; }) },
  { name: 'a minimum above the people', code: 'ThresholdUnreachable', file: 'trustroots/root.yaml', files: () => root((spec) => { spec['minimums'] = { targets: [{ name: '*', ...rule(9) }] }; }) },
  { name: 'an expression of a gate that is no condition', code: 'ExpressionInvalid', file: 'gates/g.yaml', files: () => written(doc('Gate', 'g', { type: 'expression', expression: 'attempt' })) },
  { name: 'a gate that does not exist', code: 'DanglingReference', file: 'environments/prod.yaml', files: () => written(doc('Environment', 'prod', { order: 2, from: [{ environment: 'dev' }], gates: ['none'] })) },
  { name: 'approvals below one', code: 'InvalidValue', file: 'environments/prod.yaml', files: () => prod(rule(0)) },
  { name: 'approvals above the people', code: 'ThresholdUnreachable', file: 'environments/prod.yaml', files: () => prod(rule(9)) },
  { name: 'approvals by more of a role than hold it', code: 'ThresholdUnreachable', file: 'environments/prod.yaml', files: () => prod(rule(3, 'sre')) },
  { name: 'approvals by a role that nobody holds', code: 'RoleUnheld', file: 'environments/prod.yaml', files: () => prod(rule(1, 'notary')) },
  {
    name: 'approvals by a role that nobody holds here', code: 'RoleUnheld', file: 'environments/prod.yaml',
    files: () => ({ ...prod(rule(1, 'qa')), ...written(person('dave', [spare.publicKey], [{ role: 'qa', environments: ['dev'] }])) }),
  },
  { name: 'approvals of an application by a role that nobody holds', code: 'RoleUnheld', file: 'applications/shop.yaml', files: () => written(doc('Application', 'shop', { components: ['api'], deployment: { type: 'directory' }, approvals: rule(1, 'notary') })) },
  { name: 'two documents of one kind and name in two files', code: 'DuplicateDocument', file: 'elsewhere/prod.yaml', files: () => ({ 'elsewhere/prod.yaml': Object.values(prod(undefined))[0]! }) },
  { name: 'two documents of one kind and name in one file', code: 'DuplicateDocument', file: 'environments/prod.yaml', files: () => ({ 'environments/prod.yaml': `${Object.values(prod(undefined))[0]!}---\n${Object.values(prod(undefined))[0]!}` }) },
  { name: 'two trust roots', code: 'TrustRootCount', file: 'trustroots/other.yaml', files: async () => ({ 'trustroots/other.yaml': Object.values(await root(() => undefined))[0]!.replace('name: root', 'name: other') }) },
  { name: 'a root key of a service', code: 'NotAPerson', file: 'trustroots/root.yaml', files: async () => ({
    ...(await root((spec) => { spec['keys'] = [{ principal: 'bot', key: spare.publicKey }]; })), ...written(doc('Principal', 'bot', { type: 'service', keys: [{ key: spare.publicKey, status: 'active' }] })),
  }) },
  { name: 'a key that cannot sign', code: 'KeyUnreadable', file: 'principals/dave.yaml', files: () => written(person('dave', [spare.publicKey.replace('AAAAC3', 'AAAAC4')])) },
];

describe('stella lint', () => {
  it('finds nothing in what is in force', async () => {
    expect(await lint({})).toMatchObject({ code: 0, found: [] });
  });

  it.each(faults)('finds $name, and where', async ({ code, file, files }) => {
    const { code: exit, found } = await lint(await files());
    expect(exit).toBe(1);
    expect(found.filter((d) => d.severity === 'error').map((d) => `${d.code} ${d.file ?? ''}`)).toContain(`${code} ${file}`);
    expect(found.find((d) => d.code === code && d.file === file)).toMatchObject({ line: expect.any(Number) as number, remedy: expect.stringMatching(/\.$/) as string });
  });
});
