import type { ForgeProposal } from '../../../ports/forge.ts';
import { Fields } from '../answer.ts';
import { loginIn } from '../pull-answers.ts';

export function readProposal(value: unknown): ForgeProposal {
  const pull = new Fields(value, 'a pull request');
  const head = pull.object('head');
  const base = pull.object('base');
  const number = pull.number('number');
  const title = pull.text('title');
  const isMerged = pull.flag('merged');
  // A head that was pushed to refs/for/… has no branch and no repository of its own, and whoever may read could push it (T18).
  const hasBranch = (head.textOrNull('label') ?? '') !== '';
  return {
    number,
    title,
    url: pull.text('html_url'),
    state: isMerged ? 'merged' : pull.text('state') === 'open' ? 'open' : 'closed',
    isDraft: pull.flagOrNull('draft') ?? /^(?:wip|draft)\s*:|^\[(?:wip|draft)\]/i.test(title),
    author: loginIn(pull),
    head: { fetchRef: `refs/pull/${number}/head`, branch: head.textOrNull('label') ?? '', commit: head.commit('sha') },
    isFork: !hasBranch || repositoryIdIn(head) === null || repositoryIdIn(head) !== repositoryIdIn(base),
    baseRef: `refs/heads/${base.text('ref')}`,
    mergeCommit: isMerged ? pull.commitOrNull('merge_commit_sha') : null,
    updatedAt: pull.instant('updated_at'),
  };
}

/** Null where the repository is gone: its id is then -1. */
function repositoryIdIn(branch: Fields): number | null {
  return branch.objectOrNull('repo')?.number('id') ?? null;
}
