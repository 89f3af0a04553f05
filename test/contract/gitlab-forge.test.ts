import fc from 'fast-check';
import { afterEach, describe, expect, it } from 'vitest';
import { fitsBranch } from '../../src/adapters/forge/gitlab/protection.ts';
import { withoutQuickActions } from '../../src/adapters/forge/gitlab/quick-actions.ts';
import type { CommitId } from '../../src/core/model/commit-id.ts';
import type { ForgeStatus } from '../../src/ports/forge.ts';
import { gitlabDialect } from '../fakes/forge-gitlab.ts';
import { addProposal, type FakeForge, type FakeProtection } from '../fakes/forge-server.ts';
import { HEAD, MAIN, type OpenedForge, openOn, refusedWith } from './forge-suite.ts';

let opened: OpenedForge;
const start = async (overrides: Partial<FakeForge> = {}): Promise<OpenedForge> => (opened = await openOn(gitlabDialect(), overrides));
afterEach(async () => {
  await opened.server.stop();
  expect(opened.server.faults).toEqual([]);
});

describe('a merge request of GitLab', () => {
  it('is found in a project of a subgroup', async () => {
    const { forge, state, server } = await start({ repository: 'acme/ops/deploy' });
    addProposal(state);
    expect((await forge.read(1)).number).toBe(1);
    expect(server.seen).toEqual(['GET /api/v4/projects/acme%2Fops%2Fdeploy/merge_requests/1']);
  });

  it('has a ref in the target project, also where it comes from a fork', async () => {
    const { forge, state } = await start();
    addProposal(state, { headRepository: 'mallory/deploy' });
    expect(await forge.read(1)).toMatchObject({ isFork: true, head: { fetchRef: 'refs/merge-requests/1/head' } });
  });

  it('was merged where its commit is: that of the merge, or the head where the branch was moved on', async () => {
    const { forge, state } = await start();
    addProposal(state, { state: 'merged', mergeCommit: 'b'.repeat(40) });
    const moved = addProposal(state, { state: 'merged' });
    moved.mergeCommit = moved.commit;
    expect((await forge.read(1)).mergeCommit).toBe('b'.repeat(40));
    expect((await forge.read(2)).mergeCommit).toBe(moved.commit);
  });

  it('was merged where the squashed commit is, when the branch was moved on to that', async () => {
    const { forge, state, server } = await start();
    const { commit } = addProposal(state);
    server.misbehave((_request, response) => {
      response.end(JSON.stringify({
        iid: 1, title: 'x', state: 'merged', draft: false, author: { username: 'alice' }, source_branch: 'b', target_branch: 'main', source_project_id: 7, target_project_id: 7, sha: commit,
        merge_commit_sha: null, squash_commit_sha: 'd'.repeat(40), web_url: 'https://gitlab.example/1', updated_at: '2026-03-01T10:00:00.000+02:00', merged_at: '2026-03-01T10:00:00.000+02:00',
      }));
      return true;
    });
    expect(await forge.read(1)).toMatchObject({ mergeCommit: 'd'.repeat(40), updatedAt: '2026-03-01T08:00:00.000Z' });
  });

  it('waits for a moment while GitLab looks at its commits, and holds up no other', async () => {
    const { forge, state, server } = await start();
    addProposal(state);
    const one = { iid: 1, title: 'x', state: 'opened', draft: false, author: { username: 'alice' }, source_branch: 'b', target_branch: 'main', source_project_id: 7, target_project_id: 7, merge_commit_sha: null, squash_commit_sha: null, web_url: 'https://gitlab.example/1', updated_at: '2026-03-01T10:00:00Z' };
    server.misbehave((request, response) => {
      response.end(JSON.stringify(request.url?.includes('/merge_requests/1') === true ? { ...one, sha: null } : [{ ...one, sha: null }, { ...one, iid: 2, sha: HEAD }]));
      return true;
    });
    expect(await refusedWith(forge.read(1))).toBe('Unavailable');
    expect((await forge.listOpen(MAIN)).proposals.map(({ number }) => number)).toEqual([2]);
  });

  it('has no queue where GitLab has no merge trains', async () => {
    const { forge } = await start();
    expect(await forge.listQueued(MAIN)).toEqual([]);
  });

  it('has comments of people, and none of what GitLab itself says', async () => {
    const { forge, state } = await start();
    addProposal(state);
    expect(await forge.listComments(1)).toEqual([]);
  });

  it('is asked for again when GitLab says so, and not before', async () => {
    const { forge, state, server, clock } = await start();
    addProposal(state);
    server.misbehave((_request, response) => {
      response.writeHead(429, { 'retry-after': '30', 'ratelimit-remaining': '0' }).end('{"message":"Too Many Requests"}');
      return true;
    });
    expect(await refusedWith(forge.read(1))).toBe('RateLimited');
    server.misbehave(() => false);
    const asked = server.seen.length;
    expect(await refusedWith(forge.read(1))).toBe('RateLimited');
    expect(server.seen.length).toBe(asked);
    clock.now += 30_000;
    expect((await forge.read(1)).number).toBe(1);
  });

  it('is in no project whose path is no path of a project', async () => {
    await start();
    const wrong = ['deploy', 'acme/', '/deploy', 'acme//deploy', 'acme/de ploy', ''];
    expect(await Promise.all(wrong.map((repository) => refusedWith(openOn(gitlabDialect(), {}, { repository }))))).toEqual(wrong.map(() => 'Refused'));
  });
});

