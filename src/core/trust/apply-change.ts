import { verifyCommit } from '../commit/verify-commit.ts';
import type { OpenPgpVerifier } from '../commit/openpgp.ts';
import { isCertificate, mergeCertificates } from '../commit/openpgp-certificate.ts';
import { readCertificate } from '../commit/openpgp-read-certificate.ts';
import { parseTrailers } from '../commit/trailers.ts';
import { parseCanonicalJson } from '../model/canonical-json.ts';
import { digestOfBytes, isDigest, type Digest } from '../model/digest.ts';
import { documentDigest, documentKey, isProtected, KINDS, type AnyDocument, type ApprovalAction, type DocumentOf, type ProtectedChange } from '../model/documents.ts';
import { parseInstant } from '../model/instant.ts';
import { changeDigest, genesisDocumentsDigest, inForceDigest, type DocumentRef } from '../model/preimages.ts';
import { allInForce, rootOf, type InForce, type LogState } from '../evidence/log-state.ts';
import type { ArtifactLookup, FoldResult, LogSources } from '../evidence/fold.ts';
import type { ChangeApproval, ProtectedChangePredicate, RecordHeader } from '../evidence/records.ts';
import { isOwnAct } from './approval-commit.ts';
import { signersOf } from './embedded-signers.ts';
import { keyFault, keyRingIn, rejectionKeyFault, ringWith, type KeyRing } from './key-ring.ts';
import { hasSay, meetsQuorum, quorumFor } from './quorum.ts';
import { despiteIn, isWithdrawn, withdrawalsIn } from './withdrawals.ts';
import { liftingFault, sidesIn, stopFault, type Sides } from './stop.ts';
import { isRootChange, meetsThreshold, rootKeyRing, successionFault } from './root-change.ts';

const refuse = (code: 'ChangeNotEntitled' | 'GenesisMismatch' | 'ArtifactMissing' | 'RootRefused' | 'StopNotEntitled' | 'LiftedByAffected', message: string): FoldResult => ({ ok: false, code, message });

/**
 * Puts protected documents in force, if the record proves that it may: genesis by the pin, everything else by the quorum
 * of the version in force over raw bytes (T13–T15). Reconciler, agents and `verify` run this same code.
 */
export function applyProtectedChange(state: LogState, header: Pick<RecordHeader, 'seq' | 'commit' | 'asOf'>, p: ProtectedChangePredicate, sources: LogSources): FoldResult {
  const fault = p.basis === 'genesis' ? genesisFault(state, p) : changeFault(state, p, header.asOf, sources);
  if (fault !== null) return fault;
  let { inForce, counts, certificates } = state;
  const by = [...new Set(p.approvals.map(({ principal }) => principal))].sort();
  for (const change of p.changes) {
    const key = documentKey(change.kind, change.name);
    counts = counts.set(key, change.count + 1);
    if (change.to === null) {
      inForce = inForce.delete(key);
      continue;
    }
    const document = readDocument(change.to, sources.artifact);
    if (document === null) return refuse('ArtifactMissing', `${key} ${change.to} is not in the log`);
    if (document.kind !== change.kind || document.metadata.name !== change.name) return refuse('ChangeNotEntitled', `${change.to} is not ${key}`);
    const entry: InForce = { kind: change.kind, name: change.name, digest: change.to, document, seq: header.seq, tip: tipOf(p, header, state.inForce.get(key)), since: header.asOf, by, basis: p.basis };
    inForce = inForce.set(key, entry);
    certificates = withCertificatesOf(document, certificates, sources.openPgp);
  }
  // What took effect never matches again, so its approvals need not be looked at again.
  const changeApprovals = p.changeDigest === null ? state.changeApprovals : state.changeApprovals.delete(p.changeDigest);
  return { ok: true, state: { ...state, inForce, counts, certificates, changeApprovals, inForceDigests: digestsOf(inForce.values()) } };
}

/** From where on proposers of the next change are looked for (T15). The tip need not hold a stop, so what it says since before is still a proposal. */
function tipOf({ basis }: ProtectedChangePredicate, { commit }: Pick<RecordHeader, 'commit'>, before: InForce | undefined): InForce['tip'] {
  if (basis === 'genesis') return null;
  return basis === 'stop' ? (before?.tip ?? null) : commit;
}

/** A document from the artifact of its own digest: canonical JSON without signatures. */
function readDocument(digest: Digest, artifact: ArtifactLookup): AnyDocument | null {
  const bytes = artifact(digest);
  if (bytes === undefined || digestOfBytes(bytes) !== digest) return null;
  const document = parseCanonicalJson(bytes) as AnyDocument | undefined;
  return document !== undefined && documentDigest(document) === digest ? document : null;
}

