import { join } from 'node:path';
import type { AgentIdentity } from '../../src/agent/identity.ts';
import { Journal } from '../../src/agent/journal.ts';
import { orderProver } from '../../src/agent/order-proof.ts';
import { OrderRunner } from '../../src/agent/run-order.ts';
import type { Digest } from '../../src/core/model/digest.ts';
import { decodeBundle } from '../../src/core/order/bundle.ts';
import { AgentHubError, type AgentHub, type AgentPresence, type DispatchOptions, type OutgoingOrder } from '../../src/ports/agent-hub.ts';
import type { ApplyWork, ProvenWork, RunningComponent, TargetDriver, TargetObservation, TargetOutcome, TargetSlot } from '../../src/ports/target-driver.ts';
import { openPgp } from './openpgp.ts';

/** Targets that keep what runs on them in memory, and remember everything that was done to them. */
export class RecordingDriver implements TargetDriver {
  readonly type = 'directory_host';
  /** `apply web-1 2.0.0`, `remove web-1`, in order. */
  readonly actions: string[] = [];
  readonly running = new Map<string, readonly RunningComponent[]>();
  /** Before an apply ends; what it returns is its outcome. */
  duringApply: (work: ApplyWork) => Promise<TargetOutcome | void> = () => Promise.resolve();

  async apply(work: ApplyWork): Promise<TargetOutcome> {
    this.actions.push(`apply ${work.target.name} ${work.runs.release}`);
    const outcome = await this.duringApply(work);
    if (outcome !== undefined) return outcome;
    const running = work.runs.components.map(({ name, digest }) => ({ component: name, digest }));
    this.running.set(work.target.name, running);
    return { result: 'Succeeded', code: 'Applied', message: '', running, rolledBack: false };
  }

  observe(slot: TargetSlot): Promise<TargetObservation> {
    return Promise.resolve({ running: this.running.get(slot.target.name) ?? [], sticker: null });
  }

  remove(work: ProvenWork): Promise<TargetOutcome> {
    this.actions.push(`remove ${work.target.name}`);
    this.running.delete(work.target.name);
    return Promise.resolve({ result: 'Succeeded', code: 'Removed', message: '', running: [], rolledBack: false });
  }
}

export type TestAgent = { readonly runner: OrderRunner; readonly driver: RecordingDriver; readonly journal: Journal };

/** A real agent without its stream: real proof, real journal in `folder`, and a driver that records. */
export async function openAgent(p: { folder: string; identity: AgentIdentity; pin: Digest; now: () => Date; driver?: RecordingDriver }): Promise<TestAgent> {
  const journal = await Journal.open(join(p.folder, `journal-${p.identity.agent}`));
  await journal.pinGenesis(p.pin);
  const driver = p.driver ?? new RecordingDriver();
  const runner = new OrderRunner({
    identity: p.identity, journal, proveOrder: orderProver(p.identity.agent, openPgp), drivers: [driver], now: p.now,
    resolveSecret: () => Promise.reject(new Error('these tests have no secrets')),
  });
  return { runner, driver, journal };
}

/** Carries orders to agents in this process, as the hub does over the network. */
export class InProcessHub implements AgentHub {
  readonly agents = new Map<string, OrderRunner>();
  /** Every order that was handed in, first to last; the same one may stand here twice. */
  readonly sent: (OutgoingOrder & { readonly agent: string })[] = [];
  /** Orders for agents that are away. */
  readonly #waiting: { readonly agent: string; readonly deliver: (runner: OrderRunner) => void }[] = [];
  /** What a wire in the wrong hands makes of an order. */
  tamper: (order: OutgoingOrder) => OutgoingOrder = (order) => order;

  connected(): readonly AgentPresence[] {
    return [];
  }

  /** An agent that was away connects. */
  come(agent: string, runner: OrderRunner): void {
    this.agents.set(agent, runner);
    for (const waiting of this.#waiting.splice(0)) {
      if (waiting.agent === agent) waiting.deliver(runner);
      else this.#waiting.push(waiting);
    }
  }

  async dispatch(agent: string, order: OutgoingOrder, options: DispatchOptions = {}): Promise<Uint8Array> {
    const { signal } = options;
    const aborted = (): AgentHubError => new AgentHubError('DispatchAborted', 'wait', 'the waiting was ended');
    if (signal?.aborted === true) throw aborted();
    this.sent.push({ ...order, agent });
    const { promise, resolve, reject } = Promise.withResolvers<Uint8Array>();
    const deliver = (runner: OrderRunner): void => {
      if (signal?.aborted === true) return;
      options.onSent?.();
      // An order that was withdrawn gives no receipt.
      runner.run(this.tamper(order), (line) => options.onProgress?.([line])).then((receipt) => (receipt === null ? undefined : resolve(receipt)), () => undefined);
    };
    const here = this.agents.get(agent);
    signal?.addEventListener('abort', () => (this.agents.get(agent)?.withdraw(order.digest), reject(aborted())), { once: true });
    if (here === undefined) this.#waiting.push({ agent, deliver });
    else deliver(here);
    return promise;
  }

  /** `promote web-1 1`: what was sent, each order once. */
  orders(): readonly string[] {
    return [...new Map(this.sent.map((order) => [order.digest, order])).values()].map(({ bundle }) => {
      const order = decodeBundle(bundle)?.order;
      return order === undefined ? 'nothing readable' : `${order.operation} ${order.target} ${order.try}`;
    });
  }
}
