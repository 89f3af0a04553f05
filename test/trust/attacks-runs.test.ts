import { afterEach, describe, expect, it } from 'vitest';
import { canonicalBytes } from '../../src/core/model/canonical-json.ts';
import { digestOfBytes } from '../../src/core/model/digest.ts';
import { limits } from '../../src/core/model/limits.ts';
import { preimageDigest } from '../../src/core/model/preimages.ts';
import { decodeBundle, encodeBundle, type OrderBundle } from '../../src/core/order/bundle.ts';
import { verifyReceipt, type Receipt } from '../../src/core/order/receipt.ts';
import type { PromotionDecisionPredicate } from '../../src/core/evidence/records.ts';
import type { DecisionInput } from '../../src/core/decision/types.ts';
import type { OutgoingOrder } from '../../src/ports/agent-hub.ts';
import { eventually, Scratch } from '../contract/agent-fixture.ts';
import { openAgent } from '../fakes/in-process-agents.ts';
import type { Person } from '../fakes/log-fixture.ts';
import { openStage, type Stage } from '../integration/execute-runs-fixture.ts';

const scratch = new Scratch();
afterEach(() => scratch.clean());

const workflow = { steps: [{ name: 'deploy', type: 'deploy' }], onFailure: 'hold' } as const;

/** Runs whatever the log has open. @returns how the deploy step ended on its target */
async function run(stage: Stage) {
  const { log } = stage;
  const { executor } = await stage.startExecutor();
  await executor.sync(log.state);
  const { predicate, receipts } = await eventually(() => executor.takeFinished()[0]);
  log.close(predicate, receipts);
  await executor.sync(log.state);
  return predicate.steps[0]?.targets[0];
}

/** What somebody without keys can make of an order on the wire: another one, with its own digest. */
function rewritten(order: OutgoingOrder, edit: (bundle: OrderBundle) => Partial<OrderBundle>): OutgoingOrder {
  const bundle = decodeBundle(order.bundle);
  if (bundle === null) throw new Error('the order that was sent cannot be read');
  const next = { ...bundle, ...edit(bundle) };
  return { digest: preimageDigest(next.order), target: next.order.target, bundle: encodeBundle(next) };
}

/** Hands an order to an agent directly, as whoever holds its stream can. */
async function handTo({ log, hub }: Stage, name: string, order: OutgoingOrder): Promise<Receipt> {
  const envelope = await hub.agents.get(name)?.run(order, () => undefined);
  const verified = verifyReceipt(envelope ?? new Uint8Array(), log.agents.get(name)?.publicKeyDer ?? new Uint8Array());
  if (!verified.ok) throw new Error(verified.code);
  return verified.receipt;
}

/** The first order of an honest run, and an agent with an empty journal that has not seen it. */
async function honestOrder(stage: Stage): Promise<OutgoingOrder> {
  await stage.log.allow('1.0.0');
  await run(stage);
  const [order] = stage.hub.sent;
  if (order === undefined) throw new Error('nothing was sent');
  return order;
}

async function withFreshAgent(stage: Stage): Promise<Stage> {
  const [identity] = [...stage.log.agents.values()];
  if (identity === undefined) throw new Error('the stage has no agent');
  const agent = await openAgent({ folder: await scratch.folder(), identity, pin: stage.log.pin, now: () => stage.log.now });
  scratch.later(() => agent.journal.close());
  stage.hub.agents.set(identity.agent, agent.runner);
  return { ...stage, agent };
}

