import { afterEach, describe, expect, it } from 'vitest';
import { appStateOf, type AppState } from '../../src/core/evidence/log-state.ts';
import type { CommitId } from '../../src/core/model/commit-id.ts';
import { doc, World } from '../fakes/world.ts';
import { cloneFor, json, putImage, type Clone } from './cli-fixture.ts';

let world: World;
afterEach(() => world.close());

const RULE = { people: 2, roles: [{ role: 'sre', count: 2 }] };
const prod = async (): Promise<AppState> => appStateOf(await world.state(), 'prod', 'shop');

/** prod has run 1.0 and runs 1.1; bob and carol are sre, a rollback takes one of them, and so does broken glass. */
async function twoReleases(): Promise<void> {
  const environment = doc('Environment', 'prod', {
    order: 2, approvals: RULE, rollback: { people: 1, roles: [{ role: 'sre', count: 1 }], withinSeconds: 31_536_000 },
    breakGlass: { people: 1, roles: [{ role: 'sre', count: 1 }], skip: ['approvals'], withinSeconds: 86_400, review: { people: 1, roles: [{ role: 'sre', count: 1 }] } },
  });
  world = await World.create({ documents: [environment], root: { minimums: { breakGlass: { people: 1 } } } });
  for (const release of ['1.0', '1.1']) {
    await putImage(world, 'shop/api', release, release);
    await world.commit([doc('Release', `shop/${release}`, { components: { api: { tag: release } } })], { by: world.people.alice });
    await world.settle();
    await world.commit([await world.promotion('prod', release, { by: world.people.alice })], { by: world.people.alice });
    await world.settle();
    for (const name of ['bob', 'carol'] as const) await yes(await cloneAs(name), 'approve', 'prod/shop');
    await world.settle();
    expect((await prod()).release).toBe(release);
  }
}

const clones = new Map<string, Clone>();
/** One clone for each person and world. */
async function cloneAs(name: 'alice' | 'bob' | 'carol'): Promise<Clone> {
  const known = clones.get(`${world.folder} ${name}`);
  if (known !== undefined) {
    await known.pull();
    return known;
  }
  const made = await cloneFor(world, world.people[name]);
  clones.set(`${world.folder} ${name}`, made);
  return made;
}

async function yes(clone: Clone, ...args: readonly string[]): Promise<object> {
  const result = await clone.stella([...args, '--yes', '-o', 'json']);
  expect(result.stderr).toBe('');
  return json<object>(result);
}

describe('stella rollback', () => {
  it('asks for what ran before, says that one approval is enough, and one is', async () => {
    await twoReleases();
    const alice = await cloneAs('alice');
    const written = json<{ to: string; eased: boolean; clauses: readonly object[] }>(await alice.stella(['rollback', 'prod', '--here', '-o', 'json']));
    expect(written).toMatchObject({ from: '1.1', to: '1.0', eased: true, clauses: [{ name: 'prod/rollback', people: 1 }] });
    await alice.git('push', '-q', 'origin', 'HEAD:main');
    await world.settle();
    await yes(await cloneAs('carol'), 'approve', 'prod/shop');
    await world.settle();
    expect((await prod()).release).toBe('1.0');
    const bob = await cloneAs('bob');
    expect((await bob.stella(['verify'])).code).toBe(0);
    expect((await bob.stella(['replay'])).code).toBe(0);
    expect((await bob.stella(['rollback', 'prod'])).code).toBe(1);
  });
});

describe('a request for what was asked for before, with something else in between', () => {
  it('is another attempt, so that a squash by a forge does not lose who asks', async () => {
    await twoReleases();
    const alice = await cloneAs('alice');
    expect((await alice.stella(['rollback', 'prod', '--here'])).code).toBe(0);
    await alice.git('-c', 'user.name=forge', 'commit', '-q', '--amend', '--no-edit', '--no-gpg-sign');
    await alice.git('push', '-q', 'origin', 'HEAD:main');
    await world.settle();
    expect((await prod()).lastDecision).toMatchObject({ outcome: 'pending', release: '1.0' });
    const [explained] = json<readonly { requesters: object }[]>(await (await cloneAs('carol')).stella(['explain', 'prod/shop', '-o', 'json']));
    expect(explained?.requesters).toEqual({ people: ['alice'], unknown: 0 });
  });
});

