import { afterAll, beforeAll, beforeEach, describe } from 'vitest';
import { generateKeyPairSync } from 'node:crypto';
import { rm } from 'node:fs/promises';
import type { AnyDocument, DocumentOf } from '../../src/core/model/documents.ts';
import { digestOfBytes } from '../../src/core/model/digest.ts';
import { requireComponent } from '../fakes/components.ts';
import { createSshKey, createTemporaryFolder, type SshKey } from '../fakes/git-repository.ts';
import { doc } from '../fakes/world.ts';
import { attack, survives, type Verdict } from './attack.ts';
import { personOf, releaseOf, Stage } from './attacks-fixture.ts';
import { Desk, putInForce, targetOf } from './promotion-desk.ts';

/** Approvals that must not count. prod takes one sre, stage takes two. */

const NAMES = ['dave-1', 'dave-2', 'bot', 'forge', 'mallory', 'scoped', 'elsewhere', 'expired', 'early', 'stranger', 'thief'] as const;

let folder: string;
let stage: Stage;
let keys: Readonly<Record<(typeof NAMES)[number], SshKey>>;
beforeEach((ctx) => requireComponent('ssh-keygen', ctx));
beforeAll(async () => {
  folder = await createTemporaryFolder();
  keys = Object.fromEntries(await Promise.all(NAMES.map(async (name) => [name, await createSshKey(folder, name)] as const))) as typeof keys;
  const sre = (count: number): object => ({ approvals: { people: count, roles: [{ role: 'sre', count }] } });
  const withKey = (name: string, key: SshKey, more: object): AnyDocument => personOf(name, [], ['sre'], { keys: [{ key: key.publicKey, status: 'active', ...more }] }) as unknown as AnyDocument;
  const identityKey = generateKeyPairSync('ec', { namedCurve: 'P-256' }).publicKey.export({ format: 'pem', type: 'spki' }).toString();
  stage = await Stage.open({
    documents: [
      personOf('dave', [keys['dave-1'], keys['dave-2']], ['sre']), personOf('mallory', [keys.mallory], []),
      personOf('bot', [keys.bot], ['sre'], { type: 'service' }), personOf('forge', [keys.forge], ['sre'], { type: 'service' }),
      personOf('scoped', [keys.scoped], [], { roles: [{ role: 'sre', environments: ['dev'] }] }), personOf('elsewhere', [keys.elsewhere], [], { roles: [{ role: 'sre', applications: ['other'] }] }),
      withKey('expired', keys.expired, { notAfter: '2026-10-01T00:00:00Z' }), withKey('early', keys.early, { notBefore: '2026-12-01T00:00:00Z' }),
      withKey('thief', keys.thief, { status: 'compromised', since: '2026-10-01T00:00:00Z' }),
      doc('Environment', 'prod', { order: 2, ...sre(1) }), doc('Environment', 'stage', { order: 3, ...sre(2) }), targetOf('stage-1', 'stage'),
      doc('Component', 'web', { repository: 'shop/web', registry: 'images' }), doc('Application', 'web', { components: ['web'], deployment: { type: 'compose', compose: 'web/compose.yaml' } }),
      doc('Agent', 'dock', { identityKey, owner: 'bob', capabilities: ['compose_host'] }),
      doc('Target', 'web-1', { type: 'compose_host', agent: 'dock', environments: ['prod'], applications: ['web'], connection: { folder: '/srv/web' } }),
    ] as readonly AnyDocument[],
  });
});
afterAll(async () => {
  await stage.close();
  await rm(folder, { recursive: true, force: true });
});

const asked = (environment?: string, by?: SshKey): Promise<Desk> => Desk.asked(stage, environment, by);
const byBob = async (): Promise<Verdict> => (await asked()).approvedBy(stage.world.people.bob);
const by = (name: (typeof NAMES)[number]) => async (): Promise<Verdict> => (await asked()).approvedBy(keys[name]);

