import type { CommitId } from '../core/model/commit-id.ts';
import { digestOfBytes, type Digest } from '../core/model/digest.ts';
import { documentKey, documentPreimage, isProtected, type AnyDocument, type DocumentKey, type DocumentOf, type ProtectedChange } from '../core/model/documents.ts';
import { limits } from '../core/model/limits.ts';
import { compareText } from '../core/model/names.ts';
import { changeDigest } from '../core/model/preimages.ts';
import { parseCanonicalJson } from '../core/model/canonical-json.ts';
import { verifyCommit } from '../core/commit/verify-commit.ts';
import { parseTrailers } from '../core/commit/trailers.ts';
import { canFillRoles } from '../core/decision/match-roles.ts';
import { checkPolicy } from '../core/desired/check-policy.ts';
import { keyIdentity } from '../core/desired/key-identity.ts';
import type { Diagnostic } from '../core/desired/diagnostic.ts';
import { lookupOf, unplaced } from '../core/desired/document-lookup.ts';
import { findDocument, protectedDocuments, type DesiredState } from '../core/desired/desired-state.ts';
import { allInForce, rootOf, type LogState } from '../core/evidence/log-state.ts';
import type { ChangeApproval, ProtectedChangePredicate } from '../core/evidence/records.ts';
import { applyProtectedChange, changeApprover, changeTo, listFault } from '../core/trust/apply-change.ts';
import { keyRingOf } from '../core/trust/key-ring.ts';
import { pendingChanges } from '../core/trust/pending-changes.ts';
import { parseChanges } from './declarations.ts';
import type { Pass } from './pass.ts';

/** A signed commit that carries `Stella-Change`, and the change that it speaks of. */
export type ChangeCommit = { readonly commit: CommitId; readonly raw: Uint8Array; readonly observedAt: string; readonly named: readonly Digest[]; readonly documents: readonly { readonly key: DocumentKey; readonly kind: ProtectedChange['kind']; readonly name: string; readonly to: Digest | null }[] };

/** Commits after `from` with the trailer, each with the protected documents that it changed itself. */
export async function findChangeCommits(pass: Pass, from: CommitId | null, observedAt: string): Promise<readonly ChangeCommit[]> {
  if (from === pass.tip) return [];
  const entries = await pass.reader.log(from, pass.tip, limits.historyCommits);
  const raw = await pass.reader.readCommits(entries.map((e) => e.commit));
  const found: ChangeCommit[] = [];
  for (const { commit, parents } of entries) {
    const object = raw.get(commit);
    if (object?.ok !== true) continue;
    const verified = verifyCommit(object.bytes, pass.reader.objectFormat, commit);
    const named = verified.signed ? parseTrailers(verified.commit.message).filter((t) => t.key === 'Stella-Change').map((t) => t.value) : [];
    // T26: a merge changes no protected document by its trailer; its parents speak for themselves.
    if (named.length === 0 || parents.length > 1) continue;
    const { changes } = await pass.reader.diff(parents[0] ?? null, commit);
    const before = await parseChanges(pass.reader, pass.parser, changes.filter((c) => c.oldBlob !== null).map((c) => ({ ...c, newBlob: c.oldBlob, newMode: c.oldMode })));
    const after = await parseChanges(pass.reader, pass.parser, changes);
    const documents = new Map<DocumentKey, ChangeCommit['documents'][number]>();
    for (const { parsed } of before) for (const d of parsed?.documents ?? []) note(documents, d.document, null);
    for (const { parsed } of after) for (const d of parsed?.documents ?? []) note(documents, d.document, d.digest);
    found.push({ commit, raw: object.bytes, observedAt, named, documents: [...documents.values()] });
  }
  return found;
}

function note(into: Map<DocumentKey, ChangeCommit['documents'][number]>, { kind, metadata: { name } }: AnyDocument, to: Digest | null): void {
  const key = documentKey(kind, name);
  if (isProtected(kind)) into.set(key, { key, kind, name, to });
}

type Proposal = { readonly digest: Digest; readonly changes: readonly ProtectedChange[]; readonly approvals: readonly ChangeApproval[] };

/**
 * Puts in force what its quorum approved and the tip holds (T15), until nothing more is entitled. What stays pending becomes
 * a condition that names the digest to approve.
 */
