import { afterEach, describe, expect, it } from 'vitest';
import type { RegistryDocument } from '../../src/core/model/documents.ts';
import type { CommitId } from '../../src/core/model/commit-id.ts';
import { limits } from '../../src/core/model/limits.ts';
import { ForgeError } from '../../src/ports/forge.ts';
import { PlanAllowance } from '../../src/reconciler/proposals/plan-allowance.ts';
import { Desk } from './proposals-fixture.ts';

/** One candidate that would cost everything: it is refused, and the others are planned. */

let desk: Desk;
const close = async (): Promise<void> => desk.close();

describe('a candidate', () => {
  afterEach(close);

  it('whose documents are more than one plan may read is refused, and the others are planned', async () => {
    desk = await Desk.open();
    const variables = Array.from({ length: 50 }, (_, i) => `    K${i}: "${'x'.repeat(4_000)}"`).join('\n');
    const files = Object.fromEntries(Array.from({ length: 100 }, (_, i) => [`configurations/${i}.yaml`, `apiVersion: stella/v1alpha1\nkind: Configuration\nmetadata: { name: prod/a${i} }\nspec:\n  variables:\n${variables}\n`]));
    const heavy = await desk.branch('heavy', [], { files });
    const light = await desk.asks('light', '1.0');
    for (const branch of ['light', 'heavy']) await desk.forge.propose(branch);
    await desk.pass();
    expect(desk.status(heavy)).toMatchObject({ state: 'error', description: expect.stringContaining('bytes of documents') as unknown });
    expect(desk.status(light)?.state).toBe('success');
  });

  it('with more documents in its files than one plan looks at is refused', async () => {
    desk = await Desk.open();
    const files = Object.fromEntries(Array.from({ length: 51 }, (_, i) => [`releases/${i}.yaml`, Array.from({ length: 100 }, (_, j) => `apiVersion: stella/v1alpha1\nkind: Release\nmetadata: { name: shop/2.${i}.${j} }\nspec: { components: { api: { tag: "1.0" } } }\n`).join('---\n')]));
    const head = await desk.branch('many', [], { files });
    await desk.forge.propose('many');
    await desk.pass();
    expect(desk.status(head)).toMatchObject({ state: 'error', description: expect.stringContaining('5100 documents') as unknown });
  });

  it('whose commits change many files again and again is refused, and the others are planned', async () => {
    desk = await Desk.open();
    const { repository } = desk.world;
    const main = (await repository.tip()) as CommitId;
    const trees = await Promise.all(['one', 'two'].map(async (text) => {
      const blob = await repository.git(['hash-object', '-w', '--stdin'], text);
      return repository.git(['mktree'], Array.from({ length: 6_000 }, (_, i) => `100644 blob ${blob}\tf${String(i).padStart(4, '0')}\n`).join(''));
    }));
    let head: string = main;
    for (let i = 0; i < 100; i += 1) head = await repository.git(['-c', 'user.name=M', '-c', 'user.email=m@example.test', 'commit-tree', trees[i % 2] ?? '', '-p', head, '-m', String(i)]);
    await repository.setBranch('restless', head as CommitId);
    const light = await desk.asks('light', '1.0');
    for (const branch of ['light', 'restless']) await desk.forge.propose(branch);
    await desk.pass();
    expect(desk.status(head as CommitId)).toMatchObject({ state: 'error', description: expect.stringContaining('500000 files') as unknown });
    expect(desk.status(light)?.state).toBe('success');
  });
});

