import { afterEach, describe, expect, it } from 'vitest';
import { digestOfBytes } from '../../src/core/model/digest.ts';
import { decodeBundle, encodeBundle } from '../../src/core/order/bundle.ts';
import { verifyReceipt } from '../../src/core/order/receipt.ts';
import { inForceOf } from '../../src/core/evidence/log-state.ts';
import type { AnyDocument, SpecOf, WorkflowSpec } from '../../src/core/model/documents.ts';
import { limits } from '../../src/core/model/limits.ts';
import type { FinishedRun } from '../../src/reconciler/run-outcome.ts';
import { eventually, Scratch } from '../contract/agent-fixture.ts';
import type { RecordingDriver } from '../fakes/in-process-agents.ts';
import { componentDigest, documentOf, SUBJECT, type LogFixture } from '../fakes/log-fixture.ts';
import { openStage, type Stage, type TestExecutor } from './execute-runs-fixture.ts';

const scratch = new Scratch();
afterEach(() => scratch.clean());

const SUBJECT_KEY = `${SUBJECT.environment}/${SUBJECT.application}`;
const onlyDeploy = (attempts = 1, onFailure: 'hold' | 'fall-back' = 'hold'): WorkflowSpec => ({
  steps: [{ name: 'deploy', type: 'deploy', retry: { attempts, delaySeconds: attempts > 1 ? 1 : 0 } }], onFailure,
});

/** Follows the log until the open run has ended, and writes its outcome into the log as the reconciler does. */
async function runToEnd(log: LogFixture, { executor }: TestExecutor): Promise<FinishedRun> {
  await executor.sync(log.state);
  const finished = await eventually(() => executor.takeFinished()[0]);
  log.close(finished.predicate, finished.receipts);
  await executor.sync(log.state);
  return finished;
}

/** Makes the next apply wait until it is let go. */
function hold(driver: RecordingDriver): { readonly begun: Promise<void>; readonly release: () => void } {
  const begun = Promise.withResolvers<void>();
  const gate = Promise.withResolvers<void>();
  driver.duringApply = async () => {
    begun.resolve();
    await gate.promise;
  };
  return { begun: begun.promise, release: () => gate.resolve() };
}

/** The agent goes away. @returns what comes back */
function leave(hub: Stage['hub']): NonNullable<ReturnType<Stage['hub']['agents']['get']>> {
  const runner = hub.agents.get('anna');
  if (runner === undefined) throw new Error('anna is away already');
  hub.agents.delete('anna');
  return runner;
}

const failed = (rolledBack: boolean) => ({ result: 'Failed', code: 'CommandFailed', message: 'the command said no', running: [], rolledBack }) as const;

