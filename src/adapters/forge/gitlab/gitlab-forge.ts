import type { CommitId } from '../../../core/model/commit-id.ts';
import { limits } from '../../../core/model/limits.ts';
import {
  type BranchProtection, type Forge, type ForgeComment, ForgeError, type ForgeProposal, type ForgeQueueEntry, type ForgeSettings, type ForgeStatus, type ForgeWorld,
} from '../../../ports/forge.ts';
import { Fields, invalidAnswer, listOf } from '../answer.ts';
import { createForgeHttp, type ForgeHttp, type Query, segment } from '../http-client.ts';
import { collectPages } from '../pages.ts';
import { branchOf, cutTo } from '../repository-name.ts';
import { commentOf, mergedAt, proposalOf, queueEntryOf } from './merge-requests.ts';
import { protectionOf } from './protection.ts';
import { withoutQuickActions } from './quick-actions.ts';
import { setStatus } from './statuses.ts';

const PUBLIC_API = 'https://gitlab.com/api/v4';
const PAGE = 100;
/** Developer, among GitLab's access levels: may push to branches that are not protected. */
const DEVELOPER = 30;
const TITLE_CHARS = 255;

/** One project on GitLab. The repository's name may have several parts: `group/subgroup/project`. */
export function openGitlab(settings: ForgeSettings, world: ForgeWorld): Forge {
  if (!/^[^/\s]+(\/[^/\s]+)+$/.test(settings.repository)) throw new ForgeError('Refused', 'forge.repository of GitLab is the path of the project: group/project, or group/subgroup/project');
  const http = createForgeHttp({
    name: 'GitLab', url: settings.url ?? PUBLIC_API, token: settings.token, world,
    // Project, group and personal access tokens and those of OAuth all go this way.
    headers: (token) => ({ authorization: `Bearer ${token}` }),
  });
  return new GitlabForge(http, `/projects/${segment(settings.repository)}`, settings.account);
}

class GitlabForge implements Forge {
  readonly type = 'gitlab';
  /** GitLab takes 1,000,000 characters in a comment; half of that leaves room for what is added to them. Source: GitLab REST API, "Notes" and "Commits". */
  readonly limits = { commentChars: 500_000, descriptionChars: 255 };
  readonly #http: ForgeHttp;
  /** Path of the project's resources. */
  readonly #project: string;
  #account: string | null;
  /** Refs of heads that no branch of the project holds, by commit. The oldest gives way. */
  readonly #forkRefs = new Map<CommitId, string>();

  constructor(http: ForgeHttp, project: string, account: string | null) {
    this.#http = http;
    this.#project = project;
    this.#account = account;
  }

