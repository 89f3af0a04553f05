import { createHash, generateKeyPairSync, sign, type KeyObject } from 'node:crypto';
import { concatBytes, wireString } from '../../../src/core/commit/wire-reader.ts';

/** A key pair in process, of any type and size, also of those that ssh-keygen would not make or sign with. */
export type TestKey = {
  readonly type: string;
  readonly privateKey: KeyObject;
  readonly blob: Uint8Array;
  /** A public key line. */
  readonly line: string;
  /** What a security key would add; null for the other types. */
  readonly application: string | null;
};

/** Everything of an SSHSIG that a test may want to be wrong; what is not named is right. */
export type SignatureOptions = {
  readonly namespace?: string;
  readonly magic?: string;
  readonly version?: number;
  readonly reserved?: string;
  readonly digestName?: string;
  readonly algorithm?: string;
  /** Digest of an RSA signature, where it shall differ from the algorithm's. */
  readonly rsaDigest?: string;
  readonly flags?: number;
  readonly keyBlob?: Uint8Array;
  /** Bytes behind the blob, behind the inner signature, and behind its numbers. */
  readonly trailing?: Uint8Array;
  readonly innerTrailing?: Uint8Array;
  readonly numbersTrailing?: Uint8Array;
  /** Changes the raw numbers of the inner signature. */
  readonly changeNumbers?: (numbers: Uint8Array) => Uint8Array;
  readonly columns?: number;
};

const CURVES: Readonly<Record<string, { curve: string; ssh: string; digest: string; bytes: number }>> = {
  'ecdsa-sha2-nistp256': { curve: 'prime256v1', ssh: 'nistp256', digest: 'sha256', bytes: 32 },
  'ecdsa-sha2-nistp384': { curve: 'secp384r1', ssh: 'nistp384', digest: 'sha384', bytes: 48 },
  'ecdsa-sha2-nistp521': { curve: 'secp521r1', ssh: 'nistp521', digest: 'sha512', bytes: 66 },
  'sk-ecdsa-sha2-nistp256@openssh.com': { curve: 'prime256v1', ssh: 'nistp256', digest: 'sha256', bytes: 32 },
};

/** Makes a key of an OpenSSH type; `bits` for ssh-rsa. */
export function makeTestKey(type: string, bits = 3072): TestKey {
  const application = type.startsWith('sk-') ? 'ssh:' : null;
  const tail = application === null ? [] : [wireString(application)];
  const curve = CURVES[type];
  const build = (privateKey: KeyObject, fields: readonly Uint8Array[]): TestKey => {
    const blob = concatBytes([wireString(type), ...fields, ...tail]);
    return { type, privateKey, blob, line: `${type} ${Buffer.from(blob).toString('base64')} test`, application };
  };
  if (curve !== undefined) {
    const { privateKey, publicKey } = generateKeyPairSync('ec', { namedCurve: curve.curve });
    const { x, y } = publicKey.export({ format: 'jwk' });
    return build(privateKey, [wireString(curve.ssh), wireString(concatBytes([Uint8Array.of(4), fromUrl(x), fromUrl(y)]))]);
  }
  if (type === 'ssh-rsa') {
    const { privateKey, publicKey } = generateKeyPairSync('rsa', { modulusLength: bits });
    const { n, e } = publicKey.export({ format: 'jwk' });
    return build(privateKey, [mpint(fromUrl(e)), mpint(fromUrl(n))]);
  }
  const { privateKey, publicKey } = generateKeyPairSync('ed25519');
  return build(privateKey, [wireString(fromUrl(publicKey.export({ format: 'jwk' }).x))]);
}

/** An armoured SSH signature of `message`, with the defects that `options` ask for. */
export function makeSignature(key: TestKey, message: Uint8Array | string, options: SignatureOptions = {}): string {
  return armour(makeSignatureBlob(key, message, options), options.columns);
}

/** The SSHSIG blob of {@link makeSignature}. */
export function makeSignatureBlob(key: TestKey, message: Uint8Array | string, options: SignatureOptions = {}): Uint8Array {
  const { namespace = 'git', magic = 'SSHSIG', version = 1, reserved = '', digestName = 'sha512' } = options;
  const digest = createHash(digestName).update(message).digest();
  const signed = concatBytes([Buffer.from('SSHSIG'), wireString(namespace), wireString(reserved), wireString(digestName), wireString(digest)]);
  return concatBytes([
    Buffer.from(magic), uint32(version), wireString(options.keyBlob ?? key.blob), wireString(namespace), wireString(reserved),
    wireString(digestName), wireString(innerSignature(key, signed, options)), options.trailing ?? new Uint8Array(0),
  ]);
}

/** Armour around any bytes. */
export function armour(blob: Uint8Array, columns = 70): string {
  const lines = Buffer.from(blob).toString('base64').match(new RegExp(`.{1,${columns}}`, 'g')) ?? [];
  return `-----BEGIN SSH SIGNATURE-----\n${lines.join('\n')}\n-----END SSH SIGNATURE-----\n`;
}

/** A positive integer in SSH wire format. */
export function mpint(magnitude: Uint8Array): Uint8Array {
  let start = 0;
  while (magnitude[start] === 0) start += 1;
  const minimal = magnitude.subarray(start);
  return wireString((minimal[0] ?? 0) >= 0x80 ? concatBytes([Uint8Array.of(0), minimal]) : minimal);
}

function innerSignature(key: TestKey, signed: Uint8Array, options: SignatureOptions): Uint8Array {
  const algorithm = options.algorithm ?? (key.type === 'ssh-rsa' ? 'rsa-sha2-512' : key.type);
  const flags = Uint8Array.of(options.flags ?? 1);
  const counter = uint32(7);
  const sha256 = (bytes: Uint8Array | string): Uint8Array => createHash('sha256').update(bytes).digest();
  const body = key.application === null ? signed : concatBytes([sha256(key.application), flags, counter, sha256(signed)]);
  const numbers = (options.changeNumbers ?? ((same) => same))(numbersOf(key, body, algorithm, options));
  const tail = key.application === null ? [] : [flags, counter];
  return concatBytes([
    wireString(algorithm), wireString(concatBytes([numbers, options.numbersTrailing ?? new Uint8Array(0)])), ...tail,
    options.innerTrailing ?? new Uint8Array(0),
  ]);
}

function numbersOf(key: TestKey, body: Uint8Array, algorithm: string, options: SignatureOptions): Uint8Array {
  const curve = CURVES[key.type];
  if (curve !== undefined) {
    const joined = sign(curve.digest, body, { key: key.privateKey, dsaEncoding: 'ieee-p1363' });
    return concatBytes([mpint(joined.subarray(0, curve.bytes)), mpint(joined.subarray(curve.bytes))]);
  }
  if (key.type !== 'ssh-rsa') return sign(null, body, key.privateKey);
  return sign(options.rsaDigest ?? (algorithm === 'rsa-sha2-256' ? 'sha256' : 'sha512'), body, key.privateKey);
}

function uint32(value: number): Uint8Array {
  const out = new Uint8Array(4);
  new DataView(out.buffer).setUint32(0, value);
  return out;
}

function fromUrl(text: string | undefined): Uint8Array {
  return Buffer.from(text ?? '', 'base64url');
}
