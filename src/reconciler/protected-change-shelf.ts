import type { Digest } from '../core/model/digest.ts';
import type { EvidenceRecord } from '../core/evidence/records.ts';

export type ShelvedChanges = {
  /** Envelope files in the order of the log. */
  readonly envelopes: readonly Uint8Array[];
  /** Everything that folding them looks up: documents and approvals. */
  readonly artifacts: readonly Digest[];
};

type Entry = { readonly seq: number; readonly envelope: Uint8Array; readonly artifacts: readonly Digest[] };

/** Envelopes of all protected changes, kept at hand so that no order needs the log read again. Fed with each record once it is pushed or read. */
export class ProtectedChangeShelf {
  readonly #entries: Entry[] = [];

  /** Records of other types, and those that stand here already, change nothing. @param envelope the record's file, as it lies on the evidence branch */
  add(record: EvidenceRecord, envelope: Uint8Array): void {
    if (record.type !== 'protected-change' || record.header.seq <= (this.#entries.at(-1)?.seq ?? -1)) return;
    const { changes, approvals } = record.predicate;
    const artifacts = [...changes.flatMap(({ to }) => (to === null ? [] : [to])), ...approvals.map(({ artifact }) => artifact)];
    this.#entries.push({ seq: record.header.seq, envelope, artifacts });
  }

  /**
   * The changes in force at record `seq`. A decision names the digests of exactly those; an agent that got a later change with it would
   * find another set in force than the decision was made under.
   */
  before(seq: number): ShelvedChanges {
    const entries = this.#entries.filter((entry) => entry.seq < seq);
    return { envelopes: entries.map(({ envelope }) => envelope), artifacts: [...new Set(entries.flatMap(({ artifacts }) => artifacts))] };
  }
}
