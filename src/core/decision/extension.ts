import { canonicalText, parseCanonicalJson } from '../model/canonical-json.ts';
import type { Digest } from '../model/digest.ts';
import { parseInstant } from '../model/instant.ts';
import { limits } from '../model/limits.ts';
import { compareText } from '../model/names.ts';
import { preimageDigest, type Clause, type Plan, type PlanTarget } from '../model/preimages.ts';
import { allInForce, appStateOf, inForceOf, rootOf, type AppState, type LogState, type Standing } from '../evidence/log-state.ts';
import type { ArtifactLookup, LogSources } from '../evidence/fold.ts';
import { keyFault, keyRingIn, type KeyRing } from '../trust/key-ring.ts';
import { targetsFor, targetTypeOf } from '../release/plan.ts';
import { ApprovalMissing, debtsOf, DEFAULT_FALL_BACK_SECONDS, candidatesOf, isSatisfied, relevantDigest, sourcesOf, type BuiltInput } from './build-input.ts';
import { clausesFor, everyClause } from './clauses.ts';
import { decide } from './decide.ts';
import { freezeFacts } from './freeze-facts.ts';
import { expressionFacts, gateFacts } from './gate-facts.ts';
import { judgeApprovals, type ApprovalCandidate } from './judge-approvals.ts';
import type { Decision, DecisionInput, RejectedApproval } from './types.ts';

/** What an extension is decided from, besides the state of the log and the allow that stands. */
export type ExtensionMaterial = { readonly environment: string; readonly application: string; readonly plan: Plan; /** That the Promotion names now. */ readonly attempt: number };
export type Extension = {
  readonly plan: Plan;
  readonly built: BuiltInput;
  readonly decision: Decision;
  /** The approvals behind what runs do not meet what is demanded now: only a promotion can reach these targets. */
  readonly needsPromotion: boolean;
};

/**
 * What a promotion that is satisfied still has to do: bring what runs to targets that were put in force, or edited, since (TRUST "extend").
 * @param attempt that the Promotion names now
 * @returns null when no target lacks it, or nothing stands that could be extended
 */
export function extensionOf(state: LogState, subject: Pick<ExtensionMaterial, 'environment' | 'application' | 'attempt'>, asOf: string, sources: LogSources): Extension | null {
  const app = appStateOf(state, subject.environment, subject.application);
  const { standing } = app;
  if (standing === null || !app.clean || standing.generation !== app.generation) return null;
  const plan = planToExtend(state, app, standing, sources.artifact);
  if (plan === null) return null;
  const built = buildExtensionInput(state, { ...subject, plan }, asOf, sources);
  const decision = decide(built.input);
  const needsPromotion = decision.gates.some(({ gate, outcome }) => (gate === 'approvals' || gate === 'separation') && outcome !== 'passed');
  return { plan, built, decision, needsPromotion };
}

/** What one declared promotion asks for: itself, an extension of what it made run, or nothing. */
export type Due = { readonly type: 'promotion' } | { readonly type: 'nothing' } | { readonly type: 'extension'; readonly extension: Extension };

/** @param input of the promotion as it is declared */
export function whatIsDue(state: LogState, input: DecisionInput, sources: LogSources): Due {
  const { operation, environment, application, attempt, lock, runs, asOf } = input;
  const app = appStateOf(state, environment, application);
  const isUnderWay = app.openRun?.operation === 'extend' && operation === 'promote' && lock === app.lock && runs === app.runs;
  const satisfied = isSatisfied(app, operation, lock, runs);
  if (!satisfied && !isUnderWay) return { type: 'promotion' };
  const extension = operation === 'promote' ? extensionOf(state, { environment, application, attempt }, asOf, sources) : null;
  if (extension === null) return { type: 'nothing' };
  // A raised attempt asks for the promotion itself where its approvals do not reach what lacks it: all targets, under today's rules.
  const again = satisfied && extension.needsPromotion && attempt > (app.standing?.attempt ?? attempt);
  return again ? { type: 'promotion' } : { type: 'extension', extension };
}

