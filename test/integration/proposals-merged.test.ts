import { afterEach, describe, expect, it } from 'vitest';
import type { CommitId } from '../../src/core/model/commit-id.ts';
import { appStateOf } from '../../src/core/evidence/log-state.ts';
import { documentDigest, type AnyDocument } from '../../src/core/model/documents.ts';
import { changeDigest } from '../../src/core/model/preimages.ts';
import { changeTo } from '../../src/core/trust/apply-change.ts';
import { directGitCommands } from '../../src/adapters/git/git-command.ts';
import { openGitReader } from '../../src/adapters/git/native-git-reader.ts';
import { createDocumentParser } from '../../src/adapters/yaml/document-parser.ts';
import { GitError, type GitReader } from '../../src/ports/git-reader.ts';
import { ArtifactCache } from '../../src/reconciler/artifact-cache.ts';
import { MergedFates } from '../../src/reconciler/proposals/merged-fate.ts';
import { PromotionTrail } from '../../src/reconciler/proposals/promotion-trail.ts';
import type { Signer } from '../fakes/git-repository.ts';
import { openPgp } from '../fakes/openpgp.ts';
import { doc } from '../fakes/world.ts';
import { Desk } from './proposals-fixture.ts';

let desk: Desk;
afterEach(() => desk.close());

/** A proposal for prod that was planned. */
async function proposed(version = '1.0'): Promise<{ readonly number: number; readonly head: CommitId }> {
  desk = await Desk.open();
  const head = await desk.asks('feature', version);
  const { number } = await desk.forge.propose('feature');
  await desk.pass();
  return { number, head };
}

/** Somebody who is sre says yes to what waits in prod. */
async function approved(): Promise<void> {
  const { world, recorded } = desk;
  const last = recorded.findLast((record) => record.type === 'promotion-decision' && record.predicate.environment === 'prod');
  if (last?.type !== 'promotion-decision' || last.predicate.decision.promotionDigest === null) throw new Error('nothing waits in prod');
  const { promotionDigest: digest } = last.predicate.decision;
  await world.commit([await world.approval(world.people.bob, { type: 'promotion', environment: 'prod', application: 'shop', digest })], { by: world.people.bob });
  await desk.reconcile();
}

/** A merged proposal that lets an allow in dev hold for so long, with the approval of whoever is named. */
async function changed(name: string, by: Signer | null = desk.world.people.bob): Promise<{ readonly number: number; readonly head: CommitId }> {
  const { world } = desk;
  const environment = doc('Environment', 'dev', { order: 1, allowSeconds: 600 + name.length }) as AnyDocument;
  const changes = [changeTo(await world.state(), 'Environment', 'dev', documentDigest(environment))];
  const approvals = by === null ? [] : [await world.approval(by, { type: 'change', digest: changeDigest(world.pin, changes), changes })];
  const head = await desk.branch(name, [environment, ...approvals]);
  const { number } = await desk.forge.propose(name);
  await desk.pass();
  await desk.forge.merge(number, 'squash');
  await desk.reconcile();
  await desk.pass();
  return { number, head };
}

describe.each(['merge', 'squash', 'rebase'] as const)('a proposal that was merged by %s', (method) => {
  it('is not done: its status says so on head and merge commit until the run has ended', async () => {
    const { number, head } = await proposed();
    const mergeCommit = await desk.forge.merge(number, method);
    await desk.pass();
    expect(desk.status(head)).toMatchObject({ state: 'pending', description: 'merged, not reconciled yet' });
    await desk.reconcile();
    await desk.pass({ look: false });
    for (const commit of [head, mergeCommit]) expect(desk.status(commit)).toMatchObject({ state: 'pending', description: expect.stringContaining('merged, waiting for') });
    await approved();
    await desk.pass({ look: false });
    const { seq = -1 } = appStateOf(desk.reconciler.state!, 'prod', 'shop').lastOutcome ?? {};
    for (const commit of [head, mergeCommit]) expect(desk.status(commit)).toMatchObject({ state: 'success', description: `deployed by record ${seq}` });
    expect(desk.comment(number)).toContain(`deployed by record ${seq}`);
    expect(desk.forge.countOf('addComment')).toBe(1);
  });
});

