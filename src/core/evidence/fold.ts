import { OpenPgpUnavailable, type OpenPgpVerifier } from '../commit/openpgp.ts';
import type { BucketMap } from '../model/bucket-map.ts';
import type { CommitId } from '../model/commit-id.ts';
import { isDigest, type Digest } from '../model/digest.ts';
import { parseCanonicalJson } from '../model/canonical-json.ts';
import { parseInstant } from '../model/instant.ts';
import { preimageDigest, type Plan } from '../model/preimages.ts';
import type { DecisionInput } from '../decision/types.ts';
import { applyProtectedChange } from '../trust/apply-change.ts';
import { audienceOf, verifyIdentityToken } from '../trust/identity-token.ts';
import { applyReview } from '../trust/review.ts';
import { applyAnchor } from '../trust/rewrite.ts';
import { appStateOf, approvalKey, stateKey, type AppState, type Debt, type Held, type LastOutcome, type LogState, type OpenRun, type Place } from './log-state.ts';
import { isDerivedFrom } from '../decision/automatic.ts';
import { lockFitsSpec, withLock } from './add-lock.ts';
import { failuresOf } from './failures.ts';
import { leftAfter } from './left-releases.ts';
import { extendedStanding, isFounded, placesOf, standingOf } from './standing.ts';
import type { DeploymentOutcomePredicate, EvidenceRecord, Observation, PromotionDecisionPredicate, ProtectedChangePredicate, RecordHeader, ReleaseLockPredicate } from './records.ts';

export type FoldCode =
  | 'SeqGap' | 'PrevMismatch' | 'OtherLog' | 'InForceMismatch' | 'TimeWentBack' | 'GenesisOrder' | 'GenesisMismatch' | 'ArtifactMissing' | 'ChangeNotEntitled' | 'StopNotEntitled' | 'LiftedByAffected' | 'RootRefused'
  | 'LockMismatch' | 'LockRewritten' | 'GenerationSkipped' | 'OutcomeWithoutRun' | 'ExtensionUnfounded' | 'DerivationUnfounded' | 'TokenUnproven' | 'RewriteNotAccepted' | 'ReviewNotMet' | 'ApprovalUnobserved' | 'RulesUnknown' | 'Malformed';
export type FoldResult = { readonly ok: true; readonly state: LogState } | { readonly ok: false; readonly code: FoldCode; readonly message: string };

/** Bytes of an artifact by its digest; undefined when it is not there. */
export type ArtifactLookup = (digest: Digest) => Uint8Array | undefined;
/** What judging reads besides records: the log's artifacts, and the cryptography that the core does not do itself. */
export type LogSources = { readonly artifact: ArtifactLookup; readonly openPgp: OpenPgpVerifier };

const refuse = (code: FoldCode, message: string): FoldResult => ({ ok: false, code, message });

/**
 * Applies one record whose envelope was verified. Checks the chain, the digests of what is in force, and that every
 * protected change was entitled; a record that does not follow is refused and the state stays (T14, T29, T30).
 */
export function applyRecord(state: LogState, record: EvidenceRecord, sources: LogSources): FoldResult {
  const fault = headerFault(state, record.header, record);
  if (fault !== null) return fault;
  const result = applyTotal(state, record, sources);
  if (!result.ok) return result;
  const { header } = record;
  return { ok: true, state: { ...result.state, size: header.seq + 1, head: record.digest, asOf: header.asOf } };
}

function headerFault(state: LogState, header: RecordHeader, record: EvidenceRecord): FoldResult | null {
  if (header.rules !== 1) return refuse('RulesUnknown', `record ${header.seq} asks for rule set ${String(header.rules)}; this engine knows 1`);
  if (header.seq !== state.size) return refuse('SeqGap', `record ${header.seq} where ${state.size} was due`);
  if (header.prev !== state.head) return refuse('PrevMismatch', `record ${header.seq} does not follow the envelope before it`);
  if (header.logId !== state.logId || header.tenant !== state.tenant) return refuse('OtherLog', `record ${header.seq} belongs to another log`);
  if (state.asOf !== null && header.asOf < state.asOf) return refuse('TimeWentBack', `record ${header.seq} is dated before the record it follows`);
  const { root, principals, policy } = state.inForceDigests;
  if (header.root !== root || header.principals !== principals || header.policy !== policy) {
    return refuse('InForceMismatch', `record ${header.seq} was made under other documents than those in force`);
  }
  // EVIDENCE "Order": record 0 is the first tip, record 1 the genesis change.
  const isGenesis = record.type === 'protected-change' && record.predicate.basis === 'genesis';
  const isTip = record.type === 'observation' && record.predicate.type === 'tip';
  if ((header.seq === 0 && !isTip) || (header.seq === 1) !== isGenesis) return refuse('GenesisOrder', `record ${header.seq} breaks the order of genesis`);
  return null;
}

