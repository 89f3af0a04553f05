import { afterEach, describe, expect, it } from 'vitest';
import type { CommitId } from '../../src/core/model/commit-id.ts';
import { limits } from '../../src/core/model/limits.ts';
import { ForgeError } from '../../src/ports/forge.ts';
import { doc } from '../fakes/world.ts';
import { Desk, PLANS_REF } from './proposals-fixture.ts';

let desk: Desk;
afterEach(() => desk.close());

describe('a forge that limits how often it is asked', () => {
  it('is left alone until the time it says, and nothing is lost; plain branches go on meanwhile', async () => {
    desk = await Desk.open();
    const head = await desk.asks('feature', '1.0');
    const { number } = await desk.forge.propose('feature');
    const retryAt = desk.world.now.getTime() + 300_000;
    desk.forge.fail('setStatus', 'RateLimited', { retryAt });
    await desk.pass();
    expect(desk.conditions()).toMatchObject({ forge: 'ForgeRateLimited' });
    expect(desk.proposals.nextDue()).toBeLessThanOrEqual(retryAt);
    desk.forge.mend();
    await desk.asks('promote/prod-shop', '1.1');
    const asked = desk.forge.calls.length;
    desk.later(100);
    await desk.pass();
    expect(desk.forge.calls.length).toBe(asked);
    expect(await desk.world.repository.git(['ls-tree', '-r', '--name-only', PLANS_REF])).toContain('promote/prod-shop.md');
    desk.later(201);
    await desk.pass();
    expect(desk.status(head)).toMatchObject({ state: 'success' });
    expect(desk.comment(number)).toContain(head);
    expect(desk.conditions()).toEqual({});
    expect(desk.proposals.counts.waits).toBe(1);
  });

  it('between a status and its comment gets the comment later', async () => {
    desk = await Desk.open();
    const head = await desk.asks('feature', '1.0');
    const { number } = await desk.forge.propose('feature');
    desk.forge.fail('addComment', 'RateLimited', { times: 1 });
    await desk.pass();
    expect(desk.status(head)).toBeDefined();
    expect(desk.comment(number)).toBe('');
    desk.later(limits.forgeDefaultRetryMs / 1000 + 1);
    await desk.pass();
    expect(desk.comment(number)).toContain(head);
    expect(desk.forge.countOf('setStatus')).toBe(1);
  });

  it('cannot make us wait for ever', async () => {
    desk = await Desk.open();
    desk.forge.fail('listOpen', 'RateLimited', { retryAt: Number.MAX_SAFE_INTEGER, times: 1 });
    await desk.pass();
    const head = await desk.asks('feature', '1.0');
    await desk.forge.propose('feature');
    desk.later(limits.forgeRetryAfterMs / 1000 + 1);
    await desk.pass();
    expect(desk.status(head)).toBeDefined();
  });
});

describe('a token', () => {
  it('that lost its rights is told as a condition, and everything goes on when it has them again', async () => {
    desk = await Desk.open();
    const head = await desk.asks('feature', '1.0');
    await desk.forge.propose('feature');
    for (const method of ['listOpen', 'listMerged', 'listQueued', 'setStatus'] as const) desk.forge.fail(method, 'Unauthorized');
    await desk.pass({ fault: 'Unauthorized' });
    expect(desk.conditions()).toMatchObject({ forge: 'ForgeUnauthorized' });
    desk.forge.mend();
    await desk.pass();
    expect(desk.status(head)).toBeDefined();
    expect(desk.conditions()).toEqual({});
  });

  it('that may not write here is not tried once for each proposal', async () => {
    desk = await Desk.open();
    for (let i = 0; i < 8; i += 1) {
      await desk.asks(`feature-${i}`, '1.0');
      await desk.forge.propose(`feature-${i}`);
    }
    desk.forge.fail('setStatus', 'Unauthorized');
    await desk.pass({ fault: 'Unauthorized' });
    expect(desk.forge.countOf('setStatus')).toBeLessThanOrEqual(3);
  });
});