/** The plan of the extension that is under way, or of the one that is due. */
function planToExtend(state: LogState, app: AppState, standing: Standing, artifact: ArtifactLookup): Plan | null {
  if (app.openRun?.operation === 'extend') return read<Plan>(artifact, app.openRun.plan);
  const approved = read<Plan>(artifact, standing.plan);
  // What skipped gates, or eased a rule, was approved for the targets that it named.
  const targets = approved.operation === 'promote' ? lackingTargets(state, app, approved).slice(0, limits.targetsPerPlan) : [];
  return targets.length === 0 ? null : { ...approved, operation: 'extend', targets };
}

/** Targets in force for this environment and application that have no succeeded receipt for the plan that stands, sorted by name. */
export function lackingTargets(state: LogState, app: AppState, approved: Plan): readonly PlanTarget[] {
  const has = new Set((app.standing?.targets ?? []).filter(({ succeeded }) => succeeded).map(({ as }) => as));
  return matchingTargets(state, app, approved).filter((target) => !has.has(canonicalText(target)));
}

function matchingTargets(state: LogState, { environment, application: name }: Pick<AppState, 'environment' | 'application'>, plan: Plan): readonly PlanTarget[] {
  const application = inForceOf(state, 'Application', name);
  return application === null ? [] : targetsFor(state, { environment, application, type: targetTypeOf(plan.runs) });
}

/**
 * The canonical input of the decision about an extension. Requesters, lock and promotion digest are those of the allow that stands; who
 * approved it is judged again by the rules and people in force, and so is everything that can stop it. Live reconciling, `explain` and
 * `replay` build it with this one function.
 * @throws ApprovalMissing
 */
export function buildExtensionInput(state: LogState, m: ExtensionMaterial, asOf: string, sources: LogSources): BuiltInput {
  const app = appStateOf(state, m.environment, m.application);
  const { standing } = app;
  if (standing === null) throw new ApprovalMissing(`nothing stands in ${m.environment}/${m.application} that could be extended`);
  const base = read<DecisionInput>(sources.artifact, standing.input);
  const clauses = everyClause(base.clauses, clausesNow(state, app, m.plan));
  const ring = keyRingIn(state, sources.openPgp);
  const freezes = freezeFacts(state, { environment: m.environment, application: m.application, release: base.release, agents: m.plan.targets.map((t) => t.agent) });
  const approvals = [...new Set([...standing.sources.approvals, ...app.approvals])].sort(compareText);
  const candidates = candidatesOf(state, approvals, ring, sources.artifact);
  const stale = staleApprovals(candidates, ring, asOf);
  const judged = judgeApprovals({
    candidates: candidates.filter((candidate) => !stale.has(candidate)), promotionDigest: standing.promotionDigest, ring, environment: m.environment, application: m.application, clauses, freezes,
    requesters: base.requesters.people, asOf, principals: new Map(allInForce(state, 'Principal').map((p) => [p.metadata.name, p.spec])),
  });
  const asked: Omit<DecisionInput, 'about'> = {
    ...base, operation: 'extend', attempt: m.attempt, ended: null, plan: preimageDigest(m.plan), promotionDigest: standing.promotionDigest, problems: problemsOf(state, app, standing, m.plan, sources.artifact),
    state: { ...base.state, clean: app.clean, otherRunOpen: app.openRun === null || app.openRun.operation === 'extend' ? null : app.openRun.promotionDigest, closed: isClosed(standing, m) },
    clauses, approvers: judged.approvers, approvals: judged.approvals, rejected: sortedRejections([...judged.rejected, ...stale.values()]),
    freezes: judged.freezes, sources: sourcesOf(state, m, base.lock), gates: gateFacts(state, m, { keepsPlace: app.openRun?.operation === 'extend' }), hold: null, debts: debtsOf(app, null), allowSeconds: inForceOf(state, 'Environment', m.environment)?.spec.allowSeconds ?? 3600,
    fallBackSeconds: inForceOf(state, 'Environment', m.environment)?.spec.fallBackSeconds ?? DEFAULT_FALL_BACK_SECONDS, asOf,
  };
  const lock = state.locks.get(`${m.application}/${base.release ?? ''}`)?.lock ?? null;
  const input: DecisionInput = { ...asked, about: expressionFacts(asked, { plan: m.plan, lock, app }) };
  return { input, relevant: relevantDigest(input), requesters: { ...base.requesters, intents: standing.sources.intents }, candidates: approvals, preimage: null };
}