/** A record whose members have another shape than their type says is refused like any other that does not follow. */
function applyTotal(state: LogState, record: EvidenceRecord, sources: LogSources): FoldResult {
  try {
    return applyBody(state, record, sources);
  } catch (cause) {
    if (cause instanceof OpenPgpUnavailable) throw cause;
    return refuse('Malformed', `record ${record.header.seq} cannot be read as ${record.type}: ${String(cause)}`);
  }
}

function applyBody(state: LogState, record: EvidenceRecord, sources: LogSources): FoldResult {
  switch (record.type) {
    case 'observation':
      return applyObservation(state, record.header, record.predicate, sources.artifact);
    case 'protected-change':
      return observedFault(state, record.predicate) ?? applyProtectedChange(state, record.header, record.predicate, sources);
    case 'release-lock':
      return applyLock(state, record.header, record.predicate, sources);
    case 'promotion-decision':
      return applyDecision(state, record, record.predicate, sources.artifact);
    case 'deployment-outcome':
      return applyOutcome(state, record.header, record.predicate);
    case 'review':
      return applyReview(state, record.header, record.predicate, sources);
    case 'anchor':
      return applyAnchor(state, record.header, record.predicate, sources);
  }
}

/** TRUST "Observed at": an approval was recorded before it is used, and that record says when. */
function observedFault(state: LogState, p: ProtectedChangePredicate): FoldResult | null {
  for (const approval of p.approvals) {
    if (approval.carrier === 'embedded' && state.approvals.get(approval.artifact)?.observedAt !== approval.observedAt) {
      return refuse('ApprovalUnobserved', `a change uses approval ${approval.artifact}, which no earlier record observed then`);
    }
  }
  return null;
}

function applyObservation(state: LogState, header: RecordHeader, seen: Observation, artifact: ArtifactLookup): FoldResult {
  const observedAt = header.asOf;
  if (seen.type === 'tip') {
    return { ok: true, state: { ...state, genesisTip: state.genesisTip ?? seen.commit, tip: { ref: seen.ref, commit: seen.commit, observedAt, seq: header.seq, before: state.tip?.commit ?? null } } };
  }
  if (seen.type === 'tag') {
    return { ok: true, state: { ...state, tags: state.tags.set(`${seen.repository}:${seen.tag}`, { digest: seen.digest, observedAt }) } };
  }
  if (artifact(seen.artifact) === undefined) return refuse('ArtifactMissing', `approval ${seen.document} is not in the log`);
  const approvals = state.approvals.set(seen.artifact, { ...seen, observedAt, seq: header.seq });
  const approvalKeys = state.approvalKeys.set(approvalKey(seen.document, seen.fingerprint), seen.artifact);
  const next = { ...state, approvals, approvalKeys };
  if (seen.approves.type === 'change') {
    return { ok: true, state: { ...next, changeApprovals: push(state.changeApprovals, seen.approves.digest, seen.artifact) } };
  }
  if (seen.approves.type === 'rewrite') {
    return { ok: true, state: { ...next, rewriteApprovals: push(state.rewriteApprovals, seen.approves.digest, seen.artifact) } };
  }
  if (seen.approves.type === 'review') {
    return { ok: true, state: { ...next, reviewApprovals: push(state.reviewApprovals, seen.approves.digest, seen.artifact) } };
  }
  if (seen.subject === null) return { ok: true, state: next };
  const app = appStateOf(state, seen.subject.environment, seen.subject.application);
  return { ok: true, state: withApp(next, { ...app, approvals: [...app.approvals, seen.artifact] }) };
}

function push(map: BucketMap<readonly Digest[]>, key: string, value: Digest): BucketMap<readonly Digest[]> {
  return map.set(key, [...(map.get(key) ?? []), value]);
}

function withApp(state: LogState, app: AppState): LogState {
  const { environment, application } = app;
  const key = stateKey(environment, application);
  const openRuns = app.openRun === null ? state.openRuns.delete(key) : state.openRuns.set(key, { environment, application });
  return { ...state, states: state.states.set(key, app), openRuns };
}