  async listOpen(baseRef: string): Promise<{ readonly proposals: readonly ForgeProposal[]; readonly isComplete: boolean }> {
    const { values, isComplete } = await this.#collect(
      '/merge_requests', { state: 'opened', target_branch: branchOf(baseRef), order_by: 'updated_at', sort: 'desc' },
      proposalOf, ({ number }) => number, limits.forgeProposals,
    );
    for (const proposal of values) this.#remember(proposal);
    return { proposals: values, isComplete };
  }

  async listMerged(baseRef: string, since: Date): Promise<readonly ForgeProposal[]> {
    // Whatever was merged since was updated since.
    const query = { state: 'merged', target_branch: branchOf(baseRef), updated_after: since.toISOString(), order_by: 'updated_at', sort: 'desc' };
    const { values } = await this.#collect('/merge_requests', query, mergedSince(since), ({ proposal }) => proposal.number, limits.forgeProposals);
    return [...values].sort((a, b) => b.at - a.at).map(({ proposal }) => proposal);
  }

  /** Merge trains, which not every GitLab has. */
  async listQueued(baseRef: string): Promise<readonly ForgeQueueEntry[]> {
    try {
      const { values } = await this.#collect(`/merge_trains/${segment(branchOf(baseRef))}`, { scope: 'active', sort: 'asc' }, queueEntryOf, ({ number }) => number, limits.forgeProposals);
      return values;
    } catch (error) {
      if (error instanceof ForgeError && (error.code === 'Unauthorized' || error.code === 'NotFound')) return [];
      throw error;
    }
  }

  async read(number: number): Promise<ForgeProposal> {
    const { body } = await this.#http.get(`${this.#project}/merge_requests/${segment(number)}`);
    const proposal = readable(proposalOf(body));
    this.#remember(proposal);
    return proposal;
  }

  setStatus(commit: CommitId, status: ForgeStatus): Promise<void> {
    const cut = { ...status, description: cutTo(this.limits.descriptionChars, status.description) };
    return setStatus(this.#http, this.#project, { commit, ref: this.#forkRefs.get(commit) ?? null }, cut);
  }

  async listComments(number: number): Promise<readonly ForgeComment[]> {
    const { values } = await this.#collect(`/merge_requests/${segment(number)}/notes`, { order_by: 'created_at', sort: 'asc' }, commentOf, ({ id }) => id, limits.forgeComments);
    return values;
  }

  async addComment(number: number, body: string): Promise<ForgeComment> {
    const { body: note } = await this.#http.send('POST', `${this.#project}/merge_requests/${segment(number)}/notes`, { body: withoutQuickActions(body) });
    const comment = commentOf(note);
    if (comment === null) throw invalidAnswer('a note that was written is one of GitLab itself');
    return comment;
  }

  async editComment(number: number, { id }: Pick<ForgeComment, 'id'>, body: string): Promise<void> {
    await this.#http.send('PUT', `${this.#project}/merge_requests/${segment(number)}/notes/${segment(id)}`, { body: withoutQuickActions(body) });
  }

  async whoAmI(): Promise<string> {
    this.#account ??= new Fields((await this.#http.get('/user')).body, 'the user').text('username');
    return this.#account;
  }

  /** Whoever has the role Developer or a higher one, also by a group. */
  async mayWrite(account: string): Promise<boolean> {
    // The query finds parts of names as well, hence the comparison.
    const { values } = await this.#collect('/members/all', { query: account }, memberOf, ({ id }) => id, limits.forgeProposals);
    return values.some(({ username, isActive, level }) => username === account && isActive && level >= DEVELOPER);
  }

  async open({ title, body, branch, baseRef }: Parameters<Forge['open']>[0]): Promise<ForgeProposal> {
    const request = { source_branch: branch, target_branch: branchOf(baseRef), title: cutTo(TITLE_CHARS, title), description: withoutQuickActions(body), remove_source_branch: true };
    try {
      const { body: made } = await this.#http.send('POST', `${this.#project}/merge_requests`, request);
      return readable(proposalOf(made));
    } catch (error) {
      if (!(error instanceof ForgeError) || error.code !== 'Refused') throw error;
      const found = await this.#openFor(branch, baseRef);
      if (found === null) throw error;
      return found;
    }
  }

  protectionOf(ref: string): Promise<BranchProtection> {
    return protectionOf(this.#http, this.#project, ref);
  }

  /** The open one from a branch of the project itself: a fork may have a branch of the same name. */
  async #openFor(branch: string, baseRef: string): Promise<ForgeProposal | null> {
    const query = { state: 'opened', source_branch: branch, target_branch: branchOf(baseRef) };
    const { values } = await this.#collect('/merge_requests', query, proposalOf, ({ number }) => number, limits.forgeProposals);
    return values.find(({ isFork }) => !isFork) ?? null;
  }

  #remember({ isFork, head }: ForgeProposal): void {
    if (!isFork || head.fetchRef === null) return;
    this.#forkRefs.set(head.commit, head.fetchRef);
    const oldest = this.#forkRefs.size > limits.forgeProposals ? this.#forkRefs.keys().next().value : undefined;
    if (oldest !== undefined) this.#forkRefs.delete(oldest);
  }

  #collect<T>(path: string, query: Query, take: (item: unknown) => T | null, idOf: (value: T) => string | number, limit: number): Promise<{ readonly values: readonly T[]; readonly isComplete: boolean }> {
    return collectPages({
      limit, take, idOf,
      read: async (page) => {
        const { body } = await this.#http.get(this.#project + path, { ...query, per_page: PAGE, page });
        const items = listOf(body, 'a list');
        return { items, hasMore: items.length === PAGE };
      },
    });
  }
}

function mergedSince(since: Date): (value: unknown) => { readonly proposal: ForgeProposal; readonly at: number } | null {
  return (value) => {
    const proposal = proposalOf(value);
    const at = mergedAt(value) ?? (proposal === null ? 0 : Date.parse(proposal.updatedAt));
    return proposal === null || at < since.getTime() ? null : { proposal, at };
  };
}

function memberOf(value: unknown): { readonly id: number; readonly username: string; readonly isActive: boolean; readonly level: number } {
  const member = new Fields(value, 'a member');
  return { id: member.number('id'), username: member.text('username'), isActive: member.text('state') === 'active', level: member.countOrNull('access_level') ?? 0 };
}

function readable(proposal: ForgeProposal | null): ForgeProposal {
  if (proposal === null) throw new ForgeError('Unavailable', 'GitLab has not looked at the commits of this merge request yet; ask again in a moment');
  return proposal;
}
