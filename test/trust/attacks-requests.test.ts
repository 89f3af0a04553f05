import { afterAll, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import { rm } from 'node:fs/promises';
import { canonicalBytes } from '../../src/core/model/canonical-json.ts';
import { digestOf, digestOfBytes, type Digest, type Preimage } from '../../src/core/model/digest.ts';
import type { AnyDocument, DocumentOf, SpecOf } from '../../src/core/model/documents.ts';
import { lockOf, preimageDigest, releaseSpecDigest, snapshotOf, type PromotionPreimage } from '../../src/core/model/preimages.ts';
import { clausesFor } from '../../src/core/decision/clauses.ts';
import { inForceOf, rootOf } from '../../src/core/evidence/log-state.ts';
import { makePlan } from '../../src/core/release/plan.ts';
import { createSshKey, createTemporaryFolder, type SshKey } from '../fakes/git-repository.ts';
import { doc, yamlOf } from '../fakes/world.ts';
import { personOf, releaseOf, Stage } from './attacks-fixture.ts';

/** Attacks on approvals and on who counts as a requester. prod takes one sre; stage takes two; nobody is asked in dev. */

let folder: string;
let stage: Stage;
let dave: readonly [SshKey, SshKey];
let bot: SshKey;
let scoped: SshKey;
let mallory: SshKey;
let expiring: SshKey;
let version = 1;

beforeAll(async () => {
  folder = await createTemporaryFolder();
  const [d1, d2, b, s, m, e] = await Promise.all(['d1', 'd2', 'bot', 'scoped', 'mallory', 'expiring'].map((name) => createSshKey(folder, name)));
  dave = [d1!, d2!];
  bot = b!;
  scoped = s!;
  mallory = m!;
  expiring = e!;
  const target = (name: string, environment: string): DocumentOf<'Target'> =>
    doc('Target', name, { type: 'directory_host', agent: 'host', environments: [environment], applications: ['shop'], connection: { root: `/srv/${environment}` } });
  stage = await Stage.open({
    documents: [
      personOf('dave', dave, ['sre']), personOf('bot', [bot], ['sre'], { type: 'service' }), personOf('mallory', [mallory], []),
      personOf('scoped', [scoped], [], { roles: [{ role: 'sre', environments: ['dev'] }] }),
      personOf('expiring', [], ['sre'], { keys: [{ key: expiring.publicKey, status: 'active', notAfter: '2026-10-01T00:00:00Z' }] }),
      doc('Environment', 'prod', { order: 2, approvals: { people: 1, roles: [{ role: 'sre', count: 1 }] } }),
      doc('Environment', 'stage', { order: 3, approvals: { people: 2, roles: [{ role: 'sre', count: 2 }] } }), target('stage-1', 'stage'),
    ] as readonly AnyDocument[],
  });
});
afterAll(async () => {
  await stage.close();
  await rm(folder, { recursive: true, force: true });
});

let release: string;
/** Each attack has a release of its own. */
beforeEach(() => {
  release = `${(version += 1)}.0`;
  stage.world.registry.put(`shop/api:${release}`, `genuine ${release}`);
});

/** Locks the release and asks for it, signed by `by` and with their intent. */
async function ask(environment: string, by: SshKey = stage.world.people.alice, more: readonly AnyDocument[] = []): Promise<void> {
  await stage.world.commit([releaseOf(release)], { by });
  await stage.settle();
  await stage.world.commit([await stage.world.promotion(environment, release, { by }), ...more], { by });
  await stage.settle();
  expect(stage.decision(environment)).toMatchObject({ outcome: 'pending', reasons: ['ApprovalsMissing'] });
}

async function approve(environment: string, by: SshKey, more: Partial<SpecOf['Approval']> = {}): Promise<void> {
  await stage.world.commit([await stage.promotionApproval(by, environment, more)], {});
  await stage.settle();
}

const runs = async (environment: string): Promise<string | null> => (await stage.app(environment)).release;

describe('an approval', () => {
  it('by the requester with a second key does not count; by another person it does', async () => {
    await ask('prod', dave[0]);
    await approve('prod', dave[1]);
    expect(stage.decision('prod')).toMatchObject({ outcome: 'pending', reasons: ['ApprovalsMissing'] });
    expect(await runs('prod')).not.toBe(release);
    await approve('prod', stage.world.people.bob);
    expect(await runs('prod')).toBe(release);
  });

  it('by one person with two keys counts once; of two people twice', async () => {
    await ask('stage');
    await approve('stage', dave[0]);
    await approve('stage', dave[1]);
    expect(stage.decision('stage')).toMatchObject({ outcome: 'pending', reasons: ['ApprovalsMissing'] });
    await approve('stage', stage.world.people.carol);
    expect(await runs('stage')).toBe(release);
  });

  it.each<[string, () => SshKey]>([
    ['a service', () => bot], ['somebody without the role', () => mallory], ['somebody with the role elsewhere', () => scoped], ['a key that had expired when it was seen', () => expiring],
    ['the server', () => stage.world.keys.commits], ['a stranger', () => ({ ...mallory, ...stage.world.keys.commits })],
  ])('by %s does not count', async (_, key) => {
    await ask('prod');
    await approve('prod', key());
    expect(stage.decision('prod')).toMatchObject({ outcome: 'pending', reasons: ['ApprovalsMissing'] });
    expect(await runs('prod')).not.toBe(release);
    await approve('prod', stage.world.people.carol);
    expect(await runs('prod')).toBe(release);
  });

  it('that has expired does not count, nor one that was for another environment, application or log', async () => {
    const { bob } = stage.world.people;
    await ask('prod');
    await approve('prod', bob, { expires: '2026-10-01T00:00:00Z' });
    await approve('prod', bob, { digest: stage.digest('stage') });
    await approve('prod', bob, { environment: 'dev' });
    await approve('prod', bob, { application: 'bar' });
    expect(stage.decision('prod')).toMatchObject({ outcome: 'pending', reasons: ['ApprovalsMissing'] });
    expect(await runs('prod')).not.toBe(release);
    await approve('prod', bob, { expires: '2027-10-01T00:00:00Z' });
    expect(await runs('prod')).toBe(release);
  });

  it('does not come back with the content that it approved: after a rollback the state is another one', async () => {
    const { alice, bob } = stage.world.people;
    await ask('prod');
    const approval = await stage.promotionApproval(bob, 'prod');
    await stage.world.commit([approval], {});
    await stage.settle();
    const first = release;
    release = `${(version += 1)}.0`;
    stage.world.registry.put(`shop/api:${release}`, `genuine ${release}`);
    await ask('prod');
    await approve('prod', bob);
    expect(await runs('prod')).toBe(release);
    await stage.world.commit([await stage.world.promotion('prod', first, { by: alice, attempt: 2 }), { ...approval, metadata: { name: 'again' } }], { by: alice });
    await stage.settle();
    expect(stage.decision('prod')).toMatchObject({ outcome: 'pending', reasons: ['ApprovalsMissing'] });
    expect(await runs('prod')).toBe(release);
  });
});

describe('after an approval', () => {
  const edited = async (change: () => Promise<void>): Promise<void> => {
    await ask('prod');
    const approval = await stage.promotionApproval(stage.world.people.bob, 'prod');
    const before = stage.digest('prod');
    await change();
    await stage.world.commit([approval], {});
    await stage.settle();
    expect(stage.digest('prod')).not.toBe(before);
    expect(stage.decision('prod').outcome).toBe('pending');
    expect(await runs('prod')).not.toBe(release);
    await approve('prod', stage.world.people.bob);
    expect(await runs('prod')).toBe(release);
  };
  const inForce = async (document: AnyDocument): Promise<void> => {
    const changes = await stage.change(document.kind, document.metadata.name, document);
    await stage.world.commit([document, await stage.changeApproval(stage.world.people.alice, changes)], { by: stage.world.people.alice });
    await stage.settle();
    expect({ inForce: await stage.inForce(document.kind, document.metadata.name), why: await stage.policyMessage() }).toEqual({ inForce: changes[0]?.to, why: expect.anything() });
  };

  it('an edited variable or secret reference asks for another', async () => {
    const configuration = doc('Configuration', 'prod/shop', { variables: { LEVEL: release }, secrets: { TOKEN: { ref: 'env:OTHER' } } });
    await edited(async () => { await stage.world.commit([configuration], { by: stage.world.people.alice }); });
  });

  it('an edited target asks for another', async () => {
    const target = doc('Target', 'prod-1', { type: 'directory_host', agent: 'host', environments: ['prod'], applications: ['shop'], connection: { root: '/srv/elsewhere' } });
    await edited(() => inForce(target as unknown as AnyDocument));
  });

  it('an edited workflow asks for another', async () => {
    const workflow = doc('Workflow', 'rolling', { steps: [{ name: 'deploy', type: 'deploy', retry: { attempts: 3 } }] }) as unknown as AnyDocument;
    const application = doc('Application', 'shop', { components: ['api'], deployment: { type: 'directory' }, workflow: 'rolling' }) as unknown as AnyDocument;
    await edited(async () => {
      await inForce(workflow);
      await inForce(application);
    });
  });

  it('a rule that demands more asks for another', async () => {
    const tighter = doc('Environment', 'prod', { order: 2, approvals: { people: 1, roles: [{ role: 'sre', count: 1 }], unknownRequester: 'one-more' } });
    await edited(() => inForce(tighter as unknown as AnyDocument));
    await inForce(doc('Environment', 'prod', { order: 2, approvals: { people: 1, roles: [{ role: 'sre', count: 1 }] } }) as unknown as AnyDocument);
  });
});

describe('a lock', () => {
  /** The digest that promoting `release` with this image would have, as its author can compute it beforehand. */
  async function digestWith(environment: string, image: Digest): Promise<Digest> {
    const state = await stage.world.state();
    const application = inForceOf(state, 'Application', 'shop')!;
    const component = { name: 'api', repository: 'shop/api', registry: 'images', digest: image, tag: null };
    const lock = lockOf({ logId: state.logId, application: 'shop', release, components: [component], source: null, snapshot: snapshotOf(application.spec, []) });
    const entry = { lock, digest: preimageDigest(lock), releaseSpec: releaseSpecDigest(releaseOf(release)), seq: 0, lockedAt: '' };
    const configuration = environment === 'prod' ? doc('Configuration', 'prod/shop', { variables: {} }) : null;
    const plan = makePlan({ state: { ...state, locks: state.locks.set(`shop/${release}`, entry) }, environment, application: 'shop', operation: 'promote', lock, configuration, override: null, file: () => undefined, parseCompose: () => ({ ok: false, message: '' }) });
    if (!plan.ok) throw new Error(plan.detail);
    const app = await stage.app(environment);
    const preimage: PromotionPreimage = {
      type: 'stella/promotion/v1', logId: state.logId, tenant: state.tenant, environment, application: 'shop', generation: app.generation, replaces: app.lock, replacesRuns: app.runs, lock: entry.digest, plan: plan.planDigest,
      rules: clausesFor({ minimums: rootOf(state).spec.minimums, environment: inForceOf(state, 'Environment', environment)!, application, targets: plan.plan.targets.map((t) => t.name) }),
    };
    return digestOf(preimage as unknown as Preimage);
  }
  const EVIL = digestOfBytes('evil');
  const adopting = async (environment: string, by: readonly SshKey[], image: Digest, asker: SshKey = stage.world.people.alice): Promise<Digest | undefined> => {
    const digest = await digestWith(environment, image);
    const approvals = await Promise.all(by.map((key) => stage.world.approval(key, { type: 'promotion', environment, application: 'shop', release, components: { api: image }, digest })));
    const promotion = await stage.world.promotion(environment, release, { by: asker, releaseSpec: releaseSpecDigest(releaseOf(release)) });
    await stage.world.commit([releaseOf(release), promotion, ...approvals, ...(environment === 'prod' ? [doc('Configuration', 'prod/shop', { variables: {} })] : [])], { by: asker });
    await stage.settle();
    return (await stage.world.state()).locks.get(`shop/${release}`)?.lock.components[0]?.digest;
  };
  const genuine = (): Digest => stage.world.registry.tags.get(`shop/api:${release}`)!;

  it('does not take the digests that anybody names where nobody has to approve', async () => {
    expect(await adopting('dev', [mallory], EVIL)).toBe(genuine());
    expect(stage.executed('dev').at(-1)?.release).toBe(release);
  });

  it('does not take the digests of one where two have to approve; it takes those of two', async () => {
    expect(await adopting('stage', [stage.world.people.bob], EVIL)).toBe(genuine());
    expect(await runs('stage')).not.toBe(release);
    release = `${(version += 1)}.0`;
    stage.world.registry.put(`shop/api:${release}`, `genuine ${release}`);
    expect(await adopting('stage', [stage.world.people.bob, dave[0]], EVIL)).toBe(EVIL);
    expect(await runs('stage')).toBe(release);
  });

  it('does not take the digests of the requester', async () => {
    expect(await adopting('prod', [stage.world.people.bob], EVIL, stage.world.people.bob)).toBe(genuine());
    expect(await runs('prod')).not.toBe(release);
    release = `${(version += 1)}.0`;
    stage.world.registry.put(`shop/api:${release}`, `genuine ${release}`);
    expect(await adopting('prod', [stage.world.people.carol], EVIL)).toBe(EVIL);
    expect(await runs('prod')).toBe(release);
  });
});

describe('a requester', () => {
  it('is not replaced by the old signature of somebody else on a restored file', async () => {
    const { alice, bob } = stage.world.people;
    const other = release;
    await stage.world.commit([releaseOf(other)], { by: alice });
    release = `${(version += 1)}.0`;
    stage.world.registry.put(`shop/api:${release}`, `genuine ${release}`);
    await ask('prod', alice);
    const signed = await stage.world.promotion('prod', release, { by: alice });
    // Bob replaces it by an unsigned request, and restores Alice's file then.
    await stage.world.commit([doc('Promotion', 'prod/shop', { release: other })], {});
    await stage.settle();
    await stage.world.commit([signed], {});
    await stage.settle();
    await approve('prod', bob);
    expect(stage.decision('prod')).toMatchObject({ outcome: 'refuse', reasons: ['RequesterUnknown'] });
    expect(await runs('prod')).not.toBe(release);
    // Alice asks again: a new attempt has an intent of its own.
    await stage.world.commit([await stage.world.promotion('prod', release, { by: alice, attempt: 2 })], { by: alice });
    await stage.settle();
    expect(await runs('prod')).toBe(release);
  });

  it('is whoever made a merge that turns a link into the configuration, as of any evil merge', async () => {
    const { alice, bob, carol } = stage.world.people;
    const text = yamlOf(doc('Configuration', 'prod/shop', { variables: { LEVEL: 'evil' } }));
    const path = 'configurations/prod/shop.yaml';
    await stage.world.commit([], { deletes: [path] });
    await stage.world.repository.commit({ files: { [path]: { content: text, mode: '120000' } }, sshKey: alice });
    await ask('prod', alice);
    await approve('prod', carol);
    expect(await runs('prod')).toBe(release);
    release = `${(version += 1)}.0`;
    stage.world.registry.put(`shop/api:${release}`, `genuine ${release}`);
    await ask('prod', alice);
    const main = (await stage.world.repository.tip('main'))!;
    const side = await stage.world.repository.commit({ branch: 'side', parents: [main], files: { 'notes.txt': release } });
    await stage.world.repository.merge({ from: side, files: { [path]: { content: text, mode: '100644' } }, sshKey: bob });
    await stage.settle();
    await approve('prod', bob);
    expect(stage.decision('prod')).toMatchObject({ outcome: 'pending', reasons: ['ApprovalsMissing'] });
    expect(stage.decisions.get('prod')?.sources.commits.some(({ touched }) => touched.includes('configuration'))).toBe(true);
    expect(await runs('prod')).not.toBe(release);
    await approve('prod', carol);
    expect(await runs('prod')).toBe(release);
  });

  it('is whoever made an octopus merge that writes the configuration', async () => {
    const { alice, bob, carol } = stage.world.people;
    await ask('prod', alice);
    const main = (await stage.world.repository.tip('main'))!;
    const sides = await Promise.all(['a', 'b'].map((name) => stage.world.repository.commit({ branch: `side-${name}`, parents: [main], files: { [`notes-${name}.txt`]: release } })));
    const files = { 'configurations/prod/shop.yaml': yamlOf(doc('Configuration', 'prod/shop', { variables: { LEVEL: 'octopus' } })) };
    await stage.world.repository.commit({ parents: [main, ...sides], files, sshKey: bob });
    await stage.settle();
    await approve('prod', bob);
    expect(stage.decision('prod')).toMatchObject({ outcome: 'pending', reasons: ['ApprovalsMissing'] });
    await approve('prod', carol);
    expect(await runs('prod')).toBe(release);
  });
});

it('what was decided does not depend on the time zone or language of the judge', async () => {
  const before = canonicalBytes(stage.decisions.get('prod')!.decision as never);
  const { TZ, LANG } = process.env;
  try {
    process.env['TZ'] = 'Pacific/Kiritimati';
    process.env['LANG'] = 'tr_TR.UTF-8';
    await stage.restart();
    expect(canonicalBytes(stage.decisions.get('prod')!.decision as never)).toEqual(before);
    expect(await stage.settle()).toBe(0);
  } finally {
    if (TZ === undefined) delete process.env['TZ'];
    else process.env['TZ'] = TZ;
    if (LANG === undefined) delete process.env['LANG'];
    else process.env['LANG'] = LANG;
  }
});
