import { isDigest, type Digest } from '../core/model/digest.ts';
import { limits } from '../core/model/limits.ts';
import { isSegment } from '../core/model/names.ts';
import { preimageDigest } from '../core/model/preimages.ts';
import type { Receipt } from '../core/order/receipt.ts';
import { SecretUnavailable, type ProvenWork, type TargetContext, type TargetDriver, type TargetObservation, type TargetOutcome } from '../ports/target-driver.ts';
import { signReceipt, type AgentIdentity } from './identity.ts';
import type { Journal } from './journal.ts';
import type { OrderProof, ProveOrder, UnprovenOrder } from './order-proof.ts';

export type RunnerWorld = {
  readonly identity: AgentIdentity;
  readonly journal: Journal;
  readonly proveOrder: ProveOrder;
  readonly drivers: readonly TargetDriver[];
  readonly resolveSecret: TargetContext['resolveSecret'];
  readonly now: () => Date;
};

type Result = Pick<Receipt, 'result' | 'code' | 'message' | 'running' | 'rolledBack'>;
type Queued = { readonly receipt: Promise<Uint8Array | null>; begun: boolean; withdrawn: boolean };

/**
 * Executes orders: each digest once, one at a time on each target. The journal is written before the work begins and before the receipt
 * leaves, so after a crash at any point a repeated order is either answered from the journal or, when it was cut, executed again.
 */
export class OrderRunner {
  readonly #world: RunnerWorld;
  readonly #queued = new Map<Digest, Queued>();
  /** The end of each target's queue. */
  readonly #tails = new Map<string, Promise<unknown>>();

  constructor(world: RunnerWorld) {
    this.#world = world;
  }

