import type { Digest } from '../model/digest.ts';
import type { ApprovalAction, PrincipalSpec, RoleBinding } from '../model/documents.ts';
import { parseInstant, type InstantMs } from '../model/instant.ts';
import { compareText } from '../model/names.ts';
import type { Clause } from '../model/preimages.ts';
import { keyFault, rejectionKeyFault, type KeyRing } from '../trust/key-ring.ts';
import { isWithdrawn, withdrawalsIn, type Withdrawals } from '../trust/withdrawals.ts';
import type { Approver, CountedApproval, FreezeFact, RejectCode, RejectedApproval } from './types.ts';

/** An Approval of a known principal, its signature verified, as our log first observed it. */
export type ApprovalCandidate = {
  readonly principal: string;
  /** `SHA256:…` of the key that signed. */
  readonly fingerprint: string;
  readonly document: Digest;
  /** Digest of the signed payload (T7). */
  readonly payload: Digest;
  readonly action: ApprovalAction;
  /** The promotion digest that the document names. */
  readonly approves: Digest;
  readonly expires: string | null;
  /** Documents of withdrawals that it stands in spite of. */
  readonly despite: readonly Digest[];
  /** Freezes in spite of which the promotion may run, as the document says. */
  readonly excepts: readonly string[];
  readonly observedAt: string;
};

export type ApprovalQuestion = {
  readonly candidates: readonly ApprovalCandidate[];
  /** null while there is no lock or plan: then no candidate can be for it. */
  readonly promotionDigest: Digest | null;
  readonly environment: string;
  readonly application: string;
  /** Principals in force by name (T14), and their keys. */
  readonly principals: ReadonlyMap<string, PrincipalSpec>;
  readonly ring: Pick<KeyRing, 'get'>;
  readonly clauses: readonly Clause[];
  /** Whose holders may have a say besides: freezes name who lets a promotion through. */
  readonly freezes: readonly FreezeFact[];
  readonly requesters: readonly string[];
  readonly asOf: string;
};

export type ApprovalVerdicts = {
  /** Those of the question, each with the approvals that say it may run in spite of it. */
  readonly freezes: readonly FreezeFact[];
  readonly approvals: readonly CountedApproval[];
  readonly rejected: readonly RejectedApproval[];
  readonly approvers: readonly Approver[];
};

/**
 * Which approvals count for one promotion, and why the others do not (T31). Each candidate but a withdrawal gets exactly one verdict;
 * equal verdicts on one document stand once, so that the same approval in another wrapping changes nothing. Lists are sorted.
 */
export function judgeApprovals(question: ApprovalQuestion): ApprovalVerdicts {
  const approvers = approversOf(question);
  const bench = benchOf(question, approvers);
  const approvals: CountedApproval[] = [];
  const rejected = new Map<string, RejectedApproval>();
  const seen = new Set<string>();
  for (const candidate of [...question.candidates].sort(byObservation)) {
    const { principal, document, payload, action, observedAt, expires } = candidate;
    if (action === 'withdraw') continue; // it says what other candidates are worth
    const payloadKey = `${principal}\n${payload}`;
    const code = seen.has(payloadKey) ? 'Duplicate' : faultOf(candidate, bench); // T7
    if (code === null) {
      seen.add(payloadKey);
      approvals.push({ principal, document, payload, action, observedAt, expires });
    } else rejected.set(`${principal}\n${document}\n${code}`, { principal, document, code });
  }
  // T24: of who is suspended only a no still stands.
  const heard = new Set(approvals.map(({ principal }) => principal));
  const present = approvers.filter(({ principal }) => question.principals.get(principal)?.suspended === undefined || heard.has(principal));
  return { approvals: approvals.sort(byCounted), rejected: [...rejected.values()].sort(byRejected), approvers: present, freezes: withExceptions(question, approvals) };
}

function withExceptions({ freezes, candidates }: ApprovalQuestion, approvals: readonly CountedApproval[]): readonly FreezeFact[] {
  const yes = new Set(approvals.flatMap(({ action, document }) => (action === 'approve' ? [document] : [])));
  const said = candidates.filter(({ document, excepts }) => excepts.length > 0 && yes.has(document));
  return freezes.map((freeze) => {
    const documents = freeze.except === null ? [] : said.filter(({ excepts }) => excepts.includes(freeze.name)).map(({ document }) => document);
    return { ...freeze, excepts: [...new Set(documents)].sort(compareText) };
  });
}

/**
 * People in force who have a say under some clause or freeze, with the demanded roles they hold for this environment and application
 * (T21). Services are nobody's person (T11).
 */
