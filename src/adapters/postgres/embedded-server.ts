import { spawn, type ChildProcess } from 'node:child_process';
import { open, readFile, rename } from 'node:fs/promises';
import { createServer } from 'node:net';
import { dirname, join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import pg from 'pg';
import { limits } from '../../core/model/limits.ts';
import { StorageError } from '../../ports/storage-error.ts';
import { clusterUrls, openCluster, prepareCluster, type Cluster } from './embedded-cluster.ts';
import { releaseDataFolder } from './postmaster-file.ts';

/** A Postgres server of our own on loopback. If it dies it is started again on the same port; if we die it ends. */
export type EmbeddedServer = {
  readonly urls: { readonly application: string; readonly owner: string };
  readonly port: number;
  /** Process id of the server that runs now. */
  pid(): number;
  /** Ends it and waits until it is gone. */
  stop(): Promise<void>;
};

export type EmbeddedOptions = {
  /** Holds `pgdata`, `postgres.log` and the log of the start before, `postgres.log.1`. */
  readonly folder: string;
  /** false: nothing needs to outlive a crash, and the folder is removed should we be killed. */
  readonly durable: boolean;
  /** How long a server whose owner has died may take to end. Default 3 s. */
  readonly patienceMs?: number;
};

/** @throws StorageError `FolderInUse`, `FolderUnusable`, `PostgresNotStarted` with the end of its log. */
export async function startEmbeddedServer(options: EmbeddedOptions): Promise<EmbeddedServer> {
  const cluster = await openCluster(options.folder, options);
  await releaseDataFolder(cluster.pgdata, options.patienceMs ?? 3_000);
  await rename(logOf(cluster), `${logOf(cluster)}.1`).catch(() => undefined);
  let port = await freePort();
  let started = await launch(cluster, port, options).catch(async (cause: unknown) => {
    // Somebody else may have taken the port in between; anything else will fail again.
    if (!(await tail(logOf(cluster)).then((log) => log.includes('could not bind')))) throw cause;
    port = await freePort();
    return launch(cluster, port, options);
  });
  let stopping = false;
  let restart: Promise<void> | undefined;
  const watch = (process: Running): void => void process.ended.then(() => {
    if (!stopping) restart = keepTrying(() => stopping, cluster, port, options).then((next) => {
      if (next === undefined) return;
      started = next;
      watch(next);
    });
  });
  watch(started);
  return {
    urls: clusterUrls(cluster.passwords, port),
    port,
    pid: () => started.child.pid ?? -1,
    stop: async () => {
      stopping = true;
      await restart;
      await end(started);
    },
  };
}

type Running = { readonly child: ChildProcess; readonly ended: Promise<void>; readonly guard: ChildProcess };

/** After a crash: its last children may hold the memory for a moment, so more than one try can be needed. */
async function keepTrying(isStopping: () => boolean, cluster: Cluster, port: number, options: EmbeddedOptions): Promise<Running | undefined> {
  for (let delayMs = 100; !isStopping(); delayMs = Math.min(delayMs * 2, 5_000)) {
    await sleep(delayMs, undefined, { ref: false });
    if (isStopping()) return undefined;
    const next = await releaseDataFolder(cluster.pgdata, 0).then(() => launch(cluster, port, options)).catch(() => undefined);
    if (next !== undefined) return next;
  }
  return undefined;
}

const logOf = (cluster: Cluster): string => join(dirname(cluster.pgdata), 'postgres.log');

async function launch(cluster: Cluster, port: number, options: EmbeddedOptions): Promise<Running> {
  const settings = [
    'listen_addresses=127.0.0.1', `port=${port}`, 'unix_socket_directories=', 'max_connections=50', 'shared_buffers=32MB', 'timezone=UTC', 'log_timezone=UTC',
    ...(options.durable ? [] : ['fsync=off', 'synchronous_commit=off', 'full_page_writes=off']),
  ];
  const log = await open(logOf(cluster), 'a', 0o600);
  // A session of its own: Ctrl-C in the terminal is for us, and we end the server when we are done with it.
  const child = spawn(cluster.binaries.postgres, ['-D', cluster.pgdata, ...settings.flatMap((setting) => ['-c', setting])], {
    stdio: ['ignore', log.fd, log.fd], cwd: '/', env: { LC_ALL: 'C' }, detached: true, ...cluster.account,
  });
  child.unref();
  const ended = new Promise<void>((resolve) => {
    child.once('exit', () => resolve());
    child.once('error', () => resolve());
  });
  await log.close();
  const running = { child, ended, guard: guardAgainstOurDeath(child, options.durable ? '' : options.folder) };
  void ended.then(() => running.guard.kill('SIGKILL'));
  await untilReady(cluster, port, running);
  return running;
}

/** A shell that waits on our end of a pipe. If we are killed without a chance to clean up, it ends the server and removes a temporary folder. */
function guardAgainstOurDeath(child: ChildProcess, temporaryFolder: string): ChildProcess {
  const script = 'read -r _; kill -s INT "$1" 2>/dev/null; while kill -0 "$1" 2>/dev/null; do sleep 0.1; done; [ -z "$2" ] || rm -rf -- "$2"';
  const guard = spawn('/bin/sh', ['-c', script, 'stella-guard', String(child.pid), temporaryFolder], { stdio: ['pipe', 'ignore', 'ignore'], cwd: '/', detached: true });
  guard.on('error', () => undefined);
  guard.stdin?.on('error', () => undefined);
  guard.unref();
  (guard.stdin as unknown as { unref?(): void } | null)?.unref?.();
  return guard;
}

async function untilReady(cluster: Cluster, port: number, running: Running): Promise<void> {
  const giveUpAt = performance.now() + limits.postgresStartMs;
  let over = false;
  void running.ended.then(() => (over = true));
  for (;;) {
    if (await answers(cluster, port)) return;
    if (over) throw new StorageError('PostgresNotStarted', `Postgres ended before it was ready:\n${await tail(logOf(cluster))}`);
    if (performance.now() > giveUpAt) {
      await end(running);
      throw new StorageError('PostgresNotStarted', `Postgres was not ready after ${limits.postgresStartMs} ms:\n${await tail(logOf(cluster))}`);
    }
    await Promise.race([sleep(30), running.ended]);
  }
}

async function answers(cluster: Cluster, port: number): Promise<boolean> {
  const client = new pg.Client({ connectionString: clusterUrls(cluster.passwords, port).superuser, connectionTimeoutMillis: 5_000 });
  client.on('error', () => undefined);
  try {
    await client.connect();
  } catch {
    return false;
  }
  try {
    await prepareCluster(client, cluster.passwords);
    return true;
  } finally {
    await client.end().catch(() => undefined);
  }
}

async function end({ child, ended }: Running): Promise<void> {
  child.kill('SIGINT');
  const patience = setTimeout(() => child.kill('SIGQUIT'), limits.postgresStopMs);
  const lastResort = setTimeout(() => child.kill('SIGKILL'), 2 * limits.postgresStopMs);
  // The child is unreferenced; this timer keeps the process alive until it has ended.
  await ended;
  clearTimeout(patience);
  clearTimeout(lastResort);
}

async function tail(path: string): Promise<string> {
  return (await readFile(path, 'utf8').catch(() => '(no log)')).slice(-2_000);
}

async function freePort(): Promise<number> {
  const server = createServer();
  await new Promise<void>((resolve, reject) => server.once('error', reject).listen(0, '127.0.0.1', resolve));
  const address = server.address();
  await new Promise((resolve) => server.close(resolve));
  if (address === null || typeof address === 'string') throw new StorageError('PostgresNotStarted', 'there is no free port on 127.0.0.1');
  return address.port;
}
