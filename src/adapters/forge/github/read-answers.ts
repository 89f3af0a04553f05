import type { CommitId } from '../../../core/model/commit-id.ts';
import type { ForgeProposal, ForgeQueueEntry } from '../../../ports/forge.ts';
import { Fields } from '../answer.ts';
import { loginIn } from '../pull-answers.ts';

/** A pull request, from a list or by itself. */
export function readProposal(value: unknown): ForgeProposal {
  const pull = new Fields(value, 'a pull request');
  const head = pull.object('head');
  const base = pull.object('base');
  const number = pull.number('number');
  const isMerged = pull.instantOrNull('merged_at') !== null;
  // Null where the fork was deleted.
  const headRepository = head.objectOrNull('repo');
  return {
    number,
    title: pull.text('title'),
    url: pull.text('html_url'),
    state: isMerged ? 'merged' : pull.text('state') === 'open' ? 'open' : 'closed',
    isDraft: pull.flag('draft'),
    author: loginIn(pull),
    head: { fetchRef: `refs/pull/${number}/head`, branch: head.text('ref'), commit: head.commit('sha') },
    isFork: headRepository === null || headRepository.number('id') !== base.object('repo').number('id'),
    baseRef: `refs/heads/${base.text('ref')}`,
    // Before the merge it is a commit that GitHub makes to try the merge.
    mergeCommit: isMerged ? pull.commitOrNull('merge_commit_sha') : null,
    updatedAt: pull.instant('updated_at'),
  };
}

/** A ref of the merge queue, `refs/heads/gh-readonly-queue/<base>/pr-<number>-<commit of the base>`; null for another. */
export function readQueueEntry(value: unknown, prefix: string): ForgeQueueEntry | null {
  const found = new Fields(value, 'a ref');
  const ref = found.text('ref');
  const number = ref.startsWith(prefix) ? /^pr-([1-9]\d{0,9})-[0-9a-f]{40}([0-9a-f]{24})?$/.exec(ref.slice(prefix.length))?.[1] : undefined;
  if (number === undefined) return null;
  const commit: CommitId = found.object('object').commit('sha');
  return { number: Number(number), ref, commit };
}
