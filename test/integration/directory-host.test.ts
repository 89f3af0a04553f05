import { execFile } from 'node:child_process';
import { chmod, cp, lstat, mkdir, mkdtemp, readdir, readFile, readlink, rm, symlink, truncate, writeFile } from 'node:fs/promises';
import { createServer, type Server } from 'node:http';
import type { AddressInfo } from 'node:net';
import os from 'node:os';
import path from 'node:path';
import { promisify } from 'node:util';
import fc from 'fast-check';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { applyDirectory } from '../../src/adapters/directory-host/apply-directory.ts';
import type { DirectoryOrder, DirectoryOutcome } from '../../src/adapters/directory-host/directory-order.ts';
import { formatEnvFile, parseEnvFile } from '../../src/adapters/directory-host/env-file.ts';
import { observeDirectory } from '../../src/adapters/directory-host/observe-directory.ts';
import { placeOf, readSwitchRecord, writeSwitchRecord } from '../../src/adapters/directory-host/place.ts';
import { removeDirectory } from '../../src/adapters/directory-host/remove-directory.ts';
import { buildImage, buildIndex } from '../../src/adapters/oci/build-image.ts';
import { createImageLayout } from '../../src/adapters/oci/image-layout.ts';
import { tagManifest, writeBuiltImage, writeImage, writeIndex } from '../../src/adapters/oci/write-layout.ts';
import { type Digest, digestOfBytes, hexOf } from '../../src/core/model/digest.ts';
import { RegistryError } from '../../src/ports/blob-source.ts';
import { requireComponent } from '../fakes/components.ts';
import { layerOf } from '../fakes/oci-image.ts';
import { mountTmpfs } from '../fakes/tmpfs.ts';

const platform = { os: 'linux', architecture: 'amd64' };
const secret = 'corrEct horse';

let base: string;
let root: string;
let images: string;
let lines: string[];
beforeEach(async () => {
  base = await mkdtemp(path.join(os.tmpdir(), 'stella-directory-'));
  root = path.join(base, 'root');
  images = path.join(base, 'images');
  lines = [];
});
afterEach(async () => rm(base, { recursive: true, force: true }));

/** Writes an image of `shop/<component>` and gives its digest. */
async function imageFor(component: string, content: string): Promise<Digest> {
  const files = [{ path: 'app/main.txt', content, mode: 0o644 }];
  return (await writeImage({ layoutFolder: path.join(images, 'shop', component), tag: 'x', files })).manifestDigest;
}

async function orderOf(version: string, changes: Partial<DirectoryOrder> = {}): Promise<DirectoryOrder> {
  return {
    root,
    application: 'shop',
    versionName: version,
    components: [
      { name: 'api', repository: 'shop/api', digest: await imageFor('api', `api ${version}`) },
      { name: 'web', repository: 'shop/web', digest: await imageFor('web', `web ${version}`) },
    ],
    files: [{ path: 'conf/shop.ini', bytes: Buffer.from(`version=${version}`), mode: 0o644 }],
    env: { PASSWORD: secret, MODE: 'test' },
    secretNames: ['PASSWORD'],
    sticker: Buffer.from(JSON.stringify({ release: `shop/${version}` })),
    source: createImageLayout({ root: images }),
    platform,
    progress: (line) => lines.push(line),
    ...changes,
  };
}

const at = (...segments: string[]): string => path.join(root, 'shop', ...segments);
const running = (): Promise<string> => readFile(at('current/api/app/main.txt'), 'utf8');
const sticker = async (): Promise<unknown> => JSON.parse(await readFile(at('stella.version.json'), 'utf8'));
const observe = () => observeDirectory({ root, application: 'shop' });
const sh = (script: string, timeoutSeconds = 10) => ({ argv: ['sh', '-c', script], timeoutSeconds });
const blobFile = (component: string, digest: Digest): string => path.join(images, 'shop', component, 'blobs/sha256', hexOf(digest));

async function layerDigest(component: string, manifest: Digest): Promise<Digest> {
  const { layers } = JSON.parse(await readFile(blobFile(component, manifest), 'utf8')) as { layers: { digest: Digest }[] };
  const [layer] = layers;
  if (layer === undefined) throw new Error('the image has a layer');
  return layer.digest;
}

