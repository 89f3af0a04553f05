import { rm, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { fetchHead } from '../../src/cli/approve-target.ts';
import { openUserGit } from '../../src/cli/compose/user-git.ts';
import type { CommitId } from '../../src/core/model/commit-id.ts';
import { appStateOf, inForceOf } from '../../src/core/evidence/log-state.ts';
import type { Digest } from '../../src/core/model/digest.ts';
import { bitbucketDialect } from '../fakes/forge-bitbucket.ts';
import { giteaDialect } from '../fakes/forge-gitea.ts';
import { githubDialect } from '../fakes/forge-github.ts';
import { gitlabDialect } from '../fakes/forge-gitlab.ts';
import { addProposal, fakeForge, startFakeForge, type FakeForgeServer } from '../fakes/forge-server.ts';
import { startGitHttpServer, type GitHttpServer } from '../fakes/git-http-server.ts';
import type { SshKey } from '../fakes/git-repository.ts';
import { LiveBranches } from '../fakes/live-branches.ts';
import { doc, World } from '../fakes/world.ts';
import { cloneFor, json, putImage, type CliResult, type Clone } from './cli-fixture.ts';

type Asked = { readonly commit: string; readonly branch: string; readonly proposal: { readonly number: number; readonly url: string; readonly opened: boolean } };
type Answer = { readonly type: 'promotion' | 'change'; readonly digest: Digest; readonly missing: readonly string[] };
type Answers = { readonly commit: string; readonly number: number | null; readonly answers: readonly Answer[]; readonly notes: readonly string[] };

let world: World;
let git: GitHttpServer;
let forge: FakeForgeServer;
/** Of the forge. */
let type: string;
const TOKEN = { environment: { STELLA_FORGE_TOKEN: 'token-of-stella' } };

/** dev runs 1.0; a forge stands over the repository that everybody clones over http. */
async function begin(dialect = giteaDialect()): Promise<void> {
  world = await World.create({ documents: [doc('Environment', 'prod', { order: 2, from: [{ environment: 'dev' }], approvals: { people: 2, roles: [{ role: 'sre', count: 2 }] } })] });
  for (const tag of ['1.0', '1.1']) await putImage(world, 'shop/api', tag, tag);
  const releases = ['1.0', '1.1'].map((tag) => doc('Release', `shop/${tag}`, { components: { api: { tag } } }));
  await world.commit([...releases, doc('Promotion', 'dev/shop', { release: '1.0' })], { by: world.people.alice });
  await world.settle();
  git = await startGitHttpServer({ repository: world.repository.folder });
  type = dialect.type;
  forge = await startFakeForge(dialect, fakeForge({ branches: new LiveBranches(world.repository.folder) }));
}

afterEach(async () => {
  await forge.stop();
  await git.close();
  await world.close();
});

async function cloneOf(key: SshKey): Promise<Clone> {
  const folder = join(world.folder, `clone-${key.name}`);
  await rm(folder, { recursive: true, force: true });
  const clone = await cloneFor(world, key);
  await clone.git('remote', 'set-url', 'origin', git.url);
  await clone.git('config', 'stella.forge', `${type}:acme/deploy`);
  await clone.git('config', 'stella.forgeUrl', forge.url);
  return { ...clone, stella: (args, options) => clone.stella(args, { ...TOKEN, ...options }) };
}

const promote = async (clone: Clone, version: string): Promise<Asked> => json<Asked>(await clone.stella(['promote', `shop/${version}`, '--to', 'prod', '-o', 'json']));
/** What a forge does by itself: a ref for the head of each pull request. */
const publishHeads = async (): Promise<void> => {
  for (const { number, commit } of forge.forge.proposals) await world.repository.git(['update-ref', `refs/pull/${number}/head`, commit]);
};
const approve = async (clone: Clone, ...args: readonly string[]): Promise<CliResult> => clone.stella(['approve', ...args, '--yes', '-o', 'json']);

describe.each([['Gitea', giteaDialect], ['GitHub', githubDialect], ['GitLab', gitlabDialect], ['Bitbucket', bitbucketDialect]] as const)('stella promote where the clone names a forge like %s', (_, dialect) => {
  let alice: Clone;
  beforeEach(async () => {
    await begin(dialect());
    alice = await cloneOf(world.people.alice);
  });

  it('opens the pull request, finds it when done again, and never merges', async () => {
    const asked = await promote(alice, '1.0');
    expect(asked).toMatchObject({ branch: 'promote/prod/shop-1.0', proposal: { number: 1, opened: true } });
    const [proposal] = forge.forge.proposals;
    expect(proposal).toMatchObject({ title: 'Promote shop 1.0 to prod', base: 'main', branch: 'promote/prod/shop-1.0', commit: asked.commit, state: 'open' });
    expect(proposal!.body).toContain('stella approve');
    expect(await promote(alice, '1.0')).toMatchObject({ commit: asked.commit, proposal: { number: 1, opened: false } });
    expect(forge.forge.proposals).toHaveLength(1);
    expect((await alice.stella(['promote', 'shop/1.0', '--to', 'prod'])).stdout).toContain(asked.proposal.url);
    expect(forge.faults).toEqual([]);
  });
});

describe('a forge that does not do as asked', () => {
  let alice: Clone;
  beforeEach(async () => {
    await begin();
    alice = await cloneOf(world.people.alice);
  });
  const pushed = async (): Promise<string> => world.repository.git(['for-each-ref', 'refs/heads/promote']);

  it('is asked before anything is written, so a token that is missing or lost its rights leaves nothing', async () => {
    const missing = await alice.stella(['promote', 'shop/1.0', '--to', 'prod'], { environment: { STELLA_FORGE_TOKEN: '' } });
    expect(missing).toMatchObject({ code: 2 });
    expect(missing.stderr).toContain('STELLA_FORGE_TOKEN');
    forge.forge.token = 'another';
    const lost = await alice.stella(['promote', 'shop/1.0', '--to', 'prod']);
    expect(lost).toMatchObject({ code: 2 });
    expect(lost.stderr).toContain('Nothing was written');
    expect(lost.stderr).not.toContain('token-of-stella');
    expect(await pushed()).toBe('');
    expect(await alice.git('for-each-ref', 'refs/heads/promote')).toBe('');
  });

  it('leaves a pushed branch that is named, and the next call goes on from it', async () => {
    forge.misbehave((request, response) => {
      if (request.method !== 'POST') return false;
      response.writeHead(403, { 'content-type': 'application/json' }).end('{"message":"no"}');
      return true;
    });
    const refused = await alice.stella(['promote', 'shop/1.0', '--to', 'prod']);
    expect(refused).toMatchObject({ code: 2 });
    expect(refused.stderr).toContain('Branch promote/prod/shop-1.0 is pushed');
    forge.misbehave(() => false);
    const tip = await world.repository.tip('promote/prod/shop-1.0');
    expect(await promote(alice, '1.0')).toMatchObject({ commit: tip, proposal: { number: 1, opened: true } });
  });

  it('reads its token where the clone says, and is no forge where the setting names none', async () => {
    const file = join(world.folder, 'token');
    await writeFile(file, 'token-of-stella\n');
    await alice.git('config', 'stella.forgeTokenRef', `file:${file}`);
    expect((await alice.stella(['promote', 'shop/1.0', '--to', 'prod'], { environment: { STELLA_FORGE_TOKEN: '' } })).code).toBe(0);
    for (const wrong of ['acme/deploy', 'sourceforge:acme/deploy', 'gitea:deploy', 'gitea:acme/../deploy', 'gitea:acme/deploy.git']) {
      await alice.git('config', 'stella.forge', wrong);
      const refused = await alice.stella(['promote', 'shop/1.1', '--to', 'prod']);
      expect(refused).toMatchObject({ code: 2 });
      expect(refused.stderr).toContain('stella.forge');
    }
  });
});

describe('stella approve with the number of a pull request', () => {
  let alice: Clone;
  let bob: Clone;
  beforeEach(async () => {
    await begin();
    alice = await cloneOf(world.people.alice);
    bob = await cloneOf(world.people.bob);
  });

  it('approves what the head that the forge names would run, before the merge, and says who is missing', async () => {
    const asked = await promote(alice, '1.0');
    await publishHeads();
    const done = json<Answers>(await approve(bob, '#1'));
    expect(done).toMatchObject({ number: 1, commit: asked.commit, answers: [{ type: 'promotion', action: 'approve' }] });
    expect(done.answers[0]!.missing.join(' ')).toContain('carol');
    expect(await bob.git('symbolic-ref', '--short', 'HEAD')).toBe('main');
    const carol = await cloneOf(world.people.carol);
    const last = await carol.stella(['approve', '1'], { answers: 'y\n' });
    expect(last).toMatchObject({ code: 0 });
    expect(last.stdout).toContain('Nothing is missing');
    await world.settle();
    await world.repository.merge({ from: (await world.repository.tip(asked.branch))!, sshKey: world.people.alice });
    await world.settle();
    expect(appStateOf(await world.state(), 'prod', 'shop')).toMatchObject({ release: '1.0', clean: true });
    expect(forge.faults).toEqual([]);
  });

  it('asks nobody who asked, who has approved, or whose approval would not count', async () => {
    await promote(alice, '1.0');
    await publishHeads();
    const own = await approve(alice, '1');
    expect(own).toMatchObject({ code: 1 });
    expect(own.stderr).toContain('you asked for it');
    expect((await approve(bob, '1')).code).toBe(0);
    const twice = await approve(bob, '1');
    expect(twice).toMatchObject({ code: 1 });
    expect(twice.stderr).toContain('counts already');
  });

  it('refuses one that is closed, goes elsewhere, or is not there', async () => {
    await promote(alice, '1.0');
    await publishHeads();
    forge.forge.proposals[0]!.state = 'closed';
    expect((await approve(bob, '1')).stderr).toContain('closed');
    addProposal(forge.forge, { branch: 'promote/prod/shop-1.0', base: 'elsewhere', commit: (await world.repository.tip('promote/prod/shop-1.0'))! });
    await publishHeads();
    expect((await approve(bob, '2')).stderr).toContain('goes into elsewhere');
    expect((await approve(bob, '77')).code).toBe(2);
    await bob.git('config', '--unset', 'stella.forge');
    expect((await approve(bob, '1')).stderr).toContain('names no forge');
    expect(await world.repository.git(['for-each-ref', 'refs/heads/stella/approvals'])).toBe('');
  });

  it('signs nothing where the forge names a head that its ref does not hold', async () => {
    await promote(alice, '1.0');
    await publishHeads();
    forge.forge.proposals[0]!.commit = 'a'.repeat(40);
    const moved = await approve(bob, '1');
    expect(moved).toMatchObject({ code: 2 });
    expect(moved.stderr).toContain('moved');
    expect(await world.repository.git(['for-each-ref', 'refs/heads/stella/approvals'])).toBe('');
  });

  it('asks git for one ref and nothing else, whatever the forge says that it is called', async () => {
    const { commit } = await promote(alice, '1.0');
    const before = await bob.git('for-each-ref');
    const repository = { git: openUserGit(bob.folder, { PATH: process.env['PATH'], GIT_CONFIG_GLOBAL: '/dev/null' }) };
    for (const fetchRef of ['+refs/heads/main:refs/heads/evil', 'refs/heads/main:refs/heads/evil', '--upload-pack=touch evil', 'refs/heads/*', 'refs/heads/../../evil', 'refs/heads/a b', '', null]) {
      const head = { fetchRef, branch: 'x', commit: commit as CommitId };
      await expect(fetchHead(repository, { number: 1, state: 'open', head })).rejects.toMatchObject({ code: 'FetchFailed' });
    }
    expect(await bob.git('for-each-ref')).toBe(before);
    expect(await fetchHead(repository, { number: 1, state: 'open', head: { fetchRef: 'refs/heads/promote/prod/shop-1.0', branch: 'x', commit: commit as CommitId } })).toBe(commit);
  });

  it('finds what it changed after a squash as well', async () => {
    const { commit } = await promote(alice, '1.0');
    await publishHeads();
    const files = { 'promotions/prod/shop.yaml': `${await world.repository.git(['show', `${commit}:promotions/prod/shop.yaml`])}\n` };
    const squashed = await world.repository.commit({ message: 'Promote (#1)', files });
    await world.settle();
    Object.assign(forge.forge.proposals[0]!, { state: 'merged', mergeCommit: squashed, mergedAt: '2026-03-02T12:00:00.000Z' });
    expect(json<Answers>(await approve(bob, '1')).answers).toMatchObject([{ type: 'promotion', environment: 'prod', onto: squashed }]);
  });
});

describe('stella approve with a branch or a digest', () => {
  let alice: Clone;
  let bob: Clone;
  beforeEach(async () => {
    await begin();
    [alice, bob] = [await cloneOf(world.people.alice), await cloneOf(world.people.bob)];
  });

  it('takes promotion and protected changes of a branch, each with a question of its own', async () => {
    await alice.git('switch', '-q', '-c', 'both');
    await writeFile(join(alice.folder, 'qa.yaml'), 'apiVersion: stella/v1alpha1\nkind: Environment\nmetadata: {name: qa}\nspec: {order: 7}\n');
    await alice.git('add', 'qa.yaml');
    await alice.git('commit', '-q', '-S', '-m', 'Add qa');
    expect((await alice.stella(['promote', 'shop/1.0', '--to', 'prod', '--here'])).code).toBe(0);
    await alice.git('push', '-q', 'origin', 'both');
    const first = await bob.stella(['approve', 'both'], { answers: 'n\nn\n' });
    expect(first.stderr).toContain('Promotion of shop 1.0');
    expect(first.stderr).toContain('Environment/qa is new');
    expect(first.code).toBe(1);
    const done = json<Answers>(await approve(bob, 'both'));
    expect(done.answers.map(({ type }) => type)).toEqual(['promotion', 'change']);
    expect(done.answers[1]!.missing).toEqual([]);
    await world.repository.merge({ from: (await world.repository.tip('both'))!, sshKey: world.people.alice });
    await world.settle();
    expect(inForceOf(await world.state(), 'Environment', 'qa')).not.toBeNull();
    const state = appStateOf(await world.state(), 'prod', 'shop');
    expect(state.lastDecision).toMatchObject({ release: '1.0' });
    expect(state.approvals).toHaveLength(1);
  });

  it('approves exactly what has a digest, wherever it waits, and nothing for one that nothing has', async () => {
    const asked = await promote(alice, '1.0');
    await publishHeads();
    const { answers } = json<Answers>(await approve(bob, asked.branch));
    const digest = answers[0]!.digest;
    const carol = await cloneOf(world.people.carol);
    expect(json<Answers>(await approve(carol, digest.slice('sha256:'.length, 'sha256:'.length + 12))).answers).toMatchObject([{ digest }]);
    const unknown = await approve(carol, `sha256:${'0'.repeat(64)}`);
    expect(unknown).toMatchObject({ code: 1 });
    await world.repository.merge({ from: (await world.repository.tip(asked.branch))!, sshKey: world.people.alice });
    await world.settle();
    expect(appStateOf(await world.state(), 'prod', 'shop').release).toBe('1.0');
  });

  it('finds the digest of what waits on the target branch', async () => {
    const asked = await promote(alice, '1.0');
    await world.repository.merge({ from: (await world.repository.tip(asked.branch))!, sshKey: world.people.alice });
    await world.settle();
    await bob.git('fetch', '-q', 'origin');
    const [one] = json<readonly { decision: { promotionDigest: Digest } }[]>(await bob.stella(['explain', 'prod/shop', '--ref', 'origin/main', '-o', 'json']));
    expect(json<Answers>(await approve(bob, one!.decision.promotionDigest)).answers).toMatchObject([{ digest: one!.decision.promotionDigest }]);
  });

  it('says what can be named where nothing has the name', async () => {
    const unknown = await approve(bob, 'no-such-branch');
    expect(unknown).toMatchObject({ code: 2 });
    expect(unknown.stderr).toContain('at least twelve digits');
    expect((await approve(bob, '12', '--ref', 'main')).code).toBe(2);
  });
});
