import { createHash, verify } from 'node:crypto';
import { decodeBase64 } from '../model/base64.ts';
import { limits } from '../model/limits.ts';
import { refusal, type SignatureRefusal } from './signature-code.ts';
import { parseSshKeyBlob, type KeyCache, type SshKeyType, type SshPublicKey } from './ssh-key.ts';
import { concatBytes, WireReader, wireString } from './wire-reader.ts';

/** What a signature is for (T4): commits, approvals, intents. A signature for one purpose never counts for another. */
export type SignatureNamespace = 'git' | 'stella-approval' | 'stella-intent';

export interface SshSignatureInput {
  /** The armoured signature, as ssh-keygen writes it. */
  readonly armoured: string;
  /** The signed bytes, raw (T1). */
  readonly message: Uint8Array;
  readonly namespace: string;
  /** Keys already parsed; optional, makes many signatures of few keys faster. */
  readonly keys?: KeyCache;
}

export type SshSignatureOutcome = ({ readonly ok: true; readonly key: SshPublicKey }) | ({ readonly ok: false } & SignatureRefusal);

/** The fields of an SSHSIG blob, form checked, cryptography not. */
interface SshSignature {
  readonly key: SshPublicKey;
  readonly namespace: string;
  readonly digestName: 'sha256' | 'sha512';
  /** Inner signature: its algorithm and what follows. */
  readonly signature: Uint8Array;
}

type Parsed<T> = ({ readonly ok: true } & T) | ({ readonly ok: false } & SignatureRefusal);

const BEGIN = '-----BEGIN SSH SIGNATURE-----\n';
const END = '-----END SSH SIGNATURE-----';
/** ssh-keygen and git write lines of 70 characters, the PEM writers of other signers 64. */
const LINE_LENGTHS: readonly number[] = [70, 64];
const MAGIC = 'SSHSIG';
const VERSION = 1;
const USER_PRESENT = 0x01;

/**
 * Verifies one armoured SSH signature over `message` against the key that the signature itself carries. Who that key belongs to
 * is the caller's question, by `key.blob` or `key.fingerprint` (T8): an answer of `ok` alone says nothing about entitlement.
 * Total: any text and bytes give an answer, in time linear in their length.
 * Source: OpenSSH PROTOCOL.sshsig, PROTOCOL.u2f; RFC 5656 §3.1.2, RFC 8332 §3, RFC 8709 §6.
 */
export function verifySshSignature(input: SshSignatureInput): SshSignatureOutcome {
  const armour = parseArmour(input.armoured);
  if (!armour.ok) return armour;
  const parsed = parseSshSignature(armour.bytes, input.keys);
  if (!parsed.ok) return parsed;
  const { key, namespace, digestName, signature } = parsed.signature;
  // T4: a signature made for another purpose (file, git2, an e-mail) is not one for this.
  if (namespace !== input.namespace) return refuse('NamespaceMismatch', `expected ${input.namespace}`);
  const digest = createHash(digestName).update(input.message).digest();
  const signed = concatBytes([
    Buffer.from(MAGIC), wireString(namespace), wireString(''), wireString(digestName), wireString(digest),
  ]);
  const problem = checkInnerSignature(key, signature, signed);
  return problem === null ? { ok: true, key } : { ok: false, ...problem };
}

/**
 * Bytes of one armoured SSH signature. T3: begin line, full lines of canonical base64, end line, at most one final newline;
 * nothing before, between or after, no comment headers, no carriage return.
 */
export function parseArmour(armoured: string): Parsed<{ readonly bytes: Uint8Array }> {
  if (armoured.length > limits.signatureBytes) return refuse('SignatureTooLarge', `more than ${limits.signatureBytes} bytes`);
  const text = armoured.endsWith('\n') ? armoured.slice(0, -1) : armoured;
  if (!text.startsWith(BEGIN)) return refuse('ArmourMalformed', 'it does not start with its begin line');
  if (!text.endsWith(`\n${END}`)) return refuse('ArmourMalformed', 'it does not end with its end line');
  const body = text.slice(BEGIN.length, -END.length - 1);
  const lines = body.split('\n');
  const [first = ''] = lines;
  const last = lines.at(-1) ?? '';
  const full = lines.length === 1 || LINE_LENGTHS.includes(first.length);
  const width = lines.length === 1 ? Math.max(...LINE_LENGTHS) : first.length;
  const even = lines.every((line, i) => i === lines.length - 1 || line.length === width);
  if (!full || !even || last.length === 0 || last.length > width) return refuse('ArmourMalformed', 'its lines are not of equal length');
  const bytes = decodeBase64(lines.join(''));
  return bytes === null ? refuse('ArmourMalformed', 'its base64 is not canonical') : { ok: true, bytes };
}

