import type { JsonObject } from '../core/model/canonical-json.ts';
import { isDigest, type Digest } from '../core/model/digest.ts';
import { stateKey } from '../core/evidence/log-state.ts';
import { advance, type RunEvent } from '../core/workflow/advance.ts';
import { outstandingCommands, type Command } from '../core/workflow/commands.ts';
import type { RunState } from '../core/workflow/run-state.ts';
import type { JobQueue } from '../ports/jobs.ts';
import type { Run } from '../ports/run-store.ts';
import type { Allow } from './build-bundle.ts';
import { dispatchOrder, type DispatchWorld } from './run-dispatch.ts';
import { finishedRun, type FinishedRun } from './run-outcome.ts';
import { Pause } from './run-pause.ts';

/** What agents say while they work; for people, not evidence. */
export type RunProgress = { readonly environment: string; readonly application: string; readonly target: string; readonly lines: readonly string[] };

export type PerformerWorld = DispatchWorld & {
  readonly jobs: JobQueue;
  /** The run has ended: its outcome can be recorded. */
  readonly onFinished: (finished: FinishedRun) => void;
  /** The run's allow has lapsed: decide `<environment>/<application>` again (T23). */
  readonly onRenewal: (subject: string) => void;
  readonly onProgress: (progress: RunProgress) => void;
};

type Dispatching = { readonly command: Extract<Command, { type: 'dispatch' }>; readonly outdated: AbortController };

/** Name of the job that ends a wait; its payload names the run and the order after which it waits. */
export const WAIT_JOB = 'run-wait-over';

/**
 * Performs one run in this process: feeds events to `advance`, stores every transition before anything follows from it, and performs what
 * the run waits for. Events come one after the other; each command is performed once here, and harmlessly again after a restart.
 */
export class RunPerformer {
  readonly #world: PerformerWorld;
  readonly #closing = new AbortController();
  readonly #allows = new Map<Digest, number>();
  readonly #performed = new Set<string>();
  readonly #underWay = new Set<Promise<void>>();
  readonly #dispatching = new Set<Dispatching>();
  #run: Run;
  #state: RunState;
  #isResumed: boolean;
  #tail: Promise<void> = Promise.resolve();
  #finished: FinishedRun | null = null;

  /** @param isResumed another process may have performed a part of it */
  constructor(world: PerformerWorld, run: Run, isResumed: boolean) {
    this.#world = world;
    this.#run = run;
    this.#state = stateOf(run);
    this.#isResumed = isResumed;
    this.#allows.set(run.decision.digest, run.decision.seq);
  }

  get run(): Run {
    return this.#run;
  }

  /** null until the run has ended. */
  get finished(): FinishedRun | null {
    return this.#finished;
  }

  /** The allow has lapsed and something is still to be sent. */
  get isRenewing(): boolean {
    return this.#state.renewing && this.#state.end === null;
  }

