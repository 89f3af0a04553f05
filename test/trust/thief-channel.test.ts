import { spawn, type ChildProcess } from 'node:child_process';
import { createHash, createPublicKey, sign } from 'node:crypto';
import { mkdir, readFile, readdir } from 'node:fs/promises';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { afterAll, beforeAll, describe, expect, it, vi } from 'vitest';
import { startAgentServer, type AgentServer } from '../../src/adapters/grpc/agent-server.ts';
import { writeImage } from '../../src/adapters/oci/write-layout.ts';
import { memoryEnrolmentTokens } from '../../src/adapters/pki/memory-enrolment-tokens.ts';
import { enrol, makeIdentity } from '../../src/cli/compose/agent-process.ts';
import { openAgentAuthority } from '../../src/cli/compose/server-keys.ts';
import type { StartedServer } from '../../src/cli/compose/server.ts';
import type { ServerConfig } from '../../src/config/server.ts';
import { canonicalBytes } from '../../src/core/model/canonical-json.ts';
import { digestOfBytes, type Digest } from '../../src/core/model/digest.ts';
import { documentDigest, documentPreimage, type AnyDocument, type DocumentOf } from '../../src/core/model/documents.ts';
import { changeDigest, preimageDigest, type Order, type Plan } from '../../src/core/model/preimages.ts';
import { assembleEnvelope, IN_TOTO_PAYLOAD_TYPE, preAuthEncoding } from '../../src/core/evidence/dsse.ts';
import { appStateOf, type LogState } from '../../src/core/evidence/log-state.ts';
import { recordPayload } from '../../src/core/evidence/record-codec.ts';
import type { PromotionDecisionPredicate, RecordBody } from '../../src/core/evidence/records.ts';
import { decodeBundle, encodeBundle, type OrderBundle } from '../../src/core/order/bundle.ts';
import { verifyReceipt, type Receipt } from '../../src/core/order/receipt.ts';
import { changeTo } from '../../src/core/trust/apply-change.ts';
import { buildBundle, type BundleSources } from '../../src/reconciler/build-bundle.ts';
import { ProtectedChangeShelf } from '../../src/reconciler/protected-change-shelf.ts';
import { readEvidence } from '../../src/reconciler/read-evidence.ts';
import { migratedDatabase } from '../contract/postgres-fixture.ts';
import { createTemporaryFolder } from '../fakes/git-repository.ts';
import { openPgp } from '../fakes/openpgp.ts';
import type { ScratchDatabase } from '../fakes/postgres.ts';
import { doc, EVIDENCE_REF, World } from '../fakes/world.ts';
import { environment, getJson, serverConfig, start } from '../integration/serve-fixture.ts';
import { attack, verdict, type Verdict } from './attack.ts';

/**
 * The thief again, against `stella agent run` in a process of its own: enrolled at the honest server, connected over mTLS, with targets on disk.
 * Then the honest server is gone, and somebody with all its keys listens where it did.
 */

const within = { timeout: 60_000, interval: 100 };
const launcher = fileURLToPath(new URL('../../src/bin/stella.js', import.meta.url));
let database: ScratchDatabase;
let world: World;
let machine: string;
let config: ServerConfig;
let server: StartedServer;
let agent: ChildProcess | null = null;
let identityKey: string;
let thief: AgentServer | null = null;
let stolen: Stolen;

/** Everything that the log says, as its thief reads it. */
type Stolen = { readonly state: LogState; readonly sources: BundleSources; readonly decisions: readonly { readonly seq: number; readonly digest: Digest; readonly predicate: PromotionDecisionPredicate }[]; readonly artifact: (digest: Digest) => Uint8Array | undefined };

