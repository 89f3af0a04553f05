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

  /** All of them: an agent judges by the newest, whatever the age of the decision. */
  all(): ShelvedChanges {
    return { envelopes: this.#entries.map(({ envelope }) => envelope), artifacts: [...new Set(this.#entries.flatMap(({ artifacts }) => artifacts))] };
  }
}
