import { afterEach, describe, expect, it } from 'vitest';
import { appStateOf } from '../../src/core/evidence/log-state.ts';
import { replayDecision } from '../../src/core/evidence/replay.ts';
import { readEvidence } from '../../src/reconciler/read-evidence.ts';
import type { PromotionDecisionPredicate } from '../../src/core/evidence/records.ts';
import type { CommitId } from '../../src/core/model/commit-id.ts';
import { documentDigest, type SpecOf } from '../../src/core/model/documents.ts';
import { changeDigest } from '../../src/core/model/preimages.ts';
import { changeTo } from '../../src/core/trust/apply-change.ts';
import type { SshKey } from '../fakes/git-repository.ts';
import { openPgp } from '../fakes/openpgp.ts';
import { doc, World } from '../fakes/world.ts';

let world: World;
afterEach(() => world.close());

const release = (version: string, more: Partial<SpecOf['Release']> = {}) => doc('Release', `shop/${version}`, { components: { api: { tag: version } }, channel: 'stable', ...more });
const DEV = doc('Environment', 'dev', { order: 1, automatic: { channel: 'stable' } });
const SRE = { people: 1, roles: [{ role: 'sre', count: 1 }] };
const prodWith = (more: Partial<SpecOf['Environment']> = {}) => doc('Environment', 'prod', { order: 2, from: [{ environment: 'dev' }], approvals: SRE, automatic: { from: 'dev' }, ...more });

async function automatic(...documents: Parameters<World['commit']>[0]): Promise<void> {
  world = await World.create({ documents: [DEV, prodWith(), ...documents] });
  for (const version of ['1.0', '1.1', '1.2', '1.10', '2.0-rc.1']) world.registry.put(`shop/api:${version}`, version);
}

async function commit(documents: Parameters<World['commit']>[0], options: Parameters<World['commit']>[1] = {}): Promise<void> {
  await world.commit(documents, { by: world.people.alice, ...options });
  await world.settle();
}

/** Every decision in the log, replayed. */
async function decisions(environment: string): Promise<readonly PromotionDecisionPredicate[]> {
  const { reader } = (await world.parts()).evidence;
  const found: PromotionDecisionPredicate[] = [];
  const read = await readEvidence({ reader, openPgp }, (await world.repository.tip('stella/evidence')) as CommitId, world.pin, ({ record, before }, artifact) => {
    if (record.type !== 'promotion-decision') return;
    expect(replayDecision(before, record.header, record.predicate, { artifact, openPgp })).toEqual({ ok: true });
    if (record.predicate.environment === environment) found.push(record.predicate);
  });
  expect(read).toMatchObject({ ok: true });
  return found;
}

const last = async (environment: string): Promise<PromotionDecisionPredicate> => (await decisions(environment)).at(-1)!;
const app = async (environment: string) => appStateOf(await world.state(), environment, 'shop');
const condition = async (environment: string) => (await world.reconciler()).conditions.all().find((c) => c.kind === 'Promotion' && c.name === `${environment}/shop`);

async function approveProd(by: SshKey): Promise<void> {
  const { decision } = await last('prod');
  await commit([await world.approval(by, { type: 'promotion', environment: 'prod', application: 'shop', digest: decision.promotionDigest! })], { by });
}

