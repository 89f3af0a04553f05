import type { CommitId } from '../model/commit-id.ts';
import { digestOfBytes, type Digest } from '../model/digest.ts';
import type { ObjectFormat } from './commit-header.ts';
import { parseCommit, type CommitOutcome, type ParsedCommit } from './commit-object.ts';
import { refusal, type SignatureCode, type SignatureRefusal } from './signature-code.ts';
import { verifySignature, verifyTogether, type SignatureKeys, type Signer } from './verify-signature.ts';

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
  return verifyParsed(parseCommit(raw, objectFormat), expectedId, keys);
}

/** A raw commit object and the id under which it was read, whose length tells the object format. */
export interface NamedCommit {
  readonly raw: Uint8Array;
  readonly commit: CommitId;
}

/** Verifies many commits as {@link verifyCommit} does each of them, in their order, OpenPGP signatures together. */
export function verifyCommits(commits: readonly NamedCommit[], keys: SignatureKeys): readonly (VerifiedCommit | UnverifiedCommit)[] {
  const parsed = commits.map(({ raw, commit }) => parseCommit(raw, commit.length === 64 ? 'sha256' : 'sha1'));
  const signatures = parsed.flatMap((outcome) => (outcome.ok && outcome.commit.signature.state === 'present' ? [outcome.commit.signature] : []));
  verifyTogether(signatures.map(({ armoured, payload }) => ({ armoured, message: payload })), keys);
  return parsed.map((outcome, i) => verifyParsed(outcome, commits[i]?.commit ?? null, keys));
}

function verifyParsed(parsed: CommitOutcome, expectedId: CommitId | null, keys: SignatureKeys): VerifiedCommit | UnverifiedCommit {
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
