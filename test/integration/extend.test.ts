import { afterEach, describe, expect, it } from 'vitest';
import { documentDigest, type AnyDocument, type SpecOf } from '../../src/core/model/documents.ts';
import { changeDigest } from '../../src/core/model/preimages.ts';
import { changeTo } from '../../src/core/trust/apply-change.ts';
import { parseCanonicalJson } from '../../src/core/model/canonical-json.ts';
import { explainDecision } from '../../src/core/decision/explain.ts';
import type { DecisionInput } from '../../src/core/decision/types.ts';
import { replayDecision } from '../../src/core/evidence/replay.ts';
import { pinnedState, readLog } from '../../src/core/evidence/verify-log.ts';
import { appStateOf } from '../../src/core/evidence/log-state.ts';
import { RecordCheck } from '../../src/cli/check-records.ts';
import { openPgp } from '../fakes/openpgp.ts';
import { eventually, Scratch } from '../contract/agent-fixture.ts';
import { documentOf, type LogFixture, type LogOptions, type Person } from '../fakes/log-fixture.ts';
import { doc, World } from '../fakes/world.ts';
import { openStage, type Stage } from './execute-runs-fixture.ts';

const scratch = new Scratch();
afterEach(() => scratch.clean());

const workflow = { steps: [{ name: 'deploy', type: 'deploy' }, { name: 'check', type: 'health-check', needs: ['deploy'] }] } as const;
const target = (name: string, more: Partial<SpecOf['Target']> = {}): AnyDocument =>
  documentOf('Target', name, { type: 'directory_host', agent: 'anna', environments: ['prod'], applications: ['shop'], connection: { root: `/srv/${name}` }, ...more }) as unknown as AnyDocument;

/** 1.0.0 was approved by bob and runs on web-1. */
async function deployed(options: LogOptions = {}, approvedBy: readonly Person[] = ['bob']): Promise<Stage> {
  const stage = await openStage(scratch, { workflow, ...options });
  const { log } = stage;
  log.lock('1.0.0');
  await log.promote({ release: '1.0.0' });
  for (const person of approvedBy) await log.approve(person);
  await run(stage);
  return stage;
}

/** Performs the run that the log has open, and closes it in the log. */
async function run({ log, startExecutor }: Stage) {
  const { executor, stop } = await startExecutor();
  await executor.sync(log.state);
  const { predicate, receipts } = await eventually(() => executor.takeFinished()[0]);
  log.close(predicate, receipts);
  await executor.sync(log.state);
  await stop();
  return predicate;
}

const inputOf = (log: LogFixture): DecisionInput => parseCanonicalJson(log.stored.get(log.lastDecision().input) ?? new Uint8Array()) as DecisionInput;

/** What an auditor does: folds all envelopes, decides everything again, checks every receipt. @returns codes of what is wrong */
function audit(log: LogFixture): readonly string[] {
  const faults: string[] = [];
  const start = pinnedState(log.root, log.pin);
  if (start === null) throw new Error('the root is not the pinned one');
  const check = new RecordCheck();
  const artifact = log.artifacts.get;
  const sources = { artifact, openPgp };
  const read = readLog(start, log.envelopes, sources, (before, record, after) => {
    check.visit({ before, record, after, envelope: new Uint8Array() }, artifact);
    if (record.type !== 'promotion-decision') return;
    const replayed = replayDecision(before, record.header, record.predicate, sources);
    if (!replayed.ok) faults.push(`${replayed.code}: ${replayed.message}`);
  });
  if (!read.ok) faults.push(`${read.fault.code}: ${read.fault.message}`);
  if (check.fault !== null) faults.push(check.fault.code);
  return faults;
}

