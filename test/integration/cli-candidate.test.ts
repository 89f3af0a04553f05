import { mkdir, writeFile } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { afterAll, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import type { Digest } from '../../src/core/model/digest.ts';
import { appStateOf } from '../../src/core/evidence/log-state.ts';
import { doc, World, yamlOf } from '../fakes/world.ts';
import { cloneFor, json, putImage, type Clone } from './cli-fixture.ts';

type Explained = readonly { readonly commit: string; readonly target: string; readonly lock: { digest: Digest | null; basis: string }; readonly decision: { outcome: string; promotionDigest: Digest; reasons: readonly string[] }; readonly requesters: { people: readonly string[] } }[];

let world: World;
let bob: Clone;
beforeAll(async () => {
  world = await World.create();
  await putImage(world, 'shop/api', '1.0', 'one');
  await putImage(world, 'shop/api', '1.1', 'two');
  await world.commit([doc('Release', 'shop/1.0', { components: { api: { tag: '1.0' } } }), doc('Promotion', 'dev/shop', { release: '1.0' })], { by: world.people.alice });
  await world.settle();
  await world.commit([await world.promotion('prod', '1.0', { by: world.people.alice })], { by: world.people.alice });
  await world.settle();
  bob = await cloneFor(world, world.people.bob);
});
afterAll(() => world.close());

const explain = async (ref: string): Promise<Explained[number]> => json<Explained>(await bob.stella(['explain', 'prod/shop', '--ref', ref, '-o', 'json']))[0]!;

/** A commit on a branch that begins at `from`, and nothing else. */
async function branch(name: string, from: string, files: Readonly<Record<string, string>>): Promise<void> {
  await bob.git('switch', '-q', '-C', name, from);
  for (const [path, text] of Object.entries(files)) {
    await mkdir(dirname(join(bob.folder, path)), { recursive: true });
    await writeFile(join(bob.folder, path), text);
  }
  await bob.git('add', '-A');
  await bob.git('commit', '-q', '-S', '--allow-empty', '-m', `Branch ${name}`);
}

const promotion = yamlOf(doc('Promotion', 'prod/shop', { release: '1.1' }));
const release = yamlOf(doc('Release', 'shop/1.1', { components: { api: { tag: '1.1' } } }));

describe('a candidate behind the target branch', () => {
  let base: string;
  beforeAll(async () => {
    base = await bob.git('rev-parse', 'origin/main');
    await world.commit([], { by: world.people.alice, files: { 'notes.txt': 'beside it' } });
    await world.commit([doc('Configuration', 'prod/shop', { variables: { LEVEL: 'new' } })], { by: world.people.alice });
    await world.settle();
    await bob.git('fetch', '-q', 'origin');
  });

  it('is planned as the tip with its own files laid over it, as the merge will be', async () => {
    await branch('behind', base, { 'promotions/prod/shop.yaml': promotion, 'next.yaml': release });
    const before = await explain('behind');
    expect(before).toMatchObject({ commit: await bob.git('rev-parse', 'behind'), target: await bob.git('rev-parse', 'origin/main'), lock: { basis: 'resolved-here' } });
    await branch('merged', 'origin/main', {});
    await bob.git('merge', '-q', '--no-edit', '-S', 'behind').catch(() => undefined);
    const merged = await explain('merged');
    expect(before.decision.promotionDigest).toBe(merged.decision.promotionDigest);
    expect(before.requesters).toEqual(merged.requesters);
    expect(before.requesters.people).toEqual(['alice', 'bob']);
  });

  it('plans the target tip for a commit that the target branch holds already', async () => {
    const [old, now] = [await explain(base), await explain('origin/main')];
    expect(old.decision.promotionDigest).toBe(now.decision.promotionDigest);
  });

  it('approved from there is deployed after the merge', async () => {
    await branch('request', base, { 'promotions/prod/shop.yaml': yamlOf(await world.promotion('prod', '1.0', { by: world.people.alice, attempt: 2 })) });
    const carol = await cloneFor(world, world.people.carol);
    await bob.git('push', '-q', 'origin', 'request');
    await carol.pull();
    const approved = json<{ seenAt: string; onto: string }>(await carol.stella(['approve', 'prod/shop', '--ref', 'request', '--yes', '-o', 'json']));
    expect(approved).toMatchObject({ seenAt: await bob.git('rev-parse', 'request'), onto: await bob.git('rev-parse', 'origin/main') });
    await world.repository.merge({ from: (await world.repository.tip('request'))!, sshKey: world.people.alice });
    await world.settle();
    expect(appStateOf(await world.state(), 'prod', 'shop')).toMatchObject({ release: '1.0', clean: true });
  });
});

describe('a candidate that changed what the target branch changed', () => {
  beforeEach(async () => {
    await bob.git('fetch', '-q', 'origin');
  });

  it('is not planned, and the files are named', async () => {
    const base = await bob.git('rev-parse', 'origin/main');
    await world.commit([doc('Configuration', 'dev/shop', { variables: { LEVEL: 'theirs' } })], { by: world.people.alice });
    await world.settle();
    await bob.git('fetch', '-q', 'origin');
    const dev = yamlOf(doc('Configuration', 'dev/shop', { variables: { LEVEL: 'ours' } }));
    await branch('conflict', base, { 'configurations/dev/shop.yaml': dev, 'promotions/prod/shop.yaml': promotion, 'next.yaml': release });
    for (const args of [['explain', 'prod/shop'], ['approve', 'prod/shop', '--yes'], ['approve', '--pending', '--yes']]) {
      const refused = await bob.stella([...args, '--ref', 'conflict']);
      expect(refused.code).toBe(1);
      expect(refused.stderr).toContain('configurations/dev/shop.yaml');
      expect(refused.stderr).not.toContain('next.yaml');
    }
  });

  it('is planned when both made the same of it', async () => {
    const base = await bob.git('rev-parse', 'origin/main~1');
    await branch('same', base, { 'configurations-dev.yaml': 'kind: nothing\n' });
    await bob.git('checkout', '-q', 'origin/main', '--', '.');
    await branch('same', 'same', { 'next.yaml': release });
    expect((await explain('same')).commit).toBe(await bob.git('rev-parse', 'same'));
  });

  it('is refused when it has no history in common', async () => {
    await bob.git('switch', '-q', '--orphan', 'stranger');
    await bob.git('commit', '-q', '--allow-empty', '-m', 'Alone');
    expect((await bob.stella(['explain', 'prod/shop', '--ref', 'stranger'])).stderr).toContain('no history in common');
  });
});

describe('protected documents of a candidate', () => {
  it('change nothing of what is planned', async () => {
    await branch('quiet', 'origin/main', { 'promotions/prod/shop.yaml': promotion, 'next.yaml': release });
    await branch('loud', 'origin/main', {
      'promotions/prod/shop.yaml': promotion, 'next.yaml': release, 'environments/prod.yaml': yamlOf(doc('Environment', 'prod', { order: 2 })),
      'targets/prod-1.yaml': yamlOf(doc('Target', 'prod-1', { type: 'directory_host', agent: 'host', environments: ['prod'], applications: ['shop'], connection: { root: '/srv/elsewhere' } })),
      'applications/shop.yaml': yamlOf(doc('Application', 'shop', { components: ['api'], deployment: { type: 'directory', files: ['notes.txt'] } })),
    });
    const [quiet, loud] = [await explain('quiet'), await explain('loud')];
    expect(loud.decision.promotionDigest).toBe(quiet.decision.promotionDigest);
    expect(loud.decision.reasons).toEqual(quiet.decision.reasons);
  });
});