describe('a forge that is away', () => {
  it('keeps nobody from reconciling, and is asked again', async () => {
    desk = await Desk.open();
    desk.forge.fail('listOpen', 'Unavailable');
    await desk.pass({ fault: 'Unavailable' });
    await desk.world.commit([await desk.world.promotion('dev', '1.1', { by: desk.world.people.alice })], { by: desk.world.people.alice });
    await desk.reconcile();
    expect(desk.world.executor.executed.at(-1)).toMatchObject({ environment: 'dev', release: '1.1' });
    desk.forge.mend();
    await desk.pass();
    expect(desk.conditions()).toEqual({});
  });

  it('whose answer to a comment was lost gets no second one', async () => {
    desk = await Desk.open();
    const head = await desk.asks('feature', '1.0');
    const { number } = await desk.forge.propose('feature');
    const { addComment } = desk.forge;
    desk.forge.addComment = async (...args) => {
      desk.forge.addComment = addComment;
      await desk.forge.addComment(...args);
      throw new ForgeError('Unavailable', 'the connection broke');
    };
    await desk.pass({ fault: 'Unavailable' });
    await desk.pass();
    expect(desk.forge.commentsOf(number)).toHaveLength(1);
    expect(desk.comment(number)).toContain(head);
  });
});

describe('a sticky comment', () => {
  it('that somebody else wrote with our marker is not ours', async () => {
    desk = await Desk.open();
    await desk.asks('feature', '1.0');
    const { number } = await desk.forge.propose('feature');
    await desk.pass();
    const copied = desk.comment(number);
    await desk.asks('other', '1.1');
    const second = await desk.forge.propose('other');
    desk.forge.say(second.number, 'mallory', copied);
    await desk.start();
    await desk.reconcile();
    await desk.pass();
    expect(desk.forge.commentsOf(second.number).map(({ author }) => author)).toEqual(['mallory', 'stella-bot']);
  });

  it('that somebody deleted is written again when there is something to say', async () => {
    desk = await Desk.open();
    await desk.asks('feature', '1.0');
    const { number } = await desk.forge.propose('feature');
    await desk.pass();
    desk.forge.deleteComments(number);
    const next = await desk.asks('feature', '1.1');
    await desk.forge.push(number, next);
    await desk.pass();
    await desk.pass();
    expect(desk.comment(number)).toContain(next);
  });

  it('of a proposal that is locked for us does not hold up the comments of others', async () => {
    desk = await Desk.open();
    await desk.asks('feature', '1.0');
    await desk.asks('other', '1.1');
    const [one, two] = [await desk.forge.propose('feature'), await desk.forge.propose('other')];
    const { addComment } = desk.forge;
    desk.forge.addComment = (number, body) => (number === two.number ? Promise.reject(new ForgeError('Refused', 'it is locked')) : addComment.call(desk.forge, number, body));
    await desk.pass({ fault: 'Refused' });
    expect(desk.comment(one.number)).not.toBe('');
  });
});