beforeAll(async () => {
  database = await migratedDatabase();
  machine = await createTemporaryFolder();
  identityKey = await makeIdentity(join(machine, 'agent'), 'host');
  const documents = [
    target('prod-1'), doc('Agent', 'host', { identityKey, owner: 'bob', capabilities: ['directory_host'] }),
    doc('Environment', 'prod', { order: 2, approvals: { people: 1, roles: [{ role: 'sre', count: 1 }] } }),
  ];
  world = await World.create({ idle: true, documents: documents as unknown as AnyDocument[] });
  await mkdir(join(world.folder, 'images'), { recursive: true });
  for (const version of ['1.0', '2.0']) await writeImage({ layoutFolder: join(world.folder, 'images', 'shop', 'api'), tag: version, files: [{ path: 'app.txt', content: `${version}\n`, mode: 0o644 }] });
  config = await serverConfig(world, { STORAGE__DRIVER: 'postgres', CONNECTIONSTRINGS__DEFAULT: database.url });
  server = await start(config, { createLog: true });
  await vi.waitFor(() => expect(server.loop.status.lastReport).toMatchObject({ ok: true, records: 0 }), within);
  await enrol({ folder: join(machine, 'agent'), name: '', server: `127.0.0.1:${server.enrolmentPort}`, token: await server.issueEnrolmentToken('host'), genesis: world.pin });
  agent = spawn(process.execPath, [launcher, 'agent', 'run', '--folder', join(machine, 'agent'), '--layout', `images=${join(world.folder, 'images')}`], { env: environment, stdio: 'ignore' });
}, 90_000);
afterAll(async () => {
  const ended = new Promise((resolve) => agent?.once('exit', resolve));
  if (agent?.kill('SIGTERM') === true) await ended;
  await thief?.close();
  await server.close();
  await world.close();
  await database.drop();
}, 60_000);

function target(name: string): DocumentOf<'Target'> {
  return doc('Target', name, { type: 'directory_host', agent: 'host', environments: ['prod'], applications: ['shop'], connection: { root: join(machine, name) } });
}

const app = () => server.reconciler.state?.states.get('prod/shop');
const running = (name: string): Promise<string> => readFile(join(machine, name, 'prod', 'shop', 'current', 'api', 'app.txt'), 'utf8').catch(() => 'nothing');
const ask = (version: string) => world.commit([doc('Release', `shop/${version}`, { components: { api: { tag: version } } }), doc('Promotion', 'prod/shop', { release: version })], { by: world.people.alice });