async function succeed(order: DirectoryOrder): Promise<DirectoryOutcome> {
  const outcome = await applyDirectory(order);
  expect(outcome).toMatchObject({ result: 'Succeeded' });
  return outcome;
}

/** What must hold after an order that did not succeed: version 1 runs, whole, with its sticker, and nothing half done lies around. */
async function expectVersionOneRuns(): Promise<void> {
  expect(await running()).toBe('api 1');
  expect(await sticker()).toEqual({ release: 'shop/1' });
  const observed = await observe();
  expect(observed).toMatchObject({ state: 'running', versionName: '1', filesIntact: true, switchOpen: false });
  expect(observed.components.map((component) => component.intact)).toEqual([true, true]);
  expect((await readdir(at('versions'))).filter((name) => name.startsWith('.'))).toEqual([]);
  expect((await readdir(at())).filter((name) => name.endsWith('.draft'))).toEqual([]);
}

describe('deploying to a directory host', () => {
  it('puts components, files, variables and sticker in place and says what runs', async () => {
    const order = await orderOf('1');
    const outcome = await succeed(order);
    const digests = order.components.map(({ name, digest }) => ({ component: name, digest }));
    expect(outcome).toMatchObject({ code: 'Deployed', rolledBack: false, running: digests });
    expect(await readlink(at('current'))).toBe('versions/1');
    expect([await running(), await readFile(at('current/conf/shop.ini'), 'utf8')]).toEqual(['api 1', 'version=1']);
    expect((await lstat(at('current/app.env'))).mode & 0o777).toBe(0o600);
    expect(await sticker()).toEqual({ release: 'shop/1' });
    const observed = await observe();
    expect(observed.components).toMatchObject(order.components.map(({ name, repository, digest }) => ({ component: name, repository, digest, manifestDigest: digest, intact: true })));
    expect(observed).toMatchObject({ state: 'running', versionName: '1', filesIntact: true, sticker: { state: 'present', content: { release: 'shop/1' } } });
  });

  it('switches to the next version and keeps the one before', async () => {
    await succeed(await orderOf('1'));
    await succeed(await orderOf('2'));
    expect(await running()).toBe('api 2');
    expect(await readdir(at('versions'))).toEqual(['1', '2']);
  });

  it('does nothing twice: the same order again runs no command and pulls nothing', async () => {
    const order = await orderOf('1', { command: sh(`echo run >> ${base}/runs`) });
    await succeed(order);
    await rm(images, { recursive: true });
    expect(await succeed(order)).toMatchObject({ code: 'Unchanged', running: [{ component: 'api' }, { component: 'web' }] });
    expect(await readFile(path.join(base, 'runs'), 'utf8')).toBe('run\n');
  });

  it('goes back to a version that is still there without pulling it', async () => {
    const [one, two] = [await orderOf('1'), await orderOf('2')];
    await succeed(one);
    await succeed(two);
    await rm(images, { recursive: true });
    expect(await succeed(one)).toMatchObject({ code: 'Deployed' });
    await expectVersionOneRuns();
  });

  it('gives the same name with other content, and content that was changed on the host, a folder of its own', async () => {
    await succeed(await orderOf('1'));
    await succeed(await orderOf('1', { env: { PASSWORD: 'another secret', MODE: 'test' } }));
    expect(await readlink(at('current'))).toBe('versions/1~1');
    await writeFile(at('current/api/app/main.txt'), 'tampered');
    expect((await observe()).components.map((component) => component.intact)).toEqual([false, true]);
    await succeed(await orderOf('1', { env: { PASSWORD: 'another secret', MODE: 'test' } }));
    expect(await running()).toBe('api 1');
    expect(await observe()).toMatchObject({ versionName: '1' });
    expect((await observe()).components.every((component) => component.intact)).toBe(true);
  });

  it('keeps three versions, and never drops the one that runs or the one before it', async () => {
    for (const version of ['1', '2', '3', '4', '5']) await succeed(await orderOf(version));
    expect(await readdir(at('versions'))).toEqual(['3', '4', '5']);
    await succeed(await orderOf('3'));
    for (const version of ['6', '7']) await applyDirectory(await orderOf(version, { command: sh('exit 1') }));
    expect(await running()).toBe('api 3');
    await succeed(await orderOf('8'));
    expect((await readdir(at('versions'))).sort()).toEqual(['3', '7', '8']);
  });

  it('picks its own platform from a multi-platform index and reports the index', async () => {
    const layout = path.join(images, 'shop/multi');
    const parts = await Promise.all(['amd64', 'arm64'].map(async (architecture) => ({ image: buildImage([await layerOf([{ name: 'arch', content: architecture }])], { os: 'linux', architecture }), platform: { os: 'linux', architecture } })));
    for (const { image } of parts) await writeBuiltImage(layout, image);
    const { manifestDigest } = await writeIndex(layout, '1', buildIndex(parts));
    const components = [{ name: 'api', repository: 'shop/multi', digest: manifestDigest }];
    expect(await succeed(await orderOf('1', { components, platform: { os: 'linux', architecture: 'arm64' } }))).toMatchObject({ running: [{ component: 'api', digest: manifestDigest }] });
    expect(await readFile(at('current/api/arch'), 'utf8')).toBe('arm64');
    expect((await observe()).components[0]?.manifestDigest).toBe(parts[1]?.image.manifest.digest);
    expect(await applyDirectory(await orderOf('2', { components, platform: { os: 'plan9', architecture: 'mips' } }))).toMatchObject({ result: 'Failed', code: 'PlatformUnknown' });
  });
});

