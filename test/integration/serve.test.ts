import { afterEach, beforeEach, expect, test } from 'vitest';
import type { StartedServer } from '../../src/cli/compose/server.ts';
import type { ExplainLine } from '../../src/core/decision/explain.ts';
import type { Condition } from '../../src/ports/ledger.ts';
import type { CommitId } from '../../src/core/model/commit-id.ts';
import { readEvidence } from '../../src/reconciler/read-evidence.ts';
import { migratedDatabase } from '../contract/postgres-fixture.ts';
import type { ScratchDatabase } from '../fakes/postgres.ts';
import { doc, World } from '../fakes/world.ts';
import { cloneFor, json } from './cli-fixture.ts';
import { getJson, serverConfig, start } from './serve-fixture.ts';
import { openPgp } from '../fakes/openpgp.ts';

const within = { timeout: 20_000, interval: 50 };
let world: World;
let database: ScratchDatabase;
let server: StartedServer | null = null;

beforeEach(async () => {
  database = await migratedDatabase();
});
afterEach(async () => {
  await server?.close();
  server = null;
  await world.close();
  await database.drop();
});

const configure = (variables: Readonly<Record<string, string>> = {}) => serverConfig(world, { STORAGE__DRIVER: 'postgres', CONNECTIONSTRINGS__DEFAULT: database.url, ...variables });

/** A new log with one server on it, after its first pass. */
async function serving(): Promise<StartedServer> {
  world = await World.create({ idle: true });
  return (server = await settled(await start(await configure(), { createLog: true })));
}

async function settled(started: StartedServer): Promise<StartedServer> {
  await expect.poll(() => started.loop.status.lastReport, within).toMatchObject({ ok: true, records: 0 });
  return started;
}

const evidenceTip = () => world.repository.tip('stella/evidence');
const fault = () => server?.loop.status.lastReport?.fault?.code ?? null;
const stalled = async (): Promise<readonly Condition[]> => {
  const { body } = await getJson(server!, '/api/v1/conditions');
  return (body['data'] as Condition[]).filter(({ kind, type }) => kind === 'Repository' && type === 'Stalled');
};

test('a server begins the log, is ready, and has pushed the first records', async () => {
  const { reconciler } = await serving();
  expect(await getJson(server!, '/readyz')).toMatchObject({ status: 200, body: { ready: true, reconciled: true, storage: true } });
  expect(reconciler.state?.size).toBe(2);
  expect(await evidenceTip()).toBe(reconciler.evidenceTip);
  const { body } = await getJson(server!, '/api/v1/environments');
  expect((body['data'] as { name: string }[]).map(({ name }) => name)).toEqual(['dev', 'prod']);
  expect((await getJson(server!, '/api/v1/evidence')).body['data']).toHaveLength(2);
});

test('a server says of a protected document what stella explain says of it', async () => {
  const { loop } = await serving();
  await world.commit([doc('Environment', 'dev', { order: 3 })], { by: world.people.carol });
  loop.wake('test');
  const told = async (): Promise<readonly ExplainLine[]> => ((await getJson(server!, '/api/v1/documents/Environment%2Fdev')).body['data'] as { readonly explanation: readonly ExplainLine[] }).explanation;
  await expect.poll(async () => (await told()).map(({ code }) => code), within).toEqual(['InForce', 'ChangePending']);
  const clone = await cloneFor(world, world.people.bob);
  expect(json<{ readonly lines: readonly ExplainLine[] }>(await clone.stella(['explain', 'Environment/dev', '-o', 'json'])).lines).toEqual(await told());
});

test('the records and commits of a server verify with the pin alone', async () => {
  await serving();
  const { reader } = (await world.parts()).evidence;
  await (await world.parts()).remote.fetch(['+refs/heads/*:refs/heads/*']);
  const read = await readEvidence({ reader, openPgp }, (await evidenceTip()) as CommitId, world.pin);
  expect(read).toMatchObject({ ok: true, counts: { records: 2, commits: 1 } });
});

test('a log that is missing is not begun by itself', async () => {
  world = await World.create({ idle: true });
  server = await start(await configure());
  await expect.poll(fault, within).toBe('LogMissing');
  expect(await evidenceTip()).toBeNull();
  expect(await getJson(server, '/readyz')).toMatchObject({ status: 503, body: { ready: false, reconciled: false, fault: 'LogMissing' } });
});