function parseSshSignature(blob: Uint8Array, keys: KeyCache | undefined): Parsed<{ readonly signature: SshSignature }> {
  const reader = new WireReader(blob);
  const magic = Buffer.from(reader.take(MAGIC.length)).toString('latin1');
  const version = reader.uint32();
  const keyBlob = reader.string();
  const namespace = reader.text();
  const reserved = reader.string();
  const digestName = reader.text();
  const signature = reader.string();
  // T4: version 1, empty reserved field, no trailing bytes.
  if (!reader.finished || magic !== MAGIC) return refuse('SignatureMalformed', 'its fields do not add up');
  if (version !== VERSION) return refuse('SignatureMalformed', `version ${version}`);
  if (reserved.length !== 0) return refuse('SignatureMalformed', 'the reserved field is not empty');
  if (digestName !== 'sha256' && digestName !== 'sha512') return refuse('DigestUnsupported');
  const parsed = parseSshKeyBlob(keyBlob, keys);
  if (!parsed.ok) return parsed;
  return { ok: true, signature: { key: parsed.key, namespace, digestName, signature } };
}

/** Algorithms of inner signatures by key type (T4). `ssh-rsa`, which means SHA-1, is not among them. */
const algorithms: Readonly<Record<SshKeyType, Readonly<Record<string, string | null>>>> = {
  'ssh-ed25519': { 'ssh-ed25519': null },
  'ecdsa-sha2-nistp256': { 'ecdsa-sha2-nistp256': 'sha256' },
  'ecdsa-sha2-nistp384': { 'ecdsa-sha2-nistp384': 'sha384' },
  'ecdsa-sha2-nistp521': { 'ecdsa-sha2-nistp521': 'sha512' },
  'ssh-rsa': { 'rsa-sha2-256': 'sha256', 'rsa-sha2-512': 'sha512' },
  'sk-ssh-ed25519@openssh.com': { 'sk-ssh-ed25519@openssh.com': null },
  'sk-ecdsa-sha2-nistp256@openssh.com': { 'sk-ecdsa-sha2-nistp256@openssh.com': 'sha256' },
};

function checkInnerSignature(key: SshPublicKey, signature: Uint8Array, signed: Uint8Array): SignatureRefusal | null {
  const reader = new WireReader(signature);
  const algorithm = reader.text();
  if (reader.failed) return refusal('SignatureMalformed', 'the inner signature has no algorithm');
  if (!Object.hasOwn(algorithms[key.type], algorithm)) return refuseAlgorithm(algorithm);
  const digestName = algorithms[key.type][algorithm] ?? null;
  const body = reader.string();
  if (key.application === null) {
    if (!reader.finished) return refusal('SignatureMalformed', 'bytes behind the inner signature');
    return checkNumbers(key, digestName, body, signed);
  }
  const flags = reader.byte();
  const counter = reader.take(4);
  if (!reader.finished) return refusal('SignatureMalformed', 'bytes behind the inner signature');
  // T4: a key that signs without a touch can be used by whoever reaches the machine it is plugged into.
  if ((flags & USER_PRESENT) === 0) return refusal('UserPresenceMissing');
  const sha256 = (bytes: Uint8Array): Uint8Array => createHash('sha256').update(bytes).digest();
  return checkNumbers(key, digestName, body, concatBytes([sha256(key.application), Uint8Array.of(flags), counter, sha256(signed)]));
}

function refuseAlgorithm(algorithm: string): SignatureRefusal {
  const known = Object.values(algorithms).some((byName) => Object.hasOwn(byName, algorithm));
  return known ? refusal('AlgorithmMismatch', algorithm) : refusal('AlgorithmUnsupported', printable(algorithm));
}

function checkNumbers(key: SshPublicKey, digestName: string | null, body: Uint8Array, signed: Uint8Array): SignatureRefusal | null {
  const ecdsa = isEcdsa(key.type);
  const numbers = ecdsa ? joinEcdsaNumbers(body, key.numberBytes) : body;
  const length = key.type === 'ssh-rsa' ? key.numberBytes : 2 * key.numberBytes;
  if (numbers?.length !== length) return refusal('SignatureMalformed', 'the inner signature has the wrong length');
  try {
    // Options only where they mean something: they cost a quarter of an ed25519 verification.
    const verifier = ecdsa ? { key: key.keyObject, dsaEncoding: 'ieee-p1363' as const } : key.keyObject;
    return verify(digestName, signed, verifier, numbers) ? null : refusal('SignatureInvalid');
  } catch {
    // OpenSSL may refuse numbers as out of range instead of answering no; both mean the same.
    return refusal('SignatureInvalid');
  }
}

function isEcdsa(type: SshKeyType): boolean {
  return type.startsWith('ecdsa-') || type.startsWith('sk-ecdsa-');
}

/** (r, s), each padded to the curve's length, from two minimal integers with nothing behind them; null for anything else. */
function joinEcdsaNumbers(body: Uint8Array, numberBytes: number): Uint8Array | null {
  const reader = new WireReader(body);
  const r = reader.mpint();
  const s = reader.mpint();
  if (!reader.finished || r.length > numberBytes || s.length > numberBytes) return null;
  const out = new Uint8Array(2 * numberBytes);
  out.set(r, numberBytes - r.length);
  out.set(s, 2 * numberBytes - s.length);
  return out;
}

function printable(text: string): string {
  return /^[\x21-\x7e]{1,64}$/.test(text) ? text : 'unreadable name';
}

function refuse(code: SignatureRefusal['code'], detail?: string): { readonly ok: false } & SignatureRefusal {
  return { ok: false, ...refusal(code, detail) };
}
