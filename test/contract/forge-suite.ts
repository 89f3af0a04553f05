import { afterEach, beforeAll, describe, expect, it } from 'vitest';
import { openForge } from '../../src/adapters/forge/open-forge.ts';
import type { CommitId } from '../../src/core/model/commit-id.ts';
import type { Forge, ForgeErrorCode, ForgeSettings, ForgeType, ForgeWorld } from '../../src/ports/forge.ts';
import { ForgeError } from '../../src/ports/forge.ts';
import { addProposal, type FakeForge, fakeForge, type FakeForgeServer, type ForgeDialect, startFakeForge } from '../fakes/forge-server.ts';

export const HEAD = 'a'.repeat(40) as CommitId;
export const MAIN = 'refs/heads/main';

/** What forges differ in, as far as the suite has to know. */
export type ForgeTraits = {
  readonly type: ForgeType;
  readonly dialect: () => ForgeDialect;
  /** How the miniature remembers the four states of a status. */
  readonly states: Readonly<Record<'pending' | 'success' | 'failure' | 'error', string>>;
  /** Whether it has a merge queue whose refs it lists. */
  readonly queue: ReadonlyMap<string, string> | null;
};

export type OpenedForge = { readonly forge: Forge; readonly server: FakeForgeServer; readonly state: FakeForge; readonly slept: readonly number[]; readonly clock: { now: number } };

/** Starts a miniature and opens the adapter on it, over real HTTP. Waiting moves the clock on instead. */
export async function openOn(dialect: ForgeDialect, overrides: Partial<FakeForge> = {}, settings: Partial<ForgeSettings> = {}): Promise<OpenedForge> {
  const clock = { now: Date.parse('2026-03-02T12:00:00.000Z') };
  const slept: number[] = [];
  const world: ForgeWorld = {
    now: () => new Date(clock.now), random: () => 0.5, allowedHosts: null,
    sleep: (ms) => {
      slept.push(ms);
      clock.now += ms;
      return Promise.resolve();
    },
  };
  const state = fakeForge({ now: world.now, ...overrides });
  const server = await startFakeForge(dialect, state);
  const forge = await openForge(dialect.type as ForgeType, { url: server.url, repository: state.repository, token: () => Promise.resolve('token-of-stella'), account: null, ...settings }, world);
  return { forge, server, state, slept, clock };
}

/** The code with which something is refused. */
export async function refusedWith(work: Promise<unknown>): Promise<ForgeErrorCode> {
  const error = await work.then(() => new Error('it was not refused'), (cause: unknown) => cause);
  if (!(error instanceof ForgeError)) throw error;
  return error.code;
}

/** What every forge must do, over the same words. */
export function forgeContract(traits: ForgeTraits): void {
  describe(`a repository on ${traits.type}`, () => {
    let dialect: ForgeDialect;
    let opened: OpenedForge;
    beforeAll(() => {
      dialect = traits.dialect();
    }, 60_000);
    const start = async (overrides: Partial<FakeForge> = {}, settings: Partial<ForgeSettings> = {}): Promise<OpenedForge> => (opened = await openOn(dialect, overrides, settings));
    afterEach(async () => {
      await opened.server.stop();
      // Each request and each answer was as the published description says.
      expect(opened.server.faults).toEqual([]);
    });

    lists(start);
    singles(start);
    marks(traits, start);
    rights(traits, start);
  });
}

type Start = (overrides?: Partial<FakeForge>, settings?: Partial<ForgeSettings>) => Promise<OpenedForge>;

