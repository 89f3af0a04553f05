import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { createLedger } from '../../src/adapters/postgres/ledger.ts';
import { createLedgerReader } from '../../src/adapters/postgres/ledger-reader.ts';
import { openPool, tenantDatabase } from '../../src/adapters/postgres/scope.ts';
import type { ExplainLine } from '../../src/core/decision/explain.ts';
import { explainPromotion, type ExplainSources } from '../../src/reconciler/explain-promotion.ts';
import { migratedDatabase } from '../contract/postgres-fixture.ts';
import { doc, World } from '../fakes/world.ts';
import { cloneFor, json, type Clone } from './cli-fixture.ts';

/** dev runs 1.1 after 1.0, prod waits for an sre: what the API says is what the command line says. */
let world: World;
let clone: Clone;
let database: Awaited<ReturnType<typeof migratedDatabase>>;
let pool: ReturnType<typeof openPool>;
let reader: ReturnType<typeof createLedgerReader>;
let sources: ExplainSources;

const shop = (version: string) => doc('Release', `shop/${version}`, { components: { api: { tag: version } } });

beforeAll(async () => {
  world = await World.create({ idle: true });
  database = await migratedDatabase();
  pool = openPool(database.url, { applicationName: 'test', maxConnections: 3 });
  const scope = tenantDatabase(pool, { tenant: 'default', logId: world.pin });
  reader = createLedgerReader(scope);
  const parts = await world.parts();
  const reconciler = await world.reconciler({ ledger: createLedger(scope) });
  sources = { log: () => (reconciler.state === null || reconciler.evidenceTip === null ? null : { state: reconciler.state, evidenceTip: reconciler.evidenceTip }), reader: parts.evidence.reader, records: reader };
  await world.settle();
  for (const version of ['1.0', '1.1']) world.registry.put(`shop/api:${version}`, version);
  await world.commit([shop('1.0'), shop('1.1'), doc('Promotion', 'dev/shop', { release: '1.0' })], { by: world.people.alice });
  await world.settle();
  await world.commit([doc('Promotion', 'dev/shop', { release: '1.1' })], { by: world.people.alice });
  await world.settle();
  await world.commit([await world.promotion('prod', '1.1', { by: world.people.alice })], { by: world.people.alice });
  await world.settle();
  clone = await cloneFor(world, world.people.bob);
});
afterAll(async () => {
  await pool.end();
  await database.drop();
  await world.close();
});

async function byApi(environment: string, release: string): Promise<readonly ExplainLine[]> {
  const row = (await reader.promotions({ environment })).items.find((one) => one.release === release);
  return explainPromotion(sources, row!);
}

/** A decision that is taken now names another moment than the one in the log. */
const sentences = (lines: readonly ExplainLine[]) => lines.filter(({ about }) => about === 'situation' || about === 'gate').map(({ text, who, command, code }) => ({ text, who, command, code }));

describe('an explanation', () => {
  it('is the same in API and command line where something waits', async () => {
    const [one] = json<{ lines: readonly ExplainLine[] }[]>(await clone.stella(['explain', 'prod/shop', '-o', 'json']));
    expect(sentences(await byApi('prod', '1.1'))).toEqual(sentences(one!.lines));
    expect(sentences(one!.lines)).toContainEqual(expect.objectContaining({ code: 'ApprovalsMissing', who: ['bob', 'carol'] }));
  });

  it('is the same in API, status and explain where something runs', async () => {
    const [explained] = json<{ lines: readonly ExplainLine[] }[]>(await clone.stella(['explain', 'dev/shop', '-o', 'json']));
    const status = json<{ environments: { environment: string; applications: { lines: readonly ExplainLine[] }[] }[] }>(await clone.stella(['status', 'dev', '-o', 'json']));
    const lines = await byApi('dev', '1.1');
    expect(lines.map(({ code }) => code)).toEqual(['Deployed']);
    expect(status.environments[0]!.applications[0]!.lines).toEqual(lines);
    expect(explained!.lines.slice(0, -1)).toEqual(lines);
    expect(explained!.lines.at(-1)?.code).toBe('Skipped');
  });

  it('says of what ran before by what it was replaced', async () => {
    expect((await byApi('dev', '1.0')).map(({ code }) => code)).toEqual(['Deployed', 'Replaced']);
  });

  it('has no lines before the log was read', async () => {
    const [row] = (await reader.promotions({ environment: 'dev' })).items;
    expect(await explainPromotion({ ...sources, log: () => null }, row!)).toEqual([]);
  });

  it('says since which record and by whom a protected document is in force, and what another version waits for', async () => {
    const before = json<{ lines: readonly ExplainLine[] }>(await clone.stella(['explain', 'Environment/dev', '-o', 'json']));
    expect(before.lines.map(({ code }) => code)).toEqual(['InForce']);
    await world.commit([doc('Environment', 'dev', { order: 3 })], { by: world.people.carol });
    await world.settle();
    await clone.git('pull', '-q');
    const pending = await clone.stella(['explain', 'Environment/dev', '-o', 'json']);
    expect(pending.code).toBe(1);
    expect(json<{ lines: readonly ExplainLine[] }>(pending).lines[1]).toMatchObject({ code: 'ChangePending', who: ['alice', 'bob'], command: 'stella approve --pending --only Environment/dev' });
    expect((await clone.stella(['explain', 'Environment/none', '-o', 'json'])).code).toBe(1);
  });
});
