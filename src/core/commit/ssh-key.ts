import { createHash, createPublicKey, type JsonWebKey, type KeyObject } from 'node:crypto';
import { decodeBase64, encodeBase64 } from '../model/base64.ts';
import { limits } from '../model/limits.ts';
import { refusal, type SignatureRefusal } from './signature-code.ts';
import { latin1, WireReader } from './wire-reader.ts';

/** Key types that may sign (T4). Certificates are not among them: their authority would be one that no `Principal` names. */
export type SshKeyType =
  | 'ssh-ed25519'
  | 'ecdsa-sha2-nistp256'
  | 'ecdsa-sha2-nistp384'
  | 'ecdsa-sha2-nistp521'
  | 'ssh-rsa'
  | 'sk-ssh-ed25519@openssh.com'
  | 'sk-ecdsa-sha2-nistp256@openssh.com';

export interface SshPublicKey {
  readonly type: SshKeyType;
  /** The key in SSH wire format: the identity of a key. Each accepted key has exactly one. */
  readonly blob: Uint8Array;
  /** `SHA256:` and unpadded base64, as `ssh-keygen -l` prints it. */
  readonly fingerprint: string;
  readonly keyObject: KeyObject;
  /** Bytes of one number in a signature: half of (r, s), or the RSA modulus. */
  readonly numberBytes: number;
  /** What a security key signs beside the message; null for the other types. */
  readonly application: Uint8Array | null;
}

export type SshKeyOutcome = ({ readonly ok: true; readonly key: SshPublicKey }) | ({ readonly ok: false } & SignatureRefusal);

/** Keys already parsed, by blob. Made and owned by the caller, who thereby decides how long it lives; its size is bounded. */
export interface KeyCache {
  readonly keys: Map<string, SshPublicKey>;
}

/** An empty cache. */
export function createKeyCache(): KeyCache {
  return { keys: new Map() };
}

interface Material {
  readonly jwk: JsonWebKey;
  readonly numberBytes: number;
  readonly application: Uint8Array | null;
}

type MaterialReader = (reader: WireReader) => Material | SignatureRefusal;

const RSA_BITS_MIN = 3072;
const KEY_LINE = /^([a-z0-9@.-]{1,64}) ([A-Za-z0-9+/=]{1,16384})(?: [^\r\n\0]{0,1024})?\n?$/;
const FINGERPRINT = /^SHA256:[A-Za-z0-9+/]{43}$/;

const readers: Readonly<Record<SshKeyType, MaterialReader>> = {
  'ssh-ed25519': (reader) => readEd25519(reader),
  'ecdsa-sha2-nistp256': (reader) => readEcdsa(reader, 'nistp256', 'P-256', 32),
  'ecdsa-sha2-nistp384': (reader) => readEcdsa(reader, 'nistp384', 'P-384', 48),
  'ecdsa-sha2-nistp521': (reader) => readEcdsa(reader, 'nistp521', 'P-521', 66),
  'ssh-rsa': (reader) => readRsa(reader),
  'sk-ssh-ed25519@openssh.com': (reader) => withApplication(reader, readEd25519(reader)),
  'sk-ecdsa-sha2-nistp256@openssh.com': (reader) => withApplication(reader, readEcdsa(reader, 'nistp256', 'P-256', 32)),
};

/**
 * Reads one public key line (`type base64 [comment]`, at most one final newline), as in `id_ed25519.pub`.
 * Refuses options before the type, certificates, a type that differs from the blob's, and base64 that is not canonical.
 * Source: sshd(8) AUTHORIZED_KEYS, RFC 4253 §6.6, RFC 5656 §3.1, RFC 8709 §4, OpenSSH PROTOCOL.u2f.
 */
export function parseSshPublicKey(line: string, cache?: KeyCache): SshKeyOutcome {
  const match = KEY_LINE.exec(line);
  if (match === null) return { ok: false, ...refusal('KeyMalformed', 'not a line of type, base64 and comment') };
  const blob = decodeBase64(match[2] ?? '');
  if (blob === null) return { ok: false, ...refusal('KeyMalformed', 'the base64 is not canonical') };
  if (new WireReader(blob).text() !== match[1]) {
    return { ok: false, ...refusal('KeyMalformed', 'the type in front differs from the one inside') };
  }
  return parseSshKeyBlob(blob, cache);
}

/**
 * Reads a public key in SSH wire format. With a `cache`, a blob seen before costs one look-up.
 * Codes: `KeyUnsupported`, `KeyTooShort`, `KeyMalformed`.
 */
export function parseSshKeyBlob(blob: Uint8Array, cache?: KeyCache): SshKeyOutcome {
  const cacheKey = cache === undefined ? '' : latin1(blob);
  const known = cache?.keys.get(cacheKey);
  if (known !== undefined) return { ok: true, key: known };
  const outcome = readKey(blob);
  if (outcome.ok && cache !== undefined) remember(cache, cacheKey, outcome.key);
  return outcome;
}

/** Whether `text` has the form of a key fingerprint (`SHA256:…`). */
export function isFingerprint(text: unknown): text is string {
  return typeof text === 'string' && FINGERPRINT.test(text);
}

