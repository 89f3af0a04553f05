import fc from 'fast-check';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { openOpenPgpVerifier, type OpenedOpenPgp } from '../../../src/adapters/openpgp/open-verifier.ts';
import type { OpenPgpVerifier } from '../../../src/core/commit/openpgp.ts';
import { mergeCertificates, primaryFingerprint } from '../../../src/core/commit/openpgp-certificate.ts';
import { claimedKeys, readCertificate } from '../../../src/core/commit/openpgp-read-certificate.ts';
import type { OpenPgpCertificate, OpenPgpKey } from '../../../src/core/model/openpgp-key.ts';
import { armour, certificateOf, certificatePackets, CREATED, framedKey, makePgpKey, makePgpSignature, packet, reason, subpacket, type PgpCertificateOptions, type PgpKey } from './openpgp-maker.ts';

let verifier: OpenedOpenPgp;
let primary: PgpKey;
let subkey: PgpKey;
beforeAll(() => {
  verifier = openOpenPgpVerifier();
  primary = makePgpKey('eddsa');
  subkey = makePgpKey('eddsa', { created: CREATED + 10 });
});
afterAll(() => verifier.close());

function keyOf(armoured: string, fingerprint: string): OpenPgpKey | string {
  const read = readCertificate(armoured, verifier);
  return read.ok ? (read.certificate.keys.find((k) => k.fingerprint === fingerprint) ?? 'missing') : read.code;
}
const primaryIn = (options: PgpCertificateOptions): OpenPgpKey | string => keyOf(certificateOf(primary, options), primary.fingerprint);
const subkeyIn = (subkeys: PgpCertificateOptions['subkeys'] & object): OpenPgpKey | string => keyOf(certificateOf(primary, { subkeys }), subkey.fingerprint);
const codeOf = (armoured: string): string => {
  const read = readCertificate(armoured, verifier);
  return read.ok ? 'ok' : read.code;
};

describe('the primary key', () => {
  test.each(['eddsa', 'nistp256', 'nistp384', 'rsa', 'ed25519'] as const)('of type %s is read with its times', (type) => {
    const key = makePgpKey(type);
    const armoured = certificateOf(key, { expires: 3600 });
    expect(keyOf(armoured, key.fingerprint)).toMatchObject({ primary: key.fingerprint, createdAt: CREATED * 1000, boundAt: (CREATED + 60) * 1000, expiresAt: (CREATED + 3600) * 1000, maySign: true, revocation: null });
    expect(primaryFingerprint(armoured)).toBe(key.fingerprint);
  });

  test('signs only if its flags say so', () => {
    expect(primaryIn({ flags: 0x01 })).toMatchObject({ maySign: false });
    expect(primaryIn({ flags: 0x02 })).toMatchObject({ maySign: true });
  });

  test.each(['sha1', 'md5', 'ripemd160'])('bound by %s alone is bound by nothing (T5)', (digest) => {
    expect(primaryIn({ self: { digest } })).toBe('KeyUnbound');
  });

  test('bound by somebody else, or by something critical that is not understood, is bound by nothing', () => {
    const userId = Buffer.from('Ada Example <ada@example.test>');
    const stranger = makePgpKey('eddsa');
    expect(codeOf(armour('PGP PUBLIC KEY BLOCK', Buffer.concat([packet(6, primary.packet), packet(13, userId), packet(2, makePgpSignature(stranger, framedKey(primary), { type: 0x13 }))])))).toBe('KeyUnbound');
    expect(primaryIn({ self: { hashed: [subpacket(100, Buffer.of(1), true)] } })).toBe('KeyUnbound');
    expect(codeOf(armour('PGP PUBLIC KEY BLOCK', packet(6, primary.packet)))).toBe('KeyUnbound');
  });

  test('of RSA has at least 3072 bits, also where it only certifies', () => {
    const short = makePgpKey('rsa', { bits: 2048 });
    expect(codeOf(certificateOf(short))).toBe('KeyTooShort');
    expect(codeOf(certificateOf(short, { flags: 0x01, subkeys: [{ key: subkey }] }))).toBe('KeyTooShort');
  });

  test('that another key may revoke is refused, because we would not see it', () => {
    const revoker = Buffer.concat([Buffer.of(0x80, 22), Buffer.alloc(20, 1)]);
    expect(primaryIn({ self: { hashed: [subpacket(12, revoker)] } })).toBe('KeyUnsupported');
  });

  test('revoked as compromised, or for no reason, is void from the beginning; as superseded or retired from then on', () => {
    const at = { created: CREATED + 500 };
    expect(primaryIn({ revocation: at })).toMatchObject({ revocation: { from: 0, compromised: true } });
    expect(primaryIn({ revocation: { ...at, hashed: [reason(2)] } })).toMatchObject({ revocation: { from: 0, compromised: true } });
    for (const soft of [1, 3]) expect(primaryIn({ revocation: { ...at, hashed: [reason(soft)] } })).toMatchObject({ revocation: { from: at.created * 1000, compromised: false } });
  });

  test('is revoked also by a signature that would be too weak to bind it: stopping is easier than going on', () => {
    const rsa = makePgpKey('rsa');
    expect(keyOf(certificateOf(rsa, { revocation: { digest: 'sha1', created: CREATED + 500 } }), rsa.fingerprint)).toMatchObject({ revocation: { compromised: true } });
  });

  test('is revoked also when nobody can tell whether the revocation is genuine, and proves nothing when nobody can tell whether its own signature is', () => {
    const armoured = certificateOf(primary, { revocation: { created: CREATED + 500 } });
    const unsure = (type: number): OpenPgpVerifier => ({ verify: (questions) => questions.map((q) => (q.signature[1] === type ? null : verifier.verify([q])[0] ?? null)) });
    const read = readCertificate(armoured, unsure(0x20));
    expect(read).toMatchObject({ ok: true, certificate: { keys: [{ revocation: { compromised: true } }] } });
    expect(readCertificate(armoured, unsure(0x13))).toMatchObject({ ok: false });
  });

  test('is revoked wherever in the certificate the revocation lies, and by nobody else', () => {
    const by = (key: PgpKey): Buffer => packet(2, makePgpSignature(key, framedKey(primary), { type: 0x20 }));
    expect(primaryIn({ subkeys: [{ key: subkey }], more: [by(primary)] })).toMatchObject({ revocation: { compromised: true } });
    expect(primaryIn({ subkeys: [{ key: subkey }], more: [by(subkey)] })).toMatchObject({ revocation: null });
  });
});

