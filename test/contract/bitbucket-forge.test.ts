import fc from 'fast-check';
import { afterEach, describe, expect, it } from 'vitest';
import { fitsPattern } from '../../src/adapters/forge/bitbucket/protection.ts';
import type { CommitId } from '../../src/core/model/commit-id.ts';
import type { ForgeSettings } from '../../src/ports/forge.ts';
import { bitbucketDialect } from '../fakes/forge-bitbucket.ts';
import { addProposal, type FakeForge, type FakeProtection } from '../fakes/forge-server.ts';
import { MAIN, type OpenedForge, openOn, refusedWith } from './forge-suite.ts';

let opened: OpenedForge;
const start = async (overrides: Partial<FakeForge> = {}, settings: Partial<ForgeSettings> = {}): Promise<OpenedForge> => (opened = await openOn(bitbucketDialect(), overrides, settings));
afterEach(async () => {
  await opened.server.stop();
  expect(opened.server.faults).toEqual([]);
});

/** Two commits with the first twelve digits in common, which anybody can make. */
const TWINS = ['abcdefabcdef'.padEnd(40, '1'), 'abcdefabcdef'.padEnd(40, '2')] as const;

describe('a pull request of Bitbucket', () => {
  it('has the whole name of its head, and not that of a commit with the same first digits', async () => {
    const { forge, state } = await start();
    addProposal(state, { commit: TWINS[0] });
    addProposal(state, { commit: TWINS[1] });
    expect((await forge.listOpen(MAIN)).proposals.map(({ number, head }) => [number, head.commit])).toEqual([[2, TWINS[1]], [1, TWINS[0]]]);
  });

  it('is asked for its head once, and again after a push', async () => {
    const { forge, state, server } = await start();
    const proposal = addProposal(state);
    const asked = (): number => server.seen.filter((line) => line.includes('/commits?')).length;
    await forge.listOpen(MAIN);
    await forge.listOpen(MAIN);
    expect(asked()).toBe(1);
    proposal.commit = 'd'.repeat(40);
    expect((await forge.listOpen(MAIN)).proposals[0]?.head.commit).toBe('d'.repeat(40));
    expect(asked()).toBe(2);
  });

  it('cannot be fetched where it comes from a fork, and by its branch where it does not', async () => {
    const { forge, state } = await start();
    addProposal(state, { branch: 'promote/shop' });
    addProposal(state, { headRepository: 'mallory/deploy' });
    expect((await forge.read(1)).head.fetchRef).toBe('refs/heads/promote/shop');
    expect(await forge.read(2)).toMatchObject({ isFork: true, head: { fetchRef: null } });
  });

  it('holds up no other where its fork is gone with its commits', async () => {
    const { forge, state, server } = await start();
    addProposal(state);
    const gone = { id: 9, title: 'x', state: 'OPEN', author: null, updated_on: '2026-03-01T00:00:00Z', destination: { branch: { name: 'main' } }, links: { html: { href: 'https://bitbucket.example/9' } } };
    const whole = { ...gone, id: 8, source: { branch: { name: 'b' }, commit: { hash: 'a'.repeat(12) }, repository: { full_name: 'acme/deploy' } } };
    server.misbehave((request, response) => {
      if (request.url?.includes('/pullrequests?') !== true) return false;
      response.end(JSON.stringify({ values: [{ ...gone, source: { branch: null, commit: null, repository: null } }, whole] }));
      return true;
    });
    expect((await forge.listOpen(MAIN)).proposals).toEqual([]);
    expect((await forge.listOpen(MAIN)).isComplete).toBe(false);
    expect(await refusedWith(forge.read(9))).toBe('NotFound');
  });

  it('has comments on the whole, and none that were deleted or stand on a line', async () => {
    const { forge, state } = await start();
    addProposal(state);
    expect(await forge.listComments(1)).toEqual([]);
  });

  it('follows no address that an answer names', async () => {
    const { forge, state, server } = await start();
    for (let number = 1; number <= 60; number += 1) addProposal(state, { commit: String(number).padStart(40, '0') });
    expect((await forge.listOpen(MAIN)).proposals.length).toBe(60);
    expect(server.seen.filter((line) => line.includes('elsewhere'))).toEqual([]);
  });

  it('asks for no name that could end a text of the query language', async () => {
    const { forge, server } = await start();
    expect(await refusedWith(forge.listOpen('refs/heads/main" OR state = "OPEN'))).toBe('NotFound');
    expect(await refusedWith(forge.mayWrite('mallory" OR permission = "write'))).toBe('NotFound');
    expect(server.seen).toEqual([]);
  });

  it('is in no repository whose name is not workspace/repository', async () => {
    await start();
    const wrong = ['deploy', 'acme/', '/deploy', 'acme/ops/deploy', ''];
    expect(await Promise.all(wrong.map((repository) => refusedWith(openOn(bitbucketDialect(), {}, { repository }))))).toEqual(wrong.map(() => 'Refused'));
  });
});