describe('what ran keeps running', () => {
  beforeEach(async () => {
    await succeed(await orderOf('1'));
  });

  it.each(['tampered', 'cut', 'missing'] as const)('when a blob is %s', async (how) => {
    const order = await orderOf('2');
    const web = order.components[1];
    if (web === undefined) throw new Error('there are two components');
    const blob = blobFile('web', await layerDigest('web', web.digest));
    if (how === 'tampered') await writeFile(blob, Buffer.alloc((await lstat(blob)).size, 'x'));
    if (how === 'cut') await truncate(blob, 20);
    if (how === 'missing') await rm(blob);
    const expected = how === 'missing' ? { result: 'Errored', code: 'BlobUnknown' } : { result: 'Failed', code: 'DigestMismatch' };
    expect(await applyDirectory(order)).toMatchObject({ ...expected, rolledBack: false, running: [{ component: 'api' }, { component: 'web' }] });
    await expectVersionOneRuns();
  });

  it('when a layer reaches out of its component', async () => {
    const image = buildImage([await layerOf([{ name: 'l', type: 'symlink', linkname: '../../../..' }])]);
    await writeBuiltImage(path.join(images, 'shop/evil'), image);
    await tagManifest(path.join(images, 'shop/evil'), '1', image.manifest);
    const components = [{ name: 'evil', repository: 'shop/evil', digest: image.manifest.digest }];
    expect(await applyDirectory(await orderOf('2', { components }))).toMatchObject({ result: 'Failed', code: 'UnsafeLayer' });
    await expectVersionOneRuns();
  });

  it('when the component is larger than the limit', async () => {
    expect(await applyDirectory(await orderOf('2', { unpackLimits: { unpackedBytes: 3, unpackedEntries: 10 } }))).toMatchObject({ result: 'Failed', code: 'LayerTooLarge' });
    await expectVersionOneRuns();
  });

  it('when the registry is away, and the next try succeeds', async () => {
    const order = await orderOf('2');
    const away = new RegistryError('RegistryUnreachable', 'retry', 'away');
    const source = { ...order.source, openBlob: async function* () { yield await Promise.reject(away); } };
    expect(await applyDirectory({ ...order, source })).toMatchObject({ result: 'Errored', code: 'RegistryUnreachable' });
    await expectVersionOneRuns();
    let tries = 0;
    const flaky: typeof order.source = { ...order.source, openBlob: (...args) => (++tries === 1 ? source.openBlob() : order.source.openBlob(...args)) };
    await succeed({ ...order, source: flaky });
    expect(await running()).toBe('api 2');
  });

  it('when the command says no: the link goes back, and the command of what ran is run again', async () => {
    await succeed(await orderOf('1', { command: sh(`cat api/app/main.txt >> ${base}/ran; echo " as $MODE" >> ${base}/ran`) }));
    const outcome = await applyDirectory(await orderOf('2', { command: sh('exit 3'), env: { MODE: 'other' } }));
    expect(outcome).toMatchObject({ result: 'Failed', code: 'CommandFailed', rolledBack: true });
    expect(await readFile(path.join(base, 'ran'), 'utf8')).toBe('api 1 as test\napi 1 as test\n');
    await expectVersionOneRuns();
  });

  it('when the command cannot be started, or does not end', async () => {
    expect(await applyDirectory(await orderOf('2', { command: { argv: ['/no/such/program'], timeoutSeconds: 1 } }))).toMatchObject({ result: 'Errored', code: 'CommandNotRun', rolledBack: true });
    await expectVersionOneRuns();
    expect(await applyDirectory(await orderOf('2', { command: sh('sleep 60', 1) }))).toMatchObject({ result: 'Failed', code: 'CommandTimedOut', rolledBack: true });
    await expectVersionOneRuns();
  });

  it('when the new version is not healthy, which says in its own words why', async () => {
    const healthCheck = { type: 'command', argv: ['sh', '-c', `echo try >> ${base}/tries; false`], timeoutSeconds: 5, retries: 2, intervalMs: 1 } as const;
    expect(await applyDirectory(await orderOf('2', { healthCheck }))).toMatchObject({ result: 'Failed', code: 'Unhealthy', rolledBack: true });
    const talking = await applyDirectory(await orderOf('2', { healthCheck: { ...healthCheck, argv: ['sh', '-c', 'echo out of cheese; exit 3'] } }));
    expect(talking).toMatchObject({ code: 'Unhealthy', message: expect.stringContaining('out of cheese') });
    expect(await readFile(path.join(base, 'tries'), 'utf8')).toBe('try\ntry\ntry\n');
    await expectVersionOneRuns();
    expect(await applyDirectory(await orderOf('2', { healthCheck: { ...healthCheck, argv: ['/no/such/program'] } }))).toMatchObject({ result: 'Errored', code: 'HealthCheckNotRun', rolledBack: true });
    await expectVersionOneRuns();
  });

  it('when the order is stopped, before the switch or after it', async () => {
    expect(await applyDirectory(await orderOf('2', { signal: AbortSignal.abort() }))).toMatchObject({ result: 'Errored', code: 'Aborted', rolledBack: false });
    await expectVersionOneRuns();
    const stop = new AbortController();
    const progress = (line: string): void => void (line.startsWith('switched to') && setTimeout(() => stop.abort(), 20));
    expect(await applyDirectory(await orderOf('2', { signal: stop.signal, progress, command: sh('sleep 60') }))).toMatchObject({ result: 'Errored', code: 'Aborted', rolledBack: true });
    await expectVersionOneRuns();
  });

  it('when names in the order lead elsewhere', async () => {
    const order = await orderOf('2');
    const file = { bytes: Buffer.from('x'), mode: 0o644 };
    const [component] = order.components;
    if (component === undefined) throw new Error('there are components');
    const bad: Partial<DirectoryOrder>[] = [
      { versionName: '../1' },
      { versionName: '.staging' },
      { application: '../shop' },
      { components: [{ ...component, name: '..' }] },
      { components: [component, component] },
      { components: [{ ...component, name: 'app.env' }] },
      ...['../x', '/etc/x', 'a/../../x', 'a//b', 'app.env', '.stella-version.json', 'api/app/main.txt', 'a\\b'].map((at) => ({ files: [{ ...file, path: at }] })),
      { files: [{ ...file, path: 'x' }, { ...file, path: 'x' }] },
      { env: { 'A B': 'x' } },
      { env: { A: 'x\0y' } },
    ];
    for (const change of bad) expect(await applyDirectory({ ...order, ...change }), JSON.stringify(change)).toMatchObject({ result: 'Failed', code: 'InvalidOrder' });
    await expectVersionOneRuns();
    expect(await readdir(root)).toEqual(['shop']);
  });
});

