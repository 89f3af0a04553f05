import type { Digest } from '../model/digest.ts';
import { compareText } from '../model/names.ts';
import type { Operation, Plan } from '../model/preimages.ts';

/** Refused differs from Errored for the record only: the agent could have run the order and would not. */
export type TargetStatus = 'Pending' | 'Running' | 'Waiting' | 'Succeeded' | 'Failed' | 'Errored' | 'Refused' | 'Skipped' | 'Aborted';
export type StepStatus = Exclude<TargetStatus, 'Waiting' | 'Refused'>;

export type TargetRef = { readonly name: string; readonly agent: string };

/** How one step stands on one target. */
export type TargetState = {
  readonly target: string;
  readonly agent: string;
  readonly status: TargetStatus;
  /** Orders sent for this step that count, the first included. */
  readonly attempt: number;
  /** Orders of this step that the agent got only after their allow had lapsed; they do not count as attempts. */
  readonly lapses: number;
  /** Number of the last order to this target in the whole run; an agent accepts only a higher one. 0 before the first. */
  readonly try: number;
  /** Envelope digest of the allow that the last order named; null before the first. */
  readonly decision: Digest | null;
  /** Running: when the order times out. Waiting: when the next attempt begins. Else null. */
  readonly until: string | null;
  /** Of the last answer; empty before it. */
  readonly code: string;
  readonly message: string;
  readonly receipt: Digest | null;
};

export type StepState = {
  readonly name: string;
  readonly operation: 'deploy' | 'health-check' | 'fall-back';
  readonly needs: readonly string[];
  readonly attempts: number;
  readonly delaySeconds: number;
  readonly timeoutSeconds: number;
  readonly targets: readonly TargetState[];
};

export type RunResult = 'Succeeded' | 'Failed' | 'Errored' | 'Aborted';
export type RunReason = 'Ok' | 'TargetFailed' | 'TargetErrored' | 'Stopped' | 'NothingToRun' | 'WorkflowStuck';
export type RunEnd = { readonly result: RunResult; readonly reason: RunReason; readonly endedAt: string };

/** A run as JSON: what the append-only table of transitions holds. */
export type RunState = {
  readonly type: 'stella/run/v1';
  readonly promotionDigest: Digest;
  readonly generation: number;
  readonly operation: Operation;
  /** Envelope digest and record of the allow that orders name now, and how long it holds (T23). */
  readonly decision: Digest;
  readonly decidedSeq: number;
  readonly notAfter: string;
  /** Until when it may fall back by itself (T28). */
  readonly rollbackUntil: string;
  readonly onFailure: 'hold' | 'fall-back';
  /** Whether there is a lock to fall back to: the one that this run replaces (T28). */
  readonly canFallBack: boolean;
  /** Stopping: nothing new begins, answers are awaited. */
  readonly phase: 'Pending' | 'Running' | 'Stopping' | 'FallingBack' | 'Finished';
  /** The allow has lapsed and is being decided again. */
  readonly renewing: boolean;
  /** Why somebody stopped the run; null if nobody did. */
  readonly stopReason: string | null;
  /** Sorted by name. */
  readonly targets: readonly TargetRef[];
  readonly steps: readonly StepState[];
  /** null until the run falls back. */
  readonly fallBack: StepState | null;
  /** Targets that may run something else than before this run, sorted. */
  readonly changed: readonly string[];
  readonly startedAt: string | null;
  readonly end: RunEnd | null;
};

/** How long an order may take where the step does not say. */
export const DEFAULT_TIMEOUT_SECONDS = 600;
/** Name of the step of a fall-back in commands; no step of a plan can have it. */
export const FALL_BACK_STEP = '(fall-back)';

/**
 * The state of a run before its first event.
 * @param p.decision envelope digest of the allow
 * @param p.decidedSeq record of the allow
 * @param p.replaces the lock that the promotion replaces, null where nothing runs yet
 * @param p.tries numbers of the last orders that targets got in this generation before, by name
 */
export function startRun(p: {
  readonly plan: Plan;
  readonly promotionDigest: Digest;
  readonly generation: number;
  readonly decision: Digest;
  readonly decidedSeq: number;
  readonly notAfter: string;
  readonly rollbackUntil: string;
  readonly replaces: Digest | null;
  readonly tries?: ReadonlyMap<string, number>;
}): RunState {
  const targets = p.plan.targets.map(({ name, agent }) => ({ name, agent })).sort((a, b) => compareText(a.name, b.name));
  const { workflow } = p.plan;
  return {
    type: 'stella/run/v1', promotionDigest: p.promotionDigest, generation: p.generation, operation: p.plan.operation === 'break-glass' ? 'promote' : p.plan.operation, decision: p.decision, decidedSeq: p.decidedSeq, notAfter: p.notAfter, rollbackUntil: p.rollbackUntil,
    onFailure: workflow.onFailure, canFallBack: p.replaces !== null, phase: 'Pending', renewing: false, stopReason: null, targets,
    steps: workflow.steps.map((step) => ({
      name: step.name,
      operation: step.type,
      needs: step.needs ?? [],
      attempts: wholeOr(step.retry?.attempts, 1, 1),
      delaySeconds: wholeOr(step.retry?.delaySeconds, 0, 0),
      timeoutSeconds: wholeOr(step.timeoutSeconds, 1, DEFAULT_TIMEOUT_SECONDS),
      targets: targets.map((target) => ({ ...untouched(target), try: p.tries?.get(target.name) ?? 0 })),
    })),
    fallBack: null, changed: [], startedAt: null, end: null,
  };
}

function wholeOr(value: number | undefined, least: number, otherwise: number): number {
  return value !== undefined && Number.isSafeInteger(value) && value >= least ? value : otherwise;
}

/** A target on which a step has not begun. */
export function untouched({ name, agent }: TargetRef): TargetState {
  return { target: name, agent, decision: null, status: 'Pending', attempt: 0, lapses: 0, try: 0, until: null, code: '', message: '', receipt: null };
}

/** All steps that have targets to act on, the fall-back last. */
export function allSteps(run: RunState): readonly StepState[] {
  return run.fallBack === null ? run.steps : [...run.steps, run.fallBack];
}

/** A step by its targets: the worst that happened to any of them. */
export function stepStatus(step: StepState): StepStatus {
  const has = (...statuses: readonly TargetStatus[]): boolean => step.targets.some(({ status }) => statuses.includes(status));
  if (has('Running', 'Waiting')) return 'Running';
  if (has('Failed')) return 'Failed';
  if (has('Errored', 'Refused')) return 'Errored';
  if (has('Pending')) return step.targets.some(({ attempt }) => attempt > 0) ? 'Running' : 'Pending';
  if (has('Aborted')) return 'Aborted';
  return has('Skipped') ? 'Skipped' : 'Succeeded';
}
