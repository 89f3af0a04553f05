import { afterEach } from 'vitest';
import type { Digest } from '../../src/core/model/digest.ts';
import type { AnyDocument } from '../../src/core/model/documents.ts';
import { eventually, Scratch } from '../contract/agent-fixture.ts';
import { openStage, type Stage } from '../integration/execute-runs-fixture.ts';
import { documentOf } from '../fakes/log-fixture.ts';
import { attack, verdict, type Verdict } from './attack.ts';

/** Ways around a stop for whoever has an allow in hand: what happens to a run that is open. */
const scratch = new Scratch();
afterEach(() => scratch.clean());

/** What came of the open run, and what its agent did. */
async function ended({ log, agent }: Stage, { executor }: Awaited<ReturnType<Stage['startExecutor']>>): Promise<Verdict> {
  await executor.sync(log.state);
  const { predicate } = await eventually(() => executor.takeFinished()[0]);
  return verdict(predicate.result === 'Succeeded' ? null : predicate.reason, agent.driver.actions);
}

const freeze = (stage: Stage): Promise<void> => stage.log.change(documentOf('Freeze', 'stop', { reason: 'an incident' }) as unknown as AnyDocument);

/** The Promotion is moved out of the way, so that nobody judges the run that it opened. */
async function movedAway(how: 'replaced' | 'deleted', stop: (stage: Stage, digest: Digest) => Promise<unknown>): Promise<Verdict> {
  const stage = await openStage(scratch);
  const { log } = stage;
  const { decision } = await log.allow('1.0.0');
  log.lock('2.0.0');
  await (how === 'replaced' ? log.promote({ release: '2.0.0' }) : log.withdraw());
  if (decision.promotionDigest !== null) await stop(stage, decision.promotionDigest);
  await log.decide();
  return ended(stage, await stage.startExecutor());
}

attack('promotion replaced so that no freeze stops its run', {
  rules: ['T23', 'T24'], expects: 'Stopped', attempt: () => movedAway('replaced', freeze), twin: () => movedAway('replaced', () => Promise.resolve()),
});
attack('promotion deleted so that no rejection stops its run', {
  rules: ['T23'], expects: 'Stopped',
  attempt: () => movedAway('deleted', ({ log }, digest) => log.approve('carol', { action: 'reject', digest })),
  twin: () => movedAway('deleted', ({ log }) => log.decide()),
});

/** An order waits for an agent that is away, and a stop comes before the agent. */
async function waitedOut(isStopped: boolean): Promise<Verdict> {
  const stage = await openStage(scratch);
  const { log, hub } = stage;
  await log.allow('1.0.0');
  const runner = hub.agents.get('anna')!;
  hub.agents.delete('anna');
  const server = await stage.startExecutor();
  await server.executor.sync(log.state);
  await eventually(() => hub.sent.length > 0);
  if (isStopped) await freeze(stage);
  await log.decide();
  const outcome = isStopped ? await ended(stage, server) : null;
  hub.come('anna', runner);
  await runner.idle();
  return outcome === null ? ended(stage, server) : { ...outcome, executed: stage.agent.driver.actions };
}

attack('order left with an agent that is away until a freeze is in force', { rules: ['T23', 'T24'], expects: 'Stopped', attempt: () => waitedOut(true), twin: () => waitedOut(false) });
