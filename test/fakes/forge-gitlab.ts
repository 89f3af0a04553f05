import { readFileSync } from 'node:fs';
import { parse } from 'yaml';
import { type FakeAnswer, type FakeForge, type FakeProposal, type FakeRequest, type ForgeDialect, newestFirst, pageOf } from './forge-server.ts';
import { OpenApiDescription } from './openapi-check.ts';

const PROJECT = 7;
const LEVELS = { admin: 40, write: 30, read: 20, none: 0 } as const;

/** GitLab keeps a status as a job: one that waits cannot be told to wait again, and one that has ended is followed by a new one. */
type Job = { readonly id: number; readonly sha: string; readonly name: string; status: string; description: string; target_url: string | null };

/** Speaks like GitLab, version 4, about one project. Its description is our own: see the file. */
export function gitlabDialect(): ForgeDialect {
  const jobs: Job[] = [];
  const project = '/projects/{id}';
  return {
    type: 'gitlab', basePath: '/api/v4',
    description: new OpenApiDescription(parse(readFileSync(new URL('../fixtures/forges/gitlab.openapi.yaml', import.meta.url), 'utf8'))),
    isAuthorized: (request, token) => request.headers.authorization === `Bearer ${token}`,
    refusal: (status, message) => ({ status, body: { message: `${status} ${message}` } }),
    routes: {
      'GET /user': (forge) => ({ status: 200, body: userOf(forge, forge.account) }),
      [`GET ${project}`]: ours((forge) => ({ status: 200, body: { id: PROJECT, path_with_namespace: forge.repository, only_allow_merge_if_pipeline_succeeds: [...forge.protections.values()].some((one) => one.requiredStatuses.length > 0) } })),
      [`GET ${project}/merge_requests`]: ours(listRequests),
      [`POST ${project}/merge_requests`]: ours(openRequest),
      [`GET ${project}/merge_requests/{merge_request_iid}`]: ours(oneRequest((forge, proposal) => ({ status: 200, body: requestOf(forge, proposal) }))),
      [`GET ${project}/merge_requests/{merge_request_iid}/notes`]: ours(oneRequest(listNotes)),
      [`POST ${project}/merge_requests/{merge_request_iid}/notes`]: ours(oneRequest(addNote)),
      [`PUT ${project}/merge_requests/{merge_request_iid}/notes/{note_id}`]: ours(oneRequest(editNote)),
      [`GET ${project}/merge_trains/{target_branch}`]: ours(listTrain),
      [`POST ${project}/statuses/{sha}`]: ours((forge, request) => setStatus(forge, request, jobs)),
      [`GET ${project}/repository/commits/{sha}/statuses`]: ours((_forge, request) => listStatuses(request, jobs)),
      [`GET ${project}/members/all`]: ours(listMembers),
      [`GET ${project}/protected_branches`]: ours(listProtected),
    },
  };
}

type Route = (forge: FakeForge, request: FakeRequest) => FakeAnswer;

const notFound = (what: string): FakeAnswer => ({ status: 404, body: { message: `404 ${what} Not Found` } });

/** The project goes by its whole path, encoded. */
function ours(route: Route): Route {
  return (forge, request) => (request.operation.variables['id'] === forge.repository ? route(forge, request) : notFound('Project'));
}

function oneRequest(route: (forge: FakeForge, proposal: FakeProposal, request: FakeRequest) => FakeAnswer): Route {
  return (forge, request) => {
    const proposal = forge.proposals.find((one) => one.number === Number(request.operation.variables['merge_request_iid']));
    return proposal === undefined ? notFound('Merge Request') : route(forge, proposal, request);
  };
}

function userOf(forge: FakeForge, username: string): Readonly<Record<string, unknown>> {
  return { id: [...forge.permissions.keys()].indexOf(username) + 100, username, name: username, state: 'active' };
}

