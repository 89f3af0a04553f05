import { parseCanonicalJson } from '../model/canonical-json.ts';
import type { Digest } from '../model/digest.ts';
import { documentDigest, type DocumentOf } from '../model/documents.ts';
import type { LogSources } from '../evidence/fold.ts';
import { initialState, rootOf, type LogState } from '../evidence/log-state.ts';
import { readRecord, serviceKeys } from '../evidence/record-codec.ts';
import type { EvidenceRecord } from '../evidence/records.ts';
import { applyProtectedChange } from '../trust/apply-change.ts';

/** A protected change that was accepted: its record and the digest of its envelope. */
export type SeenChange = { readonly seq: number; readonly digest: Digest };

export type ChangesFault = {
  readonly ok: false;
  readonly code: 'GenesisNotPinned' | 'ChangeNotEntitled' | 'ChainRegressed' | 'OtherLog' | 'InForceMismatch' | 'ArtifactMissing' | 'RulesUnknown';
  readonly message: string;
};
/** `state`: after all changes. `stateBefore`: what was in force when record `seq` was made; `statesBefore`: all that ever was by then. `last`: null where nothing but the pinned root is shown. */
export type FoldedChanges = { readonly ok: true; readonly state: LogState; readonly stateBefore: (seq: number) => LogState; readonly statesBefore: (seq: number) => readonly LogState[]; readonly last: SeenChange | null };

const refuse = (code: ChangesFault['code'], message: string): ChangesFault => ({ ok: false, code, message });

/**
 * What is in force, from the pin alone (T13–T16): every protected change from the genesis on, folded with the code that `verify` uses. The root
 * that each of them leaves says whose signature the next record needs, so a key of ours that was rotated away signs nothing more (T29).
 * @param p.known the last change that was accepted before; a chain without it is a regression
 */
export function foldChanges(changes: readonly Uint8Array[], p: LogSources & { readonly pin: Digest; readonly known: SeenChange | null }): FoldedChanges | ChangesFault {
  const bytes = p.artifact(p.pin);
  const root = bytes === undefined ? undefined : (parseCanonicalJson(bytes) as DocumentOf<'TrustRoot'> | undefined);
  if (root === undefined) return refuse('ArtifactMissing', `the pinned genesis root ${p.pin} is not there`);
  // T13: no trust on first use; the pin is the digest of the genesis document.
  if (root.kind !== 'TrustRoot' || documentDigest(root) !== p.pin) return refuse('GenesisNotPinned', 'the genesis root is not the pinned one');
  const start = initialState(root, p.pin);
  const seen: (SeenChange & { readonly after: LogState })[] = [];
  for (const file of changes) {
    const before = seen.at(-1);
    const state = before?.after ?? start;
    const result = readRecord(file, serviceKeys(rootOf(state), 'decisions'));
    if (!result.ok || result.record.type !== 'protected-change') return refuse('ChangeNotEntitled', result.ok ? 'a record is not a protected change' : result.message);
    const { record } = result;
    const fault = headerFault(state, record);
    if (fault !== null) return fault;
    if (record.header.seq <= (before?.seq ?? 0)) return refuse('ChangeNotEntitled', 'the changes do not follow one another');
    if ((record.predicate.basis === 'genesis') !== (seen.length === 0)) return refuse('ChangeNotEntitled', 'the changes do not start with genesis');
    const applied = applyProtectedChange(state, record.header, record.predicate, p);
    if (!applied.ok) return refuse('ChangeNotEntitled', applied.message);
    seen.push({ seq: record.header.seq, digest: record.digest, after: applied.state });
  }
  // T16: what was seen is remembered; a regression is refused.
  if (p.known !== null && !seen.some((c) => c.seq === p.known?.seq && c.digest === p.known.digest)) return refuse('ChainRegressed', 'the protected changes are not those that were seen before');
  const last = seen.at(-1);
  const statesBefore = (seq: number): readonly LogState[] => seen.filter((c) => c.seq < seq).map((c) => c.after);
  return { ok: true, state: last?.after ?? start, stateBefore: (seq) => statesBefore(seq).at(-1) ?? start, statesBefore, last: last === undefined ? null : { seq: last.seq, digest: last.digest } };
}

/** Whether a record belongs to this log and was made under what is in force in `state`. A change that was withheld shows here. */
export function headerFault(state: LogState, { header }: EvidenceRecord): ChangesFault | null {
  // Another rule set might mean something else by the same bytes (T12).
  if (header.rules !== 1) return refuse('RulesUnknown', `record ${header.seq} asks for rule set ${String(header.rules)}; this agent knows 1`);
  if (header.logId !== state.logId || header.tenant !== state.tenant) return refuse('OtherLog', 'a record belongs to another log');
  const { root, principals, policy } = state.inForceDigests;
  const same = header.root === root && header.principals === principals && header.policy === policy;
  return same ? null : refuse('InForceMismatch', `record ${header.seq} was made under other documents than those that are shown`);
}
