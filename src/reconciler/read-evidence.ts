import { dirname } from 'node:path/posix';
import type { OpenPgpVerifier } from '../core/commit/openpgp.ts';
import { verifyCommit } from '../core/commit/verify-commit.ts';
import type { BlobId, CommitId } from '../core/model/commit-id.ts';
import { digestOfBytes, type Digest } from '../core/model/digest.ts';
import type { DocumentOf } from '../core/model/documents.ts';
import { limits } from '../core/model/limits.ts';
import { artifactOfPath, recordPath, seqOfPath } from '../core/evidence/layout.ts';
import { rootOf, type LogState } from '../core/evidence/log-state.ts';
import { projectionOf } from '../core/evidence/projection.ts';
import { artifactsOf, type EvidenceRecord } from '../core/evidence/records.ts';
import { pinnedState, readLog, type LogFault } from '../core/evidence/verify-log.ts';
import { parseCanonicalJson } from '../core/model/canonical-json.ts';
import type { GitReader, LogEntry, TreeEntry } from '../ports/git-reader.ts';
import { evidenceCommitKeys } from './own-keys.ts';

export type EvidenceCode = LogFault['code'] | 'ForeignEvidence' | 'LogMissing' | 'RecordMissing' | 'ProjectionDiffers' | 'RootMissing';
export type EvidenceFault = { readonly code: EvidenceCode; readonly message: string; readonly seq: number | null };
export type RecordStep = { readonly before: LogState; readonly record: EvidenceRecord; readonly after: LogState; readonly envelope: Uint8Array };

export type ReadEvidence =
  | { readonly ok: true; readonly state: LogState; readonly commit: CommitId; readonly counts: EvidenceCounts; readonly artifacts: ReadonlyMap<Digest, Uint8Array> }
  | { readonly ok: false; readonly fault: EvidenceFault };
export type EvidenceCounts = { readonly records: number; readonly commits: number; readonly artifacts: number; readonly projections: number };

export type EvidenceSources = { readonly reader: GitReader; readonly openPgp: OpenPgpVerifier };

/**
 * Reads and verifies a whole evidence branch: every commit ours, every record signed, chained and entitled, every artifact under
 * its digest, and the tree exactly the projection of its records (T30). Needs nothing but the repository and the pin.
 * @param pin log id pinned out of band (T13)
 * @param visit each record with the states around it and the artifacts so far
 */
export async function readEvidence({ reader, openPgp }: EvidenceSources, commit: CommitId, pin: Digest, visit?: (step: RecordStep, artifact: (d: Digest) => Uint8Array | undefined) => void): Promise<ReadEvidence> {
  const { entries, unreadable } = await reader.readTree(commit);
  const foreign = unreadable[0]?.shown ?? entries.find((e) => !isOurPath(e))?.path;
  if (foreign !== undefined) return fail('ForeignEvidence', `${foreign} does not belong on the evidence branch`);
  const artifacts = await readArtifacts(reader, entries);
  const damaged = entries.map((e) => ({ path: e.path, digest: artifactOfPath(e.path) })).find(({ digest }) => digest !== null && !artifacts.has(digest));
  if (damaged !== undefined) return fail('ArtifactDamaged', `${damaged.path} does not hold what its name says, or is larger than ${limits.artifactBytes} bytes`);
  const rootBytes = artifacts.get(pin);
  const root = rootBytes === undefined ? undefined : (parseCanonicalJson(rootBytes) as DocumentOf<'TrustRoot'> | undefined);
  if (root === undefined) return fail('RootMissing', `the pinned genesis root ${pin} is not on this branch; is the pin that of another log?`);
  const start = pinnedState(root, pin);
  if (start === null) return fail('GenesisNotPinned', `the genesis root on this branch is not the pinned ${pin}`);
  const folded = await foldRecords({ reader, openPgp }, entries, start, artifacts, visit);
  if ('code' in folded) return { ok: false, fault: folded };
  const projections = await projectionFault(reader, entries, folded.projections);
  if (projections !== null) return { ok: false, fault: projections };
  const commits = await commitFault(reader, commit, folded.eras);
  if (typeof commits !== 'number') return { ok: false, fault: commits };
  const counts = { records: folded.state.size, commits, artifacts: artifacts.size, projections: folded.projections.size };
  return { ok: true, state: folded.state, commit, counts, artifacts };
}

