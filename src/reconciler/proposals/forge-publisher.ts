import type { CommitId } from '../../core/model/commit-id.ts';
import type { Digest } from '../../core/model/digest.ts';
import { limits } from '../../core/model/limits.ts';
import type { PlanStatus } from '../../core/proposal/plan-status.ts';
import type { ForgeComment } from '../../ports/forge.ts';
import type { ForgeAccess } from './forge-access.ts';
import { commentBody, type CommentParts, contentDigest, findSticky, type Marker, partsIn, type PlannedDigests } from './sticky-comment.ts';

export type WantedStatus = { readonly commit: CommitId; readonly status: PlanStatus; readonly url: string | null };
export type WantedComment = {
  readonly number: number;
  readonly head: CommitId;
  readonly onto: CommitId;
  readonly status: PlanStatus;
  /** Tells what is said of the merge from what was said before, without rendering it. */
  readonly content: Digest;
  readonly above: string | null;
  /** Promotion digests that were planned; null: what the comment has stays. */
  readonly planned: PlannedDigests | null;
  /** What was decided otherwise than planned. Where the plan is not known to this server, what the comment has says more. */
  readonly moved: { readonly text: string; readonly isWhole: boolean };
  /** Renders the plan; null: what the comment has stays. */
  readonly plan: ((maxChars: number) => string) | null;
};

type Held = { readonly id: string; readonly marker: Marker } & Omit<CommentParts, 'above'>;

/** Characters of a comment that are not the plan's: what nobody is shown, and what is said of the merge (`SAID_CHARS`, twice). */
const RESERVED_CHARS = 11_000;
/** Comments that are read at the same time after a start. */
const READ_TOGETHER = 8;

/**
 * Brings statuses and comments to a forge, as far as it does not have them: statuses first. What it has is remembered, and after a start read from
 * our own comments.
 */
export class ForgePublisher {
  readonly #access: ForgeAccess;
  readonly #scope: string;
  readonly #context: string;
  readonly #now: () => Date;
  readonly #statuses = new Map<CommitId, Digest>();
  readonly #comments = new Map<number, Held | null>();
  /** Proposals whose comment failed: they come last, so that one that is locked does not hold up all others. */
  readonly #failed = new Set<number>();
  /** The same for statuses. */
  readonly #failedCommits = new Set<CommitId>();
  /** Proposals with so many comments that ours may be among those that nobody lists. */
  readonly #flooded = new Set<number>();
  #account: string | null = null;
  #failures = 0;

  constructor(access: ForgeAccess, p: { readonly scope: string; readonly context: string; readonly now: () => Date }) {
    this.#access = access;
    this.#scope = p.scope;
    this.#context = p.context;
    this.#now = p.now;
  }

  /** Publications that failed, since the start. */
  get failures(): number {
    return this.#failures;
  }

  /** The tip that our comment says the proposal was planned onto. */
  ontoOf(number: number): CommitId | null {
    return this.#comments.get(number)?.marker.onto ?? null;
  }

  /** The promotion digests that our comment says were planned. */
  plannedOf(number: number): PlannedDigests {
    return this.#comments.get(number)?.planned ?? new Map();
  }

