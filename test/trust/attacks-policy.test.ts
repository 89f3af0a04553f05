import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { rm } from 'node:fs/promises';
import { changeDigest } from '../../src/core/model/preimages.ts';
import { documentDigest, type AnyDocument, type ProtectedChange } from '../../src/core/model/documents.ts';
import { createSshKey, createTemporaryFolder, type SshKey } from '../fakes/git-repository.ts';
import { doc, pathOf, yamlOf } from '../fakes/world.ts';
import { personOf, releaseOf, Stage } from './attacks-fixture.ts';

/** Attacks on protected documents. One world: each attack works on documents of its own. admin decides; a freeze takes two. */

let folder: string;
let stage: Stage;
let dave: readonly [SshKey, SshKey];
let late: SshKey;
let bot: SshKey;

const workflow = (attempts: number) => doc('Workflow', 'w', { steps: [{ name: 'deploy', type: 'deploy', retry: { attempts } }] });
const named = (name: string, attempts = 1): AnyDocument => ({ ...workflow(attempts), metadata: { name } }) as unknown as AnyDocument;

beforeAll(async () => {
  folder = await createTemporaryFolder();
  dave = [await createSshKey(folder, 'dave-1'), await createSshKey(folder, 'dave-2')];
  late = await createSshKey(folder, 'late');
  bot = await createSshKey(folder, 'bot');
  const lateKey = { key: late.publicKey, status: 'active', notBefore: '2026-11-03T00:00:00Z' } as const;
  stage = await Stage.open({
    documents: [
      personOf('dave', dave, ['admin']), personOf('late', [], ['admin'], { keys: [lateKey] }), personOf('bot', [bot], ['admin'], { type: 'service' }),
      doc('Freeze', 'stop', { environments: ['prod'], reason: 'stock-taking' }), named('pipeline'),
    ] as readonly AnyDocument[],
    root: { quorums: { default: ADMIN(1), create: ADMIN(1), kinds: { Freeze: ADMIN(2) } } },
  });
});
afterAll(async () => {
  await stage.close();
  await rm(folder, { recursive: true, force: true });
});

const ADMIN = (count: number) => ({ people: count, roles: [{ role: 'admin', count }] });

/** Puts the document on the target branch, unsigned, and the approvals beside it. @returns whether it is in force then */
async function propose(document: AnyDocument, approvals: (changes: readonly ProtectedChange[]) => Promise<readonly AnyDocument[]>): Promise<boolean> {
  const changes = await stage.change(document.kind, document.metadata.name, document);
  await stage.world.commit([document, ...(await approvals(changes))], {});
  await stage.settle();
  return (await stage.inForce(document.kind, document.metadata.name)) === documentDigest(document);
}

describe('an approval of a change', () => {
  it('that has expired does not count, and one that has not does', async () => {
    const { people } = stage.world;
    expect(await propose(named('expired'), async (c) => [await stage.changeApproval(people.alice, c, { expires: '2026-10-31T00:00:00Z' })])).toBe(false);
    expect(await stage.reasons()).toContain('ChangeRefused');
    expect(await propose(named('expired'), async (c) => [await stage.changeApproval(people.alice, c, { expires: '2026-12-31T00:00:00Z' })])).toBe(true);
  });

  it('is outweighed by the no of somebody who has a say, and not by that of others', async () => {
    const { people } = stage.world;
    const withNo = (by: SshKey) => async (c: readonly ProtectedChange[]) => [await stage.changeApproval(by, c, { action: 'reject' }), await stage.changeApproval(people.alice, c)];
    expect(await propose(named('rejected'), withNo(people.bob))).toBe(false);
    expect(await stage.policyMessage()).toContain('bob rejected it');
    expect(await propose(named('grumbled-at'), withNo(people.carol))).toBe(true);
  });

  it('by a service does not count, whatever role it holds', async () => {
    expect(await propose(named('by-bot'), async (c) => [await stage.changeApproval(bot, c)])).toBe(false);
    expect(await propose(named('by-bot'), async (c) => [await stage.changeApproval(stage.world.people.bob, c)])).toBe(true);
  });

  it('with a key that is not valid yet does not count, not even when the server starts again once it is', async () => {
    const document = named('too-early');
    const changes = await stage.change('Workflow', 'too-early', document);
    await stage.world.commit([document, await stage.changeApproval(late, changes)], { by: late, message: `Add\n\nStella-Change: ${changeDigest(stage.world.pin, changes)}` });
    await stage.settle();
    expect(await stage.inForce('Workflow', 'too-early')).toBeNull();
    stage.world.now = new Date('2026-11-04T08:00:00.000Z');
    await stage.restart();
    expect(await stage.inForce('Workflow', 'too-early')).toBeNull();
    await stage.world.commit([doc('Workflow', 'too-early', { steps: [{ name: 'deploy', type: 'deploy' }] })], {});
    expect(await propose(document, async (c) => [await stage.changeApproval(late, c)])).toBe(true);
  });

  it('was for the first document of that name: it does not bring it back after deletion', async () => {
    const { people } = stage.world;
    const document = named('phoenix');
    const approval = await stage.changeApproval(people.alice, await stage.change('Workflow', 'phoenix', document));
    expect(await propose(document, async () => [approval])).toBe(true);
    const deletion = await stage.changeApproval(people.alice, await stage.change('Workflow', 'phoenix', null));
    await stage.world.commit([deletion], { deletes: [pathOf(document), pathOf(approval)] });
    await stage.settle();
    expect(await stage.inForce('Workflow', 'phoenix')).toBeNull();
    expect(await propose(document, async () => [approval])).toBe(false);
    expect(await propose(document, async (c) => [await stage.changeApproval(people.alice, c)])).toBe(true);
  });
});

