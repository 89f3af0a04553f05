import { instantText } from '../decision/instants.ts';
import type { Digest } from '../model/digest.ts';
import { parseInstant, type InstantMs } from '../model/instant.ts';
import { limits } from '../model/limits.ts';
import { outstandingCommands, type Command } from './commands.ts';
import { allSteps, FALL_BACK_STEP, stepStatus, untouched, type RunEnd, type RunState, type StepState, type TargetState } from './run-state.ts';

/** What happened, and when (`at`, UTC). An event that does not fit the state changes nothing: that is what makes repeats harmless. */
export type RunEvent =
  | { readonly type: 'start'; readonly at: string }
  | {
      /** An agent answered the order with this try, or could not be asked (Errored, code of the shell). */
      readonly type: 'answered';
      readonly at: string;
      readonly target: string;
      readonly try: number;
      /** Failed: it ran and said no. Errored: it could not run. Refused: the agent would not run it; asking again is no use. */
      readonly result: 'Succeeded' | 'Failed' | 'Errored' | 'Refused';
      /** Whether the target may run something else than before the order. */
      readonly changed: boolean;
      readonly code: string;
      readonly message: string;
      readonly receipt: Digest | null;
    }
  | { readonly type: 'timed-out'; readonly at: string; readonly target: string; readonly try: number }
  | { readonly type: 'wait-over'; readonly at: string; readonly target: string; readonly try: number }
  /** The order never left: no agent has seen it, and none will. */
  | { readonly type: 'withdrawn'; readonly at: string; readonly target: string; readonly try: number }
  /** Decided again: the allow of record `seq` takes the place of every earlier one, whether it holds longer or not so long. */
  | { readonly type: 'renewed'; readonly at: string; readonly decision: Digest; readonly seq: number; readonly notAfter: string; readonly rollbackUntil: string }
  | { readonly type: 'stop'; readonly at: string; readonly reason: string };

export type Advance = { readonly run: RunState; readonly commands: readonly Command[] };

/** The shell handed in an event without a time in UTC: a defect of the program, not of a deployment. */
export class WorkflowError extends Error {
  readonly code = 'InstantInvalid';
}

/**
 * The next state of a run and what is to be done now. Pure: the same events give the same state and commands. A run ends
 * exactly once, and after that nothing is dispatched.
 * @throws WorkflowError when `event.at` is not an instant in UTC
 */
export function advance(run: RunState, event: RunEvent): Advance {
  const at = parseInstant(event.at);
  if (at === null) throw new WorkflowError(`the event ${event.type} has no time in UTC: ${JSON.stringify(event.at)}`);
  const applied = run.end === null ? applyEvent(run, event, at) : run;
  if (applied === run) return { run, commands: [] };
  const next = settle(applied, at);
  const known = new Set(outstandingCommands(run).map(({ key }) => key));
  return { run: next, commands: outstandingCommands(next).filter(({ key }) => !known.has(key)) };
}

function applyEvent(run: RunState, event: RunEvent, at: InstantMs): RunState {
  switch (event.type) {
    case 'start':
      return run.phase === 'Pending' ? { ...run, phase: 'Running', startedAt: event.at } : run;
    case 'stop': // T23
      return run.phase === 'Pending' || run.phase === 'Running' ? { ...run, phase: 'Stopping', stopReason: event.reason } : run;
    case 'renewed':
      return event.seq > run.decidedSeq ? { ...run, decision: event.decision, decidedSeq: event.seq, notAfter: event.notAfter, rollbackUntil: event.rollbackUntil, renewing: false } : run;
    case 'answered':
      return answer(run, event, at);
    case 'timed-out':
      return timeOut(run, event, at);
    case 'withdrawn':
      return mapTarget(run, event, 'Running', (state) => notBegun(run, state));
    case 'wait-over':
      return mapTarget(run, event, 'Waiting', (state) => (isReached(state.until, at) ? { ...state, status: 'Pending', until: null } : state));
  }
}

function isReached(until: string | null, at: InstantMs): boolean {
  const instant = until === null ? null : parseInstant(until);
  return instant === null || at >= instant;
}

function answer(run: RunState, event: Extract<RunEvent, { type: 'answered' }>, at: InstantMs): RunState {
  const { result, code, message, receipt } = event;
  const next = mapTarget(run, event, 'Running', (state, step) => {
    const answered = { ...state, code, message, receipt, until: null };
    if (hasLapsed(run, event, state, at)) return notBegun(run, { ...answered, lapses: state.lapses + 1 });
    return result === 'Succeeded' || result === 'Refused' ? { ...answered, status: result } : retryOr(run, step, answered, result, at);
  });
  return next !== run && event.changed ? withChanged(next, event.target) : next;
}

