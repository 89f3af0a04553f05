import type { CommitId } from '../../src/core/model/commit-id.ts';
import { limits } from '../../src/core/model/limits.ts';
import { ForgeError, type BranchProtection, type Forge, type ForgeComment, type ForgeErrorCode, type ForgeProposal, type ForgeQueueEntry, type ForgeStatus } from '../../src/ports/forge.ts';
import type { TestRepository } from './git-repository.ts';
import { TARGET_REF } from './world.ts';

type Changes = { -readonly [K in keyof ForgeProposal]?: ForgeProposal[K] };
type Method = Exclude<keyof Forge, 'type' | 'limits'>;

export const BOT = 'stella-bot';

/**
 * A forge in memory over a real repository: heads of proposals are refs of it, as on a forge. It counts what it is asked, tells callers to wait,
 * and takes rights away.
 */
export class ForgeMemory implements Forge {
  readonly type = 'memory';
  readonly limits = { commentChars: 65_536, descriptionChars: 140 };
  /** Names of the methods that were called, in order. */
  readonly calls: Method[] = [];
  /** Every status that was set, in order. */
  readonly statuses: (ForgeStatus & { readonly commit: CommitId })[] = [];
  readonly writers = new Set(['maintainer']);
  readonly #repository: TestRepository;
  readonly #now: () => Date;
  readonly #proposals = new Map<number, ForgeProposal>();
  readonly #comments = new Map<number, ForgeComment[]>();
  readonly #queue: ForgeQueueEntry[] = [];
  readonly #failures = new Map<Method, { readonly code: ForgeErrorCode; readonly retryAt: number | null; left: number }>();
  #numbers = 0;
  #ids = 0;

  constructor(repository: TestRepository, now: () => Date) {
    this.#repository = repository;
    this.#now = now;
  }

  // What people and forges do.

