import { afterEach, describe, expect, it } from 'vitest';
import { appStateOf } from '../../src/core/evidence/log-state.ts';
import { replayDecision } from '../../src/core/evidence/replay.ts';
import { readEvidence, type RecordStep } from '../../src/reconciler/read-evidence.ts';
import type { CommitId } from '../../src/core/model/commit-id.ts';
import { documentDigest } from '../../src/core/model/documents.ts';
import { changeDigest } from '../../src/core/model/preimages.ts';
import { doc, World } from '../fakes/world.ts';
import { openPgp } from '../fakes/openpgp.ts';

let world: World;
afterEach(() => world.close());

const SRE = { type: 'promotion', environment: 'prod', application: 'shop' } as const;
const release = (version: string, tag = version) => doc('Release', `shop/${version}`, { components: { api: { tag } } });

async function log(w: World): Promise<{ readonly steps: readonly RecordStep[]; readonly types: readonly string[]; readonly replayed: readonly boolean[] }> {
  const { reader } = (await w.parts()).evidence;
  const tip = (await w.repository.tip('stella/evidence')) as CommitId;
  const steps: RecordStep[] = [];
  const replayed: boolean[] = [];
  const read = await readEvidence({ reader, openPgp }, tip, w.pin, (step, artifact) => {
    steps.push(step);
    if (step.record.type === 'promotion-decision') {
      const result = replayDecision(step.before, step.record.header, step.record.predicate, { artifact, openPgp });
      expect(result).toEqual({ ok: true });
      replayed.push(result.ok);
    }
  });
  expect(read).toMatchObject({ ok: true });
  return { steps, replayed, types: steps.map(({ record }) => (record.type === 'observation' ? record.predicate.type : record.type)) };
}

describe('a log', () => {
  it('begins with the first tip and the documents that the pinned root names', async () => {
    world = await World.create();
    expect((await world.reconciler()).conditions.all().filter((c) => c.type === 'Stalled')).toEqual([]);
    expect((await log(world)).types).toEqual(['tip', 'protected-change']);
  });

  it('takes a first deployment of one tagged component in one push: tip, tag, lock, decision', async () => {
    world = await World.create();
    world.registry.put('shop/api:1.0', 'one');
    await world.commit([release('1.0'), doc('Promotion', 'dev/shop', { release: '1.0' })], { by: world.people.alice });
    const report = await world.pass();
    expect(report).toMatchObject({ ok: true, records: 4 });
    const { types, replayed } = await log(world);
    expect(types.slice(2)).toEqual(['tip', 'tag', 'release-lock', 'promotion-decision']);
    expect(replayed).toEqual([true]);
    const app = appStateOf((await world.reconciler()).state!, 'dev', 'shop');
    expect(app.openRun).toMatchObject({ generation: 1, release: '1.0' });
  });

  it('writes nothing when nothing changed, also after a restart', async () => {
    world = await World.create();
    world.registry.put('shop/api:1.0', 'one');
    await world.commit([release('1.0'), doc('Promotion', 'dev/shop', { release: '1.0' })], { by: world.people.alice });
    await world.settle();
    expect(await world.pass()).toMatchObject({ ok: true, records: 0 });
    const before = await world.repository.tip('stella/evidence');
    await world.restart();
    expect((await world.pass()).fault).toBeNull();
    expect(await world.repository.tip('stella/evidence')).toBe(before);
  });
});

/** dev runs 1.0, and alice has asked for it in prod. */
async function asked(options: { readonly by?: 'alice' | 'bob'; readonly signed?: boolean } = {}): Promise<World> {
  const w = await World.create();
  w.registry.put('shop/api:1.0', 'one');
  w.registry.put('shop/api:1.1', 'two');
  await w.commit([release('1.0'), release('1.1'), doc('Promotion', 'dev/shop', { release: '1.0' })], { by: w.people.alice });
  await w.settle();
  const by = w.people[options.by ?? 'alice'];
  await w.commit([await w.promotion('prod', '1.0', { by })], options.signed === false ? {} : { by });
  await w.settle();
  return w;
}

