import { canonicalBytes } from '../core/model/canonical-json.ts';
import type { Digest } from '../core/model/digest.ts';
import { digestOfBytes } from '../core/model/digest.ts';
import type { TargetContext, TargetDriver, TargetSlot } from '../ports/target-driver.ts';
import type { AgentIdentity } from './identity.ts';
import type { Journal } from './journal.ts';
import type { ProveOrder, UnprovenOrder } from './order-proof.ts';
import { OrderRunner } from './run-order.ts';

/** What the agent's shell needs of a connection. */
export type ServerLink = {
  readonly progress: (order: Digest, lines: readonly string[]) => void;
  readonly receipt: (order: Digest, envelope: Uint8Array) => void;
  readonly inventory: (target: string, observed: Uint8Array) => void;
};

export type AgentWorld = {
  readonly identity: AgentIdentity;
  readonly journal: Journal;
  readonly proveOrder: ProveOrder;
  readonly drivers: readonly TargetDriver[];
  readonly resolveSecret: TargetContext['resolveSecret'];
  readonly now: () => Date;
  /** Tells people what happens on this machine. */
  readonly log: (line: string) => void;
};

/** The agent's shell: orders in, receipts and inventory out. It holds no connection; the composition gives it one. */
export class Agent {
  readonly #world: AgentWorld;
  readonly #runner: OrderRunner;
  #link: ServerLink | null = null;

  constructor(world: AgentWorld) {
    this.#world = world;
    this.#runner = new OrderRunner(world);
  }

  useLink(link: ServerLink): void {
    this.#link = link;
  }

  /** Executes or answers an order; never throws. */
  async accept(order: UnprovenOrder): Promise<void> {
    const { log } = this.#world;
    try {
      const envelope = await this.#runner.run(order, (line) => {
        log(`${order.target}: ${line}`);
        this.#link?.progress(order.digest, [line]);
      });
      if (envelope === null) return;
      this.#link?.receipt(order.digest, envelope); // lost with a broken stream: the order comes again and the journal answers it
      await this.reportInventory(order.target);
    } catch (cause) {
      log(`order ${order.digest} has no receipt: ${cause instanceof Error ? cause.message : String(cause)}`);
    }
  }

  cancel(order: Digest): void {
    this.#runner.withdraw(order);
  }

  /** Observes each place where this agent put something and reports what really runs there. @param only a target's name */
  async reportInventory(only?: string): Promise<void> {
    for (const slot of this.#world.journal.fold.slots()) {
      if (only !== undefined && slot.target.name !== only) continue;
      const observed = await this.#observe(slot);
      this.#link?.inventory(slot.target.name, canonicalBytes(observed));
    }
  }

  async #observe(slot: TargetSlot): Promise<object> {
    const { drivers, resolveSecret, now } = this.#world;
    const head = { environment: slot.environment, application: slot.application, target: slot.target.name, observedAt: now().toISOString() };
    const driver = drivers.find(({ type }) => type === slot.target.type);
    try {
      if (driver === undefined) throw new Error(`no driver for targets of type ${slot.target.type}`);
      const { running, sticker } = await driver.observe(slot, { now, resolveSecret, progress: () => undefined });
      return { ...head, error: null, running, sticker: stickerState(sticker) };
    } catch (cause) {
      const error = (cause instanceof Error ? cause.message : String(cause)).toWellFormed();
      return { ...head, error, running: [], sticker: null };
    }
  }

  /** Settles when no order runs or waits. */
  idle(): Promise<void> {
    return this.#runner.idle();
  }
}

/** Digest and text of the sticker, so that the server can compare without asking again. */
function stickerState(sticker: Uint8Array | null): { digest: Digest; text: string } | null {
  return sticker === null ? null : { digest: digestOfBytes(sticker), text: Buffer.from(sticker).toString('utf8').slice(0, 16 * 1024).toWellFormed() };
}
