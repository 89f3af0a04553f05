import { readdir, readFile } from 'node:fs/promises';
import { join } from 'node:path';
import pg from 'pg';
import { digestOfBytes, type Digest } from '../../core/model/digest.ts';
import { limits } from '../../core/model/limits.ts';
import { StorageError } from '../../ports/storage-error.ts';
import { ensureApplicationRole } from './application-role.ts';
import { toStorageError } from './errors.ts';

/** One file of `migrations/`. `breaking` (first line `--! breaking`): an older server must not work on the schema any more. */
export type Migration = { readonly version: number; readonly sql: string; readonly digest: Digest; readonly breaking: boolean };

type Applied = { readonly version: number; readonly digest: Digest; readonly breaking: boolean };

/** @throws StorageError `MigrationMissing` when the numbers are not 1, 2, 3 … */
export async function readMigrations(folder: string): Promise<readonly Migration[]> {
  const files = (await readdir(folder)).filter((file) => file.endsWith('.sql')).sort();
  return Promise.all(files.map(async (file, index) => {
    if (file !== `${String(index + 1).padStart(6, '0')}.sql`) throw new StorageError('MigrationMissing', `${folder}: expected migration ${index + 1}, found ${file}`);
    const sql = await readFile(join(folder, file), 'utf8');
    return { version: index + 1, sql, digest: digestOfBytes(sql), breaking: sql.startsWith('--! breaking') };
  }));
}

/**
 * Brings the schema up to `migrations`, forward only, each in a transaction of its own; replicas that start together wait for each other.
 * @param ownerUrl of the user that owns (or will own) the schema.
 * @returns the versions that were applied now.
 * @throws StorageError `MigrationChanged`: an applied file has other content. `SchemaTooNew`: a newer server has made a breaking change.
 *   `MigrationMissing`: the database has a migration between ours that we do not have. `MigrationFailed`. `StorageUnavailable`.
 */
export async function migrate(ownerUrl: string, migrations: readonly Migration[]): Promise<readonly number[]> {
  const client = new pg.Client({ connectionString: ownerUrl, connectionTimeoutMillis: limits.sqlConnectTimeoutMs, application_name: 'stella-migrate' });
  client.on('error', () => undefined);
  try {
    await client.connect();
    // Held by the session: a crash frees it.
    await client.query("SELECT pg_advisory_lock(hashtextextended('stella.migrations', 0))");
    await ensureApplicationRole(client);
    const applied = await appliedMigrations(client);
    verifyApplied(applied, migrations);
    const pending = migrations.filter(({ version }) => version > applied.length);
    for (const migration of pending) await apply(client, migration);
    return pending.map(({ version }) => version);
  } catch (cause) {
    throw toStorageError(cause);
  } finally {
    await client.end().catch(() => undefined);
  }
}

async function appliedMigrations(client: pg.Client): Promise<readonly Applied[]> {
  const { rows } = await client.query<{ known: boolean }>("SELECT to_regclass('storage.migrations') IS NOT NULL AS known");
  if (rows[0]?.known !== true) {
    await client.query(`
      CREATE SCHEMA IF NOT EXISTS storage;
      CREATE TABLE storage.migrations (
        version integer PRIMARY KEY,
        digest text NOT NULL,
        breaking boolean NOT NULL,
        applied_at timestamptz(3) NOT NULL DEFAULT now()
      )`);
    return [];
  }
  return (await client.query<Applied>('SELECT version, digest, breaking FROM storage.migrations ORDER BY version')).rows;
}

function verifyApplied(applied: readonly Applied[], migrations: readonly Migration[]): void {
  applied.forEach(({ version, digest, breaking }, index) => {
    const own = migrations[version - 1];
    if (version !== index + 1) throw new StorageError('MigrationMissing', `the database lacks migration ${index + 1} but has ${version}: restore it from a backup, or rebuild it from Git`);
    if (own === undefined && breaking) throw new StorageError('SchemaTooNew', `a newer server has changed the schema (migration ${version}): start that version, or a newer one`);
    if (own !== undefined && own.digest !== digest) throw new StorageError('MigrationChanged', `migration ${version} was applied as ${digest}, but the file is now ${own.digest}: put the released file back`);
  });
}

async function apply(client: pg.Client, migration: Migration): Promise<void> {
  await client.query('BEGIN');
  try {
    await client.query(migration.sql);
    await client.query('INSERT INTO storage.migrations (version, digest, breaking) VALUES ($1, $2, $3)', [migration.version, migration.digest, migration.breaking]);
    await client.query('COMMIT');
  } catch (cause) {
    await client.query('ROLLBACK').catch(() => undefined);
    if (!(cause instanceof pg.DatabaseError)) throw cause;
    throw new StorageError('MigrationFailed', `migration ${migration.version} failed and was rolled back: ${cause.message}`, cause);
  }
}
