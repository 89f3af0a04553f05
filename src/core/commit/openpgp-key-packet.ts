import type { InstantMs } from '../model/instant.ts';
import { ALGORITHM, keyFingerprint, numberAt, readNumber } from './openpgp-packet.ts';
import { refusal, type SignatureRefusal } from './signature-code.ts';
import { parseSshKeyBlob, type SshPublicKey } from './ssh-key.ts';
import { concatBytes, wireString } from './wire-reader.ts';

/** A public key of OpenPGP that may sign. */
export interface KeyPacketFields {
  readonly version: 4 | 6;
  readonly createdAt: InstantMs;
  readonly algorithm: number;
  readonly fingerprint: string;
  /** The same numbers as an SSH key: one judgement of strength and form for both formats. */
  readonly material: SshPublicKey;
}

export type KeyPacketOutcome = { readonly ok: true; readonly key: KeyPacketFields } | ({ readonly ok: false } & SignatureRefusal);

/** Object identifiers of curves, RFC 9580 §9.2, by hexadecimal digits. */
const CURVES: Readonly<Record<string, string>> = { '2a8648ce3d030107': 'nistp256', '2b81040022': 'nistp384', '2b81040023': 'nistp521' };
const ED25519_OID = '2b06010401da470f01';

/**
 * Reads the body of a public key or subkey packet. Codes: `KeyMalformed`, `KeyTooShort`, `KeyUnsupported` (also of keys that only encrypt).
 * Source: RFC 9580 §5.5.2, §5.5.5.
 */
export function parseKeyPacket(body: Uint8Array): KeyPacketOutcome {
  const version = body[0];
  const seconds = numberAt(body, 1, 4);
  const algorithm = body[5];
  if (version !== 4 && version !== 6) return { ok: false, ...refusal('KeyUnsupported', `version ${version ?? 'missing'} of a key`) };
  const start = version === 6 ? 10 : 6;
  const announced = version === 6 ? numberAt(body, 6, 4) : body.length - start;
  const fingerprint = keyFingerprint(body);
  if (seconds === null || algorithm === undefined || announced !== body.length - start || fingerprint === null) return { ok: false, ...refusal('KeyMalformed', 'its fields do not add up') };
  const blob = sshBlobOf(algorithm, version, body.subarray(start));
  if (blob instanceof Uint8Array) {
    const parsed = parseSshKeyBlob(blob);
    return parsed.ok ? { ok: true, key: { version, createdAt: seconds * 1000, algorithm, fingerprint, material: parsed.key } } : parsed;
  }
  return { ok: false, ...blob };
}

/**
 * Bytes that a digest must have at least to be signed with this key: those of a number of its curve (RFC 9580 §5.2.3.3), as gpg demands. A shorter one
 * would waste the curve's strength.
 */
export function leastDigestBytes(body: Uint8Array): number {
  if (body[5] !== ALGORITHM.ecdsa) return 32;
  const start = body[0] === 6 ? 10 : 6;
  const { oid } = readCurvePoint(body.subarray(start));
  const curve = Object.hasOwn(CURVES, oid) ? CURVES[oid] : undefined;
  return curve === 'nistp256' ? 32 : curve === 'nistp384' ? 48 : 64;
}

function sshBlobOf(algorithm: number, version: 4 | 6, material: Uint8Array): Uint8Array | SignatureRefusal {
  switch (algorithm) {
    case ALGORITHM.rsa:
    case ALGORITHM.rsaSignOnly:
      return rsaBlob(material);
    case ALGORITHM.ecdsa:
      return ecdsaBlob(material);
    case ALGORITHM.eddsaLegacy:
      return version === 4 ? eddsaBlob(material) : refusal('KeyUnsupported', 'EdDSA of version 4 in a key of version 6');
    case ALGORITHM.ed25519:
      return concatBytes([wireString('ssh-ed25519'), wireString(material)]);
    default:
      return refusal('KeyUnsupported', `algorithm ${algorithm}`);
  }
}

function rsaBlob(material: Uint8Array): Uint8Array | SignatureRefusal {
  const n = readNumber(material, 0);
  const e = n === null ? null : readNumber(material, n.end);
  if (n === null || e?.end !== material.length) return refusal('KeyMalformed', 'its numbers do not add up');
  return concatBytes([wireString('ssh-rsa'), wireString(signed(e.bytes)), wireString(signed(n.bytes))]);
}

function ecdsaBlob(material: Uint8Array): Uint8Array | SignatureRefusal {
  const { oid, point } = readCurvePoint(material);
  const curve = Object.hasOwn(CURVES, oid) ? CURVES[oid] : undefined;
  if (curve === undefined) return refusal('KeyUnsupported', 'a curve other than P-256, P-384 and P-521');
  return point === null ? refusal('KeyMalformed', 'its point does not add up') : concatBytes([wireString(`ecdsa-sha2-${curve}`), wireString(curve), wireString(point)]);
}

function eddsaBlob(material: Uint8Array): Uint8Array | SignatureRefusal {
  const { oid, point } = readCurvePoint(material);
  if (oid !== ED25519_OID) return refusal('KeyUnsupported', 'a curve other than Ed25519');
  // RFC 9580 §11.2: a native point stands behind an octet 0x40.
  return point === null || point[0] !== 0x40 ? refusal('KeyMalformed', 'its point does not add up') : concatBytes([wireString('ssh-ed25519'), wireString(point.subarray(1))]);
}

function readCurvePoint(material: Uint8Array): { readonly oid: string; readonly point: Uint8Array | null } {
  const length = material[0] ?? 0;
  const point = readNumber(material, 1 + length);
  return { oid: Buffer.from(material.subarray(1, 1 + length)).toString('hex'), point: point?.end === material.length ? point.bytes : null };
}

/** As SSH writes a positive number. */
function signed(magnitude: Uint8Array): Uint8Array {
  return (magnitude[0] ?? 0) >= 0x80 ? concatBytes([Uint8Array.of(0), magnitude]) : magnitude;
}
