import { digestOfBytes, type Digest } from '../model/digest.ts';
import type { SignatureRefusal } from './signature-code.ts';
import { verifySignature, type SignatureKeys, type Signer } from './verify-signature.ts';

export interface DocumentSignatureInput {
  /** The signed bytes: canonical JSON of the document without `signatures`, or of the intent (TRUST "Words"). */
  readonly preimage: Uint8Array;
  readonly armoured: string;
  readonly namespace: 'stella-approval' | 'stella-intent';
  readonly keys?: SignatureKeys;
}

export type DocumentSignatureOutcome =
  | { readonly signed: true; readonly signer: Signer; readonly payloadDigest: Digest }
  | ({ readonly signed: false } & SignatureRefusal);

/**
 * Verifies one embedded signature of a document (T3, T4, T7). `payloadDigest` is sha256 of the preimage, so it is the document's
 * digest. An OpenPGP signature has no namespace: what it is for, its preimage says alone. Total, as `verifyCommit`.
 */
export function verifyDocumentSignature(input: DocumentSignatureInput): DocumentSignatureOutcome {
  const { preimage, armoured, namespace, keys = {} } = input;
  const outcome = verifySignature({ armoured, message: preimage, namespace, keys });
  if (!outcome.ok) return { signed: false, code: outcome.code, message: outcome.message };
  return { signed: true, signer: outcome.signer, payloadDigest: digestOfBytes(preimage) };
}
