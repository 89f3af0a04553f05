import { cp, mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { beforeEach, describe, expect, test } from 'vitest';
import { digestOfBytes } from '../../src/core/model/digest.ts';
import { migrate, readMigrations, type Migration } from '../../src/adapters/postgres/migrate.ts';
import { freshDatabase, type ScratchDatabase } from '../fakes/postgres.ts';
import { MIGRATIONS, sql } from './postgres-fixture.ts';

let database: ScratchDatabase;
let released: readonly Migration[];

beforeEach(async () => {
  database = await freshDatabase();
  released = await readMigrations(MIGRATIONS);
  return () => database.drop();
});

function next(text: string, after: readonly Migration[] = released): Migration {
  return { version: after.length + 1, sql: text, digest: digestOfBytes(text), breaking: text.startsWith('--! breaking') };
}

describe('migrations', () => {
  test('are applied once, in order', async () => {
    expect(await migrate(database.url, released)).toEqual(released.map(({ version }) => version));
    expect(await migrate(database.url, released)).toEqual([]);
    expect(await migrate(database.url, [...released, next('CREATE TABLE run.more (id int)')])).toEqual([released.length + 1]);
  });

  test('are applied once by servers that start together', async () => {
    const applied = await Promise.all([1, 2, 3].map(() => migrate(database.url, released)));
    expect(applied.flat()).toEqual(released.map(({ version }) => version));
  });

  test('refuse a file that was changed after it was applied', async () => {
    await migrate(database.url, released);
    const tampered = released.map((migration) => migration.version === 2 ? { ...next(`${migration.sql}\n-- edited`), version: 2 } : migration);
    await expect(migrate(database.url, tampered)).rejects.toMatchObject({ code: 'MigrationChanged', disposition: 'stall' });
  });

  test('let an older server work on a newer schema, unless a change in it is breaking', async () => {
    const newer = [...released, next('CREATE TABLE run.more (id int)')];
    await migrate(database.url, newer);
    expect(await migrate(database.url, released)).toEqual([]);
    await migrate(database.url, [...newer, next('--! breaking\nDROP TABLE run.more', newer)]);
    await expect(migrate(database.url, released)).rejects.toMatchObject({ code: 'SchemaTooNew' });
    await expect(migrate(database.url, newer)).rejects.toMatchObject({ code: 'SchemaTooNew' });
  });

  test('leave nothing of one that fails', async () => {
    const broken = next('CREATE TABLE public.half (id int); SELECT 1/0');
    await expect(migrate(database.url, [...released, broken])).rejects.toMatchObject({ code: 'MigrationFailed' });
    expect(await sql(database.url, "SELECT to_regclass('public.half')::text AS found, (SELECT max(version) FROM storage.migrations) AS version"))
      .toEqual([{ found: null, version: released.length }]);
    expect(await migrate(database.url, released)).toEqual([]);
  });

  test('notice that the database lost one', async () => {
    await migrate(database.url, released);
    await sql(database.url, 'DELETE FROM storage.migrations WHERE version = 2');
    await expect(migrate(database.url, released)).rejects.toMatchObject({ code: 'MigrationMissing' });
  });

  test('are numbered without a gap', async () => {
    const folder = await mkdtemp(join(tmpdir(), 'stella-migrations-'));
    try {
      await cp(MIGRATIONS, folder, { recursive: true });
      await writeFile(join(folder, '000099.sql'), 'SELECT 1');
      await expect(readMigrations(folder)).rejects.toMatchObject({ code: 'MigrationMissing' });
    } finally {
      await rm(folder, { recursive: true });
    }
  });
});

describe('an owner who is no superuser', () => {
  const asOwner = (name: string): string => {
    const url = new URL(database.url);
    url.username = name;
    return url.href;
  };

  test('owns the schema and sees no row of any tenant', async () => {
    const owner = `owner_${database.name}`;
    await sql(database.url, `CREATE ROLE ${owner} LOGIN CREATEROLE; ALTER DATABASE ${database.name} OWNER TO ${owner}; GRANT stella_app TO ${owner} WITH ADMIN OPTION`);
    try {
      await migrate(asOwner(owner), released);
      await sql(database.url, `INSERT INTO agent.presence (tenant_id, log_id, agent, version, capabilities, last_seen_at, inventory)
        VALUES ('acme', 'sha256:${'0'.repeat(64)}', 'x', '1', '[]', now(), '{}')`);
      expect(await sql(asOwner(owner), 'SELECT count(*)::int AS n FROM agent.presence')).toEqual([{ n: 0 }]);
    } finally {
      await database.drop();
      await sql(adminUrl(), `DROP ROLE ${owner}`);
    }
  });

  test('is told what an administrator has to do when it may not use the application role', async () => {
    const owner = `owner_${database.name}`;
    await sql(database.url, `CREATE ROLE ${owner} LOGIN; ALTER DATABASE ${database.name} OWNER TO ${owner}`);
    try {
      await expect(migrate(asOwner(owner), released)).rejects.toMatchObject({ code: 'StorageForbidden' });
    } finally {
      await database.drop();
      await sql(adminUrl(), `DROP ROLE ${owner}`);
    }
  });

  function adminUrl(): string {
    const url = new URL(database.url);
    url.pathname = '/postgres';
    return url.href;
  }
});
