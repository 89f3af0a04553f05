import { OpenPgpUnavailable, type OpenPgpVerifier } from '../commit/openpgp.ts';
import { parseCanonicalJson, type JsonObject } from '../model/canonical-json.ts';
import { digestOf, digestOfBytes, type Digest } from '../model/digest.ts';
import { documentDigest, type AnyDocument, type DocumentOf } from '../model/documents.ts';
import { parseInstant, type InstantMs } from '../model/instant.ts';
import { limits } from '../model/limits.ts';
import { preimageDigest, type Lock, type Operation, type OrderOperation, type Plan, type PlanTarget, type Runs } from '../model/preimages.ts';
import { ballotOf, type Ballot } from '../decision/ballot.ts';
import { earlier, instantText, instantTextOf, NEVER, type InstantText } from '../decision/instants.ts';
import { approvalsGate } from '../decision/gate/approvals.ts';
import { freezeGate, type FreezeGate } from '../decision/gate/freeze.ts';
import { separationGate } from '../decision/gate/separation.ts';
import { DEFAULT_FALL_BACK_SECONDS } from '../decision/build-input.ts';
import { freezeFacts } from '../decision/freeze-facts.ts';
import { judgeApprovals, type ApprovalCandidate } from '../decision/judge-approvals.ts';
import type { DecisionInput } from '../decision/types.ts';
import { allInForce, inForceOf, rootOf, type LogState } from '../evidence/log-state.ts';
import { readRecord, serviceKeys } from '../evidence/record-codec.ts';
import type { EvidenceRecord, PromotionDecisionPredicate } from '../evidence/records.ts';
import { signersOf, verifyDocumentsTogether } from '../trust/embedded-signers.ts';
import { actingFor, audienceOf, verifyIdentityToken, type ActingFor } from '../trust/identity-token.ts';
import { keyRingIn, type KeyRing } from '../trust/key-ring.ts';
import { findRequesters, type TouchingCommit } from '../trust/requesters.ts';
import { runsFitLock } from '../release/lock.ts';
import { PREVIOUS_STICKER, STICKER } from '../release/sticker.ts';
import { decodeBundle, type OrderBundle } from './bundle.ts';
import { foldChanges, headerFault, type FoldedChanges, type SeenChange } from './fold-changes.ts';
import { proveGates } from './prove-gates.ts';
import { proveExtension, provePromotion, type ProvenPromotion } from './prove-promotion.ts';
import { readShown, Refused, requireDigest, type OrderRefusal, type Shown } from './refused.ts';

/** What the agent remembers of one (environment, application, target). */
export type LastOrder = { readonly generation: number; readonly promotionDigest: Digest; readonly try: number };
export type AgentMemory = {
  /** The last protected change it has accepted: record and envelope digest. A shorter or other chain is refused. */
  readonly protectedChange: SeenChange | null;
  /** The last order of each of its targets that it began for one environment and application. */
  readonly lastOrders: (environment: string, application: string) => readonly (LastOrder & { readonly target: string })[];
  /** Whether it began a proven order that made exactly this run there. */
  readonly hasRun: (environment: string, application: string, runs: Digest) => boolean;
};

export type ProvenOrder = {
  readonly operation: OrderOperation;
  readonly environment: string;
  readonly application: string;
  readonly release: string | null;
  readonly generation: number;
  readonly promotionDigest: Digest;
  readonly try: number;
  readonly target: PlanTarget;
  /** null: nothing may run there (removal, or a fallback to nothing). */
  readonly runs: Runs | null;
  readonly artifacts: ReadonlyMap<Digest, Uint8Array>;
  /** Bytes of the version sticker as the decision's record names it; null for a removal, and for a fallback to nothing. */
  readonly sticker: Uint8Array | null;
  readonly notAfter: string;
  /** False: no approvals protect this environment; the agent believed the reconciler. */
  readonly quorumProven: boolean;
  /** To be remembered: the last protected change that came with the order. */
  readonly protectedChange: SeenChange;
};
export type ProofResult = { readonly ok: true; readonly work: ProvenOrder } | { readonly ok: false; readonly code: OrderRefusal; readonly message: string };

