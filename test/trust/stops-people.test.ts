import { afterEach, describe, expect, it } from 'vitest';
import { rm } from 'node:fs/promises';
import type { AnyDocument, DocumentOf, ProtectedChange, SpecOf } from '../../src/core/model/documents.ts';
import { createSshKey, createTemporaryFolder, type SshKey } from '../fakes/git-repository.ts';
import { doc } from '../fakes/world.ts';
import { attack, survives, type Verdict } from './attack.ts';
import { personOf, releaseOf, Stage } from './attacks-fixture.ts';
import { pushStop, stopVerdict } from './stop-desk.ts';

/** What a stop takes away (T24): each attack in a world of its own, where prod takes one sre and dave may stop. */

type Keys = Readonly<Record<'dave' | 'eve' | 'mallory' | 'mallory2', SshKey>>;
type Scene = { readonly stage: Stage; readonly keys: Keys };
const closing: (() => Promise<unknown>)[] = [];
afterEach(async () => {
  for (const close of closing.splice(0)) await close();
});

const ADMIN = () => ({ people: 1, roles: [{ role: 'admin', count: 1 }] });
const docs = (...documents: readonly unknown[]): readonly AnyDocument[] => documents as readonly AnyDocument[];
const eve = (keys: Keys, more: Partial<SpecOf['Principal']> = {}): DocumentOf<'Principal'> => personOf('eve', [keys.eve], ['sre'], more);
const mallory = (keys: Keys, status: 'active' | 'compromised'): DocumentOf<'Principal'> =>
  doc('Principal', 'mallory', {
    type: 'person', roles: [{ role: 'admin' }],
    keys: [{ key: keys.mallory.publicKey, ...(status === 'active' ? { status } : { status, since: '2026-11-01T00:00:00Z' }) }, { key: keys.mallory2.publicKey, status: 'active' }],
  });
const freeze = (name: string, spec: Partial<SpecOf['Freeze']> = {}): DocumentOf<'Freeze'> => doc('Freeze', name, { environments: ['prod'], reason: 'stop the line', ...spec });

async function open(): Promise<Scene> {
  const folder = await createTemporaryFolder();
  closing.push(() => rm(folder, { recursive: true, force: true }));
  const names = ['dave', 'eve', 'mallory', 'mallory2'] as const;
  const keys = Object.fromEntries(await Promise.all(names.map(async (name) => [name, await createSshKey(folder, name)]))) as unknown as Keys;
  const documents = docs(personOf('dave', [keys.dave], ['stop']), eve(keys), mallory(keys, 'active'), doc('Environment', 'prod', { order: 2, approvals: { people: 1, roles: [{ role: 'sre', count: 1 }] } }));
  const stage = await Stage.open({ documents, root: { quorums: { default: ADMIN(), create: ADMIN() } } });
  closing.push(() => stage.close());
  return { stage, keys };
}

async function stop({ stage, keys }: Scene, ...documents: readonly unknown[]): Promise<void> {
  const approval = await pushStop(stage, keys.dave, docs(...documents));
  expect(await stopVerdict(stage, docs(...documents), approval)).toMatchObject({ accepted: true });
}

async function ask({ stage }: Scene, by: SshKey = stage.world.people.alice): Promise<void> {
  stage.world.registry.put('shop/api:1', 'image');
  await stage.world.commit(docs(releaseOf('1')), { by });
  await stage.settle();
  await stage.world.commit(docs(await stage.world.promotion('prod', '1', { by })), { by });
  await stage.settle();
}

async function approve({ stage }: Scene, by: SshKey, more: Partial<SpecOf['Approval']> = {}): Promise<Verdict> {
  await stage.world.commit(docs(await stage.promotionApproval(by, 'prod', more)));
  await stage.settle();
  return stage.verdict('prod', '1');
}

async function restoreMallory({ stage, keys }: Scene, by: SshKey): Promise<Verdict> {
  const restored = docs(mallory(keys, 'active'))[0];
  if (restored === undefined) throw new Error('nothing to restore');
  const changes = await stage.change('Principal', 'mallory', restored);
  await stage.world.commit([await stage.changeApproval(by, changes)]);
  await stage.settle();
  return stage.changeVerdict(restored);
}

/** A new workflow with the approval of an admin, after something else. */
async function changeWorkflow({ stage }: Scene, before: (changes: readonly ProtectedChange[]) => Promise<void>): Promise<Verdict> {
  const document = docs(doc('Workflow', 'w', { steps: [{ name: 'deploy', type: 'deploy' }] }))[0];
  if (document === undefined) throw new Error('no document');
  const changes = await stage.change('Workflow', 'w', document);
  await before(changes);
  await stage.world.commit([document, await stage.changeApproval(stage.world.people.alice, changes)]);
  await stage.settle();
  return stage.changeVerdict(document);
}

