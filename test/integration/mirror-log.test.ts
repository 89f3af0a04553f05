import { afterEach, expect, it } from 'vitest';
import { createLedger } from '../../src/adapters/postgres/ledger.ts';
import { createLedgerReader } from '../../src/adapters/postgres/ledger-reader.ts';
import { openPool, tenantDatabase } from '../../src/adapters/postgres/scope.ts';
import { migratedDatabase } from '../contract/postgres-fixture.ts';
import { doc, World } from '../fakes/world.ts';

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
