import type { CommitId } from '../../core/model/commit-id.ts';
import type { Digest } from '../../core/model/digest.ts';
import { documentKey, type DocumentKey } from '../../core/model/documents.ts';
import { limits } from '../../core/model/limits.ts';
import type { EvidenceRecord, PromotionDecisionPredicate } from '../../core/evidence/records.ts';
import type { GitReader } from '../../ports/git-reader.ts';
import { isHere } from '../rewrites.ts';

/** A run that has ended. */
export type PastRun = { readonly generation: number; readonly outcome: { readonly seq: number; readonly result: string } };

/** What was decided of a Promotion document. */
export type Decided = Pick<PromotionDecisionPredicate, 'environment' | 'application' | 'decision' | 'lock' | 'release'> & { readonly seq: number; readonly document: Digest };

/** Decisions that are kept: only what was merged a short time ago is compared with its plan. */
const DECISIONS = 1_000;

/**
 * What the log said on its way, as far as it tells what became of a merge: when the target branch was where, how runs of which Promotion
 * ended, and what was in force once. The log's state knows the newest alone. Bounded; what is older was told when it happened.
 */
export class PromotionTrail {
  #tips: { readonly seq: number; readonly commit: CommitId }[] = [];
  readonly #allows = new Map<Digest, Digest>();
  readonly #runs = new Map<string, PastRun>();
  readonly #inForce = new Map<string, number>();
  #decisions: Decided[] = [];

  add(record: EvidenceRecord): void {
    const { seq } = record.header;
    if (record.type === 'anchor') this.#tips = [];
    if (record.type === 'observation' && record.predicate.type === 'tip') {
      this.#tips.push({ seq, commit: record.predicate.commit });
      if (this.#tips.length > limits.trailEntries) this.#tips.splice(0, this.#tips.length >> 1);
    }
    if (record.type === 'promotion-decision' && record.predicate.decision.outcome === 'allow' && record.predicate.decision.promotionDigest !== null) {
      put(this.#allows, record.predicate.decision.promotionDigest, record.predicate.sources.promotionDocument);
    }
    if (record.type === 'promotion-decision') this.#addDecision(seq, record.predicate);
    if (record.type === 'protected-change') for (const { kind, name, to } of record.predicate.changes) put(this.#inForce, `${documentKey(kind, name)} ${to ?? ''}`, seq);
    if (record.type !== 'deployment-outcome') return;
    const { environment, application, promotionDigest, generation, result } = record.predicate;
    const document = this.#allows.get(promotionDigest);
    if (document !== undefined) put(this.#runs, `${environment}/${application} ${document}`, { generation, outcome: { seq, result } });
  }

  /** What was first decided of this Promotion document after record `since`. */
  decisionOf(environment: string, application: string, promotion: Digest, since: number): Decided | null {
    return this.#decisions.find((d) => d.seq > since && d.document === promotion && d.environment === environment && d.application === application) ?? null;
  }

  #addDecision(seq: number, { environment, application, decision, lock, release, sources }: PromotionDecisionPredicate): void {
    this.#decisions.push({ seq, environment, application, decision, lock, release, document: sources.promotionDocument });
    if (this.#decisions.length > DECISIONS) this.#decisions = this.#decisions.slice(DECISIONS >> 1);
  }

  /** The newest run of this Promotion document that ended after record `since`. */
  runOf(environment: string, application: string, promotion: Digest, since: number): PastRun | null {
    const run = this.#runs.get(`${environment}/${application} ${promotion}`);
    return run !== undefined && run.outcome.seq > since ? run : null;
  }

  /** The newest record after `since` with which a document was put in force as it is in `digest`, null: with which it went; null where there is none. */
  inForceWith(key: DocumentKey, digest: Digest | null, since: number): number | null {
    const seq = this.#inForce.get(`${key} ${digest ?? ''}`);
    return seq !== undefined && seq > since ? seq : null;
  }

  /** The record with which the log first saw the target branch with this commit in it; null where it has not, or where that is long ago. */
  async seenWith(reader: GitReader, commit: CommitId): Promise<number | null> {
    const tips = this.#tips;
    if (tips.length === 0 || !(await isIn(reader, commit, tips.at(-1)?.commit))) return null;
    let [low, high] = [0, tips.length - 1];
    while (low < high) {
      const middle = (low + high) >> 1;
      if (await isIn(reader, commit, tips[middle]?.commit)) high = middle;
      else low = middle + 1;
    }
    return tips[low]?.seq ?? null;
  }
}

/** The oldest gives way. */
function put<Key, Value>(map: Map<Key, Value>, key: Key, value: Value): void {
  map.delete(key);
  const oldest = map.size >= limits.trailEntries ? map.keys().next().value : undefined;
  if (oldest !== undefined) map.delete(oldest);
  map.set(key, value);
}

/** Whether `tip` has this commit in it; one that is not here is in nothing that is. */
export async function isIn(reader: GitReader, commit: CommitId, tip: CommitId | undefined): Promise<boolean> {
  return tip !== undefined && (await isHere(reader, commit)) && reader.isAncestor(commit, tip);
}
