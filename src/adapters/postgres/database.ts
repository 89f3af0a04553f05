import { chmod, mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import pg from 'pg';
import { limits } from '../../core/model/limits.ts';
import { StorageError } from '../../ports/storage-error.ts';
import type { DatabaseConfig } from '../../config/storage.ts';
import { startEmbeddedServer } from './embedded-server.ts';
import { toStorageError } from './errors.ts';

/** A Postgres that answers. The URLs hold passwords: never print them. */
export type Database = {
  readonly urls: { readonly application: string; readonly owner: string };
  /** For example 180001. */
  readonly serverVersion: number;
  /** Ends a server of our own; `inmemory` removes its folder. */
  close(): Promise<void>;
};

const MINIMUM_VERSION = 160_000;

/**
 * Opens the database that the configuration names, and starts it where it is one of ours.
 * @param options `dataFolder`: below it the driver `filesystem` keeps `postgres/`.
 * @throws StorageError `StorageUnavailable`, `StorageMisconfigured`, `PostgresTooOld`, `FolderInUse`, `FolderUnusable`, `PostgresNotStarted`.
 */
export async function openDatabase(config: DatabaseConfig, options: { readonly dataFolder: string }): Promise<Database> {
  const { urls, close } = await open(config, options.dataFolder);
  try {
    return { urls, close, serverVersion: await checkedVersion(urls.owner) };
  } catch (cause) {
    await close();
    throw cause;
  }
}

async function open(config: DatabaseConfig, dataFolder: string): Promise<Pick<Database, 'urls' | 'close'>> {
  if (config.driver === 'postgres') return { urls: { application: config.url, owner: config.ownerUrl }, close: () => Promise.resolve() };
  if (config.driver === 'filesystem') {
    const server = await startEmbeddedServer({ folder: join(dataFolder, 'postgres'), durable: true });
    return { urls: server.urls, close: server.stop };
  }
  const folder = await mkdtemp(join(tmpdir(), 'stella-postgres-'));
  const remove = (): Promise<void> => rm(folder, { recursive: true, force: true });
  try {
    await chmod(folder, 0o711);
    const server = await startEmbeddedServer({ folder, durable: false });
    return { urls: server.urls, close: () => server.stop().then(remove) };
  } catch (cause) {
    await remove();
    throw cause;
  }
}

async function checkedVersion(url: string): Promise<number> {
  const client = new pg.Client({ connectionString: url, connectionTimeoutMillis: limits.sqlConnectTimeoutMs, application_name: 'stella-start' });
  client.on('error', () => undefined);
  try {
    await client.connect();
    const { rows } = await client.query<{ version: string }>("SELECT current_setting('server_version_num') AS version");
    const version = Number(rows[0]?.version);
    if (version < MINIMUM_VERSION) throw new StorageError('PostgresTooOld', `this Postgres is version ${Math.floor(version / 10_000)}: 16 or newer is needed`);
    return version;
  } catch (cause) {
    throw toStorageError(cause);
  } finally {
    await client.end().catch(() => undefined);
  }
}
