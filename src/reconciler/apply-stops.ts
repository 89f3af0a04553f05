import type { CommitId } from '../core/model/commit-id.ts';
import { digestOfBytes, type Digest } from '../core/model/digest.ts';
import { documentDigest, documentPreimage, type AnyDocument, type Kind, type ProtectedChange } from '../core/model/documents.ts';
import { limits } from '../core/model/limits.ts';
import { compareText } from '../core/model/names.ts';
import { findDocument, type DesiredState } from '../core/desired/desired-state.ts';
import type { LogState } from '../core/evidence/log-state.ts';
import type { ChangeApproval, ProtectedChangePredicate } from '../core/evidence/records.ts';
import { applyProtectedChange, changeApprover, isTakenBack, listFault } from '../core/trust/apply-change.ts';
import { keyRingIn } from '../core/trust/key-ring.ts';
import { isStop, sidesIn, stopFault } from '../core/trust/stop.ts';
import type { DocumentParser } from '../ports/document-parser.ts';
import type { GitReader } from '../ports/git-reader.ts';
import { readApprovalBranches, readFolder, type ApprovalBranch } from './observe-approvals.ts';
import type { Pass } from './pass.ts';
import { isUnreachable, newErrors } from './policy-errors.ts';

/** Where anybody who may stop leaves what they stop, so that no push to the target branch is needed (T24). */
export const STOP_BRANCHES = 'refs/heads/stella/stops/';

/** Documents that came with stops, by digest. Nothing is taken from them but what the signed list of a stop names. */
export type Offered = ReadonlyMap<Digest, AnyDocument>;
export type StopBranch = ApprovalBranch & { readonly offered: Offered };

const STOPPABLE: ReadonlySet<Kind> = new Set<Kind>(['Freeze', 'Principal', 'Agent']);

/** Reads branches with stops at the tips that were fetched: approvals below `approvals/`, the documents below `stops/`. */
export async function readStopBranches(reader: GitReader, parser: DocumentParser, branches: readonly { readonly ref: string; readonly commit: CommitId }[]): Promise<readonly StopBranch[]> {
  const read: StopBranch[] = [];
  for (const branch of await readApprovalBranches(reader, parser, branches)) {
    const files = await readFolder(reader, parser, branch.commit, { under: 'stops', most: limits.documentsPerStop });
    const documents = files.map(({ document }) => document as unknown as AnyDocument).filter(({ kind }) => STOPPABLE.has(kind));
    read.push({ ...branch, offered: new Map(documents.slice(0, limits.documentsPerStop).map((document) => [documentDigest(document), document])) });
  }
  return read;
}

/** Whether nothing that these approvals say can still come into force: it has, or what they start from is no longer in force. */
export function isSettled(state: LogState, { documents }: StopBranch): boolean {
  return documents.every(({ spec }) => spec.type === 'change' && listFault(state, spec.changes ?? []) !== null);
}

type Proposal = { readonly digest: Digest; readonly changes: readonly ProtectedChange[]; readonly approvals: readonly ChangeApproval[] };
/** no-stop: the list does more than stop, or its documents are nowhere. */
export type StopResult = { readonly status: 'in-force' | 'no-stop' } | { readonly status: 'refused'; readonly message: string };

/**
 * Puts a stop in force with one signature, in the first batch that sees it, whether or not the tip holds it (T24). Nobody's no keeps it out, and
 * it may leave a quorum that nobody can meet.
 * @param raw commits that may not be in the log yet
 */
export function tryStop({ batch, loaded }: Pass, { digest, changes, approvals }: Proposal, sources: { readonly offered: Offered; readonly raw: ReadonlyMap<Digest, Uint8Array> }): StopResult {
  const { state, asOf } = batch;
  const documentOf = (change: ProtectedChange): AnyDocument | null => (change.to === null ? null : (sources.offered.get(change.to) ?? atTip(loaded.state, change)));
  const sides = listFault(state, changes) === null ? sidesIn(state, changes, documentOf) : null;
  if (sides === null) return { status: 'no-stop' };
  // Whatever came as a stop and is more is refused as one; what the tip holds may still be approved by its quorum.
  const more = sides.every(isStop) ? null : stopFault(state, sides, []);
  if (more !== null) return changes.some(({ to }) => to !== null && sources.offered.has(to)) ? { status: 'refused', message: more } : { status: 'no-stop' };
  const lookup = (of: Digest): Uint8Array | undefined => sources.raw.get(of) ?? batch.lookup(of);
  const ring = keyRingIn(state, batch.openPgp);
  const valid = approvals.filter((approval) => !isTakenBack(state, digest, approval, lookup) && changeApprover({ approval, digest, ring, artifact: lookup, asOf }) !== null);
  const counted = [...new Map(valid.map((a) => [a.principal, a])).values()].sort((a, b) => compareText(a.principal, b.principal));
  const predicate: ProtectedChangePredicate = { basis: 'stop', changeDigest: digest, changes, approvals: counted, proposers: { people: [], unknown: 0, commits: [] } };
  const documents = new Map(sides.flatMap(({ after }) => (after === null ? [] : [documentPreimage(after)])).map((bytes) => [digestOfBytes(bytes), bytes]));
  const result = applyProtectedChange(state, { seq: state.size, commit: loaded.tip, asOf }, predicate, { artifact: (of) => documents.get(of) ?? lookup(of), openPgp: batch.openPgp });
  if (!result.ok) return { status: 'refused', message: result.message };
  const fault = newErrors(state, changes, documentOf).find((d) => !isUnreachable(d));
  if (fault !== undefined) return { status: 'refused', message: `${fault.subject ?? ''}: ${fault.message}` };
  for (const bytes of documents.values()) batch.artifact(bytes);
  for (const { artifact } of counted) {
    const found = sources.raw.get(artifact);
    if (found !== undefined) batch.artifact(found);
  }
  batch.add({ type: 'protected-change', predicate });
  return { status: 'in-force' };
}

function atTip(tip: DesiredState, { kind, name, to }: ProtectedChange): AnyDocument | null {
  const found = findDocument(tip, kind, name);
  return found.status === 'present' && found.entry.digest === to ? (found.entry.document as unknown as AnyDocument) : null;
}
