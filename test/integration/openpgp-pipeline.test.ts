import { afterAll, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import { openOpenPgpVerifier } from '../../src/adapters/openpgp/open-verifier.ts';
import { OpenPgpUnavailable, type OpenPgpVerifier } from '../../src/core/commit/openpgp.ts';
import type { DecisionInput } from '../../src/core/decision/types.ts';
import { appStateOf } from '../../src/core/evidence/log-state.ts';
import type { PromotionDecisionPredicate } from '../../src/core/evidence/records.ts';
import { replayDecision } from '../../src/core/evidence/replay.ts';
import type { CommitId } from '../../src/core/model/commit-id.ts';
import type { Digest } from '../../src/core/model/digest.ts';
import { documentDigest, type AnyDocument } from '../../src/core/model/documents.ts';
import { changeDigest } from '../../src/core/model/preimages.ts';
import { proveOrder, type ProofResult } from '../../src/core/order/prove-order.ts';
import { changeTo } from '../../src/core/trust/apply-change.ts';
import { buildBundle } from '../../src/reconciler/build-bundle.ts';
import { ProtectedChangeShelf } from '../../src/reconciler/protected-change-shelf.ts';
import { readEvidence, type RecordStep } from '../../src/reconciler/read-evidence.ts';
import { missingComponent, requireComponent } from '../fakes/components.ts';
import { GpgHome, type GpgKey } from '../fakes/gpg.ts';
import { doc, World } from '../fakes/world.ts';

/** alice signs her commits with gpg, bob approves with a subkey of his. */
let home: GpgHome;
let world: World;
let alice: GpgKey;
let bob: GpgKey;
beforeEach((ctx) => requireComponent('gpg', ctx));
beforeAll(async () => {
  if (missingComponent('gpg') !== undefined) return;
  home = await GpgHome.create();
  alice = await home.createKey('alice', { algorithm: 'rsa3072' });
  const certified = await home.createKey('bob', { usage: 'cert', subkeys: ['ed25519'] });
  const [, subkey = ''] = await home.fingerprints(certified);
  bob = { ...certified, sign: (payload) => home.sign({ fingerprint: subkey.toUpperCase() }, payload) };
  const person = (key: GpgKey, roles: readonly string[]) => doc('Principal', key.name, { type: 'person', keys: [{ key: key.publicKey, status: 'active' }], roles: roles.map((role) => ({ role })) });
  world = await World.create({ documents: [person(alice, ['dev', 'admin']), person(bob, ['sre', 'admin'])] as never });
  world.registry.put('shop/api:1.0', 'one');
  await world.commit([doc('Release', 'shop/1.0', { components: { api: { tag: '1.0' } } }), doc('Promotion', 'dev/shop', { release: '1.0' })], { by: alice });
  await world.settle();
  await world.commit([doc('Promotion', 'prod/shop', { release: '1.0' })], { by: alice });
  await world.settle();
});
afterAll(async () => {
  if (missingComponent('gpg') !== undefined) return;
  await world.close();
  await home.remove();
});

type Log = { readonly steps: readonly RecordStep[]; readonly artifact: (digest: Digest) => Uint8Array | undefined; readonly replayed: readonly boolean[] };

/** The evidence branch as somebody else reads it, who has nothing but the repository and the pin. */
async function readLog(openPgp: OpenPgpVerifier): Promise<Log | { readonly code: string }> {
  const { reader } = (await world.parts()).evidence;
  const steps: RecordStep[] = [];
  const replayed: boolean[] = [];
  const read = await readEvidence({ reader, openPgp }, (await world.repository.tip('stella/evidence')) as CommitId, world.pin, (step, artifact) => {
    steps.push(step);
    if (step.record.type === 'promotion-decision') replayed.push(replayDecision(step.before, step.record.header, step.record.predicate, { artifact, openPgp }).ok);
  });
  return read.ok ? { steps, replayed, artifact: (digest) => read.artifacts.get(digest) } : { code: read.fault.code };
}

async function withFreshVerifier<T>(use: (openPgp: OpenPgpVerifier) => Promise<T>): Promise<T> {
  const verifier = openOpenPgpVerifier();
  try {
    return await use(verifier);
  } finally {
    await verifier.close();
  }
}

function decisionsIn({ steps }: Log, environment: string): readonly (RecordStep & { readonly predicate: PromotionDecisionPredicate })[] {
  return steps.flatMap((step) => (step.record.type === 'promotion-decision' && step.record.predicate.environment === environment ? [{ ...step, predicate: step.record.predicate }] : []));
}

async function proven(log: Log, openPgp: OpenPgpVerifier): Promise<ProofResult> {
  const allow = decisionsIn(log, 'prod').findLast(({ predicate }) => predicate.decision.outcome === 'allow');
  if (allow === undefined) throw new Error('nothing was allowed');
  const changes = new ProtectedChangeShelf();
  for (const { record, envelope } of log.steps) changes.add(record, envelope);
  const decision = { seq: allow.record.header.seq, digest: allow.record.digest };
  const sources = { changes, artifacts: { load: () => Promise.resolve(), get: log.artifact }, envelope: (seq: number) => Promise.resolve(log.steps[seq]?.envelope) };
  const built = await buildBundle({ type: 'stella/order/v1', decision: decision.digest, operation: 'promote', target: 'prod-1', try: 1 }, decision, sources);
  if (!built.ok) throw new Error(built.message);
  return proveOrder({ bundle: built.bundle, pin: world.pin, agent: 'host', memory: { protectedChange: null, lastOrders: () => [], hasRun: () => false }, now: world.now.getTime(), openPgp });
}

/** Somebody whose verifier finds no OpenPGP signature valid. */
const refusing: OpenPgpVerifier = { verify: (questions) => questions.map(() => false) };

describe('people who sign with OpenPGP', () => {
  it('are known as requesters by their signed commits, and approve with the subkey that their certificate binds', async () => {
    const { decision } = await lastDecision();
    expect(decision).toMatchObject({ outcome: 'pending', reasons: ['ApprovalsMissing'] });
    const wanted = { type: 'promotion', environment: 'prod', application: 'shop', digest: decision.promotionDigest as Digest } as const;
    const [own, yes] = [await world.approval(alice, wanted), await world.approval(bob, wanted)];
    await world.commit([own], {});
    await world.settle();
    expect((await lastDecision()).decision.outcome).toBe('pending');
    await world.commit([yes], {});
    await world.settle();
    expect(appStateOf(await world.state(), 'prod', 'shop')).toMatchObject({ release: '1.0', clean: true });
    expect(yes.signatures?.[0]).toMatchObject({ format: 'openpgp' });
  });

  it('are in the input of the decision by name: one asked and may not approve, the other counts', async () => {
    await withFreshVerifier(async (openPgp) => {
      const log = await readLog(openPgp);
      if ('code' in log) throw new Error(log.code);
      const allow = decisionsIn(log, 'prod').findLast(({ predicate }) => predicate.decision.outcome === 'allow');
      const input = JSON.parse(Buffer.from(log.artifact(allow?.predicate.input as Digest) ?? []).toString()) as DecisionInput;
      expect(input.requesters).toEqual({ people: ['alice'], unknown: 0 });
      expect(input.approvals.map(({ principal }) => principal)).toEqual(['bob']);
      const [, subkey] = await home.fingerprints(bob);
      expect([...log.steps.at(-1)!.after.approvals.values()].map(({ principal, fingerprint }) => [principal, fingerprint])).toContainEqual(['bob', `openpgp:${subkey}`]);
    });
  });

  it('are verified and replayed by anybody with the repository alone', async () => {
    await withFreshVerifier(async (openPgp) => {
      const log = await readLog(openPgp);
      expect('code' in log ? log.code : log.replayed).toEqual(expect.not.arrayContaining([false]));
      expect('code' in log ? [] : log.replayed.length).toBeGreaterThanOrEqual(3);
    });
  });

  it('prove an order to an agent that has nothing but the pin, and to none whose verifier refuses them', async () => {
    await withFreshVerifier(async (openPgp) => {
      const log = await readLog(openPgp);
      if ('code' in log) throw new Error(log.code);
      expect(await proven(log, openPgp)).toMatchObject({ ok: true, work: { environment: 'prod', release: '1.0', quorumProven: true } });
      expect(await proven(log, refusing)).toMatchObject({ ok: false, code: 'QuorumNotMet' });
    });
  });

  it('are judged by nobody whose verifier does not work: that is a failure and no refusal', async () => {
    const broken: OpenPgpVerifier = { verify: () => { throw new OpenPgpUnavailable('it did not start'); } };
    await expect(readLog(broken)).rejects.toThrow(OpenPgpUnavailable);
    await withFreshVerifier(async (openPgp) => {
      const log = await readLog(openPgp);
      if ('code' in log) throw new Error(log.code);
      await expect(proven(log, broken)).rejects.toThrow(OpenPgpUnavailable);
    });
  });

  it('change protected documents by the trailer in a commit of theirs', async () => {
    const freeze = doc('Freeze', 'holidays', { reason: 'nobody is here', environments: ['dev'] }) as unknown as AnyDocument;
    const digest = changeDigest(world.pin, [changeTo(await world.state(), 'Freeze', 'holidays', documentDigest(freeze))]);
    await world.commit([freeze], { by: alice, message: `Stop\n\nStella-Change: ${digest}` });
    await world.settle();
    expect((await world.state()).inForce.get('Freeze/holidays')?.digest).toBe(documentDigest(freeze));
  });

  it('and whose verifier refuses them let nobody read the log any further than their first change', async () => {
    expect(await readLog(refusing)).toEqual({ code: 'ChangeNotEntitled' });
  });
});

async function lastDecision(): Promise<PromotionDecisionPredicate> {
  return withFreshVerifier(async (openPgp) => {
    const log = await readLog(openPgp);
    if ('code' in log) throw new Error(log.code);
    const last = decisionsIn(log, 'prod').at(-1);
    if (last === undefined) throw new Error('nothing was decided about prod');
    return last.predicate;
  });
}
