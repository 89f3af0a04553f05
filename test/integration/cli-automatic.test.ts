import { readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { appStateOf, inForceOf } from '../../src/core/evidence/log-state.ts';
import { documentDigest } from '../../src/core/model/documents.ts';
import { changeDigest } from '../../src/core/model/preimages.ts';
import { changeTo } from '../../src/core/trust/apply-change.ts';
import { createSshKey } from '../fakes/git-repository.ts';
import { IdentityIssuer } from '../fakes/identity-issuer.ts';
import { doc, World } from '../fakes/world.ts';
import { cloneFor, json, putImage, type Clone } from './cli-fixture.ts';

/** dev follows the channel `stable`, prod follows dev and asks one sre. */
let world: World;
let [alice, carol]: Clone[] = [];
beforeEach(async () => {
  world = await World.create({
    documents: [
      doc('Environment', 'dev', { order: 1, automatic: { channel: 'stable' } }),
      doc('Environment', 'prod', { order: 2, from: [{ environment: 'dev' }], approvals: { people: 1, roles: [{ role: 'sre', count: 1 }] }, automatic: { from: 'dev' } }),
    ],
  });
  for (const tag of ['1.0', '1.1']) await putImage(world, 'shop/api', tag, tag);
  alice = await cloneFor(world, world.people.alice);
  carol = await cloneFor(world, world.people.carol);
});
afterEach(() => world.close());

/** alice writes a release into the channel, and it is merged. */
async function released(version: string): Promise<void> {
  await alice!.pull();
  expect(await alice!.stella(['release', 'create', `shop/${version}`, '--tag', version, '--channel', 'stable'])).toMatchObject({ stderr: expect.not.stringMatching(/rror/) as string, code: 0 });
  await alice!.git('add', '.');
  await alice!.git('commit', '-qS', '-m', `Release ${version}`);
  await alice!.git('push', '-q', 'origin', 'HEAD:main');
  await world.settle();
  await carol!.pull();
  await carol!.git('fetch', '-q', 'origin');
}

describe('what an environment asks for by itself', () => {
  it('is explained, waits in status, and is approved like any other promotion', async () => {
    await released('1.0');
    expect(await readFile(join(alice!.folder, 'releases/shop/1.0.yaml'), 'utf8')).toContain('channel: stable');
    const explained = await carol!.stella(['explain', 'prod']);
    expect(explained).toMatchObject({ code: 1 });
    expect(explained.stdout).toContain('prod/shop 1.0 (automatic, from dev): waiting');
    expect(explained.stdout).toContain('stella approve prod/shop');
    expect((await carol!.stella(['status', 'prod'])).stdout).toContain('automatic, from dev');
    expect(await carol!.stella(['approve', 'prod/shop', '--yes'])).toMatchObject({ code: 0 });
    await world.settle();
    expect(appStateOf(await world.state(), 'prod', 'shop')).toMatchObject({ release: '1.0', clean: true });
    await carol!.pull();
    expect(await carol!.stella(['replay'])).toMatchObject({ code: 0 });
    expect(await carol!.stella(['verify'])).toMatchObject({ code: 0 });
  });

  it('says what it leaves alone and how to ask for it all the same', async () => {
    await released('1.0');
    world.executor.answer = 'Failed';
    await released('1.1');
    await alice!.pull();
    expect((await alice!.stella(['explain', 'dev/shop'])).stderr).toContain('stella promote shop/1.1 --to dev');
    await alice!.git('fetch', '-q', 'origin');
    expect(await alice!.stella(['promote', 'shop/1.1', '--to', 'dev', '--here'])).toMatchObject({ code: 0 });
    await alice!.git('push', '-q', 'origin', 'HEAD:main');
    await world.settle();
    expect(world.executor.executed.filter((run) => run.environment === 'dev').map((run) => run.release)).toEqual(['1.0', '1.1', '1.1']);
    // Somebody goes back: what runs is followed again, and what was left is named.
    world.executor.answer = 'Succeeded';
    await world.commit([doc('Promotion', 'dev/shop', { release: '1.0' })], { by: world.people.alice });
    await world.settle();
    await world.commit([], { by: world.people.alice, deletes: ['promotions/dev/shop.yaml'] });
    await world.settle();
    await alice!.pull();
    const { code, stdout } = await alice!.stella(['explain', 'dev/shop']);
    expect(code).toBe(0);
    expect(stdout).toContain('stella promote shop/1.1 --to dev');
  });

  it('is gone back from with a rollback, and does not come back', async () => {
    await released('1.0');
    await released('1.1');
    await alice!.pull();
    await alice!.git('fetch', '-q', 'origin');
    expect(await alice!.stella(['rollback', 'dev/shop', '--here'])).toMatchObject({ code: 0 });
    await alice!.git('push', '-q', 'origin', 'HEAD:main');
    await world.settle();
    expect(appStateOf(await world.state(), 'dev', 'shop')).toMatchObject({ release: '1.0', generation: 3, clean: true, left: [{ release: '1.1' }] });
    expect(appStateOf(await world.state(), 'prod', 'shop').lastDecision).toMatchObject({ release: '1.0', outcome: 'pending' });
  });

  it('is asked for by whom the token of a pipeline names', async () => {
    const [forge, ci] = [new IdentityIssuer('https://ci.example'), await createSshKey(join(world.folder, 'keys'), 'ci')];
    const bob = inForceOf(await world.state(), 'Principal', 'bob')!;
    const documents = [doc('Principal', 'ci', { type: 'service', keys: [{ key: ci.publicKey, status: 'active' }] }), doc('Integration', 'forge', forge.spec()), { ...bob, spec: { ...bob.spec, identities: [{ issuer: forge.issuer, subject: '22' }] } }];
    const changes = await Promise.all(documents.map(async (d) => changeTo(await world.state(), d.kind, d.metadata.name, documentDigest(d))));
    await world.commit([...documents, await world.approval(world.people.alice, { type: 'change', digest: changeDigest(world.pin, changes), changes })], { by: world.people.alice });
    await world.settle();

    const pipeline = await cloneFor(world, ci);
    world.now = new Date();
    const create = ['release', 'create', 'shop/1.0', '--tag', '1.0', '--channel', 'stable'];
    const { audience } = json<{ audience: string }>(await pipeline.stella([...create, '--audience', '-o', 'json']));
    const file = join(world.folder, 'token.jwt');
    await writeFile(file, `${forge.token('22', 'stella:something-else', world.now)}\n`);
    expect(await pipeline.stella([...create, '--token-file', file])).toMatchObject({ code: 1, stderr: expect.stringContaining('OtherAudience') as string });
    // Also where nothing else can be judged: whoever reads the repository could use it where it counts.
    await pipeline.git('config', '--unset', 'stella.genesis');
    expect(await pipeline.stella([...create, '--token-file', file])).toMatchObject({ code: 1, stderr: expect.stringContaining('OtherAudience') as string });
    await pipeline.git('config', 'stella.genesis', world.pin);
    await writeFile(file, `${forge.token('22', audience, world.now)}\n`);
    expect(await pipeline.stella([...create, '--token-file', file, '--here'])).toMatchObject({ code: 0 });
    await pipeline.git('push', '-q', 'origin', 'HEAD:main');
    await world.settle();
    await carol!.pull();
    await carol!.git('fetch', '-q', 'origin');
    const { requesters } = json<{ requesters: { people: string[]; unknown: number } }[]>(await carol!.stella(['explain', 'prod', '-o', 'json']))[0]!;
    expect(requesters).toEqual({ people: ['bob'], unknown: 0 });
    expect(await carol!.stella(['approve', 'prod/shop', '--yes'])).toMatchObject({ code: 0 });
    await world.settle();
    expect(appStateOf(await world.state(), 'prod', 'shop')).toMatchObject({ release: '1.0', clean: true });
  });

  it('stands in the plan of the branch that brings the release', async () => {
    await released('1.0');
    await alice!.pull();
    await alice!.stella(['release', 'create', 'shop/1.1', '--tag', '1.1', '--channel', 'stable']);
    await alice!.git('add', '.');
    await alice!.git('checkout', '-qb', 'next');
    await alice!.git('commit', '-qS', '-m', 'Release 1.1');
    const explained = await alice!.stella(['plan', 'next', '-o', 'json']);
    expect(json<{ promotions: unknown[] }>(explained).promotions).toMatchObject([{ environment: 'dev', application: 'shop', effect: 'deploy', release: { from: '1.0', to: '1.1' } }]);
  });
});
