import { afterAll, beforeAll, beforeEach, describe } from 'vitest';
import { rm } from 'node:fs/promises';
import { changeDigest } from '../../src/core/model/preimages.ts';
import { documentDigest, type AnyDocument, type ProtectedChange } from '../../src/core/model/documents.ts';
import { requireComponent } from '../fakes/components.ts';
import { createSshKey, createTemporaryFolder, type SshKey } from '../fakes/git-repository.ts';
import { doc, pathOf, yamlOf } from '../fakes/world.ts';
import { attack, type Verdict } from './attack.ts';
import { personOf, releaseOf, Stage } from './attacks-fixture.ts';

/** Attacks on protected documents. One world; each attack has documents of its own. One admin decides, two over Components; alice, bob, dave are admins, carol is none. */

const NAMES = ['dave-1', 'dave-2', 'late', 'bot', 'eve'] as const;
const ADMIN = (count: number) => ({ people: count, roles: [{ role: 'admin', count }] });

let folder: string;
let stage: Stage;
let strict: Stage;
let keys: Readonly<Record<(typeof NAMES)[number], SshKey>>;
beforeEach((ctx) => requireComponent('ssh-keygen', ctx));
beforeEach(() => sweep());
beforeAll(async () => {
  folder = await createTemporaryFolder();
  keys = Object.fromEntries(await Promise.all(NAMES.map(async (name) => [name, await createSshKey(folder, name)] as const))) as typeof keys;
  const lateKey = { key: keys.late.publicKey, status: 'active', notBefore: '2026-11-03T00:00:00Z' } as const;
  stage = await Stage.open({
    documents: [
      personOf('dave', [keys['dave-1'], keys['dave-2']], ['admin']), personOf('late', [], ['admin'], { keys: [lateKey] }), personOf('bot', [keys.bot], ['admin'], { type: 'service' }),
      component('shop/web', 'web'),
    ] as readonly AnyDocument[],
    root: { quorums: { default: ADMIN(1), create: ADMIN(1), kinds: { Component: ADMIN(2) } } },
  });
  strict = await Stage.open({ root: { proposerCounts: false } });
});
afterAll(async () => {
  await stage.close();
  await strict.close();
  await rm(folder, { recursive: true, force: true });
});

/** Puts the target branch back to what is in force: what one attack leaves behind is not the next one's. */
async function sweep(): Promise<void> {
  const { repository } = stage.world;
  if ((await stage.reasons()).length === 0) return;
  const wanted = new Map([...(await stage.world.state()).inForce.values()].map(({ document }) => [pathOf(document), yamlOf(document)]));
  const there = (await repository.git(['ls-tree', '-r', '--name-only', 'main'])).split('\n');
  const deletes = there.filter((path) => !wanted.has(path) && !path.startsWith('approvals/') && !path.startsWith('promotions/'));
  await stage.world.commit([], { files: Object.fromEntries(wanted), deletes });
  await stage.settle();
  if ((await stage.policyMessage()) !== '') throw new Error(`the stage is not swept: ${await stage.policyMessage()}`);
}

let made = 0;
const fresh = (attempts = 1, name = `w-${(made += 1)}`): AnyDocument => doc('Workflow', name, { steps: [{ name: 'deploy', type: 'deploy', retry: { attempts } }] }) as unknown as AnyDocument;
const again = ({ metadata: { name } }: AnyDocument, attempts: number): AnyDocument => fresh(attempts, name);
const component = (repository: string, name = `c-${(made += 1)}`): AnyDocument => doc('Component', name, { repository, registry: 'images' }) as unknown as AnyDocument;
const people = () => stage.world.people;
type Approving = (changes: readonly ProtectedChange[]) => Promise<readonly AnyDocument[]>;

/** Puts the document on the target branch, unsigned, with the approvals beside it. */
async function propose(document: AnyDocument, approvals: Approving, on: Stage = stage): Promise<Verdict> {
  const changes = await on.change(document.kind, document.metadata.name, document);
  await on.world.commit([document, ...(await approvals(changes))], {});
  await on.settle();
  return on.changeVerdict(document);
}