describe('the first version', () => {
  it('that fails leaves nothing running and no sticker', async () => {
    expect(await applyDirectory(await orderOf('1', { command: sh('false') }))).toMatchObject({ result: 'Failed', rolledBack: true, running: [] });
    expect(await observe()).toMatchObject({ state: 'stopped', components: [], sticker: { state: 'absent' } });
    await succeed(await orderOf('1'));
    await expectVersionOneRuns();
  });

  it('is refused where a folder of ours is a link to somewhere else, or current is no link', async () => {
    await mkdir(path.join(base, 'elsewhere'), { recursive: true });
    await mkdir(root);
    await symlink(path.join(base, 'elsewhere'), at());
    expect(await applyDirectory(await orderOf('1'))).toMatchObject({ result: 'Failed', code: 'InvalidOrder' });
    expect(await removeDirectory({ root, application: 'shop' })).toMatchObject({ result: 'Failed', code: 'InvalidOrder' });
    await rm(at());
    await mkdir(at('current'), { recursive: true });
    expect(await applyDirectory(await orderOf('1'))).toMatchObject({ result: 'Errored', code: 'FileSystem' });
  });
});

describe('after a crash', () => {
  it('while unpacking, the half version is swept away', async () => {
    await succeed(await orderOf('1'));
    await mkdir(at('versions/.staging-2/api'), { recursive: true });
    await writeFile(at('versions/.staging-2/api/half'), 'half');
    await succeed(await orderOf('2'));
    expect(await readdir(at('versions'))).toEqual(['1', '2']);
    expect(await readdir(at('versions/2/api'))).toEqual(['app']);
  });

  it('between unpacking and the switch, the finished version is used, and a version without its marker is not', async () => {
    await succeed(await orderOf('1'));
    await applyDirectory(await orderOf('2', { command: sh('false') }));
    await rm(at('versions/2/.stella-version.json'));
    await succeed(await orderOf('2'));
    expect(await readlink(at('current'))).toBe('versions/2~1');
  });

  it('after the switch, what last proved itself is what comes back', async () => {
    await succeed(await orderOf('1'));
    await succeed(await orderOf('2'));
    const place = placeOf(root, 'shop');
    await writeSwitchRecord(place, { from: 'versions/1', to: 'versions/2', state: 'open' });
    await writeFile(at('stella.version.json'), JSON.stringify({ release: 'shop/1' }));
    expect(await observe()).toMatchObject({ versionName: '2', switchOpen: true });
    expect(await applyDirectory(await orderOf('2', { healthCheck: { type: 'command', argv: ['false'], timeoutSeconds: 5, retries: 0, intervalMs: 0 } }))).toMatchObject({ result: 'Failed', rolledBack: true });
    await expectVersionOneRuns();
    expect(await readSwitchRecord(place)).toMatchObject({ to: 'versions/1', state: 'done' });
  });

  it('after the switch, the same order finishes what it began', async () => {
    await succeed(await orderOf('1'));
    const order = await orderOf('2', { command: sh(`echo run >> ${base}/runs`) });
    await succeed(order);
    await writeSwitchRecord(placeOf(root, 'shop'), { from: 'versions/1', to: 'versions/2', state: 'open' });
    expect(await succeed(order)).toMatchObject({ code: 'Deployed' });
    expect(await readFile(path.join(base, 'runs'), 'utf8')).toBe('run\nrun\n');
    expect(await observe()).toMatchObject({ versionName: '2', switchOpen: false });
  });
});