/** What is demanded today of everybody who deploys to any target of this environment and application (T14, T17). */
function clausesNow(state: LogState, app: AppState, plan: Plan): readonly Clause[] {
  const environment = inForceOf(state, 'Environment', app.environment);
  const application = inForceOf(state, 'Application', app.application);
  if (environment === null || application === null) return [];
  const targets = new Set([...matchingTargets(state, app, plan), ...plan.targets].map(({ name }) => name));
  return clausesFor({ minimums: rootOf(state).spec.minimums, environment, application, targets: [...targets] });
}

/**
 * An extension may come long after its approvals, and the agent of a new target cannot know when they were seen. So a yes counts only under a
 * key that is still good; a no counts as ever.
 */
function staleApprovals(candidates: readonly ApprovalCandidate[], ring: KeyRing, asOf: string): ReadonlyMap<ApprovalCandidate, RejectedApproval> {
  const now = parseInstant(asOf) ?? Number.POSITIVE_INFINITY;
  const stale = new Map<ApprovalCandidate, RejectedApproval>();
  for (const candidate of candidates) {
    const holder = ring.get(candidate.fingerprint);
    const code = holder === undefined || candidate.action !== 'approve' ? null : keyFault(holder, now);
    if (code !== null) stale.set(candidate, { principal: candidate.principal, document: candidate.document, code });
  }
  return stale;
}

function sortedRejections(rejected: readonly RejectedApproval[]): readonly RejectedApproval[] {
  const byText = new Map(rejected.map((r) => [`${r.principal}\n${r.document}\n${r.code}`, r]));
  return [...byText].sort(([a], [b]) => compareText(a, b)).map(([, r]) => r);
}

/** The plan is the approved one but for targets and operation, and its targets are in force as it names them. */
function problemsOf(state: LogState, app: AppState, standing: Standing, plan: Plan, artifact: ArtifactLookup): DecisionInput['problems'] {
  const approved = read<Plan>(artifact, standing.plan);
  const problems: string[] = [];
  if (!extendsPlan(plan, approved)) problems.push('the plan differs from the approved one in more than its targets');
  const inForce = new Set(matchingTargets(state, app, approved).map((target) => canonicalText(target)));
  for (const target of plan.targets) if (!inForce.has(canonicalText(target))) problems.push(`target ${target.name} is no longer in force as it was planned`);
  return problems.map((detail) => ({ code: 'PlanInvalid', detail }));
}

/** Whether a plan says what an approved one says, to other targets. */
export function extendsPlan(plan: Plan, approved: Plan): boolean {
  if (plan.operation !== 'extend' || approved.operation !== 'promote' || plan.targets.length === 0) return false;
  return canonicalText({ ...plan, operation: approved.operation, targets: approved.targets }) === canonicalText(approved);
}

/** T22: what failed there is not tried again until the attempt rises or the target changes. */
function isClosed({ closed }: Standing, m: ExtensionMaterial): boolean {
  return closed !== null && m.attempt <= closed.attempt && m.plan.targets.every((target) => closed.places.includes(canonicalText(target)));
}

/** @throws ApprovalMissing */
function read<T>(artifact: ArtifactLookup, digest: Digest): T {
  const bytes = artifact(digest);
  const value = bytes === undefined ? undefined : (parseCanonicalJson(bytes) as T | undefined);
  if (value === undefined) throw new ApprovalMissing(`the artifact ${digest}, on which an extension rests, is not in the log; restore the evidence branch from a clone`);
  return value;
}
