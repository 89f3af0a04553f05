import type { CommitId } from '../core/model/commit-id.ts';
import { digestOfBytes, type Digest } from '../core/model/digest.ts';
import { documentKey, documentPreimage, isProtected, type AnyDocument, type DocumentKey, type DocumentOf, type ProtectedChange } from '../core/model/documents.ts';
import { limits } from '../core/model/limits.ts';
import { compareText } from '../core/model/names.ts';
import { changeDigest } from '../core/model/preimages.ts';
import { parseCanonicalJson } from '../core/model/canonical-json.ts';
import { parseCommit } from '../core/commit/commit-object.ts';
import { verifyCommit } from '../core/commit/verify-commit.ts';
import { parseTrailers } from '../core/commit/trailers.ts';
import { findDocument, type DesiredState } from '../core/desired/desired-state.ts';
import { rootOf, type LogState } from '../core/evidence/log-state.ts';
import type { ChangeApproval, ProtectedChangePredicate } from '../core/evidence/records.ts';
import { applyProtectedChange, changeApprover, changeTo, isTakenBack, listFault } from '../core/trust/apply-change.ts';
import { keyRingIn, type KeyRing } from '../core/trust/key-ring.ts';
import { isRootChange } from '../core/trust/root-change.ts';
import type { TouchingCommit } from '../core/trust/requesters.ts';
import { GitError } from '../ports/git-reader.ts';
import { parseChanges } from './declarations.ts';
import { holdArtifacts, type Pass } from './pass.ts';
import { tryStop, type Offered } from './apply-stops.ts';
import { newErrors } from './policy-errors.ts';
import type { NewCommit } from './new-commits.ts';
import { clearRefusedStops, reportPending, reportRefusedStop, type RefusedChange } from './report-pending.ts';
import { rootAtTip, rootKeysFor } from './root-proposal.ts';

/** A signed commit that carries `Stella-Change`, and the change that it speaks of. */
export type ChangeCommit = { readonly commit: CommitId; readonly raw: Uint8Array; readonly observedAt: string; readonly named: readonly Digest[]; readonly documents: readonly { readonly key: DocumentKey; readonly kind: ProtectedChange['kind']; readonly name: string; readonly to: Digest | null }[] };

/** A tip of the target branch as the log recorded it. */
export type SeenTip = { readonly commit: CommitId; readonly observedAt: string };

const TRAILER = Buffer.from('Stella-Change: ');

/**
 * Those of `commits` with the trailer, each with the protected documents that it changed itself.
 * @param tips that brought these commits, oldest first; the last is the pass's. A commit is observed with the first that reaches it.
 */
export async function findChangeCommits(pass: Pass, commits: readonly NewCommit[], tips: readonly SeenTip[]): Promise<readonly ChangeCommit[]> {
  const found: ChangeCommit[] = [];
  for (const { commit, parents, raw } of commits) {
    if (!Buffer.from(raw).includes(TRAILER)) continue;
    // Whose signature it is, is asked when the change is tried: the key may come into force until then.
    const parsed = parseCommit(raw, pass.reader.objectFormat);
    const isSigned = parsed.ok && parsed.commit.signature.state === 'present';
    const named = isSigned ? parseTrailers(parsed.commit.message).filter((t) => t.key === 'Stella-Change').map((t) => t.value) : [];
    // T26: a merge changes no protected document by its trailer; its parents speak for themselves.
    if (named.length === 0 || parents.length > 1) continue;
    const { changes } = await pass.reader.diff(parents[0] ?? null, commit);
    const before = await parseChanges(pass.reader, pass.parser, changes.filter((c) => c.oldBlob !== null).map((c) => ({ ...c, newBlob: c.oldBlob, newMode: c.oldMode })));
    const after = await parseChanges(pass.reader, pass.parser, changes);
    const documents = new Map<DocumentKey, ChangeCommit['documents'][number]>();
    for (const { parsed } of before) for (const d of parsed?.documents ?? []) note(documents, d.document, null);
    for (const { parsed } of after) for (const d of parsed?.documents ?? []) note(documents, d.document, d.digest);
    found.push({ commit, raw, observedAt: await firstSeen(pass, commit, tips), named, documents: [...documents.values()] });
  }
  return found;
}

/** Each tip descends from the one before it, or the pass had stalled (T25). */
async function firstSeen(pass: Pass, commit: CommitId, tips: readonly SeenTip[]): Promise<string> {
  let [low, high] = [0, tips.length - 1];
  while (low < high) {
    const middle = (low + high) >> 1;
    const there = tips[middle];
    if (there !== undefined && (await pass.reader.isAncestor(commit, there.commit))) high = middle;
    else low = middle + 1;
  }
  return tips[low]?.observedAt ?? pass.batch.asOf;
}

