import type { IncomingMessage, ServerResponse } from 'node:http';
import fc from 'fast-check';
import { afterEach, beforeAll, describe, expect, it } from 'vitest';
import { limits } from '../../src/core/model/limits.ts';
import { type CommitId } from '../../src/core/model/commit-id.ts';
import { type Forge, ForgeError } from '../../src/ports/forge.ts';
import { giteaDialect } from '../fakes/forge-gitea.ts';
import { githubDialect } from '../fakes/forge-github.ts';
import { addProposal, type FakeForge, type ForgeDialect } from '../fakes/forge-server.ts';
import { MAIN, openOn, type OpenedForge, refusedWith } from './forge-suite.ts';

const PROTECTED = { forcePushBlocked: true, deletionBlocked: true, proposalRequired: true, requiredStatuses: ['stella/plan'], pushers: ['release-bot'] } as const;

let github: ForgeDialect;
let gitea: ForgeDialect;
beforeAll(() => {
  github = githubDialect();
  gitea = giteaDialect();
}, 60_000);

const running: OpenedForge[] = [];
afterEach(async () => {
  for (const { server } of running) await server.stop();
  expect(running.splice(0).flatMap(({ server }) => server.faults)).toEqual([]);
});

async function open(dialect: ForgeDialect, overrides: Partial<FakeForge> = {}): Promise<OpenedForge> {
  const opened = await openOn(dialect, overrides);
  running.push(opened);
  return opened;
}

/** Answers with JSON, from the next request on. */
function alwaysAnswer({ server }: OpenedForge, status: number, body: unknown, headers: Record<string, string> = {}): void {
  server.misbehave((_request: IncomingMessage, response: ServerResponse) => {
    response.writeHead(status, { 'content-type': 'application/json', ...headers });
    response.end(JSON.stringify(body));
    return true;
  });
}

describe('what protects a branch on GitHub', () => {
  const rules = [
    { type: 'non_fast_forward' }, { type: 'deletion' },
    { type: 'required_status_checks', parameters: { required_status_checks: [{ context: 'stella/plan' }], strict_required_status_checks_policy: true } },
  ];

  it('is seen in rulesets by a token without any right on settings', async () => {
    const { forge, state } = await open(github, { isAdministrator: false });
    state.rules = rules;
    expect(await forge.protectionOf(MAIN)).toEqual({ ref: MAIN, forcePushBlocked: true, deletionBlocked: true, proposalRequired: false, requiredStatuses: ['stella/plan'], pushers: null });
  });

  it('is what either a ruleset or the older protection blocks', async () => {
    const { forge, state } = await open(github);
    state.rules = [{ type: 'non_fast_forward' }];
    state.protections.set('main', { ...PROTECTED, forcePushBlocked: false, deletionBlocked: false });
    expect(await forge.protectionOf(MAIN)).toEqual({ ref: MAIN, ...PROTECTED, deletionBlocked: false });
  });

  it('is unknown, not absent, where the token may not see it', async () => {
    const { forge, state } = await open(github, { isAdministrator: false });
    state.protections.set('main', PROTECTED);
    expect(await forge.protectionOf(MAIN)).toEqual({ ref: MAIN, forcePushBlocked: null, deletionBlocked: null, proposalRequired: null, requiredStatuses: ['stella/plan'], pushers: null });
  });

  it('is known as far as rules block, where the rest may not be seen', async () => {
    const { forge, state } = await open(github, { isAdministrator: false });
    state.rules = rules;
    state.protections.set('main', PROTECTED);
    expect(await forge.protectionOf(MAIN)).toMatchObject({ forcePushBlocked: true, deletionBlocked: true, proposalRequired: null });
  });

  it('cannot be told of a branch that is not there, or of what is no branch', async () => {
    const { forge } = await open(github);
    expect(await refusedWith(forge.protectionOf('refs/heads/missing'))).toBe('NotFound');
    expect(await refusedWith(forge.protectionOf('refs/tags/v1'))).toBe('Refused');
  });
});

