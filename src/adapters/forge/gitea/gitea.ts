import { limits } from '../../../core/model/limits.ts';
import { type BranchProtection, type Forge, ForgeError, type ForgeLimits, type ForgeProposal, type ForgeSettings, type ForgeStatus, type ForgeWorld } from '../../../ports/forge.ts';
import { Fields, listOf } from '../answer.ts';
import { createForgeHttp, type ForgeHttp, segment } from '../http-client.ts';
import { collectPages, hasNextLink } from '../pages.ts';
import { branchOf, cutTo, parseRepositoryName } from '../repository-name.ts';
import { mergedAtOf, readComment } from '../pull-answers.ts';
import { readProposal } from './read-answers.ts';

/** What an instance gives at most unless it is configured otherwise. */
const PAGE = 50;
const LIMITS: ForgeLimits = { commentChars: 65_536, descriptionChars: 255 };

/**
 * Gitea and Forgejo (base URL `https://host/api/v1`).
 * @throws ForgeError `Refused`, `OfflineRefused`
 */
export function openGitea(settings: ForgeSettings, world: ForgeWorld): Forge {
  if (settings.url === null) throw new ForgeError('Refused', 'set forge.url to the API of your Gitea or Forgejo, such as https://git.example.com/api/v1');
  const { path } = parseRepositoryName(settings.repository);
  const http = createForgeHttp({ name: 'Gitea', url: settings.url, token: settings.token, world, headers: (token) => ({ authorization: `token ${token}` }) });
  return {
    type: 'gitea',
    limits: LIMITS,
    listOpen: (baseRef) => listOpen(http, path, baseRef),
    listMerged: (baseRef, since) => listMerged(http, path, baseRef, since.toISOString()),
    listQueued: () => Promise.resolve([]),
    read: async (number) => readProposal((await http.get(`${path}/pulls/${segment(number)}`)).body),
    setStatus: (commit, status) => setStatus(http, path, commit, status),
    listComments: async (number) => {
      // Not in pages: all of them, oldest first.
      const { body } = await http.get(`${path}/issues/${segment(number)}/comments`);
      return listOf(body, 'a list of comments').slice(0, limits.forgeComments).map(readComment);
    },
    addComment: async (number, body) => readComment((await http.send('POST', `${path}/issues/${segment(number)}/comments`, { body })).body),
    editComment: async (_number, { id }, body) => {
      await http.send('PATCH', `${path}/issues/comments/${segment(id)}`, { body });
    },
    whoAmI: async () => settings.account ?? new Fields((await http.get('/user')).body, 'a user').text('login'),
    mayWrite: (account) => mayWrite(http, path, account),
    open: (proposal) => open(http, path, proposal),
    protectionOf: (ref) => protectionOf(http, path, ref),
  };
}

/** Older versions do not choose by base, so that is done here. */
function readPulls<T>(http: ForgeHttp, path: string, state: 'open' | 'closed', take: (item: unknown) => T | null | 'stop', idOf: (value: T) => number): Promise<{ readonly values: readonly T[]; readonly isComplete: boolean }> {
  return collectPages({
    limit: limits.forgeProposals,
    read: async (page) => {
      const { body, headers } = await http.get(`${path}/pulls`, { state, sort: 'recentupdate', limit: PAGE, page });
      return { items: listOf(body, 'a list of pull requests'), hasMore: hasNextLink(headers) };
    },
    take,
    idOf,
  });
}

async function listOpen(http: ForgeHttp, path: string, baseRef: string): ReturnType<Forge['listOpen']> {
  branchOf(baseRef);
  const take = (item: unknown): ForgeProposal | null => {
    const proposal = readProposal(item);
    return proposal.baseRef === baseRef ? proposal : null;
  };
  const { values, isComplete } = await readPulls(http, path, 'open', take, ({ number }) => number);
  return { proposals: values, isComplete };
}