describe('a freeze that takes two', () => {
  const remove = async (approvals: readonly AnyDocument[]): Promise<boolean> => {
    await stage.world.commit(approvals, { deletes: ['freezes/stop.yaml'] });
    await stage.settle();
    return (await stage.inForce('Freeze', 'stop')) === null;
  };

  it('is not lifted by one person, nor by one person with two keys, but by two', async () => {
    const { people } = stage.world;
    const changes = await stage.change('Freeze', 'stop', null);
    expect(await remove([await stage.changeApproval(people.alice, changes)])).toBe(false);
    const other = [await stage.changeApproval(people.alice, changes, { action: 'approve' }), await stage.changeApproval(people.alice, changes)];
    expect(await remove(other)).toBe(false);
    expect(await remove([await stage.changeApproval(dave[0], changes)])).toBe(true);
  });

  it('is not put in force by one person with two keys', async () => {
    const freeze = doc('Freeze', 'again', { environments: ['prod'], reason: 'once more' }) as unknown as AnyDocument;
    expect(await propose(freeze, async (c) => [await stage.changeApproval(stage.world.people.alice, c)])).toBe(true);
    const tighter = doc('Freeze', 'again', { environments: ['prod', 'dev'], reason: 'once more' }) as unknown as AnyDocument;
    expect(await propose(tighter, async (c) => Promise.all(dave.map((key) => stage.changeApproval(key, c))))).toBe(false);
    const both = [stage.world.people.alice, dave[1]];
    expect(await propose(tighter, async (c) => Promise.all(both.map((key) => stage.changeApproval(key, c))))).toBe(true);
    const lifted = await stage.change('Freeze', 'again', null);
    await stage.world.commit(await Promise.all(both.map((key) => stage.changeApproval(key, lifted))), { deletes: ['freezes/again.yaml'] });
    await stage.settle();
    expect(await stage.inForce('Freeze', 'again')).toBeNull();
  });
});

describe('a protected document', () => {
  const before = async () => stage.inForce('Workflow', 'pipeline');
  const edited = (attempts: number) => named('pipeline', attempts);

  it('in a file of another kind is protected all the same, and as second document of one', async () => {
    const was = await before();
    await stage.world.commit([], { files: { 'workflows/pipeline.yaml': '# moved\n', 'releases/notes.yaml': yamlOf(edited(2)) } });
    await stage.settle();
    expect(await before()).toBe(was);
    const second = `${yamlOf(releaseOf('0.1'))}---\n${yamlOf(edited(3))}`;
    await stage.world.commit([], { files: { 'releases/notes.yaml': second } });
    await stage.settle();
    expect(await before()).toBe(was);
    expect(await stage.policyMessage()).toContain('Workflow/pipeline');
    const changes = await stage.change('Workflow', 'pipeline', edited(3));
    await stage.world.commit([await stage.changeApproval(stage.world.people.alice, changes)], {});
    await stage.settle();
    expect(await before()).toBe(documentDigest(edited(3)));
  });

  it('that takes the place of another by a rename does not come into force with it', async () => {
    const was = await before();
    const stranger = yamlOf(edited(9));
    await stage.world.commit([], { files: { 'drafts/p.txt': stranger } });
    await stage.world.commit([], { files: { 'workflows/pipeline.yaml': stranger }, deletes: ['drafts/p.txt', 'releases/notes.yaml'] });
    await stage.settle();
    expect(await before()).toBe(was);
  });

  it('that stands twice, or names one key twice, leaves in force what was', async () => {
    const was = await before();
    await stage.world.commit([], { files: { 'workflows/pipeline.yaml': yamlOf(edited(4)), 'workflows/copy.yaml': yamlOf(edited(3)) } });
    await stage.settle();
    expect(await before()).toBe(was);
    await stage.world.commit([], { files: { 'workflows/pipeline.yaml': `${yamlOf(edited(4))}kind: Workflow\n` }, deletes: ['workflows/copy.yaml'] });
    await stage.settle();
    expect(await before()).toBe(was);
    expect(await stage.reasons()).toContain('Declaration');
  });

  it('of which nobody approved v2 is not carried into force by the approval of v3 of something else', async () => {
    const was = await before();
    const other = named('bystander', 2);
    const otherChange = await stage.change('Workflow', 'bystander', other);
    await stage.world.commit([edited(5), other], {});
    await stage.settle();
    // The approver saw v1 → v3 of the pipeline in force; v2 lies on the branch.
    const v3 = await stage.change('Workflow', 'pipeline', edited(6));
    await stage.world.commit([await stage.changeApproval(stage.world.people.alice, v3), await stage.changeApproval(stage.world.people.alice, otherChange)], {});
    await stage.settle();
    expect(await before()).toBe(was);
    expect(await stage.inForce('Workflow', 'bystander')).toBe(documentDigest(other));
    await stage.world.commit([edited(6)], {});
    await stage.settle();
    expect(await before()).toBe(documentDigest(edited(6)));
  });

  it('is not changed by a merge that bears an admin’s trailer, only by a plain commit', async () => {
    const { alice } = stage.world.people;
    const was = await before();
    const changes = await stage.change('Workflow', 'pipeline', edited(7));
    const message = `Merge\n\nStella-Change: ${changeDigest(stage.world.pin, changes)}`;
    const main = (await stage.world.repository.tip('main'))!;
    const side = await stage.world.repository.commit({ branch: 'side', parents: [main], files: { 'notes.txt': 'x' } });
    await stage.world.repository.merge({ from: side, files: { 'workflows/pipeline.yaml': yamlOf(edited(7)) }, message, sshKey: alice });
    await stage.settle();
    expect(await before()).toBe(was);
    await stage.world.commit([edited(6)], {});
    await stage.world.commit([edited(7)], { by: alice, message });
    await stage.settle();
    expect(await before()).toBe(documentDigest(edited(7)));
  });
});

