import { mkdtemp, readdir, readFile, realpath, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import Docker from 'dockerode';
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import { composeHost, type ComposeHostOptions } from '../../src/adapters/compose-host/compose-host.ts';
import { placeOf } from '../../src/adapters/compose-host/project-folder.ts';
import { buildImage, buildLayer } from '../../src/adapters/oci/build-image.ts';
import { secretResolver } from '../../src/agent/secret-resolver.ts';
import { digestOfBytes, hexOf, type Digest } from '../../src/core/model/digest.ts';
import type { Runs } from '../../src/core/model/preimages.ts';
import { LOCK_FILE } from '../../src/core/release/plan.ts';
import { renderYaml } from '../../src/core/release/render-yaml.ts';
import type { ApplyWork, TargetContext } from '../../src/ports/target-driver.ts';
import { missingComponent, programPath, requireComponent } from '../fakes/components.ts';
import { startDockerRegistry, type ScratchRegistry } from '../fakes/docker-registry.ts';
import { startDockerd, type ScratchDockerd } from '../fakes/dockerd.ts';
import { pushImage } from '../fakes/oci-image.ts';

const NEEDED = ['dockerd', 'docker-compose', 'docker-registry'] as const;
const isHere = NEEDED.every((name) => missingComponent(name) === undefined) && programPath('busybox') !== undefined;

let engine: ScratchDockerd;
let registry: ScratchRegistry;
let docker: Docker;
let one: Digest;
let two: Digest;
let folder: string;
let progress: string[];

/** An image that holds a static busybox and a file that tells versions apart. */
async function pushVersion(to: ScratchRegistry, name: string, version: string): Promise<Digest> {
  const busybox = await readFile(await realpath(programPath('busybox') ?? ''));
  const layers = [await buildLayer([{ path: 'bin/busybox', content: busybox, mode: 0o755 }]), await buildLayer([{ path: 'version', content: version, mode: 0o644 }])];
  const credentials = to.credentials === undefined ? {} : { headers: { authorization: `Basic ${Buffer.from(`${to.credentials.username}:${to.credentials.password}`).toString('base64')}` } };
  return await pushImage({ origin: to.url, repository: name, ...credentials }, version, buildImage(layers));
}

beforeAll(async () => {
  if (!isHere) return;
  engine = await startDockerd();
  docker = new Docker({ socketPath: engine.socketPath });
  registry = await startDockerRegistry();
  [one, two] = [await pushVersion(registry, 'shop/api', 'one'), await pushVersion(registry, 'shop/api', 'two')];
});
afterAll(async () => await registry?.stop());

beforeEach(async (ctx) => {
  for (const name of NEEDED) requireComponent(name, ctx);
  if (programPath('busybox') === undefined) ctx.skip('component busybox is missing: Debian package busybox-static');
  folder = await mkdtemp(join(tmpdir(), 'stella-compose-'));
  progress = [];
});
afterEach(async () => {
  for (const container of await containers()) await docker.getContainer(container.Id).remove({ force: true });
  await rm(folder, { recursive: true, force: true });
});

const containers = async (): Promise<Docker.ContainerInfo[]> =>
  (await docker.listContainers({ all: true })).filter((container) => container.Labels['com.docker.compose.project.working_dir']?.startsWith(folder) === true);
const runningIds = async (): Promise<string[]> => (await containers()).filter(({ State }) => State === 'running').map(({ Id }) => Id).sort();

type Demand = {
  readonly digest: Digest;
  readonly service?: object;
  readonly more?: Record<string, object>;
  readonly secrets?: Record<string, string>;
  readonly files?: Record<string, string>;
  readonly repository?: string;
  readonly healthTimeoutSeconds?: number;
};

function workFor(demand: Demand): ApplyWork {
  const repository = `${demand.repository ?? `${registry.host}/shop/api`}`;
  const plain = { network_mode: 'host', init: true, stop_grace_period: '0s', command: ['/bin/busybox', 'sleep', '1000'] };
  const services = { api: { image: `${repository}@${demand.digest}`, ...plain, ...demand.service }, ...demand.more };
  const artifacts = new Map<Digest, Uint8Array>();
  const shipped = (path: string, text: string) => {
    const bytes = Buffer.from(text);
    artifacts.set(digestOfBytes(bytes), bytes);
    return { path, digest: digestOfBytes(bytes), mode: 0o644 };
  };
  const runs: Runs = {
    type: 'stella/runs/v1', environment: 'prod', application: 'shop', release: 'shop/1.0.0', lock: digestOfBytes('lock'),
    deployment: { type: 'compose', compose: 'compose.yaml', healthTimeoutSeconds: demand.healthTimeoutSeconds ?? 30 },
    components: [{ name: 'api', repository, registry: 'local', digest: demand.digest }],
    artifacts: [shipped(LOCK_FILE, renderYaml({ version: '3.8', services }))],
    files: Object.entries(demand.files ?? {}).map(([path, text]) => shipped(path, text)),
    variables: {}, secrets: demand.secrets ?? {},
  };
  return {
    operation: 'promote', environment: 'prod', application: 'shop', release: 'shop/1.0.0', generation: 1, promotionDigest: digestOfBytes('promotion'), try: 1,
    target: { name: 'host-1', type: 'compose_host', agent: 'anna', connection: { folder, socket: engine.socketPath } },
    runs, artifacts, sticker: Buffer.from(JSON.stringify({ runs: demand.digest })), notAfter: '2100-01-01T00:00:00.000Z', quorumProven: true,
    protectedChange: { seq: 1, digest: digestOfBytes('change') },
  };
}

const resolveSecret = secretResolver({ environment: { PASSWORD: 'open $esame "quoted"' }, secretFolders: [] });
const context = (): TargetContext => ({ now: () => new Date(), resolveSecret, progress: (line) => progress.push(line) });
const driverWith = (more: Partial<ComposeHostOptions> = {}) =>
  composeHost({ surroundings: { path: process.env['PATH'] ?? '' }, registryAuth: async () => null, settleMs: 300, ...more });
const driver = driverWith();
const apply = (demand: Demand) => driver.apply(workFor(demand), context());
const slot = () => ({ environment: 'prod', application: 'shop', target: workFor({ digest: one }).target });
const sticker = async (): Promise<string> => await readFile(join(folder, 'prod/shop/stella.version.json'), 'utf8').catch(() => 'none');

describe('applying', () => {
  it('runs the digests of the lock file and says so on the sticker', async () => {
    const outcome = await apply({ digest: one });
    expect(outcome).toMatchObject({ result: 'Succeeded', code: 'Applied', running: [{ component: 'api', digest: one }], rolledBack: false });
    expect(await sticker()).toContain(one);
    const observed = await driver.observe(slot(), context());
    expect(observed.running).toEqual([{ component: 'api', digest: one }]);
    expect(Buffer.from(observed.sticker ?? []).toString()).toContain(one);
  });

  it('twice changes nothing the second time', async () => {
    await apply({ digest: one });
    const before = await runningIds();
    expect(await apply({ digest: one })).toMatchObject({ result: 'Succeeded' });
    expect(await runningIds()).toEqual(before);
  });

  it('moves to the next digest and removes services that are no longer there', async () => {
    const image = `${registry.host}/shop/api@${one}`;
    await apply({ digest: one, more: { worker: { image, network_mode: 'host', init: true, command: ['/bin/busybox', 'sleep', '1000'] } } });
    expect(await runningIds()).toHaveLength(2);
    expect(await apply({ digest: two })).toMatchObject({ result: 'Succeeded', running: [{ component: 'api', digest: two }] });
    expect(await runningIds()).toHaveLength(1);
    expect(await sticker()).toContain(two);
  });

  it('gives secrets to the process and to nothing else', async () => {
    const secrets = { DATABASE_PASSWORD: 'env:PASSWORD' };
    const service = { environment: { PASSWORD: '${DATABASE_PASSWORD}' }, command: ['/bin/busybox', 'sh', '-c', 'echo "$$PASSWORD"; exec /bin/busybox sleep 1000'] };
    expect(await apply({ digest: one, secrets, service })).toMatchObject({ result: 'Succeeded' });
    const [container] = await containers();
    const { Config } = await docker.getContainer(container?.Id ?? '').inspect();
    expect(Config.Env).toContain('PASSWORD=open $esame "quoted"');
    const files = (await readdir(folder, { recursive: true, withFileTypes: true })).filter((entry) => entry.isFile());
    for (const file of files) expect(await readFile(join(file.parentPath, file.name), 'utf8')).not.toContain('$esame');
    expect(progress.join('\n')).not.toContain('$esame');
  });

  it('mounts shipped files by their path in the repository', async () => {
    const service = { volumes: ['./conf/greeting:/greeting:ro'], command: ['/bin/busybox', 'sleep', '1000'], healthcheck: { test: ['CMD', '/bin/busybox', 'grep', 'hello', '/greeting'], interval: '1s', retries: 3 } };
    expect(await apply({ digest: one, service, files: { 'conf/greeting': 'hello' } })).toMatchObject({ result: 'Succeeded' });
  });

  it('pulls with the credentials of the registry, given by value, and fails without them', async () => {
    const closed = await startDockerRegistry({ htpasswd: true });
    try {
      const digest = await pushVersion(closed, 'closed/api', 'one');
      const work = workFor({ digest, repository: `${closed.host}/closed/api` });
      expect(await driver.apply(work, context())).toMatchObject({ result: 'Errored', code: 'ImagePullFailed' });
      const asked: string[] = [];
      const registryAuth = async (host: string) => (asked.push(host), closed.credentials ?? null);
      expect(await driverWith({ registryAuth }).apply(work, context())).toMatchObject({ result: 'Succeeded' });
      expect(asked).toEqual([closed.host]);
    } finally {
      await closed.stop();
    }
  });
});

describe('a service that does its work once', () => {
  const job = (restart: string | undefined, command: string) => ({
    image: `${registry.host}/shop/api@${two}`, network_mode: 'host', command: ['/bin/busybox', 'sh', '-c', command], ...(restart === undefined ? {} : { restart }),
  });

  it.each(['no', 'on-failure'])('and says so with restart: %s has succeeded when it ends with 0, and counts with what it ran', async (restart) => {
    const outcome = await apply({ digest: one, more: { migrate: job(restart, '/bin/busybox sleep 1') } });
    expect(outcome.result).toBe('Succeeded');
    expect(outcome.running.map(({ digest }) => digest).toSorted()).toEqual([one, two].toSorted());
    expect((await driver.observe(slot(), context())).running).toHaveLength(2);
    expect(await runningIds()).toHaveLength(1);
  });

  it('has failed when it ends with anything else', async () => {
    expect(await apply({ digest: one, more: { migrate: job('no', 'exit 4') } })).toMatchObject({ result: 'Failed', code: 'ServiceExited', rolledBack: true, running: [] });
  });

  it('but does not say so has failed: a server that ends is not up', async () => {
    const outcome = await apply({ digest: one, more: { server: job(undefined, 'exit 0') } });
    expect(outcome).toMatchObject({ result: 'Failed', code: 'ServiceExited', message: expect.stringContaining('restart: "no"') });
  });

  it('is waited for, and has failed when it does not end in time', async () => {
    const outcome = await apply({ digest: one, more: { migrate: job('no', '/bin/busybox sleep 100') }, healthTimeoutSeconds: 3 });
    expect(outcome).toMatchObject({ result: 'Failed', code: 'HealthTimedOut' });
  });
});

describe('what runs is not touched', () => {
  it('by anything that can be seen before something is stopped', async () => {
    await apply({ digest: two });
    const before = await runningIds();
    const image = `${registry.host}/shop/api:one`;
    const demands: readonly (readonly [Demand, string])[] = [
      [{ digest: digestOfBytes('no such image') }, 'ImagePullFailed'],
      [{ digest: one, service: { image } }, 'ImageNotPinned'],
      [{ digest: one, service: { build: '.' } }, 'ImageNotPinned'],
      [{ digest: one, service: { no_such_key: true } }, 'ComposeInvalid'],
      [{ digest: one, secrets: { COMPOSE_FILE: 'env:PASSWORD' } }, 'SecretNameReserved'],
      [{ digest: one, files: { '../../escape': 'x' } }, 'LockFileInvalid'],
    ];
    for (const [demand, code] of demands) {
      expect(await apply(demand), code).toMatchObject({ result: 'Errored', code, running: [{ component: 'api', digest: two }] });
    }
    await expect(apply({ digest: one, secrets: { A: 'env:MISSING' } })).rejects.toMatchObject({ code: 'SecretUnavailable' });
    expect(await runningIds()).toEqual(before);
    expect(await sticker()).toContain(two);
  });

  it('by a blob that was tampered with in the registry', async () => {
    await apply({ digest: two });
    const before = await runningIds();
    const layer = await buildLayer([{ path: 'version', content: 'tampered', mode: 0o644 }]);
    const digest = await pushVersion(registry, 'shop/api', 'tampered');
    const blob = hexOf(digestOfBytes(layer.bytes));
    const path = join(registry.storageFolder, 'docker/registry/v2/blobs/sha256', blob.slice(0, 2), blob, 'data');
    const bytes = await readFile(path);
    bytes[bytes.length - 10] = (bytes[bytes.length - 10] ?? 0) ^ 0xff;
    await writeFile(path, bytes);
    expect(await apply({ digest })).toMatchObject({ result: 'Errored', code: 'ImagePullFailed', running: [{ component: 'api', digest: two }] });
    expect(await runningIds()).toEqual(before);
  });

  it('by an engine that does not answer', async () => {
    const work = workFor({ digest: one });
    const connection = { folder, socket: join(folder, 'nobody.sock') };
    const outcome = await driver.apply({ ...work, target: { ...work.target, connection } }, context());
    expect(outcome).toMatchObject({ result: 'Errored', code: 'EngineUnreachable', running: [] });
  });
});

describe('a version that does not come up', () => {
  const failing = { healthcheck: { test: ['CMD', '/bin/busybox', 'false'], interval: '1s', retries: 1 } };
  const ending = { command: ['/bin/busybox', 'sh', '-c', 'echo out of cheese; exit 3'] };
  const missing = { command: ['/no/such/program'], init: false };

  it('gives way to what ran before, whatever it fails by', { timeout: 240_000 }, async () => {
    await apply({ digest: one });
    const versions = [
      [failing, 'ServiceUnhealthy'],
      [ending, 'ServiceExited'],
      [missing, 'UpFailed'],
      [{ ...ending, restart: 'always' }, 'HealthTimedOut'],
    ] as const;
    for (const [service, code] of versions) {
      const outcome = await apply({ digest: two, service, healthTimeoutSeconds: 4 });
      expect(outcome, code).toMatchObject({ result: 'Failed', code, rolledBack: true, running: [{ component: 'api', digest: one }] });
      expect(await sticker()).toContain(one);
      expect((await driver.observe(slot(), context())).running).toEqual([{ component: 'api', digest: one }]);
    }
    expect(progress).toContain('api | out of cheese'); // people see why
  });

  it('leaves nothing running where nothing ran before', async () => {
    expect(await apply({ digest: two, service: failing })).toMatchObject({ result: 'Failed', rolledBack: true, running: [] });
    expect(await containers()).toEqual([]);
    expect(await sticker()).toBe('none');
  });

  it('says so when what ran before cannot be started again either', async () => {
    await apply({ digest: one, secrets: { A: 'env:PASSWORD' } });
    const forgetful = { ...context(), resolveSecret: secretResolver({ environment: {}, secretFolders: [] }) };
    const outcome = await driver.apply(workFor({ digest: two, service: failing }), forgetful);
    expect(outcome).toMatchObject({ result: 'Failed', code: 'ServiceUnhealthy', rolledBack: false });
  });
});

describe('removing', () => {
  it('stops and removes the application and its sticker, and again is no error', async () => {
    await apply({ digest: one });
    const work = { ...workFor({ digest: one }), operation: 'remove' as const, runs: null };
    expect(await driver.remove(work, context())).toMatchObject({ result: 'Succeeded', code: 'Removed', running: [] });
    expect(await containers()).toEqual([]);
    expect(await sticker()).toBe('none');
    expect(await driver.remove(work, context())).toMatchObject({ result: 'Succeeded', code: 'Removed' });
  });

  it('removes containers although their folder was lost', async () => {
    await apply({ digest: one });
    await rm(join(folder, 'prod'), { recursive: true });
    const work = { ...workFor({ digest: one }), operation: 'remove' as const, runs: null };
    expect(await driver.remove(work, context())).toMatchObject({ result: 'Succeeded', code: 'Removed' });
    expect(await containers()).toEqual([]);
  });
});

describe('names', () => {
  it('of two applications never make one project or folder', () => {
    const target = { name: 'host-1', type: 'compose_host', connection: { folder: '/srv' } };
    const places = [['a-b', 'c'], ['a', 'b-c'], ['a.b', 'c'], ['a_b', 'c']].map(([environment = '', application = '']) => placeOf({ environment, application, target }));
    expect(new Set(places.map(({ project }) => project)).size).toBe(4);
    expect(new Set(places.map((place) => place.folder)).size).toBe(4);
    expect(places.every(({ project }) => /^[a-z0-9][a-z0-9_-]*$/.test(project))).toBe(true);
  });

  it('of folders and sockets must be absolute', () => {
    const at = (connection: ApplyWork['target']['connection']) => () => placeOf({ environment: 'a', application: 'b', target: { name: 't', type: 'compose_host', connection } });
    expect(at({ folder: 'relative' })).toThrow(expect.objectContaining({ code: 'ConnectionInvalid' }));
    expect(at({})).toThrow(expect.objectContaining({ code: 'ConnectionInvalid' }));
    expect(at({ folder: '/srv', socket: 'docker.sock' })).toThrow(expect.objectContaining({ code: 'ConnectionInvalid' }));
  });
});