/**
 * What an agent proves before it runs an order, from the pinned genesis alone. The reconciler is not believed for anything
 * that is checked here; what cannot be proven is listed in TRUST "What an agent proves, and what it cannot".
 * @param p.pin log id that was pinned when the agent was set up (T13)
 */
export function proveOrder(p: { readonly bundle: Uint8Array; readonly pin: Digest; readonly agent: string; readonly memory: AgentMemory; readonly now: InstantMs; readonly openPgp: OpenPgpVerifier }): ProofResult {
  try {
    const bundle = decodeBundle(p.bundle);
    if (bundle === null) throw new Refused('BundleMalformed', 'the bundle cannot be read');
    return { ok: true, work: prove(bundle, p) };
  } catch (cause) {
    if (cause instanceof Refused) return { ok: false, code: cause.code, message: cause.message };
    if (cause instanceof OpenPgpUnavailable) throw cause;
    // A member of an unexpected shape: refuse, whatever it was (T12).
    return { ok: false, code: 'BundleMalformed', message: `the bundle cannot be read: ${String(cause)}` };
  }
}

type Params = Parameters<typeof proveOrder>[0];

function prove(bundle: OrderBundle, p: Params): ProvenOrder {
  const artifact = (digest: Digest): Uint8Array | undefined => bundle.artifacts.get(digest);
  const { state, stateBefore, statesBefore, protectedChange } = foldShown(bundle, p, artifact);
  const { record, predicate } = readAllow(bundle, state, stateBefore);
  const { order } = bundle;
  checkOperation(order.operation, predicate.operation);
  const input = readShown<DecisionInput>(artifact, predicate.input, 'decision input');
  if (input.environment !== predicate.environment || input.application !== predicate.application || input.asOf !== predicate.decidedAt) {
    throw new Refused('PromotionDigestMismatch', 'the decision and its input speak of different things');
  }
  const plan = readShown<Plan>(artifact, requireDigest(predicate.sources.plan), 'plan');
  checkPlan(predicate, plan, artifact, state);
  const target = checkTarget(state, plan, predicate, order.target, p.agent);
  const promotion = predicate.operation === 'extend' ? proveExtension(state, predicate, input, plan, artifact) : provePromotion(state, predicate, { input, plan, memory: p.memory, now: p.now, operation: order.operation, history: statesBefore(record.header.seq) });
  const approvedUntil = checkQuorum(state, bundle, { p: predicate, input, plan, promotion, artifact, params: p });
  checkFreshness(predicate, bundle, p, target.name, approvedUntil);
  if (order.operation === 'fall-back') checkFallBack(state, predicate, p.now);
  const runs = runsOf(bundle, predicate, input, plan, artifact);
  for (const file of [...(runs?.files ?? []), ...(runs?.artifacts ?? [])]) {
    if (artifact(file.digest) === undefined) throw new Refused('ArtifactMissing', `${file.path} ${file.digest} did not come with the order`);
  }
  const sticker = stickerOf(predicate, order.operation, artifact);
  return {
    operation: order.operation, environment: predicate.environment, application: predicate.application, release: predicate.release,
    generation: predicate.decision.generation, promotionDigest: requireDigest(predicate.decision.promotionDigest), try: order.try, target, runs, artifacts: bundle.artifacts,
    sticker, notAfter: predicate.decision.notAfter ?? record.header.asOf, quorumProven: promotion.clauses.length > 0, protectedChange,
  };
}

/** An order does what the decision says. An extension reaches targets where nothing ran before, so it falls back to nothing. */
function checkOperation(ordered: OrderOperation, decided: Operation): void {
  const fits = ordered === decided || ordered === 'health-check' || (ordered === 'fall-back' && decided !== 'extend');
  if (!fits) throw new Refused('OperationMismatch', `the order says ${ordered}, the decision ${decided}`);
}

type Folded = Pick<FoldedChanges, 'state' | 'stateBefore' | 'statesBefore'> & { readonly protectedChange: SeenChange };

