import type { Digest } from '../core/model/digest.ts';
import type { DocumentKey, ProtectedChange } from '../core/model/documents.ts';
import { changeDigest } from '../core/model/preimages.ts';
import { findDocument, protectedDocuments } from '../core/desired/desired-state.ts';
import { rootOf } from '../core/evidence/log-state.ts';
import { rootRings } from '../core/trust/apply-change.ts';
import { pendingChanges } from '../core/trust/pending-changes.ts';
import { isRootChange, rootHolders, successionFault } from '../core/trust/root-change.ts';
import type { Pass } from './pass.ts';
import { rootAtTip } from './root-proposal.ts';

/**
 * What the tip says and what is not in force yet, as conditions: one for the trust root, which changes on its own (T16), one for everything else.
 * @param refused why not, by change digest
 */
export function reportPending(pass: Pass, refused: ReadonlyMap<Digest, string>): void {
  const { batch: { state }, loaded } = pass;
  const tip = protectedDocuments(loaded.state).map((e) => ({ kind: e.document.kind, name: e.document.metadata.name, digest: e.digest }));
  const unusable = new Set([...loaded.state.claims.entries()].filter(([key]) => findDocument(loaded.state, ...keyParts(key)).status === 'unusable').map(([key]) => key as DocumentKey));
  const pending = pendingChanges(state, tip, unusable);
  reportRoot(pass, pending.filter((change) => isRootChange([change])), refused);
  reportDocuments(pass, pending.filter((change) => !isRootChange([change])), refused);
}

function reportDocuments({ batch: { state }, conditions }: Pass, pending: readonly ProtectedChange[], refused: ReadonlyMap<Digest, string>): void {
  if (pending.length === 0) return conditions.stalled('Policy', 'declarations', null);
  const digest = changeDigest(state.logId, pending);
  const names = pending.map((c) => `${c.kind}/${c.name}`);
  const why = refused.get(digest) ?? [...refused.values()][0];
  conditions.stalled('Policy', 'declarations', {
    reason: why === undefined ? 'ChangePending' : 'ChangeRefused',
    message: `${names.slice(0, 5).join(', ')}${names.length > 5 ? ` and ${names.length - 5} more` : ''}: not in force${why === undefined ? '' : ` (${why})`}; approve with: stella approve --change ${digest}`,
  });
}

function reportRoot({ batch, loaded, conditions }: Pass, pending: readonly ProtectedChange[], refused: ReadonlyMap<Digest, string>): void {
  const { state } = batch;
  const before = { root: rootOf(state), digest: state.inForceDigests.root };
  const { name } = before.root.metadata;
  const next = rootAtTip(loaded.state);
  const stalled = (reason: Parameters<typeof conditions.stalled>[2]): void => conditions.stalled('TrustRoot', name, reason);
  if (pending.length === 0) return stalled(null);
  if (next === null) return stalled({ reason: 'ChangeRefused', message: `the tip holds no trust root, or several; the root in force, version ${before.root.spec.version}, stays` });
  const fault = successionFault(before, next);
  if (fault !== null) return stalled({ reason: fault.code, message: `${fault.message}; the root in force, version ${before.root.spec.version}, stays` });
  const digest = changeDigest(state.logId, pending);
  const why = refused.get(digest);
  const [old, own] = rootRings(state, next.root, batch.openPgp);
  stalled({
    reason: why === undefined ? 'ChangePending' : 'ChangeRefused',
    message: `version ${next.root.spec.version} of the trust root is not in force${why === undefined ? '' : ` (${why})`}: it takes ${before.root.spec.threshold} of ${rootHolders(old).join(', ')} by the root in force and `
      + `${next.root.spec.threshold} of ${rootHolders(own).join(', ') || 'nobody'} by the new one, each with a root key: stella approve --pending --only TrustRoot/${name}`,
  });
}

function keyParts(key: string): [ProtectedChange['kind'], string] {
  const slash = key.indexOf('/');
  return [key.slice(0, slash) as ProtectedChange['kind'], key.slice(slash + 1)];
}
