import { rm } from 'node:fs/promises';
import { beforeAll, beforeEach, describe, expect, test } from 'vitest';
import { createKeyCache, isFingerprint, parseSshKeyBlob, parseSshPublicKey, type SshKeyOutcome } from '../../../src/core/commit/ssh-key.ts';
import { concatBytes, wireString } from '../../../src/core/commit/wire-reader.ts';
import { limits } from '../../../src/core/model/limits.ts';
import { requireComponent } from '../../fakes/components.ts';
import { createSshKey, createTemporaryFolder, runProgram } from '../../fakes/git-repository.ts';
import { makeTestKey, mpint, type TestKey } from './signature-maker.ts';

const codeOf = (outcome: SshKeyOutcome): string => (outcome.ok ? 'ok' : outcome.code);
const code = (line: string): string => codeOf(parseSshPublicKey(line));
const lineOf = (type: string, blob: Uint8Array): string => `${type} ${Buffer.from(blob).toString('base64')}`;

let ed25519: TestKey;
let rsa: TestKey;
beforeAll(() => {
  ed25519 = makeTestKey('ssh-ed25519');
  rsa = makeTestKey('ssh-rsa');
});

describe('a public key line', () => {
  beforeEach((ctx) => requireComponent('ssh-keygen', ctx));

  test.each([['ed25519', undefined], ['ecdsa', 256], ['ecdsa', 384], ['ecdsa', 521], ['rsa', 3072], ['rsa', 4096]] as const)(
    'of ssh-keygen -t %s -b %s is read with the fingerprint that ssh-keygen prints',
    async (type, bits) => {
      await using folder = await temporaryFolder();
      const key = await createSshKey(folder.path, 'key', type, bits);
      const parsed = parseSshPublicKey(key.publicKey);
      const printed = (await runProgram('ssh-keygen', ['-l', '-E', 'sha256', '-f', key.publicKeyPath])).toString().split(' ')[1];
      expect(parsed).toMatchObject({ ok: true, key: { fingerprint: printed } });
      expect(isFingerprint(printed)).toBe(true);
    },
  );

  test('is read with and without comment and final newline', () => {
    const bare = lineOf('ssh-ed25519', ed25519.blob);
    expect([bare, `${bare}\n`, `${bare} ada at work`, `${bare} ada\n`].map(code)).toEqual(['ok', 'ok', 'ok', 'ok']);
  });

  test.each([
    ['with options in front', (l: string) => `no-pty ${l}`],
    ['with two lines', (l: string) => `${l}\n${l}\n`],
    ['with a carriage return', (l: string) => `${l}\r\n`],
    ['with leading white space', (l: string) => ` ${l}`],
    ['with two spaces', (l: string) => l.replace(' ', '  ')],
    ['without padding', (l: string) => l.replace(/=+/, '')],
    ['with base64 whose unused bits are set', (l: string) => l.replace(/(.)= test$/, (_, last: string) => `${String.fromCharCode(last.charCodeAt(0) + 1)}= test`)],
    ['of nothing', () => ''],
  ])('%s is malformed, without it is read', (_, spoil) => {
    // Its blob has 74 bytes, so its base64 is padded and ends with two unused bits.
    const padded = makeTestKey('sk-ssh-ed25519@openssh.com').line;
    expect(code(padded)).toBe('ok');
    expect(code(spoil(padded))).toBe('KeyMalformed');
  });

  test('whose type differs from the one inside is malformed', () => {
    expect(code(ed25519.line)).toBe('ok');
    expect(code(ed25519.line.replace('ssh-ed25519', 'ssh-rsa'))).toBe('KeyMalformed');
  });

  test('of a certificate is refused as unsupported', async () => {
    await using folder = await temporaryFolder();
    const authority = await createSshKey(folder.path, 'authority');
    const key = await createSshKey(folder.path, 'key');
    await runProgram('ssh-keygen', ['-q', '-s', authority.privateKeyPath, '-I', 'id', '-n', 'ada', key.publicKeyPath]);
    const certificate = (await runProgram('cat', [`${key.privateKeyPath}-cert.pub`])).toString();
    expect(code(certificate)).toBe('KeyUnsupported');
    expect(code(key.publicKey)).toBe('ok');
  });

  test('of a type that we do not know, or that was given up, is refused as unsupported', () => {
    expect(['ssh-dss', 'ssh-ed448', 'ssh-mldsa44-ed25519@openssh.com', 'constructor'].map((type) => code(lineOf(type, wireString(type))))).toEqual(
      Array<string>(4).fill('KeyUnsupported'),
    );
  });
});

