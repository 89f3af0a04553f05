import { canonicalBytes, type JsonObject } from '../core/model/canonical-json.ts';
import type { CommitId } from '../core/model/commit-id.ts';
import { digestOfBytes, type Digest } from '../core/model/digest.ts';
import { documentDigest, type DocumentOf } from '../core/model/documents.ts';
import { limits } from '../core/model/limits.ts';
import { compareText } from '../core/model/names.ts';
import type { SourceDocument } from '../core/desired/parsed-file.ts';
import { appStateOf, approvalKey, type LogState } from '../core/evidence/log-state.ts';
import type { Observation } from '../core/evidence/records.ts';
import { carriedByCommit, approvedByCommit } from '../core/trust/approval-commit.ts';
import { signersOf, verifyDocumentsTogether } from '../core/trust/embedded-signers.ts';
import { keyRingIn, ringWith, type KeyRing } from '../core/trust/key-ring.ts';
import type { DocumentParser } from '../ports/document-parser.ts';
import { GitError, type GitReader } from '../ports/git-reader.ts';
import { parseChanges } from './declarations.ts';
import type { Pass } from './pass.ts';
import { rootKeysFor } from './root-proposal.ts';

export const APPROVAL_BRANCHES = 'refs/heads/stella/approvals/';

type Observed = { readonly observation: Extract<Observation, { type: 'approval' }>; readonly bytes: Uint8Array };

/** Puts approvals that the log has not seen into the batch, sorted by digest. @returns how many came from strangers */
export function observeApprovals(pass: Pick<Pass, 'batch'> & Partial<Pick<Pass, 'loaded'>>, documents: readonly DocumentOf<'Approval'>[]): number {
  const { batch } = pass;
  const ring = keyRingIn(batch.state, batch.openPgp);
  verifyDocumentsTogether(documents, ring);
  let strangers = 0;
  const found = new Map<string, Observed>();
  for (const document of documents) {
    const known = observationsOf(document, ringFor(pass, document, ring), batch.state);
    // T31: strangers' candidates are counted only; junk does not grow the log.
    if (known === null) strangers += 1;
    else for (const one of known) found.set(approvalKey(one.observation.document, one.observation.fingerprint), one);
  }
  const counts = new Map<string, number>();
  for (const { observation, bytes } of [...found.values()].sort(byTurn)) {
    if (isBeyondLimit(observation, batch.state, counts)) continue;
    batch.artifact(bytes);
    batch.add({ type: 'observation', predicate: observation });
  }
  return strangers;
}

/** T16: about the trust root its root keys speak too, also those that only the next root lists. */
function ringFor({ batch, loaded }: Parameters<typeof observeApprovals>[0], { spec }: DocumentOf<'Approval'>, principals: KeyRing): KeyRing {
  const rings = spec.type !== 'change' || loaded === undefined ? [] : rootKeysFor(spec.changes ?? [], loaded.state, batch.state, batch.openPgp);
  return rings.length === 0 ? principals : ringWith(new Map([principals, ...rings].flatMap((ring) => [...ring])), batch.openPgp);
}

/**
 * T31: one person's junk neither fills the log nor makes a decision too large to be recorded. Nobody else's approvals are touched by it, and what was signed
 * with one key does not silence another: a thief would take more than the key.
 */
function isBeyondLimit(o: Observed['observation'], state: LogState, counts: Map<string, number>): boolean {
  const beyond = takesBack(o, state) ? [] : companiesOf(o, state).filter(({ name, approvals, most = limits.approvalsPerPerson }) => {
    const key = `${name} ${o.principal} ${o.fingerprint} ${o.action}`;
    const before = counts.get(key) ?? inLog(o, approvals(), state);
    counts.set(key, before + 1);
    return before >= most;
  });
  return beyond.length > 0;
}

/** By digest; what takes something back after what it takes back. */
function byTurn(a: Observed, b: Observed): number {
  const isLater = ({ observation }: Observed): number => (observation.action === 'withdraw' ? 1 : 0);
  return isLater(a) - isLater(b) || compareText(a.observation.artifact, b.observation.artifact);
}

/** T23: what takes back a yes that is in the log is no junk, however much of that there is under the same name. There are never more of these than yes. */
function takesBack({ action, principal, approves, subject }: Observed['observation'], state: LogState): boolean {
  if (action !== 'withdraw') return false;
  const byDigest = { change: state.changeApprovals, rewrite: state.rewriteApprovals, review: state.reviewApprovals, promotion: null }[approves.type];
  const all = byDigest !== null ? (byDigest.get(approves.digest) ?? []) : subject === null ? [] : appStateOf(state, subject.environment, subject.application).approvals;
  const said = all.flatMap((artifact) => state.approvals.get(artifact) ?? []).filter((seen) => seen.principal === principal && seen.approves.digest === approves.digest);
  return said.filter((seen) => seen.action === 'approve').length > said.filter((seen) => seen.action === 'withdraw').length;
}

type Company = { readonly name: string; readonly approvals: () => readonly Digest[]; readonly most?: number };

/**
 * What is counted together with this one. One change digest needs one word of a person; nobody needs to say more about all rewrites, or all reviews, that
 * wait. Changes can be thought up without end, so what one key says about all of them that never came into force is counted as well.
 */