describe('an allow', () => {
  it('is run step by step to its end, and every receipt is kept raw with the outcome', async () => {
    const { log, hub, agent, startExecutor } = await openStage(scratch);
    const allow = await log.allow('1.0.0');
    expect(allow.decision.outcome).toBe('allow');
    const server = await startExecutor();
    const { predicate, receipts } = await runToEnd(log, server);
    expect(predicate).toMatchObject({ ...SUBJECT, operation: 'promote', generation: 1, promotionDigest: allow.decision.promotionDigest, result: 'Succeeded', reason: 'Ok', fallback: null });
    expect(predicate.decision.digest).toBe(digestOfBytes((await log.envelope(predicate.decision.seq)) ?? ''));
    expect(predicate.steps.map(({ name, result, targets }) => [name, result, targets[0]?.code])).toEqual([['deploy', 'Succeeded', 'Applied'], ['check', 'Succeeded', 'Healthy']]);
    expect(hub.orders()).toEqual(['promote web-1 1', 'health-check web-1 2']);
    expect(agent.driver.actions).toEqual(['apply web-1 1.0.0']);
    const named = predicate.steps.flatMap(({ targets }) => targets.map(({ receipt }) => receipt));
    expect(receipts.map((bytes) => digestOfBytes(bytes))).toEqual(named);
    const key = log.agents.get('anna')?.publicKeyDer ?? new Uint8Array();
    expect(receipts.map((bytes) => verifyReceipt(bytes, key).ok)).toEqual([true, true]);
    expect(log.app).toMatchObject({ clean: true, openRun: null, release: '1.0.0', generation: 1 });
    expect(server.executor.takeFinished()).toEqual([]);
  });

  it('keeps its outcome until the log has it', async () => {
    const { log, startExecutor } = await openStage(scratch, { workflow: onlyDeploy() });
    await log.allow('1.0.0');
    const server = await startExecutor();
    await server.executor.sync(log.state);
    const finished = await eventually(() => server.executor.takeFinished()[0]);
    await server.stop();
    const again = await startExecutor();
    await again.executor.sync(log.state);
    expect(await eventually(() => again.executor.takeFinished()[0])).toEqual(finished);
  });

  it('of a removal removes, and one of a later release replaces what runs', async () => {
    const { log, agent, startExecutor } = await openStage(scratch, { workflow: onlyDeploy() });
    const server = await startExecutor();
    await log.allow('1.0.0');
    await runToEnd(log, server);
    await log.allow('2.0.0');
    await runToEnd(log, server);
    await log.promote({ state: 'absent' });
    await log.approve('bob');
    expect((await runToEnd(log, server)).predicate).toMatchObject({ operation: 'remove', result: 'Succeeded', generation: 3 });
    expect(agent.driver.actions).toEqual(['apply web-1 1.0.0', 'apply web-1 2.0.0', 'remove web-1']);
    expect(log.app).toMatchObject({ release: null, lock: null, clean: true });
  });

  it('that is pending or refused starts nothing', async () => {
    const { log, hub, startExecutor } = await openStage(scratch);
    log.lock('1.0.0');
    expect((await log.promote({ release: '1.0.0' })).decision.outcome).toBe('pending');
    const { executor, runs } = await startExecutor();
    await executor.sync(log.state);
    expect([await runs.openRuns(), hub.sent, executor.takeFinished()]).toEqual([[], [], []]);
  });

  it('stays valid when an unrelated protected document comes into force before it is sent', async () => {
    const { log, startExecutor } = await openStage(scratch);
    await log.allow('1.0.0');
    await log.change(documentOf('Component', 'web', { repository: 'shop/web', registry: 'local' }) as unknown as AnyDocument);
    expect((await runToEnd(log, await startExecutor())).predicate.result).toBe('Succeeded');
  });
});