describe('a full disk', () => {
  it('leaves what ran untouched at any moment, and the order succeeds once there is space', async (context) => {
    requireComponent('tmpfs', context);
    const disk = mountTmpfs(20);
    try {
      root = disk.path;
      await succeed(await orderOf('1'));
      const order = await orderOf('2', { files: [{ path: 'big', bytes: Buffer.alloc(400_000, 'x'), mode: 0o644 }] });
      const filler = path.join(root, 'filler');
      const codes = new Set<string>();
      for (const freeKb of [0, 4, 8, 12, 16, 24, 40, 120, 300, 400, 420]) {
        await fillDisk(filler, freeKb * 1024);
        const outcome = await applyDirectory(order);
        codes.add(outcome.code);
        if (outcome.result === 'Succeeded') break;
        expect(outcome).toMatchObject({ result: 'Errored', code: 'NoSpace', rolledBack: false });
        await expectVersionOneRuns();
      }
      expect(codes).toContain('NoSpace');
      await rm(filler);
      await succeed(order);
      expect(await running()).toBe('api 2');
    } finally {
      disk.unmount();
    }
  });

  async function fillDisk(filler: string, freeBytes: number): Promise<void> {
    await writeFile(filler, '');
    await writeFile(filler, Buffer.alloc(21 * 1024 * 1024)).catch(() => undefined);
    await truncate(filler, Math.max(0, (await lstat(filler)).size - freeBytes));
  }
});

