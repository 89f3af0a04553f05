import type { CommitId } from '../model/commit-id.ts';
import { digestOfBytes, type Digest } from '../model/digest.ts';
import type { ObjectFormat } from './commit-header.ts';
import { parseCommit, type ParsedCommit } from './commit-object.ts';
import { refusal, type SignatureCode, type SignatureRefusal } from './signature-code.ts';
import { verifySignature, type SignatureKeys, type Signer } from './verify-signature.ts';

/** A commit whose signature verifies under the key it carries. Only {@link verifyCommit} makes one. */
export interface VerifiedCommit {
  readonly signed: true;
  readonly commit: ParsedCommit;
  readonly signer: Signer;
  /** sha256 of the signed payload: the identity of what was signed, whatever commit id carries it (T7). */
  readonly payloadDigest: Digest;
}

export interface UnverifiedCommit {
  readonly signed: false;
  readonly code: SignatureCode;
  readonly message: string;
  /** For walking history and for messages; null when the bytes are no commit, or not the one asked for. */
  readonly commit: ParsedCommit | null;
}

/**
 * Verifies a raw commit object (T1–T4, T7). `expectedId` is the id under which the bytes were read.
 * X.509 signatures are refused as `SignatureUnsupported`. Total: never throws, whatever the bytes.
 */
export function verifyCommit(
  raw: Uint8Array,
  objectFormat: ObjectFormat,
  expectedId: CommitId,
  keys: SignatureKeys = {},
): VerifiedCommit | UnverifiedCommit {
  const parsed = parseCommit(raw, objectFormat);
  if (!parsed.ok) return unverified(parsed, null);
  const { commit } = parsed;
  // T1: replace refs and grafts hand out other bytes under the same name.
  if (commit.id !== expectedId) return unverified(refusal('IdMismatch', `the bytes are ${commit.id}`), null);
  const { signature } = commit;
  if (signature.state !== 'present') return unverified(signature, commit);
  if (signature.kind === 'x509') return unverified(refusal('SignatureUnsupported', signature.kind), commit);
  const { armoured, payload } = signature;
  const outcome = verifySignature({ armoured, message: payload, namespace: 'git', keys });
  return outcome.ok ? { signed: true, commit, signer: outcome.signer, payloadDigest: digestOfBytes(payload) } : unverified(outcome, commit);
}

function unverified({ code, message }: SignatureRefusal, commit: ParsedCommit | null): UnverifiedCommit {
  return { signed: false, code, message, commit };
}
