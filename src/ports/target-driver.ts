import type { JsonObject } from '../core/model/canonical-json.ts';
import type { Digest } from '../core/model/digest.ts';

export type TargetPlace = { readonly name: string; readonly type: string; readonly connection: JsonObject };

/** What an order asks for once its proof has been checked. Nothing else has a type with which to reach a target. */
export type ProvenWork = {
  readonly operation: 'promote' | 'extend' | 'remove' | 'fall-back';
  readonly environment: string;
  readonly application: string;
  /** `<application>/<version>`; empty for a removal. */
  readonly release: string;
  readonly generation: number;
  readonly promotionDigest: Digest;
  readonly tryNumber: number;
  readonly target: TargetPlace;
  /** The approved plan; `runs` is null for a removal. */
  readonly plan: JsonObject;
  /** Artifacts and shipped files by the 64 hexadecimal digits of their sha256, already checked. */
  readonly artifacts: ReadonlyMap<string, Uint8Array>;
  /** Bytes of `stella.version.json`. */
  readonly sticker: Uint8Array;
  /** RFC 3339 in UTC; nothing begins after it (T23). */
  readonly notAfter: string;
};

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
  apply(work: ProvenWork, context: TargetContext): Promise<TargetOutcome>;
  observe(slot: TargetSlot, context: TargetContext): Promise<TargetObservation>;
  remove(work: ProvenWork, context: TargetContext): Promise<TargetOutcome>;
}