describe('secrets', () => {
  it('are in no line of progress and no message, however a command prints them', async () => {
    const env = { PASSWORD: secret, MULTI: 'first half\nsecond half', MODE: 'test' };
    const secretNames = ['PASSWORD', 'MULTI'];
    const command = sh('printf "%s %s\\n" "$PASSWORD" "$MODE"; echo "$MULTI" >&2; printf %s "$PASSWORD"; exit 1');
    const outcome = await applyDirectory(await orderOf('1', { env, secretNames, command, healthCheck: { type: 'http', url: `http://127.0.0.1:1/${secret}`, timeoutSeconds: 1, retries: 0, intervalMs: 0 } }));
    const shown = `${lines.join('\n')}\n${outcome.message}`;
    for (const value of [secret, 'first half', 'second half']) expect(shown).not.toContain(value);
    expect(lines).toContain('*** test');
    expect(JSON.stringify(await readFile(at('versions/1/.stella-version.json'), 'utf8'))).not.toContain(secret);
  });

  it('that the order no longer knows stay hidden when the command of the old version is run again', async () => {
    await succeed(await orderOf('1', { env: { OLD: 'old treasure' }, secretNames: ['OLD'], command: sh('echo "old: $OLD"') }));
    await applyDirectory(await orderOf('2', { env: { MODE: 'test' }, secretNames: [], command: sh('false') }));
    expect(lines.filter((line) => line.startsWith('old:'))).toEqual(['old: ***', 'old: ***']);
  });

  it('reach a shell exactly as they are, whatever they hold', async () => {
    await fc.assert(
      fc.asyncProperty(fc.array(fc.string({ unit: fc.constantFrom('a', '"', "'", '$', '`', '\\', '\n', ' ', '#', 'é', '!', '=') }), { minLength: 1, maxLength: 3 }), async (values) => {
        const env = Object.fromEntries(values.map((value, i) => [`V${i}`, value]));
        const file = path.join(base, 'app.env');
        await writeFile(file, formatEnvFile(env));
        expect({ ...parseEnvFile(formatEnvFile(env)) }).toEqual(env);
        const { stdout } = await promisify(execFile)('sh', ['-c', `. "$0"; ${values.map((_, i) => `printf '%s\\0' "$V${i}"`).join('; ')}`, file]);
        expect(stdout).toBe(values.map((value) => `${value}\0`).join(''));
      }),
      { numRuns: 40 },
    );
  });
});

