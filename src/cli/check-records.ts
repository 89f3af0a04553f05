import { createPublicKey } from 'node:crypto';
import type { Digest } from '../core/model/digest.ts';
import { limits } from '../core/model/limits.ts';
import { preimageDigest, type OrderOperation } from '../core/model/preimages.ts';
import { inForceOf, type LogState } from '../core/evidence/log-state.ts';
import { artifactsOf, type EvidenceRecord, type RecordType } from '../core/evidence/records.ts';
import type { TargetOutcome } from '../core/workflow/commands.ts';
import { verifyReceipt } from '../core/order/receipt.ts';
import type { RecordStep } from '../reconciler/read-evidence.ts';

export type RecordFault = { readonly code: 'ArtifactMissing' | 'ReceiptInvalid' | 'ReceiptForOtherOrder' | 'ReceiptDiffers'; readonly message: string; readonly seq: number };
export type Population = { readonly byType: Readonly<Partial<Record<RecordType, number>>>; readonly approvals: number; readonly receipts: number };

type Artifact = (digest: Digest) => Uint8Array | undefined;
type Run = { readonly decisions: Digest[]; state: LogState };

/**
 * Looks at each record of a log beyond what the fold demands: every artifact that it names is there, and every receipt
 * verifies under the identity key of the agent that was in force, for an order of an allow of its run.
 */
export class RecordCheck {
  readonly #byType = new Map<RecordType, number>();
  readonly #runs = new Map<string, Run>();
  #approvals = 0;
  #receipts = 0;
  #fault: RecordFault | null = null;

  /** The first thing that is wrong. */
  get fault(): RecordFault | null {
    return this.#fault;
  }

  get population(): Population {
    return { byType: Object.fromEntries(this.#byType), approvals: this.#approvals, receipts: this.#receipts };
  }

  visit(step: RecordStep, artifact: Artifact): void {
    const { record } = step;
    this.#byType.set(record.type, (this.#byType.get(record.type) ?? 0) + 1);
    if (record.type === 'observation' && record.predicate.type === 'approval') this.#approvals += 1;
    this.#fault ??= missingArtifact(record, artifact);
    if (record.type === 'promotion-decision' && record.predicate.decision.outcome === 'allow') this.#openRun(step, record);
    if (record.type === 'deployment-outcome') this.#checkOutcome(step.before, record, artifact);
  }

  #openRun(step: RecordStep, record: Extract<EvidenceRecord, { type: 'promotion-decision' }>): void {
    const { promotionDigest } = record.predicate.decision;
    if (promotionDigest === null) return;
    const run = this.#runs.get(promotionDigest) ?? { decisions: [], state: step.before };
    run.decisions.push(record.digest);
    this.#runs.set(promotionDigest, { ...run, state: step.before });
  }

  #checkOutcome(before: LogState, record: Extract<EvidenceRecord, { type: 'deployment-outcome' }>, artifact: Artifact): void {
    const run = this.#runs.get(record.predicate.promotionDigest) ?? { decisions: [], state: before };
    for (const target of record.predicate.steps.flatMap((s) => s.targets)) {
      const bytes = target.receipt === null ? undefined : artifact(target.receipt);
      if (bytes === undefined) continue; // a missing one was reported already
      this.#receipts += 1;
      this.#fault ??= receiptFault(target, bytes, { seq: record.header.seq, decisions: run.decisions, states: [run.state, before] });
    }
    this.#runs.delete(record.predicate.promotionDigest);
  }
}

const OPERATIONS: readonly OrderOperation[] = ['promote', 'extend', 'remove', 'fall-back', 'health-check'];

function receiptFault(target: TargetOutcome, bytes: Uint8Array, run: { readonly seq: number; readonly decisions: readonly Digest[]; readonly states: readonly LogState[] }): RecordFault | null {
  const fault = (code: RecordFault['code'], why: string): RecordFault => ({ code, seq: run.seq, message: `record ${run.seq}: the receipt of ${target.agent} for ${target.target} ${why}` });
  const verified = run.states.map((state) => verifiedIn(state, target.agent, bytes)).find((r) => r !== null) ?? null;
  if (verified === null) return fault('ReceiptInvalid', 'is not signed by the identity key of that agent in force');
  if (!ordersOf(target, run.decisions).includes(verified.order)) return fault('ReceiptForOtherOrder', 'answers an order that no allow of this run gave');
  // A run that ended while a try was due again records another result than the last receipt; never a better one.
  const isSame = verified.agent === target.agent && verified.target === target.target && (target.result !== 'Succeeded' || verified.result === 'Succeeded');
  return isSame ? null : fault('ReceiptDiffers', `says ${verified.result} for ${verified.target}, the record says ${target.result}`);
}

/** Digests of every order that an allow of this run can have given to a target. */
function ordersOf({ target, try: tries }: TargetOutcome, decisions: readonly Digest[]): readonly Digest[] {
  const numbers = Array.from({ length: Math.min(tries, limits.triesPerTarget) }, (_, i) => i + 1);
  return decisions.flatMap((decision) => OPERATIONS.flatMap((operation) => numbers.map((n) => preimageDigest({ type: 'stella/order/v1', decision, operation, target, try: n }))));
}

function verifiedIn(state: LogState, agent: string, bytes: Uint8Array): (ReturnType<typeof verifyReceipt> & { ok: true })['receipt'] | null {
  const document = inForceOf(state, 'Agent', agent);
  if (document === null) return null;
  const key = createPublicKey(document.spec.identityKey).export({ type: 'spki', format: 'der' });
  const outcome = verifyReceipt(bytes, key);
  return outcome.ok ? outcome.receipt : null;
}

/** T30: what a record names by its digest is there under that digest. */
function missingArtifact(record: EvidenceRecord, artifact: Artifact): RecordFault | null {
  const missing = artifactsOf(record).find((digest) => artifact(digest) === undefined);
  if (missing === undefined) return null;
  return { code: 'ArtifactMissing', seq: record.header.seq, message: `record ${record.header.seq} names the artifact ${missing}, which is missing or damaged` };
}
