import { verifyDocumentSignature } from '../commit/document-signature.ts';
import { questionOf } from '../commit/openpgp-signature.ts';
import type { SignatureKeys } from '../commit/verify-signature.ts';
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

/** Has the OpenPGP signatures of many documents verified together, so that {@link signersOf} finds the answers known. Changes no result. */
export function verifyTogether(documents: readonly AnyDocument[], { openPgp }: Required<Pick<SignatureKeys, 'openPgp'>>): void {
  const questions = documents.flatMap((document) => {
    const armoured = (document.signatures ?? []).filter(({ format }) => format === 'openpgp');
    if (armoured.length === 0) return [];
    const message = documentPreimage(document);
    return armoured.flatMap(({ signature }) => {
      const asked = questionOf({ armoured: signature, message, keys: openPgp });
      return asked.ok ? [asked.question] : [];
    });
  });
  if (questions.length > 1) openPgp.verifier.verify(questions);
}