describe('a key blob', () => {
  test('with bytes behind it is malformed, for every type', () => {
    const types = ['ssh-ed25519', 'ecdsa-sha2-nistp256', 'ecdsa-sha2-nistp384', 'ecdsa-sha2-nistp521', 'ssh-rsa',
      'sk-ssh-ed25519@openssh.com', 'sk-ecdsa-sha2-nistp256@openssh.com'];
    for (const type of types) {
      const { blob } = makeTestKey(type);
      expect([type, codeOf(parseSshKeyBlob(blob))]).toEqual([type, 'ok']);
      expect([type, codeOf(parseSshKeyBlob(concatBytes([blob, Uint8Array.of(0)])))]).toEqual([type, 'KeyMalformed']);
    }
  });

  test('cut short anywhere is refused', () => {
    const codes = Array.from({ length: rsa.blob.length }, (_, length) => codeOf(parseSshKeyBlob(rsa.blob.subarray(0, length))));
    expect(codes).not.toContain('ok');
  });

  test('of RSA with 3072 bits is read, with 3071, 2048 or 1024 it is too short', () => {
    const { n, e } = rsa.privateKey.export({ format: 'jwk' });
    const modulus = Buffer.from(n ?? '', 'base64url');
    const shorter = Buffer.from(modulus);
    shorter[0] = 0x7f;
    const blob = (bytes: Uint8Array): Uint8Array => concatBytes([wireString('ssh-rsa'), mpint(Buffer.from(e ?? '', 'base64url')), mpint(bytes)]);
    expect(codeOf(parseSshKeyBlob(blob(modulus)))).toBe('ok');
    expect(codeOf(parseSshKeyBlob(blob(shorter)))).toBe('KeyTooShort');
    expect([2048, 1024].map((bits) => codeOf(parseSshKeyBlob(makeTestKey('ssh-rsa', bits).blob)))).toEqual(['KeyTooShort', 'KeyTooShort']);
  });

  test('of RSA whose exponent is 1, even or huge, or whose modulus is even, is malformed', () => {
    const modulus = Buffer.from(rsa.privateKey.export({ format: 'jwk' }).n ?? '', 'base64url');
    const even = Buffer.from(modulus);
    even[even.length - 1] = 0;
    const blob = (e: readonly number[], n: Uint8Array): Uint8Array => concatBytes([wireString('ssh-rsa'), mpint(Uint8Array.from(e)), mpint(n)]);
    const exponents = [[1], [4], [1, 0, 0, 0, 1], [1, 0, 1], [35]];
    expect(exponents.map((e) => codeOf(parseSshKeyBlob(blob(e, modulus))))).toEqual(['KeyMalformed', 'KeyMalformed', 'KeyMalformed', 'ok', 'ok']);
    expect(codeOf(parseSshKeyBlob(blob([1, 0, 1], even)))).toBe('KeyMalformed');
  });

  test('of RSA with a number that is longer than it must be is malformed: a second blob would be a second identity', () => {
    const modulus = Buffer.from(rsa.privateKey.export({ format: 'jwk' }).n ?? '', 'base64url');
    const blob = (e: Uint8Array): Uint8Array => concatBytes([wireString('ssh-rsa'), e, mpint(modulus)]);
    expect(codeOf(parseSshKeyBlob(blob(wireString(Uint8Array.of(1, 0, 1)))))).toBe('ok');
    expect(codeOf(parseSshKeyBlob(blob(wireString(Uint8Array.of(0, 1, 0, 1)))))).toBe('KeyMalformed');
    expect(codeOf(parseSshKeyBlob(blob(wireString(Uint8Array.of(0x81, 0, 1)))))).toBe('KeyMalformed');
  });

  test('of ECDSA with another curve name, a compressed point, or a point off the curve is malformed', () => {
    const { blob } = makeTestKey('ecdsa-sha2-nistp256');
    const point = blob.subarray(-65);
    const build = (curve: string, bytes: Uint8Array): Uint8Array =>
      concatBytes([wireString('ecdsa-sha2-nistp256'), wireString(curve), wireString(bytes)]);
    const compressed = concatBytes([Uint8Array.of(2), point.subarray(1, 33)]);
    const off = Uint8Array.from(point);
    off[64] = (off[64] ?? 0) ^ 1;
    const codes = [build('nistp256', point), build('nistp384', point), build('nistp256', compressed), build('nistp256', off)];
    expect(codes.map((bytes) => codeOf(parseSshKeyBlob(bytes)))).toEqual(['ok', 'KeyMalformed', 'KeyMalformed', 'KeyMalformed']);
  });

  test('of ed25519 whose point has small order, or a second spelling, is malformed', () => {
    const weak = [
      '0000000000000000000000000000000000000000000000000000000000000000',
      '0100000000000000000000000000000000000000000000000000000000000000',
      '0100000000000000000000000000000000000000000000000000000000000080',
      'ecffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f',
      '26e8958fc2b227b045c3f489f2ef98f0d5dfac05d3c63339b13802886d53fc05',
      'c7176a703d4dd84fba3c0b760d10670f2a2053fa2c39ccc64ec7fd7792ac037a',
      'c7176a703d4dd84fba3c0b760d10670f2a2053fa2c39ccc64ec7fd7792ac03fa',
      'eeffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f',
    ];
    const codes = weak.map((hex) => codeOf(parseSshKeyBlob(concatBytes([wireString('ssh-ed25519'), wireString(Buffer.from(hex, 'hex'))]))));
    expect(codes).toEqual(weak.map(() => 'KeyMalformed'));
  });
});

describe('a key cache', () => {
  test('hands out the same key object for the same blob, and forgets the oldest beyond its limit', () => {
    const cache = createKeyCache();
    const first = parseSshKeyBlob(ed25519.blob, cache);
    const again = parseSshKeyBlob(Uint8Array.from(ed25519.blob), cache);
    if (!first.ok || !again.ok) throw new Error('the key was refused');
    expect(again.key).toBe(first.key);
    for (let i = 1; i < limits.keyCacheEntries; i += 1) cache.keys.set(`filler ${i}`, first.key);
    parseSshKeyBlob(makeTestKey('ssh-ed25519').blob, cache);
    expect(cache.keys.size).toBe(limits.keyCacheEntries);
    expect([...cache.keys.keys()][0]).toBe('filler 1');
  });

  test('does not keep what was refused', () => {
    const cache = createKeyCache();
    expect(codeOf(parseSshKeyBlob(Uint8Array.of(1, 2, 3), cache))).toBe('KeyMalformed');
    expect(cache.keys.size).toBe(0);
  });
});

async function temporaryFolder(): Promise<{ path: string } & AsyncDisposable> {
  const path = await createTemporaryFolder();
  return { path, [Symbol.asyncDispose]: () => rm(path, { recursive: true, force: true }) };
}
