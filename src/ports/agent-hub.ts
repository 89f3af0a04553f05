import type { Digest } from '../core/model/digest.ts';

export type AgentPresence = {
  readonly agent: string;
  readonly version: string;
  readonly capabilities: readonly string[];
  readonly connectedAt: Date;
  /** seq of the last protected change that the agent has accepted, -1 when none. What it says of itself: a hint, no authority. */
  readonly protectedChangeSeq: number;
  readonly generations: readonly {
    readonly environment: string;
    readonly application: string;
    readonly target: string;
    readonly generation: number;
  }[];
};

/** An order on its way: the digest is the idempotency key, the bundle is everything that proves it. */
export type OutgoingOrder = { readonly digest: Digest; readonly target: string; readonly bundle: Uint8Array };

export type DispatchOptions = {
  /** Ends the waiting and withdraws the order if it has not begun. An order that has begun runs to its end on the agent. */
  readonly signal?: AbortSignal;
  /** The order goes out on a stream: from now on the agent may have it. Until then `signal` takes it back without a trace. */
  readonly onSent?: () => void;
  /** Lines of progress, for people; not evidence. */
  readonly onProgress?: (lines: readonly string[]) => void;
};

export type AgentHubCode = 'AgentNotInForce' | 'BundleTooLarge' | 'DispatchAborted' | 'HubClosed' | 'OrderConflict';

/** Why an order got no receipt. */
export class AgentHubError extends Error {
  readonly code: AgentHubCode;
  readonly disposition: 'retry' | 'wait' | 'stall';
  constructor(code: AgentHubCode, disposition: 'retry' | 'wait' | 'stall', message: string, options?: ErrorOptions) {
    super(message, options);
    this.code = code;
    this.disposition = disposition;
  }
}

/** The server's side of all agent streams. */
export interface AgentHub {
  connected(): readonly AgentPresence[];
  /**
   * Sends an order and waits for the agent's signed receipt (raw DSSE envelope bytes, not yet verified). An agent that is away
   * gets the order when it comes back; one that has executed it already answers from its journal.
   * @throws AgentHubError when the agent is not in force, the bundle is too large, or `signal` ends the waiting.
   */
  dispatch(agent: string, order: OutgoingOrder, options?: DispatchOptions): Promise<Uint8Array>;
}