export async function applyChanges(pass: Pass, commits: readonly ChangeCommit[]): Promise<void> {
  const refused = new Map<Digest, string>();
  for (let applied = true; applied; ) {
    applied = false;
    for (const proposal of await proposalsIn(pass, commits)) {
      const fault = await tryChange(pass, proposal, commits);
      if (fault === null) applied = true;
      else refused.set(proposal.digest, fault);
      if (applied) break;
    }
  }
  reportPending(pass, refused);
}

async function proposalsIn(pass: Pass, commits: readonly ChangeCommit[]): Promise<readonly Proposal[]> {
  const { batch } = pass;
  const { state } = batch;
  const proposals = new Map<Digest, { changes: readonly ProtectedChange[]; approvals: ChangeApproval[] }>();
  for (const c of commits) {
    const changes = c.documents.map(({ kind, name, to }) => changeTo(state, kind, name, to)).filter((change) => change.from !== change.to);
    const digest = changes.length === 0 ? null : changeDigest(state.logId, changes);
    if (digest !== null && c.named.includes(digest)) add(proposals, digest, changes, commitApproval(pass, c));
  }
  const artifacts = [...state.changeApprovals.values()].flat();
  if (pass.evidenceTip !== null) await pass.artifacts.load(pass.evidenceTip, artifacts.filter((a) => batch.artifacts.get(a) === undefined));
  for (const artifact of artifacts) {
    const seen = state.approvals.get(artifact);
    const bytes = batch.lookup(artifact);
    const document = bytes === undefined ? undefined : (parseCanonicalJson(bytes) as DocumentOf<'Approval'> | undefined);
    if (seen === undefined || document?.spec.changes === undefined || seen.action !== 'approve') continue;
    const changes = [...document.spec.changes].sort((a, b) => compareText(a.kind, b.kind) || compareText(a.name, b.name));
    if (changeDigest(state.logId, changes) !== seen.approves.digest || listFault(state, changes) !== null) continue;
    add(proposals, seen.approves.digest, changes, { carrier: 'embedded', principal: seen.principal, document: seen.document, artifact, observedAt: seen.observedAt });
  }
  return [...proposals].map(([digest, p]) => ({ digest, ...p })).sort((a, b) => compareText(a.digest, b.digest));
}

function add(into: Map<Digest, { changes: readonly ProtectedChange[]; approvals: ChangeApproval[] }>, digest: Digest, changes: readonly ProtectedChange[], approval: ChangeApproval | null): void {
  const known = into.get(digest) ?? { changes, approvals: [] };
  if (approval !== null) known.approvals.push(approval);
  into.set(digest, known);
}

function commitApproval(pass: Pass, c: ChangeCommit): ChangeApproval | null {
  const verified = verifyCommit(c.raw, pass.reader.objectFormat, c.commit);
  const holder = verified.signed ? keyRingOf(allInForce(pass.batch.state, 'Principal')).get(verified.signer.fingerprint) : undefined;
  if (holder === undefined) return null;
  return { carrier: 'commit', principal: holder.principal.metadata.name, commit: c.commit, artifact: digestOfBytes(c.raw), observedAt: c.observedAt };
}

/** Adds the record when the change is entitled. @returns why not, or null when it is in force now */
async function tryChange(pass: Pass, proposal: Proposal, commits: readonly ChangeCommit[]): Promise<string | null> {
  const { batch, loaded } = pass;
  const shape = listFault(batch.state, proposal.changes) ?? tipFault(loaded.state, proposal.changes) ?? policyFault(batch.state, loaded.state, proposal.changes);
  if (shape !== null) return shape;
  const raw = new Map(commits.map((c) => [digestOfBytes(c.raw), c.raw]));
  const lookup = (digest: Digest): Uint8Array | undefined => raw.get(digest) ?? batch.lookup(digest);
  const ring = keyRingOf(allInForce(batch.state, 'Principal'));
  const valid = proposal.approvals.filter((a) => changeApprover(a, proposal.digest, ring, lookup) !== null);
  const approvals = [...new Map(valid.map((a) => [a.principal, a])).values()].sort((a, b) => compareText(a.principal, b.principal));
  const predicate: ProtectedChangePredicate = { basis: 'quorum', changeDigest: proposal.digest, changes: proposal.changes, approvals, proposers: await proposersOf(pass, proposal.changes) };
  const documents = proposal.changes.flatMap((c) => (c.to === null ? [] : [preimageAtTip(loaded.state, c)]));
  const trial = new Map(documents.map((bytes) => [digestOfBytes(bytes), bytes]));
  const header = { seq: batch.state.size, commit: pass.tip } as Parameters<typeof applyProtectedChange>[1];
  const result = applyProtectedChange(batch.state, header, predicate, (digest) => trial.get(digest) ?? lookup(digest));
  if (!result.ok) return result.message;
  for (const bytes of documents) batch.artifact(bytes);
  for (const approval of approvals) {
    const bytes = raw.get(approval.artifact);
    if (bytes !== undefined) batch.artifact(bytes);
  }
  batch.add({ type: 'protected-change', predicate });
  return null;
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
  const after = new Map<DocumentKey, AnyDocument>();
  for (const entry of state.inForce.values()) after.set(documentKey(entry.kind, entry.name), entry.document);
  for (const { kind, name, to } of changes) {
    const found = findDocument(tip, kind, name);
    if (to === null) after.delete(documentKey(kind, name));
    else if (found.status === 'present') after.set(documentKey(kind, name), found.entry.document as unknown as AnyDocument);
  }
  const before = errorsIn([...state.inForce.values()].map((e) => e.document));
  const found = errorsIn([...after.values()]).filter((d) => !before.some((b) => b.code === d.code && b.subject === d.subject && b.message === d.message));
  return found[0] === undefined ? null : `${found[0].subject ?? ''}: ${found[0].message}`;
}