describe('whose approval it is', () => {
  attack('unsigned approval', {
    rules: ['T8', 'T12'], expects: 'ApprovalsMissing', twin: byBob,
    attempt: async () => {
      const desk = await asked();
      const { signatures: _, ...unsigned } = await desk.approval(stage.world.people.bob);
      return desk.hand(unsigned as AnyDocument);
    },
  });
  attack('unknown key', { rules: ['T8'], expects: 'ApprovalsMissing', attempt: by('stranger'), twin: byBob });
  attack('role missing', { rules: ['T21'], expects: 'RoleMissing', attempt: by('mallory'), twin: byBob });
  attack('role missing for this environment', { rules: ['T21'], expects: 'RoleMissing', attempt: by('scoped'), twin: byBob });
  attack('role missing for this application', { rules: ['T21'], expects: 'RoleMissing', attempt: by('elsewhere'), twin: byBob });
  attack('self-approval', {
    rules: ['T19'], expects: 'Requester',
    attempt: async () => (await asked('prod', keys['dave-1'])).approvedBy(keys['dave-1']),
    twin: async () => (await asked('prod', keys['dave-1'])).approvedBy(stage.world.people.bob),
  });
  attack('self-approval with a second key', {
    rules: ['T19', 'T8'], expects: 'Requester',
    attempt: async () => (await asked('prod', keys['dave-1'])).approvedBy(keys['dave-2']),
    twin: async () => (await asked('prod', keys['dave-1'])).approvedBy(stage.world.people.carol),
  });
  attack('one person with two keys counted twice', {
    rules: ['T21'], expects: 'ApprovalsMissing',
    attempt: async () => (await asked('stage')).approvedBy(keys['dave-1'], keys['dave-2']),
    twin: async () => (await asked('stage')).approvedBy(keys['dave-1'], stage.world.people.carol),
  });
  attack('one document with the signatures of both keys of a person counted twice', {
    rules: ['T7', 'T21'], expects: 'Duplicate',
    attempt: async () => {
      const desk = await asked('stage');
      return desk.hand(await countersigned(desk, keys['dave-1'], keys['dave-2']));
    },
    twin: async () => {
      const desk = await asked('stage');
      return desk.hand(await countersigned(desk, keys['dave-1'], stage.world.people.carol));
    },
  });
  attack('bot key as a person', { rules: ['T11'], expects: 'NotAPerson', attempt: by('bot'), twin: byBob });
  attack('forge key as a person', { rules: ['T11'], expects: 'NotAPerson', attempt: by('forge'), twin: byBob });
  attack('reconciler key as a person', {
    rules: ['T11', 'T29'], expects: 'ApprovalsMissing', twin: byBob, attempt: async () => (await asked()).approvedBy(stage.world.keys.commits),
  });
  attack('forge-signed squash as approval', {
    rules: ['T11', 'T8'], expects: 'ApprovalsMissing',
    attempt: () => squashed((approval) => ({ ...approval, signatures: [] })),
    twin: () => squashed((approval) => approval),
  });
  survives('rebase and squash of an approval with its embedded signature', {
    rules: ['T1', 'T7'], expects: 'ApprovalsMissing',
    genuine: () => squashed((approval) => approval),
    forged: () => squashed((approval) => ({ ...approval, metadata: { name: 'renamed' } }) as AnyDocument),
  });
});

/** Both sign the same bytes. */
async function countersigned(desk: Desk, first: SshKey, second: SshKey): Promise<AnyDocument> {
  const nonce = digestOfBytes(desk.release).slice(-32);
  const one = { ...(await desk.approval(first, { nonce })), metadata: { name: `both-${nonce.slice(0, 8)}` } };
  return (await stage.signedApproval(one, [first, second])) as unknown as AnyDocument;
}

/** The approval lies in a commit of a branch, and a forge squashes that to the target branch and signs with its own key. */
async function squashed(change: (approval: AnyDocument) => AnyDocument): Promise<Verdict> {
  const desk = await asked();
  const { repository } = stage.world;
  const branch = `approve-${desk.release}`;
  const approval = change((await desk.approval(stage.world.people.bob)) as unknown as AnyDocument);
  await repository.setBranch(branch, (await repository.tip('main'))!);
  const from = await stage.world.commit([approval], { branch, by: stage.world.people.bob });
  await repository.squash({ from, sshKey: keys.forge, message: `Approve (#1)\n\nStella-Approval: ${digestOfBytes('x')}` });
  await stage.settle();
  return desk.verdict();
}

