import { createPublicKey } from 'node:crypto';
import { digestOfBytes, type Digest } from '../core/model/digest.ts';
import { parseInstant } from '../core/model/instant.ts';
import { limits } from '../core/model/limits.ts';
import { preimageDigest, type Operation, type Order } from '../core/model/preimages.ts';
import type { Uuid } from '../core/model/uuid.ts';
import { inForceOf, type LogState } from '../core/evidence/log-state.ts';
import { verifyReceipt, type Receipt } from '../core/order/receipt.ts';
import type { RunEvent } from '../core/workflow/advance.ts';
import type { Command } from '../core/workflow/commands.ts';
import { AgentHubError, type AgentHub } from '../ports/agent-hub.ts';
import type { RunStore } from '../ports/run-store.ts';
import { StorageError } from '../ports/storage-error.ts';
import { buildBundle, type Allow, type BundleSources } from './build-bundle.ts';
import { Pause } from './run-pause.ts';

export type DispatchWorld = {
  readonly hub: AgentHub;
  readonly runs: RunStore;
  readonly sources: BundleSources;
  readonly now: () => Date;
  /** SPKI DER of the agent's identity key in force; null when the agent is not in force. */
  readonly identityOf: (agent: string) => Uint8Array | null;
  /** T24: a suspended agent gets no orders. */
  readonly isSuspended: (agent: string) => boolean;
  /** Told what keeps an order from being sent; it is tried again. */
  readonly onInterrupted: (cause: unknown) => void;
};

export type Dispatch = {
  readonly run: Uuid;
  readonly operation: Operation;
  readonly command: Extract<Command, { type: 'dispatch' }>;
  readonly allow: Allow;
  /** The order may have been sent before this process began. */
  readonly resumed: boolean;
  /** Fires when this process stops performing the run. */
  readonly closing: AbortSignal;
  /** Fires when the run wants the order no more: what no agent has got by then is taken back. */
  readonly outdated: AbortSignal;
  readonly onProgress: (lines: readonly string[]) => void;
};

type Answered = Extract<RunEvent, { type: 'answered' }>;

/** An order of a run that is taken up again is asked for at least so long, so that an agent can come back and answer from its journal. */
const RESUMED_SECONDS = 30;
/** What a timer can hold. */
const LONGEST_TIMER_MS = 2 ** 31 - 1;

/** The order that a command stands for. Its digest is the idempotency key: the same command is the same order. */
export function orderOf(command: Dispatch['command'], operation: Operation): Order {
  return { type: 'stella/order/v1', decision: command.decision, operation: command.operation === 'deploy' ? operation : command.operation, target: command.target, try: command.try };
}

/** Whether a stop of this agent is in force (T24). */
export function isSuspendedIn(state: LogState, agent: string): boolean {
  return inForceOf(state, 'Agent', agent)?.spec.suspended !== undefined;
}

/** SPKI DER of an agent's identity key by the documents in force; null for no agent, or a key that cannot be read (T12). */
export function identityIn(state: LogState, agent: string): Uint8Array | null {
  const document = inForceOf(state, 'Agent', agent);
  try {
    return document === null ? null : createPublicKey(document.spec.identityKey).export({ type: 'spki', format: 'der' });
  } catch {
    return null;
  }
}

/** An order that the run wants no more is taken back as long as no agent has it. */
class Leash {
  readonly #outdated: AbortSignal;
  readonly #withdraw = new AbortController();
  #isOut: boolean;

