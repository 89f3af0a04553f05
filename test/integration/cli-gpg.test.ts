import { chmod, mkdir, mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { findGpgKey } from '../../src/adapters/openpgp/gpg-signer.ts';
import { appStateOf } from '../../src/core/evidence/log-state.ts';
import type { Digest } from '../../src/core/model/digest.ts';
import { runProgram } from '../fakes/git-repository.ts';
import { doc, World } from '../fakes/world.ts';
import { cloneFor, json, putImage, type Clone, type CliResult } from './cli-fixture.ts';

let home: string;
let world: World;
let bob: Clone;
let carol: Clone;
let environment: Record<string, string>;

async function makeKey(name: string, ...args: readonly string[]): Promise<string> {
  await runProgram('gpg', ['--batch', '--quiet', '--pinentry-mode', 'loopback', '--passphrase', '', '--quick-generate-key', `${name} <${name}@example.test>`, ...args], { env: environment });
  const listing = (await runProgram('gpg', ['--batch', '--with-colons', '--list-secret-keys', name], { env: environment })).toString();
  return /^fpr:+([0-9A-F]+):$/m.exec(listing)![1]!;
}

const exported = async (name: string): Promise<string> => (await runProgram('gpg', ['--batch', '--armor', '--no-emit-version', '--no-comments', '--export', name], { env: environment })).toString();
const stella = (clone: Clone, ...args: readonly string[]): Promise<CliResult> => clone.stella(args, { environment });

/** gpg dates keys and signatures by the clock of this machine, so the server goes by it as well. */
async function settle(): Promise<void> {
  world.now = new Date();
  await world.settle();
}

beforeAll(async () => {
  home = await mkdtemp(join(tmpdir(), 'gpg-'));
  await chmod(home, 0o700);
  environment = { GNUPGHOME: home };
  const bobKey = await makeKey('bob', 'ed25519', 'sign', '0');
  const carolKey = await makeKey('carol', 'ed25519', 'cert', '0');
  await runProgram('gpg', ['--batch', '--quiet', '--pinentry-mode', 'loopback', '--passphrase', '', '--quick-add-key', carolKey, 'ed25519', 'sign', '0'], { env: environment });
  // What a person may have in gpg.conf must not spoil what we sign.
  await writeFile(join(home, 'gpg.conf'), 'emit-version\ncomment signed at home\ntextmode\n');
  const person = async (name: string, role: string) => doc('Principal', name, { type: 'person', keys: [{ key: await exported(name), status: 'active' }], roles: [{ role }, { role: 'admin' }] });
  world = await World.create({ documents: [await person('bob', 'dev'), await person('carol', 'sre')] });
  await putImage(world, 'shop/api', '1.0', 'one');
  await world.commit([doc('Release', 'shop/1.0', { components: { api: { tag: '1.0' } } }), doc('Promotion', 'dev/shop', { release: '1.0' })], { by: world.people.alice });
  await settle();
  [bob, carol] = [await cloneFor(world, world.people.bob), await cloneFor(world, world.people.carol)];
  for (const [clone, key] of [[bob, bobKey], [carol, 'carol@example.test']] as const) {
    await clone.git('config', 'gpg.format', 'openpgp');
    await clone.git('config', 'user.signingKey', key);
  }
}, 60_000);
afterAll(async () => {
  await runProgram('gpgconf', ['--kill', 'all'], { env: environment });
  await rm(home, { recursive: true, force: true });
  await world.close();
});

describe('people who sign with gpg', () => {
  it('ask, approve with a subkey, and it is deployed', async () => {
    expect(await stella(bob, 'promote', 'shop/1.0', '--to', 'prod', '--here')).toMatchObject({ code: 0 });
    expect(await bob.git('cat-file', 'commit', 'HEAD')).toContain('-----BEGIN PGP SIGNATURE-----');
    await bob.git('push', '-q', 'origin', 'HEAD:main');
    await settle();
    await carol.pull();
    const approved = await stella(carol, 'approve', 'prod/shop', '--yes', '-o', 'json');
    expect(approved).toMatchObject({ code: 0 });
    expect(json<{ fingerprint: string; requesters: readonly string[]; digest: Digest }>(approved)).toMatchObject({ fingerprint: expect.stringMatching(/^openpgp:[0-9a-f]{40}$/) as string, requesters: ['alice', 'bob'] });
    await settle();
    expect(appStateOf(await world.state(), 'prod', 'shop')).toMatchObject({ release: '1.0', clean: true });
  });

  it('sign by the program that git is told to use', async () => {
    const [program, log] = [join(home, 'my-gpg'), join(home, 'calls')];
    await writeFile(program, `#!/bin/sh\necho "$@" >> ${log}\nexec gpg "$@"\n`);
    await chmod(program, 0o755);
    await carol.git('config', 'gpg.program', program);
    await world.commit([doc('Environment', 'qa', { order: 7 })], { by: world.people.alice });
    await settle();
    await carol.pull();
    expect((await stella(carol, 'approve', '--pending', '--yes')).code).toBe(0);
    expect(await readFile(log, 'utf8')).toContain('-bsau');
    await carol.git('config', 'gpg.program', join(home, 'nothing'));
    expect((await stella(carol, 'approve', '--pending', '--yes')).stderr).toContain('could not be started');
    await carol.git('config', '--unset', 'gpg.program');
  });

  it('are told when git signs with X.509, or when there is no such key', async () => {
    await mkdir(join(home, 'empty'), { mode: 0o700 });
    const elsewhere = await carol.stella(['approve', 'prod/shop', '--yes'], { environment: { GNUPGHOME: join(home, 'empty') } });
    expect(elsewhere).toMatchObject({ code: 2 });
    expect(elsewhere.stderr).toContain('no secret key');
    await carol.git('config', 'gpg.format', 'x509');
    expect((await stella(carol, 'approve', 'prod/shop', '--yes')).stderr).toContain('X.509');
    await carol.git('config', 'gpg.format', 'openpgp');
  });

  it('sign with the key that gpg itself would take', async () => {
    const gpg = { program: 'gpg', environment: { ...process.env, ...environment } };
    const { fingerprint, certificate } = await findGpgKey(gpg, 'carol@example.test');
    const primary = /^fpr:+([0-9A-F]+):$/m.exec((await runProgram('gpg', ['--batch', '--with-colons', '--list-secret-keys', 'carol'], { env: environment })).toString())![1]!;
    expect(fingerprint).not.toBe(primary.toLowerCase());
    expect(certificate).toContain('-----BEGIN PGP PUBLIC KEY BLOCK-----');
    const status = (await runProgram('sh', ['-c', 'printf x | gpg --status-fd=1 -bsau carol@example.test'], { env: environment })).toString();
    expect(status.toLowerCase()).toContain(`${fingerprint}\n`);
    await expect(findGpgKey(gpg, `${primary}!`)).rejects.toMatchObject({ code: 'KeyUnreadable' });
  });
});
