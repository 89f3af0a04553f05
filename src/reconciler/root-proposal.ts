import type { OpenPgpVerifier } from '../core/commit/openpgp.ts';
import type { DocumentOf, ProtectedChange } from '../core/model/documents.ts';
import { documentsOf, type DesiredState } from '../core/desired/desired-state.ts';
import { rootOf, type LogState } from '../core/evidence/log-state.ts';
import { rootRings } from '../core/trust/apply-change.ts';
import type { KeyRing } from '../core/trust/key-ring.ts';
import { isRootChange, successionFault, type RootInForce } from '../core/trust/root-change.ts';

/** The trust root at the tip, if there is exactly one that can be read. */
export function rootAtTip(tip: DesiredState): RootInForce | null {
  const [entry, second] = documentsOf(tip, 'TrustRoot');
  return entry === undefined || second !== undefined ? null : { root: entry.document as unknown as DocumentOf<'TrustRoot'>, digest: entry.digest };
}

/** T16: what says that the tip shows another root under the version in force; null when it does not. */
export function equivocationAt(tip: DesiredState, state: LogState): string | null {
  for (const { digest, document } of documentsOf(tip, 'TrustRoot')) {
    const fault = successionFault({ root: rootOf(state), digest: state.inForceDigests.root }, { root: document as unknown as DocumentOf<'TrustRoot'>, digest });
    if (fault?.code === 'RootEquivocation') return fault.message;
  }
  return null;
}

/**
 * Root keys that may speak of this change: those of the root in force, and those of the root that the tip proposes, as far as it may follow.
 * Empty for every other change.
 */
export function rootKeysFor(changes: readonly ProtectedChange[], tip: DesiredState, state: LogState, openPgp: OpenPgpVerifier): readonly KeyRing[] {
  if (!isRootChange(changes) || changes.length !== 1) return [];
  const [before, next] = [{ root: rootOf(state), digest: state.inForceDigests.root }, rootAtTip(tip)];
  if (next === null || next.digest !== changes[0]?.to || successionFault(before, next) !== null) return [];
  return rootRings(state, next.root, openPgp);
}
