import { afterAll, beforeAll, beforeEach, describe, expect, test } from 'vitest';
import { openOpenPgpVerifier } from '../../src/adapters/openpgp/open-verifier.ts';
import { mergeCertificates } from '../../src/core/commit/openpgp-certificate.ts';
import { readCertificate } from '../../src/core/commit/openpgp-read-certificate.ts';
import { verifySignature } from '../../src/core/commit/verify-signature.ts';
import { BucketMap } from '../../src/core/model/bucket-map.ts';
import { verifyCommit } from '../../src/core/commit/verify-commit.ts';
import type { CommitId } from '../../src/core/model/commit-id.ts';
import { digestOfBytes } from '../../src/core/model/digest.ts';
import { keyFault, keyRingOf, type OpenPgpSources } from '../../src/core/trust/key-ring.ts';
import { missingComponent, requireComponent } from '../fakes/components.ts';
import { createRepository, runProgram } from '../fakes/git-repository.ts';
import { GpgHome, type GpgKey } from '../fakes/gpg.ts';
import { doc } from '../fakes/world.ts';

const MESSAGE = 'one\ntwo\n';
const NOW = '20260101T010000';
const verifier = openOpenPgpVerifier();
let home: GpgHome;
beforeAll(async () => {
  home = await GpgHome.create();
});
afterAll(async () => {
  await verifier.close();
  if (missingComponent('gpg') === undefined) await home.remove();
});
beforeEach((ctx) => requireComponent('gpg', ctx));

/** What we say of a signature when these versions of one certificate were in force one after the other, observed at gpg's clock. */
function verdict(armoured: string, versions: readonly string[], at = NOW, message = MESSAGE): string {
  let certificates: OpenPgpSources['certificates'] = BucketMap.empty();
  for (const text of versions) {
    const read = readCertificate(text, verifier);
    if (!read.ok) return read.code;
    certificates = certificates.set(read.certificate.primary, mergeCertificates(certificates.get(read.certificate.primary), read.certificate));
  }
  const ann = doc('Principal', 'ann', { type: 'person', keys: [{ key: versions.at(-1) ?? '', status: 'active' }] });
  const ring = keyRingOf([ann], { certificates, openPgp: verifier });
  const outcome = verifySignature({ armoured, message: Buffer.from(message), namespace: 'stella-approval', keys: ring });
  const holder = outcome.ok ? ring.get(outcome.signer.fingerprint) : undefined;
  if (!outcome.ok || holder === undefined) return outcome.ok ? 'nobody' : outcome.code;
  return keyFault(holder, instantOf(at)) ?? 'ok';
}

function instantOf(at: string): number {
  return Date.parse(at.replace(/^(....)(..)(..)T(..)(..)(..)$/, '$1-$2-$3T$4:$5:$6Z'));
}

/** What we say of a raw commit when this certificate is in force. */
function commitVerdict(raw: Uint8Array, commit: CommitId, certificate: string): string {
  const read = readCertificate(certificate, verifier);
  if (!read.ok) return read.code;
  const find = (fingerprint: string) => read.certificate.keys.find((k) => k.fingerprint === fingerprint && k.maySign);
  const outcome = verifyCommit(raw, 'sha1', commit, { openPgp: { verifier, find } });
  return outcome.signed ? 'ok' : outcome.code;
}

/** [gpg's verdict, ours]. */
async function both(key: GpgKey, armoured: string, at = NOW, message = MESSAGE): Promise<readonly [boolean, string]> {
  return [await home.accepts(armoured, message, at), verdict(armoured, [(await home.key(key.name, key.fingerprint)).publicKey], at, message)];
}

