import { execFile } from 'node:child_process';
import { mkdir, mkdtemp, readdir, readFile, rm, stat, writeFile } from 'node:fs/promises';
import { tmpdir, userInfo } from 'node:os';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { beforeEach, describe, expect, test } from 'vitest';
import { openDatabase } from '../../src/adapters/postgres/database.ts';
import { startEmbeddedServer } from '../../src/adapters/postgres/embedded-server.ts';
import { openStorage, type Storage } from '../../src/adapters/postgres/storage.ts';
import type { DatabaseConfig } from '../../src/config/storage.ts';
import { freshDatabase } from '../fakes/postgres.ts';
import { AT, LOG, releaseRow, sql, TENANT } from './postgres-fixture.ts';

let dataFolder: string;

beforeEach(async () => {
  dataFolder = await mkdtemp(join(tmpdir(), 'stella-drivers-'));
  await promisify(execFile)('chmod', ['755', dataFolder]);
  return () => rm(dataFolder, { recursive: true, force: true });
});

const open = (database: DatabaseConfig): Promise<Storage> => openStorage({ database, objectStore: { driver: 'seed-fs' } }, { dataFolder });
const scope = { tenant: TENANT, logId: LOG };

async function writeOne(storage: Storage): Promise<void> {
  await storage.of(scope).ledger.project({ asOf: AT, complete: false, releases: { set: [releaseRow('1')] } });
}
const countReleases = async (storage: Storage): Promise<number> => (await storage.of(scope).reader.releases()).total;

describe('the three drivers', () => {
  test('postgres: works on the server that is named, and starts on it again', async () => {
    const database = await freshDatabase();
    try {
      const config: DatabaseConfig = { driver: 'postgres', url: database.url, ownerUrl: database.url };
      const first = await open(config);
      await writeOne(first);
      await first.ping();
      await first.close();
      const second = await open(config);
      expect(await countReleases(second)).toBe(1);
      expect(second.serverVersion).toBeGreaterThanOrEqual(160_000);
      await second.close();
    } finally {
      await database.drop();
    }
  });

  test('postgres: nobody there is a clear error', async () => {
    const url = 'postgres://stella@127.0.0.1:1/stella';
    await expect(open({ driver: 'postgres', url, ownerUrl: url })).rejects.toMatchObject({ code: 'StorageUnavailable', disposition: 'retry' });
  });

  test('filesystem: what was written is there after a restart', async () => {
    const first = await open({ driver: 'filesystem' });
    await writeOne(first);
    await first.objects.put(Buffer.from('log'));
    await first.close();
    const second = await open({ driver: 'filesystem' });
    expect(await countReleases(second)).toBe(1);
    await second.close();
    expect((await readdir(dataFolder)).toSorted()).toEqual(['objects', 'postgres']);
  });

  test('inmemory: what was written is gone, and so is its folder', async () => {
    const folders = async (): Promise<readonly string[]> => (await readdir(tmpdir())).filter((name) => name.startsWith('stella-postgres-')).toSorted();
    const before = await folders();
    const first = await open({ driver: 'inmemory' });
    await writeOne(first);
    const during = (await folders()).filter((name) => !before.includes(name));
    expect(during.length).toBeGreaterThanOrEqual(1);
    await first.close();
    const second = await open({ driver: 'inmemory' });
    expect(await countReleases(second)).toBe(0);
    await second.close();
    const gone = await Promise.all(during.map((name) => stat(join(tmpdir(), name)).then(() => false, () => true)));
    expect(gone).toContain(true);
  });
});