describe('health checks', () => {
  let server: Server;
  let port: number;
  let status: number;
  beforeEach(async () => {
    status = 200;
    server = createServer((_, response) => response.writeHead(status).end());
    await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
    ({ port } = server.address() as AddressInfo);
  });
  afterEach(async () => {
    server.closeAllConnections();
    await new Promise((resolve) => server.close(resolve));
  });

  it('ask over http and tcp, and take no redirect or error for a yes', async () => {
    const common = { timeoutSeconds: 5, retries: 0, intervalMs: 0 };
    await succeed(await orderOf('1', { healthCheck: { type: 'http', url: `http://127.0.0.1:${port}/`, ...common } }));
    await succeed(await orderOf('2', { healthCheck: { type: 'tcp', host: '127.0.0.1', port, ...common } }));
    for (status of [302, 404, 500]) {
      expect(await applyDirectory(await orderOf('3', { healthCheck: { type: 'http', url: `http://127.0.0.1:${port}/`, ...common } }))).toMatchObject({ result: 'Failed', code: 'Unhealthy', rolledBack: true });
    }
    server.closeAllConnections();
    await new Promise((resolve) => server.close(resolve));
    expect(await applyDirectory(await orderOf('3', { healthCheck: { type: 'tcp', host: '127.0.0.1', port, ...common } }))).toMatchObject({ result: 'Failed', code: 'Unhealthy' });
    expect(await running()).toBe('api 2');
  });
});

describe('observing a directory host', () => {
  it('says absent where there is nothing, and changes nothing', async () => {
    expect(await observe()).toMatchObject({ state: 'absent', sticker: { state: 'absent' } });
    await expect(readdir(root)).rejects.toMatchObject({ code: 'ENOENT' });
  });

  it('sees content, permission bits and files that were changed, added or removed', async () => {
    await succeed(await orderOf('1'));
    const changes: (readonly [string, () => Promise<unknown>])[] = [
      ['content', () => writeFile(at('current/api/app/main.txt'), 'x')],
      ['mode', () => chmod(at('current/api/app/main.txt'), 0o777)],
      ['added', () => writeFile(at('current/api/app/extra'), '')],
      ['removed', () => rm(at('current/api/app'), { recursive: true })],
      ['gone', () => rm(at('current/api'), { recursive: true })],
    ];
    await cp(at('versions/1'), path.join(base, 'whole'), { recursive: true, preserveTimestamps: true });
    for (const [name, change] of changes) {
      await change();
      expect((await observe()).components.map((component) => component.intact), name).toEqual([false, true]);
      await rm(at('versions/1'), { recursive: true });
      await cp(path.join(base, 'whole'), at('versions/1'), { recursive: true });
      expect((await observe()).components.map((component) => component.intact), name).toEqual([true, true]);
    }
    await writeFile(at('current/conf/shop.ini'), 'x');
    expect(await observe()).toMatchObject({ filesIntact: false });
  });

  it('tells a sticker that is missing from one that is corrupt', async () => {
    await succeed(await orderOf('1'));
    for (const content of ['{"half":', '[]', 'null', Buffer.from([0x22, 0xff, 0x22])]) {
      await writeFile(at('stella.version.json'), content);
      expect((await observe()).sticker.state).toBe('corrupt');
    }
    await rm(at('stella.version.json'));
    expect((await observe()).sticker).toEqual({ state: 'absent' });
  });

  it('says broken where the link leads elsewhere, nowhere, or is none', async () => {
    await succeed(await orderOf('1'));
    for (const target of ['/etc', '../..', 'versions/../versions/1', 'versions/none']) {
      await rm(at('current'), { recursive: true, force: true });
      await symlink(target, at('current'));
      expect(await observe(), target).toMatchObject({ state: 'broken', components: [] });
    }
    await rm(at('current'));
    await mkdir(at('current'));
    expect(await observe()).toMatchObject({ state: 'broken' });
  });
});

describe('removing an application', () => {
  it('removes everything of it and nothing else, and succeeds again', async () => {
    await succeed(await orderOf('1'));
    await succeed(await orderOf('1', { application: 'other' }));
    const gone = { result: 'Succeeded', code: 'Removed', running: [] };
    expect(await removeDirectory({ root, application: 'shop' })).toMatchObject(gone);
    expect(await readdir(root)).toEqual(['other']);
    expect(await removeDirectory({ root, application: 'shop' })).toMatchObject(gone);
    expect(await removeDirectory({ root: path.join(base, 'none'), application: 'shop' })).toMatchObject(gone);
    expect(await removeDirectory({ root, application: '..' })).toMatchObject({ result: 'Failed', code: 'InvalidOrder' });
    expect(digestOfBytes(await readFile(path.join(root, 'other/current/api/app/main.txt')))).toBe(digestOfBytes('api 1'));
  });
});