function companiesOf({ approves, subject }: Observed['observation'], state: LogState): readonly Company[] {
  if (approves.type === 'rewrite') return [{ name: 'rewrite', approvals: () => [...state.rewriteApprovals.values()].flat() }];
  if (approves.type === 'review') return [{ name: 'review', approvals: () => [...state.reviewApprovals.values()].flat() }];
  if (approves.type === 'change') {
    return [
      { name: approves.digest, approvals: () => state.changeApprovals.get(approves.digest) ?? [] },
      { name: 'change', approvals: () => [...state.changeApprovals.values()].flat(), most: limits.changeApprovalsPerKey },
    ];
  }
  if (subject === null) return [];
  const { environment, application } = subject;
  return [{ name: `${environment}/${application}`, approvals: () => appStateOf(state, environment, application).approvals }];
}

function inLog({ principal, fingerprint, action }: Observed['observation'], approvals: readonly Digest[], state: LogState): number {
  return approvals.filter((artifact) => {
    const seen = state.approvals.get(artifact);
    return seen?.principal === principal && seen.fingerprint === fingerprint && seen.action === action;
  }).length;
}

/** Observations of every signature by a principal in force that is new to the log; null when no principal signed. */
function observationsOf(document: DocumentOf<'Approval'>, ring: KeyRing, state: LogState): readonly Observed[] | null {
  const digest = documentDigest(document);
  const { environment, application, type, action, digest: approves } = document.spec;
  const result: Observed[] = [];
  let known = false;
  for (const signature of document.signatures ?? []) {
    const single = { ...document, signatures: [signature] };
    const [signer] = signersOf(single, 'stella-approval', ring);
    const holder = signer === undefined ? undefined : ring.get(signer.fingerprint);
    if (signer === undefined || holder === undefined) continue;
    known = true;
    if (state.approvalKeys.has(approvalKey(digest, signer.fingerprint))) continue;
    const bytes = canonicalBytes(single as unknown as JsonObject);
    const subject = environment === undefined || application === undefined ? null : { environment, application };
    const observation = {
      type: 'approval', action, document: digest, artifact: digestOfBytes(bytes), approves: { type, digest: approves }, subject,
      principal: holder.principal.metadata.name, fingerprint: signer.fingerprint, payload: signer.payload,
    } as const;
    result.push({ observation, bytes });
  }
  return known ? result : null;
}

/** Approvals that lie on the target branch; after the first pass only those that changed. */
export function approvalsOnTip(pass: Pass): readonly DocumentOf<'Approval'>[] {
  const { state, changedKeys } = pass.loaded;
  return changedKeys.flatMap((key) => {
    const entry = key.startsWith('Approval/') ? state.usable.Approval.get(key) : undefined;
    return entry === undefined ? [] : [entry.document as unknown as DocumentOf<'Approval'>];
  });
}

/** Approvals that commits carry with their message, each with the document that lies beside it. */
export function approvalsByCommits(commits: readonly { readonly raw: Uint8Array; readonly documents: readonly DocumentOf<'Approval'>[] }[]): readonly DocumentOf<'Approval'>[] {
  return commits.flatMap(({ raw, documents }) => {
    const named = approvedByCommit(raw);
    const document = named === null ? undefined : documents.find((one) => documentDigest(one) === named);
    return document === undefined ? [] : [carriedByCommit(document, raw)];
  });
}

/**
 * Documents that lie below a folder of a branch that many may push to. A branch that cannot be read holds none: whoever made it must keep nobody
 * else's word, and no stop, from being heard (T24, T31).
 */
export async function readFolder(reader: GitReader, parser: DocumentParser, commit: CommitId, { under, most }: { readonly under: string; readonly most: number }): Promise<readonly SourceDocument[]> {
  try {
    const { entries } = await reader.readTree(commit, { under });
    const files = await parseChanges(reader, parser, entries.slice(0, most).map((e) => ({ path: e.path, oldBlob: null, newBlob: e.blob, oldMode: null, newMode: e.mode })));
    return files.flatMap(({ parsed }) => parsed?.documents ?? []);
  } catch (cause) {
    if (isUnreadable(cause)) return [];
    throw cause;
  }
}

/** What somebody pushed is too much, or is not what its name says. */
export function isUnreadable(cause: unknown): boolean {
  return cause instanceof GitError && ['LimitExceeded', 'ObjectMissing', 'ObjectCorrupt'].includes(cause.code);
}

/** A branch on which somebody left approvals, and what lies on it. */
export type ApprovalBranch = { readonly ref: string; readonly commit: CommitId; readonly documents: readonly DocumentOf<'Approval'>[] };

/**
 * Reads approval branches at the tips that were fetched. Only files below `approvals/` are looked at, so a branch that grew
 * out of the target branch costs no more than one that did not.
 * @param branches no more than `limits.approvalBranches` of them are read
 */
export async function readApprovalBranches(reader: GitReader, parser: DocumentParser, branches: readonly { readonly ref: string; readonly commit: CommitId }[]): Promise<readonly ApprovalBranch[]> {
  const read: ApprovalBranch[] = [];
  for (const { ref, commit } of branches.slice(0, limits.approvalBranches)) {
    const files = await readFolder(reader, parser, commit, { under: 'approvals', most: limits.approvalsPerBranch });
    const documents = files.flatMap(({ document }) => (document.kind === 'Approval' ? [document] : []));
    read.push({ ref, commit, documents: documents.slice(0, limits.approvalsPerBranch) });
  }
  // The commit at the tip of a branch may approve with its message what lies there.
  const raw = await reader.readCommits(read.map(({ commit }) => commit));
  return read.map((branch) => {
    const object = raw.get(branch.commit);
    return object?.ok === true ? { ...branch, documents: [...branch.documents, ...approvalsByCommits([{ raw: object.bytes, documents: branch.documents }])] } : branch;
  });
}