const by = (...signers: readonly (() => SshKey)[]): Approving => (changes) => Promise.all(signers.map((key) => stage.changeApproval(key(), changes))) as never;
const alice = (): SshKey => people().alice;
const bob = (): SshKey => people().bob;
const proposed = (approving: Approving) => async (): Promise<Verdict> => propose(fresh(), approving);
const inForce = async (document: AnyDocument): Promise<AnyDocument> => {
  const { accepted, codes } = await propose(document, by(alice, bob));
  if (!accepted) throw new Error(`${document.kind}/${document.metadata.name}: ${codes.join()} ${await stage.policyMessage()}`);
  return document;
};

describe('an approval of a change', () => {
  attack('change approved by nobody', { rules: ['T15'], expects: 'ChangePending', attempt: proposed(by()), twin: proposed(by(alice)) });
  attack('change approved by somebody without the role', { rules: ['T15', 'T21'], expects: 'ChangeRefused', attempt: proposed(by(() => people().carol)), twin: proposed(by(alice)) });
  attack('change approved by a bot', { rules: ['T11', 'T15'], expects: 'ChangeRefused', attempt: proposed(by(() => keys.bot)), twin: proposed(by(bob)) });
  attack('change approved until yesterday', {
    rules: ['T23', 'T15'], expects: 'ChangeRefused',
    attempt: proposed(async (c) => [(await stage.changeApproval(alice(), c, { expires: '2026-10-31T00:00:00Z' })) as never]), twin: proposed(async (c) => [(await stage.changeApproval(alice(), c, { expires: '2026-12-31T00:00:00Z' })) as never]),
  });
  attack('change that somebody with a say rejected', {
    rules: ['T21', 'T15'], expects: 'ChangeRefused',
    attempt: proposed(async (c) => [await stage.changeApproval(bob(), c, { action: 'reject' }), await stage.changeApproval(alice(), c)] as never),
    twin: proposed(async (c) => [await stage.changeApproval(people().carol, c, { action: 'reject' }), await stage.changeApproval(alice(), c)] as never),
  });
  attack('change approved with a key that is not valid yet', { rules: ['T9', 'T15'], expects: 'ChangeRefused', attempt: proposed(by(() => keys.late)), twin: proposed(by(() => keys['dave-1'])) });
  attack('change approved by one person with two keys', {
    rules: ['T21', 'T15'], expects: 'ChangeRefused',
    attempt: async () => propose(again2(await inForce(component('shop/one'))), by(() => keys['dave-1'], () => keys['dave-2'])),
    twin: async () => propose(again2(await inForce(component('shop/one'))), by(() => keys['dave-1'], alice)),
  });
  attack('approval whose list of changes is not the one that its digest is of', {
    rules: ['T15'], expects: 'ChangePending', twin: proposed(by(alice)),
    attempt: proposed(async (c) => [(await stage.changeApproval(alice(), c, { digest: changeDigest(stage.world.pin, c), changes: await stage.change('Workflow', 'harmless', fresh()) })) as never]),
  });
  attack('approval of a change replayed after deletion and recreation', { rules: ['T15', 'T22'], expects: 'ChangePending', attempt: () => phoenix(false), twin: () => phoenix(true) });
  attack('own change approved by its proposer where proposers do not count', {
    rules: ['T15'], expects: 'ChangeRefused',
    attempt: () => ownChange((changes) => strict.changeApproval(strict.world.people.alice, changes)), twin: () => ownChange((changes) => strict.changeApproval(strict.world.people.bob, changes)),
  });
});

const again2 = ({ metadata: { name } }: AnyDocument): AnyDocument => component('shop/two', name);

/** In force, deleted, and there again with the first approval. */
async function phoenix(approvedAgain: boolean): Promise<Verdict> {
  const document = fresh();
  const approval = (await stage.changeApproval(alice(), await stage.change('Workflow', document.metadata.name, document))) as unknown as AnyDocument;
  await propose(document, async () => [approval]);
  const deletion = await stage.changeApproval(alice(), await stage.change('Workflow', document.metadata.name, null));
  await stage.world.commit([deletion as never], { deletes: [pathOf(document), pathOf(approval)] });
  await stage.settle();
  if ((await stage.inForce('Workflow', document.metadata.name)) !== null) throw new Error('it was not deleted');
  return propose(document, approvedAgain ? by(alice) : async () => [approval]);
}

/** alice writes the change, with the trailer that would make her commit an approval; somebody approves. */
async function ownChange(approve: (changes: readonly ProtectedChange[]) => Promise<unknown>): Promise<Verdict> {
  const document = fresh();
  const changes = await strict.change('Workflow', document.metadata.name, document);
  await strict.world.commit([document], { by: strict.world.people.alice, message: `Add\n\nStella-Change: ${changeDigest(strict.world.pin, changes)}` });
  await strict.settle();
  return propose(document, async () => [(await approve(changes)) as AnyDocument], strict);
}