function errorsIn(documents: readonly AnyDocument[]): readonly Diagnostic[] {
  return checkPolicy(lookupOf(documents.map(unplaced)), { keyIdentity, canFillRoles }).filter((d) => d.severity === 'error');
}

function preimageAtTip(tip: DesiredState, change: ProtectedChange): Uint8Array {
  const found = findDocument(tip, change.kind, change.name);
  if (found.status !== 'present') throw new Error(`${change.kind}/${change.name} left the tip while it was judged`);
  return documentPreimage(found.entry.document as unknown as AnyDocument);
}

/** Who changed these documents since they came into force; only asked where no proposer counts (T15). */
async function proposersOf(pass: Pass, changes: readonly ProtectedChange[]): Promise<ProtectedChangePredicate['proposers']> {
  const { batch } = pass;
  if (rootOf(batch.state).spec.proposerCounts) return { people: [], unknown: 0, commits: [] };
  const ring = keyRingOf(allInForce(batch.state, 'Principal'));
  const people = new Set<string>();
  const used = new Map<CommitId, Digest>();
  let unknown = 0;
  for (const { kind, name } of changes) {
    const key = documentKey(kind, name);
    const from = batch.state.inForce.get(key)?.tip ?? batch.state.genesisTip;
    for (const { commit, raw } of await pass.touching.findDocument(from, pass.tip, key)) {
      const verified = verifyCommit(raw, pass.reader.objectFormat, commit);
      const holder = verified.signed ? ring.get(verified.signer.fingerprint) : undefined;
      if (holder?.principal.spec.type === 'person') people.add(holder.principal.metadata.name);
      else unknown += 1;
      used.set(commit, batch.artifact(raw));
    }
  }
  const commits = [...used].map(([commit, artifact]) => ({ commit, artifact })).sort((a, b) => compareText(a.commit, b.commit));
  return { people: [...people].sort(compareText), unknown, commits };
}

function reportPending(pass: Pass, refused: ReadonlyMap<Digest, string>): void {
  const { batch, loaded, conditions } = pass;
  const tip = protectedDocuments(loaded.state).map((e) => ({ kind: e.document.kind, name: e.document.metadata.name, digest: e.digest }));
  const unusable = new Set([...loaded.state.claims.entries()].filter(([key]) => findDocument(loaded.state, ...keyParts(key)).status === 'unusable').map(([key]) => key as DocumentKey));
  const pending = pendingChanges(batch.state, tip, unusable);
  if (pending.length === 0) {
    conditions.stalled('Policy', 'declarations', null);
    return;
  }
  const digest = changeDigest(batch.state.logId, pending);
  const names = pending.map((c) => `${c.kind}/${c.name}`);
  const why = refused.get(digest) ?? [...refused.values()][0];
  conditions.stalled('Policy', 'declarations', {
    reason: why === undefined ? 'ChangePending' : 'ChangeRefused',
    message: `${names.slice(0, 5).join(', ')}${names.length > 5 ? ` and ${names.length - 5} more` : ''}: not in force${why === undefined ? '' : ` (${why})`}; approve with: stella approve --change ${digest}`,
  });
}

function keyParts(key: string): [ProtectedChange['kind'], string] {
  const slash = key.indexOf('/');
  return [key.slice(0, slash) as ProtectedChange['kind'], key.slice(slash + 1)];
}

