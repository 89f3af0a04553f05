import { readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { createDocumentParser } from '../../src/adapters/yaml/document-parser.ts';
import { canonicalBytes } from '../../src/core/model/canonical-json.ts';
import type { BlobId } from '../../src/core/model/commit-id.ts';
import type { Digest } from '../../src/core/model/digest.ts';
import { documentPreimage, type DocumentOf } from '../../src/core/model/documents.ts';
import { parseInstant } from '../../src/core/model/instant.ts';
import { intentPreimage, releaseSpecDigest } from '../../src/core/model/preimages.ts';
import { allInForce, appStateOf } from '../../src/core/evidence/log-state.ts';
import { signersOf } from '../../src/core/trust/embedded-signers.ts';
import { keyRingIn } from '../../src/core/trust/key-ring.ts';
import { findRequesters } from '../../src/core/trust/requesters.ts';
import { runProgram, type SshKey } from '../fakes/git-repository.ts';
import { doc, World, yamlOf } from '../fakes/world.ts';
import { cloneFor, json, putImage, type Clone } from './cli-fixture.ts';
import { openPgp } from '../fakes/openpgp.ts';

let world: World;
afterEach(() => world.close());

/** A world with images of 1.0 and 1.1, and the clone of somebody in it. */
async function begin(): Promise<void> {
  world = await World.create();
  await putImage(world, 'shop/api', '1.0', 'one');
  await putImage(world, 'shop/api', '1.1', 'two');
}

/** dev runs 1.0, and alice has asked for it in prod. */
async function asked(): Promise<void> {
  await begin();
  const release = doc('Release', 'shop/1.0', { components: { api: { tag: '1.0' } } });
  await world.commit([release, doc('Promotion', 'dev/shop', { release: '1.0' })], { by: world.people.alice });
  await world.settle();
  await world.commit([await world.promotion('prod', '1.0', { by: world.people.alice })], { by: world.people.alice });
  await world.settle();
}

async function createRelease(alice: Clone, version: string): Promise<void> {
  expect(await alice.stella(['release', 'create', `shop/${version}`, '--tag', version])).toMatchObject({ code: 0 });
}

const parser = createDocumentParser();
const documentIn = async (file: string): Promise<unknown> => parser.parseFile({ path: file, blob: '' as BlobId, bytes: await readFile(file) }).documents[0]!.document;

/** Whether `ssh-keygen -Y verify` accepts a signature by this key. */
async function opensshAccepts(key: SshKey, namespace: string, payload: Uint8Array, signature: string): Promise<string> {
  const [signers, file] = [join(world.folder, 'allowed'), join(world.folder, 'signature')];
  await writeFile(signers, `${key.name} ${key.publicKey}\n`);
  await writeFile(file, signature);
  return (await runProgram('ssh-keygen', ['-Y', 'verify', '-f', signers, '-I', key.name, '-n', namespace, '-s', file], { input: payload })).toString();
}

describe('stella release create', () => {
  let alice: Clone;
  beforeEach(async () => {
    await begin();
    alice = await cloneFor(world, world.people.alice);
  });

  it('writes tag and digest of every component', async () => {
    const made = json<{ components: readonly { digest: Digest }[] }>(await alice.stella(['release', 'create', 'shop/1.0', '--component', 'api=1.0', '-o', 'json']));
    const written = (await documentIn(join(alice.folder, 'releases/shop/1.0.yaml'))) as DocumentOf<'Release'>;
    expect(written.spec.components).toEqual({ api: { tag: '1.0', digest: world.registry.tags.get('shop/api:1.0') } });
    expect(made.components[0]!.digest).toBe(written.spec.components['api']!.digest);
    expect((await alice.stella(['lint'])).code).toBe(0);
  });

  it('changes no release, and says which tag there is not', async () => {
    expect((await alice.stella(['release', 'create', 'shop/1.0', '--tag', 'nothing'])).code).toBe(2);
    expect((await alice.stella(['release', 'create', 'shop/1.0', '--tag', '1.0'])).code).toBe(0);
    const again = await alice.stella(['release', 'create', 'shop/1.0', '--tag', '1.1']);
    expect(again).toMatchObject({ code: 1 });
    expect(again.stderr).toContain('releases/shop/1.0.yaml');
  });
});

describe('stella promote', () => {
  let alice: Clone;
  beforeEach(async () => {
    await begin();
    alice = await cloneFor(world, world.people.alice);
    await createRelease(alice, '1.0');
  });

  it('signs an intent that names the requester, in a signed commit', async () => {
    expect(await alice.stella(['promote', 'shop/1.0', '--to', 'dev', '--here'])).toMatchObject({ code: 0 });
    const promotion = (await documentIn(join(alice.folder, 'promotions/dev/shop.yaml'))) as DocumentOf<'Promotion'>;
    const releaseSpec = releaseSpecDigest((await documentIn(join(alice.folder, 'releases/shop/1.0.yaml'))) as DocumentOf<'Release'>);
    const of = { logId: world.pin, promotion, releaseSpec };
    await expect(opensshAccepts(world.people.alice, 'stella-intent', canonicalBytes(intentPreimage(of)), promotion.signatures![0]!.signature)).resolves.toContain('Good');
    const ring = keyRingIn(await world.state(), openPgp);
    const found = findRequesters({ ...of, spentIntents: [], commits: [], actingFor: null, ring, lockUnchanged: false, observedAt: parseInstant('2026-11-01T08:00:00Z')! });
    expect(found).toMatchObject({ people: ['alice'], unknown: 0 });
    expect(await alice.git('log', '-1', '--format=%s')).toBe('Promote shop 1.0 to dev');
    expect(await alice.git('cat-file', 'commit', 'HEAD')).toContain('gpgsig -----BEGIN SSH SIGNATURE-----');
  });

  it('keeps the comments of the file and raises the attempt only for a retry', async () => {
    const file = join(alice.folder, 'promotions/dev/shop.yaml');
    await alice.stella(['promote', 'dev/shop', '1.0', '--no-commit']);
    const text = await readFile(file, 'utf8');
    await writeFile(file, `# why: the shop\n${text.replace('release: "1.0"', 'release: "1.0" # the first')}`);
    expect((await alice.stella(['promote', 'shop/1.0', '--to', 'dev', '--retry', '--no-commit'])).code).toBe(0);
    const after = await readFile(file, 'utf8');
    expect(after).toContain('# why: the shop');
    expect(after).toContain('# the first');
    expect(((await documentIn(file)) as DocumentOf<'Promotion'>).spec).toEqual({ release: '1.0', attempt: 2 });
  });

  it('refuses a release that is not there and a key of nobody', async () => {
    expect((await alice.stella(['promote', 'shop/9.9', '--to', 'dev', '--here'])).stderr).toContain('shop/9.9');
    const stranger = await alice.stella(['promote', 'shop/1.0', '--to', 'dev', '--here', '--key', world.keys.commits.privateKeyPath]);
    expect(stranger).toMatchObject({ code: 2 });
    expect(stranger.stderr).toContain('no principal');
  });
});

describe('stella promote --adopt', () => {
  let alice: Clone;
  /** prod/shop is asked for by a commit that nobody signed. */
  beforeEach(async () => {
    await begin();
    await world.commit([doc('Release', 'shop/1.0', { components: { api: { tag: '1.0' } } }), doc('Promotion', 'dev/shop', { release: '1.0' })], { by: world.people.alice });
    await world.settle();
    await world.commit([doc('Promotion', 'prod/shop', { release: '1.0' })]);
    await world.settle();
    alice = await cloneFor(world, world.people.alice);
  });
  const reasons = async (): Promise<{ reasons: readonly string[]; commands: readonly (string | null)[] }> => {
    const [one] = json<readonly { decision: { reasons: readonly string[] }; lines: readonly { command: string | null }[] }[]>(await alice.stella(['explain', 'prod/shop', '-o', 'json']));
    return { reasons: one!.decision.reasons, commands: one!.lines.map((line) => line.command) };
  };

  it('is what explain advises for a request of nobody, and makes whoever adopts it the requester', async () => {
    const before = await reasons();
    expect(before.reasons).toContain('RequesterUnknown');
    const { conditions } = await world.reconciler();
    expect(conditions.all().find((c) => c.kind === 'Promotion' && c.name === 'prod/shop')?.message).toContain('stella promote --adopt prod/shop');
    const command = before.commands.find((c) => c?.includes('--adopt'))!;
    expect(await alice.stella([...command.split(' ').slice(1), '--here'])).toMatchObject({ code: 0 });
    await alice.git('push', '-q', 'origin', 'HEAD:main');
    await world.settle();
    await alice.pull();
    expect((await reasons()).reasons).toEqual(['ApprovalsMissing']);
    expect((await alice.stella(['approve', 'prod/shop', '--yes', '--no-push'])).stderr).toContain('alice asked for this');
    const bob = await cloneFor(world, world.people.bob);
    expect((await bob.stella(['approve', 'prod/shop', '--yes'])).code).toBe(0);
    await world.settle();
    expect(appStateOf(await world.state(), 'prod', 'shop').release).toBe('1.0');
  });

  it('leaves what is asked as it is, and has nothing to adopt where the author is known', async () => {
    const file = join(alice.folder, 'promotions/prod/shop.yaml');
    await alice.stella(['promote', '--adopt', 'prod/shop', '--no-commit']);
    const promotion = (await documentIn(file)) as DocumentOf<'Promotion'>;
    expect(promotion.spec).toEqual({ release: '1.0' });
    expect(promotion.signatures).toHaveLength(1);
    const again = await alice.stella(['promote', '--adopt', 'prod/shop', '--here']);
    expect(again.code).toBe(1);
    expect(again.stderr).toContain('alice signed this request');
    expect((await alice.stella(['promote', '--adopt', 'qa/shop'])).code).toBe(1);
    expect((await alice.stella(['promote', '--adopt', '--absent', 'prod/shop'])).code).toBe(2);
  });

  it('asks anew where the intent of the request is spent', async () => {
    await alice.stella(['promote', '--adopt', 'prod/shop', '--here']);
    await alice.git('push', '-q', 'origin', 'HEAD:main');
    await world.settle();
    await world.commit([], { deletes: ['promotions/prod/shop.yaml'] });
    await world.settle();
    await world.commit([], { files: { 'promotions/prod/shop.yaml': await readFile(join(alice.folder, 'promotions/prod/shop.yaml'), 'utf8') } });
    await world.settle();
    await alice.pull();
    expect((await reasons()).reasons).toContain('RequesterUnknown');
    expect((await alice.stella(['promote', '--adopt', 'prod/shop', '--here'])).code).toBe(0);
    expect(((await documentIn(join(alice.folder, 'promotions/prod/shop.yaml'))) as DocumentOf<'Promotion'>).spec).toEqual({ release: '1.0', attempt: 2 });
    await alice.git('push', '-q', 'origin', 'HEAD:main');
    await world.settle();
    await alice.pull();
    expect((await reasons()).reasons).toEqual(['ApprovalsMissing']);
  });
});

describe('stella promote --absent', () => {
  it('asks for removal, signed, and it is removed', async () => {
    await asked();
    const alice = await cloneFor(world, world.people.alice);
    expect(await alice.stella(['promote', '--absent', 'dev/shop', '--here'])).toMatchObject({ code: 0 });
    const promotion = (await documentIn(join(alice.folder, 'promotions/dev/shop.yaml'))) as DocumentOf<'Promotion'>;
    expect(promotion.spec).toEqual({ state: 'absent' });
    await expect(opensshAccepts(world.people.alice, 'stella-intent', canonicalBytes(intentPreimage({ logId: world.pin, promotion, releaseSpec: null })), promotion.signatures![0]!.signature)).resolves.toContain('Good');
    await alice.git('push', '-q', 'origin', 'HEAD:main');
    await world.settle();
    expect(appStateOf(await world.state(), 'dev', 'shop').release).toBeNull();
  });
});

describe('stella approve', () => {
  let bob: Clone;
  beforeEach(async () => {
    await asked();
    bob = await cloneFor(world, world.people.bob);
  });

  it('signs what OpenSSH and we accept, and the server deploys it', async () => {
    const approved = await bob.stella(['approve', 'prod/shop', '--yes', '-o', 'json', '--comment', 'seen in dev']);
    expect(approved).toMatchObject({ code: 0 });
    const { digest, branch, path } = json<{ digest: Digest; branch: string; path: string }>(approved);
    expect(branch).toBe(`stella/approvals/${digest.slice(7, 23)}/bob`);
    const text = await world.repository.git(['show', `refs/heads/${branch}:${path}`]);
    const document = parser.parseFile({ path, blob: '' as BlobId, bytes: new TextEncoder().encode(`${text}\n`) }).documents[0]!.document as DocumentOf<'Approval'>;
    expect(document.spec).toMatchObject({ action: 'approve', release: '1.0', digestsChecked: true, comment: 'seen in dev', components: { api: world.registry.tags.get('shop/api:1.0') } });
    await expect(opensshAccepts(world.people.bob, 'stella-approval', documentPreimage(document), document.signatures![0]!.signature)).resolves.toContain('Good');
    expect(signersOf(document, 'stella-approval', keyRingIn(await world.state(), openPgp))).toHaveLength(1);
    await world.settle();
    expect(appStateOf(await world.state(), 'prod', 'shop')).toMatchObject({ release: '1.0', clean: true, generation: 1 });
    await world.settle();
    expect(await world.repository.tip(branch)).toBeNull();
  });

  it('shows what would run before it asks, and signs nothing for a no', async () => {
    const refused = await bob.stella(['approve', 'prod/shop'], { answers: 'n\n' });
    expect(refused.code).toBe(1);
    expect(refused.stderr).toContain('prod-1');
    expect(refused.stderr).toContain('api: nothing → sha256:');
    expect(await world.repository.git(['for-each-ref', 'refs/heads/stella/approvals'])).toBe('');
    expect((await bob.stella(['approve', 'prod/shop'], { answers: 'y\n' })).code).toBe(0);
    expect((await bob.stella(['approve', 'prod/shop'])).code).toBe(2);
  });

  it('says that a tag has moved since, and that its digests were not checked', async () => {
    await putImage(world, 'shop/api', '1.0', 'something else');
    const shown = await bob.stella(['approve', 'prod/shop', '--yes', '--file', '-o', 'json']);
    expect(json(shown)).toMatchObject({ digestsChecked: false });
    const { path } = json<{ path: string }>(shown);
    expect((await documentIn(join(bob.folder, path))) as DocumentOf<'Approval'>).toMatchObject({ spec: { digestsChecked: false } });
  });

  it('warns a requester, and their approval does not count', async () => {
    const alice = await cloneFor(world, world.people.alice);
    const own = await alice.stella(['approve', 'prod/shop', '--yes']);
    expect(own).toMatchObject({ code: 0 });
    expect(own.stderr).toContain('alice asked for this');
    await world.settle();
    expect(appStateOf(await world.state(), 'prod', 'shop').release).toBeNull();
  });

  it('rejects, and a second approval before the first is harvested goes to a branch beside it', async () => {
    expect((await bob.stella(['approve', 'prod/shop', '--yes'])).code).toBe(0);
    const again = json<{ branch: string }>(await bob.stella(['approve', 'prod/shop', '--yes', '-o', 'json', '--expires', '2999-01-01T00:00:00Z']));
    expect(again.branch).toMatch(/\/bob-[0-9a-f]{8}$/);
    const carol = await cloneFor(world, world.people.carol);
    const no = json<{ action: string; branch: string }>(await carol.stella(['approve', 'prod/shop', '--reject', '--yes', '-o', 'json', '--no-push']));
    expect(no.action).toBe('reject');
    expect(await carol.git('cat-file', '-t', `refs/heads/${no.branch}`)).toBe('commit');
  });

  it('has nothing to approve where the promotion runs already', async () => {
    expect((await bob.stella(['approve', 'dev/shop', '--yes'])).code).toBe(1);
  });

  it('given before the merge is what the lock adopts, although the tag has moved since', async () => {
    const alice = await cloneFor(world, world.people.alice);
    await alice.git('switch', '-q', '-c', 'next');
    await writeFile(join(alice.folder, 'next.yaml'), yamlOf(doc('Release', 'shop/1.1', { components: { api: { tag: '1.1' } } })));
    await alice.git('add', '.');
    await alice.git('commit', '-q', '-S', '-m', 'Release shop 1.1');
    expect((await alice.stella(['promote', 'shop/1.1', '--to', 'prod', '--here'])).code).toBe(0);
    await alice.git('push', '-q', 'origin', 'next');
    const approved = world.registry.tags.get('shop/api:1.1');
    await bob.git('fetch', '-q', 'origin');
    expect((await bob.stella(['approve', 'prod/shop', '--ref', 'next', '--yes', '-o', 'json'])).code).toBe(0);
    await world.settle();
    await putImage(world, 'shop/api', '1.1', 'moved after the approval');
    await alice.git('push', '-q', 'origin', 'next:main');
    await world.settle();
    const state = await world.state();
    expect(appStateOf(state, 'prod', 'shop').lastDecision).toMatchObject({ release: '1.1' });
    expect(state.locks.get('shop/1.1')?.lock.components[0]?.digest).toBe(approved);
  });
});

describe('stella approve --pending', () => {
  let bob: Clone;
  beforeEach(async () => {
    world = await World.create();
    await world.commit([doc('Environment', 'qa', { order: 7 }), doc('Environment', 'dev', { order: 1, allowSeconds: 60 })], { by: world.people.alice });
    await world.settle();
    bob = await cloneFor(world, world.people.bob);
  });

  it('shows in force against new, and puts the approved list in force', async () => {
    const approved = await bob.stella(['approve', '--pending', '--yes']);
    expect(approved).toMatchObject({ code: 0 });
    expect(approved.stderr).toContain('Environment/qa is new');
    expect(approved.stderr).toContain('+   "allowSeconds": 60');
    await world.settle();
    const names = allInForce(await world.state(), 'Environment').map((e) => e.metadata.name);
    expect(names).toContain('qa');
  });

  it('takes one of them by name, and refuses a digest of something else', async () => {
    const one = json<{ changes: readonly { name: string }[]; digest: Digest }>(await bob.stella(['approve', '--pending', '--only', 'Environment/qa', '--yes', '-o', 'json']));
    expect(one.changes.map((c) => c.name)).toEqual(['qa']);
    const other = await bob.stella(['approve', '--change', one.digest, '--yes']);
    expect(other.code).toBe(1);
    await world.settle();
    expect(allInForce(await world.state(), 'Environment').find((e) => e.metadata.name === 'dev')?.spec.allowSeconds).toBeUndefined();
  });
});
