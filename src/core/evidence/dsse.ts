import { createHash, createPublicKey, verify, type KeyObject } from 'node:crypto';
import { decodeBase64, decodeForeignBase64, encodeBase64 } from '../model/base64.ts';
import { canonicalBytes } from '../model/canonical-json.ts';
import { limits } from '../model/limits.ts';

/** Payload type of every record and of every attestation that we read. */
export const IN_TOTO_PAYLOAD_TYPE = 'application/vnd.in-toto+json';

export type EnvelopeCode =
  | 'EnvelopeTooLarge'
  | 'EnvelopeMalformed'
  | 'EnvelopeNotCanonical'
  | 'EnvelopeKeyUnsupported';

export interface EnvelopeRefusal {
  readonly ok: false;
  readonly code: EnvelopeCode;
  readonly message: string;
}

export interface EnvelopeSignature {
  /** A hint which key signed; proves nothing. Empty where a foreign envelope has none. */
  readonly keyid: string;
  readonly sig: Uint8Array;
}

/** A DSSE v1 envelope whose form was checked; its signatures were not. */
export interface Envelope {
  readonly payloadType: string;
  readonly payload: Uint8Array;
  readonly signatures: readonly EnvelopeSignature[];
}

export type EnvelopeOutcome = { readonly ok: true; readonly envelope: Envelope } | EnvelopeRefusal;

/** A key that may sign envelopes. */
export interface EnvelopeKey {
  /** See {@link keyIdOf}. */
  readonly keyId: string;
  readonly publicKey: KeyObject;
}

/** The JSON form of an envelope, as it stands in a file. */
interface EnvelopeJson {
  readonly payload: string;
  readonly payloadType: string;
  readonly signatures: readonly { readonly keyid?: unknown; readonly sig: string }[];
}

/**
 * The bytes that a DSSE signature covers: `DSSEv1 <length of type> <type> <length of payload> <payload>`, lengths in bytes.
 * Source: DSSE v1 protocol, "Signature Definition".
 */
export function preAuthEncoding(payloadType: string, payload: Uint8Array): Uint8Array {
  const type = new TextEncoder().encode(payloadType);
  const head = new TextEncoder().encode(`DSSEv1 ${type.length} ${payloadType} ${payload.length} `);
  const out = new Uint8Array(head.length + payload.length);
  out.set(head);
  out.set(payload, head.length);
  return out;
}

/** Id of a signing key: sha256 of its DER SubjectPublicKeyInfo, 64 hexadecimal digits. */
export function keyIdOf(spkiDer: Uint8Array): string {
  return createHash('sha256').update(spkiDer).digest('hex');
}

/**
 * Reads one of our own signing keys from PEM (SubjectPublicKeyInfo). Only P-256, which is what auditors' tools read.
 * Code of a refusal: `EnvelopeKeyUnsupported`.
 */
export function parseEnvelopeKey(pem: string): { readonly ok: true; readonly key: EnvelopeKey } | EnvelopeRefusal {
  const publicKey = pem.length > limits.signatureBytes || !pem.startsWith('-----BEGIN PUBLIC KEY-----\n') ? null : importPem(pem);
  if (publicKey === null || digestNameOf(publicKey) !== 'sha256') {
    return refuse('EnvelopeKeyUnsupported', 'not an ECDSA P-256 public key in PEM; make one with `openssl ecparam -name prime256v1 -genkey`');
  }
  return { ok: true, key: { keyId: keyIdOf(publicKey.export({ type: 'spki', format: 'der' })), publicKey } };
}

/**
 * The file of an envelope: canonical JSON (RFC 8785) and nothing behind it, signatures sorted by key id, so that the same
 * signatures always make the same bytes.
 */
export function assembleEnvelope(payload: Uint8Array, signatures: readonly EnvelopeSignature[], payloadType = IN_TOTO_PAYLOAD_TYPE): Uint8Array {
  const sorted = signatures.toSorted((a, b) => (a.keyid < b.keyid ? -1 : Number(a.keyid > b.keyid)));
  return canonicalBytes({
    payload: encodeBase64(payload),
    payloadType,
    signatures: sorted.map(({ keyid, sig }) => ({ keyid, sig: encodeBase64(sig) })),
  });
}

/**
 * Reads an envelope file of ours. The bytes must be exactly what {@link assembleEnvelope} writes for their content: one spelling per
 * envelope means that duplicate keys, other members, white space, other base64 or a trailing newline cannot make a second file of the
 * same signed record. Total, linear.
 */
