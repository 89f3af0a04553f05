import { createHash } from 'node:crypto';
import { readFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import { addProposal, type FakeAnswer, type FakeComment, type FakeForge, type FakeProposal, type FakeRequest, type ForgeDialect, newestFirst, pageOf } from './forge-server.ts';
import { OpenApiDescription } from './openapi-check.ts';

/** GitHub, as its published description (npm: `@octokit/openapi`) says. */
export function githubDialect(): ForgeDialect {
  const path = createRequire(import.meta.url).resolve('@octokit/openapi/generated/api.github.com.json');
  return {
    type: 'github',
    description: new OpenApiDescription(JSON.parse(readFileSync(path, 'utf8'))),
    basePath: '',
    isAuthorized: ({ headers }, token) => headers.authorization === `Bearer ${token}` && headers['x-github-api-version'] === '2022-11-28',
    routes,
    refusal,
    // GitHub sends null for the repository of a head whose fork was deleted; its description forgets that.
    undescribed: /head\/repo must be object$/,
  };
}

function refusal(status: number, message: string): FakeAnswer {
  return { status, body: { message, documentation_url: 'https://docs.github.example/rest', status: String(status) } };
}

const NOT_FOUND = refusal(404, 'Not Found');

const routes: ForgeDialect['routes'] = {
  'GET /user': (forge) => ({ status: 200, body: { login: forge.account, user_view_type: 'public', type: 'User' } }),
  'GET /repos/{owner}/{repo}/pulls': (forge, request) => inRepository(forge, request, () => {
    const { query } = request;
    const [, headBranch] = (query.get('head') ?? '').split(':');
    const chosen = newestFirst(forge.proposals).filter((one) => (query.get('state') === 'open') === (one.state === 'open') && (query.get('base') ?? one.base) === one.base && (headBranch ?? one.branch) === one.branch);
    const { items, headers } = pageOf(chosen, request, 'per_page', `/repos/${forge.repository}/pulls`);
    return { status: 200, headers: withEtag(headers, items), body: items.map((one) => pullOf(forge, one)) };
  }),
  'POST /repos/{owner}/{repo}/pulls': (forge, request) => inRepository(forge, request, () => {
    const { head, base, title, body } = request.body as Readonly<Record<string, string>>;
    const branch = head ?? '';
    if (!forge.branches.has(branch)) return refusal(422, 'Validation Failed: head is invalid');
    if (forge.proposals.some((one) => one.state === 'open' && one.branch === branch && one.base === base && one.headRepository === forge.repository)) return refusal(422, `A pull request already exists for ${branch}.`);
    return { status: 201, body: pullOf(forge, addProposal(forge, { title: title ?? '', body: body ?? '', branch, base: base ?? '', commit: forge.branches.get(branch) ?? '', author: forge.account })) };
  }),
  'GET /repos/{owner}/{repo}/pulls/{pull_number}': (forge, request) => onProposal(forge, request, 'pull_number', (proposal) => {
    const body = pullOf(forge, proposal);
    return { status: 200, headers: withEtag({}, body), body };
  }),
  'GET /repos/{owner}/{repo}/issues/{issue_number}/comments': (forge, request) => onProposal(forge, request, 'issue_number', ({ number }) => {
    const { items, headers } = pageOf(forge.comments.filter((one) => one.proposal === number), request, 'per_page', `/repos/${forge.repository}/issues/${number}/comments`);
    return { status: 200, headers: withEtag(headers, items), body: items.map(commentOf) };
  }),
  'POST /repos/{owner}/{repo}/issues/{issue_number}/comments': (forge, request) => onProposal(forge, request, 'issue_number', ({ number }) => {
    const comment: FakeComment = { id: forge.comments.length + 101, proposal: number, author: forge.account, body: String(request.body['body']), createdAt: forge.now().toISOString() };
    forge.comments.push(comment);
    return { status: 201, body: commentOf(comment) };
  }),
  'PATCH /repos/{owner}/{repo}/issues/comments/{comment_id}': (forge, request) => inRepository(forge, request, () => {
    const comment = forge.comments.find(({ id }) => String(id) === request.operation.variables['comment_id']);
    if (comment === undefined) return NOT_FOUND;
    comment.body = String(request.body['body']);
    return { status: 200, body: commentOf(comment) };
  }),
  'POST /repos/{owner}/{repo}/statuses/{sha}': (forge, request) => inRepository(forge, request, () => {
    const { state = '', context = '', description = '', target_url: url = null } = request.body as { readonly state?: string; readonly context?: string; readonly description?: string; readonly target_url?: string };
    if (description.length > 140) return refusal(422, 'description is too long (maximum is 140 characters)');
    forge.statuses.push({ commit: request.operation.variables['sha'] ?? '', context, state, description, url });
    return { status: 201, body: { state, context, description, target_url: url } };
  }),
  'GET /repos/{owner}/{repo}/collaborators/{username}/permission': (forge, request) => inRepository(forge, request, () => {
    const permission = forge.permissions.get(request.operation.variables['username'] ?? '');
    return permission === undefined ? NOT_FOUND : { status: 200, body: { permission, role_name: permission, user: null } };
  }),
  'GET /repos/{owner}/{repo}/git/matching-refs/{ref}': (forge, request) => inRepository(forge, request, () => {
    const prefix = `refs/${request.operation.variables['ref'] ?? ''}`;
    const refs = [...forge.queue].filter(([ref]) => ref.startsWith(prefix));
    return { status: 200, body: refs.map(([ref, sha]) => ({ ref, object: { type: 'commit', sha } })) };
  }),
  'GET /repos/{owner}/{repo}/branches/{branch}': (forge, request) => onBranch(forge, request, (branch, sha) => {
    const protection = forge.protections.get(branch);
    const summary = { enabled: protection !== undefined, required_status_checks: { enforcement_level: 'everyone', contexts: protection?.requiredStatuses ?? [], checks: [] } };
    return { status: 200, body: { name: branch, commit: { sha }, protected: protection !== undefined || forge.rules.length > 0, protection: summary } };
  }),
  'GET /repos/{owner}/{repo}/branches/{branch}/protection': (forge, request) => onBranch(forge, request, (branch) => {
    const protection = forge.protections.get(branch);
    if (protection === undefined) return refusal(404, 'Branch not protected');
    if (!forge.isAdministrator) return refusal(403, 'Resource not accessible by personal access token');
    return {
      status: 200,
      body: {
        allow_force_pushes: { enabled: !protection.forcePushBlocked }, allow_deletions: { enabled: !protection.deletionBlocked },
        ...(protection.proposalRequired ? { required_pull_request_reviews: { dismiss_stale_reviews: false, require_code_owner_reviews: false } } : {}),
        ...(protection.requiredStatuses.length > 0 ? { required_status_checks: { contexts: protection.requiredStatuses, checks: [] } } : {}),
        ...(protection.pushers === null ? {} : { restrictions: { users: protection.pushers.map((login) => ({ login })), teams: [], apps: [] } }),
      },
    };
  }),
  'GET /repos/{owner}/{repo}/rules/branches/{branch}': (forge, request) => onBranch(forge, request, () => ({ status: 200, body: forge.rules })),
};

function inRepository(forge: FakeForge, { operation: { variables } }: FakeRequest, then: () => FakeAnswer): FakeAnswer {
  return `${variables['owner'] ?? ''}/${variables['repo'] ?? ''}` === forge.repository ? then() : NOT_FOUND;
}

function onProposal(forge: FakeForge, request: FakeRequest, variable: string, then: (proposal: FakeProposal) => FakeAnswer): FakeAnswer {
  return inRepository(forge, request, () => {
    const proposal = forge.proposals.find(({ number }) => String(number) === request.operation.variables[variable]);
    return proposal === undefined ? NOT_FOUND : then(proposal);
  });
}

function onBranch(forge: FakeForge, request: FakeRequest, then: (branch: string, commit: string) => FakeAnswer): FakeAnswer {
  return inRepository(forge, request, () => {
    const branch = request.operation.variables['branch'] ?? '';
    const commit = forge.branches.get(branch);
    return commit === undefined ? refusal(404, 'Branch not found') : then(branch, commit);
  });
}

function withEtag(headers: Readonly<Record<string, string>>, value: unknown): Readonly<Record<string, string>> {
  return { ...headers, etag: `W/"${createHash('sha256').update(JSON.stringify(value)).digest('hex')}"` };
}

function pullOf(forge: FakeForge, proposal: FakeProposal): unknown {
  const { number, title, body, state, isDraft, author, branch, commit, headRepository, base, mergeCommit, mergedAt, updatedAt } = proposal;
  const fork = headRepository === null ? null : { id: headRepository === forge.repository ? 1 : 2, full_name: headRepository };
  return {
    number, title, body, draft: isDraft, user: { login: author }, html_url: `https://github.example/${forge.repository}/pull/${number}`,
    state: state === 'open' ? 'open' : 'closed',
    head: { ref: branch, sha: commit, repo: fork, label: `acme:${branch}`, user: { login: author } },
    base: { ref: base, sha: '1'.repeat(40), repo: { id: 1, full_name: forge.repository } },
    // While it is open GitHub names a commit with which it tries the merge.
    merge_commit_sha: mergeCommit ?? (state === 'open' ? 'f'.repeat(40) : null),
    merged_at: mergedAt, created_at: updatedAt, updated_at: updatedAt, auto_merge: null,
  };
}

function commentOf({ id, author, body, createdAt }: FakeComment): unknown {
  return { id, user: { login: author }, body, created_at: createdAt, updated_at: createdAt };
}