/** What is in force by the changes that came with the order (T13–T16). */
function foldShown(bundle: OrderBundle, p: Params, artifact: Shown): Folded {
  const folded = foldChanges(bundle.changes, { artifact, openPgp: p.openPgp, pin: p.pin, known: p.memory.protectedChange });
  if (!folded.ok) throw new Refused(folded.code, folded.message);
  if (folded.last === null) throw new Refused('ChangeNotEntitled', 'the order came without genesis');
  return { ...folded, protectedChange: folded.last };
}

function checkHeader(state: LogState, record: EvidenceRecord): void {
  const fault = headerFault(state, record);
  if (fault !== null) throw new Refused(fault.code, fault.message);
}

/**
 * The allow must have been made under what was in force at its place in the log. Whether it still holds is judged by everything
 * that came with the order: a decision that is dated back does not bring back people and rules that are no more.
 */
function readAllow(bundle: OrderBundle, state: LogState, stateBefore: Folded['stateBefore']): { record: EvidenceRecord; predicate: PromotionDecisionPredicate } {
  if (digestOfBytes(bundle.decision) !== bundle.order.decision) throw new Refused('NotAnAllow', 'the order names another decision');
  const result = readRecord(bundle.decision, serviceKeys(rootOf(state), 'decisions'));
  if (!result.ok) throw new Refused('DecisionUnsigned', result.message);
  if (result.record.type !== 'promotion-decision' || result.record.predicate.decision.outcome !== 'allow') throw new Refused('NotAnAllow', 'the order rests on no allow');
  checkHeader(stateBefore(result.record.header.seq), result.record);
  return { record: result.record, predicate: result.record.predicate };
}

/** The plan is the decision's, does what the decision says, and runs what the lock names: digests, files and commands alike. */
function checkPlan(p: PromotionDecisionPredicate, plan: Plan, artifact: Shown, state: LogState): void {
  if (preimageDigest(plan) !== p.sources.plan || (plan.operation === 'break-glass' ? 'promote' : plan.operation) !== p.operation || (plan.operation === 'break-glass') !== (plan.breakGlass !== null && p.operation !== 'extend')) throw new Refused('PlanMismatch', 'the plan is not that of the decision');
  const { runs } = plan;
  // A promotion of nothing would be a removal that is not called one.
  if (p.operation === 'remove' ? runs !== null || p.runs !== null || p.lock !== null : runs === null || p.lock === null) {
    throw new Refused('PlanMismatch', `the plan does not say what a ${p.operation} says`);
  }
  if (runs === null || p.lock === null) return;
  if (preimageDigest(runs) !== p.runs || runs.lock !== p.lock || runs.environment !== p.environment || runs.application !== p.application) {
    throw new Refused('PlanMismatch', 'the plan runs something else than the decision');
  }
  const lock = readShown<Lock>(artifact, p.lock, 'lock');
  if (lock.logId !== state.logId || lock.application !== p.application || lock.release !== p.release || !runsFitLock(runs, lock)) {
    throw new Refused('PlanMismatch', 'the plan runs something else than the lock names');
  }
}

/** The plan's target names this agent, is the one in force, and may be used by this environment and application (T17). */
function checkTarget(state: LogState, plan: Plan, predicate: PromotionDecisionPredicate, name: string, agent: string): PlanTarget {
  const target = plan.targets.find((t) => t.name === name);
  const inForce = inForceOf(state, 'Target', name);
  if (target === undefined || inForce === null) throw new Refused('TargetMismatch', `target ${name} is not in the plan or not in force`);
  const { spec } = inForce;
  const same = preimageOfTarget(target) === preimageOfTarget({ name, type: spec.type, agent: spec.agent, connection: spec.connection as JsonObject });
  if (!same || target.agent !== agent) throw new Refused('TargetMismatch', `target ${name} is not this agent's, or differs from the one in force`);
  if (!spec.environments.includes(predicate.environment) || !spec.applications.includes(predicate.application)) {
    throw new Refused('TargetMismatch', `target ${name} may not be used by ${predicate.environment}/${predicate.application}`);
  }
  const self = inForceOf(state, 'Agent', agent);
  if (self === null) throw new Refused('TargetMismatch', `agent ${agent} is not in force`);
  // T24: whatever is asked of it, going back included.
  if (self.spec.suspended !== undefined) throw new Refused('AgentSuspended', `agent ${agent} is suspended: ${self.spec.suspended.reason}`);
  return target;
}