  /** An order that may have been sent before is out for good. */
  constructor({ outdated, resumed }: Pick<Dispatch, 'outdated' | 'resumed'>) {
    this.#outdated = outdated;
    this.#isOut = resumed;
    outdated.addEventListener('abort', () => this.#pull(), { once: true });
    this.#pull();
  }

  /** Fires once the order is taken back. */
  get withdrawn(): AbortSignal {
    return this.#withdraw.signal;
  }

  readonly letGo = (): void => {
    this.#isOut = true;
  };

  /** The agent has said that it did not take the order. */
  takeBack(): void {
    this.#isOut = false;
    this.#pull();
  }

  #pull(): void {
    if (this.#outdated.aborted && !this.#isOut) this.#withdraw.abort();
  }
}

/** An agent that holds as many orders as it can has not begun this one: it is asked again, and may take it then. */
const BUSY = 'TooManyOrders';

/**
 * Sends one order and waits for its receipt until the deadline. Storage or agents that are away are tried again; what cannot get better is
 * an answer of its own.
 * @returns the event for the run; null when `closing` fired: the order is asked for again after the restart
 */
export async function dispatchOrder(world: DispatchWorld, d: Dispatch): Promise<RunEvent | null> {
  const order = orderOf(d.command, d.operation);
  const digest = preimageDigest(order);
  const from = world.now().getTime();
  const endsAt = Math.max(parseInstant(d.command.deadline) ?? from, d.resumed ? from + RESUMED_SECONDS * 1000 : 0);
  let mayHaveBegun = d.resumed;
  const leash = new Leash(d);
  for (const pause = new Pause(); ; ) {
    const leftMs = Math.min(Math.max(endsAt - world.now().getTime(), 0), LONGEST_TIMER_MS);
    const signal = AbortSignal.any([d.closing, leash.withdrawn, AbortSignal.timeout(leftMs)]);
    try {
      if (leash.withdrawn.aborted) return { type: 'withdrawn', at: world.now().toISOString(), target: d.command.target, try: d.command.try };
      const stored = d.resumed ? await storedReceipt(world, d.run, digest) : null;
      if (stored !== null) return receive(world, d, digest, stored);
      if (world.isSuspended(d.command.agent)) return errored(world, d, 'AgentSuspended', `agent ${d.command.agent} is suspended, so it gets no orders`, mayHaveBegun);
      const built = await buildBundle(order, d.allow, world.sources);
      if (!built.ok) return errored(world, d, built.code, built.message, mayHaveBegun);
      await world.runs.recordOrder({ run: d.run, digest, order, agent: d.command.agent, sentAt: world.now().toISOString() });
      const envelope = await world.hub.dispatch(d.command.agent, { digest, target: order.target, bundle: built.bundle }, { signal, onSent: leash.letGo, onProgress: d.onProgress });
      const event = receive(world, d, digest, envelope);
      if (event.code !== BUSY || world.now().getTime() >= endsAt) {
        mayHaveBegun = true;
        return await keepReceipt(world, d, digest, envelope);
      }
      leash.takeBack();
    } catch (cause) {
      if (d.closing.aborted) return null;
      if (leash.withdrawn.aborted) continue;
      const refused = cause instanceof AgentHubError && cause.disposition === 'stall';
      if (refused) return errored(world, d, cause.code, cause.message, mayHaveBegun);
      mayHaveBegun ||= cause instanceof AgentHubError;
      if (world.now().getTime() >= endsAt) return overdue(world, d, mayHaveBegun, cause);
      world.onInterrupted(cause);
    }
    await pause.wait(signal);
  }
}

async function storedReceipt(world: DispatchWorld, run: Uuid, digest: Digest): Promise<Uint8Array | null> {
  return (await world.runs.orders(run)).find((order) => order.digest === digest)?.receipt ?? null;
}

/** Stores a receipt that verifies, before the run hears of it. */
async function keepReceipt(world: DispatchWorld, d: Dispatch, order: Digest, envelope: Uint8Array): Promise<RunEvent> {
  const event = receive(world, d, order, envelope);
  if (event.receipt === null) return event;
  try {
    await world.runs.recordReceipt(order, envelope, event.at);
    return event;
  } catch (cause) {
    if (!(cause instanceof StorageError) || cause.code !== 'DigestImmutable') throw cause;
    // A refusal is signed anew each time it is asked for; the first one that was stored is the one that counts.
    return receive(world, d, order, (await storedReceipt(world, d.run, order)) ?? envelope);
  }
}

/** A receipt counts only with the signature of the agent's key in force, and only for the order, agent and target that it was waited for. */
function receive(world: DispatchWorld, d: Dispatch, order: Digest, envelope: Uint8Array): Answered {
  const { agent, target, operation } = d.command;
  const key = world.identityOf(agent);
  const verified = key === null ? null : verifyReceipt(envelope, key);
  const receipt = verified?.ok === true ? verified.receipt : null;
  if (receipt === null || receipt.order !== order || receipt.agent !== agent || receipt.target !== target || !CODE.test(receipt.code)) {
    const what = verified === null ? 'the agent has no key in force' : verified.ok ? 'it is for another order, agent or target' : verified.code;
    return errored(world, d, 'ReceiptInvalid', `the receipt of agent ${agent} does not count: ${what}`, true);
  }
  const { result, code, message } = receipt;
  return {
    ...answer(world, d), result, code, message: message.slice(0, limits.progressLineChars).toWellFormed(), changed: operation !== 'health-check' && changes(receipt), receipt: digestOfBytes(envelope),
  };
}

/** Codes go into the log: words, no prose. */
const CODE = /^[A-Za-z][A-Za-z0-9]{0,60}$/;

/** Whether the target may run something else than before. An agent that could not go on says nothing about how far it got. */
function changes(receipt: Receipt): boolean {
  return receipt.result === 'Succeeded' || receipt.result === 'Errored' || (receipt.result === 'Failed' && !receipt.rolledBack);
}

function overdue(world: DispatchWorld, d: Dispatch, mayHaveBegun: boolean, cause: unknown): RunEvent {
  const { target, try: number } = d.command;
  if (mayHaveBegun) return { type: 'timed-out', at: world.now().toISOString(), target, try: number };
  return errored(world, d, 'NotSent', `the order could not be sent before its deadline: ${cause instanceof Error ? cause.message : String(cause)}`, false);
}

function errored(world: DispatchWorld, d: Dispatch, code: string, message: string, changed: boolean): Answered {
  const text = message.slice(0, limits.progressLineChars).toWellFormed();
  return { ...answer(world, d), result: 'Errored', code, message: text, changed: changed && d.command.operation !== 'health-check', receipt: null };
}

function answer(world: DispatchWorld, d: Dispatch): Pick<Answered, 'type' | 'at' | 'target' | 'try'> {
  return { type: 'answered', at: world.now().toISOString(), target: d.command.target, try: d.command.try };
}
