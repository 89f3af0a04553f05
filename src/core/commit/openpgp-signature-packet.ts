import type { InstantMs } from '../model/instant.ts';
import { ALGORITHM, numberAt, readLength, readNumber } from './openpgp-packet.ts';

/** A signature packet, form checked, cryptography not. */
export interface SignaturePacketFields {
  readonly version: 4 | 6;
  readonly type: number;
  readonly keyAlgorithm: number;
  readonly hashAlgorithm: number;
  /** Subpackets that the signature covers. */
  readonly hashed: readonly Subpacket[];
  /** Subpackets that anybody can change. */
  readonly unhashed: readonly Subpacket[];
  readonly createdAt: InstantMs;
}

export interface Subpacket {
  readonly type: number;
  readonly critical: boolean;
  readonly body: Uint8Array;
}

/** Types of signatures, RFC 9580 §5.2.1. */
export const SIGNATURE_TYPE = {
  binary: 0x00, subkeyBinding: 0x18, keyBinding: 0x19, direct: 0x1f, keyRevocation: 0x20, subkeyRevocation: 0x28, certificationRevocation: 0x30,
} as const;

/** Types of subpackets, RFC 9580 §5.2.3.7. */
export const SUBPACKET = {
  creationTime: 2, signatureExpiration: 3, keyExpiration: 9, revocationKey: 12, issuerKeyId: 16, notation: 20, keyFlags: 27, signersUserId: 28, reasonForRevocation: 29, features: 30, embeddedSignature: 32,
  issuerFingerprint: 33,
} as const;

/** Bytes of SHA-256, SHA-384, SHA-512, SHA3-256 and SHA3-512 (RFC 9580 §9.5). The salt that version 6 puts before is half as long. */
const DIGEST_BYTES: Readonly<Record<number, number>> = { 8: 32, 9: 48, 10: 64, 12: 32, 14: 64 };

/** T5: no MD5, SHA-1, RIPEMD, and nothing shorter than SHA-256, or than the key demands. @param least `leastDigestBytes` of the key */
export function isStrongDigest(hashAlgorithm: number, least = 32): boolean {
  return Object.hasOwn(DIGEST_BYTES, hashAlgorithm) && (DIGEST_BYTES[hashAlgorithm] ?? 0) >= least;
}

/** Reads the body of a signature packet; null when its fields do not add up. Source: RFC 9580 §5.2.3. */
export function parseSignaturePacket(body: Uint8Array): SignaturePacketFields | null {
  const [version, type = 0, keyAlgorithm = 0, hashAlgorithm = 0] = body;
  if (version !== 4 && version !== 6) return null;
  const octets = version === 6 ? 4 : 2;
  const hashed = readArea(body, 4, octets);
  const unhashed = hashed === null ? null : readArea(body, hashed.end, octets);
  if (hashed === null || unhashed === null) return null;
  const time = only(hashed.subpackets, SUBPACKET.creationTime);
  const seconds = time?.body.length === 4 ? numberAt(time.body, 0, 4) : null;
  // Behind the areas: two octets of the digest, in version 6 the salt, then at least one number.
  const digestEnd = unhashed.end + 2;
  const saltFits = version === 4 || !isStrongDigest(hashAlgorithm) || body[digestEnd] === (DIGEST_BYTES[hashAlgorithm] ?? 0) / 2;
  const numbers = digestEnd + (version === 4 ? 0 : 1 + (body[digestEnd] ?? 0));
  if (seconds === null || !saltFits || !numbersFit(keyAlgorithm, body.subarray(numbers))) return null;
  return { version, type, keyAlgorithm, hashAlgorithm, hashed: hashed.subpackets, unhashed: unhashed.subpackets, createdAt: seconds * 1000 };
}

/** T3: exactly the numbers of the algorithm, each in its one shortest form. Of an algorithm that is refused anyway anything fits that is not nothing. */
function numbersFit(algorithm: number, bytes: Uint8Array): boolean {
  switch (algorithm) {
    case ALGORITHM.ed25519:
      return bytes.length === 64;
    case ALGORITHM.rsa:
    case ALGORITHM.rsaSignOnly:
      return readNumber(bytes, 0)?.end === bytes.length;
    case ALGORITHM.ecdsa:
    case ALGORITHM.eddsaLegacy:
      return readNumber(bytes, readNumber(bytes, 0)?.end ?? bytes.length)?.end === bytes.length;
    default:
      return bytes.length > 0;
  }
}

/** The one subpacket of this type; undefined when there is none, or more than one, which two readers would read as two different ones. */
export function only(subpackets: readonly Subpacket[], type: number): Subpacket | undefined {
  const found = subpackets.filter((subpacket) => subpacket.type === type);
  return found.length === 1 ? found[0] : undefined;
}

/** A subpacket that holds a number of seconds; 0 when it is not there, null when it is malformed. */
export function secondsIn(subpackets: readonly Subpacket[], type: number): number | null {
  if (!subpackets.some((subpacket) => subpacket.type === type)) return 0;
  const found = only(subpackets, type);
  return found?.body.length === 4 ? numberAt(found.body, 0, 4) : null;
}

/** The full fingerprint of who signed, from what the signature covers; null when it is missing or has another version than the signature. */
export function issuerOf(signature: Pick<SignaturePacketFields, 'version' | 'hashed'>): string | null {
  const issuer = only(signature.hashed, SUBPACKET.issuerFingerprint)?.body;
  const length = signature.version === 6 ? 32 : 20;
  if (issuer === undefined || issuer[0] !== signature.version || issuer.length !== 1 + length) return null;
  return Buffer.from(issuer.subarray(1)).toString('hex');
}

type Area = { readonly subpackets: readonly Subpacket[]; readonly end: number };

function readArea(body: Uint8Array, at: number, octets: number): Area | null {
  const length = numberAt(body, at, octets);
  const start = at + octets;
  if (length === null || start + length > body.length) return null;
  const subpackets = splitSubpackets(body.subarray(start, start + length));
  return subpackets === null ? null : { subpackets, end: start + length };
}

function splitSubpackets(area: Uint8Array): readonly Subpacket[] | null {
  const subpackets: Subpacket[] = [];
  let offset = 0;
  while (offset < area.length) {
    const length = readSubpacketLength(area, offset);
    if (length === null) return null;
    const start = offset + length.octets;
    const end = start + length.value;
    const type = area[start];
    if (type === undefined || length.value === 0 || end > area.length) return null;
    const subpacket = { type: type & 0x7f, critical: (type & 0x80) !== 0, body: area.subarray(start + 1, end) };
    if (subpacket.type === SUBPACKET.notation && !isNotation(subpacket.body)) return null;
    subpackets.push(subpacket);
    offset = end;
  }
  return subpackets;
}

/** Flags, two lengths, a name and a value, and nothing else: other readers drop the signature. Source: RFC 9580 §5.2.3.24. */
function isNotation(body: Uint8Array): boolean {
  const [name, value] = [numberAt(body, 4, 2), numberAt(body, 6, 2)];
  return name !== null && value !== null && body.length === 8 + name + value;
}

/** As the length of a packet, but 224 to 254 begin a length of two octets here. Source: RFC 9580 §5.2.3.7. */
function readSubpacketLength(area: Uint8Array, at: number): { readonly value: number; readonly octets: number } | null {
  const first = area[at] ?? 0;
  const second = area[at + 1];
  if (first < 224 || first === 255) return readLength(area, at);
  return second === undefined ? null : { value: ((first - 192) << 8) + second + 192, octets: 2 };
}
