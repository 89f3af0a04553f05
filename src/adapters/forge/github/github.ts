import { limits } from '../../../core/model/limits.ts';
import { type Forge, ForgeError, type ForgeLimits, type ForgeProposal, type ForgeSettings, type ForgeStatus, type ForgeWorld } from '../../../ports/forge.ts';
import { Fields, listOf } from '../answer.ts';
import { createForgeHttp, type ForgeHttp, type Query, segment } from '../http-client.ts';
import { collectPages, hasNextLink, type Page } from '../pages.ts';
import { branchOf, cutTo, parseRepositoryName, type RepositoryName } from '../repository-name.ts';
import { protectionOf } from './protection.ts';
import { mergedAtOf, readComment } from '../pull-answers.ts';
import { readProposal, readQueueEntry } from './read-answers.ts';

const PUBLIC = 'https://api.github.com';
const PAGE = 100;
const LIMITS: ForgeLimits = { commentChars: 65_536, descriptionChars: 140 };
/** GitHub takes 80 requests a minute that make content, and asks for one second between many writes. Source: "Best practices for using the REST API". */
const PACE = { burst: 20, perSecond: 1 } as const;

/**
 * GitHub and GitHub Enterprise (base URL `https://host/api/v3`), by REST.
 * @throws ForgeError `Refused`, `OfflineRefused`
 */
export function openGitHub(settings: ForgeSettings, world: ForgeWorld): Forge {
  const repository = parseRepositoryName(settings.repository);
  const http = createForgeHttp({
    name: 'GitHub', url: settings.url ?? PUBLIC, token: settings.token, world, pace: PACE,
    headers: (token) => ({ accept: 'application/vnd.github+json', authorization: `Bearer ${token}`, 'x-github-api-version': '2022-11-28' }),
  });
  return forgeOver(http, repository, settings.account);
}

function forgeOver(http: ForgeHttp, repository: RepositoryName, account: string | null): Forge {
  const at = repository.path;
  return {
    type: 'github',
    limits: LIMITS,
    listOpen: (baseRef) => listOpen(http, at, { base: branchOf(baseRef) }),
    listMerged: (baseRef, since) => listMerged(http, at, branchOf(baseRef), since.toISOString()),
    listQueued: async (baseRef) => {
      const prefix = `heads/gh-readonly-queue/${branchOf(baseRef)}/`;
      const { body } = await http.get(`${at}/git/matching-refs/${segment(prefix)}`);
      return listOf(body, 'a list of refs').map((one) => readQueueEntry(one, `refs/${prefix}`)).filter((entry) => entry !== null);
    },
    read: async (number) => readProposal((await http.get(`${at}/pulls/${segment(number)}`)).body),
    setStatus: (commit, status) => setStatus(http, at, commit, status),
    listComments: async (number) => (await collectPages({
      limit: limits.forgeComments, read: pagesOf(http, `${at}/issues/${segment(number)}/comments`, {}), take: readComment, idOf: ({ id }) => id,
    })).values,
    addComment: async (number, body) => readComment((await http.send('POST', `${at}/issues/${segment(number)}/comments`, { body })).body),
    editComment: async (_number, { id }, body) => {
      await http.send('PATCH', `${at}/issues/comments/${segment(id)}`, { body });
    },
    whoAmI: async () => account ?? (await whoAmI(http)),
    mayWrite: (who) => mayWrite(http, at, who),
    open: (proposal) => open(http, repository, proposal),
    protectionOf: (ref) => protectionOf(http, at, ref),
  };
}

/** Reads one page of a list after the other. */
function pagesOf(http: ForgeHttp, path: string, query: Query): (page: number) => Promise<Page> {
  return async (page) => {
    const { body, headers } = await http.get(path, { ...query, per_page: PAGE, page });
    return { items: listOf(body, 'a list'), hasMore: hasNextLink(headers) };
  };
}

async function listOpen(http: ForgeHttp, at: string, filter: Query): ReturnType<Forge['listOpen']> {
  const read = pagesOf(http, `${at}/pulls`, { state: 'open', sort: 'updated', direction: 'desc', ...filter });
  const { values, isComplete } = await collectPages({ limit: limits.forgeProposals, read, take: readProposal, idOf: ({ number }) => number });
  return { proposals: values, isComplete };
}

/** Closed ones, newest update first: one that was merged since was updated since. */
async function listMerged(http: ForgeHttp, at: string, base: string, since: string): Promise<readonly ForgeProposal[]> {
  const { values } = await collectPages({
    limit: limits.forgeProposals,
    read: pagesOf(http, `${at}/pulls`, { state: 'closed', sort: 'updated', direction: 'desc', base }),
    take: (item) => {
      const proposal = readProposal(item);
      if (proposal.updatedAt < since) return 'stop';
      const mergedAt = mergedAtOf(item);
      return mergedAt === null || mergedAt < since ? null : { proposal, mergedAt };
    },
    idOf: ({ proposal }) => proposal.number,
  });
  return [...values].sort((one, other) => (one.mergedAt < other.mergedAt ? 1 : -1)).map(({ proposal }) => proposal);
}

async function setStatus(http: ForgeHttp, at: string, commit: string, { context, state, description, url }: ForgeStatus): Promise<void> {
  const target = url === null ? {} : { target_url: url };
  await http.send('POST', `${at}/statuses/${segment(commit)}`, { state, context, description: cutTo(LIMITS.descriptionChars, description), ...target });
}

async function whoAmI(http: ForgeHttp): Promise<string> {
  try {
    return new Fields((await http.get('/user')).body, 'a user').text('login');
  } catch (error) {
    if (!(error instanceof ForgeError) || error.code !== 'Unauthorized') throw error;
    throw new ForgeError('Unauthorized', `${error.message}. The token of an app has no account that it may look up: set forge.account to the name that its comments carry, such as stella[bot]`, { cause: error });
  }
}

async function mayWrite(http: ForgeHttp, at: string, account: string): Promise<boolean> {
  try {
    const { body } = await http.get(`${at}/collaborators/${segment(account)}/permission`);
    // `maintain` shows as write, `triage` as read.
    const permission = new Fields(body, 'a permission').text('permission');
    return permission === 'admin' || permission === 'write';
  } catch (error) {
    if (error instanceof ForgeError && error.code === 'NotFound') return false;
    throw error;
  }
}

/** Opening first, looking afterwards: so two that open at the same time get the same one. */
async function open(http: ForgeHttp, { owner, path }: RepositoryName, { title, body, branch, baseRef }: Parameters<Forge['open']>[0]): Promise<ForgeProposal> {
  const base = branchOf(baseRef);
  try {
    return readProposal((await http.send('POST', `${path}/pulls`, { title, body, head: branch, base })).body);
  } catch (error) {
    if (!(error instanceof ForgeError) || error.code !== 'Refused') throw error;
    const { proposals } = await listOpen(http, path, { base, head: `${owner}:${branch}` });
    const found = proposals.find((one) => one.head.branch === branch && !one.isFork);
    if (found === undefined) throw error;
    return found;
  }
}
