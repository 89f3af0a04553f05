import type { CommitId } from '../../../core/model/commit-id.ts';
import type { ForgeComment, ForgeProposal } from '../../../ports/forge.ts';
import { Fields, invalidAnswer } from '../answer.ts';

const BRANCHES = 'refs/heads/';

/**
 * A pull request as Bitbucket lists it: commits are named by their first digits there.
 * Source: Bitbucket Cloud REST API 2.0, schema `pullrequest`.
 */
export type ListedPullRequest = {
  readonly proposal: Omit<ForgeProposal, 'head' | 'mergeCommit'>;
  readonly branch: string;
  /** First digits of the head, and of the commit that the merge made; the latter null before it. */
  readonly head: string;
  readonly merge: string | null;
};

/**
 * Null where the source is gone: a fork that was deleted leaves a pull request without a head.
 * @param repository full name of the repository into which pull requests go
 */
export function pullRequestOf(value: unknown, repository: string): ListedPullRequest | null {
  const request = new Fields(value, 'a pull request');
  const source = request.object('source');
  const branch = source.objectOrNull('branch')?.textOrNull('name') ?? null;
  const head = source.objectOrNull('commit')?.textOrNull('hash') ?? null;
  if (branch === null || head === null) return null;
  const state = stateOf(request.text('state'));
  // A repository that is gone is not ours (T18).
  const from = source.objectOrNull('repository')?.textOrNull('full_name') ?? null;
  const merge = state === 'merged' ? request.objectOrNull('merge_commit')?.textOrNull('hash') ?? null : null;
  return {
    proposal: {
      number: request.number('id'), title: request.text('title'), url: request.object('links').object('html').text('href'), state, isDraft: request.flag('draft'),
      author: accountOf(request.objectOrNull('author')), isFork: from?.toLowerCase() !== repository.toLowerCase(),
      baseRef: BRANCHES + request.object('destination').object('branch').text('name'), updatedAt: request.instant('updated_on'),
    },
    branch, head: shortCommit(head), merge: merge === null ? null : shortCommit(merge),
  };
}

export function proposalOf({ proposal, branch }: ListedPullRequest, commit: CommitId, mergeCommit: CommitId | null): ForgeProposal {
  // Bitbucket keeps no ref for pull requests: a fork's head is in the fork only.
  return { ...proposal, head: { fetchRef: proposal.isFork ? null : BRANCHES + branch, branch, commit }, mergeCommit };
}

function stateOf(state: string): ForgeProposal['state'] {
  if (state === 'OPEN') return 'open';
  if (state === 'MERGED') return 'merged';
  if (state === 'DECLINED' || state === 'SUPERSEDED') return 'closed';
  throw invalidAnswer('a pull request is in no state that Bitbucket describes');
}

function shortCommit(text: string): string {
  if (!/^[0-9a-f]{12,64}$/.test(text)) throw invalidAnswer('a commit of a pull request is named by no digits of a commit id');
  return text;
}

/** Accounts go by their UUID: names and nicknames change and are not unique. An account that was deleted has none. */
export function accountOf(account: Fields | null): string {
  return account?.textOrNull('uuid') ?? 'deleted';
}

/** A comment; null for one that was deleted, and for one on a line of a file. */
export function commentOf(value: unknown): ForgeComment | null {
  const comment = new Fields(value, 'a comment');
  if (comment.flag('deleted') || comment.objectOrNull('inline') !== null) return null;
  return { id: String(comment.number('id')), author: accountOf(comment.objectOrNull('user')), body: comment.object('content').text('raw'), createdAt: comment.instant('created_on') };
}