describe('where a protected document lies', () => {
  /** It is in force; it is edited in this way; an admin approves, or nobody. */
  const moved = (write: (document: AnyDocument, edited: AnyDocument) => Promise<unknown>) => {
    const play = (approved: boolean) => async (): Promise<Verdict> => {
      const document = await inForce(fresh());
      const edited = again(document, 2);
      const changes = await stage.change('Workflow', document.metadata.name, edited);
      await write(document, edited);
      if (approved) await stage.world.commit(await by(alice)(changes), {});
      await stage.settle();
      return stage.changeVerdict(edited);
    };
    return { attempt: play(false), twin: play(true) };
  };
  const files = (written: Record<string, string>, deletes: readonly string[]): Promise<unknown> => stage.world.commit([], { files: written, deletes });
  attack('protected kind in an unprotected file', { rules: ['T15'], expects: 'ChangePending', ...moved((old, edited) => files({ [`releases/${old.metadata.name}.yaml`]: yamlOf(edited) }, [pathOf(old)])) });
  attack('protected kind as second YAML document', {
    rules: ['T15'], expects: 'ChangePending', ...moved((old, edited) => files({ [`releases/${old.metadata.name}.yaml`]: `${yamlOf(doc('Configuration', 'dev/shop', { variables: { NOTE: String(made) } }))}---\n${yamlOf(edited)}` }, [pathOf(old)])),
  });
  attack('protected kind by rename', {
    rules: ['T15'], expects: 'ChangePending',
    ...moved(async (old, edited) => {
      await files({ [`drafts/${old.metadata.name}.txt`]: yamlOf(edited) }, []);
      await files({ [pathOf(old)]: yamlOf(edited) }, [`drafts/${old.metadata.name}.txt`]);
    }),
  });
  attack('protected document changed by a merge with an admin’s trailer', {
    rules: ['T26', 'T15'], expects: 'ChangePending', attempt: () => byTrailer(true), twin: () => byTrailer(false),
  });
  attack('one document twice', {
    rules: ['T10'], expects: 'DuplicateDocument',
    attempt: () => malformed((edited) => ({ [`workflows/copy-${edited.metadata.name}.yaml`]: yamlOf(again(edited, 3)) })), twin: () => malformed(() => ({})),
  });
  attack('duplicate YAML keys', {
    rules: ['T12'], expects: 'DuplicateKey', attempt: () => malformed((edited) => ({ [pathOf(edited)]: `${yamlOf(edited)}kind: Workflow\n` })), twin: () => malformed(() => ({})),
  });
  attack('field that nobody knows', {
    rules: ['T12'], expects: 'UnknownField', attempt: () => malformed((edited) => ({ [pathOf(edited)]: yamlOf(edited).replace('spec:\n', 'spec:\n  approvals: none\n') })), twin: () => malformed(() => ({})),
  });
});

async function byTrailer(inMerge: boolean): Promise<Verdict> {
  const document = await inForce(fresh());
  const edited = again(document, 7);
  const message = `Change\n\nStella-Change: ${changeDigest(stage.world.pin, await stage.change('Workflow', document.metadata.name, edited))}`;
  const { repository } = stage.world;
  if (inMerge) {
    const side = await repository.commit({ branch: 'side', parents: [(await repository.tip('main'))!], files: { 'notes.txt': message } });
    await repository.merge({ from: side, files: { [pathOf(edited)]: yamlOf(edited) }, message, sshKey: alice() });
  } else await stage.world.commit([edited], { by: alice(), message });
  await stage.settle();
  return stage.changeVerdict(edited);
}

/** An approved change whose files are written in this way. */
async function malformed(files: (edited: AnyDocument) => Record<string, string>): Promise<Verdict> {
  const edited = fresh();
  const changes = await stage.change('Workflow', edited.metadata.name, edited);
  await stage.world.commit([edited, ...(await by(alice)(changes))], { files: files(edited) });
  await stage.settle();
  return stage.changeVerdict(edited);
}

describe('what was approved', () => {
  attack('unapproved v2 laundered through an approved v3', {
    rules: ['T15'], expects: 'ChangeRefused',
    attempt: async () => (await laundered()).v2, twin: async () => (await laundered()).v3,
  });
  attack('deletion that nobody approved', { rules: ['T15'], expects: 'ChangePending', attempt: () => deleted(false), twin: () => deleted(true) });
});

