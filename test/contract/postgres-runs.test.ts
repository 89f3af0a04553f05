import type pg from 'pg';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { canonicalBytes } from '../../src/core/model/canonical-json.ts';
import { digestOfBytes, type Digest } from '../../src/core/model/digest.ts';
import { derivedId } from '../../src/core/model/uuid.ts';
import { limits } from '../../src/core/model/limits.ts';
import type { Order } from '../../src/core/model/preimages.ts';
import { createAgentRegister } from '../../src/adapters/postgres/agent-register.ts';
import { createEnrolmentTokens } from '../../src/adapters/postgres/enrolment-tokens.ts';
import { createRunStore } from '../../src/adapters/postgres/run-store.ts';
import { openPool, tenantDatabase } from '../../src/adapters/postgres/scope.ts';
import type { AgentRegister } from '../../src/ports/agent-register.ts';
import type { EnrolmentTokens } from '../../src/ports/enrolment-tokens.ts';
import type { NewRun, Run, RunStore } from '../../src/ports/run-store.ts';
import type { ScratchDatabase } from '../fakes/postgres.ts';
import { AT, LOG, migratedDatabase, TENANT } from './postgres-fixture.ts';

let database: ScratchDatabase;
let pool: pg.Pool;
let runs: RunStore;
let tokens: EnrolmentTokens;
let agents: AgentRegister;

beforeAll(async () => {
  database = await migratedDatabase();
  pool = openPool(database.url, { applicationName: 'test', maxConnections: 8 });
  const scope = tenantDatabase(pool, { tenant: TENANT, logId: LOG });
  runs = createRunStore(scope);
  tokens = createEnrolmentTokens(scope);
  agents = createAgentRegister(scope);
});
afterAll(async () => {
  await pool.end();
  await database.drop();
});

function newRun(environment: string, generation = 1): NewRun {
  return {
    environment, application: 'shop', operation: 'promote', promotionDigest: digestOfBytes(`${environment} ${generation}`), generation, extension: 0,
    decision: { seq: 9, digest: digestOfBytes('decision') }, state: { step: 0 }, openedAt: AT,
  };
}
async function opened(environment: string, generation = 1): Promise<Run> {
  const outcome = await runs.createRun(newRun(environment, generation));
  if (!outcome.ok) throw new Error(outcome.code);
  return outcome.run;
}
const transition = (n: number, ends = false) => ({ n, event: { event: n }, state: { step: n }, at: AT, ends });

