import { readFile } from 'node:fs/promises';
import { fileURLToPath } from 'node:url';
import { afterAll, beforeAll, expect, test } from 'vitest';
import type { ScratchDatabase } from '../fakes/postgres.ts';
import { migratedDatabase, sql } from './postgres-fixture.ts';
import { dumpSchema } from './schema-dump.ts';

const DOCUMENT = fileURLToPath(new URL('../../docs/storage.md', import.meta.url));
let database: ScratchDatabase;

beforeAll(async () => {
  database = await migratedDatabase();
});
afterAll(() => database.drop());

test('the schema is the one that was reviewed (vitest -u writes it)', async () => {
  await expect(await dumpSchema(database.url)).toMatchFileSnapshot('../fixtures/schema.sql');
});

test('docs/storage.md names every table once, as projection, run or operational, and says what it derives from', async () => {
  const rows = (await readFile(DOCUMENT, 'utf8')).matchAll(/^\| `([a-z_]+\.[a-z_]+)` \| (\w+) \| (.+) \|$/gm);
  const documented = [...rows].map(([, table, kind, from]) => ({ table, kind, from: (from ?? '').length > 10 }));
  const tables = await sql<{ table: string }>(database.url, `SELECT format('%I.%I', schemaname, tablename) AS table FROM pg_tables
    WHERE schemaname NOT IN ('pg_catalog', 'information_schema', 'graphile_worker') ORDER BY 1`);
  expect(documented.map(({ table }) => ({ table })).toSorted((a, b) => ((a.table ?? '') < (b.table ?? '') ? -1 : 1))).toEqual(tables);
  expect(documented.filter(({ kind, from }) => !['projection', 'run', 'operational'].includes(kind ?? '') || !from)).toEqual([]);
});
