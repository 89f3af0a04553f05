import { constants, createHash, generateKeyPairSync, sign, type KeyObject } from 'node:crypto';
import { keyFingerprint } from '../../../src/core/commit/openpgp-packet.ts';

/** An OpenPGP key whose every byte a test decides. What gpg would never write, this does. */
export type PgpKey = { readonly privateKey: KeyObject; readonly algorithm: number; readonly version: 4 | 6; readonly packet: Buffer; readonly fingerprint: string; readonly created: number };
export type PgpKeyType = 'ed25519' | 'eddsa' | 'nistp256' | 'nistp384' | 'rsa';

/** Seconds since 1970: 2026-01-01T00:00:00Z. */
export const CREATED = 1_767_225_600;
const DIGESTS: Readonly<Record<string, number>> = { md5: 1, sha1: 2, ripemd160: 3, sha256: 8, sha384: 9, sha512: 10, sha224: 11, 'sha3-256': 12, 'sha3-512': 14 };
const SALTS: Readonly<Record<string, number>> = { sha256: 16, sha384: 24, sha512: 32, 'sha3-256': 16, 'sha3-512': 32 };

/** @param type `eddsa` is version 4's own form of ed25519, which gpg writes; `bits` of RSA */
export function makePgpKey(type: PgpKeyType, options: { readonly bits?: number; readonly version?: 4 | 6; readonly created?: number } = {}): PgpKey {
  const { bits = 3072, version = 4, created = CREATED } = options;
  const { algorithm, material, privateKey } = makeMaterial(type, bits);
  const length = version === 6 ? uint32(material.length) : Buffer.alloc(0);
  const packet = Buffer.concat([Buffer.of(version), uint32(created), Buffer.of(algorithm), length, material]);
  return { privateKey, algorithm, version, packet, created, fingerprint: keyFingerprint(packet) ?? '' };
}

function makeMaterial(type: PgpKeyType, bits: number): { algorithm: number; material: Buffer; privateKey: KeyObject } {
  if (type === 'rsa') {
    const { privateKey, publicKey } = generateKeyPairSync('rsa', { modulusLength: bits });
    const { n = '', e = '' } = publicKey.export({ format: 'jwk' });
    return { algorithm: 1, privateKey, material: Buffer.concat([mpi(fromUrl(n)), mpi(fromUrl(e))]) };
  }
  if (type === 'nistp256' || type === 'nistp384') {
    const { privateKey, publicKey } = generateKeyPairSync('ec', { namedCurve: type === 'nistp256' ? 'P-256' : 'P-384' });
    const { x = '', y = '' } = publicKey.export({ format: 'jwk' });
    const oid = Buffer.from(type === 'nistp256' ? '082a8648ce3d030107' : '052b81040022', 'hex');
    return { algorithm: 19, privateKey, material: Buffer.concat([oid, mpi(Buffer.concat([Buffer.of(4), fromUrl(x), fromUrl(y)]))]) };
  }
  const { privateKey, publicKey } = generateKeyPairSync('ed25519');
  const point = fromUrl(publicKey.export({ format: 'jwk' }).x ?? '');
  if (type === 'ed25519') return { algorithm: 27, privateKey, material: point };
  return { algorithm: 22, privateKey, material: Buffer.concat([Buffer.from('092b06010401da470f01', 'hex'), mpi(Buffer.concat([Buffer.of(0x40), point]))]) };
}

export type PgpSignatureOptions = {
  readonly type?: number;
  readonly digest?: string;
  /** Subpackets after creation time and issuer. */
  readonly hashed?: readonly Buffer[];
  readonly unhashed?: readonly Buffer[];
  /** null leaves the issuer's fingerprint out. */
  readonly issuer?: string | null;
  readonly created?: number;
};

