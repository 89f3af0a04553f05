import type { Digest } from '../model/digest.ts';
import { allSteps, stepStatus, type RunReason, type RunResult, type RunState, type StepState, type TargetState } from './run-state.ts';

/** How one target ended in one step, as the outcome record holds it. */
export type TargetOutcome = {
  readonly target: string;
  readonly agent: string;
  readonly result: 'Succeeded' | 'Failed' | 'Errored' | 'Refused' | 'Skipped' | 'Aborted';
  readonly code: string;
  readonly message: string;
  readonly try: number;
  /** The agent's signed receipt, raw; null when no agent answered. */
  readonly receipt: Digest | null;
};
export type StepOutcome = {
  readonly name: string;
  readonly result: 'Succeeded' | 'Failed' | 'Errored' | 'Skipped' | 'Aborted';
  readonly targets: readonly TargetOutcome[];
};

/** What the shell has to do. `key` tells a command from every other of this run: performing it twice must be harmless. */
export type Command =
  | {
      /** Send an order; feed back `answered`, or `timed-out` at the deadline. */
      readonly type: 'dispatch';
      readonly key: string;
      readonly step: string;
      readonly operation: StepState['operation'];
      readonly target: string;
      readonly agent: string;
      readonly try: number;
      /** Envelope digest of the allow. */
      readonly decision: Digest;
      readonly deadline: string;
    }
  /** Feed back `wait-over` once this time has come. */
  | { readonly type: 'wait'; readonly key: string; readonly target: string; readonly try: number; readonly until: string }
  /** The allow has lapsed: decide again, then feed back `renewed`, or `stop` when it is no longer an allow (T23). */
  | { readonly type: 'renew'; readonly key: string }
  /** Record the outcome. Emitted once, last. */
  | {
      readonly type: 'finish';
      readonly key: string;
      readonly result: RunResult;
      readonly reason: RunReason;
      readonly stopReason: string | null;
      readonly startedAt: string;
      readonly endedAt: string;
      readonly steps: readonly StepOutcome[];
      /** null: none was tried. */
      readonly fallback: { readonly result: 'Succeeded' | 'Failed'; readonly targets: readonly TargetOutcome[] } | null;
      /** Targets that may run something else than before this run. */
      readonly changed: readonly string[];
    };

/** Everything that a run waits for. After a restart the shell performs these again; the keys keep that harmless. */
export function outstandingCommands(run: RunState): readonly Command[] {
  if (run.end !== null) return [finishOf(run, run.end)];
  const commands = allSteps(run).flatMap((step) => step.targets.flatMap((state) => commandOf(step, state)));
  return run.renewing ? [...commands, { type: 'renew', key: `renew/${run.notAfter}` }] : commands;
}

function commandOf(step: StepState, state: TargetState): readonly Command[] {
  const { target, agent, status, until, decision } = state;
  if (until === null) return [];
  if (status === 'Waiting') return [{ type: 'wait', key: `wait/${target}/${state.try}`, target, try: state.try, until }];
  if (status !== 'Running' || decision === null) return [];
  return [
    {
      type: 'dispatch', key: `dispatch/${target}/${state.try}`, step: step.name, operation: step.operation, target, agent,
      try: state.try, decision, deadline: until,
    },
  ];
}

function finishOf(run: RunState, end: NonNullable<RunState['end']>): Command {
  const { fallBack } = run;
  return {
    type: 'finish', key: 'finish', result: end.result, reason: end.reason, stopReason: run.stopReason, startedAt: run.startedAt ?? end.endedAt, endedAt: end.endedAt,
    steps: run.steps.map((step) => ({ name: step.name, result: ended(stepStatus(step)), targets: outcomesOf(step) })),
    fallback: fallBack === null ? null : { result: stepStatus(fallBack) === 'Succeeded' ? 'Succeeded' : 'Failed', targets: outcomesOf(fallBack) },
    changed: run.changed,
  };
}

function outcomesOf(step: StepState): readonly TargetOutcome[] {
  return step.targets.map((state) => ({
    target: state.target, agent: state.agent, result: ended(state.status), code: state.code, message: state.message, try: state.try, receipt: state.receipt,
  }));
}

/** In a run that has ended nothing is under way. */
function ended<S extends TargetState['status']>(status: S): Exclude<S, 'Pending' | 'Running' | 'Waiting'> {
  const open = status === 'Pending' || status === 'Running' || status === 'Waiting';
  return (open ? 'Aborted' : status) as Exclude<S, 'Pending' | 'Running' | 'Waiting'>;
}