function preimageOfTarget(t: PlanTarget): Digest {
  return digestOf({ type: 'stella/plan-target/v1', name: t.name, targetType: t.type, agent: t.agent, connection: t.connection });
}

type QuorumQuestion = { readonly p: PromotionDecisionPredicate; readonly input: DecisionInput; readonly plan: Plan; readonly promotion: ProvenPromotion; readonly artifact: Shown; readonly params: Params };

/**
 * The quorum over the recomputed digest, excluding every requester shown. Nothing of it is taken from the decision.
 * @returns when the first of the approvals that count expires: whoever signs decisions may date them, but not outlive a yes (T23)
 */
function checkQuorum(state: LogState, bundle: OrderBundle, q: QuorumQuestion): InstantText {
  const { p, input, plan, promotion: { clauses } } = q;
  const freezes = freezeFacts(state, { environment: p.environment, application: p.application, release: p.release, agents: plan.targets.map((t) => t.agent) });
  const hold = promotionOf(p, q.artifact).spec.hold ?? null;
  const closes = proveGates(state, p, { plan, hold, operation: bundle.order.operation, now: q.params.now });
  if (clauses.length === 0 && freezes.length === 0) return closes;
  const ring = keyRingIn(state, q.params.openPgp);
  const requesters = requestersOf(state, q, ring);
  const judged = judgeApprovals({
    candidates: candidatesOf(bundle, q, ring), ring, promotionDigest: p.decision.promotionDigest, environment: p.environment, application: p.application, clauses, freezes, requesters: requesters.people, asOf: p.decidedAt,
    principals: new Map(allInForce(state, 'Principal').map((doc) => [doc.metadata.name, doc.spec])),
  });
  const own: DecisionInput = { ...input, clauses, freezes: judged.freezes, requesters, approvals: judged.approvals, rejected: judged.rejected, approvers: judged.approvers };
  const ballot = ballotOf(own, instantTextOf(own.asOf));
  const gate = approvalsGate(clauses, ballot);
  const missing = [...gate.results, ...separationGate(clauses, ballot)].find((g) => g.outcome !== 'passed');
  if (missing !== undefined) throw new Refused('QuorumNotMet', `${missing.subject}: ${missing.code}${reasonsOf(judged.rejected)}`);
  const freeze = checkFreezes(own, bundle.order.operation, ballot, q.params.now);
  return [...gate.counted, ...freeze.counted].reduce((end, vote) => earlier(end, vote.expiresAt), earlier(freeze.begins, closes));
}

const NAMES_IN_REASON = 10;
function reasonsOf(rejected: DecisionInput['rejected']): string {
  return rejected.length === 0 ? '' : ` (${rejected.slice(0, NAMES_IN_REASON).map(({ principal, code }) => `${principal}: ${code}`).join(', ')})`;
}

/** Everybody who is shown to have asked, and whoever the decision names besides. */
function requestersOf(state: LogState, { p, promotion, artifact }: QuorumQuestion, ring: KeyRing): DecisionInput['requesters'] {
  const document = promotionOf(p, artifact);
  const commits: TouchingCommit[] = p.sources.commits.map((c) => {
    const raw = artifact(c.artifact);
    if (raw === undefined) throw new Refused('ArtifactMissing', `commit ${c.commit} did not come with the order`);
    return { commit: c.commit, raw, touched: c.touched };
  });
  const shown = findRequesters({
    logId: state.logId, promotion: document, releaseSpec: p.sources.releaseSpec, spentIntents: [], commits, actingFor: actingForShown(state, p, artifact), ring, lockUnchanged: p.lock !== null && p.lock === promotion.replaces.lock, observedAt: parseInstant(p.decidedAt) ?? 0,
  });
  return { people: [...new Set([...shown.people, ...promotion.requesters.people])].sort(), unknown: Math.max(shown.unknown, promotion.requesters.unknown) };
}

