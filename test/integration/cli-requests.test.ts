import { readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { appStateOf } from '../../src/core/evidence/log-state.ts';
import type { AnyDocument } from '../../src/core/model/documents.ts';
import { startGitHttpServer, type GitHttpServer } from '../fakes/git-http-server.ts';
import { doc, World } from '../fakes/world.ts';
import { cloneFor, json, putImage, type Clone } from './cli-fixture.ts';

type Asked = {
  readonly commit: string | null; readonly branch: string; readonly remote: string | null; readonly isNew: boolean; readonly isThere: boolean; readonly attempt: number;
  readonly replaces: readonly { readonly release: string; readonly approvedBy: readonly string[] }[]; readonly rivals: readonly { readonly branch: string }[];
};

let world: World;
let server: GitHttpServer;
let alice: Clone;
afterEach(async () => {
  await server.close();
  await world.close();
});

/** dev runs 1.0 and everybody clones over http. */
async function begin(documents: readonly AnyDocument[] = []): Promise<void> {
  world = await World.create({ documents });
  for (const tag of ['1.0', '1.1', '1.2']) await putImage(world, 'shop/api', tag, tag);
  const releases = ['1.0', '1.1', '1.2'].map((tag) => doc('Release', `shop/${tag}`, { components: { api: { tag } } }));
  await world.commit([...releases, doc('Promotion', 'dev/shop', { release: '1.0' })], { by: world.people.alice });
  await world.settle();
  server = await startGitHttpServer({ repository: world.repository.folder });
  alice = await overHttp(world.people.alice);
}

async function overHttp(key: Parameters<typeof cloneFor>[1]): Promise<Clone> {
  const clone = await cloneFor(world, key);
  await clone.git('remote', 'set-url', 'origin', server.url);
  return clone;
}

const promote = async (clone: Clone, version: string, ...more: readonly string[]): Promise<Asked> => json<Asked>(await clone.stella(['promote', `shop/${version}`, '--to', 'prod', '-o', 'json', ...more]));
const merge = async (branch: string): Promise<void> => {
  await world.repository.merge({ from: (await world.repository.tip(branch))!, sshKey: world.people.alice });
  await world.settle();
};

describe('stella promote on a branch of its own', () => {
  beforeEach(() => begin());

  it('pushes one signed commit with one file, and leaves worktree, index and branch as they are', async () => {
    await writeFile(join(alice.folder, 'notes.txt'), 'not finished');
    await writeFile(join(alice.folder, 'environments/prod.yaml'), 'half an edit');
    await alice.git('add', 'notes.txt');
    const before = await alice.git('status', '--porcelain');
    const asked = await promote(alice, '1.0');
    expect(asked).toMatchObject({ branch: 'promote/prod/shop-1.0', remote: 'origin', isNew: true, attempt: 1 });
    expect(await alice.git('status', '--porcelain')).toBe(before);
    expect(await alice.git('symbolic-ref', '--short', 'HEAD')).toBe('main');
    expect(await alice.git('for-each-ref', 'refs/heads/promote')).toBe('');
    const tip = (await world.repository.tip('promote/prod/shop-1.0'))!;
    expect(tip).toBe(asked.commit);
    expect(await world.repository.git(['diff', '--name-only', 'main', tip])).toBe('promotions/prod/shop.yaml');
    expect(await world.repository.git(['rev-parse', `${tip}^`])).toBe(await world.repository.tip());
    expect(await world.repository.git(['cat-file', 'commit', tip])).toContain('gpgsig -----BEGIN SSH SIGNATURE-----');
    await merge('promote/prod/shop-1.0');
    expect(appStateOf(await world.state(), 'prod', 'shop').lastDecision).toMatchObject({ release: '1.0', outcome: 'pending' });
  });

  it('is made from what the target branch holds now, although the clone is behind', async () => {
    await world.commit([doc('Configuration', 'prod/shop', { variables: { LEVEL: 'new' } })], { by: world.people.carol });
    await world.settle();
    const { commit } = await promote(alice, '1.0');
    expect(await world.repository.git(['rev-parse', `${commit!}^`])).toBe(await world.repository.tip());
  });

  it('finds the branch of the first time when it is done again, by anybody', async () => {
    const first = await promote(alice, '1.0');
    expect(await promote(alice, '1.0')).toMatchObject({ commit: first.commit, branch: first.branch, isNew: false });
    const bob = await overHttp(world.people.bob);
    expect(await promote(bob, '1.0')).toMatchObject({ commit: first.commit, isNew: false });
    await merge(first.branch);
    const merged = await bob.stella(['promote', 'shop/1.0', '--to', 'prod']);
    expect(merged).toMatchObject({ code: 0 });
    expect(merged.stdout).toContain('asks for shop 1.0 in prod already');
  });

  it('takes a new name where a branch asks for the same and brings something else along, whoever made it', async () => {
    const first = await promote(alice, '1.0');
    const more = await world.commit([doc('Configuration', 'prod/shop', { variables: { LEVEL: 'slipped in' } })], { by: world.people.carol, branch: first.branch });
    const bob = await overHttp(world.people.bob);
    expect(await promote(bob, '1.0')).toMatchObject({ branch: 'promote/prod/shop-1.0-2', isNew: true });
    expect(await world.repository.tip(first.branch)).toBe(more);
  });

  it('takes a new name where an old branch was merged or asks for something else, and moves none', async () => {
    const first = await promote(alice, '1.0');
    await merge(first.branch);
    const second = await promote(alice, '1.1');
    await merge(second.branch);
    const back = await promote(alice, '1.0');
    expect(back).toMatchObject({ branch: 'promote/prod/shop-1.0-attempt-2', attempt: 2, isNew: true });
    await world.repository.git(['branch', 'promote/prod/shop-1.2', 'main']);
    expect(await promote(alice, '1.2')).toMatchObject({ branch: 'promote/prod/shop-1.2-2', isNew: true });
    const taken = await alice.stella(['promote', 'shop/1.2', '--to', 'prod', '--branch', first.branch]);
    expect(taken).toMatchObject({ code: 2 });
    expect(taken.stderr).toContain('asks for something else');
    expect(await world.repository.tip(first.branch)).toBe(first.commit);
  });

  it('keeps what is signed on a local branch when the remote does not take it, and goes on from there', async () => {
    await world.repository.rejectPushes('the door is shut');
    const refused = await alice.stella(['promote', 'shop/1.0', '--to', 'prod']);
    expect(refused).toMatchObject({ code: 2 });
    expect(refused.stderr).toContain('git push origin promote/prod/shop-1.0');
    const kept = await alice.git('rev-parse', 'refs/heads/promote/prod/shop-1.0');
    await world.repository.rejectPushes(null);
    expect(await promote(alice, '1.0')).toMatchObject({ commit: kept, isNew: false });
    expect(await world.repository.tip('promote/prod/shop-1.0')).toBe(kept);
  });

  it('writes nothing where the remote cannot be asked, but for a branch here with --no-push', async () => {
    await alice.git('remote', 'set-url', 'origin', 'http://127.0.0.1:1/gone.git');
    const refused = await alice.stella(['promote', 'shop/1.0', '--to', 'prod']);
    expect(refused).toMatchObject({ code: 2 });
    expect(refused.stderr).toContain('--no-push');
    expect(await alice.git('for-each-ref', 'refs/heads/promote')).toBe('');
    const kept = await promote(alice, '1.0', '--no-push', '--branch', 'mine');
    expect(kept).toMatchObject({ branch: 'mine', remote: null });
    expect(await alice.git('rev-parse', 'mine')).toBe(kept.commit);
  });

  it('says where a release that only lies here has to go first', async () => {
    await writeFile(join(alice.folder, 'next.yaml'), 'apiVersion: stella/v1alpha1\nkind: Release\nmetadata: {name: shop/2.0}\nspec: {components: {api: {tag: "1.0"}}}\n');
    const refused = await alice.stella(['promote', 'shop/2.0', '--to', 'prod']);
    expect(refused).toMatchObject({ code: 2 });
    expect(refused.stderr).toContain('--here');
    expect((await alice.stella(['promote', 'shop/2.0', '--to', 'prod', '--no-commit'])).code).toBe(0);
  });

  it('is committed where the person is in a clone without a remote', async () => {
    await alice.git('fetch', '-q', 'origin', '+refs/heads/stella/evidence:refs/heads/stella/evidence');
    await alice.git('remote', 'remove', 'origin');
    expect((await alice.stella(['promote', 'shop/1.0', '--to', 'prod'])).code).toBe(0);
    expect(await alice.git('log', '-1', '--format=%s', 'main')).toBe('Promote shop 1.0 to prod');
  });
});

describe('a hotfix past a promotion that waits', () => {
  beforeEach(() => begin([doc('Environment', 'prod', { order: 2, from: [{ environment: 'dev' }], approvals: { people: 2, roles: [{ role: 'sre', count: 2 }] } })]));

  it('says what it takes the place of and whose approvals fall, and supersedes it', async () => {
    await merge((await promote(alice, '1.0')).branch);
    const carol = await overHttp(world.people.carol);
    expect((await carol.stella(['approve', 'prod/shop', '--yes'])).code).toBe(0);
    await world.settle();
    expect(appStateOf(await world.state(), 'prod', 'shop').lastDecision).toMatchObject({ release: '1.0', outcome: 'pending' });
    const hotfix = await promote(alice, '1.1');
    expect(hotfix.replaces).toMatchObject([{ subject: 'prod/shop', release: '1.0', approvedBy: ['carol'] }]);
    await merge(hotfix.branch);
    const state = await world.state();
    expect(appStateOf(state, 'prod', 'shop').lastDecision).toMatchObject({ release: '1.1', outcome: 'pending' });
    await alice.git('fetch', '-q', 'origin');
    const status = json<{ environments: readonly { environment: string; applications: readonly { waiting: { release: string } }[] }[] }>(await alice.stella(['status', 'prod', '-o', 'json']));
    expect(status.environments[0]!.applications[0]!.waiting.release).toBe('1.1');
    expect((await alice.stella(['verify'])).code).toBe(0);
  });

  it('names the other branches that would change the same document', async () => {
    const first = await promote(alice, '1.0');
    const second = await promote(alice, '1.1');
    expect(second.rivals).toEqual([{ branch: first.branch, number: null }]);
    await merge(second.branch);
    expect((await promote(alice, '1.2')).rivals).toEqual([]);
  });
});

describe('stella retry', () => {
  beforeEach(() => begin());

  it('asks for a new attempt of what failed, once, and says why where nothing failed', async () => {
    world.executor.answer = 'Failed';
    await world.commit([doc('Promotion', 'dev/shop', { release: '1.1' })], { by: world.people.alice });
    await world.settle();
    expect(appStateOf(await world.state(), 'dev', 'shop').closed).not.toBeNull();
    const asked = json<Asked>(await alice.stella(['retry', 'dev/shop', '-o', 'json']));
    expect(asked).toMatchObject({ attempt: 2, branch: 'promote/dev/shop-1.1-attempt-2', isNew: true });
    expect(json<Asked>(await alice.stella(['retry', 'dev/shop', '-o', 'json']))).toMatchObject({ attempt: 2, commit: asked.commit, isNew: false });
    world.executor.answer = 'Succeeded';
    await merge(asked.branch);
    expect(appStateOf(await world.state(), 'dev', 'shop')).toMatchObject({ release: '1.1', clean: true, closed: null });
    const again = await alice.stella(['retry', 'dev/shop']);
    expect(again).toMatchObject({ code: 1 });
    expect(again.stderr).toContain('1.1 succeeded');
    await merge((await promote(alice, '1.1')).branch);
    expect((await alice.stella(['retry', 'prod/shop'])).stderr).toContain('waits');
  });
});

describe('stella rollback of an environment', () => {
  it('goes back with each application of which something ran before, in one commit on one branch', async () => {
    const target = (name: string, application: string): AnyDocument => doc('Target', name, { type: 'directory_host', agent: 'host', environments: ['dev'], applications: [application], connection: { root: `/srv/${name}` } });
    const application = (name: string): AnyDocument => doc('Application', name, { components: [name], deployment: { type: 'directory' } });
    const component = (name: string): AnyDocument => doc('Component', name, { repository: 'shop/api', registry: 'images' });
    await begin([application('blog'), application('new'), component('blog'), component('new'), target('dev-2', 'blog'), target('dev-3', 'new')]);
    const releases = ['1', '2'].map((version) => doc('Release', `blog/${version}`, { components: { blog: { tag: `1.${version}` } } }));
    await world.commit([...releases, doc('Release', 'new/1', { components: { new: { tag: '1.0' } } }), doc('Promotion', 'dev/blog', { release: '1' }), doc('Promotion', 'dev/new', { release: '1' })], { by: world.people.alice });
    await world.settle();
    await world.commit([doc('Promotion', 'dev/blog', { release: '2' }), doc('Promotion', 'dev/shop', { release: '1.1' })], { by: world.people.alice });
    await world.settle();
    await alice.pull();
    const shown = await alice.stella(['rollback', 'dev']);
    expect(shown).toMatchObject({ code: 0 });
    expect(shown.stdout).toContain('dev/blog goes back from 2 to 1');
    expect(shown.stdout).toContain('dev/shop goes back from 1.1 to 1.0');
    expect(shown.stdout).toContain('Nothing ran before in dev/new');
    const tip = (await world.repository.tip('promote/dev/rollback'))!;
    expect(await world.repository.git(['log', '--format=%s', `main..${tip}`])).toBe('Promote blog 1, shop 1.0 in dev');
    await merge('promote/dev/rollback');
    const state = await world.state();
    expect(['blog', 'shop', 'new'].map((name) => appStateOf(state, 'dev', name).release)).toEqual(['1', '1.0', '1']);
    expect((await alice.stella(['rollback', 'dev/new'])).code).toBe(1);
    expect(await readFile(join(alice.folder, 'promotions/dev/shop.yaml'), 'utf8')).toContain('1.1');
  });
});
