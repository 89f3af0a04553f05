import type { Digest } from '../../core/model/digest.ts';
import { limits } from '../../core/model/limits.ts';
import { AgentHubError, type AgentHub, type AgentPresence, type DispatchOptions, type OutgoingOrder } from '../../ports/agent-hub.ts';
import type { OrderProgress, OrderReceipt } from '../../generated/proto/stella/agent/v1/agent_pb.ts';
import type { AgentStream } from './agent-stream.ts';
import type { IdentityOf } from './peer.ts';

type Waiter = {
  readonly resolve: (receipt: Uint8Array) => void;
  readonly reject: (error: AgentHubError) => void;
  readonly onSent: (() => void) | undefined;
  readonly onProgress: ((lines: readonly string[]) => void) | undefined;
};
type PendingOrder = { readonly agent: string; readonly order: OutgoingOrder; readonly waiters: Set<Waiter>; isSent: boolean };

/** Room in a message for everything but the bundle. */
const OVERHEAD_BYTES = 64 * 1024;

/**
 * Orders that wait for a receipt, and the streams on which they travel. It holds no truth: an order lost with this process is
 * dispatched again, and the agent's journal keeps it from running twice.
 */
export class Hub implements AgentHub {
  readonly #streams = new Map<string, AgentStream>();
  readonly #pending = new Map<Digest, PendingOrder>();
  readonly #identityOf: IdentityOf;
  #closed = false;

  constructor(identityOf: IdentityOf) {
    this.#identityOf = identityOf;
  }

  connected(): readonly AgentPresence[] {
    return [...this.#streams.values()].map((stream) => stream.presence);
  }

  async dispatch(agent: string, order: OutgoingOrder, options: DispatchOptions = {}): Promise<Uint8Array> {
    if (order.bundle.length > limits.grpcMessageBytes - OVERHEAD_BYTES) {
      throw new AgentHubError('BundleTooLarge', 'stall', `the bundle of order ${order.digest} has ${order.bundle.length} bytes: ship fewer or smaller files`);
    }
    const identity = await this.#identity(agent);
    if (identity === null) {
      throw new AgentHubError('AgentNotInForce', 'stall', `agent ${agent} has no document in force or is suspended: it gets no orders`);
    }
    const key = this.#streams.get(agent)?.peer.publicKey;
    if (key !== undefined && !Buffer.from(identity).equals(key)) this.#streams.get(agent)?.end('IdentityKeyChanged');
    return await this.#await(agent, order, options);
  }

  async #identity(agent: string): Promise<Uint8Array | null> {
    try {
      return await this.#identityOf(agent);
    } catch (cause) {
      const message = `the Agent document of ${agent} cannot be read now, so nothing is sent: it is tried again`;
      throw new AgentHubError('AgentNotInForce', 'retry', message, { cause });
    }
  }

  #await(agent: string, order: OutgoingOrder, options: DispatchOptions): Promise<Uint8Array> {
    return new Promise((resolve, reject) => {
      if (this.#closed) return reject(closedError());
      if (options.signal?.aborted === true) return reject(abortedError(order));
      const pending = this.#pending.get(order.digest) ?? { agent, order, waiters: new Set<Waiter>(), isSent: false };
      if (pending.agent !== agent || pending.order.target !== order.target) {
        return reject(new AgentHubError('OrderConflict', 'stall', `order ${order.digest} is already on its way to agent ${pending.agent}`));
      }
      const abort = (): void => {
        pending.waiters.delete(waiter);
        if (pending.waiters.size === 0) this.#withdraw(pending);
        reject(abortedError(order));
      };
      const settled = (): void => options.signal?.removeEventListener('abort', abort);
      const waiter: Waiter = {
        resolve: (receipt) => (settled(), resolve(receipt)),
        reject: (error) => (settled(), reject(error)),
        onSent: options.onSent,
        onProgress: options.onProgress,
      };
      options.signal?.addEventListener('abort', abort, { once: true });
      pending.waiters.add(waiter);
      if (pending.isSent) waiter.onSent?.();
      if (pending.waiters.size > 1) return;
      this.#pending.set(order.digest, pending);
      const stream = this.#streams.get(agent);
      if (stream !== undefined) this.#send(stream, pending);
    });
  }

  #withdraw(pending: PendingOrder): void {
    this.#pending.delete(pending.order.digest);
    this.#streams.get(pending.agent)?.send({ case: 'cancel', value: { orderDigest: pending.order.digest } });
  }

  /** A newer stream of an agent takes over; everything that still waits is sent again on it. */
  attach(stream: AgentStream): void {
    const { agent } = stream.peer;
    if (this.#closed) return stream.end('ServerClosing');
    this.#streams.get(agent)?.end('ReplacedByNewerStream');
    this.#streams.set(agent, stream);
    for (const pending of this.#pending.values()) {
      if (pending.agent === agent) this.#send(stream, pending);
    }
  }

  #send(stream: AgentStream, pending: PendingOrder): void {
    pending.isSent = true;
    for (const { onSent } of pending.waiters) onSent?.();
    stream.send(orderMessage(pending.order));
  }

  detach(stream: AgentStream): void {
    if (this.#streams.get(stream.peer.agent) === stream) this.#streams.delete(stream.peer.agent);
  }

  receipt(agent: string, receipt: OrderReceipt): void {
    const pending = this.#pending.get(receipt.orderDigest as Digest);
    // An agent answers its own orders only: another's word on them would end the waiting for the true receipt.
    if (pending === undefined || pending.agent !== agent) return;
    this.#pending.delete(pending.order.digest);
    for (const waiter of pending.waiters) waiter.resolve(receipt.envelope);
  }

  progress(agent: string, progress: OrderProgress): void {
    const pending = this.#pending.get(progress.orderDigest as Digest);
    if (pending === undefined || pending.agent !== agent) return;
    const lines = progress.lines.slice(0, limits.progressLines).map((line) => line.slice(0, limits.progressLineChars));
    for (const waiter of pending.waiters) waiter.onProgress?.(lines);
  }

  close(): void {
    this.#closed = true;
    for (const pending of this.#pending.values()) for (const waiter of pending.waiters) waiter.reject(closedError());
    this.#pending.clear();
    for (const stream of this.#streams.values()) stream.end('ServerClosing');
    this.#streams.clear();
  }
}

function orderMessage(order: OutgoingOrder) {
  return { case: 'order' as const, value: { digest: order.digest, target: order.target, bundle: order.bundle } };
}

function closedError(): AgentHubError {
  return new AgentHubError('HubClosed', 'retry', 'the server is closing: the order is dispatched again after the restart');
}

function abortedError(order: OutgoingOrder): AgentHubError {
  return new AgentHubError('DispatchAborted', 'wait', `waiting for the receipt of order ${order.digest} was ended: the agent still answers it when it is asked again`);
}
