import { verifyDocumentSignature } from '../commit/document-signature.ts';
import type { SignatureKeys } from '../commit/verify-signature.ts';
import type { Digest } from '../model/digest.ts';
import { documentPreimage, type AnyDocument } from '../model/documents.ts';

export type EmbeddedSigner = { readonly fingerprint: string; readonly payload: Digest };

/**
 * Keys whose valid signatures a document carries over its own preimage (carrier 1 of TRUST), in the order they stand there.
 * @param keys a key ring; whether its principals are entitled is not looked at
 */
export function signersOf(document: AnyDocument, namespace: 'stella-approval', keys: SignatureKeys): readonly EmbeddedSigner[] {
  const preimage = documentPreimage(document);
  return (document.signatures ?? []).flatMap(({ signature }) => {
    const outcome = verifyDocumentSignature({ preimage, armoured: signature, namespace, keys });
    return outcome.signed ? [{ fingerprint: outcome.signer.fingerprint, payload: outcome.payloadDigest }] : [];
  });
}