async function listMerged(http: ForgeHttp, path: string, baseRef: string, since: string): Promise<readonly ForgeProposal[]> {
  branchOf(baseRef);
  const take = (item: unknown): { readonly proposal: ForgeProposal; readonly mergedAt: string } | null | 'stop' => {
    const proposal = readProposal(item);
    if (proposal.updatedAt < since) return 'stop';
    const mergedAt = mergedAtOf(item);
    return proposal.state !== 'merged' || proposal.baseRef !== baseRef || mergedAt === null || mergedAt < since ? null : { proposal, mergedAt };
  };
  const { values } = await readPulls(http, path, 'closed', take, ({ proposal }) => proposal.number);
  return [...values].sort((one, other) => (one.mergedAt < other.mergedAt ? 1 : -1)).map(({ proposal }) => proposal);
}

async function setStatus(http: ForgeHttp, path: string, commit: string, { context, state, description, url }: ForgeStatus): Promise<void> {
  const target = url === null ? {} : { target_url: url };
  await http.send('POST', `${path}/statuses/${segment(commit)}`, { state, context, description: cutTo(LIMITS.descriptionChars, description), ...target });
}

/** Only administrators of the repository may ask this of others. */
async function mayWrite(http: ForgeHttp, path: string, account: string): Promise<boolean> {
  try {
    const { body } = await http.get(`${path}/collaborators/${segment(account)}/permission`);
    const permission = new Fields(body, 'a permission').text('permission');
    return permission === 'owner' || permission === 'admin' || permission === 'write';
  } catch (error) {
    if (error instanceof ForgeError && error.code === 'NotFound') return false;
    throw error;
  }
}

/** Opening first, looking afterwards: so two that open at the same time get the same one. */
async function open(http: ForgeHttp, path: string, { title, body, branch, baseRef }: Parameters<Forge['open']>[0]): Promise<ForgeProposal> {
  try {
    return readProposal((await http.send('POST', `${path}/pulls`, { title, body, head: branch, base: branchOf(baseRef) })).body);
  } catch (error) {
    if (!(error instanceof ForgeError) || error.code !== 'Refused') throw error;
    const { proposals } = await listOpen(http, path, baseRef);
    const found = proposals.find((one) => one.head.branch === branch && !one.isFork);
    if (found === undefined) throw error;
    return found;
  }
}

/** A protected branch cannot be deleted. Its other settings show only to administrators; the required statuses to everyone. */
async function protectionOf(http: ForgeHttp, path: string, ref: string): Promise<BranchProtection> {
  const branch = new Fields((await http.get(`${path}/branches/${segment(branchOf(ref))}`)).body, 'a branch');
  if (!branch.flag('protected')) return { ref, forcePushBlocked: false, deletionBlocked: false, proposalRequired: false, requiredStatuses: [], pushers: null };
  const contexts = branch.flag('enable_status_check') ? textsIn(branch, 'status_check_contexts') : [];
  const rule = await ruleOf(http, path, branch.textOrNull('effective_branch_protection_name') ?? '');
  return {
    ref,
    // Before there was a setting for it, no protected branch took a force-push.
    forcePushBlocked: rule === null ? null : !rule.flag('enable_force_push'),
    deletionBlocked: true,
    proposalRequired: rule === null ? null : !rule.flag('enable_push'),
    requiredStatuses: contexts,
    pushers: rule === null ? null : pushersOf(rule),
  };
}

/** Null: whoever may write to the repository. */
function pushersOf(rule: Fields): readonly string[] | null {
  if (!rule.flag('enable_push')) return [];
  if (!rule.flag('enable_push_whitelist')) return null;
  const keys = rule.flag('push_whitelist_deploy_keys') ? ['deploy keys'] : [];
  return [...textsIn(rule, 'push_whitelist_usernames'), ...textsIn(rule, 'push_whitelist_teams'), ...keys].sort();
}

function textsIn(fields: Fields, name: string): readonly string[] {
  return (fields.listOrNull(name) ?? []).filter((one) => typeof one === 'string');
}

async function ruleOf(http: ForgeHttp, path: string, name: string): Promise<Fields | null> {
  try {
    return name === '' ? null : new Fields((await http.get(`${path}/branch_protections/${segment(name)}`)).body, 'a branch protection');
  } catch (error) {
    if (error instanceof ForgeError && (error.code === 'NotFound' || error.code === 'Unauthorized')) return null;
    throw error;
  }
}
