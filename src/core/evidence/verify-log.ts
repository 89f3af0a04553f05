import { digestOfBytes, type Digest } from '../model/digest.ts';
import { documentDigest, type DocumentOf } from '../model/documents.ts';
import type { OpenPgpVerifier } from '../commit/openpgp.ts';
import { applyRecord, type FoldCode, type LogSources } from './fold.ts';
import { initialState, rootOf, type LogState } from './log-state.ts';
import { projectionOf, type ProjectionFile } from './projection.ts';
import { readRecord, serviceKeys } from './record-codec.ts';
import type { EvidenceRecord } from './records.ts';

export type LogFault = { readonly seq: number; readonly code: FoldCode | 'RecordMalformed' | 'RecordUnsigned' | 'ArtifactDamaged' | 'GenesisNotPinned'; readonly message: string };
export type ReadLog =
  | { readonly ok: true; readonly state: LogState }
  | { readonly ok: false; readonly state: LogState | null; readonly fault: LogFault };

/** Bytes of an artifact, checked against its digest by `checkedArtifacts`. */
export type RawArtifacts = (digest: Digest) => Uint8Array | undefined;

/** An artifact under a wrong name is not there (T30: artifacts count by the sha256 that a record names). */
export function checkedArtifacts(raw: RawArtifacts): RawArtifacts {
  return (digest) => {
    const bytes = raw(digest);
    return bytes !== undefined && digestOfBytes(bytes) === digest ? bytes : undefined;
  };
}

/** The state before record 0, from the pin. @returns null when `root` is not the pinned genesis root (T13) */
export function pinnedState(root: DocumentOf<'TrustRoot'>, pin: Digest): LogState | null {
  return documentDigest(root) === pin && root.spec.version === 1 && root.spec.previous === null ? initialState(root, pin) : null;
}

/**
 * Reads envelope files in order on top of `state`: signature under the root in force, chain, entitlement. Stops at the first that is wrong.
 * @param visit called with the state before each record and the one after it
 */
export function readLog(state: LogState, files: Iterable<Uint8Array>, raw: { readonly artifact: RawArtifacts; readonly openPgp: OpenPgpVerifier }, visit?: (before: LogState, record: EvidenceRecord, after: LogState) => void): ReadLog {
  const sources: LogSources = { artifact: checkedArtifacts(raw.artifact), openPgp: raw.openPgp };
  let current = state;
  for (const file of files) {
    const read = readRecord(file, serviceKeys(rootOf(current), 'decisions'));
    if (!read.ok) return { ok: false, state: current, fault: { seq: current.size, code: read.code, message: `record ${current.size}: ${read.message}` } };
    const applied = applyRecord(current, read.record, sources);
    if (!applied.ok) return { ok: false, state: current, fault: { seq: current.size, code: applied.code, message: applied.message } };
    visit?.(current, read.record, applied.state);
    current = applied.state;
  }
  return { ok: true, state: current };
}

/** The projection files of a whole log, each as its last record left it. */
export function projectionFiles(steps: Iterable<{ readonly record: EvidenceRecord; readonly after: LogState }>): ReadonlyMap<string, ProjectionFile> {
  const files = new Map<string, ProjectionFile>();
  for (const { record, after } of steps) for (const file of projectionOf(after, record)) files.set(file.path, file);
  return files;
}