/**
 * T23: the agent was away until the allow had lapsed, so the order is sent again once it is decided again. An agent that says so while the
 * allow still holds has a wrong clock, and one that never says anything else is not believed for ever: then its refusal is the end.
 */
function hasLapsed(run: RunState, { result, code }: Extract<RunEvent, { type: 'answered' }>, state: TargetState, at: InstantMs): boolean {
  const isOver = state.decision !== run.decision || isReached(run.notAfter, at);
  return result === 'Refused' && code === 'AllowExpired' && isOver && state.lapses < limits.lapsedOrders;
}

/** What no agent has begun is sent again while the run goes on, and does not count as an attempt. */
function notBegun(run: RunState, state: TargetState): TargetState {
  if (run.phase !== 'Running') return { ...state, status: 'Aborted', until: null };
  return { ...state, status: 'Pending', attempt: state.attempt - 1, until: null };
}

/** Nobody knows what an order did that was not answered, so a target that was to change counts as changed. */
function timeOut(run: RunState, event: Extract<RunEvent, { type: 'timed-out' }>, at: InstantMs): RunState {
  let mayHaveChanged = false;
  const next = mapTarget(run, event, 'Running', (state, step) => {
    if (!isReached(state.until, at)) return state;
    mayHaveChanged = step.operation !== 'health-check';
    return retryOr(run, step, { ...state, code: 'TimedOut', message: '', receipt: null, until: null }, 'Errored', at);
  });
  return mayHaveChanged ? withChanged(next, event.target) : next;
}

/** Another attempt if the step has one left and the run still goes on; else this is how the step ends there. */
function retryOr(run: RunState, step: StepState, state: TargetState, result: 'Failed' | 'Errored', at: InstantMs): TargetState {
  const goesOn = run.phase === 'Running' || (run.phase === 'FallingBack' && step.operation === 'fall-back');
  if (!goesOn || state.attempt >= step.attempts) return { ...state, status: result };
  if (step.delaySeconds === 0) return { ...state, status: 'Pending' };
  return { ...state, status: 'Waiting', until: instantText(at + step.delaySeconds * 1000) };
}

function withChanged(run: RunState, target: string): RunState {
  return run.changed.includes(target) ? run : { ...run, changed: [...run.changed, target].sort() };
}

type Change = (state: TargetState, step: StepState) => TargetState;

/** Changes the one target that has this try and status; the same run when there is none, or when nothing changes. */
function mapTarget(run: RunState, of: { readonly target: string; readonly try: number }, status: TargetState['status'], change: Change): RunState {
  let touched = false;
  const mapStep = (step: StepState): StepState => {
    const index = step.targets.findIndex((state) => state.target === of.target && state.try === of.try && state.status === status);
    const state = step.targets[index];
    const next = state === undefined ? undefined : change(state, step);
    if (next === undefined || next === state) return step;
    touched = true;
    return { ...step, targets: step.targets.with(index, next) };
  };
  const steps = run.steps.map(mapStep);
  const fallBack = run.fallBack === null ? null : mapStep(run.fallBack);
  return touched ? { ...run, steps, fallBack } : run;
}

/** Lets everything happen that needs no further event. */
function settle(run: RunState, at: InstantMs): RunState {
  if (run.phase === 'Running') return settleRunning(run, at);
  if (run.phase === 'Stopping') return settleStopping(run, at);
  if (run.phase !== 'FallingBack') return run;
  const next = dispatch(run, at, (step) => step.operation === 'fall-back');
  return isUnderWay(next) ? next : finish(next, at);
}

function settleRunning(run: RunState, at: InstantMs): RunState {
  if (run.steps.some(hasFailed)) return settleStopping({ ...run, phase: 'Stopping' }, at);
  const isReady = (step: StepState): boolean => step.needs.every((name) => run.steps.some((s) => s.name === name && stepStatus(s) === 'Succeeded'));
  const readyToSend = run.steps.some((step) => isReady(step) && step.targets.some(({ status }) => status === 'Pending'));
  // T23: an allow that lapsed sends nothing; it is decided again first.
  if (readyToSend && isReached(run.notAfter, at)) return { ...run, renewing: true };
  const next = dispatch({ ...run, renewing: false }, at, isReady);
  return isUnderWay(next) ? next : finish(next, at);
}

