import type { OpenPgpVerifier } from '../../core/commit/openpgp.ts';
import type { Digest } from '../../core/model/digest.ts';
import type { DocumentKey, Kind } from '../../core/model/documents.ts';
import type { ExplainLine } from '../../core/decision/explain.ts';
import { findDocument } from '../../core/desired/desired-state.ts';
import { explainDocument } from '../../core/proposal/situation-document.ts';
import type { PlanStatus } from '../../core/proposal/plan-status.ts';
import type { Snapshot } from '../snapshot.ts';

/** What became of one thing that a merge asked for. */
export type FateOfOne = { readonly state: PlanStatus['state']; readonly text: string; readonly lines: readonly ExplainLine[] };

/**
 * What became of a protected document that was merged as it is in `digest`, or removed (null), in the words of `stella explain <Kind>/<name>`.
 * @param p.broughtBy the record after the merge with which exactly this came into force, null where none did
 */
export function protectedFate(p: Pick<Snapshot, 'state' | 'desired'> & { readonly openPgp: OpenPgpVerifier; readonly broughtBy: number | null }, key: DocumentKey, digest: Digest | null): FateOfOne {
  const { state, desired, broughtBy } = p;
  const slash = key.indexOf('/');
  const [kind, name] = [key.slice(0, slash) as Kind, key.slice(slash + 1)];
  const record = broughtBy === null ? '' : ` (record ${broughtBy})`;
  const lines = explainDocument(p, kind, name);
  const inForce = state.inForce.get(key)?.digest ?? null;
  if (inForce === digest) return { state: 'success', text: digest === null ? `${key} is gone, as merged${record}` : `${key} is in force as merged${record}`, lines };
  // What was in force once was done: that it was changed again is not the fate of this merge.
  if (broughtBy !== null) return { state: 'success', text: `${key} came into force with record ${broughtBy}, and was replaced since`, lines };
  const declared = findDocument(desired, kind, name);
  const isOther = declared.status === 'absent' ? digest !== null : declared.status === 'present' && declared.entry.digest !== digest;
  if (isOther) return { state: 'failure', text: `${key} was superseded before it came into force`, lines };
  if (declared.status === 'unusable') return { state: 'failure', text: `merged, not in force: ${key} cannot be used as it stands, see: stella lint`, lines };
  return { state: 'pending', text: `merged, not in force: ${key} waits for those who may approve it`, lines };
}