export function parseEnvelope(bytes: Uint8Array): EnvelopeOutcome {
  const outcome = readEnvelope(bytes, decodeBase64);
  if (!outcome.ok) return outcome;
  const { payload, signatures, payloadType } = outcome.envelope;
  const canonical = payloadType.isWellFormed() && signatures.every(({ keyid }) => keyid.isWellFormed() && keyid !== '')
    ? assembleEnvelope(payload, signatures, payloadType)
    : null;
  if (canonical === null || Buffer.compare(canonical, bytes) !== 0) {
    return refuse('EnvelopeNotCanonical', 'the file is not the canonical form of its envelope; it was not written by us, or was changed');
  }
  return outcome;
}

/**
 * Reads an envelope that others wrote (attestations about images), as DSSE v1 asks readers to: key ids may be missing, unknown
 * members are ignored, both base64 alphabets are accepted. Never for records. Total, linear.
 */
export function parseForeignEnvelope(bytes: Uint8Array): EnvelopeOutcome {
  return readEnvelope(bytes, decodeForeignBase64);
}

/**
 * Key ids, sorted and without repetition, under which the envelope has a valid signature: ECDSA P-256 over sha256 (DER), or
 * Ed25519. Whether these are enough, and of the right roles, is the caller's question (T29). A key id in the envelope only
 * selects the key; a signature without one is tried with each.
 */
export function verifyEnvelope(envelope: Envelope, keys: readonly EnvelopeKey[]): readonly string[] {
  const signed = preAuthEncoding(envelope.payloadType, envelope.payload);
  const valid = new Set<string>();
  for (const { keyid, sig } of envelope.signatures) {
    const candidates = keys.filter((key) => !valid.has(key.keyId) && (keyid === '' || keyid === key.keyId));
    const signer = candidates.find((key) => signatureMatches(key.publicKey, signed, sig));
    if (signer !== undefined) valid.add(signer.keyId);
  }
  return [...valid].sort();
}

function readEnvelope(bytes: Uint8Array, decode: (text: string) => Uint8Array | null): EnvelopeOutcome {
  if (bytes.length > limits.recordBytes) return refuse('EnvelopeTooLarge', `the envelope has more than ${limits.recordBytes} bytes`);
  const json = parseJson(bytes);
  if (!isEnvelopeJson(json)) return refuse('EnvelopeMalformed', 'not a JSON object with payload, payloadType and at least one signature');
  if (json.signatures.length > limits.signaturesPerDocument) {
    return refuse('EnvelopeMalformed', `the envelope has more than ${limits.signaturesPerDocument} signatures`);
  }
  const payload = decode(json.payload);
  const signatures: EnvelopeSignature[] = [];
  for (const { keyid, sig } of json.signatures) {
    const decoded = decode(sig);
    if (decoded === null || decoded.length === 0) return refuse('EnvelopeMalformed', 'the base64 of a signature is malformed');
    signatures.push({ keyid: typeof keyid === 'string' ? keyid : '', sig: decoded });
  }
  if (payload === null) return refuse('EnvelopeMalformed', 'the base64 of the payload is malformed');
  return { ok: true, envelope: { payloadType: json.payloadType, payload, signatures } };
}

function parseJson(bytes: Uint8Array): unknown {
  try {
    return JSON.parse(new TextDecoder('utf-8', { fatal: true, ignoreBOM: true }).decode(bytes));
  } catch {
    // Invalid UTF-8 or JSON: the caller refuses what has not the form of an envelope.
    return null;
  }
}

function isEnvelopeJson(value: unknown): value is EnvelopeJson {
  const { payload, payloadType, signatures } = (value ?? {}) as { readonly [key: string]: unknown };
  return typeof payload === 'string' && typeof payloadType === 'string' && payloadType !== ''
    && Array.isArray(signatures) && signatures.length > 0
    && signatures.every((signature) => typeof (signature as { readonly sig?: unknown } | null)?.sig === 'string');
}

/** Digest for a key's signatures: null where the algorithm has its own; undefined for a key that may not sign envelopes. */
function digestNameOf(key: KeyObject): 'sha256' | null | undefined {
  if (key.asymmetricKeyType === 'ed25519') return null;
  return key.asymmetricKeyType === 'ec' && key.asymmetricKeyDetails?.namedCurve === 'prime256v1' ? 'sha256' : undefined;
}

function signatureMatches(key: KeyObject, signed: Uint8Array, sig: Uint8Array): boolean {
  const digestName = digestNameOf(key);
  if (digestName === undefined) return false;
  try {
    return verify(digestName, signed, { key, dsaEncoding: 'der' }, sig);
  } catch {
    // OpenSSL may refuse malformed DER instead of answering no; both mean the same.
    return false;
  }
}

function importPem(pem: string): KeyObject | null {
  try {
    return createPublicKey(pem);
  } catch {
    // Not a key: the caller says which one is wanted.
    return null;
  }
}

function refuse(code: EnvelopeCode, message: string): EnvelopeRefusal {
  return { ok: false, code, message };
}
