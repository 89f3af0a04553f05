import { createHash } from 'node:crypto';
import { concatBytes } from './wire-reader.ts';

/** One packet: its type and its body. */
export interface OpenPgpPacket {
  readonly tag: number;
  readonly body: Uint8Array;
}

/** Packet types of RFC 9580 §5 that matter here. */
export const TAG = { signature: 2, secretKey: 5, publicKey: 6, secretSubkey: 7, trust: 12, userId: 13, publicSubkey: 14, userAttribute: 17 } as const;

/** Algorithms that may sign, RFC 9580 §9.1: RSA, RSA sign-only, ECDSA, EdDSA of version 4, Ed25519. DSA and ElGamal are not among them (T5). */
export const ALGORITHM = { rsa: 1, rsaSignOnly: 3, ecdsa: 19, eddsaLegacy: 22, ed25519: 27 } as const;

/**
 * Splits bytes into packets; null when they are not exactly a sequence of whole packets. Lengths that are indeterminate or partial are
 * refused: only packets with content to stream use them. Total, linear. Source: RFC 9580 §4.2.
 * @param most packets that are read; more are refused
 */
export function splitPackets(bytes: Uint8Array, most: number): readonly OpenPgpPacket[] | null {
  const packets: OpenPgpPacket[] = [];
  let offset = 0;
  while (offset < bytes.length) {
    const header = packets.length < most ? readHeader(bytes, offset) : null;
    if (header === null || header.end > bytes.length) return null;
    packets.push({ tag: header.tag, body: bytes.subarray(header.start, header.end) });
    offset = header.end;
  }
  return packets;
}

type Header = { readonly tag: number; readonly start: number; readonly end: number };

function readHeader(bytes: Uint8Array, at: number): Header | null {
  const first = bytes[at] ?? 0;
  if ((first & 0x80) === 0) return null;
  if ((first & 0x40) === 0) {
    const octets = [1, 2, 4][first & 3];
    return octets === undefined ? null : headerOf((first >> 2) & 0x0f, at + 1 + octets, numberAt(bytes, at + 1, octets));
  }
  const length = readLength(bytes, at + 1);
  return length === null ? null : headerOf(first & 0x3f, at + 1 + length.octets, length.value);
}

function headerOf(tag: number, start: number, length: number | null): Header | null {
  return length === null ? null : { tag, start, end: start + length };
}

/** A length of packets and subpackets in the new format; null for a partial one. */
export function readLength(bytes: Uint8Array, at: number): { readonly value: number; readonly octets: number } | null {
  const first = bytes[at];
  if (first === undefined) return null;
  if (first < 192) return { value: first, octets: 1 };
  if (first < 224) {
    const second = bytes[at + 1];
    return second === undefined ? null : { value: ((first - 192) << 8) + second + 192, octets: 2 };
  }
  const value = first === 255 ? numberAt(bytes, at + 1, 4) : null;
  return value === null ? null : { value, octets: 5 };
}

/** A big-endian number of `octets` bytes; null where they end. */
export function numberAt(bytes: Uint8Array, at: number, octets: number): number | null {
  if (at + octets > bytes.length) return null;
  let value = 0;
  for (let i = 0; i < octets; i += 1) value = value * 256 + (bytes[at + i] ?? 0);
  return value;
}

/** A number with its length in bits in front; null unless it is written in its one shortest form. Source: RFC 9580 §3.2. */
export function readNumber(bytes: Uint8Array, at: number): { readonly bytes: Uint8Array; readonly end: number } | null {
  const bits = numberAt(bytes, at, 2);
  if (bits === null || bits === 0) return null;
  const start = at + 2;
  const end = start + Math.ceil(bits / 8);
  const first = bytes[start] ?? 0;
  const isMinimal = 32 - Math.clz32(first) === ((bits - 1) % 8) + 1;
  return end <= bytes.length && isMinimal ? { bytes: bytes.subarray(start, end), end } : null;
}

/** Fingerprint of a public key packet's body in lower-case hexadecimal digits; null for other versions than 4 and 6. Source: RFC 9580 §5.5.4. */
export function keyFingerprint(body: Uint8Array): string | null {
  const version = body[0];
  const length = Buffer.alloc(version === 6 ? 4 : 2);
  if (version === 6) {
    length.writeUInt32BE(body.length);
    return createHash('sha256').update(concatBytes([Uint8Array.of(0x9b), length, body])).digest('hex');
  }
  if (version !== 4 || body.length > 0xffff) return null;
  length.writeUInt16BE(body.length);
  // The name that version 4 gives to a key. Nothing is signed or verified with SHA-1.
  return createHash('sha1').update(concatBytes([Uint8Array.of(0x99), length, body])).digest('hex');
}
