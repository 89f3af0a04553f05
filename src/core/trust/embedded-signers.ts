import { verifyDocumentSignature } from '../commit/document-signature.ts';
import { verifyTogether, type SignatureKeys } from '../commit/verify-signature.ts';
import type { Digest } from '../model/digest.ts';
import { documentPreimage, type AnyDocument, type DocumentSignature } from '../model/documents.ts';
import { commitSigner } from './approval-commit.ts';

export type EmbeddedSigner = { readonly fingerprint: string; readonly payload: Digest };

/**
 * Keys whose valid signatures a document carries, in the order they stand there: over its own preimage (carrier 1 of TRUST), or over a commit
 * that names it (carrier 2).
 * @param keys a key ring; whether its principals are entitled is not looked at
 */
export function signersOf(document: AnyDocument, namespace: 'stella-approval', keys: SignatureKeys): readonly EmbeddedSigner[] {
  const preimage = documentPreimage(document);
  return (document.signatures ?? []).flatMap((signature) => signerOf(document, preimage, signature, namespace, keys) ?? []);
}

function signerOf(document: AnyDocument, preimage: Uint8Array, { format, signature }: DocumentSignature, namespace: 'stella-approval', keys: SignatureKeys): EmbeddedSigner | null {
  if (format === 'commit') return document.kind === 'Approval' ? commitSigner(document, signature, keys) : null;
  const outcome = verifyDocumentSignature({ preimage, armoured: signature, namespace, keys });
  return outcome.signed ? { fingerprint: outcome.signer.fingerprint, payload: outcome.payloadDigest } : null;
}

/** Has the signatures of many documents verified together, so that {@link signersOf} finds the answers known. Changes no result. */
export function verifyDocumentsTogether(documents: readonly AnyDocument[], keys: SignatureKeys): void {
  verifyTogether(documents.flatMap((document) => {
    const armoured = (document.signatures ?? []).filter(({ format }) => format === 'openpgp');
    const message = armoured.length === 0 ? new Uint8Array() : documentPreimage(document);
    return armoured.map(({ signature }) => ({ armoured: signature, message }));
  }), keys);
}
