import type { JsonObject } from '../core/model/canonical-json.ts';
import type { Runs } from '../core/model/preimages.ts';
import type { ProvenOrder } from '../core/order/prove-order.ts';

export type TargetPlace = { readonly name: string; readonly type: string; readonly connection: JsonObject };

/** What an order asks for once its proof has been checked. Nothing else has a type with which to reach a target. */
export type ProvenWork = ProvenOrder;

/** Work that makes something run. `runs` holds the approved artifacts, files, components, variables and secret references. */
export type ApplyWork = ProvenWork & { readonly runs: Runs };

export type RunningComponent = { readonly component: string; readonly digest: string };

/** Failed: it ran and said no. Errored: it could not run, and nothing on the target was changed by it. */
export type TargetOutcome = {
  readonly result: 'Succeeded' | 'Failed' | 'Errored';
  /** Stable reason code; `Applied` or `Removed` on success. */
  readonly code: string;
  readonly message: string;
  /** What really runs at the end, digests as the engine or file system shows them. */
  readonly running: readonly RunningComponent[];
  /** What ran before runs again. */
  readonly rolledBack: boolean;
};

export type TargetObservation = {
  readonly running: readonly RunningComponent[];
  /** Bytes of the sticker on the target, null when there is none. */
  readonly sticker: Uint8Array | null;
};

/** Where an application lives on a target. */
export type TargetSlot = { readonly environment: string; readonly application: string; readonly target: TargetPlace };

export type TargetContext = {
  readonly now: () => Date;
  /**
   * Value of a secret reference. Called at apply only; the value must reach a process and nothing else.
   * @throws SecretUnavailable
   */
  readonly resolveSecret: (reference: string) => Promise<string>;
  /** A line for people. Never a secret. */
  readonly progress: (line: string) => void;
};

export type SecretUnavailableCode = 'SecretUnavailable';

/** A secret reference has no value on this machine, or may not be read on it. The message never holds the value. */
export class SecretUnavailable extends Error {
  readonly code: SecretUnavailableCode = 'SecretUnavailable';
  readonly disposition = 'stall';
}

/** Drives targets of one type. Applying the same work twice ends in the same state. */
export interface TargetDriver {
  readonly type: string;
  apply(work: ApplyWork, context: TargetContext): Promise<TargetOutcome>;
  observe(slot: TargetSlot, context: TargetContext): Promise<TargetObservation>;
  remove(work: ProvenWork, context: TargetContext): Promise<TargetOutcome>;
}