const prod = async () => appStateOf(await world.state(), 'prod', 'shop');
const lastPromotionDecision = async () => {
  const { steps } = await log(world);
  return steps.map(({ record }) => record).filter((r) => r.type === 'promotion-decision').at(-1)!.predicate;
};
/** The digest that prod's promotion has now. */
const promotionDigest = async () => (await lastPromotionDecision()).decision.promotionDigest!;
const executedInProd = () => world.executor.executed.filter((e) => e.environment === 'prod');

describe('an approval', () => {
  it('of the requester does not count; a second person allows and the release is deployed', async () => {
    world = await asked({ by: 'bob' });
    const digest = await promotionDigest();
    expect((await lastPromotionDecision()).decision).toMatchObject({ outcome: 'pending', reasons: ['ApprovalsMissing'] });
    await world.commit([await world.approval(world.people.bob, { ...SRE, digest })], { by: world.people.bob });
    await world.settle();
    expect((await lastPromotionDecision()).decision.outcome).toBe('pending');
    expect(executedInProd()).toEqual([]);
    await world.commit([await world.approval(world.people.carol, { ...SRE, digest })], { by: world.people.carol });
    await world.settle();
    expect(executedInProd()).toEqual([{ environment: 'prod', generation: 1, release: '1.0' }]);
    expect(await prod()).toMatchObject({ release: '1.0', clean: true, generation: 1 });
    await log(world);
  });

  it('counts from a branch of its own, which is deleted once it is archived', async () => {
    world = await asked();
    const approval = await world.approval(world.people.bob, { ...SRE, digest: await promotionDigest() });
    await world.commit([], { branch: 'stella/approvals/x/bob', files: { 'approvals/a.yaml': JSON.stringify(approval) } });
    await world.settle();
    expect(await prod()).toMatchObject({ release: '1.0' });
    await world.settle();
    expect(await world.repository.tip('stella/approvals/x/bob')).toBeNull();
  });

  it('by a key that no principal in force has is counted as a stranger and not recorded', async () => {
    world = await asked();
    const size = (await world.state()).size;
    await world.commit([await world.approval(world.keys.commits, { ...SRE, digest: await promotionDigest() })], { by: world.people.bob });
    await world.settle();
    expect((await world.state()).size).toBe(size + 1);
    expect((await world.reconciler()).strangers).toBe(1);
    expect(executedInProd()).toEqual([]);
  });

  it('no longer counts after the configuration of the environment was edited', async () => {
    world = await asked();
    const digest = await promotionDigest();
    await world.commit([doc('Configuration', 'prod/shop', { override: 'prod.conf' })], { by: world.people.alice, files: { 'prod.conf': 'a' } });
    await world.settle();
    await world.commit([await world.approval(world.people.bob, { ...SRE, digest })], { by: world.people.bob });
    await world.settle();
    const refused = await lastPromotionDecision();
    expect(refused.decision).toMatchObject({ outcome: 'pending', reasons: ['ApprovalsMissing'] });
    expect(executedInProd()).toEqual([]);
    await world.commit([await world.approval(world.people.bob, { ...SRE, digest: await promotionDigest() })], { by: world.people.bob });
    await world.settle();
    expect(executedInProd()).toHaveLength(1);
  });

  it('survives a squash merge of the request without the signed commits: same digest, same outcome', async () => {
    world = await asked();
    const digest = await promotionDigest();
    const squashed = await world.promotion('prod', '1.1', { by: world.people.alice });
    await world.commit([squashed, doc('Promotion', 'dev/shop', { release: '1.1' })], {});
    await world.settle();
    const after = await lastPromotionDecision();
    expect(after.decision).toMatchObject({ outcome: 'pending', reasons: ['ApprovalsMissing'] });
    expect(await promotionDigest()).not.toBe(digest);
    await world.commit([await world.approval(world.people.bob, { ...SRE, digest: await promotionDigest() })], { by: world.people.bob });
    await world.settle();
    expect(await prod()).toMatchObject({ release: '1.1' });
  });

  it('is not enough where nobody can tell who asked', async () => {
    world = await asked({ signed: false });
    await world.commit([doc('Promotion', 'prod/shop', { release: '1.1' })], {});
    await world.settle();
    expect((await lastPromotionDecision()).decision).toMatchObject({ outcome: 'refuse', reasons: expect.arrayContaining(['RequesterUnknown']) });
  });
});

