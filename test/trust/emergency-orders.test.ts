import { afterAll, beforeAll } from 'vitest';
import { rm } from 'node:fs/promises';
import { canonicalBytes, parseCanonicalJson } from '../../src/core/model/canonical-json.ts';
import type { Digest } from '../../src/core/model/digest.ts';
import type { SpecOf } from '../../src/core/model/documents.ts';
import type { Order } from '../../src/core/model/preimages.ts';
import type { DecisionInput } from '../../src/core/decision/types.ts';
import { proveOrder, type AgentMemory } from '../../src/core/order/prove-order.ts';
import type { PromotionDecisionPredicate } from '../../src/core/evidence/records.ts';
import { buildBundle } from '../../src/reconciler/build-bundle.ts';
import { LogFixture } from '../fakes/log-fixture.ts';
import { createTemporaryFolder } from '../fakes/git-repository.ts';
import { openPgp } from '../fakes/openpgp.ts';
import { deployStep } from '../fakes/world.ts';
import { attack, proofVerdict, survives, type Verdict } from './attack.ts';

/**
 * What an agent takes on the word of a server, or of a thief of its keys, about rollbacks, broken glass and fallbacks. prod takes two sre; a
 * rollback within an hour one, broken glass one; a run may fall back for two hours.
 */

const one = { people: 1, roles: [{ role: 'sre', count: 1 }] };
const ENVIRONMENT: Partial<SpecOf['Environment']> = {
  approvals: { people: 2, roles: [{ role: 'sre', count: 2 }] }, rollback: { ...one, withinSeconds: 3_600 }, breakGlass: { ...one, skip: ['approvals'], withinSeconds: 86_400, review: one }, fallBackSeconds: 7_200,
};

let folder: string;
let made = 0;
beforeAll(async () => {
  folder = await createTemporaryFolder();
});
afterAll(() => rm(folder, { recursive: true, force: true }));

const freshLog = (options: Parameters<typeof LogFixture.create>[1] = {}): Promise<LogFixture> =>
  LogFixture.create(`${folder}/${++made}`, { environment: ENVIRONMENT, minimums: { breakGlass: { people: 1 } }, ...options });

async function allowed(log: LogFixture, version: string): Promise<void> {
  log.lock(version);
  await log.promote({ release: version });
  await log.approve('bob');
  await log.approve('carol');
}

async function deployed(log: LogFixture, version: string): Promise<void> {
  await allowed(log, version);
  const run = log.app.openRun;
  if (run === null) throw new Error('no run is open');
  const at = log.now.toISOString();
  const { operation, generation, promotionDigest, decision } = run;
  log.close({ environment: 'prod', application: 'shop', operation, generation, promotionDigest, decision, result: 'Succeeded', reason: 'Ok', startedAt: at, endedAt: at, steps: [deployStep(run.targets, 'Succeeded')], fallback: null }, []);
}

/** 1.0.0 ran, 1.1.0 runs, and one sre let 1.0.0 come back. */
async function rolledBack(): Promise<LogFixture> {
  const log = await freshLog();
  await deployed(log, '1.0.0');
  await deployed(log, '1.1.0');
  // Another request than the first one: that one is spent.
  await log.promote({ release: '1.0.0', attempt: 2 });
  await log.approve('bob');
  return log;
}

async function prove(log: LogFixture, more: Partial<Order> = {}, memory: Partial<AgentMemory> = {}): Promise<Verdict> {
  const decision = { seq: log.app.lastDecision?.seq ?? -1, digest: log.app.lastDecision?.digest as Digest };
  const built = await buildBundle({ type: 'stella/order/v1', decision: decision.digest, operation: 'promote', target: 'web-1', try: 1, ...more }, decision, log);
  if (!built.ok) throw new Error(built.message);
  return proofVerdict(proveOrder({
    bundle: built.bundle, pin: log.pin, agent: 'anna', memory: { protectedChange: null, lastOrders: () => [], hasRun: () => true, ...memory }, now: log.now.getTime(), openPgp,
  }));
}

/** The last decision once more, signed by the server's key with other content. */
function forge(log: LogFixture, change: (predicate: PromotionDecisionPredicate, input: DecisionInput) => { readonly predicate: Partial<PromotionDecisionPredicate>; readonly input: Partial<DecisionInput> }): void {
  const last = log.lastDecision();
  const input = parseCanonicalJson(log.stored.get(last.input) ?? new Uint8Array()) as unknown as DecisionInput;
  const other = change(last, input);
  void log.push((batch) => {
    batch.add({ type: 'promotion-decision', predicate: { ...last, ...other.predicate, input: batch.artifact(canonicalBytes({ ...input, ...other.input })) } });
  });
}

attack('order for a rollback to what this agent never ran', {
  rules: ['T28'], expects: 'RollbackUnproven',
  attempt: async () => prove(await rolledBack(), {}, { hasRun: () => false }),
  twin: async () => prove(await rolledBack()),
});

