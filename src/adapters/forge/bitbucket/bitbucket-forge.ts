import type { CommitId } from '../../../core/model/commit-id.ts';
import { limits } from '../../../core/model/limits.ts';
import {
  type BranchProtection, type Forge, type ForgeComment, ForgeError, type ForgeProposal, type ForgeQueueEntry, type ForgeSettings, type ForgeStatus, type ForgeWorld,
} from '../../../ports/forge.ts';
import { Fields, invalidAnswer } from '../answer.ts';
import { createForgeHttp, type ForgeHttp, type Query, segment } from '../http-client.ts';
import { collectPages } from '../pages.ts';
import { branchOf, cutTo } from '../repository-name.ts';
import { FullCommits } from './full-commits.ts';
import { protectionOf } from './protection.ts';
import { accountOf, commentOf, type ListedPullRequest, proposalOf, pullRequestOf } from './pull-requests.ts';

const PUBLIC_API = 'https://api.bitbucket.org/2.0';
const PUBLIC_PAGES = 'https://bitbucket.org';
/** Bitbucket gives at most 50 pull requests on one page. */
const PAGE = 50;

const STATES: Readonly<Record<ForgeStatus['state'], string>> = { pending: 'INPROGRESS', success: 'SUCCESSFUL', failure: 'FAILED', error: 'FAILED' };

/** Reads a list of the repository, page by page. */
export type Collect = <T>(
  path: string, query: Query, take: (item: unknown) => T | null | 'stop', idOf: (value: T) => string | number, limit: number,
) => Promise<{ readonly values: readonly T[]; readonly isComplete: boolean }>;

/** One repository on Bitbucket Cloud. */
export function openBitbucket(settings: ForgeSettings, world: ForgeWorld): Forge {
  const [workspace = '', slug = '', ...more] = settings.repository.split('/');
  if (workspace === '' || slug === '' || more.length > 0) throw new ForgeError('Refused', 'forge.repository of Bitbucket is workspace/repository, as in its address');
  const http = createForgeHttp({
    name: 'Bitbucket', url: settings.url ?? PUBLIC_API, token: settings.token, world,
    // Access tokens and OAuth go as they are; `user:password` is for API tokens of a person, which Bitbucket takes as a password only.
    headers: (token) => ({ authorization: token.includes(':') ? `Basic ${Buffer.from(token, 'utf8').toString('base64')}` : `Bearer ${token}` }),
  });
  return new BitbucketForge(http, { workspace, slug }, settings.account);
}

class BitbucketForge implements Forge {
  readonly type = 'bitbucket';
  /** Source: Bitbucket Cloud answers 400 to a longer comment or description of a build. */
  readonly limits = { commentChars: 32_767, descriptionChars: 255 };
  readonly #http: ForgeHttp;
  readonly #workspace: string;
  readonly #slug: string;
  readonly #commits: FullCommits;
  #account: string | null;

  constructor(http: ForgeHttp, { workspace, slug }: { readonly workspace: string; readonly slug: string }, account: string | null) {
    this.#http = http;
    this.#workspace = workspace;
    this.#slug = slug;
    this.#account = account;
    this.#commits = new FullCommits(http, this.#repository);
  }

  async listOpen(baseRef: string): Promise<{ readonly proposals: readonly ForgeProposal[]; readonly isComplete: boolean }> {
    const { values, isComplete } = await this.#pullRequests({ state: 'OPEN', q: `destination.branch.name = ${quoted(branchOf(baseRef))}` }, limits.forgeProposals);
    const proposals = await this.#complete(values);
    return { proposals, isComplete: isComplete && proposals.length === values.length };
  }

  async listMerged(baseRef: string, since: Date): Promise<readonly ForgeProposal[]> {
    // Bitbucket does not say when it was merged; whatever was merged since was updated since.
    const q = `destination.branch.name = ${quoted(branchOf(baseRef))} AND updated_on >= ${since.toISOString()}`;
    const { values } = await this.#pullRequests({ state: 'MERGED', q }, limits.forgeProposals);
    return await this.#complete(values.filter(({ proposal }) => Date.parse(proposal.updatedAt) >= since.getTime()));
  }

  /** Bitbucket Cloud makes no commit to try a proposal before it merges it. */
  listQueued(): Promise<readonly ForgeQueueEntry[]> {
    return Promise.resolve([]);
  }

  async read(number: number): Promise<ForgeProposal> {
    const { body } = await this.#http.get(`${this.#repository}/pullrequests/${segment(number)}`);
    return await this.#one(withHead(pullRequestOf(body, this.#fullName)));
  }

  /** A status with the same key is written over. Bitbucket wants an address in each: without one it is the commit's. */
  async setStatus(commit: CommitId, { context, state, description, url }: ForgeStatus): Promise<void> {
    const status = { type: 'build', key: context, name: context, state: STATES[state], description: cutTo(this.limits.descriptionChars, description), url: url ?? `${PUBLIC_PAGES}/${this.#fullName}/commits/${commit}` };
    await this.#http.send('POST', `${this.#repository}/commit/${segment(commit)}/statuses/build`, status);
  }