function lists(start: Start): void {
  it('lists what is open into a branch, newest update first', async () => {
    const { forge, state } = await start();
    addProposal(state, { updatedAt: '2026-03-01T10:00:00.000Z' });
    addProposal(state, { updatedAt: '2026-03-02T10:00:00.000Z', title: 'Second', isDraft: true });
    addProposal(state, { base: 'other' });
    addProposal(state, { state: 'closed' });
    const { proposals: found, isComplete } = await forge.listOpen(MAIN);
    expect(found.map(({ number }) => number)).toEqual([2, 1]);
    expect(isComplete).toBe(true);
    expect(found[0]).toMatchObject({ title: 'Second', state: 'open', isDraft: true, author: 'alice', isFork: false, baseRef: MAIN, mergeCommit: null, updatedAt: '2026-03-02T10:00:00.000Z' });
    expect(found[0]?.head).toMatchObject({ branch: 'promote/2', commit: state.proposals[1]?.commit });
  });

  it('lists more than one page, each proposal once', async () => {
    const { forge, state } = await start();
    for (let number = 1; number <= 230; number += 1) addProposal(state, { updatedAt: new Date(Date.parse('2026-03-01T00:00:00Z') + number * 1000).toISOString() });
    const { proposals: found, isComplete } = await forge.listOpen(MAIN);
    expect(found.map(({ number }) => number)).toEqual(Array.from({ length: 230 }, (_, index) => 230 - index));
    expect(isComplete).toBe(true);
  }, 60_000);

  it('tells what was merged since, and where', async () => {
    const { forge, state } = await start();
    const merged = { state: 'merged', mergeCommit: 'b'.repeat(40) } as const;
    addProposal(state, { ...merged, mergedAt: '2026-02-01T10:00:00.000Z', updatedAt: '2026-02-01T10:00:00.000Z' });
    addProposal(state, { ...merged, mergedAt: '2026-03-01T10:00:00.000Z', updatedAt: '2026-03-01T10:00:00.000Z' });
    addProposal(state, { state: 'closed', updatedAt: '2026-03-01T11:00:00.000Z' });
    addProposal(state, { ...merged, mergeCommit: 'c'.repeat(40), mergedAt: '2026-03-01T12:00:00.000Z', updatedAt: '2026-03-01T12:00:00.000Z' });
    const found = await forge.listMerged(MAIN, new Date('2026-03-01T00:00:00Z'));
    expect(found.map(({ number, state: now, mergeCommit }) => [number, now, mergeCommit])).toEqual([[4, 'merged', 'c'.repeat(40)], [2, 'merged', 'b'.repeat(40)]]);
  });
}

function singles(start: Start): void {
  it('reads one after a force-push, a change of base, closing and opening again', async () => {
    const { forge, state } = await start();
    const proposal = addProposal(state);
    expect((await forge.read(1)).head.commit).toBe(proposal.commit);
    proposal.commit = 'd'.repeat(40);
    proposal.base = 'release';
    proposal.state = 'closed';
    proposal.updatedAt = '2026-03-02T12:00:01.000Z';
    expect(await forge.read(1)).toMatchObject({ state: 'closed', baseRef: 'refs/heads/release', mergeCommit: null, head: { commit: 'd'.repeat(40) } });
    proposal.state = 'open';
    proposal.updatedAt = '2026-03-02T12:00:02.000Z';
    expect((await forge.read(1)).state).toBe('open');
  });

  it('has no proposal of a number that is not there', async () => {
    const { forge } = await start();
    expect(await refusedWith(forge.read(99))).toBe('NotFound');
  });

  it('tells heads of other repositories, also of one that is gone', async () => {
    const { forge, state } = await start();
    addProposal(state, { headRepository: 'mallory/deploy', author: 'mallory' });
    addProposal(state, { headRepository: null });
    const { proposals: found } = await forge.listOpen(MAIN);
    expect(found.map(({ isFork }) => isFork)).toEqual([true, true]);
  });

  it('opens a proposal for a branch, and finds the one that is open already', async () => {
    const { forge, state } = await start();
    state.branches.set('promote/shop', HEAD);
    const wanted = { title: 'Promote shop', body: 'why', branch: 'promote/shop', baseRef: MAIN };
    const made = await forge.open(wanted);
    expect(made).toMatchObject({ title: 'Promote shop', state: 'open', baseRef: MAIN, head: { branch: 'promote/shop', commit: HEAD } });
    expect((await forge.open(wanted)).number).toBe(made.number);
    expect(state.proposals.length).toBe(1);
  });

  it('does not take a proposal of a fork for the one that is open for a branch', async () => {
    const { forge, state } = await start();
    state.branches.set('promote/shop', HEAD);
    addProposal(state, { branch: 'promote/shop', headRepository: 'mallory/deploy' });
    expect((await forge.open({ title: 'Promote shop', body: '', branch: 'promote/shop', baseRef: MAIN })).number).toBe(2);
  });

  it('opens nothing for a branch that is not there', async () => {
    const { forge, state } = await start();
    expect(['Refused', 'NotFound']).toContain(await refusedWith(forge.open({ title: 'x', body: '', branch: 'missing', baseRef: MAIN })));
    expect(state.proposals).toEqual([]);
  });
}