describe('plain branches without a forge', () => {
  const files = async () => (await desk.world.repository.git(['ls-tree', '-r', '--name-only', PLANS_REF])).split('\n');

  it('have their plans on a branch of signed commits, which goes forward and only when something changed', async () => {
    desk = await Desk.open({ forge: false });
    expect(await desk.world.repository.tip('stella/plans')).toBeNull();
    const head = await desk.asks('promote/prod-shop', '1.0');
    await desk.pass();
    expect(await files()).toEqual(['promote/prod-shop.json', 'promote/prod-shop.md']);
    const plan = JSON.parse(await desk.world.repository.git(['cat-file', 'blob', `${PLANS_REF}:promote/prod-shop.json`])) as { candidate: string };
    expect(plan.candidate).toBe(head);
    const first = (await desk.world.repository.tip('stella/plans')) as CommitId;
    expect(await desk.world.repository.git(['cat-file', 'commit', first])).toContain('-----BEGIN SSH SIGNATURE-----');
    desk.later(3_600);
    await desk.pass();
    await desk.start();
    await desk.reconcile();
    await desk.pass();
    expect(await desk.world.repository.tip('stella/plans')).toBe(first);
    await desk.asks('promote/prod-shop', '1.1');
    await desk.pass();
    expect(await desk.world.repository.git(['rev-list', '--parents', '-1', PLANS_REF])).toContain(` ${first}`);
  });

  it('that would be allowed are not told again each time that an allow would have ended', async () => {
    desk = await Desk.open({ forge: false });
    await desk.asks('promote/dev-shop', '1.1', 'dev');
    await desk.pass();
    const [first, planned] = [await desk.world.repository.tip('stella/plans'), desk.proposals.counts.planned];
    const text = await desk.world.repository.git(['cat-file', 'blob', `${PLANS_REF}:promote/dev-shop.md`]);
    expect(text).toContain('allowed');
    expect(text).not.toContain('nothing changes before');
    for (let hour = 0; hour < 3; hour += 1) {
      desk.later(3_700);
      await desk.pass();
    }
    expect([await desk.world.repository.tip('stella/plans'), desk.proposals.counts.planned]).toEqual([first, planned]);
    // Planned again for another reason, it still says the same.
    await desk.world.commit([doc('Promotion', 'prod/shop', { release: '1.0' })], { by: desk.world.people.alice });
    await desk.reconcile();
    await desk.pass();
    expect(desk.proposals.counts.planned).toBeGreaterThan(planned);
    expect(await desk.world.repository.tip('stella/plans')).toBe(first);
  });

  it('are removed there when they go', async () => {
    desk = await Desk.open({ forge: false });
    await desk.asks('promote/a', '1.0');
    await desk.asks('promote/b', '1.0');
    await desk.pass();
    await desk.world.repository.git(['update-ref', '-d', 'refs/heads/promote/a']);
    await desk.pass();
    expect(await files()).toEqual(['promote/b.json', 'promote/b.md']);
  });

  it('may have names of which one would be the folder of another', async () => {
    desk = await Desk.open({ forge: false });
    await desk.asks('promote/a', '1.0');
    await desk.asks('promote/a.md/b', '1.0');
    await desk.pass();
    expect((await files()).toSorted()).toEqual(['promote/a.json', 'promote/a.md', 'promote/a.md%/b.json', 'promote/a.md%/b.md']);
    const tip = await desk.world.repository.tip('stella/plans');
    await desk.start();
    await desk.reconcile();
    await desk.pass();
    expect(await desk.world.repository.tip('stella/plans')).toBe(tip);
  });

  it('leave the log and its verification as they are', async () => {
    desk = await Desk.open({ forge: false });
    await desk.asks('promote/prod-shop', '1.0');
    await desk.pass();
    const evidence = await desk.world.repository.tip('stella/evidence');
    await desk.reconcile();
    expect(await desk.world.repository.tip('stella/evidence')).toBe(evidence);
    await desk.start();
    await desk.reconcile();
    expect(await desk.world.repository.tip('stella/evidence')).toBe(evidence);
  });

  it('are not told of on a branch that somebody else wrote, until that is gone', async () => {
    desk = await Desk.open({ forge: false });
    await desk.world.commit([], { branch: 'stella/plans', by: desk.world.people.bob, files: { 'promote/prod-shop.md': 'all is well\n' } });
    const foreign = await desk.world.repository.tip('stella/plans');
    await desk.asks('promote/prod-shop', '1.0');
    await desk.pass({ fault: 'PushFailed' });
    await desk.pass({ fault: 'ForeignPlans' });
    expect(desk.conditions()).toMatchObject({ plans: 'ForeignPlans' });
    expect(await desk.world.repository.tip('stella/plans')).toBe(foreign);
    await desk.world.repository.git(['update-ref', '-d', PLANS_REF]);
    await desk.pass();
    expect(desk.conditions()).toEqual({});
    expect(await files()).toContain('promote/prod-shop.md');
  });

  it('wait for a server that rejects the push', async () => {
    desk = await Desk.open({ forge: false });
    await desk.asks('promote/prod-shop', '1.0');
    await desk.world.repository.rejectPushes('not now');
    await desk.pass({ fault: 'PushFailed' });
    await desk.world.repository.rejectPushes(null);
    await desk.pass();
    expect(await files()).toContain('promote/prod-shop.md');
  });
});