describe('a promotion', () => {
  it('goes past one that waits, as a hotfix: the older is superseded, and its approvals serve neither the newer nor the older asked for again', async () => {
    const two = { people: 2, roles: [{ role: 'sre', count: 2 }] };
    world = await World.create({ documents: [doc('Environment', 'prod', { order: 2, approvals: two })] });
    for (const version of ['1.0', '1.1']) world.registry.put(`shop/api:${version}`, version);
    await world.commit([release('1.0'), release('1.1')], { by: world.people.alice });
    await world.settle();
    const ask = async (version: string): Promise<void> => {
      await world.commit([await world.promotion('prod', version, { by: world.people.alice })], { by: world.people.alice });
      await world.settle();
    };
    const approve = async (...by: readonly ('bob' | 'carol')[]): Promise<void> => {
      const digest = await promotionDigest();
      for (const name of by) await world.commit([await world.approval(world.people[name], { ...SRE, digest })], { by: world.people[name] });
      await world.settle();
    };
    await ask('1.1');
    await approve('bob');
    await ask('1.0');
    const { steps } = await log(world);
    expect(steps.flatMap(({ record }) => (record.type === 'promotion-decision' && record.predicate.sources.ended !== null ? [[record.predicate.release, record.predicate.sources.ended]] : []))).toEqual([['1.1', 'Superseded']]);
    await approve('carol');
    expect(executedInProd()).toEqual([]);
    await approve('bob');
    expect(executedInProd()).toEqual([{ environment: 'prod', generation: 1, release: '1.0' }]);
    await ask('1.1');
    await approve('carol');
    expect(await lastPromotionDecision()).toMatchObject({ release: '1.1', decision: { outcome: 'pending', reasons: ['ApprovalsMissing'] } });
    await approve('bob');
    expect(await prod()).toMatchObject({ release: '1.1', generation: 2 });
  });

  it('that is replaced before its run ends as superseded, and one that is deleted as withdrawn', async () => {
    world = await asked();
    await world.commit([doc('Promotion', 'dev/shop', { release: '1.1' }), await world.promotion('prod', '1.1', { by: world.people.alice })], { by: world.people.alice });
    await world.settle();
    const ended = (await log(world)).steps.map(({ record }) => record).filter((r) => r.type === 'promotion-decision' && r.predicate.sources.ended !== null);
    expect(ended.map((r) => (r.type === 'promotion-decision' ? r.predicate.decision.reasons : []))).toEqual([expect.arrayContaining(['Superseded'])]);
    await world.commit([], { by: world.people.alice, deletes: ['promotions/prod/shop.yaml'] });
    await world.settle();
    expect((await lastPromotionDecision()).decision).toMatchObject({ outcome: 'refuse', reasons: expect.arrayContaining(['Withdrawn']) });
  });

  it('that failed is closed until its attempt rises', async () => {
    world = await World.create();
    world.registry.put('shop/api:1.0', 'one');
    world.executor.answer = 'Failed';
    await world.commit([release('1.0'), doc('Promotion', 'dev/shop', { release: '1.0' })], { by: world.people.alice });
    await world.settle();
    expect(world.executor.executed).toHaveLength(1);
    expect((await lastPromotionDecision()).decision).toMatchObject({ outcome: 'refuse', reasons: ['Closed'] });
    world.executor.answer = 'Succeeded';
    await world.commit([doc('Promotion', 'dev/shop', { release: '1.0', attempt: 2 })], { by: world.people.alice });
    await world.settle();
    expect(world.executor.executed).toHaveLength(2);
    expect(appStateOf(await world.state(), 'dev', 'shop')).toMatchObject({ clean: true, generation: 2, release: '1.0' });
  });

  it('that is reverted rolls back to the digests of the earlier lock', async () => {
    world = await World.create();
    const one = world.registry.put('shop/api:1.0', 'one');
    world.registry.put('shop/api:1.1', 'two');
    await world.commit([release('1.0'), release('1.1'), doc('Promotion', 'dev/shop', { release: '1.0' })], { by: world.people.alice });
    await world.settle();
    await world.commit([doc('Promotion', 'dev/shop', { release: '1.1' })], { by: world.people.alice });
    await world.settle();
    world.registry.put('shop/api:1.0', 'moved');
    await world.commit([doc('Promotion', 'dev/shop', { release: '1.0' })], { by: world.people.alice });
    await world.settle();
    const app = appStateOf(await world.state(), 'dev', 'shop');
    expect(app).toMatchObject({ release: '1.0', generation: 3 });
    expect((await world.state()).locks.get('shop/1.0')!.lock.components[0]!.digest).toBe(one);
  });

  it('to nothing removes, and is then satisfied', async () => {
    world = await World.create();
    world.registry.put('shop/api:1.0', 'one');
    await world.commit([release('1.0'), doc('Promotion', 'dev/shop', { release: '1.0' })], { by: world.people.alice });
    await world.settle();
    await world.commit([doc('Promotion', 'dev/shop', { state: 'absent' })], { by: world.people.alice });
    await world.settle();
    expect(appStateOf(await world.state(), 'dev', 'shop')).toMatchObject({ lock: null, release: null, clean: true, generation: 2 });
    expect(await world.settle()).toBe(0);
  });

  it('waits while a freeze is in force and goes on when it is lifted', async () => {
    world = await World.create({ documents: [doc('Freeze', 'holidays', { environments: ['dev'], reason: 'nobody is here' })] });
    world.registry.put('shop/api:1.0', 'one');
    await world.commit([release('1.0'), doc('Promotion', 'dev/shop', { release: '1.0' })], { by: world.people.alice });
    await world.settle();
    expect((await lastPromotionDecision()).decision).toMatchObject({ outcome: 'pending', reasons: ['Frozen'] });
    const state = await world.state();
    const changes = [{ kind: 'Freeze', name: 'holidays', count: 1, from: state.inForce.get('Freeze/holidays')!.digest, to: null }] as const;
    const digest = changeDigest(world.pin, changes);
    await world.commit([], { by: world.people.alice, deletes: ['freezes/holidays.yaml'] });
    await world.settle();
    expect(world.executor.executed).toEqual([]);
    await world.commit([await world.approval(world.people.carol, { type: 'change', digest, changes })], {});
    await world.settle();
    expect(world.executor.executed).toEqual([]);
    await world.commit([await world.approval(world.people.bob, { type: 'change', digest, changes })], {});
    await world.settle();
    expect(world.executor.executed).toHaveLength(1);
  });
});