describe('when the key was good', () => {
  attack('key expired at observation', { rules: ['T9'], expects: 'KeyExpired', attempt: by('expired'), twin: byBob });
  attack('key not yet valid', { rules: ['T9'], expects: 'KeyNotYetValid', attempt: by('early'), twin: byBob });
  attack('key compromised before the decision', { rules: ['T9'], expects: 'KeyCompromised', attempt: by('thief'), twin: byBob });
  attack('approval expired', {
    rules: ['T23'], expects: 'Expired',
    attempt: async () => { const desk = await asked(); return desk.hand(await desk.approval(stage.world.people.bob, { expires: '2026-10-01T00:00:00Z' })); },
    twin: async () => { const desk = await asked(); return desk.hand(await desk.approval(stage.world.people.bob, { expires: '2027-10-01T00:00:00Z' })); },
  });
});

describe('an approval replayed', () => {
  const replayed = (to: (desk: Desk) => Promise<object> | object) => async (): Promise<Verdict> => {
    const desk = await asked();
    return desk.hand(await desk.approval(stage.world.people.bob, await to(desk)));
  };
  const here = replayed(async (desk) => ({ digest: await desk.digestWith({}) }));
  attack('approval replayed to another promotion', {
    rules: ['T22'], expects: 'OtherDigest', twin: here,
    attempt: async () => {
      const approval = await (await asked()).approval(stage.world.people.bob);
      return (await asked()).hand(approval);
    },
  });
  attack('approval replayed to another environment', { rules: ['T22'], expects: 'OtherDigest', twin: here, attempt: replayed(async (desk) => ({ digest: await desk.digestWith({ environment: 'stage' }) })) });
  attack('approval replayed to another application', { rules: ['T22'], expects: 'OtherDigest', twin: here, attempt: replayed(async (desk) => ({ digest: await desk.digestWith({ application: 'other' }) })) });
  attack('approval replayed to another tenant', { rules: ['T22'], expects: 'OtherDigest', twin: here, attempt: replayed(async (desk) => ({ digest: await desk.digestWith({ tenant: 'other' }) })) });
  attack('approval replayed to another log', { rules: ['T22', 'T13'], expects: 'OtherDigest', twin: here, attempt: replayed(async (desk) => ({ digest: await desk.digestWith({ logId: digestOfBytes('fork') }) })) });
  attack('approval that says another environment than its digest', { rules: ['T22'], expects: 'ApprovalsMissing', twin: here, attempt: replayed(() => ({ environment: 'dev' })) });
  attack('approval that says another application than its digest', { rules: ['T22'], expects: 'ApprovalsMissing', twin: here, attempt: replayed((desk) => ({ application: 'other', digest: desk.stage.digest('prod') })) });
  attack('approval of another type over the digest of a promotion', { rules: ['T22'], expects: 'ApprovalsMissing', twin: here, attempt: replayed(() => ({ type: 'change' })) });
  attack('approval replayed after a rollback to the same content', {
    rules: ['T22'], expects: 'ApprovalsMissing',
    attempt: () => returned(async (desk, approval) => ({ ...approval, metadata: { name: `again-${desk.release}` } })),
    twin: () => returned((desk) => desk.approval(stage.world.people.bob)),
  });
  attack('state moved', {
    rules: ['T22', 'T23'], expects: 'OtherDigest',
    attempt: async () => {
      const desk = await asked();
      const approval = await desk.approval(stage.world.people.bob);
      await (await asked()).approvedBy(stage.world.people.carol);
      await desk.ask(stage.world.people.alice, [], 2);
      return desk.hand(approval);
    },
    twin: async () => {
      const desk = await asked();
      const approval = await desk.approval(stage.world.people.bob);
      await asked();
      await desk.ask(stage.world.people.alice, [], 2);
      return desk.hand(approval);
    },
  });
  attack('approval replayed after deletion and recreation', {
    rules: ['T22'], expects: 'ApprovalsMissing',
    attempt: () => recreated(async (approval) => approval),
    twin: () => recreated((_, desk) => desk.approval(stage.world.people.bob)),
  });
});

type Approved = Awaited<ReturnType<Desk['approval']>>;