function marks(traits: ForgeTraits, start: Start): void {
  it('sets each state of a status on a commit', async () => {
    const { forge, state } = await start();
    const proposal = addProposal(state);
    for (const one of ['pending', 'success', 'failure', 'error'] as const) {
      await forge.setStatus(proposal.commit as CommitId, { context: 'stella/plan', state: one, description: `state ${one}`, url: 'https://stella.example/plan' });
    }
    expect(state.statuses.map(({ commit, context, state: now, url }) => [commit, context, now, url])).toEqual(
      (['pending', 'success', 'failure', 'error'] as const).map((one) => [proposal.commit, 'stella/plan', traits.states[one], 'https://stella.example/plan']),
    );
  });

  it('cuts the description of a status to what the forge takes', async () => {
    const { forge, state } = await start();
    const proposal = addProposal(state);
    await forge.setStatus(proposal.commit as CommitId, { context: 'stella/plan', state: 'pending', description: '\u{1f600}'.repeat(2_000), url: null });
    const [status] = state.statuses;
    expect(status?.description.length).toBeLessThanOrEqual(forge.limits.descriptionChars);
    expect(status?.description.isWellFormed()).toBe(true);
  });

  it('adds a comment, edits it in place, and lists comments oldest first', async () => {
    const { forge, state } = await start();
    addProposal(state);
    state.comments.push({ id: 7, proposal: 1, author: 'alice', body: 'please plan this', createdAt: '2026-03-01T00:00:00.000Z' });
    const made = await forge.addComment(1, 'the plan');
    await forge.editComment(1, made, 'the plan, again');
    expect((await forge.listComments(1)).map(({ author, body }) => [author, body])).toEqual([['alice', 'please plan this'], [state.account, 'the plan, again']]);
    expect(state.comments.length).toBe(2);
  });

  it('lists comments of more than one page', async () => {
    const { forge, state } = await start();
    addProposal(state);
    for (let id = 1; id <= 150; id += 1) state.comments.push({ id, proposal: 1, author: 'alice', body: `comment ${id}`, createdAt: '2026-03-01T00:00:00.000Z' });
    expect((await forge.listComments(1)).map(({ body }) => body)).toEqual(Array.from({ length: 150 }, (_, index) => `comment ${index + 1}`));
  });

  it('refuses to edit a comment that somebody has removed', async () => {
    const { forge, state } = await start();
    addProposal(state);
    expect(await refusedWith(forge.editComment(1, { id: '4711' }, 'gone'))).toBe('NotFound');
  });
}

function rights(traits: ForgeTraits, start: Start): void {
  it('knows its own account, or takes the one that is configured', async () => {
    const { forge, state, server } = await start();
    expect(await forge.whoAmI()).toBe(state.account);
    await server.stop();
    const { forge: named } = await start({}, { account: 'stella[bot]' });
    expect(await named.whoAmI()).toBe('stella[bot]');
  });

  it('tells who may write', async () => {
    const { forge, state } = await start();
    state.permissions.set('bob', 'none');
    const asked = ['stella', 'alice', 'mallory', 'bob', 'nobody'];
    expect(await Promise.all(asked.map((account) => forge.mayWrite(account)))).toEqual([true, true, false, false, false]);
  });

  it.each(['..', '.', '', '../../../user', 'a/../../b', 'x?y=1', '__proto__', 'constructor'])('lets the account %j reach nothing else', async (account) => {
    const { forge, server } = await start();
    const may = await forge.mayWrite(account).catch((error: unknown) => (error instanceof ForgeError ? error.code : String(error)));
    expect([false, 'NotFound', 'Refused']).toContain(may);
    expect(server.seen.every((line) => line.includes('acme') || line.endsWith(' /user'))).toBe(true);
  });

  it('tells what protects a branch', async () => {
    const { forge, state } = await start();
    state.protections.set('main', { forcePushBlocked: true, deletionBlocked: true, proposalRequired: true, requiredStatuses: ['stella/plan'], pushers: null });
    expect(await forge.protectionOf(MAIN)).toMatchObject({ ref: MAIN, forcePushBlocked: true, deletionBlocked: true, proposalRequired: true });
  });

  it('tells that nothing protects a branch', async () => {
    const { forge } = await start();
    expect(await forge.protectionOf(MAIN)).toMatchObject({ forcePushBlocked: false, deletionBlocked: false, proposalRequired: false });
  });

  it('refuses with a clear code once the token has lost its rights, and goes on when it has them back', async () => {
    const { forge, state } = await start();
    addProposal(state);
    await forge.listOpen(MAIN);
    state.token = 'another token';
    expect(await refusedWith(forge.listOpen(MAIN))).toBe('Unauthorized');
    expect(await refusedWith(forge.addComment(1, 'the plan'))).toBe('Unauthorized');
    state.token = 'token-of-stella';
    expect((await forge.listOpen(MAIN)).proposals.length).toBe(1);
    expect(state.comments).toEqual([]);
  });

  it('lists what waits in the merge queue', async () => {
    const { forge, state } = await start();
    for (const [ref, commit] of traits.queue ?? []) state.queue.set(ref, commit);
    state.queue.set('refs/heads/somebody-elses', 'e'.repeat(40));
    const expected = [...(traits.queue ?? [])].map(([ref, commit]) => ({ ref, commit }));
    expect((await forge.listQueued(MAIN)).map(({ ref, commit }) => ({ ref, commit }))).toEqual(expected);
  });
}