describe('a merged proposal', () => {
  it('whose history cannot be read is not said to have changed nothing', async () => {
    const { number } = await proposed();
    await desk.forge.merge(number, 'squash');
    await desk.reconcile();
    const reader = await openGitReader(desk.world.repository.folder, { environment: { PATH: process.env['PATH'] }, commands: directGitCommands() });
    const tellWith = async (read: GitReader) => {
      const fates = new MergedFates({ reader: read, parser: createDocumentParser(), openPgp, artifacts: new ArtifactCache(reader), trail: new PromotionTrail() });
      return (await fates.of(desk.reconciler.snapshot!, await desk.forge.read(number), null, { plan: null, digests: new Map() })).status;
    };
    const tooLarge = new Proxy(reader, {
      get: (target, name) => {
        if (name === 'diff') return () => Promise.reject(new GitError('LimitExceeded', 'too many paths'));
        const member: unknown = Reflect.get(target, name, target);
        return typeof member === 'function' ? (member as (...args: unknown[]) => unknown).bind(target) : member;
      },
    });
    expect((await tellWith(tooLarge)).state).toBe('error');
    expect((await tellWith(reader)).state).toBe('pending');
    await reader.close();
  });

  it('keeps the plan that was merged below what became of it', async () => {
    const { number } = await proposed();
    const plan = desk.comment(number).split('(stella-plan-begins)')[1];
    await desk.forge.merge(number, 'squash');
    await desk.reconcile();
    await desk.pass();
    expect(desk.comment(number).split('(stella-plan-begins)')[1]).toBe(plan);
    expect(desk.comment(number)).toContain('merged, waiting for');
    expect(desk.comment(number)).not.toContain('otherwise than planned');
  });

  it('is known as merged when the log shows the merge, and not planned once more as a change of nothing', async () => {
    const { number, head } = await proposed();
    const edits = () => desk.forge.countOf('editComment');
    const before = edits();
    await desk.forge.merge(number, 'squash');
    await desk.reconcile();
    await desk.pass({ look: false });
    expect(desk.status(head)?.description).toContain('merged, waiting for');
    expect(edits()).toBe(before + 1);
  });

  it('keeps its plan while the forge does not say what is merged', async () => {
    const { number, head } = await proposed();
    await desk.forge.merge(number, 'squash');
    await desk.reconcile();
    desk.forge.fail('listOpen', 'Unavailable');
    await desk.pass({ fault: 'Unavailable', look: false });
    desk.forge.mend();
    expect(desk.status(head)?.description).toContain('waiting for sre');
    await desk.pass({ look: false });
    expect(desk.status(head)?.description).toContain('merged, waiting for');
  });

  it('shows what was decided otherwise than planned, because something moved meanwhile', async () => {
    const { number } = await proposed();
    await desk.world.commit([doc('Configuration', 'prod/shop', { variables: { LEVEL: 'debug' } })], { by: desk.world.people.alice });
    await desk.forge.merge(number, 'squash');
    await desk.reconcile();
    await desk.pass();
    expect(desk.comment(number)).toContain('Decided otherwise than planned');
    expect(desk.comment(number)).toContain('the promotion digest is');
  });

  it('keeps saying what was decided otherwise after a restart, while what became of it goes on', async () => {
    const { number } = await proposed();
    await desk.world.commit([doc('Configuration', 'prod/shop', { variables: { LEVEL: 'debug' } })], { by: desk.world.people.alice });
    await desk.forge.merge(number, 'squash');
    await desk.reconcile();
    await desk.pass();
    const otherwise = desk.comment(number).slice(desk.comment(number).indexOf('Decided otherwise'));
    await desk.start();
    await desk.reconcile();
    const edits = desk.forge.countOf('editComment');
    await desk.pass();
    expect(desk.forge.countOf('editComment')).toBe(edits);
    await approved();
    await desk.pass({ look: false });
    expect(desk.comment(number)).toContain('deployed by record');
    expect(desk.comment(number).slice(desk.comment(number).indexOf('Decided otherwise'))).toBe(otherwise);
  });

  it('that was merged while no server was there is told by the digest whether it was decided otherwise', async () => {
    const { number } = await proposed();
    const planned = /Promotion digest: `(sha256:[0-9a-f]{64})`/.exec(desk.comment(number))?.[1] ?? '';
    await desk.world.commit([doc('Configuration', 'prod/shop', { variables: { LEVEL: 'debug' } })], { by: desk.world.people.alice });
    await desk.forge.merge(number, 'squash');
    await desk.start();
    await desk.reconcile();
    await desk.pass();
    expect(desk.comment(number)).toContain('Decided otherwise than planned');
    expect(desk.comment(number)).toContain(`, and was ${planned}: approvals of that do not count; stella approve prod/shop`);
  });

  it('is found again after a restart on an empty disk', async () => {
    const { number, head } = await proposed();
    await desk.forge.merge(number, 'squash');
    await desk.reconcile();
    await desk.pass();
    await desk.start();
    await desk.reconcile();
    const set = desk.forge.countOf('setStatus');
    await desk.pass();
    expect(desk.forge.countOf('setStatus') - set).toBeLessThanOrEqual(1);
    await approved();
    await desk.pass({ look: false });
    expect(desk.status(head)).toMatchObject({ state: 'success' });
  });

  it('whose run fails says so', async () => {
    const { number, head } = await proposed();
    await desk.forge.merge(number, 'squash');
    await desk.reconcile();
    desk.world.executor.answer = 'Failed';
    await approved();
    await desk.pass();
    expect(desk.status(head)).toMatchObject({ state: 'failure', description: expect.stringContaining('Failed') });
  });

  it('that another one replaced before it ran says that it was superseded', async () => {
    const { number, head } = await proposed();
    await desk.forge.merge(number, 'squash');
    await desk.reconcile();
    await desk.world.commit([await desk.world.promotion('prod', '1.1', { by: desk.world.people.alice })], { by: desk.world.people.alice });
    await desk.reconcile();
    await desk.pass();
    expect(desk.status(head)).toMatchObject({ state: 'failure', description: expect.stringContaining('superseded') });
  });

  it('that goes back to a former request is told of its own run, not of the former one', async () => {
    const { number } = await proposed();
    await desk.forge.merge(number, 'squash');
    await desk.reconcile();
    await approved();
    const former = desk.reconciler.snapshot?.desired.usable.Promotion.get('Promotion/prod/shop')?.document as never;
    await desk.world.commit([await desk.world.promotion('dev', '1.1', { by: desk.world.people.alice })], { by: desk.world.people.alice });
    await desk.reconcile();
    await desk.world.commit([await desk.world.promotion('prod', '1.1', { by: desk.world.people.alice })], { by: desk.world.people.alice });
    await desk.reconcile();
    await approved();
    const back = await desk.branch('back', [former]);
    const second = await desk.forge.propose('back');
    await desk.pass();
    await desk.forge.merge(second.number, 'squash');
    await desk.reconcile();
    await desk.pass();
    // Its signature was spent by the former one, so somebody has to adopt it; that one's run says nothing of this.
    expect(desk.status(back)).toMatchObject({ state: 'failure', description: expect.stringContaining('merged, refused, waiting for somebody who adopts') });
  });

  it('with a protected document says whether it is in force', async () => {
    desk = await Desk.open({ world: { root: { proposerCounts: false } } });
    const { number, head } = await changed('feature', null);
    expect(desk.status(head)).toMatchObject({ state: 'pending', description: expect.stringContaining('merged, not in force: Environment/dev') });
    // In the words of `stella explain Environment/dev`.
    expect(desk.comment(number)).toContain('The target branch holds another version, which is not in force yet. Its quorum: 1 person (1 admin). Approved so far by nobody.');
    expect(desk.comment(number)).toContain('stella approve --pending --only Environment/dev');
  });

  it('with a protected document that cannot be read says that it is not in force and how to see why', async () => {
    desk = await Desk.open();
    const head = await desk.branch('broken', [doc('Environment', 'dev', { order: 1, description: 'no such field' } as never)]);
    const { number } = await desk.forge.propose('broken');
    await desk.pass();
    await desk.forge.merge(number, 'squash');
    await desk.reconcile();
    await desk.pass();
    expect(desk.status(head)).toMatchObject({ state: 'failure', description: 'merged, not in force: Environment/dev cannot be used as it stands, see: stella lint' });
  });

  it('with a protected document that came into force says so for good, also when another one has replaced it', async () => {
    desk = await Desk.open();
    const first = await changed('first');
    expect(desk.status(first.head)).toMatchObject({ state: 'success', description: expect.stringMatching(/^Environment\/dev is in force as merged \(record \d+\)$/) });
    const second = await changed('second');
    expect(desk.status(second.head)?.state).toBe('success');
    expect(desk.status(first.head)).toMatchObject({ state: 'success', description: expect.stringMatching(/^Environment\/dev came into force with record \d+, and was replaced since$/) });
  });

  it('with a protected document that another one replaced before it was in force says that it was superseded', async () => {
    desk = await Desk.open({ world: { root: { proposerCounts: false } } });
    const first = await changed('first', null);
    expect(desk.status(first.head)).toMatchObject({ state: 'pending' });
    await changed('second', null);
    expect(desk.status(first.head)).toMatchObject({ state: 'failure', description: expect.stringContaining('superseded') });
  });

  it('is followed for some days, and no longer', async () => {
    const { number, head } = await proposed();
    await desk.forge.merge(number, 'squash');
    await desk.reconcile();
    await desk.pass();
    desk.later(8 * 86_400);
    await desk.pass();
    await approved();
    await desk.pass();
    expect(desk.status(head)).toMatchObject({ state: 'pending' });
  });
});