/** T19: for whom a service wrote the release, by the token that came with the order. When it was first seen is a recorded fact, so its times are not judged. */
function actingForShown(state: LogState, { sources: { onBehalfOf, releaseSpec } }: PromotionDecisionPredicate, artifact: Shown): ActingFor | null {
  if (onBehalfOf === null || releaseSpec === null) return null;
  const bytes = artifact(onBehalfOf);
  if (bytes === undefined) throw new Refused('ArtifactMissing', `the token ${onBehalfOf} did not come with the order`);
  const verdict = verifyIdentityToken(state, { token: new TextDecoder().decode(bytes), audience: audienceOf(releaseSpec), observedAt: null });
  return verdict.ok ? actingFor(state, verdict) : null;
}

function candidatesOf(bundle: OrderBundle, q: QuorumQuestion, ring: KeyRing): readonly ApprovalCandidate[] {
  const seenAt = new Map(q.input.approvals.map((a) => [a.document, a.observedAt]));
  const documents = bundle.approvals.map((bytes) => parseCanonicalJson(bytes) as AnyDocument | undefined).filter((document): document is DocumentOf<'Approval'> => document?.kind === 'Approval' && document.spec.type === 'promotion');
  verifyDocumentsTogether(documents, ring);
  return documents.flatMap((document): ApprovalCandidate[] => {
    const digest = documentDigest(document);
    const observedAt = observedBy(q, seenAt.get(digest) ?? q.p.decidedAt);
    return signersOf(document, 'stella-approval', ring).flatMap(({ fingerprint, payload }) => {
      const holder = ring.get(fingerprint);
      if (holder === undefined) return [];
      const { action, digest: approves, expires, despite, excepts } = document.spec;
      return [{ principal: holder.principal.metadata.name, fingerprint, document: digest, payload, action, approves, expires: expires ?? null, despite: despite ?? [], excepts: excepts ?? [], observedAt }];
    });
  });
}

/**
 * T9 judges a key by when the log first saw what it signed. That moment is a recorded fact, which an agent cannot prove: whoever signs
 * records could date an approval back to before the key was retired or expired. So the agent sees an approval now, within the skew of clocks;
 * it takes the log's word only for a promotion whose quorum it has itself proven before.
 */
function observedBy({ p, promotion, params }: QuorumQuestion, claimed: string): string {
  const known = promotion.approvedRules.length > 0 && params.memory.lastOrders(p.environment, p.application).some((last) => last.promotionDigest === p.decision.promotionDigest);
  if (known) return claimed;
  const skewMs = limits.clockSkewSeconds * 1000;
  const at = parseInstant(claimed) ?? params.now;
  return instantText(Math.min(Math.max(at, params.now - skewMs), params.now + skewMs));
}

/**
 * T24: no stop that came with the order reaches it. Calendars are judged when the decision was made, and the order holds until the next one begins;
 * so a decision that is dated into the future would slip past one. Going back is never stopped (T28).
 */
function checkFreezes(own: DecisionInput, operation: OrderOperation, ballot: Ballot, now: InstantMs): FreezeGate {
  const asOf = parseInstant(own.asOf);
  const freeze = freezeGate(own, asOf, ballot);
  if (operation === 'fall-back' || operation === 'health-check') return { ...freeze, begins: NEVER };
  const stopped = freeze.results.find(({ outcome }) => outcome !== 'passed');
  if (stopped !== undefined) throw new Refused(stopped.code === 'ReleaseSuspended' || stopped.code === 'AgentSuspended' ? stopped.code : 'Frozen', `${stopped.subject} stops it: ${stopped.code}`);
  const isAhead = asOf === null || asOf > now + limits.clockSkewSeconds * 1000;
  if (isAhead && own.freezes.some(({ calendar }) => calendar !== null)) throw new Refused('Frozen', `the decision is dated ${own.asOf}, which is to come, and a calendar of freezes cannot be judged by it`);
  return freeze;
}

/** The Promotion whose requester was excluded: one that asks for another release or place would show another requester. */
function promotionOf(p: PromotionDecisionPredicate, artifact: Shown): DocumentOf<'Promotion'> {
  const promotion = readShown<AnyDocument>(artifact, p.sources.promotion, 'promotion');
  const asks = promotion.kind === 'Promotion' && promotion.metadata.name === `${p.environment}/${p.application}` && (promotion.spec.release ?? null) === p.release;
  if (!asks || (promotion.spec.state === 'absent') !== (p.operation === 'remove')) throw new Refused('PromotionDigestMismatch', 'the promotion that came with the order asks for something else');
  return promotion;
}