  /** Reads what a server before this one left, so that nothing is written again that is there. */
  async recall(proposals: readonly { readonly number: number; readonly head: CommitId }[]): Promise<void> {
    const unknown = proposals.filter(({ number }) => !this.#comments.has(number) && !this.#flooded.has(number)).sort((a, b) => Number(this.#failed.has(a.number)) - Number(this.#failed.has(b.number)));
    for (let i = 0; i < unknown.length && this.#access.isAnswering; i += READ_TOGETHER) {
      await Promise.all(unknown.slice(i, i + READ_TOGETHER).map(async ({ number, head }) => {
        const held = await this.#find(number);
        if (held === undefined) this.#failed.add(number);
        if (held != null && held.marker.head === head) this.#statuses.set(head, held.marker.status);
      }));
    }
  }

  /** Forgets proposals that are of no interest any more. What the forge has is found again if they come back. */
  keepOnly(commits: ReadonlySet<CommitId>, numbers: ReadonlySet<number>): void {
    for (const commit of this.#statuses.keys()) if (!commits.has(commit)) this.#statuses.delete(commit);
    for (const number of this.#comments.keys()) if (!numbers.has(number)) this.#comments.delete(number);
    for (const commit of this.#failedCommits) if (!commits.has(commit)) this.#failedCommits.delete(commit);
    for (const some of [this.#failed, this.#flooded]) for (const number of some) if (!numbers.has(number)) some.delete(number);
  }

  /** @returns whether nothing is left that could be set now */
  async setStatuses(wanted: readonly WantedStatus[]): Promise<boolean> {
    const begunAt = this.#now().getTime();
    const inOrder = [...wanted].sort((a, b) => Number(this.#failedCommits.has(a.commit)) - Number(this.#failedCommits.has(b.commit)));
    for (const { commit, status, url } of inOrder) {
      const digest = statusDigest(status);
      if (this.#statuses.get(commit) === digest) continue;
      if (!this.#access.isAnswering) return true;
      if (this.#isLate(begunAt)) return false;
      const set = await this.#access.ask((forge) => forge.setStatus(commit, { context: this.#context, state: status.state, description: cut(status.description, forge.limits.descriptionChars), url }));
      // Some forges let a commit carry a status only where a branch of theirs holds it, which no fork's is; the comment says the same.
      if (set.ok || set.code === 'NotFound') {
        this.#statuses.set(commit, digest);
        this.#failedCommits.delete(commit);
      } else {
        this.#failedCommits.add(commit);
        this.#failures += 1;
      }
    }
    return true;
  }

  /** @returns whether nothing is left that could be written now */
  async writeComments(wanted: readonly WantedComment[]): Promise<boolean> {
    const begunAt = this.#now().getTime();
    const inOrder = [...wanted].sort((a, b) => Number(this.#failed.has(a.number)) - Number(this.#failed.has(b.number)));
    for (const comment of inOrder) {
      if (this.#hasComment(comment) || this.#flooded.has(comment.number)) continue;
      if (!this.#access.isAnswering) return true;
      if (this.#isLate(begunAt)) return false;
      // A status that is not set yet comes first; its comment follows with it.
      if (this.#statuses.get(comment.head) !== statusDigest(comment.status)) continue;
      if (await this.#write(comment)) this.#failed.delete(comment.number);
      else {
        this.#failed.add(comment.number);
        this.#failures += 1;
      }
    }
    return true;
  }

  #hasComment({ number, head, status, content }: WantedComment): boolean {
    const marker = this.#comments.get(number)?.marker;
    return marker?.content === content && marker.head === head && marker.status === statusDigest(status);
  }

  async #write(wanted: WantedComment): Promise<boolean> {
    const { number } = wanted;
    const held = this.#comments.get(number) ?? (await this.#find(number));
    if (held === undefined) return this.#flooded.has(number);
    if (held !== null && this.#hasComment(wanted)) return true;
    const marker: Marker = { scope: this.#scope, head: wanted.head, onto: wanted.onto, status: statusDigest(wanted.status), content: wanted.content };
    const { commentChars } = this.#access.limits;
    const parts = {
      planned: wanted.planned ?? held?.planned ?? new Map<string, Digest>(), moved: wanted.moved.isWhole || held === null || held.moved === '' ? wanted.moved.text : held.moved,
      plan: wanted.plan === null ? (held?.plan ?? '') : wanted.plan(commentChars - RESERVED_CHARS),
    };
    const body = cut(commentBody(marker, { ...parts, above: wanted.above }), commentChars);
    if (held !== null) {
      const edited = await this.#access.ask((forge) => forge.editComment(number, { id: held.id }, body));
      if (edited.ok) this.#comments.set(number, { id: held.id, marker, ...parts });
      // Somebody deleted it: the next pass looks, and writes another.
      else if (edited.code === 'NotFound') this.#comments.delete(number);
      return edited.ok;
    }
    const added = await this.#access.ask((forge) => forge.addComment(number, body));
    // A comment may have arrived although the answer did not: it is looked for before another is written.
    if (added.ok) this.#comments.set(number, { id: added.value.id, marker, ...parts });
    else this.#comments.delete(number);
    return added.ok;
  }

  /** Our comment, null where there is none, undefined where the forge does not say, or has too many. */
  async #find(number: number): Promise<Held | null | undefined> {
    if (this.#account === null) {
      const account = await this.#access.ask((forge) => forge.whoAmI());
      if (!account.ok) return undefined;
      this.#account = account.value;
    }
    const comments = await this.#access.ask((forge) => forge.listComments(number));
    if (!comments.ok) return undefined;
    const held = heldIn(comments.value, this.#account, this.#scope);
    // Ours may be a later one: rather none than a second one after each start.
    if (held === null && comments.value.length >= limits.forgeComments) {
      this.#flooded.add(number);
      return undefined;
    }
    this.#comments.set(number, held);
    return held;
  }

  #isLate(begunAt: number): boolean {
    return this.#now().getTime() - begunAt > limits.proposalPublishingMs;
  }
}

function heldIn(comments: readonly ForgeComment[], account: string, scope: string): Held | null {
  const sticky = findSticky(comments, account, scope);
  return sticky === null ? null : { id: sticky.comment.id, marker: sticky.marker, ...partsIn(sticky.comment.body) };
}

export function statusDigest({ state, description }: PlanStatus): Digest {
  return contentDigest(state, description);
}

/** Never through the middle of a character; an ellipsis says that something is missing. */
function cut(text: string, maxChars: number): string {
  return text.length <= maxChars ? text : `${text.slice(0, maxChars - 1).replace(/[\uD800-\uDBFF]$/, '')}…`;
}
