import { spawn } from 'node:child_process';
import { createPublicKey } from 'node:crypto';
import { mkdir, readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { afterEach, beforeEach, expect, test } from 'vitest';
import { writeImage } from '../../src/adapters/oci/write-layout.ts';
import { newPrivateKeyPem } from '../../src/adapters/pki/key-form.ts';
import type { RunningAgent } from '../../src/agent/start-agent.ts';
import { enrol, issueToken, makeIdentity, startAgentProcess } from '../../src/cli/compose/agent-process.ts';
import type { StartedServer } from '../../src/cli/compose/server.ts';
import { parseAgentConfig, type AgentConfig } from '../../src/config/agent.ts';
import type { ServerConfig } from '../../src/config/server.ts';
import { documentDigest, type AnyDocument } from '../../src/core/model/documents.ts';
import { changeDigest } from '../../src/core/model/preimages.ts';
import { rootOf } from '../../src/core/evidence/log-state.ts';
import { changeTo } from '../../src/core/trust/apply-change.ts';
import { stringify } from 'yaml';
import { migratedDatabase } from '../contract/postgres-fixture.ts';
import { createSshKey, createTemporaryFolder } from '../fakes/git-repository.ts';
import type { ScratchDatabase } from '../fakes/postgres.ts';
import { doc, World } from '../fakes/world.ts';
import { environment, getJson, serverConfig, start } from './serve-fixture.ts';

const within = { timeout: 40_000, interval: 50 };
const launcher = fileURLToPath(new URL('../../src/bin/stella.js', import.meta.url));
let database: ScratchDatabase;
let world: World;
let machine: string;
let config: ServerConfig;
const servers: StartedServer[] = [];
const agents: RunningAgent[] = [];

beforeEach(async () => {
  database = await migratedDatabase();
  machine = await createTemporaryFolder();
  const identityKey = await makeIdentity(join(machine, 'agent'), 'host');
  const target = doc('Target', 'dev-1', { type: 'directory_host', agent: 'host', environments: ['dev'], applications: ['shop'], connection: { root: join(machine, 'srv') } });
  const agent = doc('Agent', 'host', { identityKey, owner: 'bob', capabilities: ['directory_host'] });
  world = await World.create({ idle: true, documents: [target, agent] as unknown as AnyDocument[] });
  await mkdir(join(world.folder, 'images'), { recursive: true });
  await writeImage({ layoutFolder: join(world.folder, 'images', 'shop', 'api'), tag: '1.0', files: [{ path: 'app.txt', content: 'one\n', mode: 0o644 }] });
  config = await serverConfig(world, { STORAGE__DRIVER: 'postgres', CONNECTIONSTRINGS__DEFAULT: database.url });
});
afterEach(async () => {
  for (const agent of agents.splice(0)) await agent.stop();
  for (const server of servers.splice(0)) await server.close();
  await world.close();
  await database.drop();
});

async function serve(): Promise<StartedServer> {
  const server = await start(config, { createLog: true });
  servers.push(server);
  await expect.poll(() => server.loop.status.lastReport, within).toMatchObject({ ok: true, records: 0 });
  return server;
}

function agentConfig(server: StartedServer): AgentConfig {
  const flags = { folder: join(machine, 'agent'), server: `127.0.0.1:${server.channelPort}`, layouts: { images: join(world.folder, 'images') } };
  const outcome = parseAgentConfig(null, {}, { folder: machine, flags });
  if (!outcome.ok) throw new Error(JSON.stringify(outcome.problems));
  return outcome.config;
}

async function runAgent(server: StartedServer): Promise<RunningAgent> {
  const agent = await startAgentProcess(agentConfig(server), { now: () => new Date(), environment, version: '0', log: () => undefined });
  agents.push(agent);
  return agent;
}

const enrolAt = (server: StartedServer, token: string, genesis = world.pin) => enrol({ folder: join(machine, 'agent'), name: '', server: `127.0.0.1:${server.enrolmentPort}`, token, genesis });
const askForRelease = () => world.commit([doc('Release', 'shop/1.0', { components: { api: { tag: '1.0' } } }), doc('Promotion', 'dev/shop', { release: '1.0' })], { by: world.people.alice });
const dev = (server: StartedServer) => server.reconciler.state?.states.get('dev/shop');
const unpacked = () => readFile(join(machine, 'srv', 'dev', 'shop', 'current', 'api', 'app.txt'), 'utf8');

test('a release that is asked for in Git runs on the machine of an enrolled agent, with its evidence', async () => {
  const server = await serve();
  await enrolAt(server, await server.issueEnrolmentToken('host'));
  await runAgent(server);
  await askForRelease();
  await expect.poll(() => dev(server)?.lastOutcome?.result, within).toBe('Succeeded');
  expect(await unpacked()).toBe('one\n');
  const sticker = JSON.parse(await readFile(join(machine, 'srv', 'dev', 'shop', 'stella.version.json'), 'utf8')) as { release: string };
  expect(sticker.release).toBe('1.0');
  await expect.poll(async () => (await getJson(server, '/api/v1/agents')).body['data'], within).toMatchObject([{ agent: 'host', connected: true, inventory: { 'dev/shop/dev-1': { running: [{ component: 'api' }] } } }]);
  await expect.poll(async () => (await getJson(server, '/api/v1/promotions')).body['data'], within).toMatchObject([{ environment: 'dev', outcome: 'allow', release: '1.0' }]);
  await expect.poll(async () => (await getJson(server, '/api/v1/environments/dev')).body['data'], within).toMatchObject({ states: [{ application: 'shop', status: 'deployed', release: '1.0', clean: true }] });
});

test('a server that goes away while a run waits for its agent is followed by one that ends the run', async () => {
  const first = await serve();
  const token = await first.issueEnrolmentToken('host');
  await enrolAt(first, token);
  await askForRelease();
  await expect.poll(() => dev(first)?.openRun?.release, within).toBe('1.0');
  await servers.pop()?.close();
  const second = await serve();
  expect(dev(second)?.openRun?.generation).toBe(1);
  await runAgent(second);
  await expect.poll(() => dev(second)?.lastOutcome?.result, within).toBe('Succeeded');
  expect(dev(second)).toMatchObject({ generation: 1, clean: true });
  expect(await unpacked()).toBe('one\n');
});

test('a token can be asked of the server that runs, and of the database when none does', async () => {
  const server = await serve();
  const asked = await issueToken(config, 'host', { now: () => new Date(), environment });
  expect(await enrolAt(server, asked)).toMatchObject({ agent: 'host', server: `127.0.0.1:${server.channelPort}` });
  await expect(issueToken(config, 'nobody', { now: () => new Date(), environment })).rejects.toMatchObject({ code: 'TokenRefused' });
  await servers.pop()?.close();
  const fromDatabase = await issueToken(config, 'host', { now: () => new Date(), environment });
  await enrolAt(await serve(), fromDatabase);
});

test('a token is good for one enrolment only', async () => {
  const server = await serve();
  const token = await server.issueEnrolmentToken('host');
  await enrolAt(server, token);
  await expect(enrolAt(server, token)).rejects.toMatchObject({ code: 'EnrolmentRefused', exitCode: 1 });
});

test('an agent that pins another log does not enrol, and its token is not spent', async () => {
  const server = await serve();
  const token = await server.issueEnrolmentToken('host');
  await expect(enrolAt(server, token, `sha256:${'0'.repeat(64)}` as typeof world.pin)).rejects.toMatchObject({ code: 'EnrolmentRefused' });
  await enrolAt(server, token);
});

test('an agent does not enrol at a server whose authority the pinned root does not list', async () => {
  const other = join(world.folder, 'server-keys', 'other-ca.pem');
  await writeFile(other, newPrivateKeyPem(), { mode: 0o600 });
  config = { ...config, keys: { ...config.keys, agentCa: other } };
  const server = await serve();
  const token = await server.issueEnrolmentToken('host');
  await expect(enrolAt(server, token)).rejects.toThrow(/AuthorityRefused/);
});

test('a server whose keys are all rotated by the next root goes on: agents enrol again with the new authority, and none does with the old', async () => {
  const first = await serve();
  await enrolAt(first, await first.issueEnrolmentToken('host'));
  const keys = join(world.folder, 'server-keys');
  const [decisions, agentCa, commits] = [newPrivateKeyPem(), newPrivateKeyPem(), await createSshKey(join(keys, 'next'), 'next')];
  await writeFile(join(keys, 'decisions-2.pem'), decisions, { mode: 0o600 });
  await writeFile(join(keys, 'agent-ca-2.pem'), agentCa, { mode: 0o600 });
  const old = config;
  await servers.pop()?.close();
  config = { ...config, keys: { ...config.keys, nextDecisions: join(keys, 'decisions-2.pem'), nextEvidenceCommits: commits.privateKeyPath } };
  const second = await serve();
  await commitNextRoot(second, { decisions: publicPemOf(decisions), 'agent-ca': publicPemOf(agentCa), 'evidence-commits': commits.publicKey });
  await expect.poll(() => second.reconciler.state?.inForceDigests.root, within).not.toBe(world.pin);
  await servers.pop()?.close();
  config = { ...old, keys: { ...old.keys, decisions: join(keys, 'decisions-2.pem'), evidenceCommits: commits.privateKeyPath, agentCa: join(keys, 'agent-ca-2.pem') } };
  const third = await serve();
  await enrolAt(third, await third.issueEnrolmentToken('host'));
  await runAgent(third);
  await askForRelease();
  await expect.poll(() => dev(third)?.lastOutcome?.result, within).toBe('Succeeded');
  // T29: whoever stole the old authority's key stands where the server was.
  await servers.pop()?.close();
  config = { ...config, keys: { ...config.keys, agentCa: old.keys.agentCa } };
  const thief = await serve();
  await expect(enrolAt(thief, await thief.issueEnrolmentToken('host'))).rejects.toThrow(/AuthorityRefused/);
});

const publicPemOf = (privatePem: string): string => createPublicKey(privatePem).export({ type: 'spki', format: 'pem' }) as string;

/** The next root with other keys of ours, approved by alice, who holds its one root key. */
async function commitNextRoot(server: StartedServer, keys: Readonly<Record<string, string>>): Promise<void> {
  const { state } = server.reconciler;
  if (state === null) throw new Error('the log is not read yet');
  const { spec } = rootOf(state);
  const services = spec.services.map((service) => ({ ...service, publicKey: keys[service.role] ?? service.publicKey }));
  const root = doc('TrustRoot', 'root', { ...spec, version: spec.version + 1, previous: state.inForceDigests.root, documents: null, services }) as unknown as AnyDocument;
  const changes = [changeTo(state, 'TrustRoot', 'root', documentDigest(root))];
  await world.commit([root, (await world.approval(world.people.alice, { type: 'change', digest: changeDigest(world.pin, changes), changes })) as unknown as AnyDocument], { by: world.people.alice });
}

test('no token is issued for an agent that has no document in force', async () => {
  const server = await serve();
  await expect(server.issueEnrolmentToken('nobody')).rejects.toMatchObject({ code: 'AgentNotInForce' });
});

test('the command serves until it is told to stop, and ends with 0', async () => {
  const file = join(world.folder, 'server.yaml');
  const { decisions, evidenceCommits, agentCa } = config.keys;
  const keys = { decisions, evidenceCommits, agentCa };
  await writeFile(file, stringify({
    repository: { url: world.repository.folder }, genesis: world.pin, dataFolder: join(world.folder, 'command'), keys, http: { port: 0 }, agents: { channelPort: 0, enrolmentPort: 0 },
    storage: { driver: 'postgres', objectStore: 'seed-fs' },
  }));
  const child = spawn(process.execPath, [launcher, 'serve', '--config', file, '--create-log'], {
    env: { PATH: process.env['PATH'], HOME: process.env['HOME'], CONNECTIONSTRINGS__DEFAULT: database.url }, stdio: ['ignore', 'ignore', 'pipe'],
  });
  const lines: { message: string; records?: number }[] = [];
  child.stderr.setEncoding('utf8').on('data', (text: string) => lines.push(...text.trim().split('\n').filter((line) => line.startsWith('{')).map((line) => JSON.parse(line) as { message: string })));
  const ended = new Promise<number | null>((resolve) => child.once('exit', resolve));
  await expect.poll(() => lines.map(({ message }) => message), within).toEqual(expect.arrayContaining(['serving', 'reconciled']));
  child.kill('SIGTERM');
  expect(await ended).toBe(0);
  expect(await world.repository.tip('stella/evidence')).not.toBeNull();
});

test('the command says everything that is wrong with its configuration, and ends with 2', async () => {
  const child = spawn(process.execPath, [launcher, 'serve'], { env: { PATH: process.env['PATH'], STELLA_POL_SECONDS: '5' }, stdio: ['ignore', 'ignore', 'pipe'] });
  let said = '';
  child.stderr.setEncoding('utf8').on('data', (text: string) => (said += text));
  expect(await new Promise<number | null>((resolve) => child.once('close', resolve))).toBe(2);
  for (const setting of ['repository.url', 'genesis', 'keys.decisions', 'STORAGE__DRIVER', 'STELLA_POLL_SECONDS']) expect(said).toContain(setting);
});
