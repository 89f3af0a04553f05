import type { PassReport } from './reconciler.ts';

/** Timers as values, so that a test decides when time passes. */
export type LoopTimers = {
  /** Calls `run` once after `ms`. @returns withdraws it */
  after(ms: number, run: () => void): () => void;
};

export type LoopParts = {
  readonly reconciler: {
    /** Never throws. */
    pass(): Promise<PassReport>;
    /** When something can change by time alone, milliseconds since 1970; null if nothing can. */
    nextDue(): number | null;
  };
  readonly now: () => Date;
  readonly timers: LoopTimers;
  /** A number in [0, 1), for jitter. */
  readonly random: () => number;
  readonly pollSeconds: number;
  readonly backOff?: { readonly firstMs: number; readonly maxMs: number };
  /** Polls without a success after which the loop is overdue, 5 by default. */
  readonly overdueAfterPolls?: number;
  /** Told of each pass once it has ended, before the next one begins. */
  readonly onPass?: (pass: LoopPass) => void | Promise<void>;
};

export type LoopPass = { readonly report: PassReport; readonly reasons: readonly string[]; readonly durationMs: number };

export type LoopStatus = {
  readonly passes: number;
  readonly failures: number;
  /** Failures since the last success. */
  readonly failuresInRow: number;
  readonly records: number;
  readonly lastSuccessAt: Date | null;
  readonly lastReport: PassReport | null;
  readonly lastDurationMs: number | null;
  /** No pass has succeeded for as long as several polls take: somebody has to look. */
  readonly overdue: boolean;
};

const FIRST_BACK_OFF_MS = 500;
const OVERDUE_AFTER_POLLS = 5;
/** Passes one after the other because each wrote records; then the poll takes over, should they never end. */
const PASSES_IN_ROW = 20;
/** What a timer can hold. */
const LONGEST_TIMER_MS = 2 ** 31 - 1;

/**
 * Runs passes one after the other: when woken, at the latest after `pollSeconds`, when something falls due, again at once after a pass that
 * wrote records (they may enable others), and after a growing pause when one failed. Correctness depends on none of the wake-ups.
 */
export class ReconcileLoop {
  readonly #parts: LoopParts;
  #reasons = new Set<string>();
  #running: Promise<void> | null = null;
  #withdraw: (() => void) | null = null;
  #started: Date | null = null;
  #stopped = false;
  #inRow = 0;
  #status: Omit<LoopStatus, 'overdue'> = { passes: 0, failures: 0, failuresInRow: 0, records: 0, lastSuccessAt: null, lastReport: null, lastDurationMs: null };

  constructor(parts: LoopParts) {
    this.#parts = parts;
  }

  /** Makes the first pass. */
  start(): void {
    this.#started ??= this.#parts.now();
    this.wake('start');
  }

  /** Looks again, now or right after the pass that is running. Any number of calls until then is one. */
  wake(reason: string): void {
    if (this.#stopped || this.#started === null) return;
    this.#reasons.add(reason);
    if (this.#running === null) this.#begin();
  }

  /** Begins no pass any more. @returns once the one that runs has ended */
  async stop(): Promise<void> {
    this.#stopped = true;
    this.#sleepNoMore();
    await this.#running;
  }

  get status(): LoopStatus {
    const { now, pollSeconds, overdueAfterPolls = OVERDUE_AFTER_POLLS } = this.#parts;
    const since = this.#status.lastSuccessAt ?? this.#started;
    const overdue = since !== null && now().getTime() - since.getTime() > pollSeconds * 1000 * overdueAfterPolls;
    return { ...this.#status, overdue };
  }

  #begin(): void {
    this.#sleepNoMore();
    const reasons = [...this.#reasons];
    this.#reasons = new Set();
    this.#running = this.#pass(reasons).then((again) => {
      this.#running = null;
      this.#goOn(again);
    });
  }

  #goOn(again: boolean): void {
    if (this.#stopped) return;
    if (again) this.#reasons.add('records');
    // Also with what woke it during the failure; a wake-up from now on is news and ends the pause.
    if (this.#status.failuresInRow > 0) return this.#sleep(this.#backOffMs(), 'retry');
    if (this.#reasons.size > 0) return this.#begin();
    const due = this.#parts.reconciler.nextDue();
    const pollMs = this.#parts.pollSeconds * 1000;
    const dueMs = due === null ? pollMs : Math.max(due - this.#parts.now().getTime(), 0);
    this.#sleep(Math.min(pollMs, dueMs), dueMs < pollMs ? 'due' : 'poll');
  }

  /** @returns whether another pass follows at once */
  async #pass(reasons: readonly string[]): Promise<boolean> {
    const begunAt = this.#parts.now().getTime();
    const report = await this.#parts.reconciler.pass();
    const durationMs = this.#parts.now().getTime() - begunAt;
    const before = this.#status;
    this.#status = {
      passes: before.passes + 1, failures: before.failures + Number(!report.ok), failuresInRow: report.ok ? 0 : before.failuresInRow + 1,
      records: before.records + report.records, lastSuccessAt: report.ok ? this.#parts.now() : before.lastSuccessAt, lastReport: report, lastDurationMs: durationMs,
    };
    try {
      await this.#parts.onPass?.({ report, reasons, durationMs });
    } catch {
      // Whoever listens must not end the loop.
    }
    this.#inRow = report.ok && report.records > 0 ? this.#inRow + 1 : 0;
    return this.#inRow > 0 && this.#inRow < PASSES_IN_ROW;
  }

  #sleep(ms: number, reason: string): void {
    this.#sleepNoMore();
    this.#withdraw = this.#parts.timers.after(Math.min(ms, LONGEST_TIMER_MS), () => {
      this.#withdraw = null;
      this.#reasons.add(reason);
      if (this.#running === null && !this.#stopped) this.#begin();
    });
  }

  #sleepNoMore(): void {
    this.#withdraw?.();
    this.#withdraw = null;
  }

  /** Between half and all of a pause that doubles with each failure, up to the poll. */
  #backOffMs(): number {
    const { random, pollSeconds, backOff = { firstMs: FIRST_BACK_OFF_MS, maxMs: pollSeconds * 1000 } } = this.#parts;
    const ceilingMs = Math.min(backOff.maxMs, backOff.firstMs * 2 ** Math.min(this.#status.failuresInRow - 1, 30));
    return Math.round(ceilingMs / 2 + (ceilingMs / 2) * random());
  }
}

/** The timers of this process. */
export const processTimers: LoopTimers = {
  after: (ms, run) => {
    const timer = setTimeout(run, ms);
    return () => clearTimeout(timer);
  },
};