/** A merge commit of its own only where the branch was not just moved on to the head. */
function requestOf(forge: FakeForge, proposal: FakeProposal): Readonly<Record<string, unknown>> {
  const merged = proposal.mergeCommit === proposal.commit ? null : proposal.mergeCommit;
  return {
    id: 9000 + proposal.number, iid: proposal.number, title: proposal.title, description: proposal.body, state: proposal.state === 'open' ? 'opened' : proposal.state,
    source_branch: proposal.branch, target_branch: proposal.base, source_project_id: proposal.headRepository === forge.repository ? PROJECT : proposal.headRepository === null ? null : PROJECT + 1, target_project_id: PROJECT,
    author: userOf(forge, proposal.author), draft: proposal.isDraft, sha: proposal.commit, merge_commit_sha: merged, squash_commit_sha: null,
    web_url: `https://gitlab.example/${forge.repository}/-/merge_requests/${proposal.number}`, created_at: proposal.updatedAt, updated_at: proposal.updatedAt, merged_at: proposal.mergedAt,
  };
}

function listRequests(forge: FakeForge, request: FakeRequest): FakeAnswer {
  const { query } = request;
  const state = query.get('state') === 'opened' ? 'open' : query.get('state');
  const after = query.get('updated_after');
  const found = newestFirst(forge.proposals).filter((one) =>
    one.state === state && (query.get('target_branch') ?? one.base) === one.base && (query.get('source_branch') ?? one.branch) === one.branch && (after === null || Date.parse(one.updatedAt) >= Date.parse(after)));
  const { items, headers } = pageOf(found, request, 'per_page', '/merge_requests');
  return { status: 200, headers, body: items.map((one) => requestOf(forge, one)) };
}

function openRequest(forge: FakeForge, { body }: FakeRequest): FakeAnswer {
  const branch = String(body['source_branch']);
  const base = String(body['target_branch']);
  const commit = forge.branches.get(branch);
  if (commit === undefined) return { status: 400, body: { message: { source_branch: ['does not exist'] } } };
  if (forge.proposals.some((one) => one.state === 'open' && one.branch === branch && one.base === base && one.headRepository === forge.repository)) return { status: 409, body: { message: ['Another open merge request already exists for this source branch: !1'] } };
  const proposal: FakeProposal = {
    number: Math.max(0, ...forge.proposals.map((one) => one.number)) + 1, title: String(body['title']), body: String(body['description']), state: 'open', isDraft: false, author: forge.account,
    branch, commit, headRepository: forge.repository, base, mergeCommit: null, mergedAt: null, updatedAt: forge.now().toISOString(),
  };
  proposal.body = carriedOut(proposal, proposal.body);
  forge.proposals.push(proposal);
  return { status: 201, body: requestOf(forge, proposal) };
}

type Note = FakeForge['comments'][number];

function noteOf(forge: FakeForge, { id, body, author, createdAt, proposal }: Note, isSystem = false): Readonly<Record<string, unknown>> {
  return { id, body, author: userOf(forge, author), created_at: createdAt, updated_at: createdAt, system: isSystem, noteable_iid: proposal };
}

/** What GitLab itself says about a merge request stands between the comments. */
function listNotes(forge: FakeForge, proposal: FakeProposal, request: FakeRequest): FakeAnswer {
  const system = noteOf(forge, { id: 1, body: 'added 1 commit', author: proposal.author, createdAt: '2026-01-01T00:00:00.000Z', proposal: proposal.number }, true);
  const notes = [system, ...forge.comments.filter((one) => one.proposal === proposal.number).map((one) => noteOf(forge, one))];
  const { items, headers } = pageOf(notes, request, 'per_page', '/notes');
  return { status: 200, headers, body: items };
}

/** Lines that are commands are carried out and vanish, as GitLab does it. */
function carriedOut(proposal: FakeProposal, text: string): string {
  return text.replaceAll('\r', '').replace(/^\/(close|merge)(?: [^\n]*)?(?:\s*\n|$)/gim, (_line, command: string) => {
    proposal.state = command.toLowerCase() === 'close' ? 'closed' : 'merged';
    return '';
  });
}

function addNote(forge: FakeForge, proposal: FakeProposal, { body }: FakeRequest): FakeAnswer {
  const note: Note = { id: 5000 + forge.comments.length, proposal: proposal.number, author: forge.account, body: carriedOut(proposal, String(body['body'])), createdAt: forge.now().toISOString() };
  forge.comments.push(note);
  return { status: 201, body: noteOf(forge, note) };
}

function editNote(forge: FakeForge, proposal: FakeProposal, { body, operation }: FakeRequest): FakeAnswer {
  const note = forge.comments.find((one) => one.proposal === proposal.number && one.id === Number(operation.variables['note_id']));
  if (note === undefined) return notFound('Note');
  if (note.author !== forge.account) return { status: 403, body: { message: '403 Forbidden' } };
  note.body = carriedOut(proposal, String(body['body']));
  return { status: 200, body: noteOf(forge, note) };
}