describe('a target that is put in force after a promotion', () => {
  it('gets what its environment runs, alone, under the digest, generation and approvals that stand', async () => {
    const stage = await deployed();
    const { log } = stage;
    const before = log.app;
    await log.change(target('web-2'));
    const decision = await log.decide();
    expect(decision).toMatchObject({ operation: 'extend', decision: { outcome: 'allow', generation: 1, promotionDigest: before.standing?.promotionDigest } });
    const outcome = await run(stage);
    expect(outcome).toMatchObject({ operation: 'extend', result: 'Succeeded', generation: 1 });
    expect(outcome.steps.flatMap((step) => step.targets).every(({ target: name, receipt }) => name === 'web-2' && receipt !== null)).toBe(true);
    expect(stage.agent.driver.actions).toEqual(['apply web-1 1.0.0', 'apply web-2 1.0.0']);
    expect(stage.hub.orders()).toEqual(['promote web-1 1', 'health-check web-1 2', 'extend web-2 1', 'health-check web-2 2']);
    expect(log.app).toMatchObject({ generation: 1, clean: true, lock: before.lock, plan: before.plan, succeededAt: before.succeededAt, openRun: null });
    const records = log.envelopes.length;
    await log.decide();
    expect(log.envelopes.length).toBe(records);
    expect(audit(log)).toEqual([]);
  });

  it('is reached through an agent that is new as well', async () => {
    const stage = await deployed({ agents: ['berta'] });
    await stage.log.change(target('web-2', { agent: 'berta' }));
    await stage.log.decide();
    expect(await run(stage)).toMatchObject({ result: 'Succeeded', steps: [{ targets: [{ target: 'web-2', agent: 'berta', result: 'Succeeded' }] }, {}] });
  });

  it('is another one once its connection was edited', async () => {
    const stage = await deployed();
    await stage.log.change(target('web-1', { connection: { root: '/srv/elsewhere' } }));
    expect(await stage.log.decide()).toMatchObject({ operation: 'extend', decision: { outcome: 'allow' } });
    expect(await run(stage)).toMatchObject({ result: 'Succeeded', steps: [{ targets: [{ target: 'web-1', try: 3 }] }, {}] });
    expect(audit(stage.log)).toEqual([]);
  });

  it('starts nothing where it does not name the environment or the application', async () => {
    const stage = await deployed();
    const records = stage.log.envelopes.length;
    await stage.log.change(target('web-2', { environments: ['dev'] }));
    await stage.log.change(target('web-3', { applications: ['blog'] }));
    await stage.log.decide();
    expect(stage.log.envelopes.length - records).toBe(4);
    expect(stage.log.app.openRun).toBeNull();
  });

  it('waits for the next promotion where one is asked for, whose plan has it', async () => {
    const stage = await deployed();
    const { log } = stage;
    log.lock('2.0.0');
    await log.promote({ release: '2.0.0' });
    await log.change(target('web-2'));
    expect(await log.decide()).toMatchObject({ operation: 'promote', release: '2.0.0', decision: { outcome: 'pending' } });
    await log.approve('bob');
    expect((await run(stage)).steps[0]?.targets.map((t) => t.target)).toEqual(['web-1', 'web-2']);
    expect(log.app.standing?.targets.map((t) => [t.target, t.succeeded])).toEqual([['web-1', true], ['web-2', true]]);
  });
});

