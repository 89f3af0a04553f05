import type { JsonObject } from '../core/model/canonical-json.ts';
import type { Digest } from '../core/model/digest.ts';
import { limits } from '../core/model/limits.ts';
import type { SeenChange } from '../core/order/fold-changes.ts';
import type { LastOrder } from '../core/order/prove-order.ts';
import type { TargetSlot } from '../ports/target-driver.ts';

/** The last order that began for one (environment, application, target). */
export type GenerationMark = LastOrder;

/** What an order is judged against: what this agent has pinned, seen and begun. */
export type JournalState = {
  /** Log id of the pinned genesis; null before it is pinned. */
  readonly genesis: Digest | null;
  /** The last protected change that was accepted; a shorter or another chain is a regression (T16). */
  readonly protectedChange: SeenChange | null;
  /** By {@link slotKey}. */
  readonly generations: ReadonlyMap<string, GenerationMark>;
  /** Digests of everything that it began to run, by {@link slotKey}. */
  readonly ran: ReadonlyMap<string, ReadonlySet<Digest>>;
};

export function slotKey(slot: { environment: string; application: string; target: string }): string {
  return `${slot.environment}/${slot.application}/${slot.target}`; // names hold no slash
}

/** One line of the journal. */
export type JournalEntry =
  | { readonly type: 'genesis'; readonly logId: Digest }
  | ({ readonly type: 'protected-change' } & SeenChange)
  | {
      readonly type: 'intent';
      readonly order: Digest;
      readonly operation: 'apply' | 'remove';
      readonly environment: string;
      readonly application: string;
      readonly target: { readonly name: string; readonly type: string; readonly connection: JsonObject };
      readonly mark: GenerationMark;
      /** What it makes run; null for a removal. Journals of earlier versions lack it. */
      readonly runs?: Digest | null;
      readonly startedAt: string;
    }
  | { readonly type: 'receipt'; readonly order: Digest; readonly envelope: string }
  /** Everything that the lines before it said and that still counts; they are gone. */
  | ({ readonly type: 'summary' } & JournalSummary);

export type JournalSummary = {
  readonly genesis: Digest | null;
  readonly protectedChange: SeenChange | null;
  /** `last`: the order that began last there. `open`: it has no receipt. `at`: where the application lies; null after a removal. */
  readonly slots: readonly { readonly key: string; readonly last: Digest; readonly mark: GenerationMark; readonly before: GenerationMark | null; readonly at: TargetSlot | null; readonly ran: readonly Digest[]; readonly open: boolean }[];
  /** The newest, oldest first. */
  readonly receipts: readonly { readonly order: Digest; readonly envelope: string }[];
};

type Begun = { readonly order: Digest; readonly mark: GenerationMark; readonly before: GenerationMark | null };
type Intent = Extract<JournalEntry, { type: 'intent' }>;

/** The fold of all entries; changed only by {@link JournalFold.add}. */
export class JournalFold {
  #genesis: Digest | null = null;
  #change: SeenChange | null = null;
  readonly #begun = new Map<string, Begun>();
  readonly #slots = new Map<string, TargetSlot>();
  readonly #ran = new Map<string, Set<Digest>>();
  /** Orders that began and have no receipt. */
  readonly #open = new Set<Digest>();
  readonly #receipts = new Map<Digest, Uint8Array>();

  add(entry: JournalEntry): void {
    switch (entry.type) {
      case 'genesis':
        this.#genesis = entry.logId;
        return;
      case 'protected-change':
        this.#change = { seq: entry.seq, digest: entry.digest };
        return;
      case 'intent':
        return this.#begin(entry);
      case 'receipt':
        this.#keepReceipt(entry.order, entry.envelope);
        this.#open.delete(entry.order);
        return;
      case 'summary':
        this.#takeUp(entry);
    }
  }

  /**
   * Old receipts are let go: what they answer is of a try or a generation that has passed, and is refused then, never run again.
   */
  #keepReceipt(order: Digest, envelope: string): void {
    this.#receipts.delete(order);
    this.#receipts.set(order, Buffer.from(envelope, 'base64'));
    for (const oldest of this.#receipts.keys()) {
      if (this.#receipts.size <= limits.journalReceipts) return;
      this.#receipts.delete(oldest);
    }
  }

  #takeUp(summary: JournalSummary): void {
    this.#genesis = summary.genesis;
    this.#change = summary.protectedChange;
    for (const known of [this.#begun, this.#slots, this.#ran, this.#open, this.#receipts]) known.clear();
    for (const { key, last, mark, before, at, ran, open } of summary.slots) {
      this.#begun.set(key, { order: last, mark, before });
      if (at !== null) this.#slots.set(key, at);
      if (ran.length > 0) this.#ran.set(key, new Set(ran));
      if (open) this.#open.add(last);
    }
    for (const { order, envelope } of summary.receipts) this.#keepReceipt(order, envelope);
  }

  /** The fold as one entry. An order that was cut and overtaken is left out: it is judged by the one that overtook it. */
  summary(): Extract<JournalEntry, { type: 'summary' }> {
    return {
      type: 'summary', genesis: this.#genesis, protectedChange: this.#change,
      slots: [...this.#begun].map(([key, { order, mark, before }]) => ({ key, last: order, mark, before, at: this.#slots.get(key) ?? null, ran: [...(this.#ran.get(key) ?? [])], open: this.#open.has(order) })),
      receipts: [...this.#receipts].map(([order, bytes]) => ({ order, envelope: Buffer.from(bytes).toString('base64') })),
    };
  }

  #begin(intent: Intent): void {
    const key = slotKey({ ...intent, target: intent.target.name });
    const last = this.#begun.get(key);
    const before = last?.order === intent.order ? last.before : (last?.mark ?? null);
    this.#begun.set(key, { order: intent.order, mark: intent.mark, before });
    this.#open.add(intent.order);
    if (intent.runs != null) this.#ran.set(key, (this.#ran.get(key) ?? new Set()).add(intent.runs));
    if (intent.operation === 'remove') this.#slots.delete(key);
    else this.#slots.set(key, { environment: intent.environment, application: intent.application, target: intent.target });
  }

  receiptOf(order: Digest): Uint8Array | null {
    return this.#receipts.get(order) ?? null;
  }

  /** Orders that began and have no receipt: a crash cut them. */
  interrupted(): readonly Digest[] {
    return [...this.#open];
  }

  /** Where applications live, as far as this agent put them there. */
  slots(): readonly TargetSlot[] {
    return [...this.#slots.values()];
  }

  /**
   * What the order is judged against. An order that a crash cut is judged as if it had not begun, so that it can be finished; every
   * other one is judged by the last that began, whether it was finished or not.
   */
  stateFor(order: Digest | null): JournalState {
    const generations = new Map<string, GenerationMark>();
    for (const [key, last] of this.#begun) {
      const isCut = last.order === order && this.#open.has(last.order);
      const mark = isCut ? last.before : last.mark;
      if (mark !== null) generations.set(key, mark);
    }
    return { genesis: this.#genesis, protectedChange: this.#change, generations, ran: this.#ran };
  }
}