describe('an environment that follows a channel', () => {
  it('gets the newest release of it, without a Promotion, and marks what it derived', async () => {
    await automatic();
    await commit([release('1.0')]);
    expect(await app('dev')).toMatchObject({ release: '1.0', clean: true });
    await commit([release('1.2')]);
    await commit([release('1.10')]);
    expect(await app('dev')).toMatchObject({ release: '1.10', generation: 3 });
    expect(await last('dev')).toMatchObject({ sources: { derived: { from: 'channel', name: 'stable', unavailable: [] } }, decision: { outcome: 'allow' } });
  });

  it('leaves releases of other channels and of none alone', async () => {
    await automatic();
    await commit([release('1.0'), release('1.1', { channel: 'beta' }), doc('Release', 'shop/1.2', { components: { api: { tag: '1.2' } } })]);
    expect(await app('dev')).toMatchObject({ release: '1.0' });
  });

  it('never goes back by itself, also where an older release is locked later', async () => {
    await automatic();
    await commit([release('1.2')]);
    await commit([release('1.1')]);
    expect(await app('dev')).toMatchObject({ release: '1.2', generation: 1 });
  });

  it('passes over what is deprecated before it ran, and records that it did', async () => {
    await automatic();
    await commit([release('1.0'), release('1.1'), release('1.2', { deprecated: { reason: 'broken' } })]);
    expect(await app('dev')).toMatchObject({ release: '1.1' });
    expect((await last('dev')).sources.derived?.unavailable).toEqual(['1.2']);
    expect((await condition('dev'))?.message).toContain('shop/1.2 is passed over');
  });

  it('does not follow a release that asks for another channel after it was locked', async () => {
    await automatic();
    await commit([release('1.0'), release('1.2', { channel: 'beta' })]);
    await commit([release('1.2', { channel: 'stable' })]);
    expect(await app('dev')).toMatchObject({ release: '1.0', generation: 1 });
    expect((await world.reconciler()).conditions.all().find((c) => c.name === 'shop/1.2' && c.type === 'Stalled')).toMatchObject({ reason: 'ReleaseChanged' });
  });

  it('does what a Promotion at the tip says instead, and goes on when it is deleted', async () => {
    await automatic();
    await commit([release('1.0'), release('1.1')]);
    await commit([doc('Promotion', 'dev/shop', { release: '1.0' })]);
    expect(await app('dev')).toMatchObject({ release: '1.0', generation: 2 });
    await commit([release('1.2')]);
    expect(await app('dev')).toMatchObject({ release: '1.0', generation: 2 });
    await commit([], { deletes: ['promotions/dev/shop.yaml'] });
    expect(await app('dev')).toMatchObject({ release: '1.2', generation: 3 });
    expect((await last('dev')).sources.derived).toMatchObject({ name: 'stable' });
  });

  it('does not bring back what somebody went back from once that Promotion is deleted, and says so', async () => {
    await automatic();
    await commit([release('1.0')]);
    await commit([release('1.1')]);
    await commit([doc('Promotion', 'dev/shop', { release: '1.0' })]);
    await commit([], { deletes: ['promotions/dev/shop.yaml'] });
    expect(await app('dev')).toMatchObject({ release: '1.0', generation: 3, left: [{ release: '1.1' }] });
    expect((await condition('dev'))?.message).toContain('stella promote shop/1.1 --to dev');
    await commit([release('1.2')]);
    expect(await app('dev')).toMatchObject({ release: '1.2', generation: 4, left: [{ release: '1.1' }] });
  });

  it('does not try again what failed there, with another configuration neither, until a newer release comes', async () => {
    await automatic();
    await commit([release('1.0')]);
    world.executor.answer = 'Failed';
    await commit([release('1.1')]);
    world.executor.answer = 'Succeeded';
    await commit([doc('Configuration', 'dev/shop', { variables: { A: '1' } })]);
    expect(world.executor.executed.filter((run) => run.environment === 'dev').map((run) => run.release)).toEqual(['1.0', '1.1']);
    expect((await condition('dev'))?.message).toMatch(/no known state|failed here/);
    await commit([release('1.2')]);
    expect(await app('dev')).toMatchObject({ release: '1.2', clean: true });
  });

  it('follows the configuration of what runs', async () => {
    await automatic();
    await commit([release('1.0')]);
    await commit([doc('Configuration', 'dev/shop', { variables: { A: '1' } })]);
    expect(await app('dev')).toMatchObject({ release: '1.0', generation: 2, clean: true });
  });

  it('stands still where the Promotion cannot be read, and where it may be in a file that cannot', async () => {
    await automatic();
    await commit([release('1.0')]);
    await commit([], { files: { 'promotions/dev/shop.yaml': 'apiVersion: stella/v1alpha1\nkind: Promotion\nmetadata: {name: dev/shop}\nspec: {release: 7}\n' } });
    await commit([release('1.1')]);
    expect(await app('dev')).toMatchObject({ release: '1.0' });
    await commit([], { deletes: ['promotions/dev/shop.yaml'], files: { 'promotions/what.yaml': 'apiVersion: stella/v1alpha1\nkind: [\n' } });
    expect(await app('dev')).toMatchObject({ release: '1.0' });
    expect((await condition('dev'))?.message).toContain('cannot be read');
    await commit([], { deletes: ['promotions/what.yaml'] });
    expect(await app('dev')).toMatchObject({ release: '1.1' });
  });

  it('is the same after a restart', async () => {
    await automatic();
    await commit([release('1.0')]);
    const before = await world.repository.tip('stella/evidence');
    await world.restart();
    await world.settle();
    expect(await world.repository.tip('stella/evidence')).toBe(before);
  });
});