describe('GitHub', () => {
  it('is reached below the path that an Enterprise server has for its API, with or without a slash at the end', async () => {
    const opened = await open({ ...github, basePath: '/api/v3' });
    const proposal = addProposal(opened.state);
    expect((await opened.forge.listOpen(MAIN)).proposals.length).toBe(1);
    await opened.forge.setStatus(proposal.commit as CommitId, { context: 'stella/plan', state: 'pending', description: '', url: null });
    const slashed = await openOn({ ...github, basePath: '/api/v3' }, {}, { url: `${opened.server.url}/` });
    running.push(slashed);
    expect(await slashed.forge.whoAmI()).toBe('stella');
    expect(opened.server.seen.every((line) => / \/api\/v3\/\w/.test(line))).toBe(true);
  });

  it('names in its merge queue only refs of its own form', async () => {
    const { forge, state } = await open(github);
    const base = '0'.repeat(39);
    const good = `refs/heads/gh-readonly-queue/main/pr-7-${base}a`;
    for (const ref of [good, `refs/heads/gh-readonly-queue/main/pr-0-${base}a`, `refs/heads/gh-readonly-queue/main/x/pr-8-${base}a`, 'refs/heads/gh-readonly-queue/main/pr-9-short', `refs/heads/gh-readonly-queue/other/pr-7-${base}a`]) {
      state.queue.set(ref, 'c'.repeat(40));
    }
    expect(await forge.listQueued(MAIN)).toEqual([{ number: 7, ref: good, commit: 'c'.repeat(40) }]);
  });

  it('does not name the commit with which it tries a merge as the one that merged', async () => {
    const { forge, state } = await open(github);
    addProposal(state);
    expect(await forge.read(1)).toMatchObject({ state: 'open', mergeCommit: null });
  });

  it('tells an app, which has no account to look up, what to configure', async () => {
    const opened = await open(github);
    alwaysAnswer(opened, 403, { message: 'Resource not accessible by integration' });
    const error: unknown = await opened.forge.whoAmI().catch((cause: unknown) => cause);
    expect(error).toMatchObject({ code: 'Unauthorized' });
    expect((error as Error).message).toContain('forge.account');
  });

  it('is asked whether a list is still as it was, which costs nothing of the allowance', async () => {
    const { forge, state, server } = await open(github);
    addProposal(state);
    const statuses: number[] = [];
    server.misbehave((_request, response) => {
      response.on('finish', () => statuses.push(response.statusCode));
      return false;
    });
    const first = await forge.listOpen(MAIN);
    expect(await forge.listOpen(MAIN)).toEqual(first);
    state.proposals[0]!.title = 'Changed';
    expect((await forge.listOpen(MAIN)).proposals[0]?.title).toBe('Changed');
    expect(statuses).toEqual([200, 304, 200]);
  });

  it('gets many writes slowly, and comments that it holds back are not lost', async () => {
    const { forge, state, slept } = await open(github);
    const proposal = addProposal(state);
    for (let count = 0; count < 25; count += 1) await forge.setStatus(proposal.commit as CommitId, { context: `stella/${count}`, state: 'pending', description: '', url: null });
    expect(state.statuses.length).toBe(25);
    expect(slept).toEqual([1000, 1000, 1000, 1000, 1000]);
  });

  it('is left alone after a secondary limit, and gets what was to be said afterwards', async () => {
    const opened = await open(github);
    const { forge, state, server, clock } = opened;
    addProposal(state);
    alwaysAnswer(opened, 403, { message: 'You have exceeded a secondary rate limit and have been temporarily blocked.' }, { 'retry-after': '30' });
    await expect(forge.addComment(1, 'the plan')).rejects.toMatchObject({ code: 'RateLimited', retryAt: clock.now + 30_000 });
    const asked = server.seen.length;
    expect(await refusedWith(forge.listOpen(MAIN))).toBe('RateLimited');
    expect(server.seen.length).toBe(asked);
    server.misbehave(() => false);
    clock.now += 30_000;
    expect((await forge.addComment(1, 'the plan')).body).toBe('the plan');
  });

  it('stops at so many open proposals, and says that there are more', async () => {
    const { forge, state } = await open(github);
    for (let number = 0; number <= limits.forgeProposals; number += 1) addProposal(state);
    const { proposals, isComplete } = await forge.listOpen(MAIN);
    expect([proposals.length, isComplete]).toEqual([limits.forgeProposals, false]);
  }, 60_000);
});

