import type { Json } from '../core/model/canonical-json.ts';

export type JobOptions = {
  /** A waiting job with this key is replaced; one that runs is left to end, and the new one runs after it. */
  readonly jobKey?: string;
  /** Not before this moment; default at once. */
  readonly runAt?: Date;
  /** Tries in all, the first included; default 25. Between tries it waits e^n seconds. */
  readonly maxAttempts?: number;
};

export type JobContext = {
  /** 1 for the first try. A try that a crash ended counts. */
  readonly attempt: number;
  /** Fires when the queue stops: leave at the next safe place by throwing; the job is then tried again later. */
  readonly signal: AbortSignal;
};
/** Must be idempotent: after a crash a job runs again. Throwing means: try again later. */
export type JobHandler = (payload: Json, context: JobContext) => Promise<void>;

/** Durable work that outlives the process. One server of a log executes; all may enqueue. */
export interface JobQueue {
  /** @throws StorageError `LimitExceeded` for a payload over `limits.jobPayloadBytes`, `StorageUnavailable`. */
  enqueue(name: string, payload: Json, options?: JobOptions): Promise<void>;
  /** How many jobs of this name wait or are to be tried again. @throws StorageError `StorageUnavailable` */
  waiting(name: string): Promise<number>;
  /**
   * Starts executing. Waits in the background while another server executes for this log. Jobs that a dead server held are freed.
   * Goes on by itself after an outage of Postgres.
   */
  start(handlers: Readonly<Record<string, JobHandler>>): void;
  /** Resolves once this server has become the one that executes. */
  leading(): Promise<void>;
  /** Lets running handlers end (their `signal` fires at once), then stops. */
  stop(): Promise<void>;
}
