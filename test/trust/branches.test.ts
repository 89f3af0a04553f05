import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { digestOfBytes } from '../../src/core/model/digest.ts';
import type { AnyDocument, ProtectedChange } from '../../src/core/model/documents.ts';
import { limits } from '../../src/core/model/limits.ts';
import { createSshKey, type SshKey } from '../fakes/git-repository.ts';
import { doc } from '../fakes/world.ts';
import { survives, type Verdict } from './attack.ts';
import { personOf, Stage } from './attacks-fixture.ts';
import { Desk } from './promotion-desk.ts';
import { pushStop, stopVerdict } from './stop-desk.ts';

/** Many may push branches with approvals and stops. What one of them leaves there must keep nobody else's word from being heard (T24, T31). */

let stage: Stage;
let dave: SshKey;
let made = 0;
beforeAll(async () => {
  stage = await Stage.open();
  dave = await createSshKey(stage.world.folder, 'dave');
  const person = personOf('dave', [dave], ['stop']) as unknown as AnyDocument;
  await stage.world.commit([person, await stage.changeApproval(stage.world.people.alice, await stage.change('Principal', 'dave', person))]);
  await stage.settle();
});
afterAll(() => stage.close());

/** Somebody freezes prod while a branch lies there with one file so many folders below `folder`. */
async function freezeBeside(by: SshKey, namespace: 'approvals' | 'stops', folder: string): Promise<Verdict> {
  const branch = `stella/${namespace}/deep-${++made}`;
  await stage.world.repository.commit({ branch, parents: [], message: 'Hello', files: { [`${folder}/${'d/'.repeat(limits.treeDepth + 1)}x.yaml`]: 'hello: world\n' } });
  const freeze = doc('Freeze', `stop-${++made}`, { environments: ['prod'], reason: 'stop the line' }) as unknown as AnyDocument;
  const found = await stopVerdict(stage, [freeze], await pushStop(stage, by, [freeze]));
  await stage.world.repository.git(['update-ref', '-d', `refs/heads/${branch}`]);
  return found;
}

describe('junk with a stolen key', () => {
  let thief: Stage;
  let keys: readonly SshKey[];
  beforeAll(async () => {
    keys = await Promise.all(['zoe-1', 'zoe-2'].map((name) => createSshKey(stage.world.folder, name)));
    const prod = doc('Environment', 'prod', { order: 2, approvals: { people: 1, roles: [{ role: 'sre', count: 1 }] } });
    thief = await Stage.open({ documents: [personOf('zoe', keys, ['sre']), prod] as never });
  });
  afterAll(() => thief.close());

  /** More approvals of nothing than are kept come from the first key of zoe; then somebody approves. */
  const flooded = async (approver: SshKey): Promise<Verdict> => {
    const desk = await Desk.asked(thief);
    await desk.hand(...(await Promise.all(Array.from({ length: limits.approvalsPerPerson }, (_, i) => desk.approval(keys[0]!, { digest: digestOfBytes(`${desk.release} ${i}`) })))));
    return desk.approvedBy(approver);
  };

  survives('approval with the other key of somebody whose first key filled the log', {
    rules: ['T9', 'T31'], expects: 'ApprovalsMissing', genuine: () => flooded(keys[1]!), forged: () => flooded(dave),
  });
});

it('approvals of changes that nobody asked for stop growing the log (T31), and another key of the same person is heard', async () => {
  const keys = [await createSshKey(stage.world.folder, 'yan-1'), await createSshKey(stage.world.folder, 'yan-2')] as const;
  const flooded = await Stage.open({ documents: [personOf('yan', keys, ['sre'])] as never });
  try {
    const invented = (i: number): ProtectedChange => ({ kind: 'Freeze', name: `never-${i}`, count: 0, from: null, to: digestOfBytes(`never ${i}`) });
    const approvals = (by: SshKey, from: number, count: number) => Promise.all(Array.from({ length: count }, (_, i) => flooded.changeApproval(by, [invented(from + i)])));
    const grown = async (by: SshKey, from: number, count: number): Promise<number> => {
      const before = (await flooded.world.state()).approvals.size;
      await flooded.world.commit((await approvals(by, from, count)) as unknown as AnyDocument[]);
      await flooded.settle();
      return (await flooded.world.state()).approvals.size - before;
    };
    expect(await grown(keys[0], 0, limits.changeApprovalsPerKey + 5)).toBe(limits.changeApprovalsPerKey);
    expect([await grown(keys[0], 1_000, 2), await grown(keys[1], 2_000, 2)]).toEqual([0, 2]);
  } finally {
    await flooded.close();
  }
});

describe('a history that is too long', () => {
  let long: Stage;
  beforeAll(async () => {
    long = await Stage.open({ documents: [personOf('dave', [dave], ['stop'])] as never, root: { proposerCounts: false } });
    const commits = Array.from({ length: limits.requesterCommits + 1 }, (_, i) => `commit refs/heads/main\ncommitter T <t@example.test> ${1_800_000_000 + i} +0000\ndata 1\nx\n${i === 0 ? 'from refs/heads/main^0\n' : ''}\n`);
    await long.world.repository.git(['fast-import', '--quiet', '--done'], `${commits.join('')}done\n`);
    const environment = doc('Environment', 'stage', { order: 7 }) as unknown as AnyDocument;
    await long.world.commit([environment, await long.changeApproval(long.world.people.bob, await long.change('Environment', 'stage', environment))]);
  });
  afterAll(() => long.close());

  const frozenBy = async (by: SshKey): Promise<Verdict> => {
    const freeze = doc('Freeze', `stop-${++made}`, { environments: ['prod'], reason: 'stop the line' }) as unknown as AnyDocument;
    const found = await stopVerdict(long, [freeze], await pushStop(long, by, [freeze]));
    // Who proposed the other change cannot be told, so it waits (T15, T20).
    expect([await long.inForce('Environment', 'stage'), (await long.reasons()).includes('ChangeRefused')]).toEqual([null, true]);
    return found;
  };

  survives('freeze beside a change whose proposers are lost in more commits than are looked at', {
    rules: ['T15', 'T20', 'T24'], expects: 'StopRefused', genuine: () => frozenBy(dave), forged: () => frozenBy(long.world.people.carol),
  });
});

describe('a branch that cannot be read', () => {
  survives('freeze beside a branch of approvals that lie deeper than anybody reads', {
    rules: ['T24', 'T31'], expects: 'StopRefused',
    genuine: () => freezeBeside(dave, 'approvals', 'approvals'),
    forged: () => freezeBeside(stage.world.people.carol, 'approvals', 'approvals'),
  });
  survives('freeze beside a branch of stops that lie deeper than anybody reads', {
    rules: ['T24', 'T31'], expects: 'StopRefused',
    genuine: () => freezeBeside(dave, 'stops', 'stops'),
    forged: () => freezeBeside(stage.world.people.carol, 'stops', 'stops'),
  });
});
