import { afterEach, describe, expect, it } from 'vitest';
import { digestOfBytes } from '../../src/core/model/digest.ts';
import type { AnyDocument, DocumentOf, SpecOf } from '../../src/core/model/documents.ts';
import { preimageDigest } from '../../src/core/model/preimages.ts';
import { inForceOf } from '../../src/core/evidence/log-state.ts';
import { decodeBundle, encodeBundle } from '../../src/core/order/bundle.ts';
import { verifyReceipt } from '../../src/core/order/receipt.ts';
import type { OutgoingOrder } from '../../src/ports/agent-hub.ts';
import { eventually, Scratch } from '../contract/agent-fixture.ts';
import { openAgent } from '../fakes/in-process-agents.ts';
import { doc } from '../fakes/world.ts';
import { openStage, type Stage } from '../integration/execute-runs-fixture.ts';
import { attack, verdict, type Verdict } from './attack.ts';

/** What agents prove about stops (T24): an order that was proven before a stop is refused with the changes that bring it. */

const scratch = new Scratch();
afterEach(() => scratch.clean());

const workflow = { steps: [{ name: 'deploy', type: 'deploy' }], onFailure: 'hold' } as const;
const freeze = (spec: Partial<SpecOf['Freeze']>): AnyDocument => doc('Freeze', 'stop', { reason: 'stop the line', ...spec }) as unknown as AnyDocument;

async function run(stage: Stage) {
  const { executor } = await stage.startExecutor();
  await executor.sync(stage.log.state);
  const { predicate, receipts } = await eventually(() => executor.takeFinished()[0]);
  stage.log.close(predicate, receipts);
  await executor.sync(stage.log.state);
  return predicate.steps[0]?.targets[0];
}

/** The order of an honest run, with every protected change that the log has by now, handed to an agent that has not seen it. */
async function handLater(stage: Stage): Promise<Verdict> {
  const { log, hub } = stage;
  const [order] = hub.sent;
  const bundle = order === undefined ? null : decodeBundle(order.bundle);
  const [identity] = [...log.agents.values()];
  if (bundle === null || identity === undefined) throw new Error('nothing was sent');
  const { envelopes, artifacts } = log.changes.all();
  const brought = artifacts.flatMap((digest) => log.artifacts.get(digest) ?? []).map((bytes) => [digestOfBytes(bytes), bytes] as const);
  const next = { ...bundle, changes: envelopes, artifacts: new Map([...bundle.artifacts, ...brought]) };
  const outgoing: OutgoingOrder = { digest: preimageDigest(next.order), target: next.order.target, bundle: encodeBundle(next) };
  const agent = await openAgent({ folder: await scratch.folder(), identity, pin: log.pin, now: () => log.now });
  scratch.later(() => agent.journal.close());
  const receipt = verifyReceipt((await agent.runner.run(outgoing, () => undefined)) ?? new Uint8Array(), identity.publicKeyDer);
  if (!receipt.ok) throw new Error(receipt.code);
  return verdict(receipt.receipt.result === 'Succeeded' ? null : receipt.receipt.code, agent.driver.actions);
}

async function afterHonestRun(): Promise<Stage> {
  const stage = await openStage(scratch, { workflow });
  await stage.log.allow('1.0.0');
  expect(await run(stage)).toMatchObject({ result: 'Succeeded' });
  return stage;
}

const suspended = (stage: Stage): AnyDocument => {
  const agent = inForceOf(stage.log.state, 'Agent', 'anna') as DocumentOf<'Agent'>;
  return { ...agent, spec: { ...agent.spec, suspended: { reason: 'its host was broken into' } } } as unknown as AnyDocument;
};

describe('agents', () => {
  attack('suspended agent gets an order', {
    rules: ['T24'],
    expects: 'AgentSuspended',
    attempt: async () => {
      const stage = await afterHonestRun();
      await stage.log.change(suspended(stage));
      return handLater(stage);
    },
    twin: async () => handLater(await afterHonestRun()),
  });

  attack('order handed out after a freeze came into force', {
    rules: ['T24', 'T23'],
    expects: 'Frozen',
    attempt: async () => {
      const stage = await afterHonestRun();
      await stage.log.change(freeze({ applications: ['shop'] }));
      return handLater(stage);
    },
    twin: async () => {
      const stage = await afterHonestRun();
      await stage.log.change(freeze({ releases: ['shop/9.9.9'] }));
      return handLater(stage);
    },
  });

  attack('order for a release that was suspended since', {
    rules: ['T24'],
    expects: 'ReleaseSuspended',
    attempt: async () => {
      const stage = await afterHonestRun();
      await stage.log.change(freeze({ releases: ['shop/1.0.0'] }));
      return handLater(stage);
    },
    twin: async () => {
      const stage = await afterHonestRun();
      await stage.log.change(freeze({ releases: ['shop/2.0.0'] }));
      return handLater(stage);
    },
  });

  attack('decision dated before a freeze of the calendar that holds by now', {
    rules: ['T24', 'T32'],
    expects: 'AllowExpired',
    attempt: () => handAt(20),
    twin: () => handAt(5),
  });

  attack('decision dated past the end of a freeze of the calendar', {
    rules: ['T24', 'T32'],
    expects: 'Frozen',
    attempt: () => handAt(-20),
    twin: () => handAt(-2),
  });

  it('that are suspended are sent nothing, and the run says so', async () => {
    const stage = await openStage(scratch, { workflow });
    await stage.log.allow('1.0.0');
    await stage.log.change(suspended(stage));
    expect(await run(stage)).toMatchObject({ result: 'Errored', code: 'AgentSuspended' });
    expect(stage.hub.sent).toEqual([]);
    expect(stage.agent.driver.actions).toEqual([]);
  });
});

/** A calendar whose window begins ten minutes after the decision; the order is handed out so many minutes after the decision. */
async function handAt(minutes: number): Promise<Verdict> {
  const stage = await afterHonestRun();
  const local = (later: number): string => new Date(stage.log.now.getTime() + later * 60_000).toISOString().slice(0, 16);
  await stage.log.change(freeze({ calendar: { windows: [{ start: local(10), end: local(600), timeZone: 'UTC' }] } }));
  stage.log.after(minutes * 60);
  return handLater(stage);
}
