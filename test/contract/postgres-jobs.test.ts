import { execFile } from 'node:child_process';
import { promisify } from 'node:util';
import { beforeEach, describe, expect, test } from 'vitest';
import { digestOfBytes } from '../../src/core/model/digest.ts';
import { limits } from '../../src/core/model/limits.ts';
import { createJobQueue, type JobQueueOptions } from '../../src/adapters/postgres/jobs.ts';
import type { Json } from '../../src/core/model/canonical-json.ts';
import type { JobHandler, JobQueue } from '../../src/ports/jobs.ts';
import type { ScratchDatabase } from '../fakes/postgres.ts';
import { LOG, migratedDatabase, sql, TENANT } from './postgres-fixture.ts';

let database: ScratchDatabase;
let open: JobQueue[];

beforeEach(async () => {
  database = await migratedDatabase();
  open = [];
  return async () => {
    await Promise.all(open.map((queue) => queue.stop()));
    await database.drop();
  };
});

function queueOf(options: Partial<JobQueueOptions> = {}): JobQueue {
  const queue = createJobQueue({ tenant: TENANT, logId: LOG, url: database.url, concurrency: 2, ...options });
  open.push(queue);
  return queue;
}

/** A handler that remembers what it was called with. */
function remembering(): { readonly calls: [Json, number][]; readonly handler: JobHandler } {
  const calls: [Json, number][] = [];
  return { calls, handler: (payload, { attempt }) => Promise.resolve(void calls.push([payload, attempt])) };
}

const within = { timeout: 30_000 };
const waiting = (): Promise<object[]> => sql(database.url, 'SELECT count(*)::int AS n FROM graphile_worker.jobs');

describe('jobs', () => {
  test('are executed with their payload, also those enqueued before anybody executes', async () => {
    const queue = queueOf();
    const { calls, handler } = remembering();
    await queue.enqueue('run', { id: 1, text: 'a\0b' });
    queue.start({ run: handler });
    await queue.leading();
    await queue.enqueue('run', [2]);
    await expect.poll(() => calls.toSorted((a, b) => (JSON.stringify(a) < JSON.stringify(b) ? -1 : 1)), within).toEqual([[[2], 1], [{ id: 1, text: 'a\0b' }, 1]]);
    await expect.poll(waiting, within).toEqual([{ n: 0 }]);
  });

  test('with one key wait once, with the last payload', async () => {
    const queue = queueOf();
    const { calls, handler } = remembering();
    for (const n of [1, 2, 3]) await queue.enqueue('run', [n], { jobKey: 'the run' });
    queue.start({ run: handler });
    await expect.poll(() => calls, within).toEqual([[[3], 1]]);
    await expect.poll(waiting, within).toEqual([{ n: 0 }]);
  });

  test('of one lane are counted, and executed by the workers of that lane alone', async () => {
    const [queue, lane] = [queueOf(), queueOf({ lane: 'notify' })];
    const [runs, told] = [remembering(), remembering()];
    await lane.enqueue('tell', [1]);
    await lane.enqueue('tell', [2]);
    expect([await lane.waiting('tell'), await lane.waiting('other'), await queue.waiting('tell')]).toEqual([2, 0, 0]);
    queue.start({ run: runs.handler, tell: runs.handler });
    lane.start({ tell: told.handler });
    await Promise.all([queue.leading(), lane.leading()]);
    await queue.enqueue('run', [3]);
    await expect.poll(() => [told.calls.length, runs.calls], within).toEqual([2, [[[3], 1]]]);
    await expect.poll(() => lane.waiting('tell'), within).toBe(0);
  });

  test('wait for their time, and one that is put forward runs at once', async () => {
    const queue = queueOf();
    const { calls, handler } = remembering();
    queue.start({ run: handler });
    await queue.leading();
    await queue.enqueue('run', 'later', { jobKey: 'a', runAt: new Date('2999-01-01T00:00:00.000Z') });
    await queue.enqueue('run', 'now');
    await expect.poll(() => calls, within).toEqual([['now', 1]]);
    await queue.enqueue('run', 'put forward', { jobKey: 'a' });
    await expect.poll(() => calls, within).toEqual([['now', 1], ['put forward', 1]]);
  });

  test('that fail are tried again', async () => {
    const queue = queueOf();
    const attempts: number[] = [];
    queue.start({
      run: (_, { attempt }) => {
        attempts.push(attempt);
        return attempt < 2 ? Promise.reject(new Error('not yet')) : Promise.resolve();
      },
    });
    await queue.enqueue('run', null);
    await expect.poll(() => attempts, within).toEqual([1, 2]);
    await expect.poll(waiting, within).toEqual([{ n: 0 }]);
  });

  test('with a payload that is too large are refused', async () => {
    await expect(queueOf().enqueue('run', 'x'.repeat(limits.jobPayloadBytes))).rejects.toMatchObject({ code: 'LimitExceeded' });
    expect(await waiting()).toEqual([{ n: 0 }]);
  });
});