describe('10,000 branches', () => {
  it('are planned as far as the limit goes, with a condition, and nothing is executed; without them all is well again', async () => {
    desk = await Desk.open({ forge: false, settings: { branches: ['refs/heads/flood/*', 'refs/heads/promote/*'] } });
    const main = (await desk.world.repository.tip()) as CommitId;
    const input = (verb: string): string => Array.from({ length: 10_000 }, (_, i) => `${verb} refs/heads/flood/${String(i).padStart(5, '0')}${verb === 'create' ? ` ${main}` : ''}\n`).join('');
    await desk.world.repository.git(['update-ref', '--stdin'], input('create'));
    const executed = desk.world.executor.executed.length;
    await desk.pass();
    expect(desk.conditions()).toMatchObject({ candidates: 'TooManyProposals' });
    expect(desk.proposals.counts.open).toBe(limits.proposalBranches);
    expect(desk.world.executor.executed).toHaveLength(executed);
    await desk.world.repository.git(['update-ref', '--stdin'], input('delete'));
    await desk.pass();
    expect(desk.conditions()).toEqual({});
    expect(desk.proposals.counts.open).toBe(0);
  });
});

describe('a proposal', () => {
  it('that changes 5,000 files is planned or refused in words that the forge takes, and nothing is executed', async () => {
    desk = await Desk.open();
    const executed = desk.world.executor.executed.length;
    const files = Object.fromEntries(Array.from({ length: 5_000 }, (_, i) => [`releases/shop/${i}.yaml`, `apiVersion: stella-gitops.dev/v1\nkind: Release\nmetadata: { name: shop/2.${i} }\nspec: { components: { api: { tag: "2.${i}" } } }\n`]));
    const head = await desk.branch('feature', [], { files });
    const { number } = await desk.forge.propose('feature');
    await desk.pass();
    expect(['failure', 'error']).toContain(desk.status(head)?.state);
    expect(desk.comment(number).length).toBeLessThanOrEqual(desk.forge.limits.commentChars);
    expect(desk.world.executor.executed).toHaveLength(executed);
    desk.forge.update(number, { state: 'closed' });
    await desk.pass();
    expect(desk.conditions()).toEqual({});
  });

  it('is planned beside passes of the reconciler over the same mirror, and neither disturbs the other', async () => {
    desk = await Desk.open();
    await desk.asks('feature', '1.0');
    const { number } = await desk.forge.propose('feature');
    for (let round = 0; round < 8; round += 1) {
      const head = await desk.asks('feature', round % 2 === 0 ? '1.1' : '1.0');
      await desk.forge.push(number, head);
      await desk.asks(`promote/${round}`, '1.0');
      if (round > 0) await desk.world.repository.git(['update-ref', '-d', `refs/heads/promote/${round - 1}`]);
      await desk.world.commit([await desk.world.promotion('dev', round % 2 === 0 ? '1.1' : '1.0', { by: desk.world.people.alice })], { by: desk.world.people.alice });
      const [passed] = await Promise.all([desk.world.pass(), desk.pass()]);
      expect(passed.fault).toBeNull();
      await Promise.all([desk.reconcile(), desk.pass({ look: false })]);
      expect(desk.status(head)).toBeDefined();
    }
    expect(desk.conditions()).toEqual({});
  });
});
