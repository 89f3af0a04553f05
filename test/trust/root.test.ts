import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { documentDigest, type DocumentOf, type SpecOf } from '../../src/core/model/documents.ts';
import { changeDigest } from '../../src/core/model/preimages.ts';
import { rootOf } from '../../src/core/evidence/log-state.ts';
import { createSshKey, type SshKey } from '../fakes/git-repository.ts';
import { doc } from '../fakes/world.ts';
import { attack, type Verdict } from './attack.ts';
import { personOf, releaseOf, Stage } from './attacks-fixture.ts';

type Root = DocumentOf<'TrustRoot'>;
let stage: Stage;
let keys: { readonly alice: SshKey; readonly bob: SshKey; readonly carol: SshKey; readonly spare: SshKey; readonly mallory: SshKey };

beforeAll(async () => {
  stage = await Stage.open({
    root: ({ alice, bob, carol }) => ({ keys: [alice, bob, carol].map((key) => ({ principal: key.name, key: key.publicKey })), threshold: 2 }),
  });
  const folder = join(stage.world.folder, 'more-keys');
  keys = { ...stage.world.people, spare: await createSshKey(folder, 'spare'), mallory: await createSshKey(folder, 'mallory') };
});
afterAll(() => stage.close());

/** The root that may follow the one in force, with some of it written otherwise. */
async function nextRoot(more: Partial<SpecOf['TrustRoot']> = {}): Promise<Root> {
  const root = rootOf(await stage.world.state());
  return doc('TrustRoot', 'root', { ...root.spec, version: root.spec.version + 1, previous: documentDigest(root), documents: null, ...more });
}

const rootKey = (key: SshKey, principal = key.name): SpecOf['TrustRoot']['keys'][number] => ({ principal, key: key.publicKey });

/** Commits the root with approvals of these keys; what the conditions say of it, whether the pass went on or not. */
async function propose(root: Root, signers: readonly SshKey[]): Promise<Verdict> {
  const changes = await stage.change('TrustRoot', 'root', root);
  const approvals = await Promise.all(signers.map((key) => stage.changeApproval(key, changes)));
  await stage.world.commit([root, ...approvals], { by: keys.alice });
  for (let again = true; again; ) {
    const report = await stage.world.pass();
    again = report.ok && report.records > 0;
  }
  return stage.changeVerdict(root);
}