describe('an agent', () => {
  const refusedBy = async (tamper: (stage: Stage) => Promise<Stage['hub']['tamper']>) => {
    const stage = await openStage(scratch);
    await stage.log.allow('1.0.0');
    stage.hub.tamper = await tamper(stage);
    const { predicate } = await runToEnd(stage.log, await stage.startExecutor());
    expect(stage.agent.driver.actions).toEqual([]);
    expect(predicate).toMatchObject({ result: 'Errored', reason: 'TargetErrored', steps: [{ result: 'Errored' }, { result: 'Skipped' }] });
    return predicate.steps[0]?.targets[0];
  };

  it('runs nothing for an order from which an approval was taken out', async () => {
    const target = await refusedBy(async () => (order) => {
      const bundle = decodeBundle(order.bundle);
      return bundle === null ? order : { ...order, bundle: encodeBundle({ ...bundle, approvals: [] }) };
    });
    expect(target).toMatchObject({ result: 'Refused', code: 'QuorumNotMet' });
  });

  it('runs nothing for an order with an approval that was edited', async () => {
    const target = await refusedBy(async () => (order) => {
      const bundle = decodeBundle(order.bundle);
      const edited = bundle?.approvals.map((bytes) => Buffer.from(Buffer.from(bytes).toString().replace('"nonce":"', '"nonce":"0')));
      return bundle === null || edited === undefined ? order : { ...order, bundle: encodeBundle({ ...bundle, approvals: edited }) };
    });
    expect(target).toMatchObject({ result: 'Refused', code: 'QuorumNotMet' });
  });

  it('that signs with another key than its document names is not believed', async () => {
    const { log, hub, startExecutor } = await openStage(scratch, { workflow: onlyDeploy() });
    await log.allow('1.0.0');
    const stranger = await openStage(scratch, { workflow: onlyDeploy() });
    const runner = stranger.hub.agents.get('anna');
    if (runner !== undefined) hub.agents.set('anna', runner);
    const { predicate, receipts } = await runToEnd(log, await startExecutor());
    expect(predicate).toMatchObject({ result: 'Errored', steps: [{ targets: [{ result: 'Errored', code: 'ReceiptInvalid', receipt: null }] }] });
    expect(receipts).toEqual([]);
  });

  it('says when what it deployed no longer runs, without deploying again', async () => {
    const { log, agent, startExecutor } = await openStage(scratch);
    await log.allow('1.0.0');
    // What is applied is gone again before it is looked at.
    agent.driver.duringApply = () => Promise.resolve({ result: 'Succeeded', code: 'Applied', message: '', running: [], rolledBack: false });
    const { predicate } = await runToEnd(log, await startExecutor());
    expect(predicate).toMatchObject({ result: 'Failed', steps: [{ result: 'Succeeded' }, { result: 'Failed', targets: [{ code: 'NotRunning' }] }] });
    expect(agent.driver.actions).toEqual(['apply web-1 1.0.0']);
  });
});

describe('a failure', () => {
  it('is tried again after a durable wait, and once tries are used up what ran before comes back', async () => {
    const { log, hub, agent, startExecutor } = await openStage(scratch, { workflow: onlyDeploy(2, 'fall-back') });
    const server = await startExecutor();
    await log.allow('1.0.0');
    await runToEnd(log, server);
    await log.allow('2.0.0');
    agent.driver.duringApply = (work) => Promise.resolve(work.runs.release === '2.0.0' ? failed(false) : undefined);
    const { predicate, receipts } = await runToEnd(log, server);
    expect(hub.orders().slice(1)).toEqual(['promote web-1 1', 'promote web-1 2', 'fall-back web-1 3']);
    expect(agent.driver.actions.slice(1)).toEqual(['apply web-1 2.0.0', 'apply web-1 2.0.0', 'apply web-1 1.0.0']);
    expect(predicate).toMatchObject({ result: 'Failed', reason: 'TargetFailed', fallback: 'Succeeded' });
    expect(predicate.steps.map(({ name, result, targets }) => [name, result, targets[0]?.try])).toEqual([['deploy', 'Failed', 2], ['fall-back', 'Succeeded', 3]]);
    expect(receipts).toHaveLength(2);
    expect(agent.driver.running.get('web-1')).toEqual([{ component: 'api', digest: componentDigest('1.0.0') }]);
    expect(log.app).toMatchObject({ release: '1.0.0', clean: true, openRun: null });
  });

  it('after which the target went back by itself needs no fallback', async () => {
    const { log, agent, startExecutor } = await openStage(scratch, { workflow: onlyDeploy(1, 'fall-back') });
    const server = await startExecutor();
    await log.allow('1.0.0');
    await runToEnd(log, server);
    await log.allow('2.0.0');
    agent.driver.duringApply = () => Promise.resolve(failed(true));
    expect((await runToEnd(log, server)).predicate).toMatchObject({ result: 'Failed', fallback: null });
  });

  it('to fit an order into a message is said, and nothing is sent', async () => {
    const { log, hub, startExecutor } = await openStage(scratch, { workflow: onlyDeploy() });
    const allow = await log.allow('1.0.0');
    const large = new Uint8Array(17 * 1024 * 1024);
    const get = (digest: Parameters<typeof log.artifacts.get>[0]) => (digest === allow.lock ? large : log.artifacts.get(digest));
    const { predicate } = await runToEnd(log, await startExecutor({ artifacts: { ...log.artifacts, get } }));
    expect(predicate).toMatchObject({ result: 'Errored', steps: [{ targets: [{ code: 'BundleTooLarge', receipt: null }] }] });
    expect(hub.sent).toEqual([]);
  });
});

