import type { Digest } from '../model/digest.ts';
import type { BuiltInput, DecisionMaterial } from '../decision/build-input.ts';
import { brokenGlass } from '../decision/mode.ts';
import type { Decision, DecisionInput } from '../decision/types.ts';
import { appStateOf, type LogState } from './log-state.ts';
import type { DecisionSources, PromotionDecisionPredicate } from './records.ts';

/** What a decision's record says, but for files that were generated. All of it follows from the log before it and from what the record names as its material. */
export type DecisionMembers = Omit<PromotionDecisionPredicate, 'strangers' | 'artifacts'>;

/** Material that is in the log as artifacts. */
export type StoredMaterial = Pick<DecisionSources, 'promotion' | 'plan' | 'configuration' | 'commits'> & { readonly input: Digest };

/**
 * What the record of a decision says about a promotion that is declared, or was derived. Whoever writes it and whoever replays it ask this one function.
 * @param state the log's state before the record
 */
export function promotionMembers(state: LogState, { material, built, decision }: { readonly material: DecisionMaterial; readonly built: BuiltInput; readonly decision: Decision }, stored: StoredMaterial): DecisionMembers {
  const { input } = built;
  const isPromoted = input.operation === 'promote';
  const entry = isPromoted ? state.locks.get(`${input.application}/${input.release ?? ''}`) : undefined;
  return {
    ...aboutInput(input), requestedAt: requestedAt(state, input), input: stored.input, relevant: built.relevant, decision, breakGlass: brokenGlass(input, decision),
    sources: {
      promotionDocument: input.promotion, promotion: stored.promotion, derived: material.derived, ended: material.ended, problems: material.problems, plan: stored.plan, configuration: isPromoted ? stored.configuration : null,
      releaseSpec: entry?.releaseSpec ?? null, onBehalfOf: entry?.onBehalfOf?.token ?? null, intents: built.requesters.intents, approvals: built.candidates, extends: null, commits: stored.commits,
    },
  };
}

/**
 * The same of an extension: it names what the allow that it extends named, so that an agent finds the same requesters and approvals; only plan, input and
 * decision are its own.
 * @throws Error where nothing stands that could be extended
 */
export function extensionMembers(state: LogState, { built, decision }: { readonly built: BuiltInput; readonly decision: Decision }, stored: Pick<StoredMaterial, 'input' | 'plan'>): DecisionMembers {
  const { input } = built;
  const { standing, lastDecision } = appStateOf(state, input.environment, input.application);
  if (standing === null) throw new Error(`nothing stands in ${input.environment}/${input.application} that could be extended`);
  return {
    ...aboutInput(input), requestedAt: lastDecision?.promotion === input.promotion ? lastDecision.requestedAt : input.asOf, input: stored.input, relevant: built.relevant, decision, breakGlass: null,
    sources: { ...standing.sources, ended: null, problems: input.problems, plan: stored.plan, approvals: built.candidates, extends: standing.input },
  };
}

function aboutInput({ environment, application, operation, release, attempt, lock, runs, asOf }: DecisionInput): Pick<PromotionDecisionPredicate, 'environment' | 'application' | 'operation' | 'release' | 'attempt' | 'lock' | 'runs' | 'decidedAt'> {
  return { environment, application, operation, release, attempt, lock, runs, decidedAt: asOf };
}

/** When the document was first decided about; now, if it never was. */
function requestedAt(state: LogState, { environment, application, promotion, asOf }: DecisionInput): string {
  const { lastDecision: last, openRun } = appStateOf(state, environment, application);
  if (openRun?.promotion === promotion) return openRun.requestedAt;
  return last?.promotion === promotion ? last.requestedAt : asOf;
}
