import type pg from 'pg';
import { createJobQueue } from '../../src/adapters/postgres/jobs.ts';
import { createRunStore } from '../../src/adapters/postgres/run-store.ts';
import { openPool, tenantDatabase } from '../../src/adapters/postgres/scope.ts';
import type { JobQueue } from '../../src/ports/jobs.ts';
import type { RunStore } from '../../src/ports/run-store.ts';
import { RunExecutor, type RunExecutorWorld } from '../../src/reconciler/execute-runs.ts';
import { type Scratch } from '../contract/agent-fixture.ts';
import { migratedDatabase } from '../contract/postgres-fixture.ts';
import { InProcessHub, openAgent, type TestAgent } from '../fakes/in-process-agents.ts';
import { LogFixture, type LogOptions } from '../fakes/log-fixture.ts';

/** Stands for the server: an executor with the stores of a database. */
export type TestExecutor = { readonly executor: RunExecutor; readonly runs: RunStore; readonly jobs: JobQueue; stop(): Promise<void> };

/** A log, its agents, and servers over one database. */
export type Stage = {
  readonly log: LogFixture;
  readonly hub: InProcessHub;
  readonly agent: TestAgent;
  readonly interrupted: unknown[];
  startExecutor(more?: Partial<RunExecutorWorld>): Promise<TestExecutor>;
};

/** @param url of a database with the schema; a fresh one without */
export async function openStage(scratch: Scratch, options: LogOptions = {}, url?: string): Promise<Stage> {
  const folder = await scratch.folder();
  const log = await LogFixture.create(folder, options);
  const hub = new InProcessHub();
  const interrupted: unknown[] = [];
  const agents = await Promise.all([...log.agents.values()].map(async (identity) => ({ identity, opened: await openAgent({ folder, identity, pin: log.pin, now: () => log.now }) })));
  for (const { identity, opened } of agents) {
    scratch.later(() => opened.journal.close());
    hub.agents.set(identity.agent, opened.runner);
  }
  const agent = agents[0]?.opened;
  if (agent === undefined) throw new Error('a stage needs an agent');
  const databaseUrl = url ?? (await ownDatabase(scratch));
  return { log, hub, agent, interrupted, startExecutor: (more = {}) => startExecutor({ scratch, log, hub, interrupted, databaseUrl, more }) };
}

async function ownDatabase(scratch: Scratch): Promise<string> {
  const database = await migratedDatabase();
  scratch.later(() => database.drop());
  return database.url;
}

type Start = { readonly scratch: Scratch; readonly log: LogFixture; readonly hub: InProcessHub; readonly interrupted: unknown[]; readonly databaseUrl: string; readonly more: Partial<RunExecutorWorld> };

async function startExecutor({ scratch, log, hub, interrupted, databaseUrl, more }: Start): Promise<TestExecutor> {
  const scope = { tenant: log.state.tenant, logId: log.pin };
  const pool: pg.Pool = openPool(databaseUrl, { applicationName: 'test', maxConnections: 4 });
  const runs = createRunStore(tenantDatabase(pool, scope));
  const jobs = createJobQueue({ ...scope, url: databaseUrl, concurrency: 2 });
  const executor = new RunExecutor({
    hub, runs, jobs, changes: log.changes, artifacts: log.artifacts, envelope: log.envelope, now: () => log.now, onInterrupted: (cause) => interrupted.push(cause), ...more,
  });
  jobs.start(executor.handlers);
  let stopping: Promise<void> | null = null;
  const stop = async (): Promise<void> => {
    await executor.close();
    await jobs.stop();
    await pool.end();
  };
  const stopOnce = (): Promise<void> => (stopping ??= stop());
  scratch.later(stopOnce);
  return { executor, runs, jobs, stop: stopOnce };
}
