import { randomBytes } from 'node:crypto';
import { rm } from 'node:fs/promises';
import fc from 'fast-check';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { buildDecisionInput, type DecisionMaterial } from '../../src/core/decision/build-input.ts';
import { decide } from '../../src/core/decision/decide.ts';
import type { Decision } from '../../src/core/decision/types.ts';
import { emptyAppState, initialState, stateKey, type AppState, type InForce, type LockEntry, type LogState, type ObservedApproval } from '../../src/core/evidence/log-state.ts';
import { BucketMap } from '../../src/core/model/bucket-map.ts';
import { canonicalBytes, type JsonObject } from '../../src/core/model/canonical-json.ts';
import { digestOf, digestOfBytes, type Digest, type Preimage } from '../../src/core/model/digest.ts';
import { documentDigest, documentKey, documentPreimage, type AnyDocument, type DocumentOf, type PrincipalKey, type Quorum, type SpecOf } from '../../src/core/model/documents.ts';
import { formatInstant } from '../../src/core/model/instant.ts';
import { intentPreimage, preimageDigest, type Lock, type Plan } from '../../src/core/model/preimages.ts';
import { keyFault, keyRingIn } from '../../src/core/trust/key-ring.ts';
import { meetsQuorum } from '../../src/core/trust/quorum.ts';
import { isStop, liftingIn, mayStop, type Sides } from '../../src/core/trust/stop.ts';
import { createSshKey, createTemporaryFolder, signWithSsh, type SshKey } from '../fakes/git-repository.ts';
import { openPgp } from '../fakes/openpgp.ts';
import { doc } from '../fakes/world.ts';
import { arbitraryCalendar } from './decision-arbitraries.ts';
import { AS_OF } from '../core/decision/inputs.ts';

/**
 * The law of stops (T24): what `isStop` lets through gives nothing to anybody. States and changes are generated, signatures are real, and each
 * decision is built and taken by the code that the reconciler runs.
 */

const NAMES = ['ann', 'bob', 'cid'] as const;
type Name = (typeof NAMES)[number];
const START = Date.parse(AS_OF);

/** What an environment may demand; approvals are signed for each. */
const RULES: readonly SpecOf['Environment'][] = [
  { order: 1, approvals: { people: 1, unknownRequester: 'one-more' } },
  { order: 1, approvals: { people: 2 } },
  { order: 1, approvals: { people: 1, roles: [{ role: 'sre', count: 1 }], authorNeverApproves: false } },
  { order: 1 },
];

type Signed = { readonly key: SshKey; readonly document: DocumentOf<'Approval'>; readonly artifact: Digest; readonly fingerprint: string; readonly payload: Digest; readonly by: Name; readonly rule: number };
let folder: string;
let keys: Readonly<Record<Name, readonly [SshKey, SshKey]>>;
let signed: readonly Signed[];
let promotions: ReadonlyMap<string, DocumentOf<'Promotion'>>;
const artifacts = new Map<Digest, Uint8Array>();

const root = doc('TrustRoot', 'root', {
  version: 1, previous: null, id: 'f'.repeat(64), tenant: 't', documents: null, keys: [], threshold: 1, services: [], quorums: { default: { people: 1 }, create: { people: 1 } }, proposerCounts: true,
});
const logId = documentDigest(root as unknown as AnyDocument);
const lock = digestOfBytes('lock');
const plan = {
  type: 'stella/plan/v1', operation: 'promote', workflow: { name: 'default', steps: [], onFailure: 'hold' }, targets: [{ name: 't1', type: 'directory_host', agent: 'host', connection: { root: '/srv' } }],
  runs: { type: 'stella/runs/v1', environment: 'prod', application: 'shop', release: '1', lock, deployment: {}, components: [], artifacts: [], files: [], variables: {}, secrets: {} },
} as unknown as Plan;

