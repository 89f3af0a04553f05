import { afterEach, beforeEach, expect, it, vi } from 'vitest';
import { documentDigest, type AnyDocument } from '../../src/core/model/documents.ts';
import { changeDigest } from '../../src/core/model/preimages.ts';
import { changeTo } from '../../src/core/trust/apply-change.ts';
import { doc, pathOf, World } from '../fakes/world.ts';

let world: World;
/** Tags that the registry was asked for, in order. */
let asked: string[];

beforeEach(async () => {
  world = await World.create();
  asked = [];
  const answer = world.registry.resolve.bind(world.registry);
  vi.spyOn(world.registry, 'resolve').mockImplementation((reference) => (asked.push(reference.tag), answer(reference)));
});
afterEach(() => world.close());

const release = (tag: string): AnyDocument => doc('Release', 'shop/1.0', { components: { api: { tag } } }) as unknown as AnyDocument;
const after = (seconds: number) => {
  world.now = new Date(world.now.getTime() + seconds * 1000);
};
const due = async () => (await world.reconciler()).nextDue();
const reasons = async () => (await world.reconciler()).conditions.all().map(({ reason }) => reason);

it('a tag that a registry does not give is asked for again after pauses that grow, and never in between', async () => {
  await world.commit([release('1.0')], { by: world.people.alice });
  const pauses: number[] = [];
  for (let round = 0; round < 12; round += 1) {
    await world.pass();
    await world.pass();
    expect([asked.length, await reasons()]).toEqual([round + 1, ['TagUnresolved']]);
    const again = (await due()) ?? 0;
    pauses.push((again - world.now.getTime()) / 1000);
    after((again - world.now.getTime()) / 1000);
  }
  expect(pauses).toEqual([2, 4, 8, 16, 32, 64, 128, 256, 300, 300, 300, 300]);
  world.registry.put('shop/api:1.0', 'one');
  await world.settle();
  expect([(await world.state()).locks.has('shop/1.0'), await reasons(), await due()]).toEqual([true, [], null]);
});

it('a release that names another tag, and a registry that was edited, are asked at once', async () => {
  await world.commit([release('1.0')], { by: world.people.alice });
  await world.pass();
  await world.commit([release('1.0-fixed')], { by: world.people.alice });
  await world.pass();
  expect(asked).toEqual(['1.0', '1.0-fixed']);
  const integration = doc('Integration', 'images', { type: 'registry', layout: 'other' }) as unknown as AnyDocument;
  const digest = changeDigest(world.pin, [changeTo(await world.state(), 'Integration', 'images', documentDigest(integration))]);
  await world.commit([integration], { by: world.people.bob, message: `Move the registry\n\nStella-Change: ${digest}` });
  await world.settle();
  expect(asked).toEqual(['1.0', '1.0-fixed', '1.0-fixed']);
});

it('a pause that nobody waits for any more wakes nobody', async () => {
  await world.commit([release('1.0')], { by: world.people.alice });
  await world.pass();
  world.registry.put('shop/api:2.0', 'two');
  await world.commit([release('2.0')], { by: world.people.alice });
  await world.settle();
  after(60);
  expect([await due(), (await world.state()).locks.has('shop/1.0')]).toEqual([null, true]);
});

it('a release that is declared no more is spoken of no more', async () => {
  await world.commit([release('1.0')], { by: world.people.alice });
  await world.settle();
  expect(await reasons()).toEqual(['TagUnresolved']);
  await world.commit([], { by: world.people.alice, deletes: [pathOf(release('1.0'))] });
  await world.settle();
  expect(await reasons()).toEqual([]);
});
