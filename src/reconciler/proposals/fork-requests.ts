import type { CommitId } from '../../core/model/commit-id.ts';
import { limits } from '../../core/model/limits.ts';
import type { ForgeComment, ForgeProposal } from '../../ports/forge.ts';
import type { ForgeAccess } from './forge-access.ts';
import { Pace } from './pace.ts';

/** `/stella plan`, alone or with the commit that is meant, at the begin of a comment. */
const REQUEST = /^\/stella plan(?:[ \t]+([0-9a-f]{40}|[0-9a-f]{64}))?[ \t]*(?:\r?\n|$)/;

/** A forge gives about so many with one answer. */
const COMMENTS_AT_ONCE = 100;

type Seen = { readonly head: CommitId; readonly since: number };

/**
 * Which forks may be planned (T18): those for whose very head somebody with write permission asked. A later push needs another request. A request that
 * names no commit means the head that we had been seeing for a while when it was written: one who pushes right before it cannot
 * slip another commit under it, and neither can a clock that differs from ours.
 */
export class ForkRequests {
  readonly #now: () => Date;
  readonly #pace: Pace;
  /** When the comments of each were asked for last. */
  #triedAt = new Map<number, number>();
  #seen = new Map<number, Seen>();
  #read = new Map<number, { readonly version: string; readonly at: number }>();
  #granted = new Map<number, CommitId>();

  constructor(now: () => Date) {
    this.#now = now;
    this.#pace = new Pace(limits.forkRequests, now);
  }

  /** Of these open forks the ones that may be planned. A forge that does not answer grants nothing new. */
  async granted(access: ForgeAccess, forks: readonly ForgeProposal[]): Promise<ReadonlySet<number>> {
    this.#observe(forks);
    const longestAgo = [...forks].sort((a, b) => (this.#triedAt.get(a.number) ?? 0) - (this.#triedAt.get(b.number) ?? 0));
    for (const fork of longestAgo) {
      const { head: { commit }, number, updatedAt } = fork;
      const version = `${commit} ${updatedAt}`;
      if (this.#granted.get(number) === commit || this.#isRead(number, version, updatedAt)) continue;
      // Strangers write comments as often as they like, and what the forge lets us ask is for everybody.
      if (!this.#pace.take()) break;
      this.#triedAt.set(number, this.#now().getTime());
      const comments = await access.ask((forge) => forge.listComments(number));
      if (!comments.ok) continue;
      this.#pace.charge(comments.value.length / COMMENTS_AT_ONCE);
      const isGranted = await this.#isAsked(access, fork, comments.value);
      if (isGranted === null) continue;
      if (isGranted) this.#granted.set(number, commit);
      this.#read.set(number, { version, at: this.#now().getTime() });
    }
    return new Set(forks.filter(({ number, head }) => this.#granted.get(number) === head.commit).map(({ number }) => number));
  }

  /** A comment moves the time of the last update, but forges count seconds, and not all of them count every comment. */
  #isRead(number: number, version: string, updatedAt: string): boolean {
    const read = this.#read.get(number);
    if (read?.version !== version || read.at - Date.parse(updatedAt) < limits.forkHeadSeenMs) return false;
    return this.#now().getTime() - read.at < limits.forkRereadMs;
  }

  #observe(forks: readonly ForgeProposal[]): void {
    const now = this.#now().getTime();
    const isOpen = new Map(forks.map((fork) => [fork.number, fork.head.commit]));
    for (const memory of [this.#seen, this.#read, this.#granted, this.#triedAt]) for (const number of memory.keys()) if (!isOpen.has(number)) memory.delete(number);
    for (const [number, head] of isOpen) if (this.#seen.get(number)?.head !== head) this.#seen.set(number, { head, since: now });
  }

  /** @returns null when the forge did not say */
  async #isAsked(access: ForgeAccess, { number, head }: ForgeProposal, comments: readonly ForgeComment[]): Promise<boolean | null> {
    const seen = this.#seen.get(number);
    const requests = comments.filter((comment) => meant(comment, seen) === head.commit).map((comment) => comment.author);
    // Strangers may ask as often as they like; they are not looked up forever.
    for (const account of [...new Set(requests)].slice(-limits.forkRequesters)) {
      this.#pace.charge(1);
      const may = await access.ask((forge) => forge.mayWrite(account));
      if (!may.ok) return null;
      if (may.value) return true;
    }
    return false;
  }
}

/** The commit that a comment asks to plan, if it asks. */
function meant({ body, createdAt }: ForgeComment, seen: Seen | undefined): CommitId | null {
  const match = REQUEST.exec(body);
  if (match === null) return null;
  if (match[1] !== undefined) return match[1] as CommitId;
  const askedAt = Date.parse(createdAt);
  return seen !== undefined && askedAt >= seen.since + limits.forkHeadSeenMs ? seen.head : null;
}