beforeAll(async () => {
  folder = await createTemporaryFolder();
  const pairs = await Promise.all(NAMES.map(async (name) => [name, [await createSshKey(folder, `${name}-1`), await createSshKey(folder, `${name}-2`)]] as const));
  keys = Object.fromEntries(pairs) as unknown as typeof keys;
  const plain = doc('Promotion', 'prod/shop', { release: '1' });
  const intent = canonicalBytes(intentPreimage({ logId, promotion: plain, releaseSpec: digestOfBytes('release') }) as unknown as JsonObject);
  const signature = async (by: SshKey) => ({ format: 'sshsig' as const, signature: await signWithSsh(by, intent, 'stella-intent') });
  const [ann, ann2, bob] = await Promise.all([signature(keys.ann[0]), signature(keys.ann[1]), signature(keys.bob[0])]);
  promotions = new Map([['nobody', plain], ['ann', { ...plain, signatures: [ann] }], ['bob', { ...plain, signatures: [bob] }], ['both', { ...plain, signatures: [ann, bob] }], ['other key', { ...plain, signatures: [ann2] }]]);
  const wanted = RULES.flatMap((_, rule) => NAMES.flatMap((by) => keys[by].flatMap((key) => (['approve', 'except', 'reject'] as const).map((say) => ({ rule, by, key, say })))));
  signed = await Promise.all(wanted.map(async ({ rule, by, key, say }) => sign(rule, by, key, say)));
});
afterAll(() => rm(folder, { recursive: true, force: true }));

async function sign(rule: number, by: Name, key: SshKey, say: 'approve' | 'except' | 'reject'): Promise<Signed> {
  const { preimage } = buildDecisionInput(stateOf([...fixed(rule), ...NAMES.map((name) => principal(name))], []), materialOf('ann'), AS_OF, sources);
  const spec = { type: 'promotion', digest: digestOf(preimage as unknown as Preimage), action: say === 'reject' ? 'reject' : 'approve', environment: 'prod', application: 'shop', nonce: randomBytes(16).toString('hex'), ...(say === 'except' ? { excepts: ['f1'] } : {}) } as const;
  const document = doc('Approval', `${by}-${spec.nonce.slice(0, 8)}`, spec);
  const bytes = documentPreimage(document as unknown as AnyDocument);
  const full = { ...document, signatures: [{ format: 'sshsig' as const, signature: await signWithSsh(key, bytes, 'stella-approval') }] };
  const stored = canonicalBytes(full as unknown as JsonObject);
  artifacts.set(digestOfBytes(stored), stored);
  return { key, document: full, artifact: digestOfBytes(stored), fingerprint: await fingerprintOf(key), payload: digestOfBytes(bytes), by, rule };
}

async function fingerprintOf(key: SshKey): Promise<string> {
  const { createHash } = await import('node:crypto');
  return `SHA256:${createHash('sha256').update(Buffer.from(key.publicKey.split(' ')[1] ?? '', 'base64')).digest('base64').replace(/=+$/, '')}`;
}

const sources = { artifact: (digest: Digest) => artifacts.get(digest), openPgp };
const principal = (name: Name, more: Partial<SpecOf['Principal']> = {}): AnyDocument =>
  doc('Principal', name, { type: 'person', keys: keys[name].map(({ publicKey }) => ({ key: publicKey, status: 'active' as const })), roles: [{ role: 'sre' }], ...more }) as unknown as AnyDocument;
const fixed = (rule: number): readonly AnyDocument[] => [
  doc('Environment', 'prod', RULES[rule] ?? { order: 1 }), doc('Application', 'shop', { components: ['api'], deployment: { type: 'directory' } }),
  doc('Target', 't1', { type: 'directory_host', agent: 'host', environments: ['prod'], applications: ['shop'], connection: { root: '/srv' } }), doc('Agent', 'host', { identityKey: 'x', owner: 'bob', capabilities: ['directory_host'] }),
] as unknown as readonly AnyDocument[];

function stateOf(documents: readonly AnyDocument[], approvals: readonly (Signed & { readonly observedAt: string })[]): LogState {
  const base = initialState(root, logId);
  const entries = [root as unknown as AnyDocument, ...documents].map((document): [string, InForce] => [documentKey(document.kind, document.metadata.name), { kind: document.kind, name: document.metadata.name, digest: documentDigest(document), document, seq: 0, tip: null, since: null, by: [], basis: 'genesis' }]);
  const observed = approvals.map((a): [string, ObservedApproval] => [a.artifact, {
    type: 'approval', action: a.document.spec.action, document: documentDigest(a.document as unknown as AnyDocument), artifact: a.artifact, approves: { type: 'promotion', digest: a.document.spec.digest },
    subject: { environment: 'prod', application: 'shop' }, principal: a.by, fingerprint: a.fingerprint, payload: a.payload, observedAt: a.observedAt, seq: 1,
  }]);
  return {
    ...base, inForce: BucketMap.from(entries), approvals: BucketMap.from(observed), tip: { ref: 'refs/heads/main', commit: 'a'.repeat(40) as never, observedAt: AS_OF, seq: 0, before: null },
    locks: BucketMap.from<LockEntry>([['shop/1', { lock: {} as Lock, digest: lock, releaseSpec: digestOfBytes('release'), seq: 1, tip: 'a'.repeat(40) as never, before: null, lockedAt: AS_OF, channel: null, onBehalfOf: null }]]),
    states: BucketMap.from<AppState>([[stateKey('prod', 'shop'), { ...emptyAppState('prod', 'shop'), approvals: approvals.map((a) => a.artifact) }]]),
  };
}