/** v2 lies on the branch; v3 is approved, from what is in force; then the branch holds v3. */
async function laundered(): Promise<{ v2: Verdict; v3: Verdict }> {
  const document = await inForce(fresh());
  const [two, three] = [again(document, 5), again(document, 6)];
  await stage.world.commit([two], {});
  await stage.settle();
  const changes = await stage.change('Workflow', document.metadata.name, three);
  await stage.world.commit(await by(alice)(changes), {});
  await stage.settle();
  const v2 = await stage.changeVerdict(two);
  await stage.world.commit([three], {});
  await stage.settle();
  return { v2, v3: await stage.changeVerdict(three) };
}

async function deleted(approved: boolean): Promise<Verdict> {
  const document = await inForce(fresh());
  const changes = await stage.change('Workflow', document.metadata.name, null);
  await stage.world.commit(approved ? await by(alice)(changes) : [], { deletes: [pathOf(document)] });
  await stage.settle();
  return { accepted: (await stage.inForce('Workflow', document.metadata.name)) === null, codes: await stage.reasons(), executed: [] };
}

describe('one’s own power', () => {
  /** carol, who has no say, changes something about herself and signs for it in every way. */
  const promoting = (document: () => AnyDocument, approver: () => SshKey) => async (): Promise<Verdict> => {
    const wanted = document();
    const changes = await stage.change(wanted.kind, wanted.metadata.name, wanted);
    const signer = approver();
    await stage.world.commit([wanted, (await stage.changeApproval(signer, changes)) as never], { by: signer, message: `Me\n\nStella-Change: ${changeDigest(stage.world.pin, changes)}` });
    await stage.settle();
    return stage.changeVerdict(wanted);
  };
  const carol = (): SshKey => people().carol;
  const withRoles = (...roles: readonly string[]) => (): AnyDocument => personOf('carol', [carol()], ['sre', ...roles]) as unknown as AnyDocument;
  const withKey = (name: string) => (): AnyDocument => personOf(name, [keys.eve], ['admin']) as unknown as AnyDocument;
  attack('own role added in the same pull request', { rules: ['T14', 'T15'], expects: 'ChangeRefused', attempt: promoting(withRoles('admin'), carol), twin: promoting(withRoles('dev'), alice) });
  attack('own key added in the same pull request', { rules: ['T14', 'T15'], expects: 'ChangeRefused', attempt: promoting(withKey('eve'), () => keys.eve), twin: promoting(withKey('eve'), alice) });
  attack('threshold lowered in the same pull request', {
    rules: ['T14', 'T15'], expects: 'ChangeRefused',
    attempt: promoting(() => doc('Environment', 'prod', { order: 2, from: [{ environment: 'dev' }] }) as unknown as AnyDocument, carol),
    twin: promoting(() => doc('Environment', 'prod', { order: 2, from: [{ environment: 'dev' }], approvals: { people: 1, roles: [{ role: 'sre', count: 1 }] }, allowSeconds: 60 }) as unknown as AnyDocument, alice),
  });
  attack('new environment on production’s targets', { rules: ['T17'], expects: 'PlanInvalid', attempt: () => sandboxed('sandbox'), twin: () => sandboxed('dev') });
  attack('component repointed', { rules: ['T14', 'T15'], expects: 'ChangePending', attempt: () => repointed('evil/api'), twin: () => repointed('shop/api') });
});

/** An environment without approvals, which is easily had, runs what it likes. On whose targets? */
async function sandboxed(environment: string): Promise<Verdict> {
  if (environment !== 'dev') await inForce(doc('Environment', environment, { order: 9 }) as unknown as AnyDocument);
  const release = `7.${(made += 1)}`;
  stage.world.registry.put(`shop/api:${release}`, 'seven');
  await stage.world.commit([releaseOf(release), doc('Promotion', `${environment}/shop`, { release }) as never], { by: alice() });
  await stage.settle();
  return stage.verdict(environment, release);
}

