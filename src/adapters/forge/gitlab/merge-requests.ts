import { limits } from '../../../core/model/limits.ts';
import type { ForgeComment, ForgeProposal, ForgeQueueEntry } from '../../../ports/forge.ts';
import { Fields, invalidAnswer } from '../answer.ts';

const BRANCHES = 'refs/heads/';

/**
 * A merge request as GitLab lists it; null while GitLab has not looked at its commits yet.
 * Source: GitLab REST API, "Merge requests".
 */
export function proposalOf(value: unknown): ForgeProposal | null {
  const request = new Fields(value, 'a merge request');
  const number = request.number('iid');
  const commit = request.commitOrNull('sha');
  if (commit === null) return null;
  const state = stateOf(request.text('state'));
  // Without a merge commit and without a squashed one it was merged by moving the branch on to the head.
  const mergeCommit = request.commitOrNull('merge_commit_sha') ?? request.commitOrNull('squash_commit_sha') ?? commit;
  return {
    number, state,
    title: request.text('title'), url: request.text('web_url'), isDraft: request.flagOrNull('draft') ?? request.flag('work_in_progress'),
    author: request.object('author').text('username'),
    head: { fetchRef: `refs/merge-requests/${number}/head`, branch: request.text('source_branch'), commit },
    // The project of a fork that was deleted is null (T18).
    isFork: request.numberOrNull('source_project_id') !== request.number('target_project_id'),
    baseRef: BRANCHES + request.text('target_branch'),
    mergeCommit: state === 'merged' ? mergeCommit : null,
    updatedAt: request.instant('updated_at'),
  };
}

/** `locked` is one that is being merged at this moment. */
function stateOf(state: string): ForgeProposal['state'] {
  if (state === 'opened' || state === 'locked') return 'open';
  if (state === 'merged' || state === 'closed') return state;
  throw invalidAnswer('a merge request is in no state that GitLab describes');
}

/** When it was merged, as milliseconds since 1970; null where GitLab does not say. */
export function mergedAt(value: unknown): number | null {
  const at = new Fields(value, 'a merge request').instantOrNull('merged_at');
  return at === null ? null : Date.parse(at);
}

/** A comment; null for a note that GitLab itself wrote. */
export function commentOf(value: unknown): ForgeComment | null {
  const note = new Fields(value, 'a note');
  if (note.flag('system')) return null;
  return { id: String(note.number('id')), author: note.object('author').text('username'), body: note.text('body'), createdAt: note.instant('created_at') };
}

/** What waits in a merge train; null before GitLab has made its commit. Source: GitLab REST API, "Merge trains". */
export function queueEntryOf(value: unknown): ForgeQueueEntry | null {
  const car = new Fields(value, 'a merge train');
  const pipeline = car.objectOrNull('pipeline');
  const ref = pipeline?.textOrNull('ref') ?? null;
  if (pipeline === null || ref === null || !ref.startsWith('refs/merge-requests/') || ref.length > limits.refNameChars) return null;
  return { number: car.object('merge_request').number('iid'), ref, commit: pipeline.commit('sha') };
}