describe('gpg and we', () => {
  test.each(['ed25519', 'nistp256', 'nistp384', 'nistp521', 'rsa3072', 'rsa4096'])('accept a signature by %s, with and without a signing subkey, and refuse another message', async (algorithm) => {
    const plain = await home.createKey(`${algorithm}-plain`, { algorithm });
    const split = await home.createKey(`${algorithm}-split`, { algorithm, usage: 'cert', subkeys: [algorithm] });
    const [, subkey = ''] = await home.fingerprints(split);
    for (const [key, signer] of [[plain, plain], [split, { fingerprint: subkey.toUpperCase() }]] as const) {
      const armoured = await home.sign(signer, MESSAGE);
      expect(await both(key, armoured)).toEqual([true, 'ok']);
      expect(await both(key, armoured, NOW, 'one\r\ntwo\r\n')).toEqual([false, 'SignatureInvalid']);
    }
  }, 120_000);

  test.each(['SHA256', 'SHA384', 'SHA512'])('accept %s', async (digest) => {
    const key = await home.createKey(`digest-${digest}`);
    expect(await both(key, await home.sign(key, MESSAGE, ['--digest-algo', digest]))).toEqual([true, 'ok']);
  });

  test('refuse a critical notation, which demands to be understood, and accept one that does not', async () => {
    const key = await home.createKey('notation');
    expect(await both(key, await home.sign(key, MESSAGE, ['--sig-notation', '!x@example.test=y']))).toEqual([false, 'SubpacketUnsupported']);
    expect(await both(key, await home.sign(key, MESSAGE, ['--sig-notation', 'x@example.test=y']))).toEqual([true, 'ok']);
  });

  test('refuse a signature of a key that nobody has, and one that somebody else made', async () => {
    const [ann, bob] = [await home.createKey('ann'), await home.createKey('bob')];
    const armoured = await home.sign(bob, MESSAGE);
    expect(verdict(armoured, [ann.publicKey])).toBe('KeyUnknown');
    expect(verdict(armoured, [bob.publicKey])).toBe('ok');
  });

  test('judge a key by the moment: after its end both refuse, when it is renewed both accept, also what was signed before', async () => {
    const key = await home.createKey('ends', { expires: '2d' });
    const armoured = await home.sign(key, MESSAGE);
    const late = '20260105T000000';
    expect(await both(key, armoured)).toEqual([true, 'ok']);
    expect(verdict(armoured, [key.publicKey], late)).toBe('KeyExpired');
    await home.gpg(['--quick-set-expire', key.fingerprint, '1y'], '', '20260104T000000');
    const renewed = (await home.key('ends', key.fingerprint)).publicKey;
    expect(await home.accepts(armoured, MESSAGE, late)).toBe(true);
    expect(verdict(armoured, [renewed], late)).toBe('ok');
    // The older certificate after the newer one does not bring back the older end.
    expect(verdict(armoured, [renewed, key.publicKey], late)).toBe('ok');
    expect(verdict(armoured, [key.publicKey, renewed], late)).toBe('ok');
  });

  test('see that a key is revoked, and a later certificate without the revocation does not bring it back', async () => {
    const key = await home.createKey('revoked');
    const armoured = await home.sign(key, MESSAGE);
    const revoked = (await home.revoke(key, 0, '20260103T000000')).publicKey;
    expect(revoked).not.toBe(key.publicKey);
    expect(verdict(armoured, [revoked])).toBe('KeyCompromised');
    expect(verdict(armoured, [revoked, key.publicKey])).toBe('KeyCompromised');
    expect(verdict(armoured, [key.publicKey])).toBe('ok');
  });

  test('see that a subkey is revoked', async () => {
    const key = await home.createKey('subkey-revoked', { subkeys: ['ed25519'] });
    const [, subkey = ''] = await home.fingerprints(key);
    const armoured = await home.sign({ fingerprint: subkey.toUpperCase() }, MESSAGE);
    const before = key.publicKey;
    const after = (await home.revoke(key, 1, '20260102T000000', 1)).publicKey;
    expect(after).not.toBe(before);
    // Compromised: from the beginning.
    expect(verdict(armoured, [after])).toBe('KeyCompromised');
    expect(verdict(armoured, [after, before])).toBe('KeyCompromised');
    expect(verdict(await home.sign(key, MESSAGE), [after])).toBe('ok');
  });

  test('differ about what was signed before a key was superseded: gpg goes by the time that the signature claims, we by when it was observed', async () => {
    const key = await home.createKey('superseded');
    const armoured = await home.sign(key, MESSAGE);
    const { publicKey } = await home.revoke(key, 2, '20260103T000000');
    expect(verdict(armoured, [publicKey], '20260102T000000')).toBe('ok');
    expect(verdict(armoured, [publicKey], '20260104T000000')).toBe('KeyNotActive');
  });
});

