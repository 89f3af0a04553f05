import { parseCanonicalJson, type Json, type JsonObject } from '../core/model/canonical-json.ts';
import type { Plan } from '../core/model/preimages.ts';
import type { AppState, LogState, OpenRun } from '../core/evidence/log-state.ts';
import { startRun } from '../core/workflow/run-state.ts';
import type { AgentHub } from '../ports/agent-hub.ts';
import type { JobContext, JobHandler, JobQueue } from '../ports/jobs.ts';
import type { Run, RunStore } from '../ports/run-store.ts';
import type { BundleSources } from './build-bundle.ts';
import { identityIn, isSuspendedIn } from './run-dispatch.ts';
import type { FinishedRun } from './run-outcome.ts';
import { Pause } from './run-pause.ts';
import { RunPerformer, WAIT_JOB, type PerformerWorld, type RunProgress } from './run-performer.ts';

export type RunExecutorWorld = BundleSources & {
  readonly hub: AgentHub;
  readonly runs: RunStore;
  /** Executes {@link RunExecutor.handlers}. */
  readonly jobs: JobQueue;
  readonly now: () => Date;
  /** A run has ended: {@link RunExecutor.takeFinished} has its outcome. */
  readonly onFinished?: (finished: FinishedRun) => void;
  /** An allow has lapsed: {@link RunExecutor.needsRenewal} names the subject. */
  readonly onRenewal?: (subject: string) => void;
  readonly onProgress?: (progress: RunProgress) => void;
  /** Told what keeps runs from going on (storage or agents away); it is tried again. */
  readonly onInterrupted?: (cause: unknown) => void;
};

type OpenApp = AppState & { readonly openRun: OpenRun };

/**
 * Performs the runs that the pushed log says are open, and nothing else: evidence first. It holds no truth of its own. What the log opened is
 * created in the run store, taken up there after a restart, and forgotten once the log has closed it.
 */
export class RunExecutor {
  readonly #world: RunExecutorWorld;
  readonly #performerWorld: PerformerWorld;
  readonly #closing = new AbortController();
  /** By `<environment>/<application>`: the log has at most one run open there. */
  readonly #performers = new Map<string, RunPerformer>();
  /** Given last, and whether all of it was taken up. */
  #state: LogState | null = null;
  #isSynced = false;
  #tail: Promise<void> = Promise.resolve();
  #retrying: Promise<void> | null = null;

  /** What the job queue has to execute. */
  readonly handlers: { readonly [WAIT_JOB]: JobHandler };

