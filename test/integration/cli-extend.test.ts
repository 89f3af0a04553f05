import { afterAll, beforeAll, expect, it } from 'vitest';
import { documentDigest, type AnyDocument, type DocumentOf } from '../../src/core/model/documents.ts';
import { changeDigest } from '../../src/core/model/preimages.ts';
import { changeTo } from '../../src/core/trust/apply-change.ts';
import { doc, World } from '../fakes/world.ts';
import { cloneFor, json, putImage, type Clone } from './cli-fixture.ts';

let world: World;
let clone: Clone;

/** dev asks nobody and runs 1.0; its target vault-1, of which the root asks for one approval, came later. */
beforeAll(async () => {
  world = await World.create({ root: { minimums: { targets: [{ name: 'vault-1', people: 1 }] } } });
  await putImage(world, 'shop/api', '1.0', 'one');
  await world.commit([doc('Release', 'shop/1.0', { components: { api: { tag: '1.0' } } }), doc('Promotion', 'dev/shop', { release: '1.0' })], { by: world.people.alice });
  await world.settle();
  await putInForce(doc('Target', 'vault-1', { type: 'directory_host', agent: 'host', environments: ['dev'], applications: ['shop'], connection: { root: '/srv/vault' } }));
  clone = await cloneFor(world, world.people.bob);
});
afterAll(() => world.close());

async function putInForce(target: DocumentOf<'Target'>): Promise<void> {
  const document = target as unknown as AnyDocument;
  const changes = [changeTo(await world.state(), 'Target', target.metadata.name, documentDigest(document))];
  await world.commit([document, await world.approval(world.people.bob, { type: 'change', digest: changeDigest(world.pin, changes), changes }) as unknown as AnyDocument]);
  await world.settle();
}

it('stella status names the targets that lack what runs', async () => {
  const { environments } = json<{ environments: { environment: string; applications: { lacking: string[] }[] }[] }>(await clone.stella(['status', '-o', 'json']));
  expect(environments.find((e) => e.environment === 'dev')?.applications[0]?.lacking).toEqual(['vault-1']);
  expect((await clone.stella(['status', 'dev'])).stdout).toContain('not on vault-1');
});

it('stella explain says what keeps it from them, and that a promotion is needed', async () => {
  const result = await clone.stella(['explain', 'dev/shop', '-o', 'json']);
  expect(result.code).toBe(1);
  const [one] = json<{ extends: string[]; satisfied: boolean; lines: { subject: string; code: string; remedy: string | null }[] }[]>(result);
  expect(one).toMatchObject({ extends: ['vault-1'], satisfied: true });
  expect(one?.lines.find((line) => line.subject === 'target/vault-1')).toMatchObject({ code: 'ApprovalsMissing', remedy: expect.stringContaining('A promotion is needed') as unknown });
  expect((await clone.stella(['explain', 'dev/shop'])).stdout).toContain('vault-1');
});

it('stella verify and stella replay take the decisions about extensions like all others', async () => {
  expect((await clone.stella(['verify'])).code).toBe(0);
  expect((await clone.stella(['replay', '--all'])).code).toBe(0);
});

it('a raised attempt asks for the promotion, and once that is approved nothing lacks it', async () => {
  await world.commit([doc('Promotion', 'dev/shop', { release: '1.0', attempt: 2 })], { by: world.people.alice });
  await world.settle();
  await clone.pull();
  await clone.git('fetch', '-q', 'origin', '+refs/heads/stella/evidence:refs/remotes/origin/stella/evidence');
  const [one] = json<{ satisfied: boolean; extends: string[]; decision: { outcome: string; promotionDigest: `sha256:${string}` } }[]>(await clone.stella(['explain', 'dev/shop', '-o', 'json']));
  expect(one).toMatchObject({ satisfied: false, extends: [], decision: { outcome: 'pending' } });
  await world.commit([await world.approval(world.people.bob, { type: 'promotion', environment: 'dev', application: 'shop', digest: one!.decision.promotionDigest as never })]);
  await world.settle();
  expect(world.executor.executed.map((e) => e.generation)).toEqual([1, 2]);
  await clone.pull();
  const result = await clone.stella(['explain', 'dev/shop']);
  expect([result.code, result.stdout]).toEqual([0, expect.stringContaining('runs already')]);
});