/** Merges what a document's OpenPGP certificates say with what is known of them (T9). One that cannot be read is nobody's key. */
function withCertificatesOf(document: AnyDocument, certificates: LogState['certificates'], openPgp: OpenPgpVerifier): LogState['certificates'] {
  if (document.kind !== 'Principal' && document.kind !== 'TrustRoot') return certificates;
  let known = certificates;
  for (const { key } of document.spec.keys.filter((k) => isCertificate(k.key))) {
    const read = readCertificate(key, openPgp);
    if (read.ok) known = known.set(read.certificate.primary, mergeCertificates(known.get(read.certificate.primary), read.certificate));
  }
  return known;
}

/** Digests of what is in force, as record headers carry them. */
export function digestsOf(entries: Iterable<InForce>): LogState['inForceDigests'] {
  const principals: DocumentRef[] = [];
  const policy: DocumentRef[] = [];
  let root: Digest | null = null;
  for (const { kind, name, digest } of entries) {
    if (kind === 'TrustRoot') root = digest;
    else (kind === 'Principal' ? principals : policy).push({ kind, name, digest });
  }
  if (root === null) throw new Error('no trust root in force');
  return { root, principals: inForceDigest(principals), policy: inForceDigest(policy) };
}

function genesisFault(state: LogState, p: ProtectedChangePredicate): FoldResult | null {
  const root = rootOf(state);
  const rest = p.changes.filter((c) => c.kind !== 'TrustRoot');
  const refs = rest.flatMap((c) => (c.to === null ? [] : [{ kind: c.kind, name: c.name, digest: c.to }]));
  const rootChange = p.changes.filter((c) => c.kind === 'TrustRoot');
  const pinned = rootChange.length === 1 && rootChange[0]?.to === state.logId && rootChange[0].name === root.metadata.name;
  const complete = refs.length === rest.length && genesisDocumentsDigest(refs) === root.spec.documents;
  const first = p.changes.every((c) => c.count === 0 && c.from === null && KINDS.includes(c.kind) && isProtected(c.kind));
  if (pinned && complete && first) return null;
  return refuse('GenesisMismatch', 'the first documents are not those that the pinned genesis root names');
}

function changeFault(state: LogState, p: ProtectedChangePredicate, asOf: string, { artifact, openPgp }: LogSources): FoldResult | null {
  const digest = changeDigest(state.logId, p.changes);
  if (p.changeDigest !== digest) return refuse('ChangeNotEntitled', 'the change digest is not that of the listed changes');
  const shape = listFault(state, p.changes);
  if (shape !== null) return refuse('ChangeNotEntitled', shape);
  const withdrawn = p.approvals.find((approval) => isTakenBack(state, digest, approval, artifact));
  if (withdrawn !== undefined) return refuse('ChangeNotEntitled', `${withdrawn.principal} withdrew their approval`);
  if (isRootChange(p.changes)) return rootFault(state, p, { digest, artifact, asOf }, openPgp);
  const ring = keyRingIn(state, openPgp);
  const people = new Map<string, DocumentOf<'Principal'>>();
  for (const approval of p.approvals) {
    const signer = p.basis !== 'stop' && isOwnProposal(state, approval) ? null : changeApprover({ approval, digest, ring, artifact, asOf });
    if (signer === null) return refuse('ChangeNotEntitled', `an approval by ${approval.principal} does not verify`);
    people.set(signer.metadata.name, signer);
  }
  const sides = sidesIn(state, p.changes, ({ to }) => (to === null ? null : readDocument(to, artifact)));
  if (sides === null) return refuse('ArtifactMissing', 'a new document of the list is not in the log, or is another than the list says');
  if (p.basis === 'stop') {
    const stop = stopFault(state, sides, people.values());
    return stop === null ? null : refuse('StopNotEntitled', stop);
  }
  return quorumFault(state, p, people, sides) ?? rejectionFault(state, { digest, ring, artifact, asOf }, (person) => p.changes.some((change) => hasSay(quorumFor(rootOf(state), change), person)));
}

/** T15: the trailer in one's own commit is the proposer's yes, which is none where the root lets no proposer count. */
function isOwnProposal(state: LogState, approval: ChangeApproval): boolean {
  return approval.carrier === 'commit' && !rootOf(state).spec.proposerCounts;
}

/**
 * T16: the next root needs the threshold of the root in force and its own, of people who sign with root keys. One person may count for both, with
 * the key that each of them lists. Whether a proposer counts is a question of quorums, not of this threshold.
 */