  async listComments(number: number): Promise<readonly ForgeComment[]> {
    const { values } = await this.#collect(`/pullrequests/${segment(number)}/comments`, { sort: 'created_on' }, commentOf, ({ id }) => id, limits.forgeComments);
    return values;
  }

  async addComment(number: number, body: string): Promise<ForgeComment> {
    const { body: made } = await this.#http.send('POST', `${this.#repository}/pullrequests/${segment(number)}/comments`, { type: 'pullrequest_comment', content: { raw: body } });
    const comment = commentOf(made);
    if (comment === null) throw invalidAnswer('a comment that was written is deleted');
    return comment;
  }

  async editComment(number: number, { id }: Pick<ForgeComment, 'id'>, body: string): Promise<void> {
    await this.#http.send('PUT', `${this.#repository}/pullrequests/${segment(number)}/comments/${segment(id)}`, { type: 'pullrequest_comment', content: { raw: body } });
  }

  /** The UUID. Tokens of a repository may not ask: then `forge.account` has it. */
  async whoAmI(): Promise<string> {
    this.#account ??= new Fields((await this.#http.get('/user')).body, 'the user').text('uuid');
    return this.#account;
  }

  async mayWrite(account: string): Promise<boolean> {
    const path = `/workspaces/${segment(this.#workspace)}/permissions/repositories/${segment(this.#slug)}`;
    const { body } = await this.#http.get(path, { q: `user.uuid = ${quoted(account)}`, pagelen: PAGE });
    const permissions = new Fields(body, 'the permissions').list('values').map((value) => new Fields(value, 'a permission'));
    return permissions.some((one) => accountOf(one.objectOrNull('user')) === account && ['write', 'admin'].includes(one.text('permission')));
  }

  async open({ title, body, branch, baseRef }: Parameters<Forge['open']>[0]): Promise<ForgeProposal> {
    const q = `source.branch.name = ${quoted(branch)} AND destination.branch.name = ${quoted(branchOf(baseRef))}`;
    const { values } = await this.#pullRequests({ state: 'OPEN', q }, limits.forgeProposals);
    const found = values.find(({ proposal }) => !proposal.isFork);
    if (found !== undefined) return await this.#one(found);
    const request = { type: 'pullrequest', title, description: body, source: { branch: { name: branch } }, destination: { branch: { name: branchOf(baseRef) } }, close_source_branch: true };
    const { body: made } = await this.#http.send('POST', `${this.#repository}/pullrequests`, request);
    return await this.#one(withHead(pullRequestOf(made, this.#fullName)));
  }

  protectionOf(ref: string): Promise<BranchProtection> {
    return protectionOf((...list) => this.#collect(...list), ref);
  }

  get #fullName(): string {
    return `${this.#workspace}/${this.#slug}`;
  }

  get #repository(): string {
    return `/repositories/${segment(this.#workspace)}/${segment(this.#slug)}`;
  }

  #pullRequests(query: Query, limit: number): Promise<{ readonly values: readonly ListedPullRequest[]; readonly isComplete: boolean }> {
    const take = (value: unknown): ListedPullRequest | null => pullRequestOf(value, this.#fullName);
    return this.#collect('/pullrequests', { ...query, sort: '-updated_on' }, take, ({ proposal }) => proposal.number, limit);
  }

  /** One after the other: each that is new costs a request, and Bitbucket counts them by the hour. One whose commit nobody can name holds up no other. */
  async #complete(listed: readonly ListedPullRequest[]): Promise<readonly ForgeProposal[]> {
    const proposals: ForgeProposal[] = [];
    for (const one of listed) {
      try {
        proposals.push(await this.#one(one));
      } catch (error) {
        if (!(error instanceof ForgeError) || (error.code !== 'NotFound' && error.code !== 'AnswerInvalid')) throw error;
      }
    }
    return proposals;
  }

  async #one(listed: ListedPullRequest): Promise<ForgeProposal> {
    const head = await this.#commits.headOf(listed);
    return proposalOf(listed, head, await this.#commits.mergeOf(listed));
  }

  readonly #collect: Collect = (path, query, take, idOf, limit) =>
    collectPages({
      limit, take, idOf,
      read: async (page) => {
        const { body } = await this.#http.get(this.#repository + path, { ...query, pagelen: PAGE, page });
        const list = new Fields(body, 'a list');
        // Only that there is a next page is read of its address: where it lies we know ourselves (T18).
        return { items: list.list('values'), hasMore: list.textOrNull('next') !== null };
      },
    });
}

function withHead(listed: ListedPullRequest | null): ListedPullRequest {
  if (listed === null) throw new ForgeError('NotFound', 'the fork or branch of this pull request is gone: it has no commits any more');
  return listed;
}

/** A text in Bitbucket's query language. @throws ForgeError `NotFound` for one that could end the text: no branch and no account holds such characters */
function quoted(text: string): string {
  if (/["\\\p{Cc}]/u.test(text)) throw new ForgeError('NotFound', 'a name with quotation marks or control characters cannot be looked up on Bitbucket');
  return `"${text}"`;
}