describe('a stranger', () => {
  afterEach(close);
  const failing = (method: 'listComments' | 'setStatus', matches: (first: never) => boolean): void => {
    const real = desk.forge[method].bind(desk.forge) as (...args: unknown[]) => Promise<never>;
    desk.forge[method] = ((...args: [never]) => (matches(args[0]) ? Promise.reject(new ForgeError('AnswerInvalid', 'too many bytes')) : real(...args))) as never;
  };

  it('with forks whose comments nobody can read keeps no status from the others', async () => {
    desk = await Desk.open();
    const head = await desk.asks('feature', '1.0');
    const { number } = await desk.forge.propose('feature');
    const forks: unknown[] = [];
    for (let i = 0; i < 5; i += 1) {
      await desk.asks(`fork-${i}`, '1.1');
      forks.push((await desk.forge.propose(`fork-${i}`, { isFork: true, author: 'mallory' })).number);
    }
    failing('listComments', (n) => forks.includes(n));
    await desk.pass({ fault: 'AnswerInvalid' });
    expect(desk.status(head)?.state).toBe('success');
    expect(desk.comment(number)).not.toBe('');
  });

  it('with forks that comment without end does not use up what the forge lets everybody ask', async () => {
    desk = await Desk.open();
    await desk.asks('fork', '1.1');
    const { number } = await desk.forge.propose('fork', { isFork: true, author: 'mallory' });
    for (let i = 0; i < 2_000; i += 1) desk.forge.say(number, 'mallory', `/stella plan`, '2026-01-01T00:00:00.000Z');
    for (let i = 0; i < 100; i += 1) await desk.pass();
    expect(desk.forge.countOf('listComments')).toBeLessThanOrEqual(limits.forkRequests.burst / 20);
    desk.later(3_600);
    const { head: { commit } } = await desk.forge.read(number);
    desk.forge.say(number, 'maintainer', `/stella plan ${commit}`);
    await desk.pass();
    expect(desk.status(commit)?.state).toBe('success');
  });

  it('who calls for a look without end has forge and remote asked no oftener than their patience allows, and nothing is lost', async () => {
    desk = await Desk.open();
    const before = desk.forge.countOf('listOpen');
    for (let i = 0; i < 3 * limits.proposalListings.burst; i += 1) await desk.pass();
    expect(desk.forge.countOf('listOpen') - before).toBeLessThanOrEqual(limits.proposalListings.burst);
    const head = await desk.asks('feature', '1.0');
    await desk.forge.propose('feature');
    await desk.pass();
    expect(desk.status(head)).toBeUndefined();
    const due = desk.proposals.nextDue() ?? 0;
    expect(due - desk.world.now.getTime()).toBeLessThanOrEqual(limits.proposalListings.everyMs);
    desk.later(limits.proposalListings.everyMs / 1_000);
    await desk.pass({ look: false });
    expect(desk.status(head)?.state).toBe('success');
  });

  it('whose commits take no status keeps none from the others', async () => {
    desk = await Desk.open();
    const head = await desk.asks('feature', '1.0');
    await desk.forge.propose('feature');
    desk.later(1);
    const bad: unknown[] = [];
    for (let i = 0; i < 5; i += 1) {
      bad.push(await desk.asks(`bad-${i}`, i % 2 === 0 ? '1.0' : '1.1'));
      await desk.forge.propose(`bad-${i}`);
    }
    failing('setStatus', (commit) => bad.includes(commit));
    for (let i = 0; i < 3; i += 1) await desk.pass({ fault: 'AnswerInvalid' });
    expect(desk.status(head)?.state).toBe('success');
  });

  it('who writes more comments than are read before ours gets no second one of ours after each start', async () => {
    desk = await Desk.open();
    const head = await desk.asks('feature', '1.0');
    const { number } = await desk.forge.propose('feature');
    for (let i = 0; i < limits.forgeComments; i += 1) desk.forge.say(number, 'mallory', 'first');
    const { listComments } = desk.forge;
    desk.forge.listComments = async (n) => (await listComments.call(desk.forge, n)).slice(0, limits.forgeComments);
    for (let i = 0; i < 3; i += 1) {
      await desk.pass();
      await desk.start();
      await desk.reconcile();
    }
    expect(desk.status(head)?.state).toBe('success');
    expect(desk.comment(number)).toBe('');
  });

  it('with a branch at the head of somebody else\'s proposal that cannot be fetched spoils no plan of it', async () => {
    desk = await Desk.open();
    const head = await desk.asks('feature', '1.0');
    await desk.forge.propose('feature');
    const other = await desk.forge.propose('feature');
    desk.forge.update(other.number, { head: { ...other.head, fetchRef: null } });
    await desk.pass();
    expect(desk.status(head)?.state).toBe('success');
  });
});

describe('the allowance of a plan', () => {
  const silent = (): Promise<never> => new Promise(() => undefined);
  const asked = { repository: 'shop/api', tag: '1.0' };

  it('ends the waiting for registries that do not answer, for all of a plan together, and says that it is to be made again', async () => {
    const allowance = new PlanAllowance({ documentBytes: 1, registryMs: 50 });
    const resolver = await allowance.registry(() => ({ resolve: silent, exists: silent, listTags: silent }))({} as RegistryDocument);
    allowance.begin();
    const answers = [];
    for (let i = 0; i < 1_000; i += 1) answers.push(await resolver.resolve(asked));
    expect(answers.every((answer) => !answer.ok && answer.code === 'RegistryUnreachable')).toBe(true);
    expect(allowance.isOwed).toBe(true);
    allowance.begin();
    expect(allowance.isOwed).toBe(false);
  });
});
