import type { Digest } from '../model/digest.ts';
import { documentKey, type AnyDocument, type ProtectedChange, type Quorum } from '../model/documents.ts';
import { changeDigest } from '../model/preimages.ts';
import { findDocument, protectedDocuments, type DesiredState } from '../desired/desired-state.ts';
import { inForceOf, rootOf, type LogState } from '../evidence/log-state.ts';
import { pendingChanges } from '../trust/pending-changes.ts';
import { quorumFor } from '../trust/quorum.ts';
import { partLiftings } from '../trust/stop.ts';

export type PendingChange = ProtectedChange & { readonly quorum: string };
export type Pending = { /** Stops in force that the commit does not hold; they are in the list only where they are named (T24). */ readonly liftings: readonly string[]; readonly changes: readonly PendingChange[]; readonly digest: Digest | null; /** The root differs as well and is not in the list: it changes by itself (T16). */ readonly root: boolean };

/**
 * Where the protected documents of a commit differ from what is in force (T15).
 * @param only keys such as `Environment/prod`, or kinds; empty: all. The trust root changes alone, so it is in the list only where nothing else is.
 */
export function pendingIn(state: LogState, desired: DesiredState, only: readonly string[] = []): Pending {
  const all = pendingAt(state, desired);
  const root = rootOf(state);
  const { liftings, others: rest } = partLiftings(state, all, (change) => sidesOf(state, desired, change).after);
  const wanted = only.length === 0 ? rest : all.filter((c) => only.includes(`${c.kind}/${c.name}`) || (only.includes(c.kind) && !liftings.includes(c)));
  const others = wanted.filter((c) => c.kind !== 'TrustRoot');
  const changes = (others.length === 0 ? wanted : others).map((c) => ({ ...c, quorum: c.kind === 'TrustRoot' ? thresholdText(root.spec.threshold) : quorumText(quorumFor(root, c)) }));
  const digest = changes.length === 0 ? null : changeDigest(state.logId, changes);
  return { liftings: liftings.filter((c) => !changes.some((d) => d.kind === c.kind && d.name === c.name)).map((c) => `${c.kind}/${c.name}`), changes, digest, root: others.length < wanted.length && others.length > 0 };
}

/** The same as bare changes, the root and stops included. Costs what is protected, however much else is declared. */
export function pendingAt(state: LogState, desired: DesiredState): readonly ProtectedChange[] {
  const tip = protectedDocuments(desired).map((e) => ({ kind: e.document.kind, name: e.document.metadata.name, digest: e.digest }));
  const unusable = [...state.inForce.values()].flatMap(({ kind, name }) => (findDocument(desired, kind, name).status === 'unusable' ? [documentKey(kind, name)] : []));
  return pendingChanges(state, tip, new Set(unusable));
}

export function quorumText({ people, roles }: Quorum): string {
  return `${people} ${people === 1 ? 'person' : 'people'}${roles === undefined ? '' : ` (${roles.map((r) => `${r.count} ${r.role}`).join(', ')})`}`;
}

function thresholdText(threshold: number): string {
  return `root keys of ${threshold} ${threshold === 1 ? 'person' : 'people'}, and what the new root demands`;
}

/** The list that an approval carries, without what is only shown. */
export function bareChanges(pending: Pick<Pending, 'changes'>): readonly ProtectedChange[] {
  return pending.changes.map(({ kind, name, count, from, to }) => ({ kind, name, count, from, to }));
}

/** The document in force and the new one, for a difference that the approver reads. */
export function sidesOf(state: LogState, desired: DesiredState, change: ProtectedChange): { readonly before: AnyDocument | null; readonly after: AnyDocument | null } {
  const found = findDocument(desired, change.kind, change.name);
  return {
    before: inForceOf(state, change.kind, change.name) as AnyDocument | null,
    after: change.to !== null && found.status === 'present' ? (found.entry.document as unknown as AnyDocument) : null,
  };
}