function hasFailed(step: StepState): boolean {
  return step.targets.some(({ status }) => status === 'Failed' || status === 'Errored' || status === 'Refused');
}

/** Nothing new begins. Once every order is answered the run holds or falls back, as declared (T23, T28). */
function settleStopping(run: RunState, at: InstantMs): RunState {
  const abort = (state: TargetState): TargetState => (state.status === 'Waiting' ? { ...state, status: 'Aborted', until: null } : state);
  const next: RunState = { ...run, renewing: false, steps: run.steps.map((step) => ({ ...step, targets: step.targets.map(abort) })) };
  if (isUnderWay(next)) return next;
  // T28: what was approved beforehand ends, like every approval.
  if (next.onFailure !== 'fall-back' || !next.canFallBack || next.changed.length === 0 || isReached(next.rollbackUntil, at)) return finish(next, at);
  return settle({ ...next, phase: 'FallingBack', fallBack: fallBackStep(next) }, at);
}

/** Orders the replaced plan again wherever something changed, with the patience of the deploy step that led there. */
function fallBackStep(run: RunState): StepState {
  const deploy = run.steps.find((step) => step.operation === 'deploy');
  const targets = run.targets.filter(({ name }) => run.changed.includes(name)).map(untouched);
  const { attempts = 1, delaySeconds = 0, timeoutSeconds = 1 } = deploy ?? {};
  return { name: FALL_BACK_STEP, operation: 'fall-back', needs: [], attempts, delaySeconds, timeoutSeconds, targets };
}

function isUnderWay(run: RunState): boolean {
  return allSteps(run).some((step) => step.targets.some(({ status }) => status === 'Running' || status === 'Waiting'));
}

/** Sends to all pending targets of the steps that may go; a target has one order at a time, so that its tries arrive in order. */
function dispatch(run: RunState, at: InstantMs, mayGo: (step: StepState) => boolean): RunState {
  const steps = allSteps(run);
  const busy = new Set(steps.flatMap((step) => step.targets.filter(({ status }) => status === 'Running').map(({ target }) => target)));
  const tries = new Map<string, number>();
  for (const { target, try: number } of steps.flatMap((step) => step.targets)) tries.set(target, Math.max(tries.get(target) ?? 0, number));
  const send = (step: StepState): StepState => {
    if (!mayGo(step)) return step;
    const until = instantText(at + step.timeoutSeconds * 1000);
    const targets = step.targets.map((state): TargetState => {
      if (state.status !== 'Pending' || busy.has(state.target)) return state;
      busy.add(state.target);
      return { ...state, status: 'Running', decision: run.decision, attempt: state.attempt + 1, try: (tries.get(state.target) ?? 0) + 1, until };
    });
    return { ...step, targets };
  };
  return { ...run, steps: run.steps.map(send), fallBack: run.fallBack === null ? null : send(run.fallBack) };
}

function finish(run: RunState, at: InstantMs): RunState {
  const end = endOf(run, instantText(at));
  const close = (step: StepState): StepState => {
    const begun = step.targets.some(({ attempt }) => attempt > 0);
    const status = begun ? 'Aborted' : 'Skipped';
    return { ...step, targets: step.targets.map((state) => (state.status === 'Pending' ? { ...state, status } : state)) };
  };
  return { ...run, phase: 'Finished', steps: run.steps.map(close), end };
}

function endOf(run: RunState, endedAt: string): RunEnd {
  if (run.steps.some((step) => step.targets.some(({ status }) => status === 'Failed'))) return { result: 'Failed', reason: 'TargetFailed', endedAt };
  if (run.steps.some(hasFailed)) return { result: 'Errored', reason: 'TargetErrored', endedAt };
  if (run.targets.length === 0 || run.steps.length === 0) return { result: 'Errored', reason: 'NothingToRun', endedAt };
  const done = run.fallBack === null && run.steps.every((step) => stepStatus(step) === 'Succeeded');
  if (done) return { result: 'Succeeded', reason: 'Ok', endedAt };
  // Nobody stopped it and nothing can begin: the steps wait for each other, which no valid plan has.
  return run.stopReason === null ? { result: 'Errored', reason: 'WorkflowStuck', endedAt } : { result: 'Aborted', reason: 'Stopped', endedAt };
}
