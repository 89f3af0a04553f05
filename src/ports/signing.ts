import type { CommitSigner } from './evidence-writer.ts';

/** Signs records; the key is ours, listed in the trust root for `decisions` (T29). */
export type RecordSigner = {
  /** sha256 of the DER public key, 64 hexadecimal digits. */
  readonly keyId: string;
  /** ECDSA P-256/SHA-256 in DER over the pre-authentication encoding. */
  sign(preAuthEncoding: Uint8Array): Uint8Array;
};

/** Our keys as the reconciler uses them. They are separate (T29) and may lie in different places. */
export type Signers = {
  readonly records: RecordSigner;
  readonly commits: CommitSigner;
};
