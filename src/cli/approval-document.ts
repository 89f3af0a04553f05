import type { Digest } from '../core/model/digest.ts';
import { API_VERSION, documentPreimage, type ApprovalSpec, type DocumentOf } from '../core/model/documents.ts';
import { hexOf } from '../core/model/digest.ts';
import { verifyDocumentSignature } from '../core/commit/document-signature.ts';
import { keyFault, keyRingIn } from '../core/trust/key-ring.ts';
import type { Evidence, PersonalKey } from './clone.ts';
import { CliError } from './command.ts';

/** Who holds a key by the principals in force (T8, T14). @throws CliError `NotAPrincipal`, `NotAPerson`, `KeyNotActive` */
export function signerOf({ state, openPgp }: Pick<Evidence, 'state' | 'openPgp'>, key: PersonalKey, now: Date): DocumentOf<'Principal'> {
  const holder = keyRingIn(state, openPgp).get(key.fingerprint);
  if (holder === undefined) {
    throw new CliError('NotAPrincipal', `The key ${key.fingerprint} belongs to no principal in force.`, 'Sign with a key of your Principal document (--key), or have yours put in force.');
  }
  const { name } = holder.principal.metadata;
  // T11: what a service signs would never count.
  if (holder.principal.spec.type !== 'person') throw new CliError('NotAPerson', `The key ${key.fingerprint} belongs to the service ${name}; only people approve.`);
  const fault = keyFault(holder, now.getTime());
  if (fault !== null) throw new CliError('KeyNotActive', `The key ${key.fingerprint} of ${name} may not sign now (${fault}).`, 'Sign with an active key.');
  return holder.principal;
}

/**
 * A signed Approval: the embedded signature survives squash, rebase and mirrors (TRUST "two carriers").
 * @throws CliError `SignatureUnusable` when what the signing program made would not count
 */
export async function signedApproval({ state, openPgp }: Pick<Evidence, 'state' | 'openPgp'>, principal: string, spec: ApprovalSpec, key: PersonalKey): Promise<DocumentOf<'Approval'>> {
  const name = `${principal.slice(0, 32)}-${hexOf(spec.digest).slice(0, 12)}-${spec.nonce.slice(0, 8)}`;
  const document: DocumentOf<'Approval'> = { apiVersion: API_VERSION, kind: 'Approval', metadata: { name }, spec };
  const preimage = documentPreimage(document);
  const signature = await key.sign(preimage, 'stella-approval');
  const ring = keyRingIn(state, openPgp);
  const outcome = verifyDocumentSignature({ preimage, armoured: signature, namespace: 'stella-approval', keys: ring });
  if (!outcome.signed && ring.has(key.fingerprint)) throw new CliError('SignatureUnusable', `The signature that was made would not count: ${outcome.message}.`, 'Check gpg.format and the configuration of the signing program.');
  return { ...document, signatures: [{ format: key.format, signature }] };
}

export function approvalPath(document: DocumentOf<'Approval'>): string {
  return `approvals/${document.metadata.name}.yaml`;
}

/** A branch of its own, so that nobody needs push rights on the requester's branch. */
export function approvalBranch(digest: Digest, principal: string): string {
  return `stella/approvals/${hexOf(digest).slice(0, 16)}/${principal}`;
}

/** Where a stop goes: the server looks there, whatever the target branch is protected by (T24). */
export function stopBranch(digest: Digest): string {
  return `stella/stops/${hexOf(digest).slice(0, 16)}`;
}