  get subject(): string {
    return stateKey(this.#run.environment, this.#run.application);
  }

  /** Takes up whatever the stored run waits for. */
  async resume(): Promise<void> {
    if (this.#isResumed) await this.#rememberAllows();
    this.#perform();
  }

  start(): Promise<void> {
    return this.#feed({ type: 'start', at: this.#at() });
  }

  stop(reason: string): Promise<void> {
    return this.#feed({ type: 'stop', at: this.#at(), reason });
  }

  renew(allow: Allow, until: { readonly notAfter: string; readonly rollbackUntil: string }): Promise<void> {
    this.#allows.set(allow.digest, allow.seq);
    return this.#feed({ type: 'renewed', at: this.#at(), decision: allow.digest, seq: allow.seq, notAfter: until.notAfter, rollbackUntil: until.rollbackUntil });
  }

  waitOver(wait: { readonly target: string; readonly try: number; readonly until: string }): Promise<void> {
    // The queue's clock judged that the time has come; ours may be behind it.
    const now = this.#at();
    return this.#feed({ type: 'wait-over', at: now > wait.until ? now : wait.until, target: wait.target, try: wait.try });
  }

  /** Ends all waiting and leaves the run as it is stored. */
  async close(): Promise<void> {
    this.#closing.abort();
    await Promise.allSettled([this.#tail, ...this.#underWay]);
  }

  #at(): string {
    return this.#world.now().toISOString();
  }

  #feed(event: RunEvent): Promise<void> {
    this.#tail = this.#tail.then(() => this.#untilDone(() => this.#advance(event)));
    return this.#tail;
  }

  async #advance(event: RunEvent): Promise<void> {
    for (;;) {
      const { run: next } = advance(this.#state, event);
      if (next === this.#state) return this.#perform();
      const { at } = event;
      const n = this.#run.n + 1;
      const transition = { n, event: event as unknown as JsonObject, state: next as unknown as JsonObject, at, ends: next.end !== null };
      const stored = await this.#world.runs.appendTransition(this.#run.id, transition);
      if (!stored.ok) {
        await this.#reload();
        continue;
      }
      this.#run = { ...this.#run, n, state: transition.state, endedAt: transition.ends ? at : null };
      this.#state = next;
      return this.#perform();
    }
  }

  /** Another process moved the run on: from here on it is taken up like after a restart. */
  async #reload(): Promise<void> {
    const run = await this.#world.runs.run(this.#run.id);
    if (run === null) throw new Error(`the run ${this.#run.id} is no longer in the storage: restart the server, which creates it again from the log`);
    this.#run = run;
    this.#state = stateOf(run);
    this.#isResumed = true;
    await this.#rememberAllows();
  }

  /** Where the allows that this run's orders name stand in the log. */
  async #rememberAllows(): Promise<void> {
    for (const { event } of await this.#world.runs.transitions(this.#run.id)) {
      const { type, decision, seq } = event;
      if (type === 'renewed' && isDigest(decision) && typeof seq === 'number') this.#allows.set(decision, seq);
    }
  }

  #perform(): void {
    for (const { command, outdated } of this.#dispatching) if (isOutdated(command, this.#state)) outdated.abort();
    for (const command of outstandingCommands(this.#state)) {
      if (this.#closing.signal.aborted || this.#performed.has(command.key)) continue;
      this.#performed.add(command.key);
      const work: Promise<void> = this.#performOne(command).catch(this.#world.onInterrupted).finally(() => this.#underWay.delete(work));
      this.#underWay.add(work);
    }
  }

  async #performOne(command: Command): Promise<void> {
    switch (command.type) {
      case 'dispatch':
        return this.#dispatch(command);
      case 'wait':
        return this.#untilDone(() => this.#wait(command));
      case 'renew':
        return this.#world.onRenewal(this.subject);
      case 'finish':
        return this.#untilDone(() => this.#finish(command));
    }
  }

  async #dispatch(command: Extract<Command, { type: 'dispatch' }>): Promise<void> {
    const { environment, application, id, operation } = this.#run;
    const { target, decision } = command;
    const dispatching = { command, outdated: new AbortController() };
    this.#dispatching.add(dispatching);
    const event = await dispatchOrder(this.#world, {
      run: id, operation, command, allow: this.#allow(decision), resumed: this.#isResumed, closing: this.#closing.signal, outdated: dispatching.outdated.signal,
      onProgress: (lines) => this.#world.onProgress({ environment, application, target, lines }),
    });
    this.#dispatching.delete(dispatching);
    if (event !== null) await this.#feed(event);
  }

  /** An allow that nobody remembers has no place in the log; no bundle is made for it. */
  #allow(digest: Digest): Allow {
    return { digest, seq: this.#allows.get(digest) ?? -1 };
  }

  async #wait(command: Extract<Command, { type: 'wait' }>): Promise<void> {
    const { target, try: number, until } = command;
    const payload = { run: this.#run.id, target, try: number, until };
    await this.#world.jobs.enqueue(WAIT_JOB, payload, { jobKey: `${this.#run.id}/${command.key}`, runAt: new Date(until) });
  }

  async #finish(command: Extract<Command, { type: 'finish' }>): Promise<void> {
    const orders = await this.#world.runs.orders(this.#run.id);
    this.#finished = finishedRun(this.#run, this.#allow(this.#state.decision), command, orders);
    this.#world.onFinished(this.#finished);
  }

  /** While the storage is away nothing goes on and nothing is lost: the same thing is tried again until it works or this process stops. */
  async #untilDone(work: () => Promise<void>): Promise<void> {
    for (const pause = new Pause(); !this.#closing.signal.aborted; await pause.wait(this.#closing.signal)) {
      try {
        return await work();
      } catch (cause) {
        this.#world.onInterrupted(cause);
      }
    }
  }
}

/** T23: what has not reached an agent yet does not go out any more once the run stops or its allow was replaced. Going back is never called off. */
function isOutdated({ operation, decision }: Dispatching['command'], { phase, decision: now }: RunState): boolean {
  return operation !== 'fall-back' && (phase !== 'Running' || decision !== now);
}

function stateOf(run: Run): RunState {
  const state = run.state as unknown as RunState;
  if (state.type !== 'stella/run/v1') throw new Error(`the run ${run.id} has a state of type ${String(state.type)}, which this version cannot perform: run the version that wrote it`);
  return state;
}
