import { afterEach, describe, expect, it } from 'vitest';
import { openForge } from '../../src/adapters/forge/open-forge.ts';
import type { CommitId } from '../../src/core/model/commit-id.ts';
import type { ForgeType } from '../../src/ports/forge.ts';
import { bitbucketDialect } from '../fakes/forge-bitbucket.ts';
import { giteaDialect } from '../fakes/forge-gitea.ts';
import { githubDialect } from '../fakes/forge-github.ts';
import { gitlabDialect } from '../fakes/forge-gitlab.ts';
import { addProposal, type FakeForge, fakeForge, type FakeForgeServer, type FakeProposal, type ForgeDialect, startFakeForge } from '../fakes/forge-server.ts';
import { Desk } from './proposals-fixture.ts';

type Kind = { readonly type: ForgeType; readonly dialect: () => ForgeDialect; /** The ref under which it keeps a head; null where it keeps none. */ readonly refOf: (number: number) => string | null };

const KINDS: readonly Kind[] = [
  { type: 'github', dialect: githubDialect, refOf: (number) => `refs/pull/${number}/head` }, { type: 'gitea', dialect: giteaDialect, refOf: (number) => `refs/pull/${number}/head` },
  { type: 'gitlab', dialect: gitlabDialect, refOf: (number) => `refs/merge-requests/${number}/head` }, { type: 'bitbucket', dialect: bitbucketDialect, refOf: () => null },
];

let desk: Desk | null = null;
let server: FakeForgeServer | null = null;

afterEach(async () => {
  const faults = server?.faults ?? [];
  await desk?.close();
  await server?.stop();
  [desk, server] = [null, null];
  // Each request and each answer was as the forge describes it.
  expect(faults).toEqual([]);
});

/** A server of ours, an adapter as it is, and a forge that is asked over HTTP. */
async function stage(kind: Kind): Promise<{ readonly desk: Desk; readonly state: FakeForge; readonly seen: readonly string[] }> {
  const now = (): Date => desk?.world.now ?? new Date('2026-11-01T08:00:00.000Z');
  const state = fakeForge({ now });
  server = await startFakeForge(kind.dialect(), state);
  const world = { now, random: () => 0.5, sleep: () => Promise.resolve(), allowedHosts: null };
  const adapter = await openForge(kind.type, { url: server.url, repository: state.repository, token: () => Promise.resolve('token-of-stella'), account: null }, world);
  desk = await Desk.open({ adapter });
  return { desk, state, seen: server.seen };
}

/** Opens a proposal for what alice asks on a branch of the repository, or of a fork. */
async function propose(kind: Kind, at: { readonly desk: Desk; readonly state: FakeForge }, given: Partial<FakeProposal> = {}): Promise<FakeProposal> {
  const { desk: opened, state } = at;
  const branch = given.branch ?? 'feature';
  const commit = await opened.asks(branch, '1.0');
  const proposal = addProposal(state, { branch, commit, updatedAt: state.now().toISOString(), ...given });
  await keepRef(kind, opened, proposal);
  if (proposal.headRepository !== state.repository) await opened.world.repository.git(['update-ref', '-d', `refs/heads/${branch}`]);
  return proposal;
}

async function keepRef(kind: Kind, { world }: Desk, { number, commit }: FakeProposal): Promise<void> {
  const ref = kind.refOf(number);
  if (ref !== null) await world.repository.git(['update-ref', ref, commit]);
}

function statusOf(state: FakeForge, commit: string): string {
  const status = state.statuses.findLast((one) => one.commit === commit);
  return status === undefined ? 'none' : `${status.state}: ${status.description}`;
}

const writes = (seen: readonly string[]): number => seen.filter((line) => !line.startsWith('GET ')).length;

