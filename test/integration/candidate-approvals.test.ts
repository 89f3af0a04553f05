import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import type { Digest } from '../../src/core/model/digest.ts';
import { documentDigest, type DocumentOf } from '../../src/core/model/documents.ts';
import { changeDigest } from '../../src/core/model/preimages.ts';
import { appStateOf, inForceOf } from '../../src/core/evidence/log-state.ts';
import { changeTo } from '../../src/core/trust/apply-change.ts';
import { createSshKey } from '../fakes/git-repository.ts';
import { doc, World } from '../fakes/world.ts';

let world: World;
let digest: Digest;
/** prod/shop is asked for and lacks an approval; the server harvests pull requests. */
beforeEach(async () => {
  world = await World.create({ idle: true, documents: [doc('Environment', 'prod', { order: 2, approvals: { people: 1, roles: [{ role: 'sre', count: 1 }] } })] });
  const digests: (Digest | null)[] = [];
  await world.reconciler({ candidateRefs: ['refs/pull/*/head'], onRecord: ({ record }) => { if (record.type === 'promotion-decision') digests.push(record.predicate.decision.promotionDigest); } });
  await world.settle();
  world.registry.put('shop/api:1.0', 'one');
  await world.commit([doc('Release', 'shop/1.0', { components: { api: { tag: '1.0' } } })], { by: world.people.alice });
  await world.settle();
  await world.commit([await world.promotion('prod', '1.0', { by: world.people.alice })], { by: world.people.alice });
  await world.settle();
  digest = digests.at(-1)!;
});
afterEach(() => world.close());

const approval = (): Promise<DocumentOf<'Approval'>> => world.approval(world.people.bob, { type: 'promotion', digest, environment: 'prod', application: 'shop' });
const running = async (): Promise<string | null> => appStateOf(await world.state(), 'prod', 'shop').release;

/** What a forge makes of a branch: a ref that nobody pushes to. */
async function pull(number: number, id: string): Promise<void> {
  await world.repository.git(['update-ref', `refs/pull/${number}/head`, id]);
}

describe('approvals on candidate refs', () => {
  it('count before the merge, and the ref stays', async () => {
    const commit = await world.commit([await approval()], { branch: 'topic', by: world.people.bob });
    await world.settle();
    expect(await running()).toBeNull();
    await world.repository.setBranch('topic', (await world.repository.tip())!);
    await pull(7, commit);
    // A branch of nothing in common is no candidate.
    await world.settle();
    expect(await running()).toBeNull();
    await pull(8, await world.repository.commit({ branch: 'topic', files: { 'approvals/bob.yaml': await yaml(await approval()) } }));
    await world.settle();
    expect(await running()).toBe('1.0');
    expect(await world.repository.git(['rev-parse', '--verify', '--quiet', 'refs/pull/8/head'])).not.toBe('');
  });

  it('count by the signed commit that names them', async () => {
    const { signatures: _, ...unsigned } = await approval();
    await world.repository.setBranch('topic', (await world.repository.tip())!);
    await world.repository.commit({ branch: 'topic', files: { 'approvals/bob.yaml': await yaml(unsigned) } });
    await pull(3, await world.repository.commit({ branch: 'topic', message: `Approve\n\nStella-Approval: ${documentDigest(unsigned)}`, sshKey: world.people.bob }));
    await world.settle();
    expect(await running()).toBe('1.0');
  });

  it('are all that is acted on', async () => {
    const environment = doc('Environment', 'qa', { order: 9 });
    const changes = [changeTo(await world.state(), 'Environment', 'qa', documentDigest(environment))];
    const yes = await world.approval(world.people.bob, { type: 'change', digest: changeDigest(world.pin, changes), changes });
    await world.repository.setBranch('topic', (await world.repository.tip())!);
    await pull(4, await world.repository.commit({
      branch: 'topic', message: `Add qa\n\nStella-Change: ${changeDigest(world.pin, changes)}`, sshKey: world.people.bob,
      files: { 'environments/qa.yaml': await yaml(environment), 'approvals/bob.yaml': await yaml(yes), 'promotions/dev/shop.yaml': await yaml(doc('Promotion', 'dev/shop', { release: '1.0' })) },
    }));
    await world.settle();
    const state = await world.state();
    expect(inForceOf(state, 'Environment', 'qa')).toBeNull();
    expect(state.states.has('dev/shop')).toBe(false);
    // The approval itself is known, so the merge needs no other.
    await world.commit([environment], { by: world.people.carol });
    await world.settle();
    expect(inForceOf(await world.state(), 'Environment', 'qa')).not.toBeNull();
  });

  it('of strangers count once they are somebody', async () => {
    const dave = await createSshKey(`${world.folder}/keys`, 'dave');
    await world.repository.setBranch('topic', (await world.repository.tip())!);
    const yes = await world.approval(dave, { type: 'promotion', digest, environment: 'prod', application: 'shop' });
    await pull(5, await world.repository.commit({ branch: 'topic', files: { 'approvals/dave.yaml': await yaml(yes) } }));
    await world.settle();
    expect(await running()).toBeNull();
    const person = doc('Principal', 'dave', { type: 'person', keys: [{ key: dave.publicKey, status: 'active' }], roles: [{ role: 'sre' }] });
    const changes = [changeTo(await world.state(), 'Principal', 'dave', documentDigest(person))];
    await world.commit([person, await world.approval(world.people.bob, { type: 'change', digest: changeDigest(world.pin, changes), changes })], { by: world.people.alice });
    await world.settle();
    expect(await running()).toBe('1.0');
  });

  it('that cannot be read stop nothing', async () => {
    await pull(1, await world.repository.git(['hash-object', '-w', '--stdin'], 'no commit'));
    await pull(2, await world.repository.commit({ branch: 'alone', parents: [], files: { 'approvals/bob.yaml': await yaml(await approval()) } }));
    await world.settle();
    expect(await running()).toBeNull();
    await world.commit([await approval()]);
    await world.settle();
    expect(await running()).toBe('1.0');
  });
});

async function yaml(document: object): Promise<string> {
  return (await import('yaml')).stringify(document, { lineWidth: 0 });
}