function checkFreshness(p: PromotionDecisionPredicate, bundle: OrderBundle, params: Params, target: string, approvedUntil: InstantText): void {
  const notAfter = p.decision.notAfter === null ? null : parseInstant(p.decision.notAfter);
  const holdsUntil = notAfter === null ? null : Math.min(notAfter, parseInstant(approvedUntil) ?? notAfter);
  // T32: the agent's own clock judges notAfter alone, with bounded skew. A fallback must work after the allow has lapsed (T28).
  if (bundle.order.operation !== 'fall-back' && (holdsUntil === null || params.now > holdsUntil + limits.clockSkewSeconds * 1000)) {
    throw new Refused('AllowExpired', `the allow held until ${p.decision.notAfter ?? 'never'}`);
  }
  const { generation, promotionDigest } = p.decision;
  const seen = params.memory.lastOrders(p.environment, p.application);
  // What another target of this agent has left behind, no target goes back to.
  const newest = seen.reduce((most, one) => Math.max(most, one.generation), 0);
  if (generation < newest) throw new Refused('GenerationOld', `generation ${generation} is older than ${newest}, which this agent has seen of ${p.environment}/${p.application}`);
  const last = seen.find((one) => one.target === target);
  if (last === undefined) return;
  const newer = generation > last.generation || (generation === last.generation && promotionDigest === last.promotionDigest && bundle.order.try > last.try);
  if (!newer) throw new Refused('GenerationOld', `generation ${generation}, try ${bundle.order.try} does not follow generation ${last.generation}, try ${last.try}`);
}

/** T28: a fallback works after its allow has lapsed, but not for ever, and no longer than the environment in force lets it. */
function checkFallBack(state: LogState, p: PromotionDecisionPredicate, now: InstantMs): void {
  const [decided, notAfter, until] = [p.decidedAt, p.decision.notAfter, p.decision.rollbackUntil].map((text) => parseInstant(text ?? ''));
  const seconds = inForceOf(state, 'Environment', p.environment)?.spec.fallBackSeconds ?? DEFAULT_FALL_BACK_SECONDS;
  const end = decided == null || notAfter == null || until == null ? null : Math.min(until, Math.max(decided + seconds * 1000, notAfter));
  if (end === null || now > end + limits.clockSkewSeconds * 1000) throw new Refused('AllowExpired', `it might fall back until ${p.decision.rollbackUntil ?? 'never'}`);
}

/** A promotion runs its plan; a fallback runs exactly what the promotion digest names as replaced (T28); a removal runs nothing. */
function runsOf(bundle: OrderBundle, p: PromotionDecisionPredicate, input: DecisionInput, plan: Plan, artifact: Shown): Runs | null {
  if (bundle.order.operation !== 'fall-back') return plan.runs;
  if (input.state.runs === null) return null;
  const runs = readShown<Runs>(artifact, input.state.runs, 'what ran before');
  if (preimageDigest(runs) !== input.state.runs || runs.lock !== input.state.lock || runs.environment !== p.environment || runs.application !== p.application) {
    throw new Refused('PlanMismatch', 'the fallback is not what ran before');
  }
  return runs;
}

/** The sticker that the decision's record names for this operation; it went into the log with the decision. */
function stickerOf(p: PromotionDecisionPredicate, operation: ProvenOrder['operation'], artifact: Shown): Uint8Array | null {
  const named = p.artifacts.find((a) => a.name === (operation === 'fall-back' ? PREVIOUS_STICKER : STICKER));
  if (named === undefined) {
    if (operation !== 'remove' && operation !== 'fall-back') throw new Refused('ArtifactMissing', `the decision names no ${STICKER}`);
    return null;
  }
  const bytes = artifact(named.digest);
  if (bytes === undefined) throw new Refused('ArtifactMissing', `${named.name} did not come with the order`);
  return bytes;
}