attack('order for a rollback that a thief decides after its time', {
  rules: ['T28'], expects: 'RollbackUnproven',
  attempt: async () => {
    const log = await rolledBack();
    log.after(7_200);
    const [at, notAfter] = [log.now.toISOString(), new Date(log.now.getTime() + 3_600_000).toISOString()];
    forge(log, (predicate) => ({ predicate: { decidedAt: at, decision: { ...predicate.decision, notAfter } }, input: { asOf: at } }));
    return prove(log);
  },
  twin: async () => {
    const log = await rolledBack();
    log.after(1_800);
    const [at, notAfter] = [log.now.toISOString(), new Date(log.now.getTime() + 3_600_000).toISOString()];
    forge(log, (predicate) => ({ predicate: { decidedAt: at, decision: { ...predicate.decision, notAfter } }, input: { asOf: at } }));
    return prove(log);
  },
});

attack('order for a new release that a thief calls a rollback', {
  rules: ['T17', 'T28'], expects: 'RollbackUnproven',
  attempt: async () => {
    const log = await freshLog();
    await deployed(log, '1.0.0');
    await allowed(log, '1.1.0');
    forge(log, (predicate, input) => ({ predicate: {}, input: { mode: 'rollback', state: { ...input.state, previous: { lock: predicate.lock!, runs: predicate.runs!, replacedAt: input.asOf } } } }));
    return prove(log, {}, { hasRun: () => false });
  },
  twin: async () => {
    const log = await freshLog();
    await deployed(log, '1.0.0');
    await allowed(log, '1.1.0');
    return prove(log, {}, { hasRun: () => false });
  },
});

attack('fall-back after its end', {
  rules: ['T28'], expects: 'AllowExpired',
  attempt: async () => {
    const log = await freshLog();
    await deployed(log, '1.0.0');
    await allowed(log, '1.1.0');
    log.after(8_000);
    return prove(log, { operation: 'fall-back' });
  },
  twin: async () => {
    const log = await freshLog();
    await deployed(log, '1.0.0');
    await allowed(log, '1.1.0');
    log.after(5_000); // the allow itself has lapsed
    return prove(log, { operation: 'fall-back' });
  },
});

attack('fall-back whose end a thief moves beyond what the environment lets it', {
  rules: ['T28'], expects: 'AllowExpired',
  attempt: async () => {
    const log = await freshLog();
    await deployed(log, '1.0.0');
    await allowed(log, '1.1.0');
    forge(log, (predicate) => ({ predicate: { decision: { ...predicate.decision, rollbackUntil: '2099-01-01T00:00:00.000Z' } }, input: {} }));
    log.after(8_000);
    return prove(log, { operation: 'fall-back' });
  },
  twin: async () => {
    const log = await freshLog();
    await deployed(log, '1.0.0');
    await allowed(log, '1.1.0');
    forge(log, (predicate) => ({ predicate: { decision: { ...predicate.decision, rollbackUntil: '2099-01-01T00:00:00.000Z' } }, input: {} }));
    log.after(5_000);
    return prove(log, { operation: 'fall-back' });
  },
});

async function broken(log: LogFixture): Promise<LogFixture> {
  log.lock('1.0.0');
  await log.promote({ release: '1.0.0', breakGlass: { skip: ['approvals'], reason: 'shop is down', expires: new Date(log.now.getTime() + 3_600_000).toISOString() } });
  await log.approve('bob');
  return log;
}

attack('order for broken glass where the root has no minimum for it', {
  rules: ['T17', 'T27'], expects: 'BreakGlassNotAllowed',
  attempt: async () => {
    const log = await broken(await freshLog({ minimums: {} }));
    log.forgeAllow();
    return prove(log);
  },
  twin: async () => prove(await broken(await freshLog())),
});

attack('order for broken glass after its end', {
  rules: ['T27'], expects: 'BreakGlassNotAllowed',
  attempt: async () => {
    const log = await broken(await freshLog());
    log.after(5_000);
    return prove(log);
  },
  twin: async () => {
    const log = await broken(await freshLog());
    log.after(3_000);
    return prove(log);
  },
});

attack('order for broken glass whose quorum nobody met', {
  rules: ['T27'], expects: 'QuorumNotMet',
  attempt: async () => {
    const log = await freshLog();
    log.lock('1.0.0');
    await log.promote({ release: '1.0.0', breakGlass: { skip: ['approvals'], reason: 'shop is down', expires: new Date(log.now.getTime() + 3_600_000).toISOString() } });
    await log.approve('mallory');
    log.forgeAllow();
    return prove(log);
  },
  twin: async () => prove(await broken(await freshLog())),
});

/** The glass was broken for a second release, and its time is over; what it began may be taken back for a while. */
async function brokenOnce(): Promise<LogFixture> {
  const log = await freshLog();
  await deployed(log, '1.0.0');
  log.lock('1.1.0');
  await log.promote({ release: '1.1.0', breakGlass: { skip: ['approvals'], reason: 'shop is down', expires: new Date(log.now.getTime() + 3_600_000).toISOString() } });
  await log.approve('bob');
  log.after(5_000);
  return log;
}

survives('fall-back from broken glass after its end', {
  rules: ['T27', 'T28'], expects: 'BreakGlassNotAllowed',
  genuine: async () => prove(await brokenOnce(), { operation: 'fall-back' }),
  forged: async () => prove(await brokenOnce()),
});