function rootFault(state: LogState, p: ProtectedChangePredicate, q: Omit<Question, 'ring'>, openPgp: OpenPgpVerifier): FoldResult | null {
  const [root, to] = [rootOf(state), p.changes[0]?.to ?? null];
  const next = to === null ? null : readDocument(to, q.artifact);
  if (to === null || next?.kind !== 'TrustRoot') return refuse(next === null && to !== null ? 'ArtifactMissing' : 'RootRefused', `the next trust root ${String(to)} is none, or is not in the log`);
  const fault = successionFault({ root, digest: state.inForceDigests.root }, { root: next, digest: to });
  if (fault !== null) return refuse('RootRefused', `${fault.code}: ${fault.message}`);
  const rings = rootRings(state, next, openPgp);
  const [before, after] = [new Set<string>(), new Set<string>()];
  for (const approval of p.approvals) {
    const counts = rings.map((ring) => !isOwnProposal(state, approval) && changeApprover({ ...q, approval, ring }) !== null);
    if (!counts.includes(true)) return refuse('ChangeNotEntitled', `an approval by ${approval.principal} is not signed by a root key`);
    if (counts[0] === true) before.add(approval.principal);
    if (counts[1] === true) after.add(approval.principal);
  }
  const short = !meetsThreshold(root, before) ? { which: 'in force', people: before, threshold: root.spec.threshold } : !meetsThreshold(next, after) ? { which: 'that is new', people: after, threshold: next.spec.threshold } : null;
  if (short !== null) return refuse('ChangeNotEntitled', `the root ${short.which} wants ${short.threshold} of its key holders, and ${[...short.people].join(', ') || 'nobody'} signed with such a key`);
  const holders = new Set([...rings[0].values()].map(({ principal }) => principal.metadata.name));
  const ring = ringWith(new Map([...keyRingIn(state, openPgp), ...rings[0]]), openPgp);
  return rejectionFault(state, { ...q, ring }, (person) => holders.has(person.metadata.name));
}

/** Root keys that count for the root in force, and those that count for `next`. */
export function rootRings(state: LogState, next: DocumentOf<'TrustRoot'>, openPgp: OpenPgpVerifier): readonly [KeyRing, KeyRing] {
  const principals = allInForce(state, 'Principal');
  const certificates = withCertificatesOf(next, state.certificates, openPgp);
  return [rootKeyRing(rootOf(state), principals, { certificates: state.certificates, openPgp }), rootKeyRing(next, principals, { certificates, openPgp })];
}

/** T23: whether its giver took this approval of a change back, and it does not say that it stands in spite of that. Agents are shown no withdrawal. */
export function isTakenBack(state: LogState, digest: Digest, approval: ChangeApproval, artifact: ArtifactLookup): boolean {
  const seen = (state.changeApprovals.get(digest) ?? []).flatMap((key) => state.approvals.get(key) ?? []);
  const withdrawals = withdrawalsIn(seen.map(({ principal, document, action }) => ({ principal, document, action, approves: digest })));
  if (withdrawals.size === 0) return false;
  const bytes = approval.carrier === 'embedded' ? artifact(approval.artifact) : undefined;
  const document = bytes === undefined ? undefined : (parseCanonicalJson(bytes) as AnyDocument | undefined);
  return isWithdrawn(withdrawals, { principal: approval.principal, approves: digest, despite: despiteIn(document) });
}

type Question = { readonly digest: Digest; readonly ring: KeyRing; readonly artifact: ArtifactLookup; readonly asOf: string };

/** A no that stands keeps the change out of force: stopping is easier than going on. Agents are shown none (TRUST "what it cannot"). */
function rejectionFault(state: LogState, q: Question, isEntitled: (person: DocumentOf<'Principal'>) => boolean): FoldResult | null {
  for (const key of state.changeApprovals.get(q.digest) ?? []) {
    const seen = state.approvals.get(key);
    if (seen?.action !== 'reject') continue;
    const bytes = q.artifact(key);
    if (bytes === undefined) return refuse('ArtifactMissing', `the rejection ${key} is not in the log`);
    const person = embeddedSigner({ ...q, bytes, seen, action: 'reject' });
    if (person !== null && isEntitled(person)) {
      return refuse('ChangeNotEntitled', `${person.metadata.name} rejected it`);
    }
  }
  return null;
}

/** Whether `changes` start from what is in force: numbers and digests (TRUST "Change digest"). @returns what is wrong, or null */
export function listFault(state: LogState, changes: readonly ProtectedChange[]): string | null {
  const seen = new Set<string>();
  for (const change of changes) {
    const key = documentKey(change.kind, change.name);
    if (seen.has(key)) return `${key} is listed twice`;
    seen.add(key);
    if (!KINDS.includes(change.kind)) return `${key} is of no kind that is known`;
    // T16: the root changes by its own chain, on its own, and there is always exactly one.
    if (change.kind === 'TrustRoot' && (changes.length > 1 || change.from === null || change.to === null)) return 'the trust root changes alone, and is neither added nor taken away';
    if (!isProtected(change.kind)) return `${key} is not protected`;
    if ((state.counts.get(key) ?? 0) !== change.count) return `${key} has changed since`;
    if ((state.inForce.get(key)?.digest ?? null) !== change.from) return `${key} in force is another version`;
    if (change.from === change.to) return `${key} does not change`;
  }
  return changes.length === 0 ? 'nothing changes' : null;
}