function note(into: Map<DocumentKey, ChangeCommit['documents'][number]>, { kind, metadata: { name } }: AnyDocument, to: Digest | null): void {
  const key = documentKey(kind, name);
  if (isProtected(kind)) into.set(key, { key, kind, name, to });
}

type Proposal = { readonly digest: Digest; readonly changes: readonly ProtectedChange[]; readonly approvals: readonly ChangeApproval[] };

/**
 * Puts in force what its quorum approved and the tip holds (T15), until nothing more is entitled. What stays pending becomes
 * a condition that names the digest to approve. Costs what is proposed, once more for each change that waited for another.
 * Stops come first, so that whoever is suspended in this batch approves nothing in it (T24).
 * @param offered documents that came with stops and that the tip need not hold
 */
export async function applyChanges(pass: Pass, commits: readonly ChangeCommit[], offered: Offered): Promise<void> {
  const observed = await observedProposals(pass);
  const raw = new Map(commits.map((c) => [digestOfBytes(c.raw), c.raw]));
  const refused = new Map<Digest, RefusedChange>();
  for (let applied = true; applied; ) {
    applied = applyStops(pass, () => proposalsIn(pass, commits, observed), { offered, raw }, refused);
    for (const proposal of proposalsIn(pass, commits, observed)) {
      const fault = await tryChange(pass, proposal, raw);
      if (fault === null) applied = true;
      // Where a stop was meant, what kept it from being one says more.
      else if (!refused.has(proposal.digest)) refused.set(proposal.digest, { changes: proposal.changes, why: fault });
    }
  }
  reportPending(pass, refused);
}

/** Only what stops: while the target branch stands still nothing else changes (T24, T25). */
export async function applyStopsAlone(pass: Pass, offered: Offered): Promise<void> {
  const observed = await observedProposals(pass);
  const refused = new Map<Digest, RefusedChange>();
  while (applyStops(pass, () => proposalsIn(pass, [], observed), { offered, raw: new Map() }, refused));
  reportPending(pass, refused);
}

/** @returns whether one came into force */
function applyStops(pass: Pass, proposals: () => readonly Proposal[], sources: Parameters<typeof tryStop>[2], refused: Map<Digest, RefusedChange>): boolean {
  let applied = false;
  for (const proposal of proposals()) {
    const result = tryStop(pass, proposal, sources);
    if (result.status === 'in-force') applied = true;
    if (result.status !== 'refused') continue;
    refused.set(proposal.digest, { changes: proposal.changes, why: result.message });
    // What the tip holds may come into force by its quorum, and is reported as what is pending.
    if (tipFault(pass.loaded.state, proposal.changes) !== null) reportRefusedStop(pass, proposal.digest, result.message);
  }
  clearRefusedStops(pass, proposals().map(({ digest }) => digest));
  return applied;
}

/** What approvals that lie in the log propose. */
async function observedProposals(pass: Pass): Promise<readonly Proposal[]> {
  const { batch } = pass;
  const { state } = batch;
  const wanted = [...state.changeApprovals.values()].flat();
  await holdArtifacts(pass, wanted);
  const proposals = new Map<Digest, { changes: readonly ProtectedChange[]; approvals: ChangeApproval[] }>();
  for (const artifact of wanted) {
    const seen = state.approvals.get(artifact);
    const bytes = batch.lookup(artifact);
    const approval = bytes === undefined ? undefined : (parseCanonicalJson(bytes) as DocumentOf<'Approval'> | undefined);
    if (seen === undefined || approval?.spec.changes === undefined || seen.action !== 'approve') continue;
    const changes = [...approval.spec.changes].sort((a, b) => compareText(a.kind, b.kind) || compareText(a.name, b.name));
    if (changeDigest(state.logId, changes) !== seen.approves.digest) continue;
    add(proposals, seen.approves.digest, changes, { carrier: 'embedded', principal: seen.principal, document: seen.document, artifact, observedAt: seen.observedAt });
  }
  return sortedProposals(proposals);
}

/** Who agreed to which list of changes, as far as it counts now; what is in force already is left out. */
export type AgreedChange = { readonly digest: Digest; readonly changes: readonly ProtectedChange[]; readonly people: readonly string[] };

/** Every list that somebody proposed and that starts from what is in force, with the people whose yes counts (T15). */
export async function agreedChanges(pass: Pass, commits: readonly ChangeCommit[]): Promise<readonly AgreedChange[]> {
  const raw = new Map(commits.map((c) => [digestOfBytes(c.raw), c.raw]));
  const artifact = (digest: Digest): Uint8Array | undefined => raw.get(digest) ?? pass.batch.lookup(digest);
  return proposalsIn(pass, commits, await observedProposals(pass)).map((proposal) => ({
    digest: proposal.digest, changes: proposal.changes, people: [...new Set(countedApprovals(pass, proposal, artifact).map(({ principal }) => principal))].sort(compareText),
  }));
}

