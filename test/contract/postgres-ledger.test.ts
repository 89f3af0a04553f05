import type pg from 'pg';
import { beforeEach, describe, expect, test } from 'vitest';
import { digestOfBytes } from '../../src/core/model/digest.ts';
import { limits } from '../../src/core/model/limits.ts';
import { createLedger } from '../../src/adapters/postgres/ledger.ts';
import { createLedgerReader } from '../../src/adapters/postgres/ledger-reader.ts';
import { openPool, tenantDatabase } from '../../src/adapters/postgres/scope.ts';
import type { Condition, DocumentRow, Ledger, LedgerReader, LogHead } from '../../src/ports/ledger.ts';
import type { ScratchDatabase } from '../fakes/postgres.ts';
import { approvalOf, AT, chainOf, COMMIT, LOG, migratedDatabase, promotionRow, releaseRow, sql, stateRow, TENANT, tip } from './postgres-fixture.ts';

let database: ScratchDatabase;
let pool: pg.Pool;
let ledger: Ledger;
let reader: LedgerReader;

beforeEach(async () => {
  database = await migratedDatabase();
  pool = openPool(database.url, { applicationName: 'test', maxConnections: 3 });
  const scope = tenantDatabase(pool, { tenant: TENANT, logId: LOG });
  ledger = createLedger(scope);
  reader = createLedgerReader(scope);
  return async () => {
    await pool.end();
    await database.drop();
  };
});

describe('the mirror', () => {
  test('takes records in order, and the same ones again without a change', async () => {
    const records = chainOf([tip, tip, tip]);
    expect(await ledger.append(records.slice(0, 2), [])).toBe(2);
    expect(await ledger.append(records, [])).toBe(1);
    expect(await ledger.append(records, [])).toBe(0);
    expect(await ledger.tip()).toEqual({ seq: 2, digest: records[2]?.record.digest });
    const read = await reader.record(1);
    expect(Buffer.from(read?.envelope ?? [])).toEqual(Buffer.from(records[1]?.envelope ?? []));
    expect(read).toMatchObject({ seq: 1, prev: records[0]?.record.digest, type: 'observation', asOf: AT, commit: COMMIT, statement: records[1]?.statement });
  });

  test('refuses another record under a number that it has', async () => {
    await ledger.append(chainOf([tip, tip]), []);
    await expect(ledger.append(chainOf([tip, tip], { note: 'rewritten' }), [])).rejects.toMatchObject({ code: 'LedgerDiverged', disposition: 'stall' });
    expect((await ledger.tip())?.seq).toBe(1);
  });

  test('refuses a record that does not follow the one it has', async () => {
    await ledger.append(chainOf([tip]), []);
    const other = chainOf([tip, tip], { note: 'other' });
    await expect(ledger.append(other.slice(1), [])).rejects.toMatchObject({ code: 'LedgerDiverged' });
  });

  test('refuses a gap and writes nothing of that batch', async () => {
    const records = chainOf([tip, tip, tip]);
    await expect(ledger.append([records[0], records[2]].filter((record) => record !== undefined), [])).rejects.toMatchObject({ code: 'LedgerGap', disposition: 'retry' });
    expect(await ledger.tip()).toBeNull();
  });

  test('refuses records of another log or tenant', async () => {
    await expect(ledger.append(chainOf([tip], { logId: digestOfBytes('other') }), [])).rejects.toMatchObject({ code: 'LedgerDiverged' });
    await expect(ledger.append(chainOf([tip], { tenant: 'other' }), [])).rejects.toMatchObject({ code: 'LedgerDiverged' });
  });

  test('two writers at once write each record once', async () => {
    const records = chainOf(Array.from({ length: 20 }, () => tip));
    const written = await Promise.all([ledger.append(records, []), ledger.append(records, []), ledger.append(records, [])]);
    expect(written.toSorted((a, b) => a - b)).toEqual([0, 0, 20]);
  });

  test('refuses an envelope that is not what its digest says', async () => {
    const [record] = chainOf([tip]);
    if (record === undefined) throw new Error('no record');
    await expect(ledger.append([{ ...record, envelope: Buffer.from('tampered') }], [])).rejects.toMatchObject({ code: 'StorageFailed' });
  });

  test('keeps small artifacts with their bytes and large ones by name, and takes them again', async () => {
    const small = { bytes: Buffer.from('small'), digest: digestOfBytes('small') };
    const bytes = Buffer.alloc(limits.mirroredArtifactBytes + 1);
    const large = { bytes, digest: digestOfBytes(bytes) };
    await ledger.append(chainOf([tip]), [small, large]);
    await ledger.append(chainOf([tip]), [small, large]);
    expect(Buffer.from(await reader.artifact(small.digest) ?? [])).toEqual(small.bytes);
    expect(await reader.artifact(large.digest)).toBeNull();
  });

  test('carries text with U+0000, which Postgres has no room for, and keeps the signed bytes', async () => {
    const records = chainOf([tip], { note: 'a\0b' });
    await ledger.append(records, []);
    const read = await reader.record(0);
    expect(read?.statement).toMatchObject({ predicate: { note: 'a\ufffdb' } });
    expect(Buffer.from(read?.envelope ?? []).toString()).toContain('\\u0000');
  });

  test('lists records by number and type, bounded', async () => {
    await ledger.append(chainOf([tip, approvalOf(digestOfBytes('p'), 'bob'), tip]), []);
    expect((await reader.evidence({ fromSeq: 1 })).map(({ seq }) => seq)).toEqual([1, 2]);
    expect((await reader.evidence({ limit: 1 })).map(({ seq }) => seq)).toEqual([0]);
    expect(await reader.evidence({ type: 'release-lock' })).toEqual([]);
  });
});

