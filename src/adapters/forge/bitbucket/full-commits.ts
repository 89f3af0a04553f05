import type { CommitId } from '../../../core/model/commit-id.ts';
import { limits } from '../../../core/model/limits.ts';
import { Fields, invalidAnswer } from '../answer.ts';
import { type ForgeHttp, segment } from '../http-client.ts';
import type { ListedPullRequest } from './pull-requests.ts';

/**
 * Bitbucket names the commits of a pull request by their first twelve digits. The whole name comes from the pull request's own list of commits, newest first: anybody
 * can make two commits with the same first digits, and which of them the pull request has only that list says. Answers are remembered; the oldest gives way.
 */
export class FullCommits {
  readonly #http: ForgeHttp;
  /** Path of the repository's resources. */
  readonly #repository: string;
  readonly #known = new Map<string, CommitId>();

  constructor(http: ForgeHttp, repository: string) {
    this.#http = http;
    this.#repository = repository;
  }

  /** @throws ForgeError `NotFound` where Bitbucket knows no commit of these digits in the repository, or several */
  async headOf({ proposal, head }: ListedPullRequest): Promise<CommitId> {
    return await this.#remembered(`${proposal.number} ${head}`, async () => {
      const { body } = await this.#http.get(`${this.#repository}/pullrequests/${segment(proposal.number)}/commits`, { pagelen: 1 });
      const [newest] = new Fields(body, 'the commits of a pull request').list('values');
      const commit = newest === undefined ? null : new Fields(newest, 'a commit').commit('hash');
      // It is another where all commits have come into the target, and where somebody has just pushed.
      return commit?.startsWith(head) === true ? commit : await this.#lookUp(head);
    });
  }

  async mergeOf({ merge }: ListedPullRequest): Promise<CommitId | null> {
    return merge === null ? null : await this.#remembered(merge, () => this.#lookUp(merge));
  }

  async #lookUp(digits: string): Promise<CommitId> {
    const { body } = await this.#http.get(`${this.#repository}/commit/${segment(digits)}`);
    const commit = new Fields(body, 'a commit').commit('hash');
    if (!commit.startsWith(digits)) throw invalidAnswer('a commit does not begin with the digits that were asked for');
    return commit;
  }

  async #remembered(key: string, find: () => Promise<CommitId>): Promise<CommitId> {
    const known = this.#known.get(key);
    if (known !== undefined) return known;
    const found = await find();
    this.#known.set(key, found);
    const oldest = this.#known.size > 2 * limits.forgeProposals ? this.#known.keys().next().value : undefined;
    if (oldest !== undefined) this.#known.delete(oldest);
    return found;
  }
}