describe('a protected document', () => {
  it('comes into force by the signed commit of an entitled proposer that names the change', async () => {
    world = await World.create();
    const document = doc('Environment', 'test', { order: 5 });
    const digest = changeDigest(world.pin, [{ kind: 'Environment', name: 'test', count: 0, from: null, to: documentDigest(document) }]);
    await world.commit([document], { by: world.people.carol, message: `Add test\n\nStella-Change: ${digest}` });
    await world.settle();
    expect((await world.state()).inForce.has('Environment/test')).toBe(false);
    await world.commit([doc('Environment', 'test', { order: 6 })], { by: world.people.carol });
    await world.commit([document], { by: world.people.alice, message: `Add test\n\nStella-Change: ${digest}` });
    await world.settle();
    expect((await world.state()).inForce.get('Environment/test')?.digest).toBe(documentDigest(document));
    await log(world);
  });

  it('that would make a configuration error stays out of force, though its quorum is met', async () => {
    world = await World.create();
    const document = doc('Principal', 'mallory', { type: 'person', keys: [{ key: world.people.alice.publicKey, status: 'active' }] });
    const digest = changeDigest(world.pin, [{ kind: 'Principal', name: 'mallory', count: 0, from: null, to: documentDigest(document) }]);
    await world.commit([document], { by: world.people.alice, message: `Add mallory\n\nStella-Change: ${digest}` });
    await world.settle();
    expect((await world.state()).inForce.has('Principal/mallory')).toBe(false);
    expect((await world.reconciler()).conditions.all().map((c) => c.reason)).toContain('ChangeRefused');
  });
});