describe('a restart', () => {
  it('in the middle of a run executes nothing twice and loses nothing', async () => {
    const { log, hub, agent, startExecutor } = await openStage(scratch);
    await log.allow('1.0.0');
    const { begun, release } = hold(agent.driver);
    const before = await startExecutor();
    await before.executor.sync(log.state);
    await begun;
    await before.stop();
    release();
    const { predicate } = await runToEnd(log, await startExecutor());
    expect(predicate).toMatchObject({ result: 'Succeeded', generation: 1 });
    expect(agent.driver.actions).toEqual(['apply web-1 1.0.0']);
    expect(hub.sent.filter(({ digest }) => digest === hub.sent[0]?.digest)).toHaveLength(2);
  });

  it('of two servers that perform the same run executes nothing twice', async () => {
    const { log, hub, agent, startExecutor } = await openStage(scratch, { targets: { 'web-1': 'anna', 'web-2': 'anna' } });
    await log.allow('1.0.0');
    const [one, two] = [await startExecutor(), await startExecutor()];
    await Promise.all([one.executor.sync(log.state), two.executor.sync(log.state)]);
    const ends = [await eventually(() => one.executor.takeFinished()[0]), await eventually(() => two.executor.takeFinished()[0])];
    expect(ends[0]).toEqual(ends[1]);
    expect(ends[0]?.predicate.result).toBe('Succeeded');
    expect(agent.driver.actions.toSorted()).toEqual(['apply web-1 1.0.0', 'apply web-2 1.0.0']);
    expect(hub.orders().toSorted()).toEqual(['health-check web-1 2', 'health-check web-2 2', 'promote web-1 1', 'promote web-2 1']);
  });

  it('with a store that still has an older run open follows the log', async () => {
    const { log, hub, startExecutor } = await openStage(scratch, { workflow: onlyDeploy() });
    const server = await startExecutor();
    const stale = { ...SUBJECT, operation: 'promote', promotionDigest: digestOfBytes('lost'), generation: 1, extension: 0, decision: { seq: 1, digest: digestOfBytes('lost') }, state: {}, openedAt: log.now.toISOString() } as const;
    await log.allow('1.0.0');
    await runToEnd(log, server);
    await server.runs.createRun(stale);
    await log.allow('2.0.0');
    expect((await runToEnd(log, server)).predicate.result).toBe('Succeeded');
    expect([await server.runs.openRuns(), hub.sent.length]).toEqual([[], 2]);
  });
});

describe('a stop', () => {
  it('before the first order aborts the run and nothing is sent', async () => {
    const { log, hub, startExecutor } = await openStage(scratch);
    await log.allow('1.0.0');
    await log.change(documentOf('Freeze', 'stop', { reason: 'an incident' }) as unknown as AnyDocument);
    expect((await log.decide()).decision.outcome).not.toBe('allow');
    expect(log.app.openRun?.fallen).toBe(true);
    const { predicate } = await runToEnd(log, await startExecutor());
    expect(predicate).toMatchObject({ result: 'Aborted', reason: 'Stopped', steps: [{ result: 'Skipped' }, { result: 'Skipped' }] });
    expect(hub.sent).toEqual([]);
  });

  it('after the first order lets it end and begins nothing new', async () => {
    const { log, hub, agent, startExecutor } = await openStage(scratch);
    await log.allow('1.0.0');
    const { begun, release } = hold(agent.driver);
    const server = await startExecutor();
    await server.executor.sync(log.state);
    await begun;
    await log.change(documentOf('Freeze', 'stop', { reason: 'an incident' }) as unknown as AnyDocument);
    await log.decide();
    await server.executor.sync(log.state);
    await expect.poll(async () => (await server.runs.openRuns())[0]?.state['phase'], { timeout: 30_000 }).toBe('Stopping');
    release();
    expect((await runToEnd(log, server)).predicate).toMatchObject({ result: 'Aborted', steps: [{ result: 'Succeeded' }, { result: 'Skipped' }] });
    expect(hub.orders()).toEqual(['promote web-1 1']);
  });
});

