import { splitPair } from '../core/model/names.ts';
import type { EvidenceRecord } from '../core/evidence/records.ts';

/** Decisions about one place, passes that wrote, and returns of one tag, each without anything new from outside. Far more than any chain of documents takes. */
export const LOOP_LIMITS = { decisions: 12, passes: 40, tagReturns: 6 } as const;
/** Inputs that are remembered, to tell new ones from those that come again. */
const REMEMBERED = 10_000;

/**
 * Tells a reconciler that talks to itself from one that answers others. Counts what is written without new input: a tip, an approval, a changed
 * document, a lock, the outcome of a run, a tag's digest, or a moment that a decision was waiting for. An input that comes again is no new one. Beyond a limit
 * the place, or everything, is written about no more until something new comes: nothing is forced, and an allow that lapses is not renewed. Holds
 * nothing that outlives the process; a restart begins to count anew.
 */
export class LoopGuard {
  readonly #seen = new Set<string>();
  readonly #decisions = new Map<string, number>();
  readonly #tags = new Map<string, number>();
  /** When the last decision of a place said that it may change by time. */
  readonly #due = new Map<string, string>();
  /** What was last allowed to run in a place. */
  readonly #allowed = new Map<string, string>();
  #passes = 0;

  /** Records that were pushed together. */
  note(records: readonly EvidenceRecord[]): void {
    if (records.length === 0) return;
    let hasNews = false;
    for (const record of records) hasNews = this.#noteOne(record) || hasNews;
    this.#passes = hasNews ? 0 : this.#passes + 1;
  }

  /** Places that are written about no more, by name. */
  get suspects(): readonly string[] {
    return [...this.#decisions].filter(([, count]) => count >= LOOP_LIMITS.decisions).map(([place]) => place).sort();
  }

  /** Whether a place must not be written about as of this moment; one that has come due may be. */
  isSuspect(place: string, asOf: string): boolean {
    return (this.#decisions.get(place) ?? 0) >= LOOP_LIMITS.decisions && !this.#isDue(place, asOf);
  }

  /** Whether a tag has gone back and forth so often that only a digest which it never had is worth a record. */
  holdsTag(repository: string, tag: string, digest: string): boolean {
    return (this.#tags.get(`${repository}:${tag}`) ?? 0) >= LOOP_LIMITS.tagReturns && this.#seen.has(tagInput(repository, tag, digest));
  }

  /** Whether these records must not be written: everything has written for too long, and they bring nothing new. */
  refuses(records: readonly EvidenceRecord[]): boolean {
    return this.#passes >= LOOP_LIMITS.passes && records.every((record) => !this.#isNews(record));
  }

  #isNews(record: EvidenceRecord): boolean {
    const input = this.#inputOf(record);
    if (input !== null) return !this.#seen.has(input);
    return record.type === 'promotion-decision' && this.#isDue(placeOf(record.predicate), record.header.asOf);
  }

  #noteOne(record: EvidenceRecord): boolean {
    const isNews = this.#isNews(record);
    const input = this.#inputOf(record);
    if (input !== null) this.#remember(input);
    if (record.type === 'promotion-decision') this.#noteDecision(record, isNews);
    else if (record.type === 'observation' && record.predicate.type === 'tag') this.#noteTag(`${record.predicate.repository}:${record.predicate.tag}`, isNews);
    else if (isNews) this.#forget(record);
    return isNews;
  }

  #noteDecision(record: Extract<EvidenceRecord, { type: 'promotion-decision' }>, wasDue: boolean): void {
    const { decision, runs } = record.predicate;
    const place = placeOf(record.predicate);
    if (decision.outcome === 'allow') this.#allowed.set(place, runs ?? 'nothing');
    this.#decisions.set(place, wasDue ? 1 : (this.#decisions.get(place) ?? 0) + 1);
    const due = decision.outcome === 'allow' ? decision.notAfter : decision.nextChangeAt;
    if (due === null) this.#due.delete(place);
    else this.#due.set(place, due);
  }

  #isDue(place: string, asOf: string): boolean {
    const due = this.#due.get(place);
    return due !== undefined && due <= asOf;
  }

  /** A first digest is where a tag begins; each return to one that it had is counted. */
  #noteTag(tag: string, isNews: boolean): void {
    this.#tags.set(tag, isNews ? 0 : (this.#tags.get(tag) ?? 0) + 1);
  }

  /** What this input can have an effect on begins anew. */
  #forget(record: EvidenceRecord): void {
    const reaches = reachOf(record);
    for (const place of this.#decisions.keys()) if (reaches(place)) this.#decisions.delete(place);
  }

  /** What a record brings from outside, by its value; null for what the reconciler says by itself. */
  #inputOf(record: EvidenceRecord): string | null {
    switch (record.type) {
      case 'observation': {
        const seen = record.predicate;
        return seen.type === 'tip' ? `tip ${seen.commit}` : seen.type === 'approval' ? `approval ${seen.artifact}` : tagInput(seen.repository, seen.tag, seen.digest);
      }
      case 'protected-change':
        return `change ${record.predicate.changeDigest ?? 'genesis'}`;
      case 'release-lock':
        return `lock ${record.predicate.lockDigest}`;
      case 'deployment-outcome': {
        // Not by its promotion, whose number rises: what runs again and again is no news each time.
        const place = placeOf(record.predicate);
        return `outcome ${place} ${record.predicate.operation} ${this.#allowed.get(place) ?? record.predicate.promotionDigest} ${record.predicate.result}`;
      }
      case 'anchor':
        return `anchor ${record.predicate.digest}`;
      case 'review':
        return `review ${record.predicate.promotionDigest}`;
      case 'promotion-decision':
        return null;
    }
  }

  #remember(input: string): void {
    this.#seen.delete(input);
    this.#seen.add(input);
    for (const oldest of this.#seen) {
      if (this.#seen.size <= REMEMBERED) break;
      this.#seen.delete(oldest);
    }
  }
}

function placeOf({ environment, application }: { readonly environment: string; readonly application: string }): string {
  return `${environment}/${application}`;
}

function tagInput(repository: string, tag: string, digest: string): string {
  return `tag ${repository}:${tag}@${digest}`;
}

function reachOf(record: EvidenceRecord): (place: string) => boolean {
  const ofPlace = (environment: string, application: string) => (place: string): boolean => place === `${environment}/${application}`;
  const ofApplication = (application: string) => (place: string): boolean => splitPair(place)[1] === application;
  switch (record.type) {
    case 'observation': {
      const seen = record.predicate;
      if (seen.type === 'tip') return () => true;
      return seen.type === 'approval' && seen.subject !== null ? ofPlace(seen.subject.environment, seen.subject.application) : () => false;
    }
    case 'release-lock':
      return ofApplication(record.predicate.application);
    case 'deployment-outcome':
      // Any place may wait for what runs here, or for its run to end: gates of type dependency and concurrency.
      return () => true;
    case 'review':
      return ofPlace(record.predicate.environment, record.predicate.application);
    case 'protected-change':
    case 'anchor':
      return () => true;
    case 'promotion-decision':
      return () => false;
  }
}
