import { afterAll, beforeAll, expect, test } from 'vitest';
import { createServer, type Server, type Socket } from 'node:net';
import type { Json } from '../../src/core/model/canonical-json.ts';
import { openStorage, type Storage } from '../../src/adapters/postgres/storage.ts';
import { startPostgres, type ScratchPostgres } from '../fakes/postgres.ts';
import { AT, LOG, releaseRow, sql, TENANT } from './postgres-fixture.ts';

const scope = { tenant: TENANT, logId: LOG };
const within = { timeout: 40_000 };
const waiting = (): Promise<object[]> => sql(server.url, 'SELECT count(*)::int AS n FROM graphile_worker.jobs');
let server: ScratchPostgres;
let storage: Storage;

beforeAll(async () => {
  server = await startPostgres();
  storage = await openStorage(
    { database: { driver: 'postgres', url: server.url, ownerUrl: server.url }, objectStore: { driver: 'seed-fs' } }, { dataFolder: '/nowhere' });
});
afterAll(async () => {
  await storage.close();
  await server.stop();
});

test('while Postgres is away every call says so, and afterwards all goes on without a restart', async () => {
  const { ledger, reader } = storage.of(scope);
  await ledger.project({ asOf: AT, complete: false, releases: { set: [releaseRow('1')] } });
  await server.pause();
  const calls = [() => reader.releases(), () => ledger.project({ asOf: AT, complete: false }), () => ledger.tip(), () => storage.ping()];
  for (const call of calls) await expect(call()).rejects.toMatchObject({ code: 'StorageUnavailable', disposition: 'retry' });
  await server.resume();
  expect((await reader.releases()).total).toBe(1);
  await expect(storage.ping()).resolves.toBeUndefined();
});

test('a connection that is cut in the middle of a transaction loses only that transaction', async () => {
  const { ledger, reader } = storage.of(scope);
  const many = Array.from({ length: 50 }, (_, index) => releaseRow(`cut-${index}`));
  const cut = sql(server.url, "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = 'stella'");
  const written = await Promise.allSettled([ledger.project({ asOf: AT, complete: false, releases: { set: many } }), cut]);
  const found = (await reader.releases({ pageSize: 500 })).items.filter(({ version }) => version.startsWith('cut-')).length;
  expect([0, 50]).toContain(found);
  if (written[0].status === 'rejected') expect(written[0].reason).toMatchObject({ code: 'StorageUnavailable' });
  await ledger.project({ asOf: AT, complete: false, releases: { set: many } });
  expect((await reader.releases()).total).toBe(51);
});

test('jobs go on by themselves after an outage', async () => {
  const interrupted: unknown[] = [];
  const queue = storage.of(scope).jobs({ onInterrupted: (cause) => interrupted.push(cause) });
  const done: Json[] = [];
  queue.start({ run: (payload) => Promise.resolve(void done.push(payload)) });
  try {
    await queue.enqueue('run', 'before');
    await expect.poll(() => done, within).toEqual(['before']);
    await expect.poll(waiting, within).toEqual([{ n: 0 }]);
    await server.pause();
    await expect(queue.enqueue('run', 'lost')).rejects.toMatchObject({ code: 'StorageUnavailable' });
    await expect.poll(() => interrupted.length, within).toBeGreaterThan(0);
    expect(interrupted[0]).toMatchObject({ code: 'StorageUnavailable' });
    await server.resume();
    await queue.enqueue('run', 'after');
    await expect.poll(() => done, within).toEqual(['before', 'after']);
  } finally {
    await queue.stop();
  }
});

test('a job that was running through an outage is not lost', async () => {
  const queue = storage.of(scope).jobs();
  const attempts: number[] = [];
  const entered = Promise.withResolvers<void>();
  const leave = Promise.withResolvers<void>();
  queue.start({
    slow: async (_, { attempt }) => {
      attempts.push(attempt);
      entered.resolve();
      if (attempt === 1) await leave.promise;
    },
  });
  try {
    await queue.enqueue('slow', null);
    await entered.promise;
    await server.pause();
    leave.resolve();
    await expect(storage.ping()).rejects.toMatchObject({ code: 'StorageUnavailable' });
    await server.resume();
    await expect.poll(waiting, within).toEqual([{ n: 0 }]);
    expect(attempts[0]).toBe(1);
  } finally {
    await queue.stop();
  }
});

test('something that is no Postgres is a clear error, not a wait for ever', async () => {
  const liar: Server = createServer((socket: Socket) => void socket.on('error', () => undefined).end('HTTP/1.1 400 no\r\n\r\n'));
  await new Promise<void>((resolve) => liar.listen(0, '127.0.0.1', resolve));
  const address = liar.address();
  const url = `postgres://x@127.0.0.1:${typeof address === 'object' ? address?.port : 0}/x`;
  try {
    await expect(openStorage({ database: { driver: 'postgres', url, ownerUrl: url }, objectStore: { driver: 'seed-fs' } }, { dataFolder: '/nowhere' }))
      .rejects.toMatchObject({ code: 'StorageUnavailable' });
  } finally {
    liar.close();
  }
});