describe('a thief of the server’s keys', () => {
  const stealing = async (approvals: readonly Person[]) => {
    const stage = await openStage(scratch, { workflow });
    stage.log.lock('1.0.0');
    await stage.log.promote({ release: '1.0.0' });
    for (const person of approvals) expect((await stage.log.approve(person)).decision.outcome).toBe('pending');
    stage.log.forgeAllow();
    const target = await run(stage);
    expect(stage.agent.driver.actions).toEqual([]);
    return target;
  };

  it('who signs an allow that nobody approved gets nothing to run', async () => {
    expect(await stealing([])).toMatchObject({ result: 'Refused', code: 'QuorumNotMet' });
  });

  it('who has the requester’s own approval gets nothing to run', async () => {
    expect(await stealing(['alice'])).toMatchObject({ result: 'Refused', code: 'QuorumNotMet' });
  });

  it('who has the approval of somebody without the role gets nothing to run', async () => {
    expect(await stealing(['mallory'])).toMatchObject({ result: 'Refused', code: 'QuorumNotMet' });
  });

  const reissued = async (edit: (p: PromotionDecisionPredicate, input: DecisionInput) => { predicate: PromotionDecisionPredicate; input: DecisionInput }) => {
    const stage = await withFreshAgent(await afterHonestRun());
    const { log } = stage;
    const before = decodeBundle(stage.hub.sent[0]?.bundle ?? new Uint8Array());
    const honest = log.lastDecision();
    const input = JSON.parse(Buffer.from(before?.artifacts.get(honest.input) ?? '').toString()) as DecisionInput;
    const forged = edit(honest, input);
    const bytes = canonicalBytes(forged.input);
    const decision = log.forge({ type: 'promotion-decision', predicate: { ...forged.predicate, input: digestOfBytes(bytes) } });
    const order = rewritten(stage.hub.sent[0] as OutgoingOrder, (bundle) => ({
      decision, order: { ...bundle.order, decision: digestOfBytes(decision) }, artifacts: new Map([...bundle.artifacts, [digestOfBytes(bytes), bytes]]),
    }));
    const receipt = await handTo(stage, 'anna', order);
    return { receipt, actions: stage.agent.driver.actions };
  };
  const afterHonestRun = async (): Promise<Stage> => {
    const stage = await openStage(scratch, { workflow });
    await honestOrder(stage);
    return stage;
  };

  it('who repeats the honest decision under a new record gets what was approved', async () => {
    const { receipt, actions } = await reissued((predicate, input) => ({ predicate, input }));
    expect([receipt.result, actions]).toEqual(['Succeeded', ['apply web-1 1.0.0']]);
  });

  it('who raises the generation of an old approval is refused', async () => {
    const { receipt, actions } = await reissued((predicate, input) => ({ predicate: { ...predicate, decision: { ...predicate.decision, generation: 2 } }, input }));
    expect([receipt.result, receipt.code, actions]).toEqual(['Refused', 'PromotionDigestMismatch', []]);
  });

  it('who raises the generation in everything that is not approved needs new approvals', async () => {
    const { receipt, actions } = await reissued((predicate, input) => ({
      predicate: { ...predicate, decision: { ...predicate.decision, generation: 2 } }, input: { ...input, state: { ...input.state, generation: 1 } },
    }));
    expect([receipt.result, receipt.code, actions]).toEqual(['Refused', 'PromotionDigestMismatch', []]);
  });

  it('who leaves the requester out is refused, because the intent shows who asked', async () => {
    const stage = await openStage(scratch, { workflow });
    stage.log.lock('1.0.0');
    await stage.log.promote({ release: '1.0.0' }, 'bob');
    await stage.log.approve('bob');
    const { log } = stage;
    await log.push((batch) => {
      const last = log.lastDecision();
      const input = JSON.parse(Buffer.from(batch.lookup(last.input) ?? '').toString()) as DecisionInput;
      const lied = batch.artifact(canonicalBytes({ ...input, requesters: { people: [], unknown: 0 } }));
      const sticker = { name: 'stella.version.json', digest: batch.artifact(Buffer.from('{}')) };
      const decision = { ...last.decision, outcome: 'allow', gates: [], reasons: [], notAfter: '2026-05-04T13:00:00.000Z', rollbackUntil: '2026-05-04T13:00:00.000Z' } as const;
      batch.add({ type: 'promotion-decision', predicate: { ...last, input: lied, decision, artifacts: [sticker] } });
    });
    expect(await run(stage)).toMatchObject({ result: 'Refused', code: 'QuorumNotMet' });
    expect(stage.agent.driver.actions).toEqual([]);
  });
});