describe('broken glass', () => {
  it('is asked for, approved, shown as a debt, and reviewed by somebody who took no part', async () => {
    await twoReleases();
    const expires = new Date(world.now.getTime() + 3_600_000).toISOString();
    await putImage(world, 'shop/api', '1.2', '1.2');
    await world.commit([doc('Release', 'shop/1.2', { components: { api: { tag: '1.2' } } })], { by: world.people.alice });
    await world.settle();
    const alice = await cloneAs('alice');
    expect((await alice.stella(['promote', 'shop/1.2', '--to', 'prod', '--break-glass', 'freeze', '--reason', 'x', '--expires', expires])).code).toBe(2);
    expect((await alice.stella(['promote', 'shop/1.2', '--to', 'prod', '--break-glass', 'approvals', '--reason', 'shop is down', '--expires', expires, '--here'])).code).toBe(0);
    await alice.git('push', '-q', 'origin', 'HEAD:main');
    await world.settle();
    await yes(await cloneAs('carol'), 'approve', 'prod/shop');
    await world.settle();
    expect((await prod()).release).toBe('1.2');
    const carol = await cloneAs('carol');
    expect((await carol.stella(['status'])).stdout).toContain('stella approve --review prod/shop');
    expect((await carol.stella(['approve', '--review', 'prod/shop', '--yes'])).code).toBe(1);
    await yes(await cloneAs('bob'), 'approve', '--review', 'prod/shop');
    await world.settle();
    expect((await prod()).debts).toEqual([]);
    const bob = await cloneAs('bob');
    expect((await bob.stella(['verify'])).code).toBe(0);
    expect((await bob.stella(['replay'])).code).toBe(0);
    expect((await bob.stella(['approve', '--review', 'prod/shop', '--yes'])).code).toBe(1);
  });
});

describe('stella approve --rewrite', () => {
  it('shows what differs, is told by status, and lets the log go on; a clone without it cannot sign', async () => {
    world = await World.create();
    await world.commit([doc('Configuration', 'dev/shop', { variables: { A: '1' } })], { by: world.people.alice });
    await world.settle();
    const from = (await world.repository.tip()) as CommitId;
    const bob = await cloneFor(world, world.people.bob);
    await world.repository.setBranch('main', (await world.repository.git(['rev-parse', 'main~1'])) as CommitId);
    const to = await world.commit([doc('Configuration', 'dev/shop', { variables: { A: '2' } })], { by: world.people.alice });
    expect((await world.pass()).fault?.code).toBe('Rewound');
    await bob.git('fetch', '-q', 'origin', '+refs/heads/*:refs/remotes/origin/*');
    expect((await bob.stella(['status'])).stdout).toContain(`stella approve --rewrite ${from}..${to}`);
    const fresh = await cloneFor(world, world.people.carol);
    await fresh.git('reflog', 'expire', '--all', '--expire=now');
    await fresh.git('gc', '-q', '--prune=now');
    expect((await fresh.stella(['approve', '--rewrite', `${from}..${to}`, '--yes'])).stderr).toContain('nobody can see what differs');
    const approved = await yes(bob, 'approve', '--rewrite', `${from}..${to}`);
    expect(approved).toMatchObject({ type: 'rewrite', subjects: ['dev/shop'], everything: null, differs: ['Configuration/dev/shop'] });
    await world.settle();
    expect((await world.state()).tip?.commit).toBe(to);
    await bob.pull();
    const verified = json<{ ok: boolean; tips: number; population: { byType: { anchor: number } } }>(await bob.stella(['verify', '-o', 'json']));
    expect(verified).toMatchObject({ ok: true, population: { byType: { anchor: 1 } } });
    expect((await bob.stella(['approve', '--rewrite', `${from}..${to}`, '--yes'])).code).toBe(1);
  });
});