function applyLock(state: LogState, header: RecordHeader, p: ReleaseLockPredicate, sources: LogSources): FoldResult {
  const key = `${p.application}/${p.release}`;
  // DESIGN §3: a release is immutable once locked.
  if (state.locks.has(key)) return refuse('LockRewritten', `release ${key} is locked already`);
  if (preimageDigest(p.lock) !== p.lockDigest || p.lock.logId !== state.logId || p.lock.application !== p.application || p.lock.release !== p.release) {
    return refuse('LockMismatch', `the lock of ${key} does not have the digest that its record names`);
  }
  // A channel decides what is promoted by itself, so it is taken from what the release says, and not from anybody's word about it.
  if (!lockFitsSpec(p.lock, p.spec, p.releaseSpec)) return refuse('LockMismatch', `the lock of ${key} does not hold what its release says`);
  if (p.onBehalfOf !== null && !namesWhom(state, header, p, p.onBehalfOf, sources.artifact)) return refuse('TokenUnproven', `the lock of ${key} names somebody whom no token in the log names`);
  const entry = {
    lock: p.lock, digest: p.lockDigest, releaseSpec: p.releaseSpec, seq: header.seq, tip: header.commit as CommitId, before: state.tip?.before ?? null, lockedAt: header.asOf, channel: p.spec.channel ?? null,
    onBehalfOf: p.onBehalfOf,
  };
  return { ok: true, state: withLock(state, key, entry) };
}

/** T19: whom a lock names is judged again, from the token and the issuers in force before the record. */
function namesWhom(state: LogState, header: RecordHeader, { releaseSpec }: ReleaseLockPredicate, named: NonNullable<ReleaseLockPredicate['onBehalfOf']>, artifact: ArtifactLookup): boolean {
  const bytes = artifact(named.token);
  const verdict = bytes === undefined ? null : verifyIdentityToken(state, { token: new TextDecoder().decode(bytes), audience: audienceOf(releaseSpec), observedAt: parseInstant(header.asOf) });
  return verdict?.ok === true && verdict.integration === named.integration && verdict.issuer === named.issuer && verdict.subject === named.subject;
}

function applyDecision(state: LogState, record: EvidenceRecord, p: PromotionDecisionPredicate, artifact: ArtifactLookup): FoldResult {
  const app = appStateOf(state, p.environment, p.application);
  if (p.operation === 'extend' && !isFounded(app, p)) return refuse('ExtensionUnfounded', `decision ${record.header.seq} extends something else than what runs`);
  if (!isDerivedFrom(state, p)) return refuse('DerivationUnfounded', `decision ${record.header.seq} is called automatic, but the log before it derives another promotion of ${p.environment}/${p.application}, or none`);
  for (const approval of p.sources.approvals) {
    if (!state.approvals.has(approval)) return refuse('ApprovalUnobserved', `a decision uses approval ${approval}, which no earlier record observed`);
  }
  const open = app.openRun;
  // T23: a decision about the document and plan of the open run judges that run, also when the branch asks for something else by now.
  const isOfRun = open !== null && p.sources.ended === null && p.sources.promotionDocument === open.promotion && p.sources.plan === open.plan;
  const seen = isOfRun && isReplaced(app, open) ? app : { ...app, spentIntents: union(app.spentIntents, spentBy(p, app.lastDecision)), lastDecision: lastDecisionOf(record, p) };
  if (p.decision.outcome !== 'allow') {
    const falls = isOfRun || (open !== null && open.promotionDigest === p.decision.promotionDigest);
    return { ok: true, state: withApp(state, falls ? { ...seen, openRun: { ...open, fallen: true } } : seen) };
  }
  const plan = p.sources.plan === null ? undefined : artifact(p.sources.plan);
  if (plan === undefined) return refuse('ArtifactMissing', `the plan of decision ${record.header.seq} is not in the log`);
  const debts = debtsAfter(app.debts, record.header.seq, p, artifact);
  if (debts === null) return refuse('ArtifactMissing', `the input of decision ${record.header.seq} is not in the log`);
  const run = openedRun(app, record, p, placesOf(parseCanonicalJson(plan) as unknown as Plan));
  if (run === null) return refuse('GenerationSkipped', `decision ${record.header.seq} does not open the generation that follows`);
  return { ok: true, state: withApp(state, { ...seen, generation: run.generation, openRun: run, debts }) };
}