describe('an extension', () => {
  const frozen = documentOf('Freeze', 'line', { environments: ['prod'], reason: 'an incident' }) as unknown as AnyDocument;

  it('is judged by what holds now: it waits for a freeze', async () => {
    const stage = await deployed();
    await stage.log.change(frozen);
    await stage.log.change(target('web-2'));
    expect(await stage.log.decide()).toMatchObject({ operation: 'extend', decision: { outcome: 'pending', reasons: ['Frozen'] } });
    expect(audit(stage.log)).toEqual([]);
  });

  it('falls with a freeze that comes while it runs, and nothing new is sent', async () => {
    const stage = await deployed();
    await stage.log.change(target('web-2'));
    await stage.log.decide();
    await stage.log.change(frozen);
    await stage.log.decide();
    expect(stage.log.app.openRun).toMatchObject({ operation: 'extend', fallen: true });
    expect(await run(stage)).toMatchObject({ result: 'Aborted' });
    expect(stage.log.app).toMatchObject({ clean: true, generation: 1 });
    expect(stage.agent.driver.actions).toEqual(['apply web-1 1.0.0']);
    expect(audit(stage.log)).toEqual([]);
  });

  it('is decided again, under the same digest and generation, when its allow lapses before it ran', async () => {
    const stage = await deployed();
    await stage.log.change(target('web-2'));
    const first = await stage.log.decide();
    stage.log.after(3601);
    const second = await stage.log.decide();
    expect([second.operation, second.decision.promotionDigest, second.decision.generation]).toEqual([first.operation, first.decision.promotionDigest, first.decision.generation]);
    expect(second.decision.notAfter).not.toBe(first.decision.notAfter);
    expect(await run(stage)).toMatchObject({ result: 'Succeeded' });
    expect(audit(stage.log)).toEqual([]);
  });

  it('that fails leaves the state as it is and is closed until the attempt rises; then orders are counted on', async () => {
    const stage = await deployed();
    const { log, agent } = stage;
    agent.driver.duringApply = async () => ({ result: 'Failed', code: 'DiskFull', message: '', running: [], rolledBack: true });
    await log.change(target('web-2'));
    await log.decide();
    expect(await run(stage)).toMatchObject({ result: 'Failed', fallback: null });
    expect(log.app).toMatchObject({ clean: true, generation: 1, openRun: null });
    expect(await log.decide()).toMatchObject({ operation: 'extend', decision: { outcome: 'refuse', reasons: ['Closed'] } });
    agent.driver.duringApply = () => Promise.resolve();
    expect(await log.promote({ release: '1.0.0', attempt: 2 })).toMatchObject({ operation: 'extend', attempt: 2, decision: { outcome: 'allow' } });
    expect(await run(stage)).toMatchObject({ result: 'Succeeded', steps: [{ targets: [{ target: 'web-2', try: 2 }] }, {}] });
    expect(audit(log)).toEqual([]);
  });

  it('does not happen against a later no of somebody with a say', async () => {
    const stage = await deployed();
    const { log } = stage;
    const { promotionDigest } = log.lastDecision().decision;
    await log.change(target('web-2', { environments: ['dev'] }));
    log.observe(await log.approval('carol', { action: 'reject', digest: promotionDigest! }));
    await log.change(target('web-2'));
    expect(await log.decide()).toMatchObject({ operation: 'extend', decision: { outcome: 'refuse', reasons: ['ApprovalsRejected'] } });
    expect(audit(log)).toEqual([]);
  });

  it('does not rest on an approval under a key that was retired since', async () => {
    const stage = await deployed();
    const { log } = stage;
    const principal = log.principal('bob');
    const keys = principal.spec.keys.map((key) => ({ ...key, status: 'retired' as const, since: log.now.toISOString() }));
    await log.change({ ...principal, spec: { ...principal.spec, keys } } as unknown as AnyDocument, 'carol');
    await log.change(target('web-2'), 'carol');
    expect(await log.decide()).toMatchObject({ operation: 'extend', decision: { outcome: 'pending', reasons: ['ApprovalsMissing'] } });
    expect(inputOf(log).rejected).toMatchObject([{ principal: 'bob', code: 'KeyNotActive' }]);
    expect(audit(log)).toEqual([]);
  });
});