describe('a change of the trust root', () => {
  attack('root skipped a version', {
    rules: ['T16'], expects: 'RootVersionSkipped',
    attempt: async () => propose(await nextRoot({ version: rootOf(await stage.world.state()).spec.version + 2 }), [keys.alice, keys.bob]),
    twin: async () => propose(await nextRoot(), [keys.alice, keys.bob]),
  });

  attack('root of the same version with other content', {
    rules: ['T16'], expects: 'RootEquivocation',
    attempt: async () => {
      const { version, previous } = rootOf(await stage.world.state()).spec;
      return propose(await nextRoot({ version, previous, threshold: 1 }), [keys.alice, keys.bob]);
    },
    twin: async () => propose(await nextRoot(), [keys.alice, keys.bob]),
  });

  attack('root goes back to an earlier version', {
    rules: ['T16'], expects: 'RootRegressed',
    attempt: async () => propose(await nextRoot({ version: rootOf(await stage.world.state()).spec.version - 1 }), [keys.alice, keys.bob]),
    twin: async () => propose(await nextRoot(), [keys.alice, keys.bob]),
  });

  attack('root that follows another root', {
    rules: ['T16'], expects: 'RootPreviousOther',
    attempt: async () => propose(await nextRoot({ previous: stage.world.pin }), [keys.alice, keys.bob]),
    twin: async () => propose(await nextRoot(), [keys.alice, keys.bob]),
  });

  attack('root of another log', {
    rules: ['T13', 'T16'], expects: 'RootIdentityOther',
    attempt: async () => propose(await nextRoot({ id: 'e'.repeat(64) }), [keys.alice, keys.bob]),
    twin: async () => propose(await nextRoot(), [keys.alice, keys.bob]),
  });

  attack('threshold of the root above the people who hold its keys', {
    rules: ['T10'], expects: 'RootThresholdInvalid',
    attempt: async () => propose(await nextRoot({ keys: [rootKey(keys.alice), rootKey(keys.spare, 'alice')], threshold: 2 }), [keys.alice, keys.bob]),
    twin: async () => propose(await nextRoot({ keys: [rootKey(keys.alice), rootKey(keys.bob), rootKey(keys.carol)], threshold: 2 }), [keys.alice, keys.bob]),
  });

  attack('root that lists no key of ours for decisions', {
    rules: ['T12', 'T29'], expects: 'RootKeysMissing',
    attempt: async () => propose(await nextRoot({ services: rootOf(await stage.world.state()).spec.services.filter(({ role }) => role !== 'decisions') }), [keys.alice, keys.bob]),
    twin: async () => propose(await nextRoot(), [keys.alice, keys.bob]),
  });

  attack('threshold lowered in the same change', {
    rules: ['T14', 'T16'], expects: 'ChangeRefused',
    attempt: async () => propose(await nextRoot({ threshold: 1 }), [keys.alice]),
    twin: async () => propose(await nextRoot(), [keys.alice, keys.bob]),
  });

  attack('own root key added in the same change', {
    rules: ['T14', 'T16'], expects: 'ChangeRefused',
    attempt: async () => propose(await nextRoot({ keys: [rootKey(keys.alice), rootKey(keys.mallory, 'bob'), rootKey(keys.carol)] }), [keys.alice, keys.mallory]),
    twin: async () => propose(await nextRoot({ keys: [rootKey(keys.alice), rootKey(keys.bob), rootKey(keys.carol)] }), [keys.alice, keys.bob]),
  });

  attack('root approved by the old root alone, with new keys that never signed', {
    rules: ['T16'], expects: 'ChangeRefused',
    attempt: async () => propose(await nextRoot({ keys: [rootKey(keys.alice), rootKey(keys.spare, 'bob')], threshold: 2 }), [keys.alice, keys.bob]),
    twin: async () => propose(await nextRoot({ keys: [rootKey(keys.alice), rootKey(keys.bob), rootKey(keys.carol), rootKey(keys.spare, 'alice')], threshold: 2 }), [keys.alice, keys.bob]),
  });

  attack('one person with two root keys counted twice', {
    rules: ['T16', 'T21'], expects: 'ChangeRefused',
    attempt: async () => propose(await nextRoot(), [keys.alice, keys.spare]),
    twin: async () => propose(await nextRoot(), [keys.alice, keys.carol]),
  });

  attack('root approved with a key that is no root key', {
    rules: ['T8', 'T16'], expects: 'ChangeRefused',
    attempt: async () => {
      const bob = personOf('bob', [keys.bob, keys.mallory], ['sre', 'admin']);
      const changes = await stage.change('Principal', 'bob', bob);
      await stage.world.commit([bob, await stage.changeApproval(keys.bob, changes)], { by: keys.bob });
      expect(await stage.settle().then(() => stage.inForce('Principal', 'bob'))).toBe(documentDigest(bob));
      return propose(await nextRoot(), [keys.alice, keys.mallory]);
    },
    twin: async () => propose(await nextRoot(), [keys.alice, keys.bob]),
  });

  attack('root changed together with another document', {
    rules: ['T15', 'T16'], expects: 'ChangePending',
    attempt: async () => {
      const [root, dev] = [await nextRoot(), doc('Environment', 'dev', { order: 7 })];
      const changes = [...(await stage.change('Environment', 'dev', dev)), ...(await stage.change('TrustRoot', 'root', root))];
      await stage.world.commit([root, dev, await stage.changeApproval(keys.alice, changes), await stage.changeApproval(keys.bob, changes)], { by: keys.alice });
      await stage.settle();
      expect(await stage.inForce('Environment', 'dev')).not.toBe(documentDigest(dev));
      return stage.changeVerdict(root);
    },
    twin: async () => {
      await stage.world.commit([doc('Environment', 'dev', { order: 1 })], { by: keys.alice });
      return propose(await nextRoot(), [keys.alice, keys.bob]);
    },
  });

  /** The commit of the root says yes for its signer by its trailer; bob approves with a document. */
  async function byTrailer(signer: SshKey): Promise<Verdict> {
    const { quorums } = rootOf(await stage.world.state()).spec;
    const root = await nextRoot({ quorums: { ...quorums, kinds: { Workflow: { people: 1, roles: [{ role: 'admin', count: 1 }] }, ...(signer === keys.alice ? { Freeze: { people: 1 } } : {}) } } });
    const changes = await stage.change('TrustRoot', 'root', root);
    await stage.world.commit([await stage.changeApproval(keys.bob, changes)], { by: keys.bob });
    await stage.world.commit([root], { by: signer, message: `Next root\n\nStella-Change: ${changeDigest(stage.world.pin, changes)}` });
    await stage.settle();
    return stage.changeVerdict(root);
  }

  attack('trailer of a root change in a commit that no root key signed', {
    rules: ['T15', 'T16'], expects: 'ChangeRefused',
    attempt: () => byTrailer(keys.mallory),
    twin: () => byTrailer(keys.alice),
  });

  attack('root that a holder of its keys rejects', {
    rules: ['T16', 'T24'], expects: 'ChangeRefused',
    attempt: async () => {
      const root = await nextRoot();
      const changes = await stage.change('TrustRoot', 'root', root);
      await stage.world.commit([await stage.changeApproval(keys.carol, changes, { action: 'reject' })], { by: keys.carol });
      await stage.settle();
      return propose(root, [keys.alice, keys.bob, keys.carol]);
    },
    twin: async () => propose(await nextRoot({ threshold: 1 }), [keys.alice, keys.bob]),
  });
});

