import { digestOfBytes, type Digest } from '../model/digest.ts';
import { refusal, type SignatureRefusal } from './signature-code.ts';
import type { KeyCache } from './ssh-key.ts';
import { verifySshSignature } from './ssh-signature.ts';
import type { Signer } from './verify-commit.ts';

export interface DocumentSignatureInput {
  /** The signed bytes: canonical JSON of the document without `signatures`, or of the intent (TRUST "Words"). */
  readonly preimage: Uint8Array;
  readonly armoured: string;
  readonly namespace: 'stella-approval' | 'stella-intent';
  readonly keys?: KeyCache;
}

export type DocumentSignatureOutcome =
  | { readonly signed: true; readonly signer: Signer; readonly payloadDigest: Digest }
  | ({ readonly signed: false } & SignatureRefusal);

/**
 * Verifies one embedded signature of a document (T3, T4, T7). `payloadDigest` is sha256 of the preimage, so it is the document's
 * digest. Total, as `verifyCommit`; OpenPGP is refused as `SignatureUnsupported`.
 */
export function verifyDocumentSignature(input: DocumentSignatureInput): DocumentSignatureOutcome {
  const { preimage, armoured, namespace, keys } = input;
  if (armoured.startsWith('-----BEGIN PGP ')) return { signed: false, ...refusal('SignatureUnsupported', 'openpgp') };
  const outcome = verifySshSignature({ armoured, message: preimage, namespace, ...(keys === undefined ? {} : { keys }) });
  if (!outcome.ok) return { signed: false, code: outcome.code, message: outcome.message };
  const signer = { fingerprint: outcome.key.fingerprint, keyBlob: outcome.key.blob };
  return { signed: true, signer, payloadDigest: digestOfBytes(preimage) };
}
