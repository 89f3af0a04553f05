import { afterEach, describe, expect, it } from 'vitest';
import { appStateOf } from '../../src/core/evidence/log-state.ts';
import type { CommitId } from '../../src/core/model/commit-id.ts';
import type { Rewrite } from '../../src/core/model/documents.ts';
import { rewriteDigest } from '../../src/core/model/preimages.ts';
import type { SshKey } from '../fakes/git-repository.ts';
import { doc, TARGET_REF, World } from '../fakes/world.ts';

let world: World;
afterEach(() => world.close());

const release = (version: string) => doc('Release', `shop/${version}`, { components: { api: { tag: version } } });
const code = async (): Promise<string | null> => (await world.pass()).fault?.code ?? null;
const message = async (): Promise<string> => (await world.pass()).fault?.message ?? '';
const runs = async (environment: string): Promise<string | null> => appStateOf(await world.state(), environment, 'shop').release;

async function deployed(...versions: readonly string[]): Promise<void> {
  for (const version of versions) {
    world.registry.put(`shop/api:${version}`, version);
    await world.commit([release(version), doc('Promotion', 'dev/shop', { release: version })], { by: world.people.alice });
    await world.settle();
    expect(await runs('dev')).toBe(version);
  }
}

/** Moves the branch to `parent` and a commit on top of it. */
async function force(parent: string, documents: Parameters<World['commit']>[0]): Promise<Rewrite> {
  const from = (await world.repository.tip()) as CommitId;
  await world.repository.setBranch('main', (await world.repository.git(['rev-parse', parent])) as CommitId);
  return { ref: TARGET_REF, from, to: await world.commit(documents, { by: world.people.alice }) };
}

async function accept(rewrite: Rewrite, by: SshKey): Promise<void> {
  const approval = await world.approval(by, { type: 'rewrite', digest: rewriteDigest(world.pin, rewrite), rewrite });
  await world.commit([], { branch: `stella/approvals/rewrite/${by.name}`, files: { 'approvals/a.yaml': JSON.stringify(approval) } });
}

describe('a target branch that was rewritten', () => {
  it('is followed again without a word when the old history is back', async () => {
    world = await World.create();
    await deployed('1.0');
    const { from } = await force('main~1', [doc('Configuration', 'dev/shop', { variables: { A: 'x' } })]);
    const size = (await world.state()).size;
    expect(await code()).toBe('Rewound');
    await world.repository.setBranch('main', from);
    expect(await code()).toBeNull();
    expect((await world.state()).size).toBe(size);
    await deployed('1.1');
  });

  it('freezes everything when a protected document differs, and says so', async () => {
    world = await World.create();
    await deployed('1.0');
    await force('main~1', [doc('Environment', 'dev', { order: 9 })]);
    expect(await message()).toContain('nothing is deployed, because Environment/dev differs');
  });

  it('names what stands still and what to run', async () => {
    world = await World.create();
    await deployed('1.0');
    const { from, to } = await force('main~1', [release('1.0'), doc('Promotion', 'dev/shop', { release: '1.0', attempt: 2 })]);
    const said = await message();
    expect(said).toContain('nothing new is deployed in dev/shop');
    expect(said).toContain(`stella approve --rewrite ${from}..${to}`);
  });

  it('goes on after its acceptance also where the tip has grown meanwhile, and after a restart', async () => {
    world = await World.create();
    await deployed('1.0');
    world.registry.put('shop/api:1.1', 'two');
    const rewrite = await force('main~1', [release('1.0'), release('1.1'), doc('Promotion', 'dev/shop', { release: '1.1' })]);
    expect(await code()).toBe('Rewound');
    await accept(rewrite, world.people.bob);
    const grown = await world.commit([doc('Configuration', 'dev/shop', { variables: { A: 'x' } })], { by: world.people.alice });
    await world.restart();
    await world.settle();
    expect(await runs('dev')).toBe('1.1');
    expect((await world.state()).tip?.commit).toBe(grown);
  });

  it('can be accepted although nobody has the old history any more; then nobody can tell who asked', async () => {
    world = await World.create({ documents: [doc('Environment', 'prod', { order: 2, approvals: { people: 1, roles: [{ role: 'sre', count: 1 }] } })] });
    await deployed('1.1', '1.0');
    await world.commit([await world.promotion('prod', '1.0', { by: world.people.alice })], { by: world.people.alice });
    await world.settle();
    const { promotionDigest } = await lastDecision('prod');
    await world.commit([], { branch: 'stella/approvals/x/carol', files: { 'approvals/a.yaml': JSON.stringify(await world.approval(world.people.carol, { type: 'promotion', environment: 'prod', application: 'shop', digest: promotionDigest })) } });
    await world.settle();
    expect(await runs('prod')).toBe('1.0');
    const rewrite = await force('main~2', [release('1.0'), doc('Promotion', 'dev/shop', { release: '1.0' }), doc('Promotion', 'prod/shop', { release: '1.1' })]);
    await world.repository.git(['reflog', 'expire', '--all', '--expire=now']);
    await world.repository.git(['gc', '-q', '--prune=now']);
    await world.restart();
    expect(await message()).toContain('nobody can tell what differs');
    await accept(rewrite, world.people.bob);
    await world.settle();
    expect((await world.state()).tip?.commit).toBe(rewrite.to);
    expect((await world.state()).states.get('prod/shop')?.lastDecision).toMatchObject({ outcome: 'refuse' });
    const { size } = await world.state();
    await world.restart();
    await world.settle();
    expect((await world.state()).size).toBe(size);
    expect(await runs('prod')).toBe('1.0');
  });
});

/** Of the condition's text: the digest that a person would approve. */
async function lastDecision(environment: string): Promise<{ readonly promotionDigest: `sha256:${string}` & never }> {
  const last = (await world.state()).states.get(`${environment}/shop`)?.lastDecision;
  const file = await world.repository.git(['show', `stella/evidence:records/000/000/${String(last?.seq).padStart(3, '0')}.dsse.json`]);
  const { payload } = JSON.parse(file) as { payload: string };
  return (JSON.parse(Buffer.from(payload, 'base64').toString()) as { predicate: { content: { decision: { promotionDigest: never } } } }).predicate.content.decision;
}
