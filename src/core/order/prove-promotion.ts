import { canonicalText } from '../model/canonical-json.ts';
import { digestOf, type Digest, type Preimage } from '../model/digest.ts';
import type { BreakGlass, DocumentOf } from '../model/documents.ts';
import { parseInstant, type InstantMs } from '../model/instant.ts';
import { limits } from '../model/limits.ts';
import { preimageDigest, type Clause, type OrderOperation, type Plan, type PlanTarget, type PromotionPreimage } from '../model/preimages.ts';
import { clausesFor, everyClause, type RuleMode } from '../decision/clauses.ts';
import { breakGlassGate } from '../decision/gate/break-glass.ts';
import { breakGlassFacts, goesBack, isEased } from '../decision/mode.ts';
import { extendsPlan } from '../decision/extension.ts';
import type { DecisionInput } from '../decision/types.ts';
import { inForceOf, rootOf, type LogState } from '../evidence/log-state.ts';
import type { PromotionDecisionPredicate } from '../evidence/records.ts';
import { targetsFor, targetTypeOf } from '../release/plan.ts';
import type { AgentMemory } from './prove-order.ts';
import { readShown, Refused, requireDigest, type Shown } from './refused.ts';

/** What people approved, as the promotion digest says it, and what is demanded of them. */
export type ProvenPromotion = {
  readonly clauses: readonly Clause[];
  /** The rules that the digest names: whoever met them before, met these. */
  readonly approvedRules: readonly Clause[];
  /** Lock and runs that the promotion replaces. */
  readonly replaces: Pick<DecisionInput['state'], 'lock' | 'runs'>;
  /** Who asked, as far as the decision says. */
  readonly requesters: DecisionInput['requesters'];
};

/**
 * Recomputes the promotion digest from plan, lock and the rules in force. The plan's targets are all that were in force for it at one time, so that
 * no demand on one is left out (T17). What came or went while its run was open does not end the run, nor its fallback.
 */
export function provePromotion(state: LogState, p: PromotionDecisionPredicate, shown: ShownPromotion): ProvenPromotion {
  const { input, plan } = shown;
  const place = placeOf(state, p);
  const planned = canonicalText(plan.targets);
  const isWhole = [state, ...shown.history].some((then) => canonicalText(targetsIn(then, p, plan)) === planned);
  if (!isWhole) throw new Refused('TargetMismatch', 'the plan has other targets than those that were in force for this environment and application when it was allowed');
  const clauses = clausesFor({ minimums: rootOf(state).spec.minimums, ...place, targets: plan.targets.map((t) => t.name), mode: modeShown(state, p, shown) });
  requireApproved(state, p, { ...input, clauses }, requireDigest(p.sources.plan));
  return { clauses, approvedRules: clauses, replaces: input.state, requesters: input.requesters };
}

/** `history`: everything that was in force up to the decision. */
type ShownPromotion = { readonly history: readonly LogState[]; readonly input: DecisionInput; readonly plan: Plan; readonly memory: AgentMemory; readonly now: InstantMs; readonly operation: OrderOperation };

/**
 * By which rules it may be judged. That something ran before, and until when, are recorded facts. Whoever signs records could call anything a
 * rollback, so the agent takes the eased rule only for what it has itself run there on an order that was proven (T28).
 */
function modeShown(state: LogState, p: PromotionDecisionPredicate, { input, plan, memory, now, operation }: ShownPromotion): RuleMode {
  const { environment } = placeOf(state, p);
  if (plan.breakGlass !== null) return brokenGlass(state, p, plan.breakGlass, operation === 'fall-back' ? null : now);
  if (input.mode !== 'rollback') return { type: 'standard' };
  const { previous } = input.state;
  const isKnown = memory.lastOrders(p.environment, p.application).some((last) => last.promotionDigest === p.decision.promotionDigest);
  const isEasy = environment.spec.rollback !== undefined && goesBack(previous, p) && (isKnown || isEased(environment, previous, p, p.decidedAt));
  if (!isEasy || p.runs === null || !memory.hasRun(p.environment, p.application, p.runs)) {
    throw new Refused('RollbackUnproven', 'it is called a rollback, but this agent never ran that here, or the environment in force does not ease it; ask for it with full approvals');
  }
  return { type: 'rollback' };
}