describe('a repository that misbehaves', () => {
  it('is not followed after a force-push of the target branch', async () => {
    world = await asked();
    const size = (await world.state()).size;
    const first = (await world.repository.git(['rev-list', '--max-parents=0', 'refs/heads/main'])) as CommitId;
    await world.repository.setBranch('main', first);
    expect((await world.pass()).fault?.code).toBe('Rewound');
    expect((await world.state()).size).toBe(size);
  });

  it('stops the show when a foreign commit lies on the evidence branch', async () => {
    world = await asked();
    await world.repository.commit({ branch: 'stella/evidence', files: { 'locks/shop/9.lock.yaml': 'x' }, message: 'Mine', sshKey: world.people.alice });
    expect((await world.pass()).fault?.code).toBe('ForeignEvidence');
    await world.restart();
    expect((await world.pass()).fault?.code).toBe('ForeignEvidence');
  });

  it('that loses its evidence branch is not given a new one unless that was asked for', async () => {
    world = await asked();
    await world.repository.git(['update-ref', '-d', 'refs/heads/stella/evidence']);
    expect((await world.pass()).fault?.code).toBe('LogMissing');
    await world.restart();
    expect((await (await world.reconciler({ createLog: false })).pass()).fault?.code).toBe('LogMissing');
  });

  it('that rejects a push is asked again, and then everything is there once', async () => {
    world = await World.create();
    world.registry.put('shop/api:1.0', 'one');
    await world.commit([release('1.0'), doc('Promotion', 'dev/shop', { release: '1.0' })], { by: world.people.alice });
    await world.repository.rejectPushes('not today');
    expect((await world.pass()).fault?.code).toBe('PushFailed');
    expect(world.executor.executed).toEqual([]);
    await world.repository.rejectPushes(null);
    await world.settle();
    expect(world.executor.executed).toHaveLength(1);
    expect((await log(world)).types).toEqual(['tip', 'protected-change', 'tip', 'tag', 'release-lock', 'promotion-decision', 'deployment-outcome']);
  });

  it('or a registry that is away leaves the release unlocked and says so, and goes on later', async () => {
    world = await World.create();
    world.registry.put('shop/api:1.0', 'one');
    world.registry.unreachable = true;
    await world.commit([release('1.0'), doc('Promotion', 'dev/shop', { release: '1.0' })], { by: world.people.alice });
    await world.settle();
    expect((await world.reconciler()).conditions.all().map((c) => c.reason)).toContain('RegistryFault');
    expect((await lastPromotionDecision()).decision.reasons).toContain('LockMissing');
    world.registry.unreachable = false;
    world.now = new Date(world.now.getTime() + 3_000);
    await world.settle();
    expect(world.executor.executed).toHaveLength(1);
  });
});

describe('a tag that moves', () => {
  it('is observed and reported, and the lock does not follow', async () => {
    world = await World.create();
    const one = world.registry.put('shop/api:1.0', 'one');
    await world.commit([release('1.0'), doc('Promotion', 'dev/shop', { release: '1.0' })], { by: world.people.alice });
    await world.settle();
    await world.restart();
    const two = world.registry.put('shop/api:1.0', 'two');
    const reconciler = await world.reconciler({ tagPollSeconds: 0 });
    await world.pass();
    expect(reconciler.conditions.all().map((c) => c.reason)).toContain('TagMoved');
    const seen = (await log(world)).steps.map(({ record }) => record).at(-1)!;
    expect(seen.predicate).toMatchObject({ type: 'tag', digest: two, previous: one });
    expect((await world.state()).locks.get('shop/1.0')!.lock.components[0]!.digest).toBe(one);
  });
});

describe('a release that has run in the environment before', () => {
  it('may come back to production although that environment has gone on', async () => {
    world = await asked();
    await world.commit([await world.approval(world.people.bob, { ...SRE, digest: await promotionDigest() })], {});
    await world.settle();
    await world.commit([doc('Promotion', 'dev/shop', { release: '1.1' })], { by: world.people.alice });
    await world.settle();
    await world.commit([await world.promotion('prod', '1.1', { by: world.people.alice })], { by: world.people.alice });
    await world.settle();
    await world.commit([await world.approval(world.people.bob, { ...SRE, digest: await promotionDigest() })], {});
    await world.settle();
    await world.commit([doc('Promotion', 'prod/shop', { release: '1.0' })], { by: world.people.carol });
    await world.settle();
    expect((await lastPromotionDecision()).decision.reasons).toEqual(['ApprovalsMissing']);
    await world.commit([await world.approval(world.people.bob, { ...SRE, digest: await promotionDigest() })], {});
    await world.settle();
    expect(executedInProd().map((e) => e.release)).toEqual(['1.0', '1.1', '1.0']);
  });
});
