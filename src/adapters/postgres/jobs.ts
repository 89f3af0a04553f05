import { setTimeout as sleep } from 'node:timers/promises';
import { run, type Runner, type TaskList } from 'graphile-worker';
import type pg from 'pg';
import type { Json } from '../../core/model/canonical-json.ts';
import { limits } from '../../core/model/limits.ts';
import type { JobHandler, JobOptions, JobQueue } from '../../ports/jobs.ts';
import { StorageError } from '../../ports/storage-error.ts';
import { toStorageError } from './errors.ts';
import { JOBS_SCHEMA, silentLogger } from './jobs-schema.ts';
import { acquireLeaderLock, type LeaderLock } from './leader-lock.ts';
import { openPool, type Scope } from './scope.ts';

export type JobQueueOptions = Scope & {
  /** Connection string of the application. */
  readonly url: string;
  /** Jobs apart from the others of this log, with workers of their own: what is slow in one lane holds nobody in another. */
  readonly lane?: string;
  /** Jobs at once. Default 16. */
  readonly concurrency?: number;
  /** Told when executing is interrupted by a failure; it is started again. */
  readonly onInterrupted?: (cause: unknown) => void;
};

/** Durable jobs of one log on graphile-worker. Names of tasks and keys begin with tenant and log, so logs never take each other's jobs. */
export function createJobQueue(options: JobQueueOptions): JobQueue {
  // No prefix begins with another, because whoever leads a lane frees what the dead held under its prefix.
  const prefix = `${options.tenant}/${options.logId}${options.lane === undefined ? '' : `@${options.lane}`}/`;
  const concurrency = options.concurrency ?? 16;
  const pool = openPool(options.url, { applicationName: 'stella-jobs', maxConnections: concurrency + 4, rawTypes: true });
  const stopping = new AbortController();
  const leading = Promise.withResolvers<void>();
  let working: Promise<void> | undefined;
  return {
    enqueue: (name, payload, jobOptions) => enqueue(pool, prefix, name, payload, jobOptions ?? {}),
    waiting: (name) => countWaiting(pool, prefix + name),
    start: (handlers) => {
      working ??= keepWorking({ options, prefix, pool, concurrency, handlers, stopping: stopping.signal, onLeading: leading.resolve });
    },
    leading: () => leading.promise,
    stop: async () => {
      stopping.abort();
      await working;
      if (!pool.ended && !pool.ending) await pool.end();
    },
  };
}

async function enqueue(pool: pg.Pool, prefix: string, name: string, payload: Json, { jobKey, runAt, maxAttempts }: JobOptions): Promise<void> {
  // In an object, because graphile-worker joins the lists of two jobs with one key.
  const text = JSON.stringify({ payload });
  if (Buffer.byteLength(text) > limits.jobPayloadBytes) throw new StorageError('LimitExceeded', `the payload of job ${name} is over ${limits.jobPayloadBytes} bytes: store it and name it`);
  try {
    await pool.query(
      `SELECT FROM ${JOBS_SCHEMA}.add_job(identifier := $1, payload := $2, run_at := $3, max_attempts := $4, job_key := $5)`,
      [prefix + name, text, runAt ?? null, maxAttempts ?? null, jobKey === undefined ? null : prefix + jobKey],
    );
  } catch (cause) {
    throw toStorageError(cause);
  }
}

/** Jobs that were tried for the last time wait no more. */
async function countWaiting(pool: pg.Pool, identifier: string): Promise<number> {
  try {
    const { rows } = await pool.query<{ count: string }>(`SELECT count(*) AS count FROM ${JOBS_SCHEMA}.jobs WHERE task_identifier = $1 AND attempts < max_attempts`, [identifier]);
    return Number(rows[0]?.count ?? 0);
  } catch (cause) {
    throw toStorageError(cause);
  }
}

type Work = {
  readonly options: JobQueueOptions;
  readonly prefix: string;
  readonly pool: pg.Pool;
  readonly concurrency: number;
  readonly handlers: Readonly<Record<string, JobHandler>>;
  readonly stopping: AbortSignal;
  readonly onLeading: () => void;
};

/** Takes the lead, works until it is lost, and begins again. Ends when the queue stops. */
async function keepWorking(work: Work): Promise<void> {
  for (let delayMs = FIRST_DELAY_MS; !work.stopping.aborted; delayMs = Math.min(delayMs * 2, LONGEST_DELAY_MS)) {
    const begunAt = performance.now();
    try {
      const lock = await acquireLeaderLock(work.options.url, `stella.jobs/${work.prefix}`, work.stopping);
      if (lock !== null) await workWhileLeading(work, lock);
    } catch (cause) {
      work.options.onInterrupted?.(toStorageError(cause));
    }
    if (performance.now() - begunAt > LONGEST_DELAY_MS) delayMs = FIRST_DELAY_MS;
    await sleep(delayMs, undefined, { signal: work.stopping }).catch(() => undefined);
  }
}

const FIRST_DELAY_MS = 100;
const LONGEST_DELAY_MS = 5_000;

async function workWhileLeading(work: Work, lock: LeaderLock): Promise<void> {
  const over = new AbortController();
  let runner: Runner | undefined;
  try {
    await freeJobsOfTheDead(work);
    runner = await run({
      pgPool: work.pool, schema: JOBS_SCHEMA, concurrency: work.concurrency, pollInterval: 2_000, noHandleSignals: true,
      // In batches, because only there a failure to write a job's end is handled: the runner stops, and the next start frees the job.
      preset: { worker: { completeJobBatchDelay: 0, failJobBatchDelay: 0 } },
      // Without this it would look for a crontab in the working folder.
      parsedCronItems: [],
      logger: silentLogger(),
      taskList: tasksOf(work, AbortSignal.any([work.stopping, over.signal])),
    });
    work.onLeading();
    await Promise.race([runner.promise, lock.lost, aborted(work.stopping)]);
  } finally {
    // Handlers leave at their next safe place; jobs that they leave open are tried again.
    over.abort();
    if (runner !== undefined) await stopRunner(runner);
    await lock.release();
  }
}

/** We hold the lock of this log, so whoever else has locked a job of it is dead. */
async function freeJobsOfTheDead(work: Work): Promise<void> {
  await work.pool.query(
    `SELECT ${JOBS_SCHEMA}.force_unlock_workers(ARRAY(
       SELECT DISTINCT job.locked_by FROM ${JOBS_SCHEMA}._private_jobs job JOIN ${JOBS_SCHEMA}._private_tasks task ON task.id = job.task_id
        WHERE job.locked_by IS NOT NULL AND starts_with(task.identifier, $1)))`,
    [work.prefix],
  );
}

function tasksOf(work: Work, signal: AbortSignal): TaskList {
  return Object.fromEntries(Object.entries(work.handlers).map(([name, handler]) => [
    work.prefix + name,
    async (wrapped: unknown, { job }: { readonly job: { readonly attempts: number } }) => handler((wrapped as { readonly payload: Json }).payload, { attempt: job.attempts, signal }),
  ]));
}

/** Waits for running handlers; where Postgres is away the stop itself can fail, and then the next leader frees the jobs. */
async function stopRunner(runner: Runner): Promise<void> {
  await runner.stop().catch(() => undefined);
  await runner.promise.catch(() => undefined);
}

function aborted(signal: AbortSignal): Promise<void> {
  return new Promise((resolve) => {
    if (signal.aborted) resolve();
    else signal.addEventListener('abort', () => resolve(), { once: true });
  });
}