describe('the remembered head', () => {
  const head = (seq: number, changes: Partial<LogHead> = {}): LogHead => ({
    seq, digest: digestOfBytes(`record ${seq}`), evidenceCommit: COMMIT, targetTip: COMMIT, rootVersion: 1, rootDigest: digestOfBytes('root 1'), rememberedAt: AT, ...changes,
  });

  test('moves forward and is read back', async () => {
    expect(await ledger.head()).toBeNull();
    await ledger.remember(head(3));
    await ledger.remember(head(3));
    await ledger.remember(head(5, { rootVersion: 2, rootDigest: digestOfBytes('root 2') }));
    expect(await ledger.head()).toEqual(head(5, { rootVersion: 2, rootDigest: digestOfBytes('root 2') }));
    expect(await sql(database.url, 'SELECT count(*)::int AS n FROM evidence.log_heads')).toEqual([{ n: 2 }]);
  });

  test.each([
    ['a lower number', head(4)],
    ['another record under the same number', head(5, { digest: digestOfBytes('other') })],
    ['a lower root version', head(6, { rootVersion: 1 })],
    ['another root under the same version', head(6, { rootVersion: 2, rootDigest: digestOfBytes('other root') })],
  ])('refuses %s (T16)', async (_, back) => {
    await ledger.remember(head(5, { rootVersion: 2, rootDigest: digestOfBytes('root 2') }));
    await expect(ledger.remember(back)).rejects.toMatchObject({ code: 'LogRewound' });
    expect((await ledger.head())?.seq).toBe(5);
  });
});