describe('a server of our own', () => {
  test('listens on loopback only, with passwords, and its owner is no superuser', async () => {
    const database = await openDatabase({ driver: 'filesystem' }, { dataFolder });
    try {
      expect(await sql(database.urls.owner, "SELECT current_setting('listen_addresses') AS at, rolsuper FROM pg_roles WHERE rolname = current_user")).toEqual([{ at: '127.0.0.1', rolsuper: false }]);
      const guessed = new URL(database.urls.application);
      guessed.password = 'guessed';
      await expect(sql(guessed.href, 'SELECT 1')).rejects.toMatchObject({ code: '28P01' });
      expect((await stat(join(dataFolder, 'postgres', 'pgdata', 'stella-credentials.json'))).mode & 0o077).toBe(0);
      expect(await sql(database.urls.application, "SELECT rolname FROM pg_roles WHERE pg_has_role(current_user, oid, 'SET') ORDER BY 1")).toEqual([{ rolname: 'stella_app' }, { rolname: 'stella_server' }]);
    } finally {
      await database.close();
    }
  });

  test('does not run as root', async () => {
    const server = await startEmbeddedServer({ folder: join(dataFolder, 'postgres'), durable: false });
    const owner = (await stat(`/proc/${server.pid()}`)).uid;
    await server.stop();
    expect(owner).not.toBe(0);
    if (userInfo().uid !== 0) expect(owner).toBe(userInfo().uid);
  });

  test('comes back on its port after kill -9, with everything that was committed', async () => {
    const folder = join(dataFolder, 'postgres');
    const server = await startEmbeddedServer({ folder, durable: true });
    try {
      await sql(server.urls.owner, 'CREATE TABLE kept AS SELECT 1 AS id');
      const before = server.pid();
      process.kill(before, 'SIGKILL');
      await expect.poll(() => sql(server.urls.owner, 'SELECT id FROM kept').catch(() => 'away'), { timeout: 30_000 }).toEqual([{ id: 1 }]);
      await expect.poll(() => server.pid(), { timeout: 30_000 }).not.toBe(before);
    } finally {
      await server.stop();
    }
  });

  test('starts over a postmaster.pid that a crash left, whoever has that process id now', async () => {
    const database = await openDatabase({ driver: 'filesystem' }, { dataFolder });
    await sql(database.urls.owner, 'CREATE TABLE kept AS SELECT 1 AS id');
    await database.close();
    const file = join(dataFolder, 'postgres', 'pgdata', 'postmaster.pid');
    for (const pid of ['4194303', String(process.pid), '1']) {
      await writeFile(file, `${pid}\n${join(dataFolder, 'postgres', 'pgdata')}\n1700000000\n5432\n\n127.0.0.1\n 1234567 0\nready\n`);
      const again = await openDatabase({ driver: 'filesystem' }, { dataFolder });
      expect(await sql(again.urls.owner, 'SELECT id FROM kept')).toEqual([{ id: 1 }]);
      await again.close();
    }
  });

  test('is not disturbed by a second one on its folder, which is refused', async () => {
    const folder = join(dataFolder, 'postgres');
    const first = await startEmbeddedServer({ folder, durable: true });
    try {
      await expect(startEmbeddedServer({ folder, durable: true, patienceMs: 200 })).rejects.toMatchObject({ code: 'FolderInUse' });
      expect(await sql(first.urls.owner, 'SELECT 1 AS alive')).toEqual([{ alive: 1 }]);
    } finally {
      await first.stop();
    }
  });

  test('of two that initialise one folder at once, at most one runs', async () => {
    const folder = join(dataFolder, 'postgres');
    const started = await Promise.allSettled([1, 2].map(() => startEmbeddedServer({ folder, durable: false, patienceMs: 0 })));
    const running = started.filter((outcome) => outcome.status === 'fulfilled');
    await Promise.all(running.map(({ value }) => value.stop()));
    expect(running).toHaveLength(1);
    expect((await readdir(folder)).filter((name) => name.startsWith('pgdata.new'))).toEqual([]);
  });

  test('ends when its owner is killed, and the folder can be used again at once', async () => {
    const folder = join(dataFolder, 'postgres');
    const module = new URL('../../src/adapters/postgres/embedded-server.ts', import.meta.url).href;
    const script = `import { startEmbeddedServer } from ${JSON.stringify(module)};
      await startEmbeddedServer({ folder: ${JSON.stringify(folder)}, durable: true });
      process.kill(process.pid, 'SIGKILL');`;
    await expect(promisify(execFile)(process.execPath, ['--input-type=module', '--eval', script])).rejects.toMatchObject({ signal: 'SIGKILL' });
    const server = await startEmbeddedServer({ folder, durable: true, patienceMs: 20_000 });
    expect(await sql(server.urls.owner, 'SELECT 1 AS alive')).toEqual([{ alive: 1 }]);
    await server.stop();
  });

  test('leaves no temporary folder behind when its owner is killed', async () => {
    const module = new URL('../../src/adapters/postgres/database.ts', import.meta.url).href;
    const script = `import { openDatabase } from ${JSON.stringify(module)};
      await openDatabase({ driver: 'inmemory' }, { dataFolder: '/nowhere' });
      process.kill(process.pid, 'SIGKILL');`;
    const own = join(dataFolder, 'tmp');
    await mkdir(own);
    await expect(promisify(execFile)(process.execPath, ['--input-type=module', '--eval', script], { env: { TMPDIR: own } })).rejects.toMatchObject({ signal: 'SIGKILL' });
    await expect.poll(() => readdir(own), { timeout: 30_000 }).toEqual([]);
  });

  test('says what Postgres said when it cannot start', async () => {
    const folder = join(dataFolder, 'postgres');
    await (await startEmbeddedServer({ folder, durable: false })).stop();
    await writeFile(join(folder, 'pgdata', 'PG_VERSION'), '9.6\n');
    await expect(startEmbeddedServer({ folder, durable: false })).rejects.toMatchObject({ code: 'PostgresNotStarted' });
    expect(await readFile(join(folder, 'postgres.log'), 'utf8')).toContain('incompatible');
  });
});

test('a process that never closes its database can still end', async () => {
  const module = new URL('../../src/adapters/postgres/database.ts', import.meta.url).href;
  const script = `import { openDatabase } from ${JSON.stringify(module)};
    const database: { serverVersion: number } = await openDatabase({ driver: 'inmemory' }, { dataFolder: '/nowhere' });
    console.log(database.serverVersion >= 160000);`;
  const { stdout } = await promisify(execFile)(process.execPath, ['--input-type=module-typescript', '--eval', script], { timeout: 50_000 });
  expect(stdout).toBe('true\n');
});