function proposalsIn(pass: Pass, commits: readonly ChangeCommit[], observed: readonly Proposal[]): readonly Proposal[] {
  const { state } = pass.batch;
  const proposals = new Map(observed.map((p) => [p.digest, { changes: p.changes, approvals: [...p.approvals] }]));
  for (const c of commits) {
    const changes = c.documents.map(({ kind, name, to }) => changeTo(state, kind, name, to)).filter((change) => change.from !== change.to);
    const digest = changes.length === 0 ? null : changeDigest(state.logId, changes);
    if (digest !== null && c.named.includes(digest)) add(proposals, digest, changes, commitApproval(pass, c, changes));
  }
  return sortedProposals(proposals).filter(({ changes }) => listFault(state, changes) === null);
}

function sortedProposals(proposals: ReadonlyMap<Digest, Omit<Proposal, 'digest'>>): readonly Proposal[] {
  return [...proposals].map(([digest, p]) => ({ digest, ...p })).sort((a, b) => compareText(a.digest, b.digest));
}

function add(into: Map<Digest, { changes: readonly ProtectedChange[]; approvals: ChangeApproval[] }>, digest: Digest, changes: readonly ProtectedChange[], approval: ChangeApproval | null): void {
  const known = into.get(digest) ?? { changes, approvals: [] };
  if (approval !== null) known.approvals.push(approval);
  into.set(digest, known);
}

function commitApproval(pass: Pass, c: ChangeCommit, changes: readonly ProtectedChange[]): ChangeApproval | null {
  const holder = ringsFor(pass, changes).flatMap((ring) => {
    const verified = verifyCommit(c.raw, pass.reader.objectFormat, c.commit, ring);
    return verified.signed ? (ring.get(verified.signer.fingerprint) ?? []) : [];
  })[0];
  if (holder === undefined) return null;
  return { carrier: 'commit', principal: holder.principal.metadata.name, commit: c.commit, artifact: digestOfBytes(c.raw), observedAt: c.observedAt };
}

/** Whose signatures count for this change: principals in force; for the trust root, its root keys alone (T16). */
function ringsFor({ batch, loaded }: Pass, changes: readonly ProtectedChange[]): readonly KeyRing[] {
  return isRootChange(changes) ? rootKeysFor(changes, loaded.state, batch.state, batch.openPgp) : [keyRingIn(batch.state, batch.openPgp)];
}

/**
 * Adds the record when the change is entitled. Whoever has no say costs little: the quorum is counted before the documents are checked.
 * @param raw commits that may not be in the log yet
 * @returns why not, or null when it is in force now
 */
async function tryChange(pass: Pass, proposal: Proposal, raw: ReadonlyMap<Digest, Uint8Array>): Promise<string | null> {
  const { batch, loaded } = pass;
  const shape = listFault(batch.state, proposal.changes) ?? tipFault(loaded.state, proposal.changes);
  if (shape !== null) return shape;
  const artifact = (digest: Digest): Uint8Array | undefined => raw.get(digest) ?? batch.lookup(digest);
  const approvals = countedApprovals(pass, proposal, artifact);
  const proposers = approvals.length === 0 || isRootChange(proposal.changes) ? NO_PROPOSERS : await proposersOf(pass, proposal.changes);
  if (proposers === null) return `more than ${limits.requesterCommits} commits since what is in force: nobody can tell who proposed it. A trust root that lets proposers count (proposerCounts) need not know`;
  const predicate: ProtectedChangePredicate = { basis: 'quorum', changeDigest: proposal.digest, changes: proposal.changes, approvals, proposers: proposers.found };
  const documents = proposal.changes.flatMap((c) => (c.to === null ? [] : [preimageAtTip(loaded.state, c)]));
  const trial = new Map(documents.map((document) => [digestOfBytes(document), document]));
  const header = { seq: batch.state.size, commit: pass.tip, asOf: batch.asOf };
  const result = applyProtectedChange(batch.state, header, predicate, { artifact: (digest) => trial.get(digest) ?? artifact(digest), openPgp: batch.openPgp });
  if (!result.ok) return result.message;
  const fault = policyFault(batch.state, loaded.state, proposal.changes) ?? ownKeysFault(pass, proposal.changes);
  if (fault !== null) return fault;
  for (const document of [...documents, ...proposers.raw]) batch.artifact(document);
  for (const { artifact } of approvals) {
    const found = raw.get(artifact);
    if (found !== undefined) batch.artifact(found);
  }
  batch.add({ type: 'protected-change', predicate });
  return null;
}