function remember(cache: KeyCache, cacheKey: string, key: SshPublicKey): void {
  // Strangers can send any number of keys: the oldest entry gives way.
  const oldest = cache.keys.size >= limits.keyCacheEntries ? cache.keys.keys().next().value : undefined;
  if (oldest !== undefined) cache.keys.delete(oldest);
  cache.keys.set(cacheKey, key);
}

function readKey(blob: Uint8Array): SshKeyOutcome {
  const reader = new WireReader(blob);
  const type = reader.text();
  if (reader.failed) return { ok: false, ...refusal('KeyMalformed', 'it ends before its type') };
  if (!isKeyType(type)) return { ok: false, ...refusal('KeyUnsupported', /^[\x21-\x7e]{1,64}$/.test(type) ? type : 'unreadable type') };
  const material = readers[type](reader);
  if ('code' in material) return { ok: false, ...material };
  // T4: bytes behind the key would make a second blob, and so a second identity, of the same key.
  if (!reader.finished) return { ok: false, ...refusal('KeyMalformed', 'wrong length') };
  const keyObject = importKey(material.jwk);
  if (keyObject === null) return { ok: false, ...refusal('KeyMalformed', 'not a point of its curve') };
  const { numberBytes, application } = material;
  const owned = Uint8Array.from(blob);
  return { ok: true, key: { type, blob: owned, fingerprint: fingerprintOf(owned), keyObject, numberBytes, application } };
}

function isKeyType(type: string): type is SshKeyType {
  return Object.hasOwn(readers, type);
}

function fingerprintOf(blob: Uint8Array): string {
  return `SHA256:${encodeBase64(createHash('sha256').update(blob).digest()).replace(/=+$/, '')}`;
}

function importKey(jwk: JsonWebKey): KeyObject | null {
  try {
    return createPublicKey({ key: jwk, format: 'jwk' });
  } catch {
    // OpenSSL's only complaint about a well-formed JWK is its numbers: a point that is not on the curve.
    return null;
  }
}

function readEd25519(reader: WireReader): Material | SignatureRefusal {
  const point = reader.string();
  if (point.length !== 32) return refusal('KeyMalformed', 'an ed25519 key has 32 bytes');
  if (isWeakEd25519(point)) return refusal('KeyMalformed', 'an ed25519 key under which one signature fits many messages');
  return { jwk: { kty: 'OKP', crv: 'Ed25519', x: base64Url(point) }, numberBytes: 32, application: null };
}

/** y coordinates, in hexadecimal, of the points whose order divides 8 (RFC 7748 §7, RFC 8032 §5.1.7). */
const SMALL_ORDER_Y: readonly bigint[] = [
  0x0n,
  0x1n,
  0x7fffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffecn,
  0x05fc536d880238b13933c6d305acdfd5f098eff289f4c345b027b2c28f95e826n,
  0x7a03ac9277fdc74ec6cc392cfa53202a0f67100d760b3cba4fd84d3d706a17c7n,
];
const ED25519_PRIME = 2n ** 255n - 19n;

/** A point of small order signs nothing in particular; a coordinate not below the prime is a second spelling of a key. */
function isWeakEd25519(point: Uint8Array): boolean {
  const bigEndian = Uint8Array.from(point).reverse();
  bigEndian[0] = (bigEndian[0] ?? 0) & 0x7f;
  const y = BigInt(`0x${Buffer.from(bigEndian).toString('hex')}`);
  return y >= ED25519_PRIME || SMALL_ORDER_Y.includes(y);
}

function readEcdsa(reader: WireReader, name: string, crv: string, numberBytes: number): Material | SignatureRefusal {
  const curve = reader.text();
  const point = reader.string();
  if (curve !== name) return refusal('KeyMalformed', 'the curve differs from the one in the type');
  // Only the uncompressed form, so that each key has one blob.
  if (point.length !== 1 + 2 * numberBytes || point[0] !== 4) return refusal('KeyMalformed', 'not an uncompressed point');
  const x = base64Url(point.subarray(1, 1 + numberBytes));
  const y = base64Url(point.subarray(1 + numberBytes));
  return { jwk: { kty: 'EC', crv, x, y }, numberBytes, application: null };
}

function readRsa(reader: WireReader): Material | SignatureRefusal {
  const e = reader.mpint();
  const n = reader.mpint();
  if (reader.failed) return refusal('KeyMalformed', 'its numbers are not in minimal form');
  const bits = n.length * 8 - Math.clz32(n[0] ?? 0) + 24;
  if (bits < RSA_BITS_MIN) return refusal('KeyTooShort', `${bits} bits`); // T4
  const odd = (bytes: Uint8Array): boolean => ((bytes.at(-1) ?? 0) & 1) === 1;
  // A long exponent makes verifying slow, 1 makes it void; ssh-keygen has written 35, 37 and 65537.
  const exponentFits = e.length <= 4 && odd(e) && !(e.length === 1 && e[0] === 1);
  if (bits > limits.rsaBitsMax || !odd(n) || !exponentFits) return refusal('KeyMalformed', 'modulus or exponent out of range');
  return { jwk: { kty: 'RSA', n: base64Url(n), e: base64Url(e) }, numberBytes: n.length, application: null };
}

function withApplication(reader: WireReader, material: Material | SignatureRefusal): Material | SignatureRefusal {
  if ('code' in material) return material;
  return { ...material, application: Uint8Array.from(reader.string()) };
}

function base64Url(bytes: Uint8Array): string {
  return Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength).toString('base64url');
}