describe('one’s own power', () => {
  it('is not widened by a key, a role or a quorum in the same commit', async () => {
    const { carol } = stage.world.people;
    const root = await stage.inForce('TrustRoot', 'root');
    const promoted = personOf('carol', [carol], ['sre', 'admin']) as unknown as AnyDocument;
    const changes = await stage.change('Principal', 'carol', promoted);
    await stage.world.commit([promoted, await stage.changeApproval(carol, changes)], { by: carol, message: `Me\n\nStella-Change: ${changeDigest(stage.world.pin, changes)}` });
    await stage.settle();
    expect(await stage.inForce('Principal', 'carol')).not.toBe(documentDigest(promoted));
    const eve = personOf('eve', [await createSshKey(folder, 'eve')], ['admin']) as unknown as AnyDocument;
    expect(await propose(eve, async (c) => [await stage.changeApproval(carol, c)])).toBe(false);
    expect(await stage.inForce('TrustRoot', 'root')).toBe(root);
  });

  it('does not reach production by a new environment: its targets name who may use them', async () => {
    const { alice } = stage.world.people;
    const sandbox = doc('Environment', 'sandbox', { order: 9 }) as unknown as AnyDocument;
    expect(await propose(sandbox, async (c) => [await stage.changeApproval(alice, c)])).toBe(true);
    stage.world.registry.put('shop/api:7.0', 'seven');
    await stage.world.commit([releaseOf('7.0'), doc('Promotion', 'sandbox/shop', { release: '7.0' })], { by: alice });
    await stage.settle();
    expect(stage.decision('sandbox')).toMatchObject({ outcome: 'pending', reasons: ['PlanInvalid'] });
    expect(stage.executed('sandbox')).toEqual([]);
    await stage.world.commit([doc('Promotion', 'dev/shop', { release: '7.0' })], { by: alice });
    await stage.settle();
    expect(stage.executed('dev')).toHaveLength(1);
  });

  it('does not repoint a component: the lock resolves at the repository in force', async () => {
    const genuine = stage.world.registry.put('shop/api:8.0', 'genuine');
    stage.world.registry.put('evil/api:8.0', 'evil');
    await stage.world.commit([doc('Component', 'api', { repository: 'evil/api', registry: 'images' }), releaseOf('8.0')], { by: stage.world.people.carol });
    await stage.settle();
    expect((await stage.world.state()).locks.get('shop/8.0')?.lock.components).toMatchObject([{ repository: 'shop/api', digest: genuine }]);
  });
});

describe('where the root lets no proposer count', () => {
  it('the trailer in one’s own commit approves nothing, nor does one’s own approval; somebody else’s does', async () => {
    const own = await Stage.open({ root: { proposerCounts: false } });
    try {
      const { alice, bob } = own.world.people;
      const document = named('pipeline');
      const changes = await own.change('Workflow', 'pipeline', document);
      await own.world.commit([document], { by: alice, message: `Add\n\nStella-Change: ${changeDigest(own.world.pin, changes)}` });
      await own.settle();
      await own.world.commit([await own.changeApproval(alice, changes)], {});
      await own.settle();
      expect(await own.inForce('Workflow', 'pipeline')).toBeNull();
      await own.world.commit([await own.changeApproval(bob, changes)], {});
      await own.settle();
      expect(await own.inForce('Workflow', 'pipeline')).toBe(documentDigest(document));
    } finally {
      await own.close();
    }
  });
});