function approversOf(question: ApprovalQuestion): readonly Approver[] {
  const demands = [...question.clauses, ...question.freezes.flatMap(({ except }) => except ?? [])];
  const demanded = new Set(demands.flatMap(({ roles }) => roles.map(({ role }) => role)));
  const anybody = demands.some(({ roles }) => roles.length === 0);
  const approvers: Approver[] = [];
  for (const [principal, spec] of question.principals) {
    if (spec.type !== 'person') continue;
    const reaching = (spec.roles ?? []).filter((binding) => demanded.has(binding.role) && reaches(binding, question));
    const roles = [...new Set(reaching.map(({ role }) => role))].sort(compareText);
    if (anybody || roles.length > 0) approvers.push({ principal, roles });
  }
  return approvers.sort((a, b) => compareText(a.principal, b.principal));
}

/** An absent list means everywhere; an empty one means nowhere. */
function reaches(binding: RoleBinding, place: { readonly environment: string; readonly application: string }): boolean {
  const { environments, applications } = binding;
  return (environments?.includes(place.environment) ?? true) && (applications?.includes(place.application) ?? true);
}

/** The question with its lists made ready for look-ups. */
type Bench = {
  readonly question: ApprovalQuestion;
  readonly asOf: InstantMs | null;
  readonly approvers: ReadonlyMap<string, Approver>;
  readonly requesters: ReadonlySet<string>;
  readonly withdrawals: Withdrawals;
};

function benchOf(question: ApprovalQuestion, approvers: readonly Approver[]): Bench {
  const byName = new Map(approvers.map((approver) => [approver.principal, approver]));
  return { question, asOf: parseInstant(question.asOf), approvers: byName, requesters: new Set(question.requesters), withdrawals: withdrawalsIn(question.candidates) };
}

function faultOf(candidate: ApprovalCandidate, bench: Bench): RejectCode | null {
  const { question } = bench;
  if (candidate.approves !== question.promotionDigest) return 'OtherDigest';
  const principal = question.principals.get(candidate.principal);
  if (principal !== undefined && principal.type !== 'person') return 'NotAPerson'; // T11
  const keyCode = signingKeyFault(candidate, question.ring);
  if (principal === undefined || keyCode !== null) return keyCode ?? 'KeyNotActive'; // T12
  if (isExpired(candidate, bench.asOf)) return 'Expired';
  if (candidate.action === 'approve' && isWithdrawn(bench.withdrawals, candidate)) return 'Withdrawn'; // T23
  if (question.clauses.length === 0) return null;
  const approver = bench.approvers.get(candidate.principal);
  if (approver === undefined) return 'RoleMissing'; // T21
  return isBarredRequester(candidate, approver, bench) ? 'Requester' : null;
}

/** T8, T9: the key must be this principal's in force, and good when the log first saw what it signed. */
function signingKeyFault(candidate: ApprovalCandidate, ring: ApprovalQuestion['ring']): RejectCode | null {
  const holder = ring.get(candidate.fingerprint);
  const observedAt = parseInstant(candidate.observedAt);
  if (holder === undefined || holder.principal.metadata.name !== candidate.principal || observedAt === null) return 'KeyNotActive';
  return candidate.action === 'approve' ? keyFault(holder, observedAt) : rejectionKeyFault(holder, observedAt);
}

/** A malformed time ends a yes and never ends a no. */
function isExpired(candidate: ApprovalCandidate, asOf: InstantMs | null): boolean {
  if (candidate.expires === null) return false;
  const expiresAt = parseInstant(candidate.expires);
  if (expiresAt === null || asOf === null) return candidate.action === 'approve';
  return asOf >= expiresAt;
}

/** T19: a requester's yes counts only under a clause that lets authors approve. Their no always counts. */
function isBarredRequester(candidate: ApprovalCandidate, approver: Approver, bench: Bench): boolean {
  if (candidate.action !== 'approve' || !bench.requesters.has(candidate.principal)) return false;
  const theirs = bench.question.clauses.filter((clause) => clause.roles.length === 0 || clause.roles.some(({ role }) => approver.roles.includes(role)));
  return theirs.every((clause) => clause.authorNeverApproves);
}

const byObservation = (a: ApprovalCandidate, b: ApprovalCandidate): number =>
  compareText(a.observedAt, b.observedAt) || compareText(a.principal, b.principal) || compareText(a.payload, b.payload) ||
  compareText(a.document, b.document) || compareText(a.fingerprint, b.fingerprint) || compareText(JSON.stringify(a), JSON.stringify(b));
const byCounted = (a: CountedApproval, b: CountedApproval): number =>
  compareText(a.principal, b.principal) || compareText(a.document, b.document) || compareText(a.payload, b.payload);
const byRejected = (a: RejectedApproval, b: RejectedApproval): number =>
  compareText(a.principal, b.principal) || compareText(a.document, b.document) || compareText(a.code, b.code);
