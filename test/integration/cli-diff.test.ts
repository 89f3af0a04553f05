import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import type { PlacesDifference } from '../../src/cli/diff-model.ts';
import { doc } from '../fakes/world.ts';
import { json } from './cli-fixture.ts';
import { openPlanDesk, type PlanDesk } from './plan-fixture.ts';

let desk: PlanDesk;
beforeAll(async () => {
  desk = await openPlanDesk();
}, 120_000);
afterAll(() => desk.world.close());

async function diff(...args: readonly string[]): Promise<PlacesDifference & { readonly code: number }> {
  const result = await desk.bob.stella(['diff', ...args, '-o', 'json']);
  return { ...json<PlacesDifference>(result), code: result.code };
}

describe('stella diff', () => {
  it('finds the same release with other settings in two environments, whose targets are no difference', async () => {
    const found = await diff('dev', 'prod');
    expect(found).toMatchObject({ code: 1, isSame: false });
    expect(found.applications).toMatchObject([{
      application: 'shop', from: '1.4.1', to: '1.4.1', variables: [{ name: 'LEVEL', from: null, to: 'info' }, { name: 'SIZE', from: null, to: '1' }], secrets: [{ name: 'TOKEN', from: null, to: 'env:ONE' }],
      targets: { added: ['prod-1'], removed: ['dev-1'] },
    }]);
    expect(found.applications[0]?.components.map(({ change }) => change)).toEqual(['unchanged', 'unchanged']);
  });

  it('is 0 where nothing differs, and shows no secret but its reference', async () => {
    expect(await diff('prod', 'prod')).toMatchObject({ code: 0, isSame: true });
    expect(await diff('prod/shop', 'prod')).toMatchObject({ code: 0, isSame: true });
  });

  it('compares two releases by what they bring', async () => {
    const found = await diff('shop/1.4.0', 'shop/1.4.1');
    expect(found.code).toBe(1);
    expect(found.applications[0]?.components).toEqual([
      { name: 'api', change: 'changed', from: { tag: '1.4.0', digest: desk.world.registry.tags.get('shop/api:1.4.0') }, to: { tag: '1.4.1', digest: desk.world.registry.tags.get('shop/api:1.4.1') } },
      { name: 'web', change: 'changed', from: { tag: '2.0', digest: desk.world.registry.tags.get('shop/web:2.0') }, to: { tag: '2.1', digest: desk.world.registry.tags.get('shop/web:2.1') } },
    ]);
    const text = await desk.bob.stella(['diff', 'shop/1.4.0', 'shop/1.4.1']);
    expect(text.stdout).toContain('they differ');
  });

  it('compares what runs with what ran, by time and by record', async () => {
    const before = (await desk.world.state()).size;
    desk.world.now = new Date('2026-11-02T00:00:00.000Z');
    await desk.world.commit([doc('Configuration', 'dev/shop', { variables: { LEVEL: 'debug' } })], { by: desk.world.people.alice, files: { 'shop/start.sh': 'exec shop --new\n' } });
    await desk.world.settle();
    await desk.bob.git('fetch', '-q', 'origin');
    for (const past of ['dev@2026-11-01T20:00:00Z', `dev@${before}`]) expect((await diff(past, 'dev')).applications).toMatchObject([{ variables: [{ name: 'LEVEL', from: null, to: 'debug' }], targets: { added: [], removed: [] } }]);
    expect(await diff('dev@2026-11-02T12:00:00Z', 'dev')).toMatchObject({ code: 0 });
  });

  it('cannot compare what is not there', async () => {
    for (const args of [['prod', 'shop/9.9'], ['prod', 'nowhere'], ['prod@2020-01-01T00:00:00Z', 'prod'], ['prod@x', 'prod']]) expect((await desk.bob.stella(['diff', ...args])).code).toBe(2);
    expect((await desk.bob.stella(['diff', 'prod'])).code).toBe(2);
  });
});