/** The release is locked while somebody has pointed the component elsewhere. Accepted: it runs what the branch says. */
async function repointed(repository: string): Promise<Verdict> {
  const release = `8.${(made += 1)}`;
  stage.world.registry.put(`shop/api:${release}`, 'genuine');
  const wanted = stage.world.registry.put(`${repository}:${release}`, repository);
  await stage.world.commit([doc('Component', 'api', { repository, registry: 'images' }) as never, releaseOf(release)], { by: people().carol });
  await stage.settle();
  const locked = (await stage.world.state()).locks.get(`shop/${release}`)?.lock.components[0];
  return { accepted: locked?.digest === wanted && locked.repository === repository, codes: await stage.reasons(), executed: [] };
}

describe('configuration that contradicts itself', () => {
  /** A document that two admins approve. */
  const written = (document: () => AnyDocument) => (): Promise<Verdict> => propose(document(), by(alice, bob));
  const environment = (approvals: object, name = `e-${(made += 1)}`): AnyDocument => doc('Environment', name, { order: 100 + made, approvals } as never) as unknown as AnyDocument;
  const person = (name: string, key: () => SshKey): AnyDocument => personOf(name, [key()], ['dev']) as unknown as AnyDocument;
  const spare = (): SshKey => keys.eve;
  attack('threshold of zero', { rules: ['T10'], expects: 'InvalidValue', attempt: written(() => environment({ people: 0 })), twin: written(() => environment({ people: 1, roles: [{ role: 'sre', count: 1 }] })) });
  attack('threshold above the number of people', { rules: ['T10'], expects: 'ChangeRefused', attempt: written(() => environment({ people: 99 })), twin: written(() => environment({ people: 1 })) });
  attack('environment that asks for a witness, which nothing checks yet', {
    rules: ['T12', 'T29'], expects: 'UnsupportedField', attempt: written(() => doc('Environment', `e-${(made += 1)}`, { order: 100 + made, maxStale: '1h' } as never) as unknown as AnyDocument), twin: written(() => environment({ people: 1 })),
  });
  attack('rule for rollbacks where nobody approves anything', {
    rules: ['T12', 'T28'], expects: 'ChangeRefused',
    attempt: written(() => doc('Environment', `e-${(made += 1)}`, { order: 100 + made, rollback: { people: 1, withinSeconds: 60 } }) as unknown as AnyDocument),
    twin: written(() => doc('Environment', `e-${(made += 1)}`, { order: 100 + made, approvals: { people: 1 }, rollback: { people: 1, withinSeconds: 60 } }) as unknown as AnyDocument),
  });
  attack('role that nobody holds', { rules: ['T10'], expects: 'ChangeRefused', attempt: written(() => environment({ people: 1, roles: [{ role: 'astronaut', count: 1 }] })), twin: written(() => environment({ people: 1, roles: [{ role: 'sre', count: 1 }] })) });
  attack('one key under two principals', { rules: ['T10', 'T8'], expects: 'ChangeRefused', attempt: written(() => person('mole', () => people().alice)), twin: written(() => personOf('eve', [spare()], ['admin', 'dev']) as unknown as AnyDocument) });
  attack('component of two applications', {
    rules: ['T17'], expects: 'ChangeRefused',
    attempt: written(() => doc('Application', 'copy', { components: ['api'], deployment: { type: 'directory' } }) as unknown as AnyDocument), twin: written(() => doc('Application', 'copy', { components: ['web'], deployment: { type: 'directory' } }) as unknown as AnyDocument),
  });
  attack('confusable name', { rules: ['T32'], expects: 'InvalidName', attempt: written(() => person('b\u043eb', spare)), twin: written(() => fresh()) });
  attack('differently normalised name', { rules: ['T32'], expects: 'InvalidName', attempt: written(() => person('zoe\u0308', spare)), twin: written(() => fresh()) });
  attack('name that differs in case alone', { rules: ['T32'], expects: 'InvalidName', attempt: written(() => person('Bob', spare)), twin: written(() => fresh()) });
});

describe('what is in force', () => {
  attack('change approved for what was in force before', { rules: ['T14', 'T15'], expects: 'ChangePending', attempt: () => overtaken(false), twin: () => overtaken(true) });
});

/** An approval of v1 → v3 waits while v2 comes into force; then the branch holds v3. */
async function overtaken(approvedAgain: boolean): Promise<Verdict> {
  const document = await inForce(fresh());
  const three = again(document, 3);
  const approval = await by(alice)(await stage.change('Workflow', document.metadata.name, three));
  await inForce(again(document, 2));
  const found = await propose(three, approvedAgain ? by(alice) : async () => approval);
  if (documentDigest(three) === documentDigest(document)) throw new Error('v3 is v1');
  return found;
}