it('what was asked for while two roots of one version were shown is decided once one is withdrawn', async () => {
  const { world } = stage;
  const root = rootOf(await world.state());
  world.registry.put('shop/api:0.9', 'image 0.9');
  await world.commit([releaseOf('0.9')], { by: keys.alice });
  await stage.settle();
  const other = { ...root, spec: { ...root.spec, threshold: root.spec.threshold === 1 ? 2 : 1 } };
  await world.commit([other, await world.promotion('dev', '0.9', { by: keys.alice })], { by: keys.alice });
  const report = await world.pass();
  expect(report).toMatchObject({ ok: false, records: 0, fault: { code: 'RootEquivocation' } });
  for (const digest of [documentDigest(root), documentDigest(other)]) expect(report.fault?.message).toContain(digest);
  expect(stage.executed('dev', '0.9')).toEqual([]);
  await world.commit([root], { by: keys.alice });
  await stage.settle();
  expect(await stage.verdict('dev', '0.9')).toMatchObject({ accepted: true });
});

describe('a root that was tightened', () => {
  it('counts the keys that it took away no longer', async () => {
    expect((await propose(await nextRoot({ keys: [rootKey(keys.alice), rootKey(keys.bob)], threshold: 2 }), [keys.alice, keys.bob])).accepted).toBe(true);
    expect((await propose(await nextRoot({ threshold: 1 }), [keys.alice, keys.carol])).accepted).toBe(false);
  });

  it('judges at once: an approval that was enough under the root before is for another digest', async () => {
    const { world } = stage;
    world.registry.put('shop/api:1.0', 'image 1.0');
    await world.commit([releaseOf('1.0')], { by: keys.alice });
    await stage.settle();
    await world.commit([await world.promotion('dev', '1.0', { by: keys.alice }), await world.promotion('prod', '1.0', { by: keys.alice })], { by: keys.alice });
    await stage.settle();
    const approval = await stage.promotionApproval(keys.bob, 'prod');
    expect((await propose(await nextRoot({ minimums: { environments: [{ name: 'prod', people: 2 }] } }), [keys.alice, keys.bob])).accepted).toBe(true);
    await world.commit([approval], { by: keys.bob });
    await stage.settle();
    expect(await stage.verdict('prod', '1.0')).toEqual({ accepted: false, codes: expect.arrayContaining(['OtherDigest']) as unknown, executed: [] });
    await world.commit([await stage.promotionApproval(keys.bob, 'prod'), await stage.promotionApproval(keys.carol, 'prod')], { by: keys.bob });
    await stage.settle();
    expect((await stage.verdict('prod', '1.0')).accepted).toBe(true);
  });
});
