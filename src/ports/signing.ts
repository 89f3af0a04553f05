import type { CommitSigner } from './evidence-writer.ts';

/** Signs records; the key is ours, listed in the trust root for `decisions` (T29). */
export type RecordSigner = {
  /** sha256 of the DER public key, 64 hexadecimal digits. */
  readonly keyId: string;
  /** ECDSA P-256/SHA-256 in DER over the pre-authentication encoding. */
  sign(preAuthEncoding: Uint8Array): Uint8Array;
};

/** A key for evidence commits by the fingerprint (`SHA256:…`) that the trust root lists. */
export type NextCommitSigner = { readonly fingerprint: string; readonly sign: CommitSigner };

/** Our keys as the reconciler uses them. They are separate (T29) and may lie in different places. */
export type Signers = {
  readonly records: RecordSigner;
  readonly commits: CommitSigner;
  /** Keys that take over as soon as the root in force lists them: how our own keys are rotated. */
  readonly next?: { readonly records?: RecordSigner; readonly commits?: NextCommitSigner };
};
