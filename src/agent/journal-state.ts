import type { JsonObject } from '../core/model/canonical-json.ts';
import type { Digest } from '../core/model/digest.ts';
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
  | { readonly type: 'receipt'; readonly order: Digest; readonly envelope: string };

type Begun = { readonly order: Digest; readonly mark: GenerationMark; readonly before: GenerationMark | null };
type Intent = Extract<JournalEntry, { type: 'intent' }>;

/** The fold of all entries; changed only by {@link JournalFold.add}. */
export class JournalFold {
  #genesis: Digest | null = null;
  #change: SeenChange | null = null;
  readonly #begun = new Map<string, Begun>();
  readonly #slots = new Map<string, TargetSlot>();
  readonly #ran = new Map<string, Set<Digest>>();
  readonly #open = new Map<Digest, Intent>();
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
        this.#receipts.set(entry.order, Buffer.from(entry.envelope, 'base64'));
        this.#open.delete(entry.order);
    }
  }

  #begin(intent: Intent): void {
    const key = slotKey({ ...intent, target: intent.target.name });
    const last = this.#begun.get(key);
    const before = last?.order === intent.order ? last.before : (last?.mark ?? null);
    this.#begun.set(key, { order: intent.order, mark: intent.mark, before });
    this.#open.set(intent.order, intent);
    if (intent.runs != null) this.#ran.set(key, (this.#ran.get(key) ?? new Set()).add(intent.runs));
    if (intent.operation === 'remove') this.#slots.delete(key);
    else this.#slots.set(key, { environment: intent.environment, application: intent.application, target: intent.target });
  }

  receiptOf(order: Digest): Uint8Array | null {
    return this.#receipts.get(order) ?? null;
  }

  /** Orders that began and have no receipt: a crash cut them. */
  interrupted(): readonly Digest[] {
    return [...this.#open.keys()];
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
