import { generateKeyPairSync } from 'node:crypto';
import { mkdir, readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import type { Reliance } from '../../src/core/evidence/reassess.ts';
import { rootOf } from '../../src/core/evidence/log-state.ts';
import { documentPreimage, type AnyDocument } from '../../src/core/model/documents.ts';
import type { TrustView, Waiting } from '../../src/cli/trust-model.ts';
import { createSshKey, runProgram, signWithSsh, verifyCommit, type SshKey } from '../fakes/git-repository.ts';
import { doc, World } from '../fakes/world.ts';
import { cloneFor, json, type Clone } from './cli-fixture.ts';

let world: World;
let clone: Clone;
let bobs: Clone;
let fresh: SshKey;
beforeAll(async () => {
  world = await World.create({ root: ({ alice, bob }) => ({ keys: [alice, bob].map((key) => ({ principal: key.name, key: key.publicKey })), threshold: 2 }) });
  clone = await cloneFor(world, world.people.alice);
  bobs = await cloneFor(world, world.people.bob);
  fresh = await createSshKey(join(world.folder, 'fresh'), 'fresh');
});
afterAll(() => world.close());

/** What the server has recorded, in the clone. */
async function settle(): Promise<void> {
  await world.settle();
  await clone.pull();
}

/** The key as `stella trust show` names it. */
async function fingerprint(key: SshKey): Promise<string> {
  return (await runProgram('ssh-keygen', ['-lf', key.publicKeyPath])).toString().split(' ')[1] ?? '';
}

type Shown = TrustView & { readonly waiting: readonly Waiting[] };
const show = async (...args: readonly string[]): Promise<Shown> => json<Shown>(await clone.stella(['trust', 'show', '-o', 'json', ...args]));
const keysOf = (shown: Shown, name: string): TrustView['principals'][number]['keys'] => shown.principals.find((p) => p.name === name)?.keys ?? [];

/** Commits what a command wrote, signed by alice, and has bob approve what is pending. */
async function bringIntoForce(only: string, others: readonly Clone[] = []): Promise<void> {
  await clone.git('commit', '-q', '-a', '-S', '-m', 'Change who may sign');
  await clone.git('push', '-q', 'origin', 'HEAD:main');
  for (const one of [clone, ...others]) {
    await one.pull();
    expect(await one.stella(['approve', '--pending', '--only', only, '--yes'])).toMatchObject({ code: 0 });
  }
  await settle();
}

describe('stella trust show', () => {
  it('shows root, keys and quorums in force, and that nothing waits', async () => {
    const shown = await show();
    expect(shown).toMatchObject({ logId: world.pin, waiting: [], root: { version: 1, threshold: 2, digest: world.pin, proposerCounts: true, quorums: { default: { people: 1 } } } });
    expect(shown.root.keys).toEqual([{ principal: 'alice', fingerprint: await fingerprint(world.people.alice) }, { principal: 'bob', fingerprint: await fingerprint(world.people.bob) }]);
    expect(shown.root.services.map(({ role }) => role)).toEqual(['decisions', 'agent-ca', 'evidence-commits']);
    const table = await clone.stella(['trust', 'show']);
    expect(table).toMatchObject({ code: 0 });
    expect(table.stdout).toContain(`alice  person  dev, admin\n  ${await fingerprint(world.people.alice)}  active`);
  });

  it('refuses a moment that it cannot read, and one before the log began', async () => {
    expect(await clone.stella(['trust', 'show', '--as-of', 'yesterday'])).toMatchObject({ code: 2 });
    expect(await clone.stella(['trust', 'show', '--as-of', '99999'])).toMatchObject({ code: 2 });
    expect(await clone.stella(['trust', 'show', '--as-of', '2001-01-01T00:00:00Z'])).toMatchObject({ code: 2 });
  });
});

describe('a key of a person', () => {
  it('is rotated: the file keeps its comments, the old key stays as superseded, and show says who may approve', async () => {
    const file = join(clone.folder, 'principals/carol.yaml');
    await writeFile(file, `# carol, on call in spring\n${await readFile(file, 'utf8')}`);
    const rotated = await clone.stella(['trust', 'rotate', 'carol', fresh.publicKeyPath, '--since', '2026-11-01T09:00:00Z', '-o', 'json']);
    expect(json(rotated)).toMatchObject({ file: 'principals/carol.yaml', document: 'Principal/carol', next: [expect.stringContaining('git commit'), 'stella approve --pending --only Principal/carol'] });
    const text = await readFile(file, 'utf8');
    expect(text).toContain('# carol, on call in spring');
    expect(text).toContain('status: superseded');
    await clone.git('commit', '-q', '-a', '-S', '-m', 'Rotate');
    const [waiting] = (await show()).waiting;
    expect(waiting).toMatchObject({ changes: [{ kind: 'Principal', name: 'carol', mayApprove: ['alice', 'bob'], fault: null }], approvedBy: [] });
    const before = (await show()).records;
    await clone.git('push', '-q', 'origin', 'HEAD:main');
    expect(await clone.stella(['approve', '--pending', '--only', 'Principal/carol', '--yes'])).toMatchObject({ code: 0 });
    await settle();
    const after = await show();
    expect(keysOf(after, 'carol')).toEqual([
      { fingerprint: await fingerprint(world.people.carol), status: 'superseded', since: '2026-11-01T09:00:00Z' }, { fingerprint: await fingerprint(fresh), status: 'active' },
    ]);
    expect(keysOf(await show('--as-of', String(before - 1)), 'carol')).toEqual([{ fingerprint: await fingerprint(world.people.carol), status: 'active' }]);
  });

  it.each([
    ['a key that is there already', ['add-key', 'carol', 'KEY'], 2], ['a person who is not there', ['add-key', 'nobody', 'KEY'], 2], ['a file that is not there', ['add-key', 'carol', '/nonexistent.pub'], 2],
    ['a principal of whom several keys could be meant', ['revoke', 'carol'], 2], ['a key that the principal does not have', ['revoke', 'carol', '--fingerprint', 'SHA256:x'], 2], ['a role that is none', ['rotate', '--service', 'root', 'KEY'], 2],
    ['nothing that it does', ['forget', 'carol'], 2],
  ])('says what is wrong with %s, and writes nothing', async (_, args, code) => {
    const result = await clone.stella(['trust', ...args.map((arg) => (arg === 'KEY' ? fresh.publicKeyPath : arg))]);
    expect(result.code).toBe(code);
    expect(result.stderr).toMatch(/^stella: /);
    expect(await clone.git('status', '--porcelain')).toBe('');
  });
});

describe('stella trust export', () => {
  it('lets plain git and ssh-keygen accept what is signed with a key in force, and nothing else', async () => {
    const exported = await clone.stella(['trust', 'export']);
    expect(exported.code).toBe(0);
    const file = join(world.folder, 'allowed_signers');
    await writeFile(file, exported.stdout);
    const signed = await world.commit([], { by: world.people.alice, branch: 'by-alice', files: { 'a.txt': 'a' } });
    expect(await verifyCommit(world.repository.folder, signed, file)).toBe(true);
    const stranger = await createSshKey(join(world.folder, 'stranger'), 'stranger');
    expect(await verifyCommit(world.repository.folder, await world.commit([], { by: stranger, branch: 'by-stranger', files: { 'b.txt': 'b' } }), file)).toBe(false);
    // Superseded since 2026-11-01: a signature that claims to be later is refused, one from before is not.
    const payload = documentPreimage(doc('Environment', 'x', { order: 1 }) as unknown as AnyDocument);
    const accepts = async (key: SshKey, name: string, at: string): Promise<boolean> => {
      await mkdir(join(world.folder, 'signed'), { recursive: true });
      const signature = join(world.folder, 'signed', `${key.name}.sig`);
      await writeFile(signature, await signWithSsh(key, payload, 'stella-approval'));
      return runProgram('ssh-keygen', ['-Y', 'verify', '-f', file, '-I', name, '-n', 'stella-approval', `-Overify-time=${at}`, '-s', signature], { input: payload }).then(() => true, () => false);
    };
    expect(await accepts(fresh, 'carol', '20261201000000Z')).toBe(true);
    expect(await accepts(world.people.carol, 'carol', '20261001000000Z')).toBe(true);
    expect(await accepts(world.people.carol, 'carol', '20261201000000Z')).toBe(false);
    expect(await accepts(world.people.bob, 'carol', '20261001000000Z')).toBe(false);
    // The server's own commits, on the evidence branch.
    expect(await verifyCommit(world.repository.folder, (await world.repository.tip('stella/evidence'))!, file)).toBe(true);
  });
});

describe('stella trust reassess', () => {
  it('lists what relied on a key or a person, as approver or as requester, and nothing for whom nobody relied on', async () => {
    const { alice, bob } = world.people;
    world.registry.put('shop/api:1.0', 'image 1.0');
    await world.commit([doc('Release', 'shop/1.0', { components: { api: { tag: '1.0' } } }) as unknown as AnyDocument], { by: alice });
    await world.settle();
    await world.commit([await world.promotion('dev', '1.0', { by: alice }), await world.promotion('prod', '1.0', { by: alice })], { by: alice });
    await settle();
    await bobs.pull();
    expect(await bobs.stella(['approve', 'prod/shop', '--yes'])).toMatchObject({ code: 0 });
    await settle();
    const reassess = async (suspect: string): Promise<{ code: number; relied: readonly (Reliance & { readonly runs: boolean })[] }> => {
      const result = await clone.stella(['trust', 'reassess', suspect, '-o', 'json']);
      return { code: result.code, relied: json<{ relied: readonly (Reliance & { readonly runs: boolean })[] }>(result).relied };
    };
    for (const suspect of ['bob', await fingerprint(bob)]) {
      const { code, relied } = await reassess(suspect);
      expect(code).toBe(1);
      expect(relied).toMatchObject([{ type: 'promotion-decision', environment: 'prod', application: 'shop', outcome: 'allow', as: ['approver'], runs: true }]);
    }
    const asked = (await reassess('alice')).relied;
    expect(asked.map(({ type, environment, as }) => [type, environment, ...as])).toEqual([
      ['protected-change', null, 'approver'], ['promotion-decision', 'dev', 'requester'], ['promotion-decision', 'prod', 'requester'],
    ]);
    expect(await reassess('carol')).toEqual({ code: 0, relied: [] });
  });
});

describe('a key of the trust root', () => {
  it('is rotated by as many people as both roots demand, and show tells what is wrong with a root that does not follow', async () => {
    const spare = await createSshKey(join(world.folder, 'spare'), 'alice-root');
    expect(await clone.stella(['trust', 'add-key', 'alice', spare.publicKeyPath, '--root'])).toMatchObject({ code: 0 });
    const text = await readFile(join(clone.folder, 'trustroots/root.yaml'), 'utf8');
    expect(text).toContain('version: 2');
    expect(text).toContain(`previous: ${world.pin}`);
    await bringIntoForce('TrustRoot/root', [bobs]);
    expect((await show()).root).toMatchObject({ version: 2, keys: [{ principal: 'alice' }, { principal: 'bob' }, { principal: 'alice', fingerprint: await fingerprint(spare) }] });
    await writeFile(join(clone.folder, 'trustroots/root.yaml'), text.replace('version: 2', 'version: 4'));
    await clone.git('commit', '-q', '-a', '-S', '-m', 'Skip a version');
    expect((await show()).waiting).toMatchObject([{ changes: [{ kind: 'TrustRoot', fault: { code: 'RootVersionSkipped' }, mayApprove: ['alice', 'bob'] }] }]);
    await clone.pull();
  });

  it('of ours is rotated as well: the next root lists the new key of the server', async () => {
    const pem = generateKeyPairSync('ec', { namedCurve: 'P-256' }).publicKey.export({ format: 'pem', type: 'spki' }).toString();
    const file = join(world.folder, 'decisions-2.pub');
    await writeFile(file, pem);
    expect(await clone.stella(['trust', 'rotate', '--service', 'decisions', file])).toMatchObject({ code: 0 });
    await clone.git('commit', '-q', '-a', '-S', '-m', 'Rotate our key');
    const [waiting] = (await show()).waiting;
    expect(waiting?.changes).toMatchObject([{ kind: 'TrustRoot', fault: null }]);
    expect(rootOf(await world.state()).spec.version).toBe(2);
    await clone.git('reset', '-q', '--hard', 'origin/main');
  });
});
