import { afterEach, describe, expect, it } from 'vitest';
import type { CommitId } from '../../src/core/model/commit-id.ts';
import { Desk } from './proposals-fixture.ts';

let desk: Desk;
afterEach(() => desk.close());

describe('a proposal on a forge', () => {
  it('is planned when it is opened: status first, then one comment, and nothing is recorded', async () => {
    desk = await Desk.open();
    const head = await desk.asks('promote-1', '1.0');
    const { number } = await desk.forge.propose('promote-1');
    const size = desk.reconciler.state?.size;
    await desk.pass();
    expect(desk.status(head)).toMatchObject({ context: 'stella/plan', state: 'success', description: expect.stringContaining('prod/shop 1.0: waiting for sre (0 of 1') });
    expect(desk.comment(number)).toContain(head);
    expect(desk.forge.calls.indexOf('setStatus')).toBeLessThan(desk.forge.calls.indexOf('addComment'));
    await desk.reconcile();
    expect(desk.reconciler.state?.size).toBe(size);
    expect(desk.world.executor.executed.filter(({ environment }) => environment === 'prod')).toEqual([]);
  });

  it('that nobody changed is neither planned nor told again, also after a restart', async () => {
    desk = await Desk.open();
    await desk.asks('promote-1', '1.0');
    await desk.forge.propose('promote-1');
    await desk.pass();
    const writes = () => [desk.forge.countOf('setStatus'), desk.forge.countOf('addComment'), desk.forge.countOf('editComment')];
    const before = writes();
    const { planned } = desk.proposals.counts;
    await desk.pass();
    expect(desk.proposals.counts.planned).toBe(planned);
    await desk.start();
    await desk.reconcile();
    await desk.pass();
    expect(writes()).toEqual(before);
  });

  it('that is pushed to, also by force, is planned again, and its comment is edited in place', async () => {
    desk = await Desk.open();
    const first = await desk.asks('promote-1', '1.0');
    const { number } = await desk.forge.propose('promote-1');
    await desk.pass();
    const second = await desk.asks('other', '1.1');
    await desk.forge.push(number, second);
    await desk.pass();
    expect(desk.status(second)).toMatchObject({ state: expect.stringMatching(/success|failure/) });
    expect(desk.comment(number)).toContain(second);
    expect(desk.comment(number)).not.toContain(first);
    expect(desk.forge.countOf('addComment')).toBe(1);
  });

  it('that is closed is left alone, and found again when it is opened again', async () => {
    desk = await Desk.open();
    await desk.asks('promote-1', '1.0');
    const { number } = await desk.forge.propose('promote-1');
    await desk.pass();
    desk.forge.update(number, { state: 'closed' });
    await desk.pass();
    expect(desk.proposals.counts.open).toBe(0);
    const again = await desk.asks('promote-1', '1.1');
    await desk.forge.push(number, again);
    await desk.pass();
    expect(desk.status(again)).toBeUndefined();
    desk.forge.update(number, { state: 'open' });
    await desk.pass();
    expect(desk.status(again)).toBeDefined();
    expect(desk.comment(number)).toContain(again);
  });

  it('that goes into another branch now is no longer planned, and its status is no success; back again it is', async () => {
    desk = await Desk.open();
    const head = await desk.asks('promote-1', '1.0');
    const { number } = await desk.forge.propose('promote-1');
    await desk.pass();
    desk.forge.update(number, { baseRef: 'refs/heads/next' });
    await desk.pass();
    expect(desk.status(head)).toMatchObject({ state: 'pending', description: expect.stringContaining('next') });
    desk.forge.update(number, { baseRef: 'refs/heads/main' });
    await desk.pass();
    expect(desk.status(head)).toMatchObject({ state: 'success' });
  });

  it('that is a draft is planned like any other', async () => {
    desk = await Desk.open();
    const head = await desk.asks('promote-1', '1.0');
    await desk.forge.propose('promote-1', { isDraft: true });
    await desk.pass();
    expect(desk.status(head)).toMatchObject({ state: 'success' });
  });

  it('beside another one for the same place tells of it, and neither is executed', async () => {
    desk = await Desk.open();
    await desk.asks('promote-1', '1.0');
    await desk.asks('promote-2', '1.1');
    const [one, two] = [await desk.forge.propose('promote-1'), await desk.forge.propose('promote-2')];
    await desk.pass();
    expect(desk.comment(one.number)).toContain('OtherProposal');
    expect(desk.comment(two.number)).toContain('OtherProposal');
    expect(desk.world.executor.executed.filter(({ environment }) => environment === 'prod')).toEqual([]);
    desk.forge.update(two.number, { state: 'closed' });
    await desk.pass();
    expect(desk.comment(one.number)).not.toContain('OtherProposal');
  });

  it('whose head cannot be fetched does not keep the others from being planned', async () => {
    desk = await Desk.open();
    const [good, bad] = [await desk.asks('promote-1', '1.0'), await desk.asks('promote-2', '1.1')];
    await desk.forge.propose('promote-1');
    const { number } = await desk.forge.propose('promote-2');
    await desk.world.repository.git(['update-ref', '-d', `refs/pull/${number}/head`]);
    await desk.pass();
    expect(desk.status(good)).toMatchObject({ state: 'success' });
    expect(desk.status(bad)).toMatchObject({ state: 'error' });
    await desk.world.repository.git(['update-ref', `refs/pull/${number}/head`, bad]);
    desk.later(61);
    await desk.pass();
    expect(desk.status(bad)).not.toMatchObject({ state: 'error' });
  });

  it('is planned again when the log moves at its place, at once', async () => {
    desk = await Desk.open();
    const head = await desk.asks('promote-1', '1.1');
    await desk.forge.propose('promote-1');
    await desk.pass();
    expect(desk.status(head)).toMatchObject({ description: expect.stringContaining('sre (0 of 1 approved), and 1 more') });
    await desk.world.commit([await desk.world.promotion('dev', '1.1', { by: desk.world.people.alice })], { by: desk.world.people.alice });
    await desk.reconcile();
    await desk.pass({ look: false });
    expect(desk.status(head)?.description).not.toContain('more');
  });
});

