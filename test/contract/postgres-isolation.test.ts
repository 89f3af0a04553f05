import type pg from 'pg';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { canonicalBytes } from '../../src/core/model/canonical-json.ts';
import { digestOfBytes } from '../../src/core/model/digest.ts';
import { verifyApplicationRole } from '../../src/adapters/postgres/application-role.ts';
import { createAgentRegister } from '../../src/adapters/postgres/agent-register.ts';
import { createEnrolmentTokens } from '../../src/adapters/postgres/enrolment-tokens.ts';
import { createLedger } from '../../src/adapters/postgres/ledger.ts';
import { createRunStore } from '../../src/adapters/postgres/run-store.ts';
import { openPool, tenantDatabase } from '../../src/adapters/postgres/scope.ts';
import type { ScratchDatabase } from '../fakes/postgres.ts';
import { approvalOf, AT, chainOf, COMMIT, LOG, migratedDatabase, promotionRow, releaseRow, sql, stateRow, TENANT, tip } from './postgres-fixture.ts';

let database: ScratchDatabase;
let pool: pg.Pool;
let tables: readonly string[];

beforeAll(async () => {
  database = await migratedDatabase();
  pool = openPool(database.url, { applicationName: 'test', maxConnections: 4 });
  await fill();
  tables = (await sql<{ name: string }>(database.url, `SELECT format('%I.%I', schemaname, tablename) AS name FROM pg_tables
    WHERE schemaname IN ('evidence', 'release', 'run', 'agent') ORDER BY 1`)).map(({ name }) => name);
});
afterAll(async () => {
  await pool.end();
  await database.drop();
});

/** One row at least in every table. */
async function fill(): Promise<void> {
  const scope = tenantDatabase(pool, { tenant: TENANT, logId: LOG });
  const ledger = createLedger(scope);
  await ledger.append(chainOf([tip, approvalOf(digestOfBytes('promotion 1'), 'bob')]), [{ digest: digestOfBytes('a'), bytes: Buffer.from('a') }]);
  await ledger.remember({ seq: 1, digest: digestOfBytes('x'), evidenceCommit: COMMIT, targetTip: COMMIT, rootVersion: 1, rootDigest: digestOfBytes('r'), rememberedAt: AT });
  await ledger.project({
    asOf: AT, complete: false, releases: { set: [releaseRow('1')] }, states: { set: [stateRow('prod')] }, promotions: { set: [promotionRow('prod')] },
    documents: { set: [{ kind: 'Freeze', name: 'f', count: 1, digest: digestOfBytes('f'), document: {}, seq: 1, inForceSince: AT }] },
    conditions: { set: [{ kind: 'Release', name: 'shop/1', type: 'Ready', status: 'True', reason: 'Locked', message: '', file: null, line: null }] },
  });
  const runs = createRunStore(scope);
  const created = await runs.createRun({
    environment: 'prod', application: 'shop', operation: 'promote', promotionDigest: digestOfBytes('promotion 1'), generation: 1, extension: 0,
    decision: { seq: 5, digest: digestOfBytes('decision') }, state: {}, openedAt: AT,
  });
  if (!created.ok) throw new Error(created.code);
  await runs.appendTransition(created.run.id, { n: 1, event: {}, state: {}, at: AT, ends: false });
  const order = { type: 'stella/order/v1', decision: digestOfBytes('decision'), operation: 'promote', target: 't', try: 1 } as const;
  await runs.recordOrder({ run: created.run.id, digest: digestOfBytes(canonicalBytes(order)), order, agent: 'a', sentAt: AT });
  await createEnrolmentTokens(scope).issue({ tokenDigest: digestOfBytes('t'), agent: 'a', expiresAt: new Date(AT) });
  await createAgentRegister(scope).seen({ agent: 'a', version: '1', capabilities: [], lastSeenAt: AT });
}

const APPEND_ONLY = ['evidence.records', 'evidence.artifacts', 'evidence.log_heads', 'release.approvals', 'run.transitions'];

/** A query of the application role, as a tenant or as none. */
function asApplication(tenant: string | null, text: string): Promise<pg.QueryResultRow[]> {
  const url = new URL(database.url);
  url.searchParams.set('options', `-c role=stella_app${tenant === null ? '' : ` -c stella.tenant=${tenant}`}`);
  return sql(url.href, text);
}

describe('row level security', () => {
  test('shows every table to its tenant, and no row to another tenant or to none', async () => {
    expect(tables.length).toBeGreaterThanOrEqual(14);
    for (const table of tables) {
      const count = `SELECT count(*)::int AS n FROM ${table}`;
      expect([table, await asApplication(TENANT, count)]).toEqual([table, [{ n: expect.any(Number) }]]);
      expect((await asApplication(TENANT, count))[0]?.['n'], table).toBeGreaterThan(0);
      expect([table, await asApplication('other', count)]).toEqual([table, [{ n: 0 }]]);
      expect([table, await asApplication(null, count)]).toEqual([table, [{ n: 0 }]]);
      expect([table, await asApplication('', count)]).toEqual([table, [{ n: 0 }]]);
    }
  });

  test('refuses to write a row for another tenant', async () => {
    const insert = (tenant: string): string => `INSERT INTO agent.presence (tenant_id, log_id, agent, version, capabilities, last_seen_at, inventory)
      VALUES ('${tenant}', '${LOG}', 'x', '1', '[]', now(), '{}')`;
    await expect(asApplication(TENANT, insert('other'))).rejects.toMatchObject({ code: '42501' });
    await expect(asApplication(null, insert(TENANT))).rejects.toMatchObject({ code: '42501' });
  });

  test('does not let an update of another tenant reach a row', async () => {
    expect(await asApplication('other', 'UPDATE run.runs SET n = 99 RETURNING id')).toEqual([]);
    expect(await sql(database.url, 'SELECT count(*)::int AS n FROM run.runs WHERE n = 99')).toEqual([{ n: 0 }]);
  });

  test('is forced on every table, and every table has a tenant', async () => {
    const rows = await sql<{ name: string; forced: boolean; tenant: boolean; policies: number }>(database.url, `
      SELECT format('%I.%I', n.nspname, c.relname) AS name, c.relrowsecurity AND c.relforcerowsecurity AS forced,
             EXISTS (SELECT FROM pg_attribute a WHERE a.attrelid = c.oid AND a.attname = 'tenant_id' AND a.attnotnull) AS tenant,
             (SELECT count(*)::int FROM pg_policy p WHERE p.polrelid = c.oid) AS policies
        FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
       WHERE c.relkind IN ('r', 'p') AND n.nspname NOT IN ('pg_catalog', 'information_schema', 'pg_toast', 'graphile_worker') ORDER BY 1`);
    expect(rows.filter(({ name }) => name !== 'storage.migrations')).toEqual(tables.map((name) => ({ name, forced: true, tenant: true, policies: 1 })));
  });
});