function fail(code: EvidenceCode, message: string, seq: number | null = null): ReadEvidence {
  return { ok: false, fault: { code, message, seq } };
}

const PROJECTION = /^(?:locks\/[^/]+\/[^/]+\.lock\.yaml|state\/[^/]+\/[^/]+\.yaml)$/;

function isOurPath({ path, mode }: TreeEntry): boolean {
  return mode === '100644' && (seqOfPath(path) !== null || artifactOfPath(path) !== null || PROJECTION.test(path));
}

async function readArtifacts(reader: GitReader, entries: readonly TreeEntry[]): Promise<Map<Digest, Uint8Array>> {
  const blobs = entries.flatMap((e) => (artifactOfPath(e.path) === null ? [] : [e.blob]));
  const read = await reader.readBlobs(blobs, limits.artifactBytes);
  // Kept under the digest that we compute: a file under a wrong name is no artifact of that name.
  return new Map([...read.values()].flatMap((o) => (o.ok ? [[digestOfBytes(o.bytes), o.bytes] as const] : [])));
}

/** Commits above the one that brought record `seq` are signed by one of these keys: the root that came into force with it lists them. */
type KeyEra = { readonly seq: number; readonly keys: ReadonlySet<string> };
type Folded = { readonly state: LogState; readonly projections: ReadonlyMap<string, Uint8Array>; readonly eras: readonly KeyEra[] };

async function foldRecords({ reader, openPgp }: EvidenceSources, entries: readonly TreeEntry[], start: LogState, artifacts: ReadonlyMap<Digest, Uint8Array>, visit: Parameters<typeof readEvidence>[3]): Promise<Folded | EvidenceFault> {
  const records = entries.flatMap((e) => { const seq = seqOfPath(e.path); return seq === null ? [] : [{ seq, blob: e.blob }]; }).sort((a, b) => a.seq - b.seq);
  const gap = records.findIndex((r, i) => r.seq !== i);
  if (records.length === 0 || gap >= 0) return { code: 'RecordMissing', message: `record ${Math.max(gap, 0)} is missing`, seq: Math.max(gap, 0) };
  const lookup = (digest: Digest): Uint8Array | undefined => artifacts.get(digest);
  let missing: EvidenceFault | null = null;
  const projections = new Map<string, Uint8Array>();
  const eras: KeyEra[] = [{ seq: -1, keys: evidenceCommitKeys(rootOf(start)) }];
  let state = start;
  for (let i = 0; i < records.length; i += limits.recordsPerRead) {
    const slice = records.slice(i, i + limits.recordsPerRead);
    const read = await reader.readBlobs(slice.map((r) => r.blob), limits.recordBytes);
    const files = slice.map((r) => bytesOf(read, r.blob));
    let at = 0;
    const result = readLog(state, files, { artifact: lookup, openPgp }, (before, record, after) => {
      missing ??= missingArtifact(record, artifacts);
      for (const { path, bytes } of projectionOf(after, record)) projections.set(path, bytes);
      if (before.inForceDigests.root !== after.inForceDigests.root) eras.push({ seq: record.header.seq, keys: evidenceCommitKeys(rootOf(after)) });
      visit?.({ before, record, after, envelope: files[at] ?? new Uint8Array() }, lookup);
      at += 1;
    });
    if (!result.ok) return result.fault;
    if (missing !== null) return missing;
    state = result.state;
  }
  return { state, projections, eras };
}