test('a server that is started again goes on with the log, and writes nothing twice', async () => {
  const first = await serving();
  const before = await evidenceTip();
  await first.close();
  await world.commit([doc('Configuration', 'dev/shop', { variables: { A: 'b' } })], { by: world.people.alice });
  server = await settled(await start(await configure()));
  expect(server.reconciler.state?.size).toBe(3);
  expect(await world.repository.git(['rev-list', '--count', `${before ?? ''}..stella/evidence`])).toBe('1');
});

test('a push into a repository on this machine wakes the server long before it would poll', async () => {
  world = await World.create({ idle: true });
  server = await settled(await start(await configure({ STELLA_POLL_SECONDS: '3600' }), { createLog: true }));
  const commit = await world.commit([doc('Configuration', 'dev/shop', { variables: { A: 'b' } })], { by: world.people.alice });
  await expect.poll(() => server?.reconciler.state?.tip?.commit, within).toBe(commit);
});

test('a server that was killed in the middle of its first passes is followed by one that agrees with its log', async () => {
  world = await World.create({ idle: true });
  const killed = await start(await configure(), { createLog: true });
  await killed.close();
  server = await settled(await start(await configure(), { createLog: true }));
  expect(server.reconciler.state?.size).toBe(2);
});

test('a server with a database of its own in memory needs nothing but its repository', async () => {
  world = await World.create({ idle: true });
  server = await settled(await start(await serverConfig(world), { createLog: true }));
  expect(await getJson(server, '/readyz')).toMatchObject({ status: 200 });
});

test('a target branch that was forced elsewhere stops the server until the old history is back', async () => {
  await serving();
  const before = (await world.repository.tip())!;
  const records = await evidenceTip();
  const forced = await world.repository.commit({ message: 'Another history', parents: [], files: { 'a.txt': 'a' }, sshKey: world.people.alice, branch: 'main' });
  expect(forced).not.toBe(before);
  await expect.poll(fault, within).toBe('Rewound');
  await expect.poll(async () => (await stalled()).map(({ reason }) => reason), within).toEqual(['Rewound']);
  expect(await evidenceTip()).toBe(records);
  await world.repository.setBranch('main', before);
  await expect.poll(fault, within).toBeNull();
  await expect.poll(stalled, within).toEqual([]);
});

test('a foreign commit on the evidence branch stops everything, and nothing is written on top of it', async () => {
  await serving();
  const foreign = await world.repository.commit({ message: 'Me too', branch: 'stella/evidence', files: { 'records/000/000/002.dsse.json': '{}' }, sshKey: world.people.alice });
  await world.commit([doc('Configuration', 'dev/shop', { variables: { A: 'b' } })], { by: world.people.alice });
  await expect.poll(fault, within).toBe('ForeignEvidence');
  await expect.poll(async () => (await stalled()).map(({ reason }) => reason), within).toEqual(['ForeignEvidence']);
  expect(await evidenceTip()).toBe(foreign);
  expect(server?.reconciler.state?.size).toBe(2);
});

test('a push that the remote refuses is tried again, and what was to be recorded then is', async () => {
  await serving();
  const before = await evidenceTip();
  await world.repository.rejectPushes('closed for the day');
  const commit = await world.commit([doc('Configuration', 'dev/shop', { variables: { A: 'b' } })], { by: world.people.alice });
  await expect.poll(fault, within).toBe('PushFailed');
  expect(await evidenceTip()).toBe(before);
  expect(server?.reconciler.state?.tip?.commit).not.toBe(commit);
  await world.repository.rejectPushes(null);
  await expect.poll(() => server?.reconciler.state?.tip?.commit, within).toBe(commit);
  expect(server?.reconciler.state?.size).toBe(3);
});

test('a server with another pin than the repository does not start', async () => {
  world = await World.create({ idle: true });
  const config = await configure({ STELLA_GENESIS: `sha256:${'0'.repeat(64)}` });
  await expect(start(config, { createLog: true })).rejects.toMatchObject({ code: 'GenesisMismatch' });
});