describe('a comment of ours on GitLab', () => {
  const COMMANDS = ['/merge', '/close', '  /close', '\t/merge now', 'text\n/close', 'text\r\n/merge', 'text\n\r/close', '/CLOSE', '````\n/merge\n````', '> quoted\n/close', '<details>\n/merge\n</details>', '\u00a0/close'];

  it.each(COMMANDS)('carries out nothing of what a plan holds: %j', async (text) => {
    const { forge, state } = await start();
    const proposal = addProposal(state);
    const made = await forge.addComment(1, text);
    await forge.editComment(1, made, `again\n${text}`);
    expect(proposal.state).toBe('open');
    expect(state.comments[0]?.body.replaceAll('\\/', '/')).toBe(`again\n${text}`.replaceAll('\r', ''));
  });

  it('carries out nothing in the words with which a merge request is opened', async () => {
    const { forge, state } = await start();
    state.branches.set('promote/shop', HEAD);
    expect((await forge.open({ title: '/close', body: 'why\n/merge', branch: 'promote/shop', baseRef: MAIN })).state).toBe('open');
  });

  it('shows the same text, whatever it was', async () => {
    await start();
    const lines = fc.array(fc.string({ unit: fc.constantFrom('/', '\\', ' ', '\t', '\r', 'a', '`', '>', '\u2028'), maxLength: 8 }), { maxLength: 6 });
    fc.assert(fc.property(lines, (parts) => {
      const text = parts.join('\n');
      const safe = withoutQuickActions(text);
      return !/^\//m.test(safe.replaceAll('\r', '')) && withoutQuickActions(safe) === safe && safe.replace(/\\\//g, '/') === text.replace(/\\\//g, '/');
    }), { numRuns: 1_000 });
  });
});

