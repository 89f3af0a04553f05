import { rm, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { afterAll, beforeAll, beforeEach, describe, expect, test } from 'vitest';
import { verifyDocumentSignature } from '../../../src/core/commit/document-signature.ts';
import { parseSshPublicKey } from '../../../src/core/commit/ssh-key.ts';
import { verifySshSignature } from '../../../src/core/commit/ssh-signature.ts';
import { concatBytes, wireString } from '../../../src/core/commit/wire-reader.ts';
import { digestOfBytes } from '../../../src/core/model/digest.ts';
import { limits } from '../../../src/core/model/limits.ts';
import { requireComponent } from '../../fakes/components.ts';
import { createSshKey, createTemporaryFolder, runProgram, signWithSsh, type SshKey } from '../../fakes/git-repository.ts';
import { armour, makeSignature, makeSignatureBlob, makeTestKey, mpint, type SignatureOptions, type TestKey } from './signature-maker.ts';

const MESSAGE = Buffer.from('{"kind":"Approval"}');
const code = (armoured: string, namespace = 'git', message: Uint8Array = MESSAGE): string => {
  const outcome = verifySshSignature({ armoured, message, namespace });
  return outcome.ok ? 'ok' : outcome.code;
};

let folder: string;
let ed25519: TestKey;
let rsa: TestKey;
let ecdsa: TestKey;
beforeAll(async () => {
  folder = await createTemporaryFolder();
  ed25519 = makeTestKey('ssh-ed25519');
  rsa = makeTestKey('ssh-rsa');
  ecdsa = makeTestKey('ecdsa-sha2-nistp256');
});
afterAll(() => rm(folder, { recursive: true, force: true }));

/** What `ssh-keygen -Y check-novalidate` says: valid under the embedded key, whosever it is. */
async function opensshAccepts(armoured: string, message: Uint8Array = MESSAGE, namespace = 'git'): Promise<boolean> {
  const file = join(folder, 'checked.sig');
  await writeFile(file, armoured);
  return runProgram('ssh-keygen', ['-Y', 'check-novalidate', '-n', namespace, '-s', file], { input: message }).then(() => true, () => false);
}

describe('a signature that ssh-keygen wrote', () => {
  beforeEach((ctx) => requireComponent('ssh-keygen', ctx));

  test.each([
    ['ed25519', undefined], ['ecdsa', 256], ['ecdsa', 384], ['ecdsa', 521], ['rsa', 3072], ['rsa', 4096],
  ] as const)('with %s %s verifies, over sha256 and sha512, and only over its own message', async (type, bits) => {
    const key = await createSshKey(folder, `${type}-${bits}`, type, bits);
    const parsed = parseSshPublicKey(key.publicKey);
    for (const digest of ['sha256', 'sha512']) {
      const armoured = await signAs(key, ['-O', `hashalg=${digest}`]);
      const outcome = verifySshSignature({ armoured, message: MESSAGE, namespace: 'git' });
      expect(outcome).toMatchObject({ ok: true, key: { fingerprint: parsed.ok ? parsed.key.fingerprint : '' } });
      expect(code(armoured, 'git', Buffer.from('{"kind":"approval"}'))).toBe('SignatureInvalid');
    }
  });

  test('with RSA of 2048 bits is refused although ssh-keygen accepts it', async () => {
    const armoured = await signWithSsh(await createSshKey(folder, 'rsa-2048', 'rsa', 2048), MESSAGE);
    expect(await opensshAccepts(armoured)).toBe(true);
    expect(code(armoured)).toBe('KeyTooShort');
  });

  test.each(['file', 'git2', 'git ', 'email@example.test'])('in the namespace %s does not count as one in git', async (namespace) => {
    const key = await createSshKey(folder, `named-${Buffer.from(namespace).toString('hex')}`);
    expect(code(await signWithSsh(key, MESSAGE, namespace))).toBe('NamespaceMismatch');
    expect(code(await signWithSsh(key, MESSAGE, 'git'))).toBe('ok');
  });

  async function signAs(key: SshKey, options: readonly string[]): Promise<string> {
    const args = ['-q', '-Y', 'sign', '-n', 'git', ...options, '-f', key.privateKeyPath];
    return (await runProgram('ssh-keygen', args, { input: MESSAGE })).toString();
  }
});

describe('a signature that these tests make', () => {
  beforeEach((ctx) => requireComponent('ssh-keygen', ctx));

  test.each([
    'ssh-ed25519', 'ecdsa-sha2-nistp256', 'ecdsa-sha2-nistp384', 'ecdsa-sha2-nistp521', 'ssh-rsa',
    'sk-ssh-ed25519@openssh.com', 'sk-ecdsa-sha2-nistp256@openssh.com',
  ])('with %s is accepted by ssh-keygen and by us', async (type) => {
    const armoured = makeSignature(makeTestKey(type), MESSAGE);
    expect([await opensshAccepts(armoured), code(armoured)]).toEqual([true, 'ok']);
  });
});

describe('SSHSIG with one defect is refused, its twin without it verifies (T4)', () => {
  const cases: readonly [string, string, () => TestKey, SignatureOptions][] = [
    ['version 2', 'SignatureMalformed', () => ed25519, { version: 2 }],
    ['version 0', 'SignatureMalformed', () => ed25519, { version: 0 }],
    ['another magic', 'SignatureMalformed', () => ed25519, { magic: 'SSHSIH' }],
    ['a reserved field that is not empty', 'SignatureMalformed', () => ed25519, { reserved: 'x' }],
    ['trailing bytes', 'SignatureMalformed', () => ed25519, { trailing: Uint8Array.of(0) }],
    ['bytes behind the inner signature', 'SignatureMalformed', () => ed25519, { innerTrailing: Uint8Array.of(0) }],
    ['ed25519 numbers of 65 bytes', 'SignatureMalformed', () => ed25519, { numbersTrailing: Uint8Array.of(0) }],
    ['bytes behind the ECDSA numbers', 'SignatureMalformed', () => ecdsa, { numbersTrailing: Uint8Array.of(0) }],
    ['RSA numbers longer than the modulus', 'SignatureMalformed', () => rsa, { numbersTrailing: Uint8Array.of(0) }],
    ['SSHSIG sha1', 'DigestUnsupported', () => ed25519, { digestName: 'sha1' }],
    ['SSHSIG sha384', 'DigestUnsupported', () => ed25519, { digestName: 'sha384' }],
    ['ssh-rsa', 'AlgorithmUnsupported', () => rsa, { algorithm: 'ssh-rsa', rsaDigest: 'sha1' }],
    ['rsa-sha2-512 over SHA-1', 'SignatureInvalid', () => rsa, { rsaDigest: 'sha1' }],
    ['an algorithm of another key type', 'AlgorithmMismatch', () => ed25519, { algorithm: 'rsa-sha2-512' }],
    ['webauthn', 'AlgorithmUnsupported', () => ed25519, { algorithm: 'webauthn-sk-ecdsa-sha2-nistp256@openssh.com' }],
    ['an algorithm with the name of an object member', 'AlgorithmUnsupported', () => ed25519, { algorithm: 'toString' }],
    ['an empty key', 'KeyMalformed', () => ed25519, { keyBlob: new Uint8Array(0) }],
    ['the key of somebody else', 'SignatureInvalid', () => ed25519, { keyBlob: makeTestKey('ssh-ed25519').blob }],
    ['RSA-1024', 'KeyTooShort', () => makeTestKey('ssh-rsa', 1024), {}],
    ['a security key without user presence', 'UserPresenceMissing', () => makeTestKey('sk-ssh-ed25519@openssh.com'), { flags: 0 }],
    ['an ECDSA security key without user presence', 'UserPresenceMissing', () => makeTestKey('sk-ecdsa-sha2-nistp256@openssh.com'), { flags: 4 }],
  ];
  test.each(cases)('%s: %s', (name, refused, key, defect) => {
    expect(code(makeSignature(key(), MESSAGE, defect))).toBe(refused);
    expect(code(makeSignature(name === 'RSA-1024' ? rsa : key(), MESSAGE))).toBe('ok');
  });

  test('rsa-sha2-256 verifies as well', () => {
    expect(code(makeSignature(rsa, MESSAGE, { algorithm: 'rsa-sha2-256' }))).toBe('ok');
    expect(code(makeSignature(rsa, MESSAGE, { algorithm: 'rsa-sha2-256', rsaDigest: 'sha512' }))).toBe('SignatureInvalid');
  });

  test('an ECDSA number in other than its minimal form is refused', () => {
    const respell = (change: (r: Uint8Array) => Uint8Array) => (numbers: Uint8Array): Uint8Array => {
      const length = new DataView(numbers.buffer, numbers.byteOffset).getUint32(0);
      return concatBytes([wireString(change(numbers.subarray(4, 4 + length))), numbers.subarray(4 + length)]);
    };
    const signed = (change: (r: Uint8Array) => Uint8Array): string => code(makeSignature(ecdsa, MESSAGE, { changeNumbers: respell(change) }));
    expect(signed((r) => r)).toBe('ok');
    expect(signed((r) => concatBytes([Uint8Array.of(0), r]))).toBe('SignatureMalformed');
    expect(signed(() => Uint8Array.of(0))).toBe('SignatureMalformed');
    expect(signed(() => new Uint8Array(0))).toBe('SignatureMalformed');
    expect(signed(() => Uint8Array.of(0x80))).toBe('SignatureMalformed');
  });

  test('ECDSA numbers of zero and of the curve order do not verify', () => {
    const order = Buffer.from('ffffffff00000000ffffffffffffffffbce6faada7179e84f3b9cac2fc632551', 'hex');
    const numbers = (r: Uint8Array, s: Uint8Array) => () => concatBytes([mpint(r), mpint(s)]);
    expect(code(makeSignature(ecdsa, MESSAGE, { changeNumbers: numbers(order, order) }))).toBe('SignatureInvalid');
    expect(code(makeSignature(ecdsa, MESSAGE, { changeNumbers: numbers(Uint8Array.of(1), order) }))).toBe('SignatureInvalid');
  });

  test('a signature cut short anywhere is refused', () => {
    const blob = makeSignatureBlob(ecdsa, MESSAGE);
    const codes = Array.from({ length: blob.length }, (_, length) => code(armour(blob.subarray(0, length))));
    expect(codes).not.toContain('ok');
  });
});

describe('armour with one defect is refused, its twin without it verifies (T3)', () => {
  const cases: readonly [string, (a: string) => string][] = [
    ['a preamble', (a) => `Approved by me\n${a}`],
    ['a leading newline', (a) => `\n${a}`],
    ['a byte order mark', (a) => `\uFEFF${a}`],
    ['a comment header', (a) => a.replace('-----\n', '-----\nComment: approved\n\n')],
    ['trailing text', (a) => `${a}and more\n`],
    ['a second final newline', (a) => `${a}\n`],
    ['a second signature', (a) => a + a],
    ['a second signature inside', (a) => a.replace(/(-----END SSH)/, '$1 SIGNATURE-----\n-----BEGIN SSH SIGNATURE-----\nAAAA\n$1')],
    ['carriage returns', (a) => a.replaceAll('\n', '\r\n')],
    ['a blank line', (a) => a.replace('-----\n', '-----\n\n')],
    ['an indented line', (a) => a.replace('-----\nU1', '-----\n U1')],
    ['a trailing space', (a) => a.replace('\n-----END', ' \n-----END')],
    ['a line that is too short', (a) => a.replace(/\n(.{69})(.)\n/, '\n$1\n$2\n')],
    ['one long line', (a) => armour(Buffer.from(a.split('\n').slice(1, -2).join(''), 'base64'), 9999)],
    ['lines of 76', (a) => armour(Buffer.from(a.split('\n').slice(1, -2).join(''), 'base64'), 76)],
    ['no padding', (a) => a.replace(/=+\n/, '\n')],
    ['more padding', (a) => a.replace(/=\n/, '==\n')],
    ['set bits behind the end', (a) => a.replace(/(.)=\n/, (_, last: string) => `${String.fromCharCode(last.charCodeAt(0) + 1)}=\n`)],
    ['the URL alphabet', (a) => a.replaceAll('+', '-').replaceAll('/', '_')],
    ['a character beyond ASCII', (a) => a.replace('U1N', 'U1\u017F')],
    ['no begin line', (a) => a.replace('-----BEGIN SSH SIGNATURE-----\n', '')],
    ['no end line', (a) => a.replace('-----END SSH SIGNATURE-----\n', '')],
    ['a public key begin line', (a) => a.replaceAll('SSH SIGNATURE', 'SSH PUBLIC KEY')],
    ['nothing inside', () => '-----BEGIN SSH SIGNATURE-----\n\n-----END SSH SIGNATURE-----\n'],
    ['nothing', () => ''],
  ];
  test.each(cases)('%s', (_, spoil) => {
    const right = paddedArmour();
    expect(code(right)).toBe('ok');
    expect(spoil(right)).not.toBe(right);
    expect(code(spoil(right))).toBe('ArmourMalformed');
  });

  test('lines of 64, as PEM writers make, and a missing final newline are accepted', () => {
    expect(code(makeSignature(ed25519, MESSAGE, { columns: 64 }))).toBe('ok');
    expect(code(makeSignature(ed25519, MESSAGE).trimEnd())).toBe('ok');
  });

  test('armour larger than the limit is refused before it is read', () => {
    expect(code('A'.repeat(limits.signatureBytes + 1))).toBe('SignatureTooLarge');
  });

  /** A signature whose base64 ends in exactly one `=` and uses `+` or `/`. */
  function paddedArmour(): string {
    for (;;) {
      const armoured = makeSignature(ecdsa, MESSAGE, { digestName: 'sha256' });
      if (/[^=]=\n/.test(armoured) && /[+/]/.test(armoured)) return armoured;
    }
  }
});

describe('a document signature', () => {
  test('by ssh-keygen in its namespace verifies, and names the digest of what was signed', async (ctx) => {
    requireComponent('ssh-keygen', ctx);
    const key = await createSshKey(folder, 'approver');
    for (const namespace of ['stella-approval', 'stella-intent'] as const) {
      const armoured = await signWithSsh(key, MESSAGE, namespace);
      const outcome = verifyDocumentSignature({ preimage: MESSAGE, armoured, namespace });
      expect(outcome).toMatchObject({ signed: true, payloadDigest: digestOfBytes(MESSAGE) });
      const other = namespace === 'stella-intent' ? 'stella-approval' : 'stella-intent';
      expect(verifyDocumentSignature({ preimage: MESSAGE, armoured, namespace: other })).toMatchObject({ signed: false, code: 'NamespaceMismatch' });
    }
  });

  test('that is for commits, or OpenPGP, is refused', () => {
    const verify = (armoured: string) => verifyDocumentSignature({ preimage: MESSAGE, armoured, namespace: 'stella-approval' });
    expect(verify(makeSignature(ed25519, MESSAGE, { namespace: 'stella-approval' }))).toMatchObject({ signed: true });
    expect(verify(makeSignature(ed25519, MESSAGE))).toMatchObject({ code: 'NamespaceMismatch' });
    expect(verify('-----BEGIN PGP SIGNATURE-----\n')).toMatchObject({ code: 'SignatureUnsupported' });
  });
});