  /** Opens a proposal for a branch of the repository, or of a fork. */
  async propose(branch: string, options: { readonly isFork?: boolean; readonly author?: string; readonly baseRef?: string; readonly isDraft?: boolean } = {}): Promise<ForgeProposal> {
    const number = (this.#numbers += 1);
    const { isFork = false, author = 'dev', baseRef = TARGET_REF, isDraft = false } = options;
    const commit = (await this.#repository.tip(branch)) as CommitId;
    const fetchRef = `refs/pull/${number}/head`;
    await this.#repository.git(['update-ref', fetchRef, commit]);
    // In a fork the branch is not among ours.
    if (isFork) await this.#repository.git(['update-ref', '-d', `refs/heads/${branch}`]);
    const proposal: ForgeProposal = {
      number, title: branch, url: `https://forge.test/shop/pull/${number}`, state: 'open', isDraft, author, head: { fetchRef, branch, commit }, isFork, baseRef, mergeCommit: null, updatedAt: this.#now().toISOString(),
    };
    this.#proposals.set(number, proposal);
    return proposal;
  }

  /** Somebody pushed: by force or not, the head is there now. */
  async push(number: number, commit: CommitId): Promise<void> {
    const { head } = this.#of(number);
    await this.#repository.git(['update-ref', head.fetchRef ?? '', commit]);
    this.update(number, { head: { ...head, commit } });
  }

  update(number: number, changes: Changes): void {
    this.#proposals.set(number, { ...this.#of(number), ...changes, updatedAt: this.#now().toISOString() });
  }

  async merge(number: number, method: 'merge' | 'squash' | 'rebase'): Promise<CommitId> {
    const { head } = this.#of(number);
    const mergeCommit = method === 'rebase' ? await this.#rebase(head.commit) : await this.#repository[method]({ from: head.commit, message: `Merge #${number}` });
    this.update(number, { state: 'merged', mergeCommit });
    return mergeCommit;
  }

  say(number: number, author: string, body: string, createdAt: string = this.#now().toISOString()): void {
    this.#add(number, { author, body, createdAt });
    this.update(number, {});
  }

  enqueue(entry: ForgeQueueEntry): void {
    this.#queue.push(entry);
  }

  deleteComments(number: number): void {
    this.#comments.delete(number);
  }

  /** From now on this method fails, for ever or so many times. */
  fail(method: Method, code: ForgeErrorCode, options: { readonly retryAt?: number; readonly times?: number } = {}): void {
    this.#failures.set(method, { code, retryAt: options.retryAt ?? null, left: options.times ?? Infinity });
  }

  mend(): void {
    this.#failures.clear();
  }

  /** Newest status of a commit. */
  statusOf(commit: CommitId): ForgeStatus | undefined {
    return this.statuses.findLast((status) => status.commit === commit);
  }

  commentsOf(number: number): readonly ForgeComment[] {
    return this.#comments.get(number) ?? [];
  }

  countOf(method: Method): number {
    return this.calls.filter((call) => call === method).length;
  }

  // The port.

  async listOpen(baseRef: string): ReturnType<Forge['listOpen']> {
    this.#ask('listOpen');
    const open = this.#newest().filter((p) => p.state === 'open' && p.baseRef === baseRef);
    return { proposals: open.slice(0, limits.forgeProposals), isComplete: open.length <= limits.forgeProposals };
  }

  async listMerged(baseRef: string, since: Date): ReturnType<Forge['listMerged']> {
    this.#ask('listMerged');
    return this.#newest().filter((p) => p.state === 'merged' && p.baseRef === baseRef && Date.parse(p.updatedAt) >= since.getTime());
  }

  async listQueued(): ReturnType<Forge['listQueued']> {
    this.#ask('listQueued');
    return this.#queue;
  }

  async read(number: number): ReturnType<Forge['read']> {
    this.#ask('read');
    return this.#of(number);
  }

  async setStatus(commit: CommitId, status: ForgeStatus): Promise<void> {
    this.#ask('setStatus');
    this.statuses.push({ commit, ...status });
  }

  async listComments(number: number): ReturnType<Forge['listComments']> {
    this.#ask('listComments');
    return [...this.commentsOf(number)];
  }

  async addComment(number: number, body: string): ReturnType<Forge['addComment']> {
    this.#ask('addComment');
    return this.#add(number, { author: BOT, body, createdAt: this.#now().toISOString() });
  }

  async editComment(number: number, { id }: Pick<ForgeComment, 'id'>, body: string): Promise<void> {
    this.#ask('editComment');
    const comments = this.#comments.get(number) ?? [];
    const at = comments.findIndex((comment) => comment.id === id);
    const [old] = comments.slice(at, at + 1);
    if (at < 0 || old === undefined) throw new ForgeError('NotFound', 'no such comment');
    if (old.author !== BOT) throw new ForgeError('Unauthorized', 'not your comment');
    comments[at] = { ...old, body };
  }

  async whoAmI(): Promise<string> {
    this.#ask('whoAmI');
    return BOT;
  }

  async mayWrite(account: string): Promise<boolean> {
    this.#ask('mayWrite');
    return this.writers.has(account);
  }

  async open(p: Parameters<Forge['open']>[0]): ReturnType<Forge['open']> {
    this.#ask('open');
    return this.propose(p.branch, { baseRef: p.baseRef });
  }

  async protectionOf(ref: string): Promise<BranchProtection> {
    this.#ask('protectionOf');
    return { ref, forcePushBlocked: null, deletionBlocked: null, proposalRequired: null, requiredStatuses: null, pushers: null };
  }

  /** Each commit once more on top of main, unsigned, as a forge makes them. */
  async #rebase(head: CommitId): Promise<CommitId> {
    const git = (args: readonly string[]): Promise<string> => this.#repository.git(args);
    let onto = (await this.#repository.tip()) as string;
    const own = (await git(['rev-list', '--reverse', `${onto}..${head}`])).split('\n');
    for (const commit of own) {
      const tree = (await git(['merge-tree', '--write-tree', onto, commit])).split('\n')[0] ?? '';
      onto = await git(['-c', 'user.name=Forge', '-c', 'user.email=forge@example.test', 'commit-tree', tree, '-p', onto, '-m', 'Rebased']);
    }
    await this.#repository.setBranch('main', onto as CommitId);
    return onto as CommitId;
  }

  #ask(method: Method): void {
    this.calls.push(method);
    const failure = this.#failures.get(method);
    if (failure === undefined || failure.left <= 0) return;
    failure.left -= 1;
    throw new ForgeError(failure.code, `the forge answers ${failure.code} to ${method}`, { retryAt: failure.retryAt });
  }

  #add(number: number, comment: Omit<ForgeComment, 'id'>): ForgeComment {
    if (comment.body.length > this.limits.commentChars) throw new ForgeError('Refused', 'the body is too long');
    const added = { id: String((this.#ids += 1)), ...comment };
    this.#comments.set(number, [...this.commentsOf(number), added]);
    return added;
  }

  #of(number: number): ForgeProposal {
    const proposal = this.#proposals.get(number);
    if (proposal === undefined) throw new ForgeError('NotFound', `no proposal ${number}`);
    return proposal;
  }

  #newest(): readonly ForgeProposal[] {
    return [...this.#proposals.values()].sort((a, b) => (a.updatedAt === b.updatedAt ? b.number - a.number : a.updatedAt < b.updatedAt ? 1 : -1));
  }
}