describe('a subkey', () => {
  test('that signs and has signed its binding is a key of its own', () => {
    expect(subkeyIn([{ key: subkey }])).toMatchObject({ primary: primary.fingerprint, maySign: true, createdAt: (CREATED + 10) * 1000 });
  });

  test('that has not signed its binding may not sign (T5): it may be anybody\'s', () => {
    expect(subkeyIn([{ key: subkey, backSigned: false }])).toMatchObject({ maySign: false });
  });

  test('without a binding by this primary key, or with one by SHA-1, is not there', () => {
    const armoured = armour('PGP PUBLIC KEY BLOCK', Buffer.concat([certificatePackets(primary), packet(14, subkey.packet)]));
    expect(keyOf(armoured, subkey.fingerprint)).toBe('missing');
    expect(subkeyIn([{ key: subkey, binding: { digest: 'sha1' } }])).toBe('missing');
  });

  test('signs only if its flags say so, and ends and is revoked by itself', () => {
    expect(subkeyIn([{ key: subkey, flags: 0x0c }])).toMatchObject({ maySign: false });
    expect(subkeyIn([{ key: subkey, binding: { hashed: [subpacket(9, Buffer.of(0, 0, 1, 0))] } }])).toMatchObject({ expiresAt: (CREATED + 10 + 256) * 1000 });
    expect(subkeyIn([{ key: subkey, revocation: { created: CREATED + 99, hashed: [reason(1)] } }])).toMatchObject({ revocation: { from: (CREATED + 99) * 1000, compromised: false } });
  });

  test('of an algorithm that only encrypts, or too weak to sign, does not spoil the certificate', () => {
    const weak = makePgpKey('rsa', { bits: 1024 });
    const ecdh = { ...makePgpKey('eddsa'), packet: Buffer.concat([Buffer.of(4), Buffer.from('69566e0012', 'hex'), Buffer.from('0a2b060104019755010501', 'hex')]) };
    const armoured = certificateOf(primary, { subkeys: [{ key: weak }, { key: subkey }] });
    expect([keyOf(armoured, weak.fingerprint), keyOf(armoured, subkey.fingerprint)]).toEqual(['missing', expect.objectContaining({ maySign: true })]);
    expect(codeOf(armour('PGP PUBLIC KEY BLOCK', Buffer.concat([certificatePackets(primary), packet(14, ecdh.packet)])))).toBe('ok');
  });

  test('is claimed by whoever names it in a certificate, bound to it or not (T10)', () => {
    const claimed = claimedKeys(armour('PGP PUBLIC KEY BLOCK', Buffer.concat([certificatePackets(primary), packet(14, subkey.packet)])));
    expect('code' in claimed ? [] : claimed.map((k) => k.fingerprint)).toEqual([primary.fingerprint, subkey.fingerprint]);
  });
});