/** EVIDENCE: everything that a record used is there, or the log does not replay. */
function missingArtifact(record: EvidenceRecord, artifacts: ReadonlyMap<Digest, Uint8Array>): EvidenceFault | null {
  const { seq } = record.header;
  try {
    const lacks = artifactsOf(record).find((digest) => !artifacts.has(digest));
    return lacks === undefined ? null : { code: 'ArtifactMissing', message: `record ${seq} names artifact ${lacks}, which is not on the branch`, seq };
  } catch (cause) {
    return { code: 'Malformed', message: `record ${seq} cannot be read as ${record.type}: ${String(cause)}`, seq };
  }
}

function bytesOf(read: Awaited<ReturnType<GitReader['readBlobs']>>, blob: BlobId): Uint8Array {
  const object = read.get(blob);
  return object?.ok === true ? object.bytes : new Uint8Array();
}

/** T30: the tree is the projection of its records, no file more or less or different. */
async function projectionFault(reader: GitReader, entries: readonly TreeEntry[], expected: ReadonlyMap<string, Uint8Array>): Promise<EvidenceFault | null> {
  const present = entries.filter((e) => PROJECTION.test(e.path));
  const read = await reader.readBlobs(present.map((e) => e.blob), limits.artifactBytes);
  for (const { path, blob } of present) {
    const wanted = expected.get(path);
    const bytes = bytesOf(read, blob);
    if (wanted === undefined || Buffer.compare(wanted, bytes) !== 0) return { code: 'ProjectionDiffers', message: `${path} is not what the records say`, seq: null };
  }
  const names = new Set(present.map((e) => e.path));
  const missing = [...expected.keys()].find((path) => !names.has(path));
  return missing === undefined ? null : { code: 'ProjectionDiffers', message: `${missing} is missing`, seq: null };
}

/** T29, T30: every commit of the branch is signed by a key that the root listed for evidence commits when it was made. @returns their number */
async function commitFault(reader: GitReader, tip: CommitId, eras: readonly KeyEra[]): Promise<number | EvidenceFault> {
  const entries = await reader.log(null, tip, limits.evidenceCommits);
  const merge = entries.find((e) => e.parents.length > 1);
  if (merge !== undefined) return { code: 'ForeignEvidence', message: `${merge.commit} is a merge`, seq: null };
  const starts = await Promise.all(eras.map((era) => (era.seq < 0 ? Promise.resolve(0) : firstAbove(reader, entries, era.seq))));
  for (const [i, { keys }] of eras.entries()) {
    const own = entries.slice(starts[i], starts[i + 1]);
    for (let at = 0; at < own.length; at += limits.recordsPerRead) {
      const fault = await foreignCommit(reader, own.slice(at, at + limits.recordsPerRead).map((e) => e.commit), keys);
      if (fault !== null) return fault;
    }
  }
  return entries.length;
}

/** Index of the first commit above the one that brought record `seq`. The branch only grows, so whoever has the record comes after those that do not. */
async function firstAbove(reader: GitReader, entries: readonly LogEntry[], seq: number): Promise<number> {
  const path = recordPath(seq);
  let [low, high] = [0, entries.length - 1];
  while (low < high) {
    const middle = (low + high) >> 1;
    const there = entries[middle];
    const tree = there === undefined ? null : await reader.readTree(there.commit, { under: dirname(path) });
    if (tree?.entries.some((e) => e.path === path) === true) high = middle;
    else low = middle + 1;
  }
  return low + 1;
}

async function foreignCommit(reader: GitReader, commits: readonly CommitId[], keys: ReadonlySet<string>): Promise<EvidenceFault | null> {
  const raw = await reader.readCommits(commits);
  for (const commit of commits) {
    const object = raw.get(commit);
    const verified = object?.ok === true ? verifyCommit(object.bytes, reader.objectFormat, commit) : null;
    if (verified?.signed !== true || !keys.has(verified.signer.fingerprint)) {
      return { code: 'ForeignEvidence', message: `commit ${commit} on the evidence branch is not signed by our key`, seq: null };
    }
  }
  return null;
}
