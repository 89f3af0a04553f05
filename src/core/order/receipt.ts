import { createHash, createPublicKey, verify } from 'node:crypto';
import { decodeBase64 } from '../model/base64.ts';
import { canonicalBytes, parseCanonicalJson } from '../model/canonical-json.ts';
import { isDigest, type Digest } from '../model/digest.ts';
import { parseInstant } from '../model/instant.ts';
import { limits } from '../model/limits.ts';

export const RECEIPT_PAYLOAD_TYPE = 'application/vnd.stella.receipt+json';

/** What an agent says of one order, signed with its identity key (TRUST "What an agent proves"). */
export type Receipt = {
  readonly type: 'stella/receipt/v1';
  readonly order: Digest;
  readonly agent: string;
  readonly target: string;
  /** Refused: the proof did not hold, and nothing was begun. */
  readonly result: 'Succeeded' | 'Failed' | 'Errored' | 'Refused';
  /** Stable reason code. */
  readonly code: string;
  readonly message: string;
  /** What really runs at the end; empty for a refusal. */
  readonly running: readonly { readonly component: string; readonly digest: string }[];
  /** After a failure: what ran before runs again. */
  readonly rolledBack: boolean;
  readonly startedAt: string;
  readonly endedAt: string;
};

export type ReceiptFault = 'ReceiptMalformed' | 'ReceiptSignatureInvalid';
export type ReceiptOrFault = { readonly ok: true; readonly receipt: Receipt } | { readonly ok: false; readonly code: ReceiptFault };

/** DSSE v1 pre-authentication encoding: what the signature covers. */
export function receiptSigningInput(payload: Uint8Array): Uint8Array {
  const head = `DSSEv1 ${RECEIPT_PAYLOAD_TYPE.length} ${RECEIPT_PAYLOAD_TYPE} ${payload.length} `;
  return Buffer.concat([Buffer.from(head), payload]);
}

/** Key id as EVIDENCE.md has it: sha256 of the DER public key, 64 hexadecimal digits. */
export function keyIdOf(spki: Uint8Array): string {
  return createHash('sha256').update(spki).digest('hex');
}

/** The envelope file of a signed receipt. @param signature DER ECDSA signature over {@link receiptSigningInput}. */
export function receiptEnvelope(payload: Uint8Array, keyId: string, signature: Uint8Array): Uint8Array {
  const envelope = {
    payload: Buffer.from(payload).toString('base64'),
    payloadType: RECEIPT_PAYLOAD_TYPE,
    signatures: [{ keyid: keyId, sig: Buffer.from(signature).toString('base64') }],
  };
  return canonicalBytes(envelope);
}

/**
 * Verifies the raw bytes of a receipt with the agent's identity key.
 * @param envelope bytes from outside.
 * @param identityKey SPKI DER (P-256) from the Agent document that was in force.
 * @returns the receipt. Whether it is for the order, agent and target that one waited for is the caller's to compare.
 */
export function verifyReceipt(envelope: Uint8Array, identityKey: Uint8Array): ReceiptOrFault {
  const parts = splitEnvelope(envelope);
  if (parts === null) return { ok: false, code: 'ReceiptMalformed' };
  const key = createPublicKey({ key: Buffer.from(identityKey), format: 'der', type: 'spki' });
  // The stored payload bytes are what is verified, never a serialisation of what was parsed.
  const holds = parts.keyId === keyIdOf(identityKey) && verify('sha256', receiptSigningInput(parts.payload), key, parts.signature);
  if (!holds) return { ok: false, code: 'ReceiptSignatureInvalid' };
  const receipt = parseReceipt(parts.payload);
  return receipt === null ? { ok: false, code: 'ReceiptMalformed' } : { ok: true, receipt };
}

type Parts = { readonly payload: Uint8Array; readonly keyId: string; readonly signature: Uint8Array };

function splitEnvelope(bytes: Uint8Array): Parts | null {
  if (bytes.length > limits.recordBytes) return null;
  const envelope = parseObject(bytes);
  const signatures: unknown = envelope?.['signatures'];
  if (envelope?.['payloadType'] !== RECEIPT_PAYLOAD_TYPE || !Array.isArray(signatures) || signatures.length !== 1) return null;
  const { keyid, sig } = (signatures[0] ?? {}) as { keyid?: unknown; sig?: unknown };
  const payload = typeof envelope['payload'] === 'string' ? decodeBase64(envelope['payload']) : null;
  const signature = typeof sig === 'string' ? decodeBase64(sig) : null;
  if (payload === null || signature === null || typeof keyid !== 'string') return null;
  return { payload, keyId: keyid, signature };
}

function parseObject(bytes: Uint8Array): { readonly [key: string]: unknown } | null {
  const value = parseCanonicalJson(bytes);
  return typeof value === 'object' && value !== null && !Array.isArray(value) ? (value as { [key: string]: unknown }) : null;
}

const RESULTS: ReadonlySet<unknown> = new Set(['Succeeded', 'Failed', 'Errored', 'Refused']);
const MEMBERS = 11;

function parseReceipt(payload: Uint8Array): Receipt | null {
  const r = parseObject(payload);
  if (r === null || Object.keys(r).length !== MEMBERS || r['type'] !== 'stella/receipt/v1') return null;
  const isText = (...names: readonly string[]): boolean => names.every((name) => typeof r[name] === 'string');
  const isMoment = (name: string): boolean => typeof r[name] === 'string' && parseInstant(r[name]) !== null;
  const ok =
    isDigest(r['order']) && RESULTS.has(r['result']) && isText('agent', 'target', 'code', 'message') &&
    typeof r['rolledBack'] === 'boolean' && isMoment('startedAt') && isMoment('endedAt') && isRunning(r['running']);
  return ok ? (r as unknown as Receipt) : null;
}

function isRunning(value: unknown): boolean {
  return (
    Array.isArray(value) &&
    value.every((item: { component?: unknown; digest?: unknown } | null) => typeof item?.component === 'string' && typeof item.digest === 'string')
  );
}
