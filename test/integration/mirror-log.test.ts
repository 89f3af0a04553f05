import { afterEach, expect, it } from 'vitest';
import { createLedger } from '../../src/adapters/postgres/ledger.ts';
import { createLedgerReader } from '../../src/adapters/postgres/ledger-reader.ts';
import { openPool, tenantDatabase } from '../../src/adapters/postgres/scope.ts';
import { migratedDatabase } from '../contract/postgres-fixture.ts';
import type { LogState } from '../../src/core/evidence/log-state.ts';
import type { AnyDocument } from '../../src/core/model/documents.ts';
import { doc, pathOf, World } from '../fakes/world.ts';

let world: World;
afterEach(() => world.close());

const shop = (version: string) => doc('Release', `shop/${version}`, { components: { api: { tag: version } } });

it('Postgres shows how runs ended and what releases are, also when the run ends after a restart', async () => {
  world = await World.create({ idle: true });
  const database = await migratedDatabase();
  const pool = openPool(database.url, { applicationName: 'test', maxConnections: 3 });
  const scope = tenantDatabase(pool, { tenant: 'default', logId: world.pin });
  const [ledger, reader] = [createLedger(scope), createLedgerReader(scope)];
  try {
    await world.reconciler({ ledger });
    await world.settle();
    world.registry.put('shop/api:1.0', 'one');
    world.registry.put('shop/api:1.1', 'two');
    await world.commit([shop('1.0'), shop('1.1'), doc('Promotion', 'dev/shop', { release: '1.0' })], { by: world.people.alice });
    await world.pass();
    expect((await reader.promotions({ environment: 'dev' })).items).toMatchObject([{ outcome: 'allow', result: null, requesters: { people: ['alice'] } }]);
    expect((await reader.release('shop/1.0'))?.status).toBe('promoting');
    await world.restart();
    await world.reconciler({ ledger });
    await world.settle();
    expect((await reader.promotions({ environment: 'dev' })).items).toMatchObject([{ outcome: 'allow', result: 'Succeeded' }]);
    await world.commit([doc('Promotion', 'dev/shop', { release: '1.1' })], { by: world.people.alice });
    await world.settle();
    const releases = (await reader.releases({ application: 'shop' })).items.map(({ name, status }) => [name, status]).sort(([a = ''], [b = '']) => (a < b ? -1 : 1));
    expect(releases).toEqual([['shop/1.0', 'ready'], ['shop/1.1', 'deployed']]);
    expect((await ledger.tip())?.seq).toBe((await world.state()).size - 1);
  } finally {
    await pool.end();
    await database.drop();
  }
});

it('Postgres keeps how a run ended apart from the request that waits for it', async () => {
  world = await World.create({ idle: true });
  const database = await migratedDatabase();
  const pool = openPool(database.url, { applicationName: 'test', maxConnections: 3 });
  const scope = tenantDatabase(pool, { tenant: 'default', logId: world.pin });
  const [ledger, reader] = [createLedger(scope), createLedgerReader(scope)];
  let isRunning = true;
  const { executor } = world;
  const slow = { sync: (state: LogState) => executor.sync(state), needsRenewal: () => [], takeFinished: () => (isRunning ? [] : executor.takeFinished()) };
  try {
    await world.reconciler({ ledger, executor: slow });
    await world.settle();
    world.registry.put('shop/api:1.0', 'one');
    world.registry.put('shop/api:1.1', 'two');
    await world.commit([shop('1.0'), shop('1.1'), doc('Promotion', 'dev/shop', { release: '1.0' })], { by: world.people.alice });
    await world.settle();
    await world.commit([doc('Promotion', 'dev/shop', { release: '1.1' })], { by: world.people.alice });
    await world.settle();
    const shown = async () => (await reader.promotions({ environment: 'dev' })).items.map(({ release, outcome, result }) => `${release ?? ''} ${outcome} ${result ?? 'no result'}`).sort();
    expect(await shown()).toEqual(['1.0 allow no result', '1.1 pending no result']);
    isRunning = false;
    await world.pass();
    expect((await shown())[0]).toBe('1.0 allow Succeeded');
    await world.settle();
    expect(await shown()).toEqual(['1.0 allow Succeeded', '1.1 allow Succeeded']);
  } finally {
    await pool.end();
    await database.drop();
  }
});

it('Postgres shows the conditions of a pass that stalls, and none that nobody says any more', async () => {
  world = await World.create({ idle: true });
  const database = await migratedDatabase();
  const pool = openPool(database.url, { applicationName: 'test', maxConnections: 3 });
  const scope = tenantDatabase(pool, { tenant: 'default', logId: world.pin });
  const [ledger, reader] = [createLedger(scope), createLedgerReader(scope)];
  const shown = async () => (await reader.conditions()).map(({ kind, name, type, reason }) => [kind, name, type, reason]);
  try {
    await world.reconciler({ ledger });
    await world.settle();
    await world.commit([shop('1.0')], { by: world.people.alice });
    await world.pass();
    expect(await shown()).toEqual([['Release', 'shop/1.0', 'Stalled', 'TagUnresolved']]);
    // Somebody else writes to the evidence branch.
    const tip = await world.repository.tip('stella/evidence');
    await world.repository.commit({ message: 'Mine', files: { 'mine.txt': 'x' }, branch: 'stella/evidence' });
    expect(await world.pass()).toMatchObject({ ok: false, fault: { code: 'ForeignEvidence' } });
    expect(await shown()).toEqual(expect.arrayContaining([['Repository', 'declarations', 'Stalled', 'ForeignEvidence'], ['Release', 'shop/1.0', 'Stalled', 'TagUnresolved']]));
    // It is put right, and the release withdrawn, while no server runs.
    await world.repository.git(['update-ref', 'refs/heads/stella/evidence', tip ?? '']);
    await world.commit([], { by: world.people.alice, deletes: [pathOf(shop('1.0') as unknown as AnyDocument)] });
    await world.restart();
    await world.reconciler({ ledger });
    await world.settle();
    expect(await shown()).toEqual([]);
  } finally {
    await pool.end();
    await database.drop();
  }
});
