import { digestOfBytes } from '../core/model/digest.ts';
import type { DeploymentOutcomePredicate } from '../core/evidence/records.ts';
import type { Command } from '../core/workflow/commands.ts';
import type { Run, StoredOrder } from '../ports/run-store.ts';
import type { Allow } from './build-bundle.ts';

/** A run that has ended, with everything for its record. */
export type FinishedRun = {
  readonly environment: string;
  readonly application: string;
  readonly predicate: DeploymentOutcomePredicate;
  /** Raw envelopes of the receipts that the record names, in its order, to be stored as artifacts. */
  readonly receipts: readonly Uint8Array[];
};

/** How the fallback stands among the steps of a record, so that its receipts are named there too. */
const FALL_BACK = 'fall-back';

/** @param decision the allow that the run's orders named last */
export function finishedRun(run: Run, decision: Allow, end: Extract<Command, { type: 'finish' }>, orders: readonly StoredOrder[]): FinishedRun {
  const { environment, application, operation, generation, promotionDigest } = run;
  const { result, reason, fallback, startedAt, endedAt } = end;
  const steps = fallback === null ? end.steps : [...end.steps, { name: FALL_BACK, result: fallback.result, targets: fallback.targets }];
  const predicate: DeploymentOutcomePredicate = {
    environment, application, operation, generation, promotionDigest, decision, result, reason, startedAt, endedAt, steps, fallback: fallback?.result ?? null,
  };
  const stored = new Map(orders.flatMap(({ receipt }) => (receipt === null ? [] : [[digestOfBytes(receipt), receipt] as const])));
  const named = steps.flatMap(({ targets }) => targets.flatMap(({ receipt }) => receipt ?? []));
  const receipts = named.flatMap((digest) => stored.get(digest) ?? []);
  return { environment, application, predicate, receipts };
}