describe('append-only tables', () => {
  test.each(APPEND_ONLY)('%s: the application role has no privilege to change or remove', async (table) => {
    for (const statement of [`UPDATE ${table} SET tenant_id = tenant_id`, `DELETE FROM ${table}`, `TRUNCATE ${table}`]) {
      await expect(asApplication(TENANT, statement)).rejects.toMatchObject({ code: '42501' });
    }
  });

  test.each(APPEND_ONLY)('%s: the trigger refuses even the owner, also where no row matches', async (table) => {
    for (const statement of [`UPDATE ${table} SET tenant_id = tenant_id`, `DELETE FROM ${table} WHERE false`, `TRUNCATE ${table} CASCADE`]) {
      await expect(sql(database.url, statement)).rejects.toMatchObject({ code: 'ST001' });
    }
  });

  test('the application role may truncate nothing, and remove only projections and presence', async () => {
    const rows = await sql<{ name: string }>(database.url, `SELECT name FROM unnest($1::text[]) AS name WHERE has_table_privilege('stella_app', name, 'DELETE') ORDER BY 1`, [tables]);
    expect(rows.map(({ name }) => name)).toEqual(['agent.presence', 'release.conditions', 'release.documents', 'release.environment_state', 'release.promotions', 'release.releases']);
    expect(await sql(database.url, `SELECT name FROM unnest($1::text[]) AS name WHERE has_table_privilege('stella_app', name, 'TRUNCATE, TRIGGER, REFERENCES')`, [tables])).toEqual([]);
  });
});

describe('columns that are written once', () => {
  test.each([
    ['run.runs', `promotion_digest = '${digestOfBytes('other')}'`],
    ['run.runs', `decision_digest = '${digestOfBytes('other')}'`],
    ['run.orders', `digest = '${digestOfBytes('other')}'`],
    ['agent.enrolment_tokens', `token_digest = '${digestOfBytes('other')}'`],
    ['release.promotions', `document_digest = '${digestOfBytes('other')}'`],
    ['release.releases', `lock_digest = '${digestOfBytes('other')}'`],
    ['release.releases', 'lock_digest = NULL'],
    ['release.documents', `digest = '${digestOfBytes('other')}'`],
  ])('%s: not even the owner can SET %s', async (table, assignment) => {
    await expect(sql(database.url, `UPDATE ${table} SET ${assignment}`)).rejects.toMatchObject({ code: 'ST003' });
  });
});

describe('the application role', () => {
  test('cannot log in, owns nothing and bypasses nothing', async () => {
    expect(await sql(database.url, `SELECT rolcanlogin, rolsuper, rolbypassrls, rolcreaterole, rolcreatedb,
      EXISTS (SELECT FROM pg_class WHERE relowner = r.oid) AS owns FROM pg_roles r WHERE rolname = 'stella_app'`))
      .toEqual([{ rolcanlogin: false, rolsuper: false, rolbypassrls: false, rolcreaterole: false, rolcreatedb: false, owns: false }]);
    await expect(verifyApplicationRole(pool)).resolves.toBeUndefined();
  });

  test('is what RESET ROLE leads back to', async () => {
    const client = await pool.connect();
    await client.query('RESET ROLE');
    expect((await client.query('SELECT current_user AS role')).rows).toEqual([{ role: 'stella_app' }]);
    client.release();
  });

  test('a session that runs as anybody else is refused, at the start and at every transaction', async () => {
    const url = new URL(database.url);
    url.searchParams.set('options', '-c work_mem=4MB');
    const strong = openPool(url.href, { applicationName: 'test', maxConnections: 1 });
    await expect(verifyApplicationRole(strong)).rejects.toMatchObject({ code: 'StorageMisconfigured' });
    await expect(tenantDatabase(strong, { tenant: TENANT, logId: LOG }).transaction(() => Promise.resolve(1))).rejects.toMatchObject({ code: 'StorageMisconfigured' });
    await strong.end();
  });

  test('may not read what the migrations remember, nor make anything', async () => {
    await expect(asApplication(TENANT, 'SELECT * FROM storage.migrations')).rejects.toMatchObject({ code: '42501' });
    await expect(asApplication(TENANT, 'CREATE TABLE evidence.mine (id int)')).rejects.toMatchObject({ code: '42501' });
    await expect(asApplication(TENANT, 'ALTER TABLE evidence.records DISABLE TRIGGER ALL')).rejects.toMatchObject({ code: '42501' });
    await expect(asApplication(TENANT, 'ALTER TABLE evidence.records NO FORCE ROW LEVEL SECURITY')).rejects.toMatchObject({ code: '42501' });
  });
});