/** A GitLab without merge trains has no queue. */
function listTrain(forge: FakeForge, { operation }: FakeRequest): FakeAnswer {
  if (forge.queue.size === 0) return { status: 403, body: { message: '403 Forbidden' } };
  const cars = [...forge.queue].map(([ref, sha], index) => ({
    id: 300 + index, merge_request: { iid: Number(/\d+/.exec(ref)?.[0] ?? 1) }, pipeline: { id: 400 + index, sha, ref }, target_branch: operation.variables['target_branch'], status: 'fresh',
  }));
  return { status: 200, body: [{ id: 299, merge_request: { iid: 77 }, pipeline: null, target_branch: operation.variables['target_branch'], status: 'idle' }, ...cars] };
}

const ENDED = ['success', 'failed', 'canceled', 'skipped'];

function setStatus(forge: FakeForge, { body, operation }: FakeRequest, jobs: Job[]): FakeAnswer {
  const sha = operation.variables['sha'] ?? '';
  const isKnown = [...forge.branches.values(), ...forge.queue.values(), ...forge.proposals.flatMap((one) => [one.mergeCommit, one.headRepository === forge.repository ? one.commit : null])].includes(sha);
  // The commit of a fork is there, and no branch of the project holds it: only its merge request does.
  const isRef = forge.proposals.some((one) => one.commit === sha && body['ref'] === `refs/merge-requests/${one.number}/head`);
  if (!isKnown && !isRef) return notFound('References for commit');
  const name = String(body['name'] ?? 'default');
  const state = String(body['state']);
  const current = jobs.findLast((job) => job.sha === sha && job.name === name && !ENDED.includes(job.status));
  if (current !== undefined && (state === current.status || (state === 'pending' && current.status === 'running'))) {
    const event = state === 'pending' ? 'enqueue' : 'run';
    return { status: 400, body: { message: `Cannot transition status via :${event} from :${current.status} (Reason(s): Status cannot transition via "${event}")` } };
  }
  const job = current ?? { id: 700 + jobs.length, sha, name, status: '', description: '', target_url: null };
  Object.assign(job, { status: state, description: String(body['description'] ?? ''), target_url: body['target_url'] ?? null });
  if (current === undefined) jobs.push(job);
  if (state !== 'canceled') forge.statuses.push({ commit: sha, context: name, state: { running: 'pending', failed: 'failure' }[state] ?? state, description: job.description, url: job.target_url });
  return { status: 201, body: { ...job } };
}

function listStatuses({ query, operation }: FakeRequest, jobs: readonly Job[]): FakeAnswer {
  const found = jobs.filter((job) => job.sha === operation.variables['sha'] && job.name === (query.get('name') ?? job.name));
  return { status: 200, body: (query.get('sort') === 'desc' ? found.toReversed() : found).slice(0, Number(query.get('per_page') ?? 20)) };
}

/** Finds parts of names too. */
function listMembers(forge: FakeForge, request: FakeRequest): FakeAnswer {
  const found = [...forge.permissions].filter(([name, permission]) => permission !== 'none' && name.includes(request.query.get('query') ?? ''));
  const { items, headers } = pageOf(found, request, 'per_page', '/members/all');
  return { status: 200, headers, body: items.map(([name, permission]) => ({ ...userOf(forge, name), access_level: LEVELS[permission] })) };
}

function listProtected(forge: FakeForge): FakeAnswer {
  if (!forge.isAdministrator) return { status: 403, body: { message: '403 Forbidden' } };
  const everybody = { id: 1, access_level: 30, access_level_description: 'Developers + Maintainers' };
  const nobody = { id: 2, access_level: 0, access_level_description: 'No one' };
  const rules = [...forge.protections].map(([name, rule], index) => {
    const named = (rule.pushers ?? []).map((pusher, at) => ({ id: 10 + at, access_level: null, access_level_description: pusher, user_id: 100 + at }));
    const pushing = rule.proposalRequired ? [nobody] : rule.pushers === null ? [everybody] : named;
    return { id: 50 + index, name, allow_force_push: !rule.forcePushBlocked, push_access_levels: pushing, merge_access_levels: [everybody] };
  });
  return { status: 200, body: rules };
}
