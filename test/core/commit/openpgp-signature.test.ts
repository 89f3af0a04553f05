import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { openOpenPgpVerifier, type OpenedOpenPgp } from '../../../src/adapters/openpgp/open-verifier.ts';
import { readCertificate } from '../../../src/core/commit/openpgp-read-certificate.ts';
import { verifyOpenPgpSignature } from '../../../src/core/commit/openpgp-signature.ts';
import { limits } from '../../../src/core/model/limits.ts';
import {
  armour, certificateOf, makePgpKey, makePgpSignature, packet, pgpSignatureOf, subpacket, uint32, type PgpKey, type PgpKeyType, type PgpSignatureOptions,
} from './openpgp-maker.ts';

const MESSAGE = Buffer.from('{"kind":"Approval"}\n');
let verifier: OpenedOpenPgp;
let key: PgpKey;
beforeAll(() => {
  verifier = openOpenPgpVerifier();
  key = makePgpKey('eddsa');
});
afterAll(() => verifier.close());

/** What becomes of an armoured signature when these keys are in force. */
function code(armoured: string, keys: readonly PgpKey[] = [key], message: Uint8Array = MESSAGE): string {
  const known = keys.flatMap((k) => {
    const read = readCertificate(certificateOf(k), verifier);
    return read.ok ? read.certificate.keys : [];
  });
  const outcome = verifyOpenPgpSignature({ armoured, message, keys: { verifier, find: (fingerprint) => known.find((k) => k.fingerprint === fingerprint && k.maySign) } });
  return outcome.ok ? outcome.key.fingerprint : outcome.code;
}

const signed = (options: PgpSignatureOptions = {}): string => pgpSignatureOf(key, MESSAGE, options);

describe('a detached signature', () => {
  test.each<[PgpKeyType, 4 | 6]>([['eddsa', 4], ['nistp256', 4], ['nistp384', 4], ['rsa', 4], ['ed25519', 4], ['ed25519', 6], ['nistp256', 6]])(
    'by a key of type %s and version %i names it by its full fingerprint, and holds for its own message only', (type, version) => {
      const own = makePgpKey(type, { version });
      const armoured = pgpSignatureOf(own, MESSAGE);
      expect(code(armoured, [own])).toBe(own.fingerprint);
      expect(code(armoured, [own], Buffer.from('{"kind":"Approval"}'))).toBe('SignatureInvalid');
    },
  );

  test.each(['sha256', 'sha384', 'sha512', 'sha3-256', 'sha3-512'])('over %s is accepted', (digest) => {
    expect(code(signed({ digest }))).toBe(key.fingerprint);
  });

  test.each(['md5', 'sha1', 'ripemd160', 'sha224'])('over %s is refused (T5)', (digest) => {
    expect(code(signed({ digest }))).toBe('DigestUnsupported');
  });

  test('over a digest that is shorter than the numbers of the key\'s curve is refused, as gpg refuses it', () => {
    const own = makePgpKey('nistp384');
    expect(code(pgpSignatureOf(own, MESSAGE, { digest: 'sha256' }), [own])).toBe('DigestUnsupported');
    expect(code(pgpSignatureOf(own, MESSAGE, { digest: 'sha384' }), [own])).toBe(own.fingerprint);
  });

  test.each([[0x01, 'text'], [0x02, 'standalone'], [0x10, 'a certification'], [0x18, 'a binding'], [0x1f, 'a direct signature'], [0x40, 'a timestamp']])('of type %i, %s, is refused: one signature, one message', (type) => {
    expect(code(signed({ type }))).toBe('SignatureTypeUnsupported');
  });

  test('without the fingerprint of its issuer where it is signed is refused, wherever else it stands', () => {
    const fingerprint = subpacket(33, Buffer.concat([Buffer.of(4), Buffer.from(key.fingerprint, 'hex')]));
    expect(code(signed({ issuer: null }))).toBe('IssuerMissing');
    expect(code(signed({ issuer: null, unhashed: [fingerprint] }))).toBe('IssuerMissing');
    expect(code(signed({ issuer: null, hashed: [fingerprint] }))).toBe(key.fingerprint);
    expect(code(signed({ hashed: [fingerprint] }))).toBe('IssuerMissing');
  });

  test('of a key that nobody in force has is refused, and so is one that names the key of another', () => {
    const other = makePgpKey('eddsa');
    expect(code(pgpSignatureOf(other, MESSAGE))).toBe('KeyUnknown');
    expect(code(pgpSignatureOf(other, MESSAGE, { issuer: key.fingerprint }))).toBe('SignatureInvalid');
    expect(code(pgpSignatureOf(makePgpKey('nistp256'), MESSAGE, { issuer: key.fingerprint }))).toBe('AlgorithmMismatch');
  });

  test.each<[string, PgpSignatureOptions]>([
    ['a critical notation', { hashed: [subpacket(20, notation('x@example.test', 'y'), true)] }],
    ['a critical subpacket of an unknown type', { hashed: [subpacket(100, Buffer.of(1), true)] }],
    ['a critical subpacket that is not signed', { unhashed: [subpacket(99, Buffer.of(1), true)] }],
    ['an end', { hashed: [subpacket(3, uint32(3600))] }],
  ])('with %s is refused', (_, options) => {
    expect(code(signed(options))).toBe('SubpacketUnsupported');
  });

  test('with a notation or subpackets that demand nothing is accepted', () => {
    expect(code(signed({ hashed: [subpacket(20, notation('x@example.test', 'y')), subpacket(100, Buffer.of(1)), subpacket(3, uint32(0))] }))).toBe(key.fingerprint);
  });

  test('with a notation that is shorter or longer than it says is refused, as by gpg', () => {
    const whole = notation('x@example.test', 'y');
    for (const broken of [whole.subarray(0, -1), Buffer.concat([whole, Buffer.of(1)]), whole.subarray(0, 7)]) {
      expect(code(signed({ hashed: [subpacket(20, broken)] }))).toBe('SignatureMalformed');
      expect(code(signed({ unhashed: [subpacket(20, broken)] }))).toBe('SignatureMalformed');
    }
  });

  test('that claims to be older than its key is refused', () => {
    expect(code(signed({ created: key.created - 1 }))).toBe('SignatureInvalid');
    expect(code(signed({ created: key.created }))).toBe(key.fingerprint);
  });

  test('does not verify when any of its bits is turned', () => {
    const body = makePgpSignature(key, MESSAGE);
    const hashedEnd = 6 + body.readUInt16BE(4);
    const accepted = Array.from({ length: body.length * 8 }, (_, bit) => bit).filter((bit) => {
      const turned = Buffer.from(body);
      turned[bit >> 3] = (turned[bit >> 3] ?? 0) ^ (1 << (bit & 7));
      return code(armour('PGP SIGNATURE', packet(2, turned))) === key.fingerprint;
    });
    // The one subpacket outside of what is signed may change its type, and then says nothing.
    expect(new Set(accepted.map((bit) => bit >> 3))).toEqual(new Set([hashedEnd + 3]));
  });
});

