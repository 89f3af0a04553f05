import { afterAll, beforeAll, describe } from 'vitest';
import type { AnyDocument } from '../../src/core/model/documents.ts';
import { limits } from '../../src/core/model/limits.ts';
import { createSshKey, type SshKey } from '../fakes/git-repository.ts';
import { doc } from '../fakes/world.ts';
import { survives, type Verdict } from './attack.ts';
import { personOf, Stage } from './attacks-fixture.ts';
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