function materialOf(asks: string): DecisionMaterial {
  const promotion = promotions.get(asks);
  if (promotion === undefined) throw new Error(`no promotion by ${asks}`);
  return { environment: 'prod', application: 'shop', promotion, derived: null, ended: null, plan, problems: [], commits: [] };
}

const arbitraryMoment = fc.integer({ min: -90, max: 90 }).map((minutes) => formatInstant(START + minutes * 60_000));
const arbitraryRoles = fc.option(fc.array(fc.record({ role: fc.constantFrom('sre', 'stop', 'admin'), environments: fc.option(fc.constant(['prod']), { nil: undefined }) }).map(defined), { minLength: 1, maxLength: 2 }), { nil: undefined });
const arbitraryStatus = fc.record({ status: fc.constantFrom('active', 'active', 'active', 'active', 'active', 'retired', 'superseded', 'compromised'), since: arbitraryMoment }).map(({ status, since }) => (status === 'active' ? { status } : { status, since }) as Pick<PrincipalKey, 'status' | 'since'>);
const arbitrarySuspension = fc.oneof({ weight: 7, arbitrary: fc.constant(undefined) }, { weight: 1, arbitrary: fc.constant({ reason: 'x' }) });

function defined<T extends object>(value: T): T {
  return Object.fromEntries(Object.entries(value).filter(([, member]) => member !== undefined)) as T;
}

const arbitraryPrincipal = (name: Name): fc.Arbitrary<AnyDocument> =>
  fc.record({ roles: arbitraryRoles, statuses: fc.tuple(arbitraryStatus, arbitraryStatus), suspended: arbitrarySuspension, one: fc.nat(6), until: fc.oneof({ weight: 9, arbitrary: fc.constant(undefined) }, { weight: 1, arbitrary: arbitraryMoment }) }).map(({ roles, statuses, suspended, one, until }) => {
    const all = keys[name].map(({ publicKey }, i) => defined({ key: publicKey, ...(statuses[i] ?? { status: 'active' as const }), notAfter: until }));
    return principal(name, defined({ keys: one === 0 ? all.slice(0, 1) : all, roles, suspended }) as Partial<SpecOf['Principal']>);
  });

const arbitraryFreeze: fc.Arbitrary<AnyDocument> = fc
  .record({
    name: fc.constantFrom('f1', 'f2'), environments: fc.option(fc.subarray(['prod', 'dev'], { minLength: 1 }), { nil: undefined }), applications: fc.option(fc.constantFrom(['shop'], ['other'], ['shop', 'other']), { nil: undefined }),
    releases: fc.option(fc.constantFrom(['shop/1'], ['shop/2']), { nil: undefined, freq: 2 }), calendar: fc.option(arbitraryCalendar, { nil: undefined, freq: 2 }),
    except: fc.option(fc.constantFrom({ people: 1 }, { people: 1, roles: [{ role: 'sre', count: 1 }] }, { people: 2 }), { nil: undefined, freq: 2 }),
  })
  .map(({ name, ...spec }) => doc('Freeze', name, defined({ ...spec, reason: 'x' }) as SpecOf['Freeze']) as unknown as AnyDocument);

/** Another version of a document: some of it as before, some of it as another one has it. */
function arbitraryEdit(before: AnyDocument): fc.Arbitrary<AnyDocument> {
  const other = before.kind === 'Principal' ? arbitraryPrincipal(before.metadata.name as Name) : before.kind === 'Freeze' ? arbitraryFreeze : fc.constantFrom({ ...before, spec: { ...before.spec, suspended: { reason: 'x' } } } as AnyDocument, before);
  return other.chain((from) => {
    const members = [...new Set([...Object.keys(before.spec), ...Object.keys(from.spec)])];
    return fc.subarray(members).map((taken) => {
      const spec = Object.fromEntries(members.flatMap((member) => { const value = (taken.includes(member) ? from.spec : before.spec)[member as never] as unknown; return value === undefined ? [] : [[member, value]]; }));
      return { ...before, spec } as unknown as AnyDocument;
    });
  });
}