describe('who is stopped', () => {
  attack('suspended principal approves', {
    rules: ['T24', 'T9'],
    expects: 'PrincipalSuspended',
    attempt: async () => {
      const scene = await open();
      await stop(scene, eve(scene.keys, { suspended: { reason: 'left' } }));
      await ask(scene);
      return approve(scene, scene.keys.eve);
    },
    twin: async () => {
      const scene = await open();
      await ask(scene);
      return approve(scene, scene.keys.eve);
    },
  });

  attack('approval of a principal who is suspended before it is used', {
    rules: ['T24', 'T23'],
    expects: 'PrincipalSuspended',
    attempt: async () => {
      const scene = await open();
      await stop(scene, freeze('hold'));
      await ask(scene);
      await approve(scene, scene.keys.eve);
      await stop(scene, eve(scene.keys, { suspended: { reason: 'left' } }));
      return liftHold(scene);
    },
    twin: async () => {
      const scene = await open();
      await stop(scene, freeze('hold'));
      await ask(scene);
      await approve(scene, scene.keys.eve);
      return liftHold(scene);
    },
  });

  attack('rejection got rid of by suspending who gave it', {
    rules: ['T24', 'T21'],
    expects: 'ApprovalsRejected',
    attempt: async () => {
      const scene = await open();
      await ask(scene);
      await approve(scene, scene.keys.eve, { action: 'reject' });
      await stop(scene, eve(scene.keys, { suspended: { reason: 'in the way' } }));
      return approve(scene, scene.stage.world.people.bob);
    },
    twin: async () => {
      const scene = await open();
      await ask(scene);
      await stop(scene, eve(scene.keys, { suspended: { reason: 'left' } }));
      return approve(scene, scene.stage.world.people.bob);
    },
  });

  attack('rejection of a change got rid of by revoking the key behind it', {
    rules: ['T24', 'T15'],
    expects: 'ChangeRefused',
    attempt: async () => {
      const scene = await open();
      return changeWorkflow(scene, async (changes) => {
        await scene.stage.world.commit([await scene.stage.changeApproval(scene.keys.mallory, changes, { action: 'reject' })]);
        await scene.stage.settle();
        await stop(scene, mallory(scene.keys, 'compromised'));
      });
    },
    twin: async () => {
      const scene = await open();
      return changeWorkflow(scene, () => stop(scene, mallory(scene.keys, 'compromised')));
    },
  });

  attack('suspended principal asks', {
    rules: ['T24', 'T20'],
    expects: 'RequesterUnknown',
    attempt: async () => {
      const scene = await open();
      await stop(scene, eve(scene.keys, { suspended: { reason: 'left' } }));
      await ask(scene, scene.keys.eve);
      return approve(scene, scene.stage.world.people.bob);
    },
    twin: async () => {
      const scene = await open();
      await ask(scene, scene.keys.eve);
      return approve(scene, scene.stage.world.people.bob);
    },
  });

  attack('suspended principal stops', {
    rules: ['T24'],
    expects: 'StopRefused',
    attempt: async () => {
      const scene = await open();
      await stop(scene, personOf('dave', [scene.keys.dave], ['stop'], { suspended: { reason: 'left' } }));
      return stopVerdict(scene.stage, docs(freeze('late')), await pushStop(scene.stage, scene.keys.dave, docs(freeze('late'))));
    },
    twin: async () => {
      const scene = await open();
      return stopVerdict(scene.stage, docs(freeze('late')), await pushStop(scene.stage, scene.keys.dave, docs(freeze('late'))));
    },
  });

  attack('lifting by the one affected', {
    rules: ['T24'],
    expects: 'ChangeRefused',
    attempt: async () => {
      const scene = await open();
      await stop(scene, mallory(scene.keys, 'compromised'));
      return restoreMallory(scene, scene.keys.mallory2);
    },
    twin: async () => {
      const scene = await open();
      await stop(scene, mallory(scene.keys, 'compromised'));
      return restoreMallory(scene, scene.stage.world.people.bob);
    },
  });

  attack('stop lifted by silence: the tip never held it', {
    rules: ['T24', 'T15'],
    expects: 'Frozen',
    attempt: async () => {
      const scene = await open();
      await stop(scene, freeze('quiet'));
      await ask(scene);
      await scene.stage.world.commit([], { by: scene.stage.world.people.alice, files: { 'notes.txt': 'nothing about freezes' } });
      expect(await scene.stage.reasons()).toContain('LiftingPending');
      return approve(scene, scene.keys.eve);
    },
    twin: async () => {
      const scene = await open();
      await ask(scene);
      return approve(scene, scene.keys.eve);
    },
  });

  attack('suspended release promoted', {
    rules: ['T24'],
    expects: 'ReleaseSuspended',
    attempt: async () => {
      const scene = await open();
      await stop(scene, doc('Freeze', 'bad-release', { releases: ['shop/1'], reason: 'loses orders' }));
      await ask(scene);
      return approve(scene, scene.keys.eve);
    },
    twin: async () => {
      const scene = await open();
      await stop(scene, doc('Freeze', 'bad-release', { releases: ['shop/0.9'], reason: 'loses orders' }));
      await ask(scene);
      return approve(scene, scene.keys.eve);
    },
  });

  attack('promotion to the targets of a suspended agent', {
    rules: ['T24'],
    expects: 'AgentSuspended',
    attempt: async () => {
      const scene = await open();
      const agent = (await scene.stage.world.state()).inForce.get('Agent/host')?.document as DocumentOf<'Agent'>;
      await stop(scene, { ...agent, spec: { ...agent.spec, suspended: { reason: 'its host was broken into' } } });
      await ask(scene);
      return approve(scene, scene.keys.eve);
    },
    twin: async () => {
      const scene = await open();
      await ask(scene);
      return approve(scene, scene.keys.eve);
    },
  });

  /** prod takes three of four sre, and dave has stopped three of them: nobody can meet that. One of the three is to come back. */
  const oneBack = async (by: 'alice' | 'carol'): Promise<Verdict> => {
    const folder = await createTemporaryFolder();
    closing.push(() => rm(folder, { recursive: true, force: true }));
    const [dave, eve, zed] = await Promise.all(['dave', 'eve', 'zed'].map((name) => createSshKey(folder, name)));
    if (dave === undefined || eve === undefined || zed === undefined) throw new Error('no keys');
    const prod = doc('Environment', 'prod', { order: 2, approvals: { people: 3, roles: [{ role: 'sre', count: 3 }] } });
    const stage = await Stage.open({ documents: docs(personOf('dave', [dave], ['stop']), personOf('eve', [eve], ['sre']), personOf('zed', [zed], ['sre']), prod), root: { quorums: { default: ADMIN(), create: ADMIN() } } });
    closing.push(() => stage.close());
    const stopped = docs(...([['carol', stage.world.people.carol], ['eve', eve], ['zed', zed]] as const).map(([name, key]) => personOf(name, [key], ['sre'], { suspended: { reason: 'x' } })));
    expect(await stopVerdict(stage, stopped, await pushStop(stage, dave, stopped))).toMatchObject({ accepted: true });
    const [back] = docs(personOf('eve', [eve], ['sre']));
    if (back === undefined) throw new Error('nobody');
    await stage.world.commit([back, await stage.changeApproval(stage.world.people[by], await stage.change('Principal', 'eve', back))]);
    await stage.settle();
    return stage.changeVerdict(back);
  };
  survives('one of three people who were suspended comes back, while the others are too few for a rule', { rules: ['T10', 'T24'], expects: 'ChangeRefused', genuine: () => oneBack('alice'), forged: () => oneBack('carol') });

  /** The agent of bob is suspended; it shall be that of alice, suspended as it is. Then she would count as somebody else when he lets it loose. */
  const handedOver = async (by: 'alice' | 'bob'): Promise<Verdict> => {
    const scene = await open();
    const { stage } = scene;
    const agent = (await stage.world.state()).inForce.get('Agent/host')?.document as DocumentOf<'Agent'>;
    const suspended = { ...agent, spec: { ...agent.spec, suspended: { reason: 'its host was broken into' } } };
    await stop(scene, suspended);
    const [given] = docs({ ...suspended, spec: { ...suspended.spec, owner: 'alice' } });
    if (given === undefined) throw new Error('nothing to give');
    await stage.world.commit([given, await stage.changeApproval(stage.world.people[by], await stage.change('Agent', 'host', given))]);
    await stage.settle();
    return stage.changeVerdict(given);
  };
  attack('suspended agent that its owner gives to somebody else, alone', { rules: ['T24'], expects: 'ChangeRefused', attempt: () => handedOver('bob'), twin: () => handedOver('alice') });

  attack('freeze excepted by who asked', {
    rules: ['T24', 'T19'],
    expects: 'Frozen',
    attempt: async () => {
      const scene = await open();
      await stop(scene, freeze('with-exception', { except: { people: 1, roles: [{ role: 'sre', count: 1 }] } }));
      await ask(scene, scene.keys.eve);
      await approve(scene, scene.keys.eve, { excepts: ['with-exception'] });
      return approve(scene, scene.stage.world.people.bob);
    },
    twin: async () => {
      const scene = await open();
      await stop(scene, freeze('with-exception', { except: { people: 1, roles: [{ role: 'sre', count: 1 }] } }));
      await ask(scene, scene.keys.eve);
      return approve(scene, scene.stage.world.people.bob, { excepts: ['with-exception'] });
    },
  });

  survives('stop after which nobody could meet a quorum', {
    rules: ['T10', 'T24'],
    expects: 'ChangeRefused',
    genuine: async () => {
      const scene = await open();
      const { alice, bob } = scene.stage.world.people;
      await stop(scene, personOf('alice', [alice], ['dev', 'admin'], { suspended: { reason: 'x' } }), personOf('bob', [bob], ['sre', 'admin'], { suspended: { reason: 'x' } }));
      const last = { ...mallory(scene.keys, 'active').spec, suspended: { reason: 'x' } };
      await stop(scene, doc('Principal', 'mallory', last));
      expect(await scene.stage.reasons()).toContain('QuorumUnreachable');
      return scene.stage.changeVerdict(doc('Principal', 'mallory', last) as unknown as AnyDocument);
    },
    // The same as an ordinary change does not come into force: it takes the last admins their role.
    forged: async () => {
      const { stage, keys } = await open();
      const without = docs(personOf('alice', [stage.world.people.alice], ['dev']), personOf('bob', [stage.world.people.bob], ['sre']), doc('Principal', 'mallory', { ...mallory(keys, 'active').spec, roles: [{ role: 'dev' }] }));
      const changes = (await Promise.all(without.map((d) => stage.change(d.kind, d.metadata.name, d)))).flat();
      await stage.world.commit([...without, await stage.changeApproval(stage.world.people.alice, changes)], { by: stage.world.people.alice });
      await stage.settle();
      return stage.changeVerdict(without[2] as AnyDocument);
    },
  });
});