describe.each(KINDS)('a server with $type', (kind) => {
  it('plans a proposal: the status first, then one comment, which is edited in place after a push', async () => {
    const at = await stage(kind);
    const proposal = await propose(kind, at);
    await at.desk.pass();
    expect(statusOf(at.state, proposal.commit)).toContain('prod/shop 1.0: waiting for sre');
    expect(at.state.comments.map(({ author }) => author)).toEqual([at.state.account]);
    expect(at.state.comments[0]?.body).toContain(proposal.commit);
    const sent = at.seen.filter((line) => !line.startsWith('GET '));
    expect(sent.map((line) => /status/.test(line))).toEqual([true, false]);
    proposal.commit = await at.desk.asks('feature', '1.1');
    proposal.updatedAt = new Date(at.state.now().getTime() + 1000).toISOString();
    at.state.branches.set('feature', proposal.commit);
    await keepRef(kind, at.desk, proposal);
    await at.desk.pass();
    expect(statusOf(at.state, proposal.commit)).not.toBe('none');
    expect(at.state.comments.map(({ body }) => body.includes(proposal.commit))).toEqual([true]);
  });

  it('writes nothing twice, also after a restart on an empty disk', async () => {
    const at = await stage(kind);
    await propose(kind, at);
    await at.desk.pass();
    const before = writes(at.seen);
    await at.desk.pass();
    await at.desk.start();
    await at.desk.reconcile();
    await at.desk.pass();
    expect(writes(at.seen)).toBe(before);
  });

  it('goes on after the merge, on head and merge commit, with other words until it runs', async () => {
    const at = await stage(kind);
    const { desk: opened, state } = at;
    const { world } = opened;
    const proposal = await propose(kind, at);
    await opened.pass();
    const mergeCommit = await world.repository.squash({ from: proposal.commit as CommitId, message: 'Merge' });
    const merged = new Date(state.now().getTime() + 1000).toISOString();
    Object.assign(proposal, { state: 'merged', mergeCommit, mergedAt: merged, updatedAt: merged });
    const words: string[] = [];
    const look = async (): Promise<void> => {
      await opened.pass();
      expect(statusOf(state, proposal.commit)).toBe(statusOf(state, mergeCommit));
      words.push(statusOf(state, mergeCommit));
    };
    await look();
    await opened.reconcile();
    await look();
    const waits = opened.recorded.findLast((record) => record.type === 'promotion-decision');
    const digest = waits?.type === 'promotion-decision' ? waits.predicate.decision.promotionDigest : null;
    await world.commit([await world.approval(world.people.bob, { type: 'promotion', environment: 'prod', application: 'shop', digest: digest! })], { by: world.people.bob });
    await opened.reconcile();
    await look();
    expect(words[0]).toBe('pending: merged, not reconciled yet');
    expect(words[1]).toContain('pending: merged, waiting for');
    expect(words[2]).toMatch(/^success: .*deployed/);
    expect(state.comments.length).toBe(1);
  });

  it('plans a fork only where somebody who may write has asked for it, and only where its head can be fetched', async () => {
    const at = await stage(kind);
    const { state } = at;
    const proposal = await propose(kind, at, { headRepository: 'mallory/deploy', author: 'mallory' });
    await at.desk.pass();
    expect(statusOf(state, proposal.commit)).not.toContain('prod/shop');
    const say = async (author: string): Promise<void> => {
      state.comments.push({ id: 100 + state.comments.length, proposal: proposal.number, author, body: `/stella plan ${proposal.commit}`, createdAt: state.now().toISOString() });
      proposal.updatedAt = new Date(Date.parse(proposal.updatedAt) + 1000).toISOString();
      await at.desk.pass();
    };
    await say('mallory');
    expect(statusOf(state, proposal.commit)).not.toContain('prod/shop');
    await say('alice');
    const planned = state.comments.some(({ author, body }) => author === state.account && body.includes('prod'));
    expect(planned).toBe(kind.refOf(1) !== null);
    // Nobody is promised a plan that cannot be made.
    expect(statusOf(state, proposal.commit) === 'none').toBe(kind.refOf(1) === null);
  });

  it('says that its token has lost its rights, and goes on once it has them back', async () => {
    const at = await stage(kind);
    const proposal = await propose(kind, at);
    const { token } = at.state;
    at.state.token = 'another';
    await at.desk.pass({ fault: 'Unauthorized' });
    expect([statusOf(at.state, proposal.commit), at.state.comments]).toEqual(['none', []]);
    at.state.token = token;
    await at.desk.pass();
    expect(statusOf(at.state, proposal.commit)).toContain('prod/shop 1.0');
  });
});
