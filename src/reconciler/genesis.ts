import { documentDigest, documentPreimage, type AnyDocument, type DocumentOf, type ProtectedChange } from '../core/model/documents.ts';
import { compareText } from '../core/model/names.ts';
import { genesisDocumentsDigest } from '../core/model/preimages.ts';
import type { CommitId } from '../core/model/commit-id.ts';
import type { Digest } from '../core/model/digest.ts';
import { canFillRoles } from '../core/decision/match-roles.ts';
import { checkPolicy } from '../core/desired/check-policy.ts';
import { lookupOf, unplaced } from '../core/desired/document-lookup.ts';
import { keyIdentities } from '../core/desired/key-identity.ts';
import { protectedDocuments, type DesiredState } from '../core/desired/desired-state.ts';
import type { LogBatch } from './log-batch.ts';

export type GenesisFault = { readonly code: 'GenesisMismatch'; readonly message: string };

/** The genesis root at the tip, if it is the pinned one and names exactly the protected documents that lie beside it (T13). */
export function findGenesis(desired: DesiredState, pin: Digest): { readonly root: DocumentOf<'TrustRoot'>; readonly documents: readonly AnyDocument[] } | GenesisFault {
  const documents = protectedDocuments(desired).map((e) => e.document as unknown as AnyDocument);
  const root = documents.find((d): d is DocumentOf<'TrustRoot'> => d.kind === 'TrustRoot' && documentDigest(d) === pin);
  if (root === undefined) return { code: 'GenesisMismatch', message: `no TrustRoot at the tip has the pinned digest ${pin}` };
  const rest = documents.filter((d) => d.kind !== 'TrustRoot');
  const digest = genesisDocumentsDigest(rest.map((d) => ({ kind: d.kind, name: d.metadata.name, digest: documentDigest(d) })));
  if (digest !== root.spec.documents) {
    return { code: 'GenesisMismatch', message: `the protected documents at the tip have the digest ${digest}, the genesis root names ${String(root.spec.documents)}; start the log at the commit that stella init wrote` };
  }
  // T10: here nothing was in force that could stay. A key of ours as a person's, say, would be in force for good.
  const [error] = checkPolicy(lookupOf(documents.map(unplaced)), { keyIdentities, canFillRoles }).filter((d) => d.severity === 'error');
  if (error !== undefined) return { code: 'GenesisMismatch', message: `the first documents cannot be in force: ${error.subject ?? ''}: ${error.message}. ${error.remedy}` };
  return { root, documents };
}

/** Record 0 and 1: the first tip, and the documents that genesis puts in force (EVIDENCE "Order"). */
export function recordGenesis(batch: LogBatch, tip: { readonly ref: string; readonly commit: CommitId }, documents: readonly AnyDocument[]): void {
  batch.add({ type: 'observation', predicate: { type: 'tip', ...tip } });
  for (const document of documents) batch.artifact(documentPreimage(document));
  const changes: ProtectedChange[] = documents
    .map((d) => ({ kind: d.kind, name: d.metadata.name, count: 0, from: null, to: documentDigest(d) }))
    .sort((a, b) => compareText(a.kind, b.kind) || compareText(a.name, b.name));
  batch.add({ type: 'protected-change', predicate: { basis: 'genesis', changeDigest: null, changes, approvals: [], proposers: { people: [], unknown: 0, commits: [] } } });
}