  constructor(world: RunExecutorWorld) {
    this.#world = world;
    this.#performerWorld = {
      hub: world.hub, runs: world.runs, jobs: world.jobs, now: world.now, sources: { changes: world.changes, artifacts: world.artifacts, envelope: world.envelope },
      identityOf: (agent) => (this.#state === null ? null : identityIn(this.#state, agent)),
      isSuspended: (agent) => this.#state !== null && isSuspendedIn(this.#state, agent),
      onFinished: (finished) => world.onFinished?.(finished),
      onRenewal: (subject) => world.onRenewal?.(subject),
      onProgress: (progress) => world.onProgress?.(progress),
      onInterrupted: (cause) => world.onInterrupted?.(cause),
    };
    this.handlers = { [WAIT_JOB]: (payload, context) => this.#waitOver(payload, context) };
  }

  /**
   * Makes what is performed follow the log. Returns once every open run is taken up; performing goes on in the background. Where the storage is
   * away this returns too, and is tried again by itself.
   * @param state as it was pushed; a state that is not pushed must never come here
   */
  sync(state: LogState): Promise<void> {
    this.#tail = this.#tail.then(() => this.#sync(state));
    return this.#tail;
  }

  /** Outcomes that the log does not have yet. Each is given again until the log given to `sync` has closed its run, so a lost push loses nothing. */
  takeFinished(): readonly FinishedRun[] {
    return [...this.#performers.values()].flatMap(({ finished }) => finished ?? []);
  }

  /** `<environment>/<application>` of every run whose allow has lapsed (T23): decide them again. */
  needsRenewal(): readonly string[] {
    return [...this.#performers.values()].filter((performer) => performer.isRenewing).map(({ subject }) => subject);
  }

  /** Stops performing. Runs stay as they are stored and are taken up at the next start. */
  async close(): Promise<void> {
    this.#closing.abort();
    await this.#tail;
    await Promise.all([...this.#performers.values()].map((performer) => performer.close()));
    await this.#retrying;
  }

  async #sync(state: LogState): Promise<void> {
    if (this.#closing.signal.aborted || (this.#isSynced && this.#state?.states === state.states)) {
      this.#state = state;
      return;
    }
    this.#state = state;
    const open = openApps(state);
    await this.#forget(open);
    this.#isSynced = true;
    for (const [subject, app] of open) {
      try {
        await this.#follow(subject, app);
      } catch (cause) {
        this.#isSynced = false;
        this.#world.onInterrupted?.(cause);
      }
    }
    if (!this.#isSynced) this.#retrying ??= this.#retry();
  }

  async #retry(): Promise<void> {
    for (const pause = new Pause(); !this.#isSynced && !this.#closing.signal.aborted; ) {
      await pause.wait(this.#closing.signal);
      if (this.#state !== null) await this.sync(this.#state);
    }
    this.#retrying = null;
  }

  /** Runs that the log has closed, or never opened, are no business of ours any more. */
  async #forget(open: ReadonlyMap<string, OpenApp>): Promise<void> {
    for (const [subject, performer] of this.#performers) {
      const run = open.get(subject)?.openRun;
      if (run !== undefined && isSame(performer.run, run)) continue;
      this.#performers.delete(subject);
      await performer.close();
    }
  }

  async #follow(subject: string, app: OpenApp): Promise<void> {
    const { openRun } = app;
    const known = this.#performers.get(subject);
    const performer = known ?? (await this.#take(app));
    this.#performers.set(subject, performer);
    if (openRun.fallen) void performer.stop('the allow has fallen'); // T23
    if (openRun.decision.digest !== performer.run.decision.digest) void performer.renew(openRun.decision, openRun);
    if (known === undefined) void performer.start();
  }

  /** The run as it is stored, or a new one from the plan of its allow. */
  async #take(app: OpenApp): Promise<RunPerformer> {
    const { runs } = this.#world;
    const { promotionDigest, generation } = app.openRun;
    const stored = await runs.runOf(promotionDigest, generation, extensionOf(app.openRun));
    const run = stored ?? (await this.#create(app));
    const performer = new RunPerformer(this.#performerWorld, run, stored !== null);
    await performer.resume();
    return performer;
  }

  async #create(app: OpenApp): Promise<Run> {
    const { environment, application, openRun } = app;
    const { operation, promotionDigest, generation, decision, notAfter, rollbackUntil } = openRun;
    const plan = await this.#plan(openRun);
    const state = startRun({ plan, promotionDigest, generation, decision: decision.digest, decidedSeq: decision.seq, notAfter, rollbackUntil, replaces: operation === 'extend' ? null : app.lock, tries: triesBefore(app) });
    const openedAt = this.#world.now().toISOString();
    const wanted = { environment, application, operation, promotionDigest, generation, extension: extensionOf(openRun), decision, state: state as unknown as JsonObject, openedAt };
    const created = await this.#world.runs.createRun(wanted);
    if (created.ok) return created.run;
    await this.#endOlder(app, openedAt);
    const again = await this.#world.runs.createRun(wanted);
    if (again.ok) return again.run;
    throw new Error(`another run of ${environment}/${application} is open in the storage than in the log: another server is ahead of this one, and this one waits`);
  }

  /** The log is the truth: a run of an earlier generation that is still open in the store (one that was restored from a backup, say) is over. */
  async #endOlder({ environment, application, openRun }: OpenApp, at: string): Promise<void> {
    for (const run of await this.#world.runs.openRuns()) {
      if (run.environment !== environment || run.application !== application || run.generation >= openRun.generation) continue;
      await this.#world.runs.appendTransition(run.id, { n: run.n + 1, event: { type: 'closed-in-log', at }, state: run.state, at, ends: true });
    }
  }

  async #plan(openRun: OpenRun): Promise<Plan> {
    const { artifacts } = this.#world;
    await artifacts.load([openRun.plan]);
    const bytes = artifacts.get(openRun.plan);
    const plan = bytes === undefined ? undefined : (parseCanonicalJson(bytes) as Plan | undefined);
    if (plan === undefined) throw new Error(`the plan ${openRun.plan} is not in the log: run \`stella verify\``);
    return plan;
  }

  /** A wait of a run that is not performed here is over with the run, or is asked for again when the run is taken up. */
  async #waitOver(payload: Json, context: JobContext): Promise<void> {
    const wait = payload as { readonly run: string; readonly target: string; readonly try: number; readonly until: string };
    const performer = [...this.#performers.values()].find(({ run }) => run.id === wait.run);
    if (performer === undefined) return;
    await Promise.race([performer.waitOver(wait), rejectedBy(context.signal)]);
  }
}

function openApps(state: LogState): Map<string, OpenApp> {
  const open = new Map<string, OpenApp>();
  for (const [subject, app] of state.states.entries()) if (app.openRun !== null) open.set(subject, { ...app, openRun: app.openRun });
  return open;
}

function isSame(run: Run, open: OpenRun): boolean {
  return run.promotionDigest === open.promotionDigest && run.generation === open.generation && run.extension === extensionOf(open);
}

/** What tells the runs of one promotion apart. */
function extensionOf({ operation, openedSeq }: OpenRun): number {
  return operation === 'extend' ? openedSeq : 0;
}

/** An extension stays in its generation, so its orders are counted on from those that its targets got before. */
function triesBefore({ openRun, standing }: OpenApp): ReadonlyMap<string, number> {
  return new Map(openRun.operation === 'extend' ? standing?.targets.map((mark) => [mark.target, mark.try]) : []);
}

function rejectedBy(signal: AbortSignal): Promise<never> {
  return new Promise((_, reject) => {
    const stop = (): void => reject(new Error('the queue stops: the job is tried again after the restart'));
    if (signal.aborted) stop();
    else signal.addEventListener('abort', stop, { once: true });
  });
}