describe('an environment that follows another', () => {
  it('asks for what runs clean there, waits for approvals as ever, and lets nobody who wrote the release approve', async () => {
    await automatic();
    await commit([release('1.0')], { by: world.people.bob });
    const asked = await last('prod');
    expect(asked).toMatchObject({ release: '1.0', sources: { derived: { from: 'environment', name: 'dev' } }, decision: { outcome: 'pending', reasons: ['ApprovalsMissing'] } });
    await approveProd(world.people.bob);
    expect((await last('prod')).decision.reasons).toEqual(['ApprovalsMissing']);
    await approveProd(world.people.carol);
    expect(await app('prod')).toMatchObject({ release: '1.0', clean: true });
  });

  it('knows who wrote a release that is older than the last run here', async () => {
    await automatic();
    await commit([release('1.0'), release('1.1', { channel: 'beta' })]);
    await approveProd(world.people.carol);
    // 1.1 is older than what succeeded in prod at this tip.
    await commit([doc('Promotion', 'dev/shop', { release: '1.1' })], { by: world.people.bob });
    const asked = await last('prod');
    expect(asked).toMatchObject({ release: '1.1', decision: { reasons: ['ApprovalsMissing'] } });
    expect(asked.decision.gates.find((gate) => gate.gate === 'separation')).toMatchObject({ detail: { requesters: ['alice'], unknown: 0 } });
  });

  it('soaks before it is allowed, and time alone is enough where nobody is asked', async () => {
    world = await World.create({ documents: [DEV, doc('Environment', 'prod', { order: 2, from: [{ environment: 'dev', soakSeconds: 3_600 }], automatic: { from: 'dev' } })] });
    world.registry.put('shop/api:1.0', 'one');
    await commit([release('1.0')]);
    expect((await last('prod')).decision).toMatchObject({ outcome: 'pending', reasons: ['Soaking'] });
    world.now = new Date(world.now.getTime() + 3_601_000);
    await world.settle();
    expect(await app('prod')).toMatchObject({ release: '1.0', clean: true });
  });

  it('supersedes what waits when a newer release runs there, and its approvals fall', async () => {
    await automatic(prodWith({ approvals: { people: 2, roles: [{ role: 'sre', count: 2 }] } }));
    await commit([release('1.0')]);
    await approveProd(world.people.bob);
    const waiting = await last('prod');
    await commit([release('1.1')]);
    const all = await decisions('prod');
    expect(all.at(-2)).toMatchObject({ release: '1.0', sources: { ended: 'Superseded', derived: { name: 'dev' } }, decision: { outcome: 'refuse' } });
    expect(all.at(-1)).toMatchObject({ release: '1.1', decision: { outcome: 'pending' } });
    expect(all.at(-1)?.decision.promotionDigest).not.toBe(waiting.decision.promotionDigest);
    await approveProd(world.people.carol);
    expect(await app('prod')).toMatchObject({ release: null });
    await approveProd(world.people.bob);
    expect(await app('prod')).toMatchObject({ release: '1.1' });
  });

  it('does not go back with it, and withdraws what waited for what is gone there', async () => {
    await automatic();
    await commit([release('1.0')]);
    await approveProd(world.people.carol);
    await commit([release('1.1')]);
    expect(await last('prod')).toMatchObject({ release: '1.1', decision: { outcome: 'pending' } });
    await commit([doc('Promotion', 'dev/shop', { release: '1.0' })]);
    expect(await last('prod')).toMatchObject({ release: '1.1', sources: { ended: 'Withdrawn' } });
    expect(await app('prod')).toMatchObject({ release: '1.0', generation: 1 });
  });

  it('does not know who asked where the release came unsigned, and then nobody can approve', async () => {
    await automatic();
    await world.commit([release('1.0')]);
    await world.settle();
    expect((await last('prod')).decision).toMatchObject({ outcome: 'refuse' });
    expect((await last('prod')).decision.reasons).toContain('RequesterUnknown');
    await approveProd(world.people.carol);
    expect(await app('prod')).toMatchObject({ release: null });
  });

  it('becomes automatic once a quorum says so, and no longer than it does', async () => {
    world = await World.create({ documents: [doc('Environment', 'dev', { order: 1 })] });
    world.registry.put('shop/api:1.0', 'one');
    await commit([release('1.0'), DEV]);
    expect(await decisions('dev')).toEqual([]);
    const toward = async (document: typeof DEV) => {
      const changes = [changeTo(await world.state(), 'Environment', 'dev', documentDigest(document))];
      await commit([document, await world.approval(world.people.bob, { type: 'change', digest: changeDigest(world.pin, changes), changes })]);
    };
    await toward(DEV);
    expect(await app('dev')).toMatchObject({ release: '1.0' });
    await toward(doc('Environment', 'dev', { order: 1 }));
    world.registry.put('shop/api:1.1', 'two');
    await commit([release('1.1')]);
    expect(await app('dev')).toMatchObject({ release: '1.0', generation: 1 });
    expect(await condition('dev')).toBeUndefined();
  });
});