describe('an allow that lapses while its run is open', () => {
  it('sends nothing until it is decided again, and goes on under the new one', async () => {
    const { log, hub, agent, startExecutor } = await openStage(scratch, { allowSeconds: 60 });
    const first = await log.allow('1.0.0');
    const { begun, release } = hold(agent.driver);
    const server = await startExecutor();
    await server.executor.sync(log.state);
    await begun;
    log.after(61);
    release();
    await eventually(() => server.executor.needsRenewal().length > 0);
    expect([server.executor.needsRenewal(), hub.orders()]).toEqual([[SUBJECT_KEY], ['promote web-1 1']]);
    const renewed = await log.decide();
    expect(renewed.decision).toMatchObject({ outcome: 'allow', promotionDigest: first.decision.promotionDigest, generation: 1 });
    expect((await runToEnd(log, server)).predicate).toMatchObject({ result: 'Succeeded', generation: 1 });
    expect(server.executor.needsRenewal()).toEqual([]);
    expect(decodeBundle(hub.sent[1]?.bundle ?? new Uint8Array())?.order).toMatchObject({ decision: log.app.lastDecision?.digest, operation: 'health-check', try: 2 });
  });

  it('before its first order is renewed by the server that takes the run up after a restart', async () => {
    const { log, hub, startExecutor } = await openStage(scratch, { allowSeconds: 60 });
    await log.allow('1.0.0');
    log.after(61);
    const before = await startExecutor();
    await before.executor.sync(log.state);
    await eventually(() => before.executor.needsRenewal().length > 0);
    await before.stop();
    const after = await startExecutor();
    await after.executor.sync(log.state);
    expect([after.executor.needsRenewal(), hub.sent]).toEqual([[SUBJECT_KEY], []]);
    await log.decide();
    expect((await runToEnd(log, after)).predicate.result).toBe('Succeeded');
  });

  it('with an agent that was away all the time is decided again, and the agent gets the order under the new allow', async () => {
    const { log, hub, agent, startExecutor } = await openStage(scratch, { allowSeconds: 60, workflow: onlyDeploy() });
    const first = await log.allow('1.0.0');
    const runner = leave(hub);
    const server = await startExecutor();
    await server.executor.sync(log.state);
    await eventually(() => hub.sent.length > 0);
    log.after(60 + limits.clockSkewSeconds + 1);
    hub.come('anna', runner);
    await eventually(() => server.executor.needsRenewal().length > 0);
    expect(agent.driver.actions).toEqual([]);
    const renewed = await log.decide();
    expect(renewed.decision).toMatchObject({ outcome: 'allow', promotionDigest: first.decision.promotionDigest, generation: first.decision.generation });
    const { predicate } = await runToEnd(log, server);
    expect(predicate).toMatchObject({ result: 'Succeeded', generation: 1, steps: [{ targets: [{ code: 'Applied', try: 2 }] }] });
    expect(hub.orders()).toEqual(['promote web-1 1', 'promote web-1 2']);
    expect(agent.driver.actions).toEqual(['apply web-1 1.0.0']);
  });

  it('and is an allow no more when it is decided again ends the run, and the agent that was away runs nothing', async () => {
    const { log, hub, agent, startExecutor } = await openStage(scratch, { allowSeconds: 60, workflow: onlyDeploy() });
    await log.allow('1.0.0');
    const runner = leave(hub);
    const server = await startExecutor();
    await server.executor.sync(log.state);
    await eventually(() => hub.sent.length > 0);
    log.after(60 + limits.clockSkewSeconds + 1);
    hub.come('anna', runner);
    await eventually(() => server.executor.needsRenewal().length > 0);
    await log.change(documentOf('Freeze', 'stop', { reason: 'an incident' }) as unknown as AnyDocument);
    await log.decide();
    expect((await runToEnd(log, server)).predicate).toMatchObject({ result: 'Aborted', reason: 'Stopped' });
    expect(agent.driver.actions).toEqual([]);
  });
});