describe('a status on Bitbucket', () => {
  it('always has an address, because Bitbucket takes none without', async () => {
    const { forge, state } = await start();
    const commit = addProposal(state).commit as CommitId;
    await forge.setStatus(commit, { context: 'stella/plan', state: 'pending', description: 'planning', url: null });
    expect(state.statuses.at(-1)?.url).toBe(`https://bitbucket.org/acme/deploy/commits/${commit}`);
  });
});

describe('a token for Bitbucket', () => {
  it('goes as user and password where it is the API token of a person', async () => {
    const { forge, server } = await start({}, { token: () => Promise.resolve('stella@acme.example:token') });
    let authorization: string | undefined;
    server.misbehave((request, response) => {
      authorization = request.headers.authorization;
      response.end('{"uuid":"{1}"}');
      return true;
    });
    await forge.whoAmI();
    expect(authorization).toBe(`Basic ${Buffer.from('stella@acme.example:token').toString('base64')}`);
  });
});

describe('protection of a branch on Bitbucket', () => {
  const rule: FakeProtection = { forcePushBlocked: true, deletionBlocked: true, proposalRequired: false, requiredStatuses: [], pushers: ['stella'] };

  it('says who may push, by patterns as well', async () => {
    const { forge, state } = await start();
    state.protections.set('stella/*', rule);
    expect(await forge.protectionOf('refs/heads/stella/evidence')).toMatchObject({ forcePushBlocked: true, deletionBlocked: true, pushers: ['stella'], requiredStatuses: [] });
    expect(await forge.protectionOf(MAIN)).toMatchObject({ forcePushBlocked: false, deletionBlocked: false, pushers: null });
  });

  it('does not say which statuses have to be there when a number of builds must pass', async () => {
    const { forge, state } = await start();
    state.protections.set('main', { ...rule, requiredStatuses: ['stella/plan'] });
    expect((await forge.protectionOf(MAIN)).requiredStatuses).toBeNull();
  });

  it('is unknown where it goes by the kind of a branch, and to a token that may not see it', async () => {
    const { forge, server, state } = await start();
    server.misbehave((_request, response) => {
      response.end(JSON.stringify({ values: [{ id: 1, kind: 'force', branch_match_kind: 'branching_model', branch_type: 'production', pattern: '', users: [], groups: [] }] }));
      return true;
    });
    expect(await forge.protectionOf(MAIN)).toMatchObject({ forcePushBlocked: null, deletionBlocked: false });
    server.misbehave(() => false);
    state.isAdministrator = false;
    expect(await forge.protectionOf(MAIN)).toMatchObject({ forcePushBlocked: null, deletionBlocked: null, proposalRequired: null, requiredStatuses: null, pushers: null });
  });

  it('fits names as a pattern does, in time that no pattern makes long', async () => {
    await start();
    const letters = fc.string({ unit: fc.constantFrom('a', 'b', '/', '.', '*', '?'), maxLength: 10 });
    fc.assert(fc.property(letters, fc.string({ unit: fc.constantFrom('a', 'b', '/', '.'), maxLength: 10 }), (text, branch) => {
      const pieces = text.match(/\*\*|\*|\?|[^*?]/g) ?? [];
      const pattern = new RegExp(`^${pieces.map((piece) => ({ '**': '.*', '*': '[^/]*', '?': '[^/]', '.': '\\.' })[piece] ?? piece).join('')}$`, 's');
      return fitsPattern(text, branch) === pattern.test(branch);
    }), { numRuns: 500 });
    expect(fitsPattern(`${'*a'.repeat(100)}b`, 'a'.repeat(200))).toBe(false);
  });
});