describe('a status on GitLab', () => {
  const waiting = (description: string): ForgeStatus => ({ context: 'stella/plan', state: 'pending', description, url: null });

  it('is set again and again with the same words, and stays one', async () => {
    const { forge, state } = await start();
    const commit = addProposal(state).commit as CommitId;
    await forge.setStatus(commit, waiting('merged, waiting for sre'));
    await forge.setStatus(commit, waiting('merged, waiting for sre'));
    expect(state.statuses.length).toBe(1);
  });

  it('waits with other words each time, although GitLab lets nothing wait twice', async () => {
    const { forge, state } = await start();
    const commit = addProposal(state).commit as CommitId;
    const words = ['planning', 'waits for approval', 'merged, waiting for sre', 'deploying', 'deploying'];
    for (const one of words) await forge.setStatus(commit, waiting(one));
    expect(state.statuses.map(({ state: now, description }) => [now, description])).toEqual(words.slice(0, 4).map((one) => ['pending', one]));
    await forge.setStatus(commit, { ...waiting('deployed'), state: 'success' });
    expect(state.statuses.at(-1)).toMatchObject({ state: 'success', description: 'deployed' });
  });

  it('is kept apart from one of another name', async () => {
    const { forge, state } = await start();
    const commit = addProposal(state).commit as CommitId;
    await forge.setStatus(commit, { ...waiting('theirs'), context: 'other/check' });
    await forge.setStatus(commit, waiting('ours'));
    expect(state.statuses.map(({ context, description }) => [context, description])).toEqual([['other/check', 'theirs'], ['stella/plan', 'ours']]);
  });

  it('stands on the head of a fork by the ref of its merge request, because no branch of the project holds it', async () => {
    const { forge, state } = await start();
    const commit = addProposal(state, { headRepository: 'mallory/deploy', commit: 'f'.repeat(40) }).commit as CommitId;
    expect(await refusedWith(forge.setStatus(commit, waiting('planning')))).toBe('NotFound');
    await forge.listOpen(MAIN);
    await forge.setStatus(commit, waiting('planning'));
    expect(state.statuses.map((one) => [one.commit, one.description])).toEqual([[commit, 'planning']]);
  });

  it('does without an address that is longer than GitLab takes', async () => {
    const { forge, state } = await start();
    const commit = addProposal(state).commit as CommitId;
    await forge.setStatus(commit, { ...waiting('planning'), url: `https://stella.example/${'a'.repeat(300)}` });
    expect(state.statuses.at(-1)?.url).toBeNull();
  });
});

describe('protection of a branch on GitLab', () => {
  const rule: FakeProtection = { forcePushBlocked: true, deletionBlocked: true, proposalRequired: false, requiredStatuses: [], pushers: ['stella'] };

  it('says who may push', async () => {
    const { forge, state } = await start();
    state.protections.set('stella/evidence', rule);
    state.protections.set('main', { ...rule, proposalRequired: true });
    expect(await forge.protectionOf('refs/heads/stella/evidence')).toMatchObject({ pushers: ['stella'], proposalRequired: false });
    expect(await forge.protectionOf(MAIN)).toMatchObject({ pushers: [], proposalRequired: true, requiredStatuses: [] });
  });

  it('is as weak as the weakest rule that fits', async () => {
    const { forge, state } = await start();
    state.protections.set('main', rule);
    state.protections.set('ma*', { ...rule, forcePushBlocked: false, pushers: ['alice'] });
    expect(await forge.protectionOf(MAIN)).toMatchObject({ forcePushBlocked: false, pushers: ['alice', 'stella'] });
  });

  it('does not say which statuses have to be there when pipelines must succeed', async () => {
    const { forge, state } = await start();
    state.protections.set('main', { ...rule, requiredStatuses: ['stella/plan'] });
    expect((await forge.protectionOf(MAIN)).requiredStatuses).toBeNull();
  });

  it('is unknown to a token that may not see it', async () => {
    const { forge } = await start({ isAdministrator: false });
    expect(await forge.protectionOf(MAIN)).toMatchObject({ forcePushBlocked: null, deletionBlocked: null, proposalRequired: null, pushers: null });
  });

  it('fits names as a pattern does, in time that no pattern makes long', async () => {
    await start();
    const letters = fc.string({ unit: fc.constantFrom('a', 'b', '/', '.', '*'), maxLength: 12 });
    fc.assert(fc.property(letters, fc.string({ unit: fc.constantFrom('a', 'b', '/', '.'), maxLength: 12 }), (name, branch) => {
      const pattern = new RegExp(`^${name.split('*').map((part) => part.replaceAll('.', '\\.')).join('.*')}$`, 's');
      return fitsBranch(name, branch) === pattern.test(branch);
    }), { numRuns: 500 });
    expect(fitsBranch(`${'*a'.repeat(200)}*b`, 'a'.repeat(500))).toBe(false);
  });
});