describe('an order', () => {
  it('that an agent is too busy for is sent again until it is taken', async () => {
    const { log, hub, agent, startExecutor } = await openStage(scratch, { workflow: onlyDeploy() });
    await log.allow('1.0.0');
    const codes: string[] = [];
    // The queue is full in the moment in which the first order arrives.
    hub.tamper = (order) => {
      const fill = codes.length === 0 ? limits.ordersPerAgent : 0;
      for (let i = 0; i < fill; i += 1) void agent.runner.run({ digest: digestOfBytes(`junk ${i}`), target: 'web-9', bundle: new Uint8Array() }, () => undefined);
      codes.push(order.digest);
      return order;
    };
    const { predicate, receipts } = await runToEnd(log, await startExecutor());
    expect(predicate).toMatchObject({ result: 'Succeeded', steps: [{ targets: [{ code: 'Applied', try: 1 }] }] });
    expect([receipts.length, codes.length > 1, new Set(codes).size]).toEqual([1, true, 1]);
    expect(agent.driver.actions).toEqual(['apply web-1 1.0.0']);
  });

  it('that has not reached its agent when the run is stopped never does', async () => {
    const { log, hub, agent, startExecutor } = await openStage(scratch, { workflow: onlyDeploy() });
    await log.allow('1.0.0');
    const runner = leave(hub);
    const server = await startExecutor();
    await server.executor.sync(log.state);
    await eventually(() => hub.sent.length > 0);
    await log.change(documentOf('Freeze', 'stop', { reason: 'an incident' }) as unknown as AnyDocument);
    await log.decide();
    const { predicate } = await runToEnd(log, server);
    hub.come('anna', runner);
    await agent.runner.idle();
    expect(predicate).toMatchObject({ result: 'Aborted', reason: 'Stopped', steps: [{ result: 'Aborted', targets: [{ receipt: null }] }] });
    expect(agent.driver.actions).toEqual([]);
  });

  it('that has not reached its agent when a shorter allow replaces its own comes under that one', async () => {
    const { log, hub, agent, startExecutor } = await openStage(scratch, { workflow: onlyDeploy(), allowSeconds: 3_000 });
    await log.allow('1.0.0');
    const runner = leave(hub);
    const server = await startExecutor();
    await server.executor.sync(log.state);
    await eventually(() => hub.sent.length > 0);
    await log.change(documentOf('Environment', 'prod', { ...inForceOf(log.state, 'Environment', 'prod')?.spec, allowSeconds: 60 } as SpecOf['Environment']) as unknown as AnyDocument);
    const shorter = await log.decide();
    await server.executor.sync(log.state);
    await eventually(() => hub.sent.length > 1);
    hub.come('anna', runner);
    const { predicate } = await runToEnd(log, server);
    expect(predicate).toMatchObject({ result: 'Succeeded', decision: { digest: log.app.lastDecision?.digest } });
    expect(shorter.decision.notAfter).toBe(new Date(log.now.getTime() + 60_000).toISOString());
    expect(agent.driver.actions).toEqual(['apply web-1 1.0.0']);
    expect(decodeBundle(hub.sent.at(-1)?.bundle ?? new Uint8Array())?.order).toMatchObject({ decision: log.app.lastDecision?.digest, try: 2 });
  });
});