/**
 * T27: whoever breaks the glass owes a review, however the run ends. Deciding the same run again owes it once, to everybody who took part.
 * @returns null where the log lacks what says who asked
 */
function debtsAfter(debts: readonly Debt[], seq: number, { breakGlass, release, decision: { promotionDigest }, input }: PromotionDecisionPredicate, artifact: ArtifactLookup): readonly Debt[] | null {
  if (breakGlass === null || promotionDigest === null) return debts;
  const bytes = artifact(input);
  const asked = bytes === undefined ? undefined : (parseCanonicalJson(bytes) as unknown as DecisionInput | undefined)?.requesters;
  if (asked === undefined) return null;
  const known = debts.find((debt) => debt.promotionDigest === promotionDigest);
  const participants = [...new Set([...(known?.participants ?? []), ...breakGlass.participants])].sort();
  const debt: Debt = { promotionDigest, seq: known?.seq ?? seq, release, reason: breakGlass.reason, participants, unknown: Math.max(known?.unknown ?? 0, asked.unknown) };
  return [...debts.filter((other) => other !== known), debt];
}

/** Whether something else than the open run was decided about last: what is said of the run is then no news of the request. */
function isReplaced({ lastDecision: last }: AppState, open: OpenRun): boolean {
  return last !== null && (last.promotion !== open.promotion || last.plan !== open.plan);
}

/**
 * TRUST "Intent digest": a decision about another request, signed or not, spends the intent of the one before, and a request that ended
 * spends its own. A restored file does not bring its old author back.
 */
function spentBy(p: PromotionDecisionPredicate, last: AppState['lastDecision']): readonly Digest[] {
  const { intents, ended, promotionDocument } = p.sources;
  const isOther = last !== null && (last.promotion !== promotionDocument || intents.length > 0);
  return [...(isOther ? last.intents.filter((intent) => !intents.includes(intent)) : []), ...(ended === null ? [] : intents)];
}

function lastDecisionOf(record: EvidenceRecord, p: PromotionDecisionPredicate): AppState['lastDecision'] {
  return {
    seq: record.header.seq, digest: record.digest, promotion: p.sources.promotionDocument, promotionArtifact: p.sources.promotion, derived: p.sources.derived, plan: p.sources.plan, ended: p.sources.ended !== null || p.decision.reasons.includes('Closed'), release: p.release, operation: p.operation, relevant: p.relevant,
    outcome: p.decision.outcome, input: p.input, held: p.decision.gates.filter(({ outcome }) => outcome !== 'passed'), intents: p.sources.intents, notAfter: p.decision.notAfter, nextChangeAt: p.decision.nextChangeAt, requestedAt: p.requestedAt, decidedAt: p.decidedAt,
  };
}

function openedRun(app: AppState, record: EvidenceRecord, p: PromotionDecisionPredicate, targets: readonly Place[]): OpenRun | null {
  const { promotionDigest, notAfter, rollbackUntil, generation } = p.decision;
  if (!isDigest(promotionDigest) || notAfter === null || rollbackUntil === null || p.sources.plan === null) return null;
  const decision = { seq: record.header.seq, digest: record.digest };
  if (app.openRun !== null) {
    // T23: an allow that lapses while its run is open is decided again, with the same promotion digest and generation.
    const same = app.openRun.promotionDigest === promotionDigest && app.openRun.generation === generation && app.openRun.plan === p.sources.plan;
    return same ? { ...app.openRun, decision, notAfter, rollbackUntil, fallen: false, input: p.input, relevant: p.relevant, sources: p.sources } : null;
  }
  // An extension brings what runs to further targets: it raises nothing.
  if (generation !== app.generation + (p.operation === 'extend' ? 0 : 1)) return null;
  return {
    operation: p.operation, generation, promotionDigest, decision, openedSeq: record.header.seq, tip: record.header.commit, promotion: p.sources.promotionDocument,
    release: p.release, attempt: p.attempt, requestedAt: p.requestedAt, lock: p.lock, runs: p.runs, plan: p.sources.plan, intents: p.sources.intents, notAfter, rollbackUntil, fallen: false, input: p.input, relevant: p.relevant, sources: p.sources, targets,
  };
}

