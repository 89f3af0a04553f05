import fc from 'fast-check';
import { rm, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { afterAll, beforeAll, beforeEach, describe, expect, test } from 'vitest';
import { openOpenPgpVerifier } from '../../src/adapters/openpgp/open-verifier.ts';
import { verifyOpenPgpSignature } from '../../src/core/commit/openpgp-signature.ts';
import { verifyCommit } from '../../src/core/commit/verify-commit.ts';
import { verifySshSignature } from '../../src/core/commit/ssh-signature.ts';
import type { CommitId } from '../../src/core/model/commit-id.ts';
import type { OpenPgpKey } from '../../src/core/model/openpgp-key.ts';
import { armour as pgpArmour, certificateOf, makePgpKey, makePgpSignature, packet, subpacket, type PgpKey } from '../core/commit/openpgp-maker.ts';
import { armour as sshArmour, makeSignatureBlob, makeTestKey, type TestKey } from '../core/commit/signature-maker.ts';
import { missingComponent, requireComponent } from '../fakes/components.ts';
import { createRepository, createSshKey, createTemporaryFolder, runProgram, signWithSsh, writeAllowedSigners } from '../fakes/git-repository.ts';
import { GpgHome } from '../fakes/gpg.ts';

/**
 * The programs that people use are oracles: what they refuse we refuse. The other direction is in the tests of what we are stricter about.
 * GnuPG knows neither keys of version 6 nor SHA-3, so it cannot be asked about them.
 */

const NAMESPACE = 'stella-approval';
const MESSAGE = Buffer.from('{"kind":"Approval"}');
const RUNS = { numRuns: 60, endOnFailure: true };

let folder: string;
beforeAll(async () => {
  folder = await createTemporaryFolder();
});
afterAll(() => rm(folder, { recursive: true, force: true }));

/** What becomes of bytes on the way: some are turned, cut off, doubled or put in. */
const damage = fc.record({ at: fc.nat(), what: fc.constantFrom('turn', 'cut', 'double', 'insert', 'none'), bits: fc.integer({ min: 1, max: 255 }) });
type Damage = typeof damage extends fc.Arbitrary<infer T> ? T : never;

function damaged(bytes: Uint8Array, { at, what, bits }: Damage): Buffer {
  const place = bytes.length === 0 ? 0 : at % bytes.length;
  const [before, after] = [bytes.subarray(0, place), bytes.subarray(place)];
  if (what === 'cut') return Buffer.concat([before, after.subarray(1)]);
  if (what === 'double') return Buffer.concat([before, after.subarray(0, 1), after]);
  if (what === 'insert') return Buffer.concat([before, Buffer.of(bits), after]);
  const copy = Buffer.from(bytes);
  if (what === 'turn') copy[place] = (copy[place] ?? 0) ^ bits;
  return copy;
}

describe('ssh-keygen -Y verify and we', () => {
  beforeEach((ctx) => requireComponent('ssh-keygen', ctx));

  async function opensshAccepts(armoured: string, allowedSigners: string, name: string, message: Uint8Array, namespace = NAMESPACE): Promise<boolean> {
    const file = join(folder, `${name}.sig`);
    await writeFile(file, armoured);
    return runProgram('ssh-keygen', ['-Y', 'verify', '-f', allowedSigners, '-I', `${name}@example.test`, '-n', namespace, '-s', file], { input: message }).then(() => true, () => false);
  }
  const weAccept = (armoured: string, line: string, message: Uint8Array, namespace = NAMESPACE): boolean => {
    const outcome = verifySshSignature({ armoured, message, namespace });
    return outcome.ok && line.startsWith(`${outcome.key.type} ${Buffer.from(outcome.key.blob).toString('base64')}`);
  };

  test.each([['ed25519', undefined], ['ecdsa', 256], ['ecdsa', 384], ['ecdsa', 521], ['rsa', 3072], ['rsa', 4096]] as const)('agree about %s %s: its message, another message, another namespace, another key', async (type, bits) => {
    const name = `${type}-${bits ?? 0}`;
    const [key, other] = [await createSshKey(folder, name, type, bits), await createSshKey(folder, `${name}-other`, type, bits)];
    const allowed = join(folder, `${name}-allowed`);
    await writeFile(allowed, `${name}@example.test ${key.publicKey}\n`);
    const [own, strange] = [await signWithSsh(key, MESSAGE, NAMESPACE), await signWithSsh(other, MESSAGE, NAMESPACE)];
    for (const [armoured, message, namespace, expected] of [
      [own, MESSAGE, NAMESPACE, true], [own, Buffer.from('{}'), NAMESPACE, false], [own, MESSAGE, 'git', false], [strange, MESSAGE, NAMESPACE, false],
    ] as const) expect([await opensshAccepts(armoured, allowed, name, message, namespace), weAccept(armoured, key.publicKey, message, namespace)]).toEqual([expected, expected]);
  });

  test.each(['ed25519', 'ecdsa', 'rsa'] as const)('agree with git verify-commit about commits that git signed with %s', async (type) => {
    const key = await createSshKey(folder, `git-${type}`, type, type === 'rsa' ? 3072 : undefined);
    const repository = await createRepository();
    try {
      const configuration = ['-c', 'gpg.format=ssh', '-c', `user.signingKey=${key.privateKeyPath}`, '-c', `gpg.ssh.allowedSignersFile=${await writeAllowedSigners(join(folder, `git-${type}-allowed`), [key])}`, '-c', 'user.name=Ada', '-c', 'user.email=ada@example.test'];
      const tree = await repository.git(['mktree'], '');
      const signed = (await runProgram('git', ['--git-dir', repository.folder, ...configuration, 'commit-tree', '-S', '-m', 'Promote', tree])).toString().trim() as CommitId;
      const raw = await runProgram('git', ['--git-dir', repository.folder, 'cat-file', 'commit', signed]);
      const changed = Buffer.from(raw.toString().replace('Promote', 'Demote'));
      const changedId = (await repository.git(['hash-object', '-t', 'commit', '-w', '--stdin'], changed)) as CommitId;
      const gitAccepts = (commit: CommitId): Promise<boolean> => runProgram('git', ['--git-dir', repository.folder, ...configuration, 'verify-commit', commit]).then(() => true, () => false);
      expect([await gitAccepts(signed), verifyCommit(raw, 'sha1', signed).signed]).toEqual([true, true]);
      expect([await gitAccepts(changedId), verifyCommit(changed, 'sha1', changedId).signed]).toEqual([false, false]);
    } finally {
      await repository.remove();
    }
  });

  test.each(['ssh-ed25519', 'ecdsa-sha2-nistp256', 'ssh-rsa'])('never disagree so that we accept a damaged signature of %s that it refuses', async (type) => {
    const key: TestKey = makeTestKey(type);
    const name = `damaged-${type}`;
    const allowed = join(folder, `${name}-allowed`);
    await writeFile(allowed, `${name}@example.test ${key.line}\n`);
    const blob = makeSignatureBlob(key, MESSAGE, { namespace: NAMESPACE });
    await fc.assert(fc.asyncProperty(damage, fc.boolean(), async (change, inArmour) => {
      const armoured = inArmour ? damaged(Buffer.from(sshArmour(blob)), change).toString('latin1') : sshArmour(damaged(blob, change));
      if (weAccept(armoured, key.line, MESSAGE)) expect(await opensshAccepts(armoured, allowed, name, MESSAGE)).toBe(true);
    }), RUNS);
  }, 120_000);
});

describe('gpg --verify and we', () => {
  const verifier = openOpenPgpVerifier();
  let home: GpgHome;
  beforeAll(async () => {
    if (missingComponent('gpg') === undefined) home = await GpgHome.create();
  });
  afterAll(async () => {
    await verifier.close();
    if (missingComponent('gpg') === undefined) await home.remove();
  });
  beforeEach((ctx) => requireComponent('gpg', ctx));

  const weAccept = (armoured: string, key: PgpKey): boolean => {
    const described: OpenPgpKey = { fingerprint: key.fingerprint, primary: key.fingerprint, packet: key.packet, createdAt: key.created * 1000, boundAt: 0, maySign: true, expiresAt: null, revocation: null };
    return verifyOpenPgpSignature({ armoured, message: MESSAGE, keys: { verifier, find: (fingerprint) => (fingerprint === key.fingerprint ? described : undefined) } }).ok;
  };

  test.each(['eddsa', 'nistp256', 'nistp384', 'rsa'] as const)('never disagree so that we accept a signature of %s that it refuses, whatever was done to it', async (type) => {
    const key = makePgpKey(type);
    await home.gpg(['--import'], certificateOf(key));
    const made = fc.record({
      digest: fc.constantFrom('sha256', 'sha384', 'sha512', 'sha1', 'sha224'), type: fc.constantFrom(0, 0, 0, 1, 0x10),
      hashed: fc.subarray([subpacket(28, Buffer.from('ada@example.test')), subpacket(20, Buffer.from('80000000000100016178', 'hex')), subpacket(20, Buffer.from('800000000001000178', 'hex')), subpacket(99, Buffer.of(1), true), subpacket(100, Buffer.of(1)), subpacket(3, Buffer.of(0, 0, 0, 9))]),
    });
    let accepted = 0;
    await fc.assert(fc.asyncProperty(made, damage, fc.boolean(), async (options, change, inArmour) => {
      const body = makePgpSignature(key, MESSAGE, options);
      const whole = pgpArmour('PGP SIGNATURE', packet(2, body));
      const armoured = inArmour ? damaged(Buffer.from(whole), change).toString('latin1') : pgpArmour('PGP SIGNATURE', packet(2, damaged(body, change)));
      if (!weAccept(armoured, key)) return;
      accepted += 1;
      expect(await home.accepts(armoured, MESSAGE)).toBe(true);
    }), { ...RUNS, examples: [[{ digest: 'sha512', type: 0, hashed: [] }, { at: 0, what: 'none', bits: 1 }, false]] });
    expect(accepted).toBeGreaterThan(0);
  }, 120_000);
});