describe('packets (T3)', () => {
  const body = (): Buffer => makePgpSignature(key, MESSAGE);
  test.each<[string, () => Buffer]>([
    ['two signatures', () => Buffer.concat([packet(2, body()), packet(2, body())])],
    ['a literal packet behind', () => Buffer.concat([packet(2, body()), packet(11, Buffer.concat([Buffer.from('b\0'), uint32(0), MESSAGE]))])],
    ['a one-pass packet in front', () => Buffer.concat([packet(4, Buffer.alloc(13, 3)), packet(2, body())])],
    ['a compressed packet', () => packet(8, Buffer.concat([Buffer.of(0), packet(2, body())]))],
    ['a marker in front', () => Buffer.concat([packet(10, Buffer.from('PGP')), packet(2, body())])],
    ['bytes behind', () => Buffer.concat([packet(2, body()), Buffer.of(0)])],
    ['a length beyond the end', () => Buffer.concat([Buffer.of(0xc2, 0xff), uint32(5000), body()])],
    ['a partial length', () => Buffer.concat([Buffer.of(0xc2, 0xe0), body()])],
    ['an indeterminate length', () => Buffer.concat([Buffer.of(0x8b), body()])],
    ['bytes behind its numbers', () => packet(2, Buffer.concat([body(), Buffer.of(0)]))],
    ['nothing', () => Buffer.alloc(1)],
    ['version 3', () => packet(2, Buffer.concat([Buffer.of(3), body().subarray(1)]))],
  ])('with %s are refused', (_, bytes) => {
    expect(['SignatureMalformed', 'SignatureInvalid']).toContain(code(armour('PGP SIGNATURE', bytes())));
  });

  test('in the old format of lengths are the same signature', () => {
    const signature = body();
    expect(code(armour('PGP SIGNATURE', Buffer.concat([Buffer.of(0x88, signature.length), signature])))).toBe(key.fingerprint);
  });
});

describe('armour (T3)', () => {
  test.each<[string, (a: string) => string]>([
    ['a comment', (a) => a.replace('-----\n\n', '-----\nComment: hello\n\n')],
    ['a version', (a) => a.replace('-----\n\n', '-----\nVersion: GnuPG v2\n\n')],
    ['text before', (a) => `see:\n${a}`],
    ['text behind', (a) => `${a}more\n`],
    ['a second block', (a) => `${a}${a}`],
    ['two final newlines', (a) => `${a}\n`],
    ['carriage returns', (a) => a.replaceAll('\n', '\r\n')],
    ['no empty line', (a) => a.replace('-----\n\n', '-----\n')],
    ['white space at the end of a line', (a) => a.replace('-----\n\n', '-----\n \n')],
    ['a wrong checksum', (a) => a.replace(/\n=..../, '\n=AAAA')],
    ['the begin line of a message', (a) => a.replaceAll('PGP SIGNATURE', 'PGP MESSAGE')],
    ['the end line of another block', (a) => a.replace('END PGP SIGNATURE', 'END PGP MESSAGE')],
    ['lines of unequal length', (a) => a.replace(/\n(.{10})(.{54})\n/, '\n$1\n$2\n')],
    ['an end marker within', (a) => a.replace(/\n=(....)\n/, '\n=$1\n-----END PGP SIGNATURE-----\n=$1\n')],
  ])('with %s is refused', (_, change) => {
    const armoured = signed();
    const changed = change(armoured);
    expect(changed).not.toBe(armoured);
    expect(code(changed)).toBe('ArmourMalformed');
  });

  test('without a checksum, or without the final newline, is accepted', () => {
    expect(code(signed().replace(/\n=....\n/, '\n'))).toBe(key.fingerprint);
    expect(code(signed().slice(0, -1))).toBe(key.fingerprint);
  });

  test('that is too large is refused before anything is read', () => {
    expect(code(armour('PGP SIGNATURE', packet(2, makePgpSignature(key, MESSAGE, { hashed: [subpacket(100, Buffer.alloc(limits.signatureBytes))] }))))).toBe('SignatureTooLarge');
  });
});

function notation(name: string, value: string): Buffer {
  return Buffer.concat([Buffer.of(0x80, 0, 0, 0, 0, name.length, 0, value.length), Buffer.from(name), Buffer.from(value)]);
}