/** One approval for each person. Where the root lets no proposer count, the trailer in one's own commit is no approval (T15). */
function countedApprovals(pass: Pass, { digest, changes, approvals }: Proposal, artifact: (digest: Digest) => Uint8Array | undefined): readonly ChangeApproval[] {
  const { state, asOf } = pass.batch;
  const { proposerCounts } = rootOf(state).spec;
  const own = approvals.filter((approval) => (proposerCounts || approval.carrier === 'embedded') && !isTakenBack(pass.batch.state, digest, approval, artifact));
  // One for each ring: a person may sign the next root with the key that the old one lists and with the one that the new one lists.
  const counted = ringsFor(pass, changes).flatMap((ring) => {
    const valid = own.filter((approval) => changeApprover({ approval, digest, ring, artifact, asOf }) !== null);
    return [...new Map(valid.map((a) => [a.principal, a])).values()];
  });
  return [...new Map(counted.map((a) => [a.artifact, a])).values()].sort((a, b) => compareText(a.principal, b.principal) || compareText(a.artifact, b.artifact));
}

/** T29: a root under which this server could sign nothing would end its log. */
function ownKeysFault({ batch, loaded }: Pass, changes: readonly ProtectedChange[]): string | null {
  const next = isRootChange(changes) ? rootAtTip(loaded.state) : null;
  return next === null ? null : batch.ownKeysFault(next.root);
}

/** The tip holds each new document, and none of the deleted ones. */
function tipFault(tip: DesiredState, changes: readonly ProtectedChange[]): string | null {
  for (const { kind, name, to } of changes) {
    const found = findDocument(tip, kind, name);
    const digest = found.status === 'present' ? found.entry.digest : null;
    if (found.status === 'unusable' || digest !== to) return `the target branch does not hold the approved version of ${kind}/${name}`;
  }
  return null;
}

/** T10: a change that would make a configuration error does not come into force. */
function policyFault(state: LogState, tip: DesiredState, changes: readonly ProtectedChange[]): string | null {
  const [fault] = newErrors(state, changes, ({ kind, name }) => {
    const found = findDocument(tip, kind, name);
    return found.status === 'present' ? (found.entry.document as unknown as AnyDocument) : null;
  });
  return fault === undefined ? null : `${fault.subject ?? ''}: ${fault.message}`;
}

function preimageAtTip(tip: DesiredState, change: ProtectedChange): Uint8Array {
  const found = findDocument(tip, change.kind, change.name);
  if (found.status !== 'present') throw new Error(`${change.kind}/${change.name} left the tip while it was judged`);
  return documentPreimage(found.entry.document as unknown as AnyDocument);
}

type Proposers = { readonly found: ProtectedChangePredicate['proposers']; readonly raw: readonly Uint8Array[] };
const NO_PROPOSERS: Proposers = { found: { people: [], unknown: 0, commits: [] }, raw: [] };

/** Who changed these documents since they came into force; only asked where no proposer counts (T15). @returns null when there are too many commits to look at: everything else goes on (T12) */
export async function proposersOf(pass: Pass, changes: readonly ProtectedChange[]): Promise<Proposers | null> {
  if (rootOf(pass.batch.state).spec.proposerCounts) return NO_PROPOSERS;
  try {
    return await findProposers(pass, changes);
  } catch (cause) {
    if (cause instanceof GitError && cause.code === 'LimitExceeded') return null;
    throw cause;
  }
}

async function findProposers(pass: Pass, changes: readonly ProtectedChange[]): Promise<Proposers> {
  const { batch } = pass;
  const ring = keyRingIn(batch.state, batch.openPgp);
  const people = new Set<string>();
  const used = new Map<CommitId, Uint8Array>();
  let unknown = 0;
  for (const { kind, name } of changes) {
    const key = documentKey(kind, name);
    const from = batch.state.inForce.get(key)?.tip ?? batch.state.genesisTip;
    const isRewritten = batch.state.lastRewrite !== null;
    const find = (to: CommitId): Promise<readonly Pick<TouchingCommit, 'commit' | 'raw'>[]> => (isRewritten ? pass.touching.findDocumentAcross(from, to, key) : pass.touching.findDocument(from, to, key));
    const touching = [...(await find(pass.tip)), ...(pass.candidate === undefined ? [] : await find(pass.candidate.commit))];
    // T25: what a rewrite brought back without any commit, nobody signed.
    if (touching.length === 0 && isRewritten) unknown += 1;
    for (const { commit, raw } of touching) {
      const verified = verifyCommit(raw, pass.reader.objectFormat, commit, ring);
      const holder = verified.signed ? ring.get(verified.signer.fingerprint) : undefined;
      if (holder?.principal.spec.type === 'person') people.add(holder.principal.metadata.name);
      else unknown += 1;
      used.set(commit, raw);
    }
  }
  const commits = [...used].map(([commit, raw]) => ({ commit, artifact: digestOfBytes(raw) })).sort((a, b) => compareText(a.commit, b.commit));
  return { found: { people: [...people].sort(compareText), unknown, commits }, raw: [...used.values()] };
}
