import { describe, expect, test } from 'vitest';
import { ReconcileLoop, type LoopParts, type LoopTimers } from '../../src/reconciler/loop.ts';
import type { PassReport } from '../../src/reconciler/reconciler.ts';

const GOOD: PassReport = { ok: true, suspects: [], tip: null, records: 0, fault: null };
const BAD: PassReport = { ok: false, suspects: [], tip: null, records: 0, fault: { code: 'PushFailed', message: 'no' } };

/** Time that moves only when a test moves it. */
class Clock implements LoopTimers {
  ms = 1_000_000;
  #timers: { at: number; run: () => void }[] = [];

  after(ms: number, run: () => void): () => void {
    const timer = { at: this.ms + ms, run };
    this.#timers.push(timer);
    return () => void (this.#timers = this.#timers.filter((other) => other !== timer));
  }

  /** Milliseconds until each timer that is set. */
  get waiting(): readonly number[] {
    return this.#timers.map(({ at }) => at - this.ms);
  }

  async pass(ms: number): Promise<void> {
    this.ms += ms;
    const due = this.#timers.filter(({ at }) => at <= this.ms);
    this.#timers = this.#timers.filter(({ at }) => at > this.ms);
    for (const { run } of due) run();
    await quiet();
  }
}

/** All promises that can settle have settled. */
async function quiet(): Promise<void> {
  for (let turn = 0; turn < 50; turn++) await Promise.resolve();
}

function looping(answers: readonly PassReport[], more: Partial<LoopParts> = {}, due: { at: number | null } = { at: null }) {
  const clock = new Clock();
  const reasons: (readonly string[])[] = [];
  const gate = { held: null as Promise<void> | null, running: 0, most: 0 };
  const reconciler = {
    nextDue: () => due.at,
    pass: async () => {
      gate.running += 1;
      gate.most = Math.max(gate.most, gate.running);
      await gate.held;
      gate.running -= 1;
      return answers[reasons.length] ?? GOOD;
    },
  };
  const loop = new ReconcileLoop({ reconciler, now: () => new Date(clock.ms), timers: clock, random: () => 0, pollSeconds: 60, onPass: (pass) => void reasons.push(pass.reasons), ...more });
  return { loop, clock, reasons, gate };
}

describe('a loop', () => {
  test('makes a pass at its start and then one each poll', async () => {
    const { loop, clock, reasons } = looping([]);
    loop.start();
    await quiet();
    expect(reasons).toEqual([['start']]);
    expect(clock.waiting).toEqual([60_000]);
    await clock.pass(60_000);
    expect(reasons).toEqual([['start'], ['poll']]);
  });

  test('makes one pass of any number of wake-ups during a pass, and never two at once', async () => {
    const { loop, reasons, gate } = looping([]);
    const hold = Promise.withResolvers<void>();
    gate.held = hold.promise;
    loop.start();
    await quiet();
    for (const reason of ['webhook', 'file', 'webhook', 'file']) loop.wake(reason);
    await quiet();
    hold.resolve();
    await quiet();
    expect(reasons).toEqual([['start'], ['webhook', 'file']]);
    expect(gate.most).toBe(1);
  });

  test('looks again at once after a pass that wrote records, until one writes none', async () => {
    const { loop, reasons } = looping([{ ...GOOD, records: 4 }, { ...GOOD, records: 1 }]);
    loop.start();
    await quiet();
    expect(reasons).toEqual([['start'], ['records'], ['records']]);
    expect(loop.status).toMatchObject({ passes: 3, records: 5 });
  });

  test('goes on with polling when passes never stop writing', async () => {
    const { loop, clock } = looping(Array.from({ length: 500 }, () => ({ ...GOOD, records: 1 })));
    loop.start();
    for (let turn = 0; turn < 20; turn++) await quiet();
    expect(loop.status.passes).toBe(20);
    expect(clock.waiting).toEqual([60_000]);
  });

  test('wakes when something falls due before the poll', async () => {
    const due = { at: 1_005_000 as number | null };
    const { loop, clock, reasons } = looping([], {}, due);
    loop.start();
    await quiet();
    expect(clock.waiting).toEqual([5_000]);
    due.at = null;
    await clock.pass(5_000);
    expect(reasons.at(-1)).toEqual(['due']);
    expect(clock.waiting).toEqual([60_000]);
  });

  test('waits longer after each failure, up to a poll, and forgets it with a success', async () => {
    const { loop, clock, reasons } = looping([BAD, BAD, BAD, BAD, BAD, BAD, BAD, BAD, BAD], { random: () => 1 - Number.EPSILON });
    loop.start();
    await quiet();
    const pauses: number[] = [];
    while (reasons.length < 10) {
      pauses.push(...clock.waiting);
      await clock.pass(clock.waiting[0] ?? 0);
    }
    expect(pauses).toEqual([500, 1_000, 2_000, 4_000, 8_000, 16_000, 32_000, 60_000, 60_000]);
    expect(clock.waiting).toEqual([60_000]);
    expect(loop.status).toMatchObject({ failures: 9, failuresInRow: 0 });
  });

  test('spreads its pauses between a half and the whole', async () => {
    const { loop, clock } = looping([BAD], { random: () => 0 });
    loop.start();
    await quiet();
    expect(clock.waiting).toEqual([250]);
  });

  test('keeps what woke it during a failure for after the pause, and ends the pause for what comes later', async () => {
    const { loop, clock, reasons, gate } = looping([BAD, BAD]);
    const hold = Promise.withResolvers<void>();
    gate.held = hold.promise;
    loop.start();
    loop.wake('file');
    hold.resolve();
    await quiet();
    expect(reasons).toHaveLength(1);
    await clock.pass(250);
    expect(reasons.at(-1)).toEqual(expect.arrayContaining(['file', 'retry']));
    loop.wake('webhook');
    await quiet();
    expect(reasons.at(-1)).toEqual(['webhook']);
  });

  test('is overdue once several polls went by without a success, also before the first one', async () => {
    const { loop, clock } = looping(Array.from({ length: 100 }, () => BAD), { overdueAfterPolls: 2 });
    loop.start();
    await quiet();
    expect(loop.status.overdue).toBe(false);
    clock.ms += 120_001;
    expect(loop.status).toMatchObject({ overdue: true, lastSuccessAt: null });
  });

  test('ends with the pass that runs and begins no other', async () => {
    const { loop, clock, reasons, gate } = looping([]);
    const hold = Promise.withResolvers<void>();
    gate.held = hold.promise;
    loop.start();
    const stopped = loop.stop().then(() => reasons.length);
    loop.wake('webhook');
    hold.resolve();
    expect(await stopped).toBe(1);
    loop.wake('file');
    await quiet();
    expect(reasons).toHaveLength(1);
    expect(clock.waiting).toEqual([]);
  });

  test('goes on when whoever listens fails', async () => {
    const { loop, clock } = looping([], { onPass: () => Promise.reject(new Error('the listener is broken')) });
    loop.start();
    await quiet();
    await clock.pass(60_000);
    expect(loop.status.passes).toBe(2);
  });
});