describe('an agent in a process of its own', () => {
  it('deploys what an sre approved, and brings it to a target that comes later without new approvals', async () => {
    await ask('1.0');
    const wanted = async (): Promise<Digest | undefined> => ((await getJson(server, '/api/v1/promotions')).body['data'] as { environment: string; promotionDigest: Digest }[] | undefined)?.find((p) => p.environment === 'prod')?.promotionDigest;
    await expect.poll(wanted, within).toMatch(/^sha256:/);
    await world.commit([await world.approval(world.people.bob, { type: 'promotion', environment: 'prod', application: 'shop', digest: (await wanted())! })], {});
    await expect.poll(() => running('prod-1'), within).toBe('1.0\n');
    await expect.poll(() => app()?.lastOutcome?.result, within).toBe('Succeeded');
    const [generation, promotionDigest] = [app()?.generation, app()?.standing?.promotionDigest];
    const later = target('prod-2');
    const changes = [changeTo(server.reconciler.state!, 'Target', 'prod-2', documentDigest(later as unknown as AnyDocument))];
    await world.commit([later as unknown as AnyDocument, await world.approval(world.people.bob, { type: 'change', digest: changeDigest(world.pin, changes), changes }) as unknown as AnyDocument], {});
    await expect.poll(() => running('prod-2'), within).toBe('1.0\n');
    await expect.poll(() => app()?.standing?.targets.filter((t) => t.succeeded).map((t) => t.target), within).toEqual(['prod-1', 'prod-2']);
    expect([app()?.generation, app()?.standing?.promotionDigest]).toEqual([generation, promotionDigest]);
  });

  it('meets a thief of its server, who knows everything and holds every key', async () => {
    await ask('2.0');
    await expect.poll(() => app()?.lastDecision?.release, within).toBe('2.0');
    await server.close();
    stolen = await readLog();
    thief = await startAgentServer({
      authority: await openAgentAuthority(config, environment, new Date()), tokens: memoryEnrolmentTokens(),
      identityOf: (name) => Promise.resolve(name === 'host' ? createPublicKey(identityKey).export({ type: 'spki', format: 'der' }) : null), trustBundle: () => Promise.resolve(new Uint8Array()),
      now: () => new Date(), serverNames: ['127.0.0.1', 'localhost'], listen: { host: '127.0.0.1', channelPort: server.channelPort, enrolmentPort: 0 },
    });
    await expect.poll(() => thief?.hub.connected().length, within).toBe(1);
  });

  attack('release that nobody approved, allowed by the stolen key, sent over the stolen channel', {
    rules: ['T21', 'T29'], expects: 'QuorumNotMet', attempt: async () => send(await forged(last())), twin: () => again(11),
  });

  attack('approved release with other files, sent over the stolen channel', {
    rules: ['T22'], expects: 'PlanMismatch',
    attempt: async () => {
      const { predicate } = standing();
      const plan = JSON.parse(Buffer.from(stolen.artifact(predicate.sources.plan!)!).toString()) as Plan;
      const runs = { ...plan.runs!, components: plan.runs!.components.map((c) => ({ ...c, digest: digestOfBytes('evil') })) };
      return send(await forged({ ...standing(), predicate: { ...predicate, runs: preimageDigest(runs), sources: { ...predicate.sources, plan: preimageDigest({ ...plan, runs }) } } }, [canonicalBytes(runs), canonicalBytes({ ...plan, runs })]));
    },
    twin: () => again(12),
  });

  attack('protected change that gives the requester the role, signed by the stolen key, sent over the stolen channel', {
    rules: ['T15'], expects: 'ChangeNotEntitled',
    attempt: async () => {
      const before = stolen.state.inForce.get('Principal/alice')!.document as unknown as DocumentOf<'Principal'>;
      const alice = { ...before, spec: { ...before.spec, roles: [{ role: 'sre' }, { role: 'admin' }] } } as unknown as AnyDocument;
      const changes = [changeTo(stolen.state, 'Principal', 'alice', documentDigest(alice))];
      const change = forge({ type: 'protected-change', predicate: { basis: 'quorum', changeDigest: changeDigest(world.pin, changes), changes, approvals: [], proposers: { people: [], unknown: 0, commits: [] } } });
      const bundle = await forged(last(), [documentPreimage(alice)]);
      return send({ ...bundle, changes: [...bundle.changes, change] });
    },
    twin: () => again(13),
  });

  attack('extension of the unapproved release to a target of production, sent over the stolen channel', {
    rules: ['T17', 'T22'], expects: 'QuorumNotMet',
    attempt: async () => {
      const { predicate, ...place } = last();
      const plan = JSON.parse(Buffer.from(stolen.artifact(predicate.sources.plan!)!).toString()) as Plan;
      const extended: Plan = { ...plan, operation: 'extend', targets: plan.targets.slice(1) };
      const sources = { ...predicate.sources, plan: preimageDigest(extended), extends: predicate.input };
      return send(await forged({ ...place, predicate: { ...predicate, operation: 'extend', sources } }, [canonicalBytes(extended)], { target: 'prod-2', operation: 'extend' }));
    },
    twin: () => again(14),
  });
});

async function readLog(): Promise<Stolen> {
  const { reader, remote } = await world.parts();
  await remote.fetch([`+${EVIDENCE_REF}:${EVIDENCE_REF}`]);
  const changes = new ProtectedChangeShelf();
  const envelopes: Uint8Array[] = [];
  const decisions: Stolen['decisions'][number][] = [];
  const read = await readEvidence({ reader, openPgp }, (await reader.resolveRef(EVIDENCE_REF))!, world.pin, ({ record, envelope }) => {
    envelopes.push(envelope);
    changes.add(record, envelope);
    if (record.type === 'promotion-decision') decisions.push({ seq: record.header.seq, digest: record.digest, predicate: record.predicate });
  });
  if (!read.ok) throw new Error(read.fault.message);
  const artifact = (digest: Digest): Uint8Array | undefined => read.artifacts.get(digest);
  return { state: read.state, decisions, artifact, sources: { changes, artifacts: { load: () => Promise.resolve(), get: artifact }, envelope: (seq) => Promise.resolve(envelopes[seq]) } };
}