/** What somebody would do who means to stop a person: some keys get worse, or the person is suspended. */
function arbitraryWorsening(before: AnyDocument): fc.Arbitrary<AnyDocument> {
  if (before.kind !== 'Principal') return arbitraryEdit(before);
  const { spec } = before;
  return fc.record({ statuses: fc.tuple(arbitraryStatus, arbitraryStatus), taken: fc.tuple(fc.boolean(), fc.boolean()), suspends: fc.boolean() }).map(({ statuses, taken, suspends }) => {
    const all = spec.keys.map((one, i) => (taken[i] === true && statuses[i]?.status !== 'active' ? { ...one, ...statuses[i] } : one));
    return { ...before, spec: { ...spec, keys: all, ...(suspends ? { suspended: { reason: 'x' } } : {}) } } as AnyDocument;
  });
}

type Scene = { readonly rule: number; readonly asks: string; readonly documents: readonly AnyDocument[]; readonly approvals: readonly (Signed & { readonly observedAt: string })[]; readonly changed: AnyDocument; readonly asOf: string };

const arbitraryScene = (): fc.Arbitrary<Scene> =>
  fc
    .record({ rule: fc.nat(RULES.length - 1), asks: fc.constantFrom('nobody', 'ann', 'ann', 'both', 'other key'), people: fc.tuple(...NAMES.map(arbitraryPrincipal)), freezes: fc.oneof({ weight: 3, arbitrary: fc.constant([]) }, { weight: 2, arbitrary: fc.uniqueArray(arbitraryFreeze, { maxLength: 2, selector: (f) => f.metadata.name }) }), asOf: arbitraryMoment })
    .chain(({ rule, asks, people, freezes, asOf }) => {
      const documents = [...fixed(rule), ...people, ...freezes];
      const own = signed.filter((s) => s.rule === rule);
      // Mostly one voice of each person: yes from some, no from others, so that taking one voice away matters.
      const voices = fc.tuple(...NAMES.map((name) => fc.subarray(own.filter(({ by }) => by === name), { maxLength: 1 }))).map((lists) => lists.flat());
      const said = fc.oneof({ weight: 3, arbitrary: voices }, { weight: 1, arbitrary: fc.subarray([...own], { maxLength: 6 }) }).chain((some) => fc.tuple(...some.map((s) => arbitraryMoment.map((observedAt) => ({ ...s, observedAt })))));
      const agent = documents.find(({ kind }) => kind === 'Agent');
      const edit = fc.constantFrom(...people, ...people, ...freezes, ...(agent === undefined ? [] : [agent, agent])).chain((before) => fc.oneof(arbitraryEdit(before), arbitraryWorsening(before)));
      return fc.record({ rule: fc.constant(rule), asks: fc.constant(asks), documents: fc.constant(documents), approvals: said, changed: fc.oneof({ weight: 5, arbitrary: edit }, { weight: 1, arbitrary: arbitraryFreeze }), asOf: fc.constant(asOf) });
    });

function sidesOf({ documents, changed }: Scene): Sides {
  return { before: documents.find((d) => d.kind === changed.kind && d.metadata.name === changed.metadata.name) ?? null, after: changed };
}

function around(scene: Scene): { readonly before: LogState; readonly after: LogState } {
  const rest = scene.documents.filter((d) => d.kind !== scene.changed.kind || d.metadata.name !== scene.changed.metadata.name);
  return { before: stateOf(scene.documents, scene.approvals), after: stateOf([...rest, scene.changed], scene.approvals) };
}

function outcomeIn(state: LogState, { asks, asOf }: Scene): Decision['outcome'] {
  return decide(buildDecisionInput(state, materialOf(asks), asOf, sources).input).outcome;
}

/** People whose signature, seen at `at`, would count. */
function able(state: LogState, at: number): readonly DocumentOf<'Principal'>[] {
  const ring = keyRingIn(state, openPgp);
  const holders = signed.flatMap(({ fingerprint }) => ring.get(fingerprint) ?? []).filter((holder) => keyFault(holder, at) === null);
  return [...new Map(holders.map(({ principal: who }) => [who.metadata.name, who])).values()];
}