describe('a target with a minimum of the root', () => {
  const minimums = { targets: [{ name: 'vault-1', people: 2 }] };

  it('is not reached by an extension whose approvals do not meet it; a promotion is needed, and then has it', async () => {
    const stage = await deployed({ minimums });
    const { log } = stage;
    await log.change(target('vault-1'));
    const decision = await log.decide();
    expect(decision).toMatchObject({ operation: 'extend', decision: { outcome: 'pending', reasons: ['ApprovalsMissing'] } });
    const line = explainDecision(decision.decision, inputOf(log)).find(({ subject }) => subject === 'target/vault-1');
    expect(line).toMatchObject({ code: 'ApprovalsMissing', remedy: expect.stringContaining('A promotion is needed') as unknown, command: null });
    expect(await log.promote({ release: '1.0.0', attempt: 2 })).toMatchObject({ operation: 'promote', decision: { outcome: 'pending', generation: 2 } });
    await log.approve('bob');
    expect((await log.approve('carol')).decision.outcome).toBe('allow');
    expect((await run(stage)).steps[0]?.targets.map((t) => t.target)).toEqual(['vault-1', 'web-1']);
    expect(audit(log)).toEqual([]);
  });

  it('is reached by one whose approvals meet it', async () => {
    const stage = await openStage(scratch, { workflow, minimums });
    const { log } = stage;
    log.lock('1.0.0');
    await log.promote({ release: '1.0.0' });
    const approvals = [await log.approval('bob'), await log.approval('carol')];
    for (const approval of approvals) log.observe(approval);
    await log.decide();
    await run(stage);
    await log.change(target('vault-1'));
    expect(await log.decide()).toMatchObject({ operation: 'extend', decision: { outcome: 'allow' } });
    expect(await run(stage)).toMatchObject({ result: 'Succeeded' });
  });
});

describe('what the log says', () => {
  it('refuses an extension of something else than what runs', async () => {
    const stage = await deployed();
    const { log } = stage;
    await log.change(target('web-2'));
    const decision = await log.decide();
    const { state, envelopes } = log;
    const other = (edit: object): (() => void) => () => log.record({ type: 'promotion-decision', predicate: { ...decision, ...edit } });
    await run(stage);
    for (const edit of [{ sources: { ...decision.sources, extends: decision.input } }, { sources: { ...decision.sources, extends: null } }, { decision: { ...decision.decision, generation: 2 } }]) {
      expect(other(edit)).toThrow(/ExtensionUnfounded|extends something else/);
    }
    expect(appStateOf(state, 'prod', 'shop').openRun?.operation).toBe('extend');
    expect(envelopes.length).toBe(log.envelopes.length);
  });
});

describe('a reconciler', () => {
  it('extends with the pass that puts a target in force, once, and finds it again after a restart', async () => {
    const world = await World.create();
    scratch.later(() => world.close());
    world.registry.put('shop/api:1.0', 'one');
    await world.commit([doc('Release', 'shop/1.0', { components: { api: { tag: '1.0' } } }), doc('Promotion', 'dev/shop', { release: '1.0' })], { by: world.people.alice });
    await world.settle();
    const later = doc('Target', 'dev-2', { type: 'directory_host', agent: 'host', environments: ['dev'], applications: ['shop'], connection: { root: '/srv/dev-2' } }) as unknown as AnyDocument;
    const changes = [changeTo(await world.state(), 'Target', 'dev-2', documentDigest(later))];
    await world.commit([later, await world.approval(world.people.bob, { type: 'change', digest: changeDigest(world.pin, changes), changes }) as unknown as AnyDocument]);
    await world.settle();
    expect(world.executor.executed.map(({ environment, generation, release }) => [environment, generation, release])).toEqual([['dev', 1, '1.0'], ['dev', 1, '1.0']]);
    const before = appStateOf(await world.state(), 'dev', 'shop');
    expect(before).toMatchObject({ generation: 1, clean: true, lastDecision: { operation: 'extend', outcome: 'allow' } });
    expect(before.standing?.targets.map((t) => [t.target, t.succeeded])).toEqual([['dev-1', true], ['dev-2', true]]);
    const evidence = await world.repository.tip('stella/evidence');
    await world.restart();
    await world.settle();
    expect(await world.repository.tip('stella/evidence')).toBe(evidence);
    expect(appStateOf(await world.state(), 'dev', 'shop')).toEqual(before);
  });
});
