import { afterEach, describe, expect, it } from 'vitest';
import type { RegistryDocument } from '../../src/core/model/documents.ts';
import type { CommitId } from '../../src/core/model/commit-id.ts';
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