async function liftHold(scene: Scene): Promise<Verdict> {
  const { stage } = scene;
  const changes = await stage.change('Freeze', 'hold', null);
  await stage.world.commit([await stage.changeApproval(stage.world.people.alice, changes)]);
  await stage.settle();
  expect(await stage.inForce('Freeze', 'hold')).toBeNull();
  return stage.verdict('prod', '1');
}

describe('a freeze by calendar', () => {
  it('ends allows when it begins, holds while it does, and lets go by itself', async () => {
    const scene = await open();
    const { stage, keys } = scene;
    // 09:00 to 10:00 in Berlin is 08:00 to 09:00 by UTC on this day in November; the world begins at 08:00.
    stage.world.now = new Date('2026-11-01T07:00:00.000Z');
    await stop(scene, freeze('morning', { calendar: { windows: [{ start: '2026-11-02T09:00', end: '2026-11-02T10:00', timeZone: 'Europe/Berlin' }] } }));
    stage.world.now = new Date('2026-11-02T07:30:00.000Z');
    await ask(scene);
    expect(stage.decision('prod')).toMatchObject({ outcome: 'pending', reasons: ['ApprovalsMissing'], nextChangeAt: '2026-11-02T08:00:00.000Z' });
    stage.world.now = new Date('2026-11-02T08:10:00.000Z');
    expect(await approve(scene, keys.eve)).toMatchObject({ accepted: false, codes: ['Frozen'], executed: [] });
    expect(stage.decision('prod')).toMatchObject({ nextChangeAt: '2026-11-02T09:00:00.000Z' });
    stage.world.now = new Date('2026-11-02T09:00:00.000Z');
    await stage.settle();
    expect(await stage.verdict('prod', '1')).toMatchObject({ accepted: true });
  });

  it('bounds an allow that is given before it begins', async () => {
    const scene = await open();
    scene.stage.world.executor.answer = 'Failed';
    await stop(scene, freeze('noon', { calendar: { windows: [{ start: '2026-11-01T08:20', end: '2026-11-01T10:00', timeZone: 'UTC' }] } }));
    await ask(scene);
    await approve(scene, scene.keys.eve);
    expect(scene.stage.history.find(({ decision }) => decision.outcome === 'allow')?.decision.notAfter).toBe('2026-11-01T08:20:00.000Z');
  });
});