describe('who executes', () => {
  test('a job that a killed server was executing runs again at once on the next', async () => {
    const module = new URL('../../src/adapters/postgres/jobs.ts', import.meta.url).href;
    const script = `import { createJobQueue } from ${JSON.stringify(module)};
      const queue = createJobQueue(${JSON.stringify({ tenant: TENANT, logId: LOG, url: database.url })});
      await queue.enqueue('run', 'precious');
      queue.start({ run: () => process.kill(process.pid, 'SIGKILL') });
      setInterval(() => undefined, 1000);`;
    await expect(promisify(execFile)(process.execPath, ['--input-type=module', '--eval', script])).rejects.toMatchObject({ signal: 'SIGKILL' });
    expect(await sql(database.url, 'SELECT attempts, locked_by IS NOT NULL AS locked FROM graphile_worker.jobs')).toEqual([{ attempts: 1, locked: true }]);
    const queue = queueOf();
    const { calls, handler } = remembering();
    queue.start({ run: handler });
    await expect.poll(() => calls, within).toEqual([['precious', 2]]);
  });

  test('one server at a time; the next takes over when it stops', async () => {
    const [first, second] = [queueOf(), queueOf()];
    const [one, two] = [remembering(), remembering()];
    first.start({ run: one.handler });
    await first.leading();
    second.start({ run: two.handler });
    await second.enqueue('run', 'a');
    await expect.poll(() => one.calls, within).toEqual([['a', 1]]);
    await first.stop();
    await second.leading();
    await second.enqueue('run', 'b');
    await expect.poll(() => two.calls, within).toEqual([['b', 1]]);
    expect(one.calls).toHaveLength(1);
  });

  test('logs and tenants execute their own jobs and leave the locks of others alone', async () => {
    const mine = queueOf();
    const others = [queueOf({ tenant: 'other' }), queueOf({ logId: digestOfBytes('other log') })];
    const entered = Promise.withResolvers<void>();
    const leave = Promise.withResolvers<void>();
    let runs = 0;
    mine.start({
      run: async () => {
        runs += 1;
        entered.resolve();
        await leave.promise;
      },
    });
    await mine.enqueue('run', null);
    await entered.promise;
    const theirs = remembering();
    for (const queue of others) {
      queue.start({ run: theirs.handler });
      await queue.leading();
      await queue.enqueue('run', 'theirs');
    }
    await expect.poll(() => theirs.calls, within).toEqual([['theirs', 1], ['theirs', 1]]);
    leave.resolve();
    await expect.poll(waiting, within).toEqual([{ n: 0 }]);
    expect(runs).toBe(1);
  });

  test('a stop tells handlers, and waits until they have left', async () => {
    const queue = queueOf();
    const entered = Promise.withResolvers<void>();
    const steps: string[] = [];
    queue.start({
      run: async (_, { signal }) => {
        entered.resolve();
        await new Promise((resolve) => signal.addEventListener('abort', resolve, { once: true }));
        steps.push('told');
        await new Promise(setImmediate);
        steps.push('left');
      },
    });
    await queue.enqueue('run', null);
    await entered.promise;
    await queue.stop();
    steps.push('stopped');
    expect(steps).toEqual(['told', 'left', 'stopped']);
    expect(await waiting()).toEqual([{ n: 0 }]);
  });
});
