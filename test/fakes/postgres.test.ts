import pg from 'pg';
import { afterAll, expect, test } from 'vitest';
import { freshDatabase, startPostgres, type ScratchDatabase } from './postgres.ts';

const databases: ScratchDatabase[] = [];
afterAll(() => Promise.all(databases.map((database) => database.drop())));

async function query(url: string, text: string): Promise<pg.QueryResultRow[]> {
  const client = new pg.Client({ connectionString: url });
  await client.connect();
  try {
    return (await client.query(text)).rows;
  } finally {
    await client.end();
  }
}

test('two fresh databases do not see each other', async () => {
  const [one, two] = await Promise.all([freshDatabase(), freshDatabase()]);
  databases.push(one, two);
  await query(one.url, 'CREATE TABLE only_here (id int)');
  expect(await query(one.url, "SELECT to_regclass('only_here')::text AS found")).toEqual([{ found: 'only_here' }]);
  expect(await query(two.url, "SELECT to_regclass('only_here')::text AS found")).toEqual([{ found: null }]);
});

test('the preparation of a template runs once, and every copy has what it made', async () => {
  let runs = 0;
  const template = {
    key: `sample_${process.pid}`,
    prepare: async (url: string) => {
      runs += 1;
      await query(url, 'CREATE TABLE prepared (id int); INSERT INTO prepared VALUES (7)');
    },
  };
  const copies = await Promise.all([freshDatabase(template), freshDatabase(template), freshDatabase(template)]);
  databases.push(...copies);
  for (const copy of copies) expect(await query(copy.url, 'SELECT id FROM prepared')).toEqual([{ id: 7 }]);
  expect(runs).toBe(1);
});

test('a server of its own goes away and comes back with what it held', async () => {
  const server = await startPostgres();
  try {
    await query(server.url, 'CREATE TABLE kept (id int)');
    await server.pause();
    await expect(query(server.url, 'SELECT 1')).rejects.toMatchObject({ code: 'ECONNREFUSED' });
    await server.resume();
    expect(await query(server.url, 'SELECT count(*)::int AS n FROM kept')).toEqual([{ n: 0 }]);
  } finally {
    await server.stop();
  }
});