describe('git verify-commit and we', () => {
  test.each(['ed25519', 'nistp256', 'rsa3072'])('accept what git commit -S signed with %s, and refuse it with another message or in another key\'s name', async (algorithm) => {
    const [key, other] = [await home.createKey(`git-${algorithm}`, { algorithm, subkeys: [algorithm] }), await home.createKey(`other-${algorithm}`)];
    const repository = await createRepository();
    try {
      const configuration = ['-c', 'gpg.format=openpgp', '-c', `gpg.program=${await home.programForGit()}`, '-c', 'user.name=Ada', '-c', 'user.email=ada@example.test', '-c', `user.signingKey=${key.fingerprint}`];
      const git = (args: readonly string[], input = ''): Promise<string> => repository.git([...args], input);
      const tree = await git(['mktree']);
      const signed = (await runProgram('git', ['--git-dir', repository.folder, ...configuration, 'commit-tree', '-S', '-m', 'Promote\n\nSoaked — for a day.', tree])).toString().trim() as CommitId;
      const raw = await runProgram('git', ['--git-dir', repository.folder, 'cat-file', 'commit', signed]);
      const forged = Buffer.from(raw.toString().replace('for a day', 'for two days'));
      const forgedId = (await repository.git(['hash-object', '-t', 'commit', '-w', '--stdin'], forged)) as CommitId;
      const gitAccepts = (commit: CommitId): Promise<boolean> => runProgram('git', ['--git-dir', repository.folder, ...configuration, 'verify-commit', commit]).then(() => true, () => false);
      expect([await gitAccepts(signed), commitVerdict(raw, signed, key.publicKey)]).toEqual([true, 'ok']);
      expect([await gitAccepts(forgedId), commitVerdict(forged, forgedId, key.publicKey)]).toEqual([false, 'SignatureInvalid']);
      expect(commitVerdict(raw, signed, other.publicKey)).toBe('KeyUnknown');
    } finally {
      await repository.remove();
    }
  }, 120_000);
});

describe('we are stricter than gpg', () => {
  test.each<[string, string, readonly string[], string]>([
    ['a digest of SHA-1, which can be made to fit two messages', 'rsa3072', ['--digest-algo', 'SHA1'], 'DigestUnsupported'],
    ['text mode, in which two messages have one signature', 'ed25519', ['--textmode'], 'SignatureTypeUnsupported'],
    ['a signature that expires: what ends stands in the document', 'ed25519', ['--default-sig-expire', '1d'], 'SubpacketUnsupported'],
    ['a comment in the armour, which is signed by nobody', 'ed25519', ['--comment', 'approved by bob'], 'ArmourMalformed'],
    ['the version in the armour', 'ed25519', ['--emit-version'], 'ArmourMalformed'],
    ['RSA of 1024 bits', 'rsa1024', [], 'KeyTooShort'],
    ['RSA of 2048 bits', 'rsa2048', [], 'KeyTooShort'],
    ['DSA', 'dsa2048', [], 'KeyUnsupported'],
    ['a curve that only one program speaks', 'brainpoolP256r1', [], 'KeyUnsupported'],
    ['a digest of 224 bits', 'rsa3072', ['--digest-algo', 'SHA224'], 'DigestUnsupported'],
  ])('about %s', async (why, algorithm, options, code) => {
    const key = await home.createKey(`strict-${digestOfBytes(why).slice(7, 15)}`, { algorithm });
    expect(await both(key, await home.sign(key, MESSAGE, options))).toEqual([true, code]);
  }, 120_000);

  test('about two signatures in one block: which of them is meant', async () => {
    const [ann, bob] = [await home.createKey('two-ann'), await home.createKey('two-bob')];
    const armoured = await home.sign(ann, MESSAGE, ['--local-user', bob.fingerprint]);
    expect(await home.accepts(armoured, MESSAGE)).toBe(true);
    expect(verdict(armoured, [ann.publicKey])).toBe('SignatureMalformed');
  });

  test('about a key that binds itself by SHA-1 alone', async () => {
    const key = await home.createKey('sha1-bound', { algorithm: 'rsa3072', options: ['--cert-digest-algo', 'SHA1'] });
    const armoured = await home.sign(key, MESSAGE);
    expect(verdict(armoured, [key.publicKey])).toBe('KeyUnbound');
    await home.gpg(['--quick-set-expire', key.fingerprint, '1y'], '', '20260101T000100');
    expect(await both(key, armoured)).toEqual([true, 'ok']);
  });
});
