import { createHmac } from 'node:crypto';
import { mkdir } from 'node:fs/promises';
import { join } from 'node:path';
import { afterEach, describe, expect, it } from 'vitest';
import { writeImage } from '../../src/adapters/oci/write-layout.ts';
import type { StartedServer } from '../../src/cli/compose/server.ts';
import type { CommitId } from '../../src/core/model/commit-id.ts';
import { githubDialect } from '../fakes/forge-github.ts';
import { addProposal, fakeForge, startFakeForge, type FakeForgeServer, type FakeProposal } from '../fakes/forge-server.ts';
import { startGitHttpServer, type GitHttpServer } from '../fakes/git-http-server.ts';
import { doc, World } from '../fakes/world.ts';
import { environment, getJson, serverConfig, start } from './serve-fixture.ts';

const within = { timeout: 30_000, interval: 50 };
const SECRETS = { ...environment, FORGE_TOKEN: 'token-of-stella', FORGE_SECRET: 'of the forge' };
let world: World;
let git: GitHttpServer | null = null;
let forge: FakeForgeServer | null = null;
let server: StartedServer | null = null;
afterEach(async () => {
  await server?.close();
  await forge?.stop();
  await git?.close();
  [server, forge, git] = [null, null, null];
  await world.close();
});

/** A server on a git http server with a forge, which finds nothing by itself for an hour. */
async function serving(): Promise<FakeForgeServer> {
  world = await World.create({ idle: true });
  git = await startGitHttpServer({ repository: world.repository.folder });
  forge = await startFakeForge(githubDialect(), fakeForge());
  const config = await serverConfig(world, {
    STELLA_REPOSITORY__URL: git.url, STELLA_POLL_SECONDS: '3600', STELLA_FORGE__TYPE: 'github', STELLA_FORGE__URL: forge.url, STELLA_FORGE__REPOSITORY: 'acme/deploy',
    STELLA_FORGE__TOKEN_REF: 'env:FORGE_TOKEN', STELLA_FORGE__WEBHOOK_SECRET_REF: 'env:FORGE_SECRET',
  });
  await mkdir(join(world.folder, 'images'), { recursive: true });
  await writeImage({ layoutFolder: join(world.folder, 'images', 'shop', 'api'), tag: '1.0', files: [{ path: 'app.txt', content: 'one\n', mode: 0o644 }] });
  server = await start(config, { createLog: true, environment: SECRETS });
  await expect.poll(() => server?.loop.status.lastReport, within).toMatchObject({ ok: true, records: 0 });
  return forge;
}

async function deliver(event: string, payload: object): Promise<number> {
  const body = JSON.stringify(payload);
  const response = await fetch(`http://127.0.0.1:${server?.httpPort}/api/v1/webhooks/github`, {
    method: 'POST', body,
    headers: { 'content-type': 'application/json', 'x-github-event': event, 'x-github-delivery': `${event}-${Math.random()}`, 'x-hub-signature-256': `sha256=${createHmac('sha256', SECRETS.FORGE_SECRET).update(body).digest('hex')}` },
  });
  return response.status;
}

/** A pull request as the forge has it, and as its refs say. */
async function proposed(fake: FakeForgeServer, branch: string, commit: CommitId): Promise<FakeProposal> {
  const proposal = addProposal(fake.forge, { branch, commit });
  await world.repository.git(['update-ref', `refs/pull/${proposal.number}/head`, commit]);
  return proposal;
}

const statusOf = (commit: string) => forge?.forge.statuses.findLast((status) => status.commit === commit);