describe('runs', () => {
  test('has one run for a promotion digest at a generation, whoever asks again', async () => {
    const first = await runs.createRun(newRun('once'));
    expect(first).toMatchObject({ ok: true, created: true, run: { id: derivedId(LOG, 'Run', digestOfBytes('once 1'), 1), n: 0, endedAt: null } });
    const again = await runs.createRun({ ...newRun('once'), state: { other: true } });
    expect(again).toEqual({ ok: true, created: false, run: first.ok && first.run });
    expect(await runs.runOf(digestOfBytes('once 1'), 1, 0)).toEqual(first.ok && first.run);
    expect(await runs.runOf(digestOfBytes('once 1'), 2, 0)).toBeNull();
  });

  test('has a run of its own for each extension of a promotion, which keeps digest and generation', async () => {
    const base = await opened('extended');
    await runs.appendTransition(base.id, transition(1, true));
    const extension: NewRun = { ...newRun('extended'), operation: 'extend', extension: 12 };
    const made = await runs.createRun(extension);
    expect(made).toMatchObject({ ok: true, created: true, run: { extension: 12, generation: 1 } });
    expect(await runs.createRun(extension)).toMatchObject({ ok: true, created: false });
    expect((await runs.runOf(extension.promotionDigest, 1, 12))?.id).not.toBe(base.id);
    expect((await runs.runOf(extension.promotionDigest, 1, 0))?.id).toBe(base.id);
    expect(await runs.runOf(extension.promotionDigest, 1, 13)).toBeNull();
    await expect(runs.createRun({ ...newRun('mixed'), extension: 3 })).rejects.toMatchObject({ code: 'StorageFailed' });
  });

  test('never opens two runs in one place', async () => {
    const run = await opened('place');
    expect(await runs.createRun(newRun('place', 2))).toEqual({ ok: false, code: 'RunOpen' });
    await runs.appendTransition(run.id, transition(1, true));
    expect(await runs.createRun(newRun('place', 2))).toMatchObject({ ok: true, created: true });
    expect((await runs.openRuns()).filter(({ environment }) => environment === 'place').map(({ generation }) => generation)).toEqual([2]);
  });

  test('takes transitions one after the other, and the last one again', async () => {
    const run = await opened('steps');
    expect(await runs.appendTransition(run.id, transition(2))).toEqual({ ok: false, code: 'RunMoved', n: 0 });
    expect(await runs.appendTransition(run.id, transition(1))).toEqual({ ok: true });
    expect(await runs.appendTransition(run.id, transition(1))).toEqual({ ok: true });
    expect(await runs.appendTransition(run.id, { ...transition(1), event: { other: true } })).toEqual({ ok: false, code: 'RunMoved', n: 1 });
    expect(await runs.appendTransition(run.id, transition(2, true))).toEqual({ ok: true });
    expect(await runs.appendTransition(run.id, transition(3))).toEqual({ ok: false, code: 'RunMoved', n: 2 });
    expect(await runs.run(run.id)).toMatchObject({ n: 2, state: { step: 2 }, endedAt: AT });
    expect((await runs.transitions(run.id)).map(({ n, event }) => [n, event])).toEqual([[1, { event: 1 }], [2, { event: 2 }]]);
  });

  test('of many writers of the same transition exactly one wins', async () => {
    const run = await opened('race');
    const outcomes = await Promise.all(Array.from({ length: 8 }, (_, writer) => runs.appendTransition(run.id, { ...transition(1), event: { writer } })));
    expect(outcomes.filter(({ ok }) => ok)).toHaveLength(1);
    expect(await runs.transitions(run.id)).toHaveLength(1);
  });

  test('refuses a state that is too large and a run that is not there', async () => {
    const run = await opened('large');
    await expect(runs.appendTransition(run.id, { ...transition(1), state: { text: 'x'.repeat(limits.runStateBytes) } })).rejects.toMatchObject({ code: 'LimitExceeded' });
    await expect(runs.appendTransition(derivedId(LOG, 'Run', 'none', 1), transition(1))).rejects.toMatchObject({ code: 'StorageFailed' });
    expect((await runs.run(run.id))?.n).toBe(0);
  });

  test('keeps an order once and its first receipt for good', async () => {
    const run = await opened('orders');
    const order: Order = { type: 'stella/order/v1', decision: digestOfBytes('decision'), operation: 'promote', target: 'prod-eu-1', try: 1 };
    const digest: Digest = digestOfBytes(canonicalBytes(order));
    const entry = { run: run.id, digest, order, agent: 'agent-1', sentAt: AT };
    await runs.recordOrder(entry);
    await runs.recordOrder(entry);
    expect(await runs.orders(run.id)).toEqual([{ ...entry, receipt: null, answeredAt: null }]);
    await runs.recordReceipt(digest, Buffer.from('receipt'), AT);
    await runs.recordReceipt(digest, Buffer.from('receipt'), '2026-09-09T00:00:00.000Z');
    await expect(runs.recordReceipt(digest, Buffer.from('another'), AT)).rejects.toMatchObject({ code: 'DigestImmutable' });
    expect(await runs.orders(run.id)).toMatchObject([{ receipt: Buffer.from('receipt'), answeredAt: AT }]);
    await expect(runs.recordOrder({ ...entry, digest: digestOfBytes('not this order') })).rejects.toMatchObject({ code: 'StorageFailed' });
  });
});

describe('enrolment tokens', () => {
  const entry = (name: string) => ({ tokenDigest: digestOfBytes(name), agent: 'agent-1', expiresAt: new Date('2026-06-01T00:00:00.000Z') });
  const now = new Date('2026-05-01T00:00:00.000Z');

  test('a token is spent by exactly one of many that come at once', async () => {
    await tokens.issue(entry('once'));
    const answers = await Promise.all(Array.from({ length: 8 }, () => tokens.consume(digestOfBytes('once'), now)));
    expect(answers.filter((answer) => answer !== null)).toEqual([{ agent: 'agent-1' }]);
    expect(await tokens.consume(digestOfBytes('once'), now)).toBeNull();
  });

  test('a token that is unknown or expired gives nobody', async () => {
    await tokens.issue(entry('late'));
    expect(await tokens.consume(digestOfBytes('unknown'), now)).toBeNull();
    expect(await tokens.consume(digestOfBytes('late'), new Date('2026-06-01T00:00:00.000Z'))).toBeNull();
    expect(await tokens.consume(digestOfBytes('late'), now)).toEqual({ agent: 'agent-1' });
  });
});

describe('the register of agents', () => {
  test('keeps the newest inventory', async () => {
    await agents.seen({ agent: 'agent-1', version: '1', capabilities: ['directory_host'], lastSeenAt: '2026-01-01T00:00:00.000Z' });
    await agents.inventory('agent-1', { newer: true }, '2026-01-03T00:00:00.000Z');
    await agents.inventory('agent-1', { older: true }, '2026-01-02T00:00:00.000Z');
    await agents.seen({ agent: 'agent-1', version: '2', capabilities: [], lastSeenAt: '2026-01-02T00:00:00.000Z' });
    expect(await agents.list()).toEqual([{
      agent: 'agent-1', version: '2', capabilities: [], lastSeenAt: '2026-01-03T00:00:00.000Z', inventory: { newer: true }, inventoryAt: '2026-01-03T00:00:00.000Z',
    }]);
  });
});