const last = (): Stolen['decisions'][number] => stolen.decisions.at(-1)!;
/** The allow of 1.0. */
const standing = (): Stolen['decisions'][number] => stolen.decisions.findLast(({ predicate }) => predicate.operation === 'promote' && predicate.decision.outcome === 'allow')!;

function forge(body: RecordBody): Uint8Array {
  const { size, head, logId, tenant, inForceDigests, tip } = stolen.state;
  const payload = recordPayload({ seq: size, prev: head, logId, tenant, ...inForceDigests, commit: tip!.commit, asOf: new Date().toISOString(), rules: 1, engine: { name: 'thief', version: '0' } }, body);
  const key = world.keys.decisions;
  const keyid = createHash('sha256').update(createPublicKey(key).export({ type: 'spki', format: 'der' })).digest('hex');
  return assembleEnvelope(payload, [{ keyid, sig: sign('sha256', preAuthEncoding(IN_TOTO_PAYLOAD_TYPE, payload), key) }]);
}

/** A decision again, as an allow of now. */
async function forged(of: Stolen['decisions'][number], stored: readonly Uint8Array[] = [], more: Partial<Order> = {}): Promise<OrderBundle> {
  const honest = stolen.decisions.find(({ seq }) => seq === of.seq)!;
  const built = await buildBundle({ type: 'stella/order/v1', decision: honest.digest, operation: 'promote', target: 'prod-1', try: 1 }, honest, stolen.sources);
  const bundle = built.ok ? decodeBundle(built.bundle)! : null;
  if (bundle === null) throw new Error('the bundle cannot be built');
  const sticker = Buffer.from('{}');
  const notAfter = new Date(Date.now() + 3_600_000).toISOString();
  const decision = forge({ type: 'promotion-decision', predicate: { ...of.predicate, decision: { ...of.predicate.decision, outcome: 'allow', gates: [], reasons: [], notAfter }, artifacts: [{ name: 'stella.version.json', digest: digestOfBytes(sticker) }] } });
  return { ...bundle, decision, order: { ...bundle.order, decision: digestOfBytes(decision), ...more }, artifacts: new Map([...bundle.artifacts, ...[sticker, ...stored].map((bytes) => [digestOfBytes(bytes), bytes] as const)]) };
}

/** @returns what the agent's receipt says; executed is what runs on its targets besides what was approved */
async function send(bundle: OrderBundle): Promise<Verdict> {
  const digest = preimageDigest(bundle.order);
  const envelope = await thief!.hub.dispatch('host', { digest, target: bundle.order.target, bundle: encodeBundle(bundle) }, { signal: AbortSignal.timeout(15_000) });
  const read = verifyReceipt(envelope, createPublicKey(identityKey).export({ type: 'spki', format: 'der' }));
  if (!read.ok || read.receipt.order !== digest) throw new Error('the receipt does not verify');
  const { result, code }: Receipt = read.receipt;
  const places = ['prod-1', 'prod-2'];
  const other = (await Promise.all(places.map(async (name) => ({ name, runs: await running(name), apps: await readdir(join(machine, name)) })))).filter(({ runs, apps }) => runs !== '1.0\n' || apps.some((entry) => entry !== 'prod'));
  return verdict(result === 'Succeeded' ? null : code, other);
}

/** The order that bob's approval stands behind, once more. */
async function again(number: number): Promise<Verdict> {
  const { seq, digest } = stolen.decisions.findLast(({ predicate }) => predicate.operation === 'extend' && predicate.decision.outcome === 'allow')!;
  const built = await buildBundle({ type: 'stella/order/v1', decision: digest, operation: 'extend', target: 'prod-2', try: number }, { seq, digest }, stolen.sources);
  const bundle = built.ok ? decodeBundle(built.bundle) : null;
  expect(appStateOf(stolen.state, 'prod', 'shop').generation).toBe(1);
  if (bundle === null) throw new Error('the bundle cannot be built');
  return send(bundle);
}
