import { mkdir, readdir, readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { afterEach, beforeEach, expect, it } from 'vitest';
import { directoryHost } from '../../src/adapters/directory-host/directory-host.ts';
import { defaultPlatform } from '../../src/adapters/oci/build-image.ts';
import { createImageLayout } from '../../src/adapters/oci/image-layout.ts';
import { writeImage } from '../../src/adapters/oci/write-layout.ts';
import { secretResolver } from '../../src/agent/secret-resolver.ts';
import { digestOfBytes, type Digest } from '../../src/core/model/digest.ts';
import type { Runs } from '../../src/core/model/preimages.ts';
import type { ApplyWork, TargetContext, TargetDriver } from '../../src/ports/target-driver.ts';
import { Scratch } from '../contract/agent-fixture.ts';

const scratch = new Scratch();
let layouts: string;
let root: string;
let driver: TargetDriver;
let digest: Digest;

beforeEach(async () => {
  [layouts, root] = [await scratch.folder(), await scratch.folder()];
  await mkdir(join(layouts, 'shop/api'), { recursive: true });
  const files = [{ path: 'index.txt', content: 'hello', mode: 0o644 }];
  digest = (await writeImage({ layoutFolder: join(layouts, 'shop/api'), tag: '1.0.0', files })).manifestDigest;
  const source = createImageLayout({ root: layouts });
  driver = directoryHost({ sourceOf: (registry) => (registry === 'images' ? source : null), platform: defaultPlatform });
});
afterEach(() => scratch.clean());

function workFor(more: Partial<Runs> = {}, environment = 'prod'): ApplyWork {
  const runs = {
    type: 'stella/runs/v1', environment, application: 'shop', release: 'shop/1.0.0', lock: digestOfBytes('lock'),
    deployment: { type: 'directory', healthCheck: { type: 'command', argv: ['/bin/sh', '-c', 'test "$COLOUR$TOKEN" = bluesecret'], retries: 0 } },
    components: [{ name: 'api', repository: 'shop/api', registry: 'images', digest }],
    artifacts: [], files: [], variables: { COLOUR: 'blue' }, secrets: { TOKEN: 'env:TOKEN' }, ...more,
  } as unknown as Runs;
  return {
    operation: 'promote', environment, application: 'shop', release: 'shop/1.0.0', generation: 1, promotionDigest: digestOfBytes('promotion'), try: 1,
    target: { name: 'host-1', type: 'directory_host', agent: 'anna', connection: { root } },
    runs, artifacts: new Map(), sticker: Buffer.from('{"release":"shop/1.0.0"}'), notAfter: '2100-01-01T00:00:00.000Z', quorumProven: true,
    protectedChange: { seq: 1, digest: digestOfBytes('change') },
  };
}
const context = (token: string | undefined = 'secret'): TargetContext => ({
  now: () => new Date(), progress: () => undefined, resolveSecret: secretResolver({ environment: { TOKEN: token }, secretFolders: [] }),
});
const slot = (environment = 'prod') => ({ environment, application: 'shop', target: workFor().target });

it('an order on a directory host runs the digests of its plan with its variables and secrets', async () => {
  expect(await driver.apply(workFor(), context())).toMatchObject({ result: 'Succeeded', running: [{ component: 'api', digest }], rolledBack: false });
  const observed = await driver.observe(slot(), context());
  expect(observed.running).toEqual([{ component: 'api', digest }]);
  expect(Buffer.from(observed.sticker ?? []).toString()).toBe('{"release":"shop/1.0.0"}');
});

it('a component that was changed on the disk is not reported under its digest', async () => {
  await driver.apply(workFor(), context());
  const names = await readdir(root, { recursive: true });
  const file = names.find((name) => name.endsWith('index.txt'));
  await writeFile(join(root, file ?? 'none'), 'changed');
  const [component] = (await driver.observe(slot(), context())).running;
  expect(component?.component).toBe('api');
  expect(component?.digest).not.toBe(digest);
});

it('two environments on one host keep apart', async () => {
  await driver.apply(workFor(), context());
  await driver.apply(workFor({ environment: 'dev' }, 'dev'), context());
  const remove = { ...workFor({}, 'dev'), operation: 'remove' as const, runs: null };
  expect(await driver.remove(remove, context())).toMatchObject({ result: 'Succeeded', code: 'Removed' });
  expect((await driver.observe(slot('dev'), context())).running).toEqual([]);
  expect((await driver.observe(slot('prod'), context())).running).toEqual([{ component: 'api', digest }]);
});

it('an order that cannot be made out ends with its code and touches nothing', async () => {
  const cases: readonly (readonly [ApplyWork, string])[] = [
    [{ ...workFor(), target: { ...workFor().target, connection: { root: 'relative' } } }, 'InvalidOrder'],
    [workFor({ deployment: { type: 'compose' } }), 'InvalidOrder'],
    [workFor({ components: [{ name: 'api', repository: 'shop/api', registry: 'elsewhere', digest }] }), 'RegistryUnreachable'],
    [workFor({ files: [{ path: 'conf', digest: digestOfBytes('conf'), mode: 0o644 }] }), 'InvalidOrder'],
    [{ ...workFor(), sticker: null }, 'InvalidOrder'],
  ];
  for (const [work, code] of cases) expect(await driver.apply(work, context()), code).toMatchObject({ code, running: [] });
  await expect(driver.apply(workFor(), { ...context(), resolveSecret: secretResolver({ environment: {}, secretFolders: [] }) })).rejects.toMatchObject({ code: 'SecretUnavailable' });
  expect(await readdir(root)).toEqual([]);
});

it('the secret reaches the application’s own environment file and its sticker never', async () => {
  await driver.apply(workFor(), context());
  const files = (await readdir(root, { recursive: true, withFileTypes: true })).filter((entry) => entry.isFile());
  const holding = [];
  for (const file of files) if ((await readFile(join(file.parentPath, file.name), 'utf8')).includes('secret')) holding.push(file.name);
  expect([...new Set(holding)]).toEqual(['app.env']);
});
