import { spawn, type ChildProcess } from 'node:child_process';
import { mkdir, mkdtemp, readFile, realpath, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import Docker from 'dockerode';
import { afterEach, beforeEach, expect, test } from 'vitest';
import { stringify } from 'yaml';
import { buildImage, buildLayer } from '../../src/adapters/oci/build-image.ts';
import type { Digest } from '../../src/core/model/digest.ts';
import type { AnyDocument } from '../../src/core/model/documents.ts';
import { migratedDatabase } from '../contract/postgres-fixture.ts';
import { programPath, requireComponent } from '../fakes/components.ts';
import { startDockerRegistry, type ScratchRegistry } from '../fakes/docker-registry.ts';
import { startDockerd } from '../fakes/dockerd.ts';
import { pushImage } from '../fakes/oci-image.ts';
import type { ScratchDatabase } from '../fakes/postgres.ts';
import { doc, pathOf, World, yamlOf } from '../fakes/world.ts';
import { cloneFor, json, stella, type Clone } from './cli-fixture.ts';
import { serverConfig } from './serve-fixture.ts';

const within = { timeout: 60_000, interval: 100 };
const launcher = fileURLToPath(new URL('../../src/bin/stella.js', import.meta.url));

type Line = { readonly message: string; readonly [field: string]: unknown };
/** A command of stella in a process of its own. */
type Program = { readonly child: ChildProcess; readonly lines: Line[]; stop(): Promise<number | null> };

let database: ScratchDatabase;
let docker: Docker;
let registry: ScratchRegistry;
let world: World;
let alice: Clone;
/** Where agent and application live: the world of the machine that is deployed to. */
let machine: string;
const programs: Program[] = [];

function startProgram(args: readonly string[], environment: Readonly<Record<string, string>>): Program {
  const child = spawn(process.execPath, [launcher, ...args], { env: { PATH: process.env['PATH'], HOME: machine, ...environment }, stdio: ['ignore', 'ignore', 'pipe'] });
  const lines: Line[] = [];
  let pending = '';
  child.stderr.setEncoding('utf8').on('data', (text: string) => {
    const parts = (pending + text).split('\n');
    pending = parts.pop() ?? '';
    lines.push(...parts.map((line) => (line.startsWith('{') ? (JSON.parse(line) as Line) : { message: line })));
  });
  const ended = new Promise<number | null>((resolve) => child.once('exit', resolve));
  const stop = (): Promise<number | null> => {
    child.kill('SIGTERM');
    return ended;
  };
  const program = { child, lines, stop };
  programs.push(program);
  return program;
}

const said = async (program: Program, message: string): Promise<Line> => {
  await expect.poll(() => program.lines, within).toEqual(expect.arrayContaining([expect.objectContaining({ message })]));
  return program.lines.find((line) => line.message === message)!;
};

/** An image with a static busybox and a file that tells versions apart. */
async function push(tag: string, content: string, program = 'bin/busybox'): Promise<Digest> {
  const busybox = await readFile(await realpath(programPath('busybox') ?? ''));
  const layers = [await buildLayer([{ path: program, content: busybox, mode: 0o755 }]), await buildLayer([{ path: 'version', content, mode: 0o644 }])];
  return await pushImage({ origin: registry.url, repository: 'shop/api' }, tag, buildImage(layers));
}

const compose = (): string => stringify({
  services: { api: { image: `${registry.host}/shop/api`, network_mode: 'host', init: true, stop_grace_period: '0s', command: ['/bin/busybox', 'sleep', '1000'], environment: { GREETING: '${GREETING}' } } },
});

/** The shop as a Compose application on the machine's engine, its images in a real registry. */
async function openWorld(socket: string, identityKey: string): Promise<World> {
  const documents = [
    doc('Application', 'shop', { components: ['api'], deployment: { type: 'compose', compose: 'compose.yaml', files: ['compose.yaml'], healthTimeoutSeconds: 20 } }),
    doc('Component', 'api', { repository: `${registry.host}/shop/api`, registry: 'images' }),
    doc('Integration', 'images', { type: 'registry', host: registry.host, insecure: true }),
    doc('Agent', 'host', { identityKey, owner: 'bob', capabilities: ['compose_host'] }),
    ...['dev', 'prod'].map((environment) => doc('Target', `${environment}-1`, {
      type: 'compose_host', agent: 'host', environments: [environment], applications: ['shop'], connection: { folder: join(machine, 'srv', environment), socket },
    })),
  ];
  const configuration = doc('Configuration', 'dev/shop', { variables: { GREETING: 'hello' } });
  return World.create({ idle: true, documents: documents as unknown as AnyDocument[], files: { 'compose.yaml': compose(), [pathOf(configuration)]: yamlOf(configuration) } });
}

beforeEach(async (ctx) => {
  for (const name of ['dockerd', 'docker-compose', 'docker-registry'] as const) requireComponent(name, ctx);
  machine = await mkdtemp(join(tmpdir(), 'stella-machine-'));
  const engine = await startDockerd();
  docker = new Docker({ socketPath: engine.socketPath });
  [registry, database] = await Promise.all([startDockerRegistry(), migratedDatabase()]);
  await mkdir(join(machine, 'agent'));
  const keygen = await stella(['agent', 'keygen', '--folder', join(machine, 'agent'), '--name', 'host', '--capability', 'compose_host', '-o', 'json']);
  world = await openWorld(engine.socketPath, json<{ spec: { identityKey: string } }>(keygen).spec.identityKey);
  alice = await cloneFor(world, world.people.alice);
}, 60_000);
afterEach(async () => {
  for (const program of programs.splice(0).reverse()) await program.stop();
  for (const { Id } of await ownContainers()) await docker.getContainer(Id).remove({ force: true });
  const pulled = (await docker.listImages({ digests: true })).flatMap(({ RepoDigests }) => RepoDigests ?? []).filter((name) => name.startsWith(registry.host));
  for (const name of pulled) await docker.getImage(name).remove({ force: true });
  await Promise.all([world.close(), registry.stop(), rm(machine, { recursive: true, force: true })]);
  await database.drop();
}, 60_000);

/** Starts the server, and the agent that it has enrolled. */
async function startBoth(): Promise<{ readonly api: string; readonly server: Program }> {
  const { decisions, evidenceCommits, agentCa } = (await serverConfig(world, { STORAGE__DRIVER: 'postgres', CONNECTIONSTRINGS__DEFAULT: database.url })).keys;
  const file = join(world.folder, 'server.yaml');
  await writeFile(file, stringify({
    repository: { url: world.repository.folder }, genesis: world.pin, dataFolder: join(world.folder, 'server'), keys: { decisions, evidenceCommits, agentCa }, http: { port: 0 }, agents: { channelPort: 0, enrolmentPort: 0 }, pollSeconds: 1,
    storage: { driver: 'postgres', objectStore: 'seed-fs' },
  }));
  const settings = { CONNECTIONSTRINGS__DEFAULT: database.url };
  const server = startProgram(['serve', '--config', file, '--create-log'], settings);
  const { api, enrolment } = await said(server, 'serving');
  await said(server, 'reconciled');
  const token = json<{ token: string }>(await stella(['agent', 'token', 'host', '--config', file, '-o', 'json'], { environment: settings })).token;
  const folder = join(machine, 'agent');
  const enrolled = await stella(['agent', 'enrol', '--folder', folder, '--server', enrolment as string, '--token', token, '--genesis', world.pin]);
  expect(enrolled).toMatchObject({ code: 0 });
  await said(startProgram(['agent', 'run', '--folder', folder], {}), 'connected');
  return { api: api as string, server };
}

const ownContainers = async (): Promise<Docker.ContainerInfo[]> =>
  (await docker.listContainers({ all: true })).filter((container) => container.Labels['com.docker.compose.project.working_dir']?.startsWith(machine) === true);

/** What the engine says runs there. */
async function running(): Promise<readonly (string | undefined)[]> {
  const found = (await ownContainers()).filter(({ State }) => State === 'running');
  return Promise.all(found.map(async ({ Id }) => {
    const { Image, Config } = await docker.getContainer(Id).inspect();
    // The engine may know one image by the names of other registries as well.
    return (await docker.getImage(Image).inspect()).RepoDigests?.find((known) => known === Config.Image);
  }));
}

type App = { readonly release: string | null; readonly generation: number; readonly components: readonly object[]; readonly lastOutcome: object | null };
type Status = {
  readonly environments: readonly { readonly environment: string; readonly applications: readonly App[] }[];
  readonly server: { readonly targets: readonly { readonly target: string; readonly running: readonly object[] }[] };
};
async function status(api: string): Promise<{ readonly evidence: App | undefined; readonly targets: unknown }> {
  await alice.pull();
  const shown = json<Status>(await alice.stella(['status', 'dev', '--server', api, '-o', 'json']));
  const app = shown.environments[0]?.applications[0];
  return { evidence: app, targets: shown.server.targets.map(({ target, running: runs }) => ({ target, running: runs })) };
}

/** Evidence, agent and engine agree on what runs. */
async function expectRunning(api: string, wanted: { readonly release: string; readonly generation: number; readonly digest: Digest }): Promise<void> {
  const { release, generation, digest } = wanted;
  await expect.poll(() => status(api), within).toMatchObject({
    evidence: { release, generation, components: [{ name: 'api', digest }] }, targets: [{ target: 'dev-1', running: [{ component: 'api', digest }] }],
  });
  expect(await running()).toEqual([`${registry.host}/shop/api@${digest}`]);
}

const release = (version: string): AnyDocument => doc('Release', `shop/${version}`, { components: { api: { tag: version } } });

test('an application of containers is released from tags, deployed, replaced, and rolled back by digest', { timeout: 180_000 }, async () => {
  const [one, two] = [await push('1.0', 'one'), await push('1.1', 'two')];
  const { api } = await startBoth();
  await world.commit([release('1.0'), doc('Promotion', 'dev/shop', { release: '1.0' })], { by: world.people.alice });
  await expectRunning(api, { release: '1.0', generation: 1, digest: one });
  await world.commit([release('1.1'), doc('Promotion', 'dev/shop', { release: '1.1' })], { by: world.people.alice });
  await expectRunning(api, { release: '1.1', generation: 2, digest: two });
  // The tag of the first release is somebody else's image by now: going back names a digest.
  const moved = await push('1.0', 'moved');
  await world.commit([doc('Promotion', 'dev/shop', { release: '1.0' })], { by: world.people.alice });
  await expectRunning(api, { release: '1.0', generation: 3, digest: one });
  expect(moved).not.toBe(one);
  const sticker = JSON.parse(await readFile(join(machine, 'srv', 'dev', 'dev', 'shop', 'stella.version.json'), 'utf8')) as object;
  expect(sticker).toMatchObject({ release: '1.0', generation: 3, components: [{ name: 'api', digest: one }] });
  await alice.pull();
  expect(await alice.stella(['verify'])).toMatchObject({ code: 0 });
  expect(await alice.stella(['replay'])).toMatchObject({ code: 0 });
});

test('a version that does not start gives way to what ran, and everybody who asks is told why', { timeout: 180_000 }, async () => {
  const one = await push('1.0', 'one');
  await push('1.1', 'two', 'bin/elsewhere');
  const { api, server } = await startBoth();
  await world.commit([release('1.0'), doc('Promotion', 'dev/shop', { release: '1.0' })], { by: world.people.alice });
  await expectRunning(api, { release: '1.0', generation: 1, digest: one });
  await world.commit([release('1.1'), doc('Promotion', 'dev/shop', { release: '1.1' })], { by: world.people.alice });
  const failure = { step: 'deploy', target: 'dev-1', result: 'Failed', code: 'ServiceExited', message: expect.stringContaining('service api ended with 127') };
  await expect.poll(async () => (await status(api)).evidence, within).toMatchObject({ release: '1.0', lastOutcome: { result: 'Failed', reason: 'TargetFailed', failures: [failure] } });
  expect(await running()).toEqual([`${registry.host}/shop/api@${one}`]);
  expect((await alice.stella(['status', 'dev'])).stdout).toContain('dev-1: ServiceExited: ');
  expect((await alice.stella(['explain', 'dev/shop'])).stdout).toContain('dev-1: ServiceExited: ');
  expect(server.lines).toContainEqual(expect.objectContaining({ level: 'warn', target: 'dev-1', code: 'ServiceExited', message: expect.stringContaining('service api ended with 127') }));
  const said = async (): Promise<unknown> => ((await (await fetch(`${api}/api/v1/conditions`)).json()) as { data: unknown }).data;
  await expect.poll(said, within).toContainEqual(expect.objectContaining({ kind: 'Promotion', name: 'dev/shop', reason: 'Refused', message: expect.stringContaining('dev-1: ServiceExited') }));
});