describe('an order', () => {
  it('that is replayed is answered from the journal and runs nothing', async () => {
    const stage = await openStage(scratch, { workflow });
    const order = await honestOrder(stage);
    const first = await stage.hub.agents.get('anna')?.run(order, () => undefined);
    const again = await stage.hub.agents.get('anna')?.run(order, () => undefined);
    expect(Buffer.from(again ?? [])).toEqual(Buffer.from(first ?? []));
    expect(stage.agent.driver.actions).toEqual(['apply web-1 1.0.0']);
  });

  it('of an earlier generation is refused once a later one has run, whatever try it claims', async () => {
    const stage = await openStage(scratch, { workflow });
    const old = await honestOrder(stage);
    await stage.log.allow('2.0.0');
    await run(stage);
    const refused = await handTo(stage, 'anna', rewritten(old, ({ order }) => ({ order: { ...order, try: 99 } })));
    expect(refused).toMatchObject({ result: 'Refused', code: 'GenerationOld' });
    expect(stage.agent.driver.actions).toEqual(['apply web-1 1.0.0', 'apply web-1 2.0.0']);
  });

  it('for one target is refused on another, by name and by agent', async () => {
    const stage = await openStage(scratch, { workflow, targets: { 'web-1': 'anna', 'web-2': 'berta' } });
    const order = await honestOrder(stage);
    const toOther = rewritten(order, (bundle) => ({ order: { ...bundle.order, target: 'web-2', try: 7 } }));
    expect(await handTo(stage, 'anna', toOther)).toMatchObject({ result: 'Refused', code: 'TargetMismatch' });
    const toBerta = rewritten(order, (bundle) => ({ order: { ...bundle.order, target: 'web-1', try: 7 } }));
    expect(await handTo(stage, 'berta', toBerta)).toMatchObject({ result: 'Refused', code: 'TargetMismatch' });
    const toNobody = rewritten(order, (bundle) => ({ order: { ...bundle.order, target: 'web-9', try: 7 } }));
    expect(await handTo(stage, 'anna', toNobody)).toMatchObject({ result: 'Refused', code: 'TargetMismatch' });
  });

  it('that says it is another operation than the allow is refused', async () => {
    const stage = await withFreshAgent(await (async () => {
      const opened = await openStage(scratch, { workflow });
      await honestOrder(opened);
      return opened;
    })());
    const order = rewritten(stage.hub.sent[0] as OutgoingOrder, (bundle) => ({ order: { ...bundle.order, operation: 'remove' } }));
    expect(await handTo(stage, 'anna', order)).toMatchObject({ result: 'Refused', code: 'OperationMismatch' });
    expect(stage.agent.driver.actions).toEqual([]);
  });

  it('is refused when its allow has expired, and accepted as long as clocks may differ', async () => {
    const stage = await openStage(scratch, { workflow });
    const order = await honestOrder(stage);
    stage.log.after(3600 + limits.clockSkewSeconds);
    const inTime = await withFreshAgent(stage);
    expect(await handTo(inTime, 'anna', order)).toMatchObject({ result: 'Succeeded' });
    stage.log.after(1);
    const late = await withFreshAgent(stage);
    expect(await handTo(late, 'anna', order)).toMatchObject({ result: 'Refused', code: 'AllowExpired' });
    expect(late.agent.driver.actions).toEqual([]);
  });

  it('of another log is refused', async () => {
    const stage = await openStage(scratch, { workflow });
    const order = await honestOrder(stage);
    const other = await openStage(scratch, { workflow });
    expect(await handTo(other, 'anna', order)).toMatchObject({ result: 'Refused', code: 'ArtifactMissing' });
    expect(other.agent.driver.actions).toEqual([]);
  });

  it('that comes with a shorter chain of protected changes than the agent has seen is refused', async () => {
    const stage = await openStage(scratch, { workflow });
    const old = await honestOrder(stage);
    await stage.log.change({ apiVersion: 'stella/v1alpha1', kind: 'Component', metadata: { name: 'web' }, spec: { repository: 'shop/web', registry: 'local' } });
    await stage.log.allow('2.0.0');
    await run(stage);
    const again = rewritten(old, ({ order }) => ({ order: { ...order, try: 99 } }));
    expect(await handTo(stage, 'anna', again)).toMatchObject({ result: 'Refused', code: 'ChainRegressed' });
  });
});
