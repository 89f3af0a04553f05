import { afterEach, describe, expect, it } from 'vitest';
import { appStateOf } from '../../src/core/evidence/log-state.ts';
import { replayDecision } from '../../src/core/evidence/replay.ts';
import { readEvidence, type RecordStep } from '../../src/reconciler/read-evidence.ts';
import type { CommitId } from '../../src/core/model/commit-id.ts';
import { doc, World } from '../fakes/world.ts';

let world: World;
afterEach(() => world.close());

const release = (version: string, tag = version) => doc('Release', `shop/${version}`, { components: { api: { tag } } });

async function log(w: World): Promise<{ readonly steps: readonly RecordStep[]; readonly types: readonly string[]; readonly replayed: readonly boolean[] }> {
  const { reader } = (await w.parts()).evidence;
  const tip = (await w.repository.tip('stella/evidence')) as CommitId;
  const steps: RecordStep[] = [];
  const replayed: boolean[] = [];
  const read = await readEvidence(reader, tip, w.pin, (step, artifact) => {
    steps.push(step);
    if (step.record.type === 'promotion-decision') {
      const result = replayDecision(step.before, step.record.header, step.record.predicate, artifact);
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
    await world.pass();
    expect(await world.pass()).toMatchObject({ ok: true, records: 0 });
    const before = await world.repository.tip('stella/evidence');
    await world.restart();
    expect((await world.pass()).fault).toBeNull();
    expect(await world.repository.tip('stella/evidence')).toBe(before);
  });
});
