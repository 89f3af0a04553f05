import { join } from 'node:path';
import { afterAll, beforeAll, describe } from 'vitest';
import type { AnyDocument, PrincipalKey } from '../../src/core/model/documents.ts';
import { createSshKey, type SshKey } from '../fakes/git-repository.ts';
import { doc } from '../fakes/world.ts';
import { attack, survives, type Verdict } from './attack.ts';
import { personOf, releaseOf, Stage } from './attacks-fixture.ts';

/** What becomes of approvals when a key's life ends, and who wrote what a release brings along. */

let stage: Stage;
let made = 0;
beforeAll(async () => {
  const script = doc('Application', 'shop', { components: ['api'], deployment: { type: 'directory', files: ['shop/run.sh'] } });
  const prod = doc('Environment', 'prod', { order: 2, from: [{ environment: 'dev' }], approvals: { people: 2, roles: [{ role: 'sre', count: 2 }] } });
  stage = await Stage.open({ documents: [script, prod] as unknown as AnyDocument[], files: { 'shop/run.sh': '#!/bin/sh\nexec ./api\n' } });
  for (const name of ['dave', 'erin']) await putInForce(personOf(name, [await keyOf(name)], ['sre']) as unknown as AnyDocument);
});
afterAll(() => stage.close());

const keys = new Map<string, SshKey>();
async function keyOf(name: string): Promise<SshKey> {
  const known = keys.get(name) ?? (await createSshKey(join(stage.world.folder, 'more'), name));
  keys.set(name, known);
  return known;
}

async function putInForce(document: AnyDocument): Promise<void> {
  const changes = await stage.change(document.kind, document.metadata.name, document);
  await stage.world.commit([document, await stage.changeApproval(stage.world.people.alice, changes)], { by: stage.world.people.alice });
  await stage.settle();
}

/** alice asks for a new release in prod, where two of the role sre approve. */
async function ask(files: Readonly<Record<string, string>> = {}, by: SshKey = stage.world.people.alice): Promise<string> {
  const { world } = stage;
  const version = `2.${++made}`;
  world.registry.put(`shop/api:${version}`, `image ${version}`);
  if (Object.keys(files).length > 0) await world.commit([], { by, files });
  await world.commit([releaseOf(version)], { by: world.people.alice });
  await stage.settle();
  await world.commit([await world.promotion('dev', version, { by: world.people.alice }), await world.promotion('prod', version, { by: world.people.alice })], { by: world.people.alice });
  await stage.settle();
  return version;
}

async function approve(...signers: readonly SshKey[]): Promise<void> {
  for (const key of signers) await stage.world.commit([await stage.promotionApproval(key, 'prod')], { by: key });
  await stage.settle();
}

/** dave approves, then his key gets this status, and then the second approval is given. */
async function laterIs(status: PrincipalKey['status'], when: 'before' | 'after'): Promise<Verdict> {
  const { world } = stage;
  const name = `person-${++made}`;
  const own = await keyOf(name);
  await putInForce(personOf(name, [own], ['sre']) as unknown as AnyDocument);
  const version = await ask();
  if (when === 'before') await approve(own);
  world.now = new Date(world.now.getTime() + 60_000);
  const key: PrincipalKey = { key: own.publicKey, status, since: world.now.toISOString() };
  const other: PrincipalKey = { key: (await keyOf(`${name}-next`)).publicKey, status: 'active' };
  world.now = new Date(world.now.getTime() + 60_000);
  await putInForce({ ...personOf(name, [], ['sre']), spec: { type: 'person', keys: [key, other], roles: [{ role: 'sre' }] } } as unknown as AnyDocument);
  if (when === 'after') await approve(own);
  await approve(world.people.bob);
  return stage.verdict('prod', version);
}

describe('a key whose life ended', () => {
  survives('key retired, approval observed before', {
    rules: ['T9'], expects: 'KeyNotActive', genuine: () => laterIs('retired', 'before'), forged: () => laterIs('retired', 'after'),
  });
  survives('key superseded, approval observed before', {
    rules: ['T9'], expects: 'KeyNotActive', genuine: () => laterIs('superseded', 'before'), forged: () => laterIs('superseded', 'after'),
  });
  attack('key compromised after its approval, which is not used up', {
    rules: ['T9'], expects: 'KeyCompromised', attempt: () => laterIs('compromised', 'before'), twin: () => laterIs('retired', 'before'),
  });
});

describe('who wrote what a release ships', () => {
  attack('script of the release written by its approver', {
    rules: ['T19'], expects: 'Requester',
    attempt: async () => {
      const version = await ask({ 'shop/run.sh': '#!/bin/sh\nexec ./api --evil\n' }, stage.world.people.bob);
      await approve(stage.world.people.bob, stage.world.people.carol);
      return stage.verdict('prod', version);
    },
    twin: async () => {
      const version = await ask({ 'shop/run.sh': '#!/bin/sh\nexec ./api --fast\n' }, stage.world.people.bob);
      await approve(await keyOf('dave'), await keyOf('erin'));
      return stage.verdict('prod', version);
    },
  });
});