/** Body of a signature packet over `message`: the bytes as they are hashed. */
export function makePgpSignature(key: PgpKey, message: Uint8Array, options: PgpSignatureOptions = {}): Buffer {
  const { type = 0, digest = 'sha512', issuer = key.fingerprint, created = key.created + 60 } = options;
  const named = issuer === null ? [] : [subpacket(33, Buffer.concat([Buffer.of(key.version), Buffer.from(issuer, 'hex')]))];
  const hashed = Buffer.concat([subpacket(2, uint32(created)), ...named, ...(options.hashed ?? [])]);
  const keyId = key.version === 4 ? [subpacket(16, Buffer.from(key.fingerprint, 'hex').subarray(12))] : [];
  const unhashed = Buffer.concat(options.unhashed ?? keyId);
  const counted = (area: Buffer): Buffer => Buffer.concat([key.version === 6 ? uint32(area.length) : uint16(area.length), area]);
  const head = Buffer.concat([Buffer.of(key.version, type, key.algorithm, DIGESTS[digest] ?? 0), counted(hashed)]);
  const salt = key.version === 6 ? Buffer.alloc(SALTS[digest] ?? 0, 7) : Buffer.alloc(0);
  const signed = Buffer.concat([salt, message, head, Buffer.of(key.version, 0xff), uint32(head.length)]);
  const digested = createHash(digest).update(signed).digest();
  const saltField = key.version === 6 ? Buffer.concat([Buffer.of(salt.length), salt]) : salt;
  return Buffer.concat([head, counted(unhashed), digested.subarray(0, 2), saltField, numbersOf(key, digest, signed, digested)]);
}

function numbersOf(key: PgpKey, digest: string, signed: Buffer, digested: Buffer): Buffer {
  if (key.algorithm === 1) return mpi(sign(digest, signed, { key: key.privateKey, padding: constants.RSA_PKCS1_PADDING }));
  if (key.algorithm === 27) return sign(null, digested, key.privateKey);
  const numbers = key.algorithm === 22 ? sign(null, digested, key.privateKey) : sign(digest, signed, { key: key.privateKey, dsaEncoding: 'ieee-p1363' });
  return Buffer.concat([mpi(numbers.subarray(0, numbers.length / 2)), mpi(numbers.subarray(numbers.length / 2))]);
}

/** A detached signature as text. */
export function pgpSignatureOf(key: PgpKey, message: Uint8Array, options: PgpSignatureOptions = {}): string {
  return armour('PGP SIGNATURE', packet(2, makePgpSignature(key, message, options)));
}

export type PgpSubkey = {
  readonly key: PgpKey;
  readonly flags?: number;
  /** Default true: the subkey signs its binding. */
  readonly backSigned?: boolean;
  readonly binding?: PgpSignatureOptions;
  readonly revocation?: PgpSignatureOptions;
};
export type PgpCertificateOptions = {
  /** Flags of the primary key; 0x03 certifies and signs. */
  readonly flags?: number;
  readonly self?: PgpSignatureOptions;
  /** Seconds after its creation when the primary key expires. */
  readonly expires?: number;
  readonly revocation?: PgpSignatureOptions;
  readonly subkeys?: readonly PgpSubkey[];
  readonly more?: readonly Buffer[];
};

/** Packets of a certificate with one user id. */
export function certificatePackets(primary: PgpKey, options: PgpCertificateOptions = {}): Buffer {
  const userId = Buffer.from('Ada Example <ada@example.test>');
  const framed = framedKey(primary);
  const user = Buffer.concat([framed, Buffer.of(0xb4), uint32(userId.length), userId]);
  const expiry = options.expires === undefined ? [] : [subpacket(9, uint32(options.expires))];
  const self = { type: 0x13, ...options.self, hashed: [subpacket(27, Buffer.of(options.flags ?? 0x03)), ...expiry, ...(options.self?.hashed ?? [])] };
  const revoked = options.revocation === undefined ? [] : [packet(2, makePgpSignature(primary, framed, { type: 0x20, ...options.revocation }))];
  const parts = [packet(6, primary.packet), ...revoked, packet(13, userId), packet(2, makePgpSignature(primary, user, self))];
  return Buffer.concat([...parts, ...(options.subkeys ?? []).flatMap((subkey) => subkeyPackets(primary, subkey)), ...(options.more ?? [])]);
}