describe('the projection', () => {
  const write = { asOf: AT, complete: false };

  test('is read back as it was written, with ids derived from the log', async () => {
    await ledger.append(chainOf([tip, approvalOf(digestOfBytes('promotion 1'), 'bob')]), []);
    await ledger.project({ ...write, releases: { set: [releaseRow('1')] }, states: { set: [stateRow('prod')] }, promotions: { set: [promotionRow('prod')] } });
    const release = await reader.release('shop/1');
    expect(release).toEqual({ id: release?.id, ...releaseRow('1') });
    expect(await reader.release(release?.id ?? '')).toEqual(release);
    const [promotion] = (await reader.promotions({ environment: 'prod' })).items;
    expect(promotion).toEqual({ id: promotion?.id, ...promotionRow('prod') });
    expect((await reader.promotion(promotion?.id ?? ''))?.approvals).toMatchObject([{ seq: 1, principal: 'bob', action: 'approve', observedAt: AT }]);
    expect(await reader.promotion('nonsense')).toBeNull();
    expect(await reader.release('shop/none')).toBeNull();
    expect((await reader.environments()).map(({ name, states }) => [name, states.length])).toEqual([['prod', 1]]);
  });

  test('written in two orders gives the same tables', async () => {
    const rows = [releaseRow('1'), releaseRow('2'), releaseRow('3')];
    const snapshot = (): Promise<object[]> => sql(database.url, 'SELECT to_jsonb(r) AS row FROM release.releases r ORDER BY name');
    await ledger.project({ ...write, releases: { set: rows } });
    const first = await snapshot();
    await ledger.project({ ...write, complete: true });
    expect(await snapshot()).toEqual([]);
    for (const row of rows.toReversed()) await ledger.project({ ...write, releases: { set: [row] } });
    expect(await snapshot()).toEqual(first);
  });

  test('touches no row that stays as it is', async () => {
    const versions = (): Promise<object[]> => sql(database.url, 'SELECT xmin::text FROM release.releases UNION ALL SELECT xmin::text FROM release.conditions');
    const all = { ...write, releases: { set: [releaseRow('1')] }, conditions: { set: [condition('True')] } };
    await ledger.project(all);
    const before = await versions();
    await ledger.project({ ...all, asOf: '2027-01-01T00:00:00.000Z', complete: true });
    expect(await versions()).toEqual(before);
  });

  test('removes what it is told to, and on a complete one what is not in it; promotions are history and stay', async () => {
    await ledger.project({ ...write, states: { set: [stateRow('dev'), stateRow('prod'), stateRow('qa')] }, promotions: { set: [promotionRow('prod')] } });
    await ledger.project({ ...write, states: { remove: [{ environment: 'dev', application: 'shop' }] } });
    expect((await reader.environments()).map(({ name }) => name)).toEqual(['prod', 'qa']);
    await ledger.project({ ...write, complete: true, states: { set: [stateRow('prod')] } });
    expect((await reader.environments()).map(({ name }) => name)).toEqual(['prod']);
    expect((await reader.promotions()).total).toBe(1);
  });

  test('refuses another lock under the name of a locked release and leaves everything as it was', async () => {
    await ledger.project({ ...write, releases: { set: [releaseRow('1')] } });
    await expect(ledger.project({ ...write, states: { set: [stateRow('prod')] }, releases: { set: [releaseRow('1', { lockDigest: digestOfBytes('other') })] } }))
      .rejects.toMatchObject({ code: 'DigestImmutable' });
    expect((await reader.release('shop/1'))?.lockDigest).toBe(digestOfBytes('lock 1'));
    expect(await reader.environments()).toEqual([]);
  });

  test('lets a draft change until it is locked', async () => {
    const draft = releaseRow('1', { status: 'draft', lockDigest: null, lockSeq: null, lockedAt: null });
    await ledger.project({ ...write, releases: { set: [draft] } });
    await ledger.project({ ...write, releases: { set: [{ ...draft, releaseSpecDigest: digestOfBytes('edited') }] } });
    await ledger.project({ ...write, releases: { set: [releaseRow('1')] } });
    expect((await reader.release('shop/1'))?.status).toBe('ready');
  });

  test('never lets an environment go back to a generation that has passed', async () => {
    await ledger.project({ ...write, states: { set: [stateRow('prod', { generation: 2 })] } });
    await expect(ledger.project({ ...write, states: { set: [stateRow('prod', { generation: 1 })] } })).rejects.toMatchObject({ code: 'DigestImmutable' });
  });

  test('counts changes of documents in force: other content under the same count is refused', async () => {
    const document: DocumentRow = { kind: 'Environment', name: 'prod', count: 1, digest: digestOfBytes('one'), document: { spec: { order: 2 } }, seq: 1, inForceSince: AT };
    const dev: DocumentRow = { ...document, name: 'dev', document: { spec: { order: 1 } } };
    await ledger.project({ ...write, documents: { set: [document, dev] }, states: { set: [stateRow('gone')] } });
    await expect(ledger.project({ ...write, documents: { set: [{ ...document, digest: digestOfBytes('two') }] } })).rejects.toMatchObject({ code: 'DigestImmutable' });
    await ledger.project({ ...write, documents: { set: [{ ...document, digest: digestOfBytes('two'), count: 2 }] } });
    expect(await reader.documents('Environment')).toMatchObject([{ name: 'dev' }, { name: 'prod', count: 2 }]);
    expect((await reader.environments()).map(({ name, order }) => [name, order])).toEqual([['dev', 1], ['prod', 2], ['gone', null]]);
  });

  test('says of each environment whether what runs there rests on the word of the server', async () => {
    const of = (kind: DocumentRow['kind'], name: string, spec: object): DocumentRow => ({ kind, name, count: 1, digest: digestOfBytes(name), document: { spec } as DocumentRow['document'], seq: 1, inForceSince: AT });
    const documents = [of('Environment', 'dev', { order: 1 }), of('Environment', 'prod', { order: 2, approvals: { people: 1 } }), of('Environment', 'vault', { order: 3 }), of('TrustRoot', 'root', { minimums: { environments: [{ name: 'vault', people: 2 }] } })];
    await ledger.project({ ...write, documents: { set: documents }, states: { set: [stateRow('gone')] } });
    expect((await reader.environments()).map(({ name, reconcilerTrusted }) => [name, reconcilerTrusted])).toEqual([['dev', true], ['prod', false], ['vault', false], ['gone', true]]);
  });

  test('pages releases, newest first, and filters them', async () => {
    const rows = Array.from({ length: 5 }, (_, index) => releaseRow(String(index), { createdAt: `2026-01-0${index + 1}T00:00:00.000Z` }));
    await ledger.project({ ...write, releases: { set: [...rows, releaseRow('9', { name: 'web/9', application: 'web' })] } });
    const page = await reader.releases({ application: 'shop', page: 2, pageSize: 2 });
    expect(page).toMatchObject({ total: 5, page: 2, pageSize: 2 });
    expect(page.items.map(({ version }) => version)).toEqual(['2', '1']);
    expect((await reader.releases({ status: 'archived' })).items).toEqual([]);
  });

  const condition = (status: Condition['status'], message = 'fine'): Condition => ({
    kind: 'Release', name: 'shop/1', type: 'Ready', status, reason: 'Locked', message, file: 'releases/shop/1.yaml', line: 3,
  });

  test('a condition keeps its time until its status changes', async () => {
    const since = async (): Promise<string | undefined> => (await reader.conditions())[0]?.since;
    await ledger.project({ ...write, asOf: '2026-01-01T00:00:00.000Z', conditions: { set: [condition('False', 'tag unknown')] } });
    await ledger.project({ ...write, asOf: '2026-01-02T00:00:00.000Z', conditions: { set: [condition('False', 'registry away')] } });
    expect(await since()).toBe('2026-01-01T00:00:00.000Z');
    expect((await reader.conditions())[0]?.message).toBe('registry away');
    await ledger.project({ ...write, asOf: '2026-01-03T00:00:00.000Z', conditions: { set: [condition('True')] } });
    expect(await since()).toBe('2026-01-03T00:00:00.000Z');
  });
});
