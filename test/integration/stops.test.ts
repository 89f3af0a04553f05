import { afterEach, describe, expect, it } from 'vitest';
import { rm } from 'node:fs/promises';
import type { AnyDocument, DocumentOf, SpecOf } from '../../src/core/model/documents.ts';
import { createSshKey, createTemporaryFolder, type SshKey } from '../fakes/git-repository.ts';
import { doc } from '../fakes/world.ts';
import { personOf, releaseOf, Stage } from '../trust/attacks-fixture.ts';
import { listOf, pushStop, stopVerdict } from '../trust/stop-desk.ts';

/** How stops come into force around everything else that happens (T24). */

const closing: (() => Promise<unknown>)[] = [];
afterEach(async () => {
  for (const close of closing.splice(0)) await close();
});

const ADMIN = () => ({ people: 1, roles: [{ role: 'admin', count: 1 }] });
const docs = (...documents: readonly unknown[]): readonly AnyDocument[] => documents as readonly AnyDocument[];
const freeze = (name: string, spec: Partial<SpecOf['Freeze']> = {}): DocumentOf<'Freeze'> => doc('Freeze', name, { environments: ['prod'], reason: 'stop the line', ...spec });

async function open(root: Partial<SpecOf['TrustRoot']> = {}): Promise<{ readonly stage: Stage; readonly dave: SshKey }> {
  const folder = await createTemporaryFolder();
  closing.push(() => rm(folder, { recursive: true, force: true }));
  const dave = await createSshKey(folder, 'dave');
  const stage = await Stage.open({
    documents: docs(personOf('dave', [dave], ['stop']), doc('Environment', 'prod', { order: 2, approvals: { people: 1, roles: [{ role: 'sre', count: 1 }] } })),
    root: { quorums: { default: ADMIN(), create: ADMIN() }, ...root },
  });
  closing.push(() => stage.close());
  return { stage, dave };
}

const branches = (stage: Stage): Promise<string> => stage.world.repository.git(['for-each-ref', '--format=%(refname)', 'refs/heads/stella/stops']);

describe('a stop', () => {
  it('is recorded in one push with the observation of its approval, and its branch is removed', async () => {
    const { stage, dave } = await open();
    await pushStop(stage, dave, docs(freeze('at-once')));
    expect(await stage.world.pass()).toMatchObject({ ok: true, records: 2 });
    expect(stage.changes.at(-1)?.predicate).toMatchObject({ basis: 'stop', approvals: [{ principal: 'dave', carrier: 'embedded' }], proposers: { people: [], unknown: 0, commits: [] } });
    expect(await branches(stage)).toBe('');
    expect(await stage.reasons()).toEqual(['LiftingPending']);
    await stage.restart();
    expect(await stage.inForce('Freeze', 'at-once')).not.toBeNull();
  });

  it('that lies on the target branch needs no more than its signature either, and no branch', async () => {
    const { stage, dave } = await open({ proposerCounts: false });
    const list = await listOf(stage, docs(freeze('merged')));
    await stage.world.commit(docs(freeze('merged'), await stage.changeApproval(dave, list)), { by: dave });
    await stage.settle();
    expect(stage.changes.at(-1)?.predicate.basis).toBe('stop');
    expect(await stage.reasons()).toEqual([]);
  });

  it('waits on its branch for the role that its signer lacks', async () => {
    const { stage } = await open();
    const { carol, alice } = stage.world.people;
    const approval = await pushStop(stage, carol, docs(freeze('early')));
    expect(await stopVerdict(stage, docs(freeze('early')), approval)).toMatchObject({ accepted: false, codes: ['StopRefused'] });
    expect(await branches(stage)).not.toBe('');
    const entitled = docs(personOf('carol', [carol], ['sre', 'stop']));
    await stage.world.commit([...entitled, await stage.changeApproval(alice, await listOf(stage, entitled))], { by: alice });
    expect(await stopVerdict(stage, docs(freeze('early')), approval)).toMatchObject({ accepted: true, codes: [] });
    expect(await branches(stage)).toBe('');
  });

  it('makes an open run fall', async () => {
    const { stage, dave } = await open();
    const { world } = stage;
    world.registry.put('shop/api:1', 'image');
    await world.commit(docs(releaseOf('1')), { by: world.people.alice });
    await stage.settle();
    await world.commit(docs(await world.promotion('prod', '1', { by: world.people.alice })), { by: world.people.alice });
    await stage.settle();
    // Agents that take their time: the run stays open.
    world.executor.sync = () => Promise.resolve();
    await world.commit(docs(await stage.promotionApproval(world.people.bob, 'prod')));
    await stage.settle();
    expect((await stage.app('prod')).openRun).toMatchObject({ fallen: false });
    await pushStop(stage, dave, docs(freeze('in-time')));
    await stage.settle();
    expect((await stage.app('prod')).openRun).toMatchObject({ fallen: true });
    expect(stage.decision('prod')).toMatchObject({ outcome: 'pending', reasons: ['Frozen'] });
  });

  it('comes into force while the target branch stands still after a rewrite', async () => {
    const { stage, dave } = await open();
    const { world } = stage;
    const before = await world.repository.tip();
    await world.commit(docs(personOf('carol', [world.people.carol], ['sre', 'admin'])), { by: world.people.alice });
    await stage.settle();
    if (before === null) throw new Error('there is no tip');
    await world.repository.setBranch('main', before);
    await world.commit(docs(doc('Environment', 'prod', { order: 9 })), { by: world.people.alice });
    await pushStop(stage, dave, docs(freeze('while-rewound')));
    expect((await world.pass()).fault).toMatchObject({ code: 'Rewound' });
    expect(await stage.inForce('Freeze', 'while-rewound')).not.toBeNull();
    expect(await stage.inForce('Principal', 'carol')).not.toBeNull();
  });

  it('takes nothing from its branch but what its signed list names', async () => {
    const { stage, dave } = await open();
    const list = await listOf(stage, docs(freeze('listed')));
    const approval = await stage.changeApproval(dave, list);
    await pushStop(stage, dave, docs(freeze('listed'), freeze('unlisted'), personOf('dave', [dave], ['stop', 'admin']), doc('Environment', 'prod', { order: 9 })), { changes: list, approval });
    await stage.settle();
    expect(await stage.inForce('Freeze', 'listed')).not.toBeNull();
    expect(await stage.inForce('Freeze', 'unlisted')).toBeNull();
    expect((await stage.world.state()).inForce.get('Principal/dave')?.document.spec).toMatchObject({ roles: [{ role: 'stop' }] });
  });

  it('that the target branch never held is lifted where proposers do not count', async () => {
    const { stage, dave } = await open({ proposerCounts: false });
    await pushStop(stage, dave, docs(freeze('brief')));
    await stage.settle();
    const list = await stage.change('Freeze', 'brief', null);
    await stage.world.commit([await stage.changeApproval(stage.world.people.alice, list)]);
    await stage.settle();
    expect(await stage.inForce('Freeze', 'brief')).toBeNull();
  });

  it('of a root that names other roles takes one of those', async () => {
    const { stage, dave } = await open({ stop: { roles: ['dev'] } });
    const refused = await pushStop(stage, dave, docs(freeze('by-stop')));
    expect(await stopVerdict(stage, docs(freeze('by-stop')), refused)).toMatchObject({ accepted: false, codes: ['StopRefused'] });
    const taken = await pushStop(stage, stage.world.people.alice, docs(freeze('by-dev')));
    expect(await stopVerdict(stage, docs(freeze('by-dev')), taken)).toMatchObject({ accepted: true });
  });
});