describe('a merge queue', () => {
  it('gets its status on the commit that is tried, and no comment', async () => {
    desk = await Desk.open();
    const head = await desk.asks('gh-readonly-queue/main/pr-1-abc', '1.0');
    desk.forge.enqueue({ number: 1, ref: 'refs/heads/gh-readonly-queue/main/pr-1-abc', commit: head });
    await desk.pass();
    expect(desk.status(head)).toMatchObject({ state: 'success' });
    expect(desk.forge.countOf('addComment')).toBe(0);
  });
});

describe('a proposal from a fork', () => {
  const sha = (commit: CommitId) => `/stella plan ${commit}`;

  it('is not even fetched before somebody who may write asks', async () => {
    desk = await Desk.open();
    const head = await desk.asks('fork-1', '1.0');
    const { number } = await desk.forge.propose('fork-1', { isFork: true, author: 'stranger' });
    await desk.pass();
    expect(desk.status(head)).toMatchObject({ state: 'pending', description: expect.stringContaining(`/stella plan ${head}`) });
    expect(desk.proposals.counts.open).toBe(0);
    desk.forge.say(number, 'stranger', sha(head));
    await desk.pass();
    expect(desk.status(head)).toMatchObject({ state: 'pending' });
    desk.forge.say(number, 'maintainer', sha(head));
    await desk.pass();
    expect(desk.status(head)).toMatchObject({ state: 'success' });
  });

  it('is planned for the commit that was named alone: a later push needs a new request', async () => {
    desk = await Desk.open();
    const head = await desk.asks('fork-1', '1.0');
    const { number } = await desk.forge.propose('fork-1', { isFork: true });
    desk.forge.say(number, 'maintainer', sha(head));
    await desk.pass();
    expect(desk.status(head)).toMatchObject({ state: 'success' });
    const next = await desk.asks('next', '1.1');
    await desk.forge.push(number, next);
    await desk.pass();
    expect(desk.status(next)).toMatchObject({ state: 'pending' });
  });

  it('is not planned when it moved between the list and the fetch', async () => {
    desk = await Desk.open();
    const head = await desk.asks('fork-1', '1.0');
    const { number, head: { fetchRef } } = await desk.forge.propose('fork-1', { isFork: true });
    desk.forge.say(number, 'maintainer', sha(head));
    const slipped = await desk.asks('slipped', '1.1');
    await desk.world.repository.git(['update-ref', fetchRef ?? '', slipped]);
    await desk.pass();
    expect(desk.status(slipped)).toBeUndefined();
    expect(desk.proposals.counts.open).toBe(0);
  });

  it('may be asked for without its commit only once we had seen its head for a minute', async () => {
    desk = await Desk.open();
    const head = await desk.asks('fork-1', '1.0');
    const { number } = await desk.forge.propose('fork-1', { isFork: true });
    await desk.pass();
    desk.later(30);
    desk.forge.say(number, 'maintainer', '/stella plan');
    await desk.pass();
    expect(desk.status(head)).toMatchObject({ state: 'pending' });
    desk.later(60);
    desk.forge.say(number, 'maintainer', '/stella plan');
    await desk.pass();
    expect(desk.status(head)).toMatchObject({ state: 'success' });
  });

  it('is asked for by a comment that begins with the request, not by one that quotes it', async () => {
    desk = await Desk.open();
    const head = await desk.asks('fork-1', '1.0');
    const { number } = await desk.forge.propose('fork-1', { isFork: true });
    desk.forge.say(number, 'maintainer', `> ${sha(head)}\nno, I would not`);
    desk.forge.say(number, 'maintainer', `${sha(head)} later`);
    await desk.pass();
    expect(desk.status(head)).toMatchObject({ state: 'pending' });
  });
});
