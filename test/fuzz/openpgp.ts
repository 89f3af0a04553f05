import { openOpenPgpVerifier } from '../../src/adapters/openpgp/open-verifier.ts';
import type { OpenPgpKeys } from '../../src/core/commit/openpgp.ts';
import { readCertificate } from '../../src/core/commit/openpgp-read-certificate.ts';
import { questionOf } from '../../src/core/commit/openpgp-signature.ts';
import type { OpenPgpKey } from '../../src/core/model/openpgp-key.ts';
import { armour, certificatePackets, makePgpKey, makePgpSignature, packet, reason, type PgpKey } from '../core/commit/openpgp-maker.ts';
import { demandSame, SAME, type Decoder } from './decoder.ts';

const MESSAGE = Buffer.from('{"apiVersion":"stella/v1alpha1","kind":"Approval"}');
const WORDS = ['-----BEGIN PGP SIGNATURE-----\n\n', '-----END PGP SIGNATURE-----\n', 'Comment: x\n', '\n', '\r\n', '=AAAA', '=', Buffer.of(0xc2), Buffer.of(0xc6), Buffer.of(0x88), Buffer.of(4, 0), Buffer.of(4, 1), Buffer.of(6, 0), Buffer.of(0, 0), Buffer.of(0xff, 0xff, 0xff, 0xff), Buffer.of(2, 33), Buffer.of(5, 2), Buffer.of(8, 0), Buffer.of(0xe0)];

/** Detached signatures. What passes the strict form is asked of the real verifier, in its worker. */
export const openPgpSignature: Decoder = {
  name: 'openpgp-signature',
  open: async () => {
    const keys = [makePgpKey('eddsa'), makePgpKey('ed25519', { version: 6 }), makePgpKey('nistp256'), makePgpKey('rsa')];
    const known = new Map(keys.map((key) => [key.fingerprint, keyOf(key)]));
    const ring: OpenPgpKeys = { verifier: openOpenPgpVerifier(), find: (fingerprint) => known.get(fingerprint) };
    const samples = keys.map((key) => {
      const body = makePgpSignature(key, MESSAGE);
      const wrap = (changed: Uint8Array): Buffer => Buffer.from(armour('PGP SIGNATURE', changed));
      const layers = [{ bytes: packet(2, body), wrap }, { bytes: body, wrap: (changed: Buffer) => wrap(packet(2, changed)) }];
      return { bytes: wrap(packet(2, body)), layers, parts: [coveredBy(body), key.packet] };
    });
    return {
      samples, words: WORDS,
      read: (input) => {
        const asked = questionOf({ armoured: Buffer.from(input).toString('latin1'), message: MESSAGE, keys: ring });
        if (!asked.ok) return asked.code;
        const { signature, keyPacket } = asked.question;
        const isSample = samples.some(({ layers }) => Buffer.compare(layers[1]?.bytes ?? MESSAGE, signature) === 0);
        if (isSample) return SAME;
        if (ring.verifier.verify([asked.question])[0] !== true) return 'SignatureInvalid';
        return demandSame('an OpenPGP signature', [coveredBy(signature), keyPacket], samples.map(({ parts }) => parts));
      },
    };
  },
};

/** What a signature packet says under its own signature, and its numbers: all but the subpackets that anybody can change. */
function coveredBy(body: Uint8Array): Uint8Array {
  const bytes = Buffer.from(body);
  const octets = bytes[0] === 6 ? 4 : 2;
  const hashedEnd = 4 + octets + bytes.readUIntBE(4, octets);
  return Buffer.concat([bytes.subarray(0, hashedEnd), bytes.subarray(hashedEnd + octets + bytes.readUIntBE(hashedEnd, octets))]);
}

const keyOf = (key: PgpKey): OpenPgpKey =>
  ({ fingerprint: key.fingerprint, primary: key.fingerprint, packet: key.packet, createdAt: key.created * 1000, boundAt: key.created * 1000, maySign: true, expiresAt: null, revocation: null });

/** Certificates. Whatever packets are laid into one, only keys that it bound itself may sign. */
export const openPgpCertificate: Decoder = {
  name: 'openpgp-certificate',
  open: async () => {
    const verifier = openOpenPgpVerifier();
    const [primary, subkey, encrypting] = [makePgpKey('eddsa'), makePgpKey('nistp256'), makePgpKey('ed25519')];
    const bound = new Set([primary.fingerprint, subkey.fingerprint]);
    const packets = [
      certificatePackets(primary, { subkeys: [{ key: subkey }, { key: encrypting, flags: 0x0c }] }), certificatePackets(primary, { expires: 86_400, subkeys: [{ key: subkey, revocation: { hashed: [reason(2)] } }] }),
    ];
    const stranger = makePgpKey('ed25519');
    const laidIn = [packet(14, stranger.packet), packet(6, stranger.packet), packet(2, makePgpSignature(stranger, MESSAGE)), certificatePackets(stranger, { subkeys: [{ key: makePgpKey('nistp256') }] })];
    const wrap = (changed: Uint8Array): Buffer => Buffer.from(armour('PGP PUBLIC KEY BLOCK', changed));
    return {
      samples: packets.map((bytes) => ({ bytes: wrap(bytes), layers: [{ bytes, wrap }] })), words: [...WORDS, ...laidIn],
      read: (input) => {
        const outcome = readCertificate(Buffer.from(input).toString('latin1'), verifier);
        if (!outcome.ok) return outcome.code;
        const unbound = outcome.certificate.keys.find((key) => key.maySign && !bound.has(key.fingerprint));
        if (unbound !== undefined) throw new Error(`accepted the key ${unbound.fingerprint}, which nobody bound`);
        return 'Read';
      },
    };
  },
};