function quorumFault(state: LogState, p: ProtectedChangePredicate, people: ReadonlyMap<string, DocumentOf<'Principal'>>, sides: readonly Sides[]): FoldResult | null {
  const root = rootOf(state);
  // T15: whether a proposer counts is the root's choice; an unknown proposer cannot be told apart from the approver.
  if (!root.spec.proposerCounts && p.proposers.unknown > 0) return refuse('ChangeNotEntitled', 'who proposed the change is unknown');
  const counted = [...people.values()].filter((who) => root.spec.proposerCounts || !p.proposers.people.includes(who.metadata.name));
  for (const change of p.changes) {
    if (!meetsQuorum(quorumFor(root, change), counted)) {
      return refuse('ChangeNotEntitled', `${change.kind}/${change.name}: its quorum is not met by ${counted.map((w) => w.metadata.name).join(', ') || 'anybody'}`);
    }
  }
  const lifting = liftingFault(sides, counted);
  return lifting === null ? null : refuse('LiftedByAffected', lifting);
}

/** The person whose signature this approval carries, from raw bytes; null when it does not verify or does not count as of `asOf`. */
export function changeApprover(q: Question & { readonly approval: ChangeApproval }): DocumentOf<'Principal'> | null {
  const { approval, artifact } = q;
  const bytes = artifact(approval.artifact);
  if (bytes === undefined) return null;
  if (approval.carrier === 'embedded') return embeddedSigner({ ...q, bytes, seen: approval, action: 'approve' });
  return personOf(commitSigner(bytes, approval, q), approval, q);
}

type Seen = { readonly principal: string; readonly document: Digest; readonly observedAt: string };

function embeddedSigner(q: Question & { readonly bytes: Uint8Array; readonly seen: Seen; readonly action: 'approve' | 'reject' }): DocumentOf<'Principal'> | null {
  const document = parseCanonicalJson(q.bytes) as AnyDocument | undefined;
  if (document?.kind !== 'Approval' || documentDigest(document) !== q.seen.document) return null;
  const { type, digest, action, changes, expires } = document.spec;
  if (type !== 'change' || action !== q.action || !isDigest(digest) || digest !== q.digest || changes === undefined) return null;
  if (expires !== undefined && hasExpired(expires, q)) return null;
  return personOf(signersOf(document, 'stella-approval', q.ring).map((s) => s.fingerprint), q.seen, q);
}

/** A malformed time ends a yes and never ends a no. */
export function hasExpired(expires: string, q: { readonly asOf: string; readonly action: ApprovalAction }): boolean {
  const end = parseInstant(expires);
  const asOf = parseInstant(q.asOf);
  return end === null || asOf === null ? q.action === 'approve' : asOf >= end;
}

/** T11: only people approve. T9: with a key that was good when we saw it, which was before it was used. @param q.action approve, unless it says otherwise */
export function personOf(fingerprints: readonly string[], seen: Pick<Seen, 'principal' | 'observedAt'>, q: Pick<Question, 'ring' | 'asOf'> & { readonly action?: ApprovalAction }): DocumentOf<'Principal'> | null {
  const { ring, asOf, action = 'approve' } = q;
  const faultOf = action === 'approve' ? keyFault : rejectionKeyFault;
  const observedAt = parseInstant(seen.observedAt);
  if (observedAt === null || observedAt > (parseInstant(asOf) ?? -1)) return null;
  const holders = fingerprints.flatMap((fingerprint) => ring.get(fingerprint) ?? []).filter(({ principal }) => principal.metadata.name === seen.principal);
  return holders.find((holder) => holder.principal.spec.type === 'person' && faultOf(holder, observedAt) === null)?.principal ?? null;
}

function commitSigner(bytes: Uint8Array, approval: Extract<ChangeApproval, { carrier: 'commit' }>, { digest, ring }: Question): readonly string[] {
  const verified = verifyCommit(bytes, approval.commit.length === 40 ? 'sha1' : 'sha256', approval.commit, ring);
  // T15, T26: its signer's own words, not those of a commit that they picked or merged.
  if (!verified.signed || !isOwnAct(verified.commit)) return [];
  const named = parseTrailers(verified.commit.message).filter((t) => t.key === 'Stella-Change').map((t) => t.value);
  return named.includes(digest) ? [verified.signer.fingerprint] : [];
}

/** The document in force under which a change of `kind` and `name` starts: its number and digest. */
export function changeTo(state: LogState, kind: ProtectedChange['kind'], name: string, to: Digest | null): ProtectedChange {
  const key = documentKey(kind, name);
  return { kind, name, count: state.counts.get(key) ?? 0, from: state.inForce.get(key)?.digest ?? null, to };
}

