import type { Digest } from '../core/model/digest.ts';
import type { AnyDocument, ProtectedChange } from '../core/model/documents.ts';
import { changeDigest } from '../core/model/preimages.ts';
import { findDocument } from '../core/desired/desired-state.ts';
import { rootOf } from '../core/evidence/log-state.ts';
import { pendingAt } from '../core/proposal/pending.ts';
import { rootRings } from '../core/trust/apply-change.ts';
import { isRootChange, rootHolders, successionFault } from '../core/trust/root-change.ts';
import { partLiftings } from '../core/trust/stop.ts';
import type { Pass } from './pass.ts';
import { errorsInForce, isUnreachable } from './policy-errors.ts';
import { rootAtTip } from './root-proposal.ts';

/** A proposal that did not come into force. */
export type RefusedChange = { readonly changes: readonly ProtectedChange[]; readonly why: string };
type Refused = ReadonlyMap<Digest, RefusedChange>;

/**
 * What the tip says and what is not in force yet, as conditions: one for the trust root, which changes on its own (T16), one for everything else.
 * @param refused why not, by change digest
 */
export function reportPending(pass: Pass, refused: Refused): void {
  const { batch: { state }, loaded } = pass;
  const pending = pendingAt(state, loaded.state);
  reportRoot(pass, pending.filter((change) => isRootChange([change])), refused);
  const { liftings, others } = partLiftings(state, pending.filter((change) => !isRootChange([change])), (change) => {
    const found = findDocument(loaded.state, change.kind, change.name);
    return found.status === 'present' ? (found.entry.document as unknown as AnyDocument) : null;
  });
  reportDocuments(pass, others, refused);
  reportStops(pass, liftings, refused);
}

function reportDocuments({ batch: { state }, conditions }: Pass, pending: readonly ProtectedChange[], refused: Refused): void {
  if (pending.length === 0) return conditions.stalled('Policy', 'declarations', null);
  const digest = changeDigest(state.logId, pending);
  const names = pending.map((c) => `${c.kind}/${c.name}`);
  const speaksOfThem = ({ changes }: RefusedChange): boolean => changes.some(({ kind, name }) => pending.some((one) => one.kind === kind && one.name === name));
  const why = (refused.get(digest) ?? [...refused.values()].find(speaksOfThem))?.why;
  conditions.stalled('Policy', 'declarations', {
    reason: why === undefined ? 'ChangePending' : 'ChangeRefused',
    message: `${names.slice(0, 5).join(', ')}${names.length > 5 ? ` and ${names.length - 5} more` : ''}: not in force${why === undefined ? '' : ` (${why})`}; approve with: stella approve --change ${digest}`,
  });
}

/** T24: what is stopped stays so, whatever the tip says; and a stop may leave nobody who could meet a rule. */
function reportStops({ batch: { state }, conditions }: Pass, liftings: readonly ProtectedChange[], refused: Refused): void {
  const [first] = liftings;
  const names = liftings.map((c) => `${c.kind}/${c.name}`);
  const why = [liftings, ...liftings.map((one) => [one])].flatMap((list) => refused.get(changeDigest(state.logId, list))?.why ?? [])[0];
  conditions.stalled('Policy', 'stops', first === undefined ? null : {
    reason: why === undefined ? 'LiftingPending' : 'ChangeRefused',
    message: `${names.slice(0, 5).join(', ')}${names.length > 5 ? ` and ${names.length - 5} more` : ''}: a stop is in force that the target branch does not hold${why === undefined ? '' : `, and stays (${why})`}. To keep it, commit it; to lift it, its quorum approves: `
      + `stella approve --pending --only ${names[0] ?? ''}`,
  });
  const unreachable = errorsInForce(state).filter(isUnreachable);
  conditions.stalled('Policy', 'quorums', unreachable.length === 0 ? null : {
    reason: 'QuorumUnreachable', message: `${unreachable.slice(0, 3).map((d) => `${d.subject ?? ''}: ${d.message}`).join('; ')}: stops left too few people; lift one, or give the role to somebody else`,
  });
}

/** A stop that somebody meant and that is none, or not theirs to give (T24). */
export function reportRefusedStop({ conditions }: Pass, digest: Digest, why: string): void {
  conditions.stalled('Stop', digest, { reason: 'StopRefused', message: `this stop is not in force: ${why}` });
}

/** @param current digests of what is still proposed */
export function clearRefusedStops({ conditions }: Pass, current: readonly Digest[]): void {
  for (const { kind, name } of conditions.all()) if (kind === 'Stop' && !current.some((digest) => digest === name)) conditions.stalled(kind, name, null);
}

function reportRoot({ batch, loaded, conditions }: Pass, pending: readonly ProtectedChange[], refused: Refused): void {
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
  const why = refused.get(digest)?.why;
  const [old, own] = rootRings(state, next.root, batch.openPgp);
  stalled({
    reason: why === undefined ? 'ChangePending' : 'ChangeRefused',
    message: `version ${next.root.spec.version} of the trust root is not in force${why === undefined ? '' : ` (${why})`}: it takes ${before.root.spec.threshold} of ${rootHolders(old).join(', ')} by the root in force and `
      + `${next.root.spec.threshold} of ${rootHolders(own).join(', ') || 'nobody'} by the new one, each with a root key: stella approve --pending --only TrustRoot/${name}`,
  });
}