function applyOutcome(state: LogState, header: RecordHeader, p: DeploymentOutcomePredicate): FoldResult {
  const app = appStateOf(state, p.environment, p.application);
  const run = app.openRun;
  if (run === null || run.promotionDigest !== p.promotionDigest || run.generation !== p.generation) {
    return refuse('OutcomeWithoutRun', `outcome ${header.seq} names no open run of ${p.environment}/${p.application}`);
  }
  const lastOutcome: LastOutcome = {
    seq: header.seq, operation: run.operation, generation: p.generation, result: p.result, reason: p.reason, endedAt: p.endedAt, fallback: p.fallback, promotion: run.promotion, openedSeq: run.openedSeq, release: run.release,
    attempt: run.attempt, failures: failuresOf(p),
  };
  if (run.operation === 'extend') {
    const standing = app.standing === null ? null : extendedStanding(app.standing, run, p);
    return { ok: true, state: withApp(state, { ...app, openRun: null, standing, lastOutcome }) };
  }
  const kept = app.approvals.filter((approval) => (state.approvals.get(approval)?.seq ?? 0) > run.openedSeq);
  const ended = { ...app, openRun: null, approvals: kept, spentIntents: union(app.spentIntents, run.intents), lastOutcome };
  return { ok: true, state: withApp(state, p.result === 'Succeeded' ? { ...succeeded(state.locks, ended, run, header), standing: standingOf(run, p) } : { ...failed(ended, run, p, header), left: leftAfter(state.locks, app, run, p.result) }) };
}

/** Succeeded sets lock and plan and `clean` (TRUST "State"). */
function succeeded(locks: LogState['locks'], app: AppState, run: OpenRun, header: RecordHeader): AppState {
  const removed = run.operation === 'remove';
  return {
    ...app, left: leftAfter(locks, app, run, 'Succeeded'), previous: previousAfter(app, run, header), clean: true, closed: null, succeededAt: header.asOf, deployedBy: { allow: run.openedSeq, outcome: header.seq }, succeededTip: run.tip as CommitId, held: heldAfter(app.held, removed ? null : run.lock, header.asOf),
    release: removed ? null : run.release, lock: removed ? null : run.lock, runs: removed ? null : run.runs, plan: removed ? null : run.plan,
  };
}

/**
 * T28: the last succeeded state before the current one. The same lock with another configuration goes on; once somebody went back there is
 * nothing to go back to, or two releases would take turns under eased rules.
 */
function previousAfter(app: AppState, run: OpenRun, header: RecordHeader): AppState['previous'] {
  if (run.lock !== null && run.lock === app.previous?.lock && run.runs === app.previous.runs) return null;
  return app.clean && run.lock !== app.lock ? replacedAt(app, header) : app.previous;
}

function replacedAt({ release, lock, runs }: AppState, header: RecordHeader): AppState['previous'] {
  return release === null || lock === null || runs === null ? null : { release, lock, runs, replacedAt: header.asOf };
}

/** Anything else keeps both and clears `clean`, unless the fallback succeeded everywhere; an aborted run may be asked for again. */
function failed(app: AppState, run: OpenRun, p: DeploymentOutcomePredicate, header: RecordHeader): AppState {
  const clean = p.fallback === 'Succeeded' ? app.clean : false;
  const closed = p.result === 'Aborted' ? app.closed : { operation: run.operation, lock: run.lock, runs: run.runs, attempt: run.attempt };
  // What ran cleanly until this run is what a rollback goes back to.
  return { ...app, clean, closed, previous: app.clean && !clean ? replacedAt(app, header) : app.previous, held: clean ? app.held : heldAfter(app.held, null, header.asOf) };
}

/** Spans kept of one environment and application: enough for every release that anybody goes back to. Part of rule set 1. */
const HELD_SPANS = 100;

/** What runs now, and until when the one before did. The same lock deployed again (another configuration) goes on. */
function heldAfter(held: readonly Held[], lock: Digest | null, at: string): readonly Held[] {
  const last = held.at(-1);
  if (last !== undefined && last.until === null && last.lock === lock) return held;
  const ended = held.map((span) => (span.until === null ? { ...span, until: at } : span));
  return (lock === null ? ended : [...ended, { lock, from: at, until: null }]).slice(-HELD_SPANS);
}

function union(a: readonly Digest[], b: readonly Digest[]): readonly Digest[] {
  return b.length === 0 ? a : [...new Set([...a, ...b])].sort();
}