describe('a certificate', () => {
  test.each<[string, () => string, string]>([
    ['two keys', () => armour('PGP PUBLIC KEY BLOCK', Buffer.concat([certificatePackets(primary), certificatePackets(subkey)])), 'KeyMalformed'],
    ['a private key', () => armour('PGP PRIVATE KEY BLOCK', packet(5, primary.packet)), 'KeyMalformed'],
    ['a private key under another name', () => armour('PGP PUBLIC KEY BLOCK', packet(5, primary.packet)), 'KeyMalformed'],
    ['a private subkey', () => armour('PGP PUBLIC KEY BLOCK', Buffer.concat([certificatePackets(primary), packet(7, subkey.packet)])), 'KeyMalformed'],
    ['a comment', () => certificateOf(primary).replace('-----\n\n', '-----\nComment: x\n\n'), 'KeyMalformed'],
    ['bytes behind', () => armour('PGP PUBLIC KEY BLOCK', Buffer.concat([certificatePackets(primary), Buffer.of(1)])), 'KeyMalformed'],
    ['bytes behind the numbers of its key', () => armour('PGP PUBLIC KEY BLOCK', packet(6, Buffer.concat([primary.packet, Buffer.of(1)]))), 'KeyMalformed'],
    ['a DSA key', () => armour('PGP PUBLIC KEY BLOCK', packet(6, Buffer.concat([primary.packet.subarray(0, 5), Buffer.of(17), Buffer.alloc(40, 1)]))), 'KeyUnsupported'],
    ['a key of version 3', () => armour('PGP PUBLIC KEY BLOCK', packet(6, Buffer.concat([Buffer.of(3), primary.packet.subarray(1)]))), 'KeyUnsupported'],
    ['another curve', () => armour('PGP PUBLIC KEY BLOCK', packet(6, Buffer.concat([primary.packet.subarray(0, 5), Buffer.from('13052b8104000a0003040101', 'hex')]))), 'KeyUnsupported'],
    ['more packets than anybody needs', () => armour('PGP PUBLIC KEY BLOCK', Buffer.concat([certificatePackets(primary), ...Array.from({ length: 400 }, () => packet(13, Buffer.from('a')))])), 'KeyMalformed'],
    ['more bytes than anybody needs', () => armour('PGP PUBLIC KEY BLOCK', Buffer.concat([certificatePackets(primary), packet(17, Buffer.alloc(70_000))])), 'SignatureTooLarge'],
  ])('with %s is refused', (_, armoured, code) => {
    expect(codeOf(armoured())).toBe(code);
  });

  test('that was renewed ends when its newest signature says', () => {
    const userId = Buffer.from('Ada Example <ada@example.test>');
    const user = Buffer.concat([framedKey(primary), Buffer.of(0xb4, 0, 0, 0, userId.length), userId]);
    const renewal = packet(2, makePgpSignature(primary, user, { type: 0x13, created: CREATED + 900, hashed: [subpacket(27, Buffer.of(3)), subpacket(9, Buffer.of(0, 0, 0x20, 0))] }));
    expect(primaryIn({ expires: 1000, more: [renewal] })).toMatchObject({ expiresAt: (CREATED + 8192) * 1000, boundAt: (CREATED + 900) * 1000 });
  });
});

describe('versions of one certificate', () => {
  const read = (options: PgpCertificateOptions): OpenPgpCertificate => {
    const outcome = readCertificate(certificateOf(primary, options), verifier);
    if (!outcome.ok) throw new Error(outcome.code);
    return outcome.certificate;
  };
  const at = (seconds: number): { created: number } => ({ created: CREATED + seconds });
  const versions = (): readonly OpenPgpCertificate[] => [
    read({ expires: 1000, subkeys: [{ key: subkey }] }),
    read({ expires: 9000, self: at(500) }),
    read({ expires: 2000, self: at(500), subkeys: [{ key: subkey, binding: { ...at(700), hashed: [subpacket(9, Buffer.of(0, 0, 8, 0))] } }] }),
    read({ self: at(800), revocation: { ...at(900), hashed: [reason(1)] } }),
    read({ subkeys: [{ key: subkey, revocation: { ...at(300), hashed: [reason(2)] } }] }),
    read({ self: at(2000) }),
  ];

  test('are merged in any order, grouping and repetition to the same (T9)', () => {
    const all = versions();
    const merge = (list: readonly OpenPgpCertificate[]): OpenPgpCertificate | undefined => list.reduce<OpenPgpCertificate | undefined>((a, b) => mergeCertificates(a, b), undefined);
    const whole = merge(all);
    fc.assert(fc.property(fc.shuffledSubarray([...all, ...all], { minLength: all.length * 2 }), fc.nat(all.length), (order, cut) => {
      const [left, right] = [merge(order.slice(0, cut)), merge(order.slice(cut))];
      expect(right === undefined ? left : mergeCertificates(left, right)).toEqual(whole);
    }));
  });

  test('keep a revocation and a subkey that a later one leaves out', () => {
    const [first, , , revoked, subkeyRevoked, last] = versions();
    const merged = [first, revoked, subkeyRevoked, last].reduce<OpenPgpCertificate | undefined>((a, b) => (b === undefined ? a : mergeCertificates(a, b)), undefined);
    expect(merged?.keys.find((k) => k.fingerprint === primary.fingerprint)).toMatchObject({ revocation: { from: (CREATED + 900) * 1000, compromised: false }, boundAt: (CREATED + 2000) * 1000 });
    expect(merged?.keys.find((k) => k.fingerprint === subkey.fingerprint)).toMatchObject({ maySign: true, revocation: { from: 0, compromised: true } });
  });

  test('never bring back an older end: the newest signature counts, not the last document', () => {
    const [older, newer] = [read({ expires: 9000, self: at(100) }), read({ expires: 1000, self: at(200) })];
    expect(mergeCertificates(newer, older).keys[0]).toMatchObject({ expiresAt: (CREATED + 1000) * 1000 });
  });
});
