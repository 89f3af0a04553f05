import type { JsonObject } from '../core/model/canonical-json.ts';
import type { Digest } from '../core/model/digest.ts';
import type { Operation, Order } from '../core/model/preimages.ts';
import type { Uuid } from '../core/model/uuid.ts';

export type NewRun = {
  readonly environment: string;
  readonly application: string;
  readonly operation: Operation;
  readonly promotionDigest: Digest;
  readonly generation: number;
  /** 0 for the run of a promotion; for an extension of it the record that opened it. */
  readonly extension: number;
  /** The allow that opens it. */
  readonly decision: { readonly seq: number; readonly digest: Digest };
  /** The run before its first transition. */
  readonly state: JsonObject;
  readonly openedAt: string;
};
/** `n` is the number of the last transition, `state` the run after it. */
export type Run = NewRun & { readonly id: Uuid; readonly n: number; readonly endedAt: string | null };

export type Transition = {
  /** One more than the run's `n`. */
  readonly n: number;
  readonly event: JsonObject;
  /** The run after the event. */
  readonly state: JsonObject;
  readonly at: string;
  /** This transition ends the run; nothing follows. */
  readonly ends: boolean;
};

export type NewOrder = {
  readonly run: Uuid;
  readonly digest: Digest;
  readonly order: Order;
  readonly agent: string;
  readonly sentAt: string;
};
export type StoredOrder = NewOrder & {
  /** The agent's signed receipt, raw; null until it came. */
  readonly receipt: Uint8Array | null;
  readonly answeredAt: string | null;
};

/** Runs in flight. Throws StorageError `StorageUnavailable` (retry) while Postgres is away. */
export interface RunStore {
  /** Opens the run of a promotion digest at a generation, or of one of its extensions; one that is there already is returned as it is. */
  createRun(run: NewRun): Promise<
    | { readonly ok: true; readonly run: Run; readonly created: boolean }
    /** Another run is open in this environment for this application. */
    | { readonly ok: false; readonly code: 'RunOpen' }
  >;
  /**
   * Writes event and state as transition `n`. The same transition once more (a lost answer) is fine.
   * @returns `RunMoved` when `n` is not the next one or the run has ended: read it again.
   */
  appendTransition(run: Uuid, transition: Transition): Promise<{ readonly ok: true } | { readonly ok: false; readonly code: 'RunMoved'; readonly n: number }>;
  transitions(run: Uuid): Promise<readonly { readonly n: number; readonly event: JsonObject; readonly at: string }[]>;
  /** Runs that have not ended, oldest first. */
  openRuns(): Promise<readonly Run[]>;
  runOf(promotionDigest: Digest, generation: number, extension: number): Promise<Run | null>;
  run(id: Uuid): Promise<Run | null>;
  /** Before an order is sent. Once more with the same digest is fine. */
  recordOrder(order: NewOrder): Promise<void>;
  /** The first receipt stays; the same one again is fine. @throws StorageError `DigestImmutable` for another one. */
  recordReceipt(orderDigest: Digest, receipt: Uint8Array, answeredAt: string): Promise<void>;
  orders(run: Uuid): Promise<readonly StoredOrder[]>;
}