/**
 * T27: policy in force, the list of what is skipped, and the time, by the agent's own clock as well.
 * @param now null for the way back, which has an end of its own (T28)
 */
function brokenGlass(state: LogState, p: PromotionDecisionPredicate, asked: BreakGlass, now: InstantMs | null): RuleMode {
  const breakGlass = breakGlassFacts(state, p.environment, asked);
  const [fault] = breakGlassGate({ breakGlass, operation: p.operation }, parseInstant(p.decidedAt)).filter(({ outcome }) => outcome !== 'passed');
  const until = parseInstant(asked.expires);
  if (fault !== undefined || until === null || (now !== null && now > until + limits.clockSkewSeconds * 1000)) {
    throw new Refused('BreakGlassNotAllowed', `the glass may not be broken: ${fault?.code ?? `it ended at ${asked.expires}`}`);
  }
  return { type: 'break-glass', skip: asked.skip };
}

/**
 * An extension needs no new approvals, so it may bring nothing but what was approved, with other targets. What is demanded is what was when
 * people approved it and what is today, for every target in force: a minimum of the one that is added is not left out (T17).
 */
export function proveExtension(state: LogState, p: PromotionDecisionPredicate, input: DecisionInput, plan: Plan, artifact: Shown): ProvenPromotion {
  const place = placeOf(state, p);
  const base = readShown<DecisionInput>(artifact, requireDigest(p.sources.extends), 'the input of the allow that is extended');
  const approved = readShown<Plan>(artifact, requireDigest(base.plan), 'the approved plan');
  if (preimageDigest(approved) !== base.plan || !extendsPlan(plan, approved)) throw new Refused('PlanMismatch', 'the plan differs from the approved one in more than its targets');
  const targets = targetsIn(state, p, plan);
  const inForce = new Set(targets.map((target) => canonicalText(target)));
  if (!plan.targets.every((target) => inForce.has(canonicalText(target)))) throw new Refused('TargetMismatch', 'the plan adds targets that are not in force for this environment and application');
  requireApproved(state, p, base, base.plan);
  const names = [...targets, ...approved.targets].map((target) => target.name);
  const today = clausesFor({ minimums: rootOf(state).spec.minimums, ...place, targets: names });
  const people = [...new Set([...base.requesters.people, ...input.requesters.people])];
  return {
    clauses: everyClause(base.clauses, today), approvedRules: base.clauses, replaces: base.state,
    requesters: { people, unknown: Math.max(base.requesters.unknown, input.requesters.unknown) },
  };
}

type Place = { readonly environment: DocumentOf<'Environment'>; readonly application: DocumentOf<'Application'> };

function placeOf(state: LogState, p: PromotionDecisionPredicate): Place {
  const environment = inForceOf(state, 'Environment', p.environment);
  const application = inForceOf(state, 'Application', p.application);
  if (environment === null || application === null) throw new Refused('TargetMismatch', `${p.environment} or ${p.application} is not in force`);
  return { environment, application };
}

function targetsIn(state: LogState, p: PromotionDecisionPredicate, plan: Plan): readonly PlanTarget[] {
  const application = inForceOf(state, 'Application', p.application);
  return application === null ? [] : targetsFor(state, { environment: p.environment, application, type: targetTypeOf(plan.runs) });
}

/** The digest that people signed is over exactly this. */
function requireApproved(state: LogState, p: PromotionDecisionPredicate, input: Pick<DecisionInput, 'state' | 'clauses'>, plan: Digest): void {
  const preimage: PromotionPreimage = {
    type: 'stella/promotion/v1', logId: state.logId, tenant: state.tenant, environment: p.environment, application: p.application,
    generation: input.state.generation, replaces: input.state.lock, replacesRuns: input.state.runs, lock: p.lock, plan, rules: input.clauses,
  };
  if (digestOf(preimage as unknown as Preimage) !== p.decision.promotionDigest || p.decision.generation !== input.state.generation + 1) {
    throw new Refused('PromotionDigestMismatch', 'the decision allows another promotion than the one that came with it');
  }
}