describe('a stop', () => {
  it('is tried with changes that are stops and that are none, and with decisions of every kind', () => {
    const scenes = fc.sample(arbitraryScene(), { numRuns: 1_500, seed: 1 });
    const stops = scenes.filter((scene) => isStop(sidesOf(scene)));
    for (const kind of ['Principal', 'Freeze', 'Agent']) expect(stops.filter(({ changed }) => changed.kind === kind).length).toBeGreaterThan(20);
    expect(stops.length).toBeLessThan(1_000);
    const outcomes = stops.map((scene) => [outcomeIn(around(scene).before, scene), outcomeIn(around(scene).after, scene)]);
    expect(outcomes.filter(([before]) => before === 'allow').length).toBeGreaterThan(5);
    expect(outcomes.filter(([before, after]) => before === 'allow' && after !== 'allow').length).toBeGreaterThan(2);
  });

  it('never turns a no into a yes', () => {
    fc.assert(
      fc.property(arbitraryScene().filter((scene) => isStop(sidesOf(scene))), (scene) => {
        const { before, after } = around(scene);
        if (outcomeIn(after, scene) === 'allow') expect(outcomeIn(before, scene)).toBe('allow');
      }),
      { numRuns: 600 },
    );
  });

  it('frees nobody to approve who asked with the key that it stops, though somebody else asked as well', () => {
    const rule = 1;
    const yes = (by: Name, key: SshKey): Signed & { readonly observedAt: string } => {
      const found = signed.find((s) => s.rule === rule && s.by === by && s.document.spec.action === 'approve' && s.key === key);
      if (found === undefined) throw new Error(`no approval by ${key.name}`);
      return { ...found, observedAt: AS_OF };
    };
    const stopped = principal('ann', { keys: keys.ann.map(({ publicKey }, i) => ({ key: publicKey, ...(i === 0 ? { status: 'compromised' as const, since: AS_OF } : { status: 'active' as const }) })) });
    const scene: Scene = { rule, asks: 'both', documents: [...fixed(rule), ...NAMES.map((name) => principal(name))], approvals: [yes('ann', keys.ann[1]), yes('cid', keys.cid[0])], changed: stopped, asOf: AS_OF };
    expect(isStop(sidesOf(scene))).toBe(true);
    expect([outcomeIn(around(scene).before, scene), outcomeIn(around(scene).after, scene)]).toEqual(['pending', 'pending']);
    expect(outcomeIn(around(scene).after, { ...scene, asks: 'bob' })).toBe('allow');
  });

  it('never makes a quorum easier to meet, nor lets anybody stop more', () => {
    const quorum = fc.record({ people: fc.integer({ min: 1, max: 3 }), roles: fc.option(fc.subarray(['sre', 'admin', 'stop'], { minLength: 1 }).map((some) => some.map((role) => ({ role, count: 1 }))), { nil: undefined }) }).map((demanded) => defined(demanded) as Quorum);
    const probe: Sides = { before: null, after: doc('Freeze', 'probe', { environments: ['prod'], reason: 'x' }) as unknown as AnyDocument };
    fc.assert(
      fc.property(arbitraryScene().filter((scene) => isStop(sidesOf(scene))), quorum, fc.integer({ min: -90, max: 90 }), (scene, demanded, minutes) => {
        const { before, after } = around(scene);
        const at = START + minutes * 60_000;
        if (meetsQuorum(demanded, able(after, at))) expect(meetsQuorum(demanded, able(before, at))).toBe(true);
        const stoppers = (state: LogState): readonly string[] => able(state, at).filter((person) => mayStop(state, probe, person)).map(({ metadata }) => metadata.name);
        expect(stoppers(before)).toEqual(expect.arrayContaining([...stoppers(after)]));
      }),
      { numRuns: 400 },
    );
  });

  it('is lifted by the change that takes it back, and lifts nothing itself', () => {
    fc.assert(
      fc.property(arbitraryScene().filter((scene) => isStop(sidesOf(scene))), (scene) => {
        const { before, after } = sidesOf(scene);
        expect(liftingIn({ before, after })).toBeNull();
        expect(liftingIn({ before: after, after: before })).not.toBeNull();
        expect(isStop({ before: after, after: before })).toBe(false);
      }),
      { numRuns: 300 },
    );
  });

  it('plan and digests do not move with it: what was approved stays what it is', () => {
    expect(preimageDigest(plan)).toBe(preimageDigest({ ...plan }));
    fc.assert(
      fc.property(arbitraryScene().filter((scene) => isStop(sidesOf(scene))), (scene) => {
        const { before, after } = around(scene);
        const digest = (state: LogState): string => digestOf(buildDecisionInput(state, materialOf(scene.asks), scene.asOf, sources).preimage as unknown as Preimage);
        expect(digest(after)).toBe(digest(before));
      }),
      { numRuns: 100 },
    );
  });
});