describe('Gitea', () => {
  it('counts a head without a branch as a stranger, though it says that it lies in the same repository', async () => {
    const { forge, state } = await open(gitea);
    addProposal(state, { branch: '', author: 'mallory' });
    expect(await forge.read(1)).toMatchObject({ isFork: true, author: 'mallory', head: { fetchRef: 'refs/pull/1/head' } });
  });

  it('tells a draft by its title where it has no member for it', async () => {
    const opened = await open(gitea);
    addProposal(opened.state, { title: 'WIP: Promote' });
    expect((await opened.forge.read(1)).isDraft).toBe(false);
    const head = { label: 'x', ref: 'x', sha: 'a'.repeat(40), repo: { id: 1 } };
    alwaysAnswer(opened, 200, { number: 1, title: 'WIP: Promote', html_url: 'https://gitea.example/1', state: 'open', user: { login: 'alice' }, head, base: { ...head, ref: 'main' }, updated_at: '2026-03-01T00:00:00Z' });
    expect((await opened.forge.read(1)).isDraft).toBe(true);
  });

  it('shows the settings of a protection to administrators only', async () => {
    const { forge, state } = await open(gitea);
    state.protections.set('main', { ...PROTECTED, proposalRequired: false });
    expect(await forge.protectionOf(MAIN)).toEqual({ ref: MAIN, ...PROTECTED, proposalRequired: false });
    state.protections.set('main', PROTECTED);
    expect(await forge.protectionOf(MAIN)).toEqual({ ref: MAIN, ...PROTECTED, pushers: [] });
    state.isAdministrator = false;
    expect(await forge.protectionOf(MAIN)).toEqual({ ref: MAIN, forcePushBlocked: null, deletionBlocked: true, proposalRequired: null, requiredStatuses: ['stella/plan'], pushers: null });
  });

  it('does not tell who may write to a token that may not ask: that is no "no"', async () => {
    const { forge } = await open(gitea, { isAdministrator: false });
    expect(await refusedWith(forge.mayWrite('alice'))).toBe('Unauthorized');
  });

  it('has no public instance that is taken for the one that was meant', async () => {
    const { openForge } = await import('../../src/adapters/forge/open-forge.ts');
    const world = { now: () => new Date(0), random: () => 0, sleep: () => Promise.resolve(), allowedHosts: null };
    expect(await refusedWith(openForge('gitea', { url: null, repository: 'acme/deploy', token: () => Promise.resolve('t'), account: null }, world))).toBe('Refused');
  });
});

describe.each([['github', () => github], ['gitea', () => gitea]] as const)('an answer of %s that is not as described', (_type, dialect) => {
  const asks: readonly (readonly [string, (forge: Forge) => Promise<unknown>])[] = [
    ['a list', (forge) => forge.listOpen(MAIN)], ['what merged', (forge) => forge.listMerged(MAIN, new Date(0))], ['one', (forge) => forge.read(1)], ['comments', (forge) => forge.listComments(1)],
    ['an account', (forge) => forge.whoAmI()], ['a right', (forge) => forge.mayWrite('alice')], ['a protection', (forge) => forge.protectionOf(MAIN)], ['a new comment', (forge) => forge.addComment(1, 'x')],
  ];

  it.each(asks)('is refused with a code and nothing else: %s', async (_what, ask) => {
    const opened = await open(dialect());
    const shapes = [fc.jsonValue(), fc.record({ number: fc.jsonValue(), title: fc.jsonValue(), head: fc.jsonValue(), base: fc.jsonValue(), user: fc.jsonValue(), updated_at: fc.jsonValue(), id: fc.jsonValue() })];
    await fc.assert(fc.asyncProperty(fc.oneof(...shapes, fc.array(fc.oneof(...shapes), { maxLength: 3 })), async (body) => {
      alwaysAnswer(opened, 200, body);
      const error: unknown = await ask(opened.forge).then(() => null, (cause: unknown) => cause);
      expect(error === null || (error instanceof ForgeError && ['AnswerInvalid', 'Refused', 'NotFound'].includes(error.code))).toBe(true);
    }), { numRuns: 60 });
  });

  it('with a commit or an instant that is none is refused', async () => {
    const opened = await open(dialect());
    const proposal = addProposal(opened.state);
    const whole = await readWhole(opened, dialect());
    for (const broken of [{ head: { ...whole.head, sha: 'main' } }, { head: { ...whole.head, sha: '0'.repeat(40) } }, { updated_at: 'yesterday' }, { number: '1' }, { title: null }, { merged: true, merged_at: 'x', merge_commit_sha: 'x' }]) {
      alwaysAnswer(opened, 200, { ...whole, ...broken });
      expect(await refusedWith(opened.forge.read(proposal.number))).toBe('AnswerInvalid');
    }
  });
});

/** The pull request as the miniature sends it. */
async function readWhole({ server, state }: OpenedForge, dialect: ForgeDialect): Promise<Readonly<Record<string, unknown>> & { readonly head: object }> {
  const authorization = dialect.type === 'github' ? `Bearer ${state.token}` : `token ${state.token}`;
  const response = await fetch(`${server.url}/repos/acme/deploy/pulls/1`, { headers: { authorization, 'x-github-api-version': '2022-11-28' } });
  return (await response.json()) as Readonly<Record<string, unknown>> & { readonly head: object };
}