/** Approved and deployed; something else; then the first again. @param then which approval is handed in for it */
async function returned(then: (desk: Desk, approval: Approved) => Promise<AnyDocument>): Promise<Verdict> {
  const { alice, bob } = stage.world.people;
  const desk = await asked();
  const approval = await desk.approval(bob);
  await desk.hand(approval as unknown as AnyDocument);
  await (await asked()).approvedBy(bob);
  const before = stage.executed('prod', desk.release).length;
  await desk.ask(alice, [], 2);
  const { executed, ...verdict } = await desk.hand(await then(desk, approval));
  return { ...verdict, executed: executed.slice(before) };
}

/** Approved and deployed, taken away, and asked for again. */
async function recreated(then: (approval: AnyDocument, desk: Desk) => Promise<AnyDocument>): Promise<Verdict> {
  const { alice, bob } = stage.world.people;
  const desk = await asked();
  const approval = (await desk.approval(bob)) as unknown as AnyDocument;
  await desk.hand(approval);
  await stage.world.commit([doc('Promotion', 'prod/shop', { state: 'absent' }) as never], { by: alice });
  await stage.settle();
  await stage.world.commit([await stage.promotionApproval(bob, 'prod')], {});
  await stage.settle();
  if ((await stage.app('prod')).release !== null) throw new Error('the application was not removed');
  const before = stage.executed('prod', desk.release).length;
  await desk.ask(alice, [], 2);
  const { executed, ...verdict } = await desk.hand(await then(approval, desk));
  return { ...verdict, executed: executed.slice(before) };
}

describe('after the approval', () => {
  const configuration = (spec: object): AnyDocument => doc('Configuration', 'prod/shop', spec) as unknown as AnyDocument;
  /** Approves what is asked, changes something, hands the approval in; the twin approves again, having seen the change. */
  const edited = (change: (desk: Desk) => Promise<unknown>) => {
    const play = async (again: boolean): Promise<Verdict> => {
      const desk = await asked();
      const before = await desk.approval(stage.world.people.bob);
      await change(desk);
      await stage.settle();
      return desk.hand(again ? await desk.approval(stage.world.people.bob) : before);
    };
    return { attempt: () => play(false), twin: () => play(true) };
  };
  const commit = (documents: readonly AnyDocument[], files: Record<string, string> = {}): Promise<unknown> => stage.world.commit(documents, { by: stage.world.people.alice, files });

  attack('variable edited after approval', { rules: ['T14', 'T22'], expects: 'OtherDigest', ...edited((desk) => commit([configuration({ variables: { LEVEL: desk.release } })])) });
  attack('secret reference edited after approval', { rules: ['T14', 'T18'], expects: 'OtherDigest', ...edited((desk) => commit([configuration({ secrets: { TOKEN: { ref: `env:OTHER_${desk.release.replace('.', '_')}` } } })])) });
  attack('script edited after approval', {
    rules: ['T14', 'T15'], expects: 'OtherDigest', ...edited((desk) => commit([configuration({ override: 'shop/run.sh' })], { 'shop/run.sh': `#!/bin/sh\necho ${desk.release}\n` })),
  });
  attack('compose file edited after approval', { rules: ['T14', 'T15'], expects: 'OtherDigest', attempt: () => composed(false), twin: () => composed(true) });
  attack('release edited after approval', { rules: ['T22'], expects: 'ReleaseChanged', attempt: () => rereleased(true), twin: () => rereleased(false) });
  attack('target edited after approval', {
    rules: ['T14', 'T17'], expects: 'OtherDigest', ...edited((desk) => putInForce(stage, targetOf('prod-1', 'prod', `/srv/${desk.release}`) as unknown as AnyDocument)),
  });
  attack('workflow edited after approval', {
    rules: ['T14'], expects: 'OtherDigest',
    ...edited(async (desk) => {
      await putInForce(stage, doc('Workflow', `w-${desk.release}`, { steps: [{ name: 'deploy', type: 'deploy' }] }) as unknown as AnyDocument);
      await putInForce(stage, doc('Application', 'shop', { components: ['api'], deployment: { type: 'directory' }, workflow: `w-${desk.release}` }) as unknown as AnyDocument);
    }),
  });
  attack('rules changed after approval', {
    rules: ['T17', 'T14'], expects: 'OtherDigest',
    ...edited(async () => {
      const before = (await stage.world.state()).inForce.get('Environment/prod' as never)?.document as DocumentOf<'Environment'> | undefined;
      const unknownRequester = before?.spec.approvals?.unknownRequester === 'one-more' ? 'deny' : 'one-more';
      await putInForce(stage, doc('Environment', 'prod', { order: 2, approvals: { people: 1, roles: [{ role: 'sre', count: 1 }], unknownRequester } }) as unknown as AnyDocument);
    }),
  });
});

