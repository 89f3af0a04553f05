import { afterEach, expect, it } from 'vitest';
import { prepareJobs } from '../../src/adapters/postgres/jobs-schema.ts';
import { migrate, readMigrations } from '../../src/adapters/postgres/migrate.ts';
import { eventually, Scratch } from '../contract/agent-fixture.ts';
import { MIGRATIONS } from '../contract/postgres-fixture.ts';
import { startPostgres, type ScratchPostgres } from '../fakes/postgres.ts';
import { openStage } from './execute-runs-fixture.ts';

const scratch = new Scratch();
afterEach(() => scratch.clean());

async function ownServer(): Promise<ScratchPostgres> {
  const server = await startPostgres();
  scratch.later(() => server.stop());
  await migrate(server.url, await readMigrations(MIGRATIONS));
  await prepareJobs(server.url);
  return server;
}

it('while Postgres is away nothing is sent, and when it is back the run goes on to its end by itself', async () => {
  const server = await ownServer();
  const { log, hub, agent, interrupted, startExecutor } = await openStage(scratch, {}, server.url);
  await log.allow('1.0.0');
  const { executor } = await startExecutor();
  await server.pause();
  await executor.sync(log.state);
  await eventually(() => interrupted.length > 0);
  expect([interrupted[0], hub.sent]).toEqual([expect.objectContaining({ code: 'StorageUnavailable' }), []]);
  await server.resume();
  const { predicate } = await eventually(() => executor.takeFinished()[0]);
  expect([predicate.result, agent.driver.actions]).toEqual(['Succeeded', ['apply web-1 1.0.0']]);
});

it('an answer that comes while Postgres is away is neither lost nor acted upon until it is back', async () => {
  const server = await ownServer();
  const { log, hub, agent, interrupted, startExecutor } = await openStage(scratch, {}, server.url);
  await log.allow('1.0.0');
  const gate = Promise.withResolvers<void>();
  agent.driver.duringApply = () => gate.promise;
  const { executor } = await startExecutor();
  await executor.sync(log.state);
  await eventually(() => agent.driver.actions.length === 1);
  await server.pause();
  gate.resolve();
  await eventually(() => interrupted.length > 0);
  expect(hub.orders()).toEqual(['promote web-1 1']);
  await server.resume();
  const { predicate } = await eventually(() => executor.takeFinished()[0]);
  expect([predicate.result, agent.driver.actions]).toEqual(['Succeeded', ['apply web-1 1.0.0']]);
  expect(hub.orders()).toEqual(['promote web-1 1', 'health-check web-1 2']);
});