function subkeyPackets(primary: PgpKey, { key, flags = 0x02, backSigned = true, binding = {}, revocation }: PgpSubkey): readonly Buffer[] {
  const both = Buffer.concat([framedKey(primary), framedKey(key)]);
  const back = backSigned ? [subpacket(32, makePgpSignature(key, both, { type: 0x19 }))] : [];
  const bound = makePgpSignature(primary, both, { type: 0x18, ...binding, hashed: [subpacket(27, Buffer.of(flags)), ...back, ...(binding.hashed ?? [])] });
  const revoked = revocation === undefined ? [] : [packet(2, makePgpSignature(primary, both, { type: 0x28, ...revocation }))];
  return [packet(14, key.packet), packet(2, bound), ...revoked];
}

/** An armoured certificate with one user id. */
export function certificateOf(primary: PgpKey, options: PgpCertificateOptions = {}): string {
  return armour('PGP PUBLIC KEY BLOCK', certificatePackets(primary, options));
}

/** Why a key was revoked: 1 superseded, 2 compromised, 3 retired. */
export function reason(code: number): Buffer {
  return subpacket(29, Buffer.of(code));
}

export function framedKey({ version, packet: body }: PgpKey): Buffer {
  return Buffer.concat([Buffer.of(version === 6 ? 0x9b : 0x99), version === 6 ? uint32(body.length) : uint16(body.length), body]);
}

export function subpacket(type: number, body: Uint8Array, critical = false): Buffer {
  return Buffer.concat([lengthOf(body.length + 1), Buffer.of(critical ? type | 0x80 : type), body]);
}

export function packet(tag: number, body: Uint8Array): Buffer {
  return Buffer.concat([Buffer.of(0xc0 | tag), lengthOf(body.length), body]);
}

/** Armour as gpg writes it. */
export function armour(label: string, bytes: Uint8Array): string {
  const lines = (Buffer.from(bytes).toString('base64').match(/.{1,64}/g) ?? []).join('\n');
  return `-----BEGIN ${label}-----\n\n${lines}\n=${crc24(bytes)}\n-----END ${label}-----\n`;
}

function crc24(bytes: Uint8Array): string {
  let crc = 0xb704ce;
  for (const byte of bytes) {
    crc ^= byte << 16;
    for (let bit = 0; bit < 8; bit += 1) crc = (crc & 0x800000) === 0 ? crc << 1 : (crc << 1) ^ 0x1864cfb;
  }
  return Buffer.from([(crc >> 16) & 0xff, (crc >> 8) & 0xff, crc & 0xff]).toString('base64');
}

/** A number with its length in bits in front. */
export function mpi(magnitude: Uint8Array): Buffer {
  const start = magnitude.findIndex((byte) => byte !== 0);
  const bytes = Buffer.from(start === -1 ? [] : magnitude.subarray(start));
  return Buffer.concat([uint16(bytes.length === 0 ? 0 : bytes.length * 8 - Math.clz32(bytes[0] ?? 0) + 24), bytes]);
}

function lengthOf(length: number): Buffer {
  if (length < 192) return Buffer.of(length);
  if (length < 8384) return Buffer.of(((length - 192) >> 8) + 192, (length - 192) & 0xff);
  return Buffer.concat([Buffer.of(255), uint32(length)]);
}

function uint16(value: number): Buffer {
  const out = Buffer.alloc(2);
  out.writeUInt16BE(value);
  return out;
}

export function uint32(value: number): Buffer {
  const out = Buffer.alloc(4);
  out.writeUInt32BE(value);
  return out;
}

function fromUrl(text: string): Buffer {
  return Buffer.from(text, 'base64url');
}