describe('a server with a forge', () => {
  it('plans what a webhook tells it of, sets the status before it comments, and asks as the forge describes it', async () => {
    const fake = await serving();
    await world.repository.setBranch('feature', (await world.repository.tip()) as CommitId);
    const head = await world.commit([doc('Release', 'shop/1.0', { components: { api: { tag: '1.0' } } }), doc('Promotion', 'dev/shop', { release: '1.0' })], { branch: 'feature', by: world.people.alice });
    const proposal = await proposed(fake, 'feature', head);
    expect(await deliver('pull_request', { action: 'opened', number: proposal.number, pull_request: { number: proposal.number }, repository: { full_name: 'acme/deploy' } })).toBe(202);
    await expect.poll(() => fake.forge.comments.length, within).toBe(1);
    expect(statusOf(head)).toMatchObject({ context: 'stella/plan', state: 'success' });
    expect(fake.forge.comments[0]?.body).toContain(head.slice(0, 12));
    const writes = fake.seen.filter((request) => request.startsWith('POST'));
    expect(writes.map((request) => request.replace(/\/[0-9a-f]{40}.*/, ''))).toEqual(['POST /repos/acme/deploy/statuses', `POST /repos/acme/deploy/issues/${proposal.number}/comments`]);
    expect(fake.faults).toEqual([]);
    const metrics = await (await fetch(`http://127.0.0.1:${server?.httpPort}/metrics`)).text();
    expect(metrics).toMatch(/^stella_proposals_open 1$/m);
    expect(metrics).toMatch(/^stella_proposal_plans_total 1$/m);
  });

  it.each(['merge', 'squash', 'rebase'] as const)('goes on after the merge by %s: merged is not deployed', async (method) => {
    const fake = await serving();
    await world.commit([doc('Release', 'shop/1.0', { components: { api: { tag: '1.0' } } })], { by: world.people.alice });
    await deliver('push', { ref: 'refs/heads/main', repository: { full_name: 'acme/deploy' } });
    await expect.poll(() => server?.reconciler.state?.locks.get('shop/1.0'), within).toBeDefined();
    await world.repository.setBranch('feature', (await world.repository.tip()) as CommitId);
    const releaseSpec = server?.reconciler.state?.locks.get('shop/1.0')?.releaseSpec ?? null;
    const head = await world.commit([await world.promotion('prod', '1.0', { by: world.people.alice, releaseSpec })], { branch: 'feature', by: world.people.alice });
    const proposal = await proposed(fake, 'feature', head);
    await deliver('pull_request', { action: 'opened', number: proposal.number, pull_request: { number: proposal.number }, repository: { full_name: 'acme/deploy' } });
    await expect.poll(() => fake.forge.comments.length, within).toBe(1);
    const mergeCommit = method === 'rebase' ? await rebased(head) : await world.repository[method]({ from: head, sshKey: method === 'merge' ? world.people.alice : undefined });
    Object.assign(proposal, { state: 'merged', mergeCommit, mergedAt: new Date().toISOString(), updatedAt: new Date().toISOString() });
    await deliver('push', { ref: 'refs/heads/main', repository: { full_name: 'acme/deploy' } });
    for (const commit of [head, mergeCommit]) await expect.poll(() => statusOf(commit)?.description, within).toContain('merged, waiting for');
    await expect.poll(() => fake.forge.comments[0]?.body, within).toContain('merged, waiting for');
    expect(fake.forge.comments).toHaveLength(1);
    expect(fake.faults).toEqual([]);
  });

  it('takes a delivery for another repository, wakes nobody, and tells of it', async () => {
    const fake = await serving();
    await expect.poll(() => fake.seen.length, within).toBeGreaterThan(2);
    const seen = fake.seen.length;
    expect(await deliver('pull_request', { action: 'opened', number: 1, pull_request: { number: 1 }, repository: { full_name: 'thief/deploy' } })).toBe(202);
    expect(await (await fetch(`http://127.0.0.1:${server?.httpPort}/metrics`)).text()).toMatch(/^stella_webhook_foreign_total 1$/m);
    server?.loop.wake('test');
    await expect.poll(async () => JSON.stringify((await getJson(server!, '/api/v1/conditions')).body), within).toContain('ForeignDelivery');
    expect(fake.seen.length).toBe(seen);
  });

  it('says that its token has lost its rights, and goes on when it has them again', async () => {
    const fake = await serving();
    fake.forge.token = 'another';
    await world.repository.setBranch('feature', (await world.repository.tip()) as CommitId);
    const head = await world.commit([doc('Release', 'shop/1.0', { components: { api: { tag: '1.0' } } })], { branch: 'feature', by: world.people.alice });
    await proposed(fake, 'feature', head);
    await deliver('push', { ref: 'refs/heads/feature', repository: { full_name: 'acme/deploy' } });
    await expect.poll(() => { server?.loop.wake('test'); return getJson(server!, '/api/v1/conditions').then(({ body }) => JSON.stringify(body)); }, within).toContain('ForgeUnauthorized');
    fake.forge.token = 'token-of-stella';
    await expect.poll(() => statusOf(head)?.state, within).toBe('success');
  });
});

/** What a forge makes of a pull request when it rebases: the same change as another commit on top. */
async function rebased(head: CommitId): Promise<CommitId> {
  const main = (await world.repository.tip()) as CommitId;
  const tree = (await world.repository.git(['merge-tree', '--write-tree', main, head])).split('\n')[0] ?? '';
  const commit = (await world.repository.git(['-c', 'user.name=Forge', '-c', 'user.email=forge@example.test', 'commit-tree', tree, '-p', main, '-m', 'Rebased'])) as CommitId;
  await world.repository.setBranch('main', commit);
  return commit;
}
