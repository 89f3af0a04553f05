import type { CommitId } from '../../../core/model/commit-id.ts';
import { ForgeError, type ForgeStatus } from '../../../ports/forge.ts';
import { Fields, listOf } from '../answer.ts';
import { type ForgeHttp, segment } from '../http-client.ts';

type GitlabState = 'pending' | 'running' | 'success' | 'failed' | 'canceled';

/** A longer address is refused with the whole status. */
const URL_CHARS = 255;

const STATES: Readonly<Record<ForgeStatus['state'], GitlabState>> = { pending: 'pending', success: 'success', failure: 'failed', error: 'failed' };

/**
 * Sets a commit's status. GitLab keeps a status as a job, and a job that waits cannot be made to wait again, not even with other words. So one that waits
 * already is left alone where its words are right, begins to run where they are not, and is made anew where it runs. Statuses that have ended are never in the way.
 * Source: GitLab REST API, "Commits: set the pipeline status of a commit".
 * @param ref of a commit that no branch of the project holds, for which GitLab would find none; else null
 */
export async function setStatus(http: ForgeHttp, project: string, { commit, ref }: { readonly commit: CommitId; readonly ref: string | null }, status: ForgeStatus): Promise<void> {
  const post = (state: GitlabState): Promise<unknown> => {
    const body = { state, name: status.context, ...(ref === null ? {} : { ref }), description: status.description, ...(status.url === null || status.url.length > URL_CHARS ? {} : { target_url: status.url }) };
    return http.send('POST', `${project}/statuses/${segment(commit)}`, body);
  };
  try {
    await post(STATES[status.state]);
  } catch (error) {
    if (!(error instanceof ForgeError) || error.code !== 'Refused') throw error;
    const current = status.state === 'pending' ? await waitingStatus(http, project, commit, status.context) : null;
    if (current === null) throw error;
    if (current.description === status.description) return;
    if (current.state === 'running') {
      await post('canceled');
      await post('pending');
    } else {
      await post('running');
    }
  }
}

/** The newest status of this name on the commit, if it has not ended. */
async function waitingStatus(http: ForgeHttp, project: string, commit: CommitId, context: string): Promise<{ readonly state: 'pending' | 'running'; readonly description: string } | null> {
  const { body } = await http.get(`${project}/repository/commits/${segment(commit)}/statuses`, { name: context, order_by: 'id', sort: 'desc', per_page: 1 });
  const [newest] = listOf(body, 'the statuses of a commit');
  if (newest === undefined) return null;
  const fields = new Fields(newest, 'a status');
  const state = fields.text('status');
  return state === 'pending' || state === 'running' ? { state, description: fields.textOrNull('description') ?? '' } : null;
}