  /**
   * @param progress lines for people; only the first caller of an order gets them.
   * @returns the signed receipt's envelope; null when the order was withdrawn before it began, or is no order at all.
   * @throws JournalError when the journal cannot be written: no receipt exists then.
   */
  run(order: UnprovenOrder, progress: (line: string) => void): Promise<Uint8Array | null> {
    const known = this.#queued.get(order.digest);
    if (known !== undefined && !known.withdrawn) return known.receipt;
    if (!isDigest(order.digest) || !isSegment(order.target)) return Promise.resolve(null);
    if (this.#queued.size >= limits.ordersPerAgent) {
      return Promise.resolve(this.#refusal(order, 'TooManyOrders', 'this agent holds as many orders as it can: send it again later'));
    }
    const before = this.#tails.get(order.target) ?? Promise.resolve();
    const queued: Queued = {
      begun: false,
      withdrawn: false,
      receipt: before.then(() => {
        if (queued.withdrawn) return null;
        queued.begun = true;
        return this.#answer(order, progress);
      }),
    };
    const tail: Promise<void> = queued.receipt.catch(() => undefined).then(() => this.#forget(order, queued, tail));
    this.#queued.set(order.digest, queued);
    this.#tails.set(order.target, tail);
    return queued.receipt;
  }

  #forget(order: UnprovenOrder, queued: Queued, tail: Promise<unknown>): void {
    if (this.#queued.get(order.digest) === queued) this.#queued.delete(order.digest);
    if (this.#tails.get(order.target) === tail) this.#tails.delete(order.target);
  }

  /** Drops an order that has not begun. One that has begun runs to its end. */
  withdraw(digest: Digest): void {
    const queued = this.#queued.get(digest);
    if (queued !== undefined && !queued.begun) queued.withdrawn = true;
  }

  /** Settles when nothing runs or waits. */
  async idle(): Promise<void> {
    while (this.#tails.size > 0) await Promise.all(this.#tails.values());
  }

  async #answer(order: UnprovenOrder, progress: (line: string) => void): Promise<Uint8Array> {
    const { journal } = this.#world;
    const known = journal.fold.receiptOf(order.digest);
    if (known !== null) return known; // executed before: answered again, never run again
    const startedAt = this.#world.now();
    const proof = this.#prove(order, startedAt);
    // A refusal began nothing, so it is not journaled: strangers' orders cannot fill the disk, and a clock set right lets the order through.
    if (!proof.ok) return this.#refusal(order, proof.code, proof.message);
    await this.#begin(order, proof, startedAt);
    const result = await this.#execute(proof.work, progress);
    const envelope = this.#receipt(order, result, startedAt);
    await journal.append({ type: 'receipt', order: order.digest, envelope: Buffer.from(envelope).toString('base64') });
    return envelope;
  }

  #prove(order: UnprovenOrder, now: Date): OrderProof {
    const proof = this.#world.proveOrder(order, this.#world.journal.fold.stateFor(order.digest), now);
    if (!proof.ok) return proof;
    // The queue was chosen by the name that the order claims; two names for one target would run two orders at once.
    if (proof.work.target.name !== order.target) return { ok: false, code: 'TargetMismatch', message: 'the order names another target than its plan' };
    const driver = this.#driverOf(proof.work);
    if (driver === undefined) return { ok: false, code: 'TargetTypeUnsupported', message: `this agent cannot drive targets of type ${proof.work.target.type}` };
    return proof;
  }

  #driverOf(work: ProvenWork): TargetDriver | undefined {
    return this.#world.drivers.find((driver) => driver.type === work.target.type);
  }

  async #begin(order: UnprovenOrder, proof: Extract<OrderProof, { ok: true }>, startedAt: Date): Promise<void> {
    const { work } = proof;
    const seen = this.#world.journal.fold.stateFor(null).protectedChange;
    // Targets run side by side, so a shorter chain may have been proven before a longer one was journaled.
    if (seen === null || work.protectedChange.seq > seen.seq) await this.#world.journal.append({ type: 'protected-change', ...work.protectedChange });
    await this.#world.journal.append({
      type: 'intent',
      order: order.digest,
      operation: work.runs === null ? 'remove' : 'apply',
      environment: work.environment,
      application: work.application,
      target: { name: work.target.name, type: work.target.type, connection: work.target.connection },
      mark: { generation: work.generation, promotionDigest: work.promotionDigest, try: work.try },
      runs: work.runs === null ? null : preimageDigest(work.runs),
      startedAt: startedAt.toISOString(),
    });
  }

  async #execute(work: ProvenWork, progress: (line: string) => void): Promise<Result> {
    const { resolveSecret, now } = this.#world;
    const driver = this.#driverOf(work);
    const context: TargetContext = { now, resolveSecret, progress };
    try {
      if (driver === undefined) throw new Error(`no driver for targets of type ${work.target.type}`); // asked before the work began
      const { runs } = work;
      // A health check looks, and never deploys, whatever it finds.
      if (work.operation === 'health-check') return healthOf(work, await driver.observe(work, context));
      return runs === null ? await driver.remove(work, context) : await driver.apply({ ...work, runs }, context);
    } catch (cause) {
      return erroredBy(cause);
    }
  }

  #refusal(order: UnprovenOrder, code: string, message: string): Uint8Array {
    return this.#receipt(order, { result: 'Refused', code, message, running: [], rolledBack: false }, this.#world.now());
  }

  #receipt(order: UnprovenOrder, result: Result, startedAt: Date): Uint8Array {
    const { identity, now } = this.#world;
    return signReceipt(identity, {
      type: 'stella/receipt/v1',
      order: order.digest,
      agent: identity.agent,
      target: order.target,
      result: result.result,
      code: result.code,
      message: result.message.toWellFormed().slice(0, limits.progressLineChars).toWellFormed(),
      running: result.running.map(({ component, digest }) => ({ component, digest })),
      rolledBack: result.rolledBack,
      startedAt: startedAt.toISOString(),
      endedAt: now().toISOString(),
    });
  }
}

/** Whether every approved component runs by its approved digest. What runs beside them (a database that the Compose file brings along) is not judged. */
function healthOf(work: ProvenWork, { running }: TargetObservation): TargetOutcome {
  const differences = (work.runs?.components ?? []).flatMap(({ name, digest }) => {
    const found = running.filter(({ component }) => component === name);
    if (found.length === 0) return [`${name} does not run`];
    return found.filter((one) => one.digest !== digest).map((one) => `${name} runs ${one.digest}, approved is ${digest}`);
  });
  if (differences.length > 0) return { result: 'Failed', code: 'NotRunning', message: differences.join('; '), running, rolledBack: false };
  return { result: 'Succeeded', code: 'Healthy', message: 'every component runs as approved', running, rolledBack: false };
}

/** A driver that throws could not run. Its own code is kept where it has one. */
function erroredBy(cause: unknown): TargetOutcome {
  const own = (cause as { code?: unknown } | null)?.code;
  const code = cause instanceof SecretUnavailable ? cause.code : typeof own === 'string' && /^[A-Z][A-Za-z]{2,60}$/.test(own) ? own : 'TargetErrored';
  return { result: 'Errored', code, message: cause instanceof Error ? cause.message : String(cause), running: [], rolledBack: false };
}