/** Approved, and handed in when the Release of that name asks for another image, or for the same with another word to its readers. Accepted: what it says now is what runs. */
async function rereleased(otherImage: boolean): Promise<Verdict> {
  const desk = await asked();
  const approval = await desk.approval(stage.world.people.bob);
  const image = stage.world.registry.put(`shop/api:evil-${desk.release}`, `evil ${desk.release}`);
  const edited = otherImage ? releaseOf(desk.release, `evil-${desk.release}`) : doc('Release', `shop/${desk.release}`, { components: { api: { tag: desk.release } }, displayName: 'Spring' });
  await stage.world.commit([edited], { by: stage.world.people.alice });
  await stage.settle();
  const codes = await stage.reasons();
  const found = await desk.hand(approval);
  const isEvil = (await stage.world.state()).locks.get(`shop/${desk.release}`)?.lock.components[0]?.digest === image;
  return otherImage ? { accepted: isEvil, codes, executed: isEvil ? found.executed : [] } : found;
}

const COMPOSE = (command: string): string => `services:\n  web:\n    image: shop/web\n    command: ${command}\n`;

/** As above, for an application that is deployed by Compose: its override for prod is a Compose file too. */
async function composed(again: boolean): Promise<Verdict> {
  const { alice, bob } = stage.world.people;
  const release = `${stage.world.registry.tags.size + 1}.0`;
  stage.world.registry.put(`shop/web:${release}`, `web ${release}`);
  const configuration = doc('Configuration', 'prod/web', { override: 'web/prod.yaml' });
  const documents = [doc('Release', `web/${release}`, { components: { web: { tag: release } } }), doc('Promotion', 'prod/web', { release }), configuration] as never;
  await stage.world.commit(documents, { by: alice, files: { 'web/compose.yaml': COMPOSE('serve'), 'web/prod.yaml': COMPOSE('serve --quiet') } });
  await stage.settle();
  const before = await stage.promotionApproval(bob, 'prod', { application: 'web' });
  await stage.world.commit([], { by: alice, files: { 'web/prod.yaml': COMPOSE('serve --evil') } });
  await stage.settle();
  await stage.world.commit([again ? await stage.promotionApproval(bob, 'prod', { application: 'web' }) : before] as never, {});
  await stage.settle();
  return stage.verdict('prod', release, 'web');
}

describe('a no', () => {
  attack('approval beside the rejection of somebody with the role', {
    rules: ['T21', 'T24'], expects: 'ApprovalsRejected',
    attempt: async () => { const desk = await asked(); return desk.hand(await desk.approval(stage.world.people.bob), await desk.approval(stage.world.people.carol, { action: 'reject' })); },
    twin: async () => { const desk = await asked(); return desk.hand(await desk.approval(stage.world.people.bob), await desk.approval(keys.mallory, { action: 'reject' })); },
  });
  attack('failed promotion tried again without a new attempt', {
    rules: ['T22'], expects: 'Closed', attempt: () => failed(false), twin: () => failed(true),
  });
});

/** Approved, failed on the targets, and approved again. */
async function failed(newAttempt: boolean): Promise<Verdict> {
  const { bob, carol, alice } = stage.world.people;
  const desk = await asked();
  stage.world.executor.answer = 'Failed';
  await desk.approvedBy(bob);
  stage.world.executor.answer = 'Succeeded';
  const before = stage.executed('prod', desk.release).length;
  if (newAttempt) await desk.ask(alice, [], 2);
  const { executed, ...verdict } = await desk.approvedBy(carol);
  return { ...verdict, executed: executed.slice(before) };
}
