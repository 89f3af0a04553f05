import { mkdir, mkdtemp, readdir, rm, truncate, writeFile } from 'node:fs/promises';
import os from 'node:os';
import path from 'node:path';
import { afterAll, beforeEach, describe, expect, it } from 'vitest';
import { buildImage, buildIndex, buildLayer, type BuiltImage } from '../../src/adapters/oci/build-image.ts';
import { createImageLayout } from '../../src/adapters/oci/image-layout.ts';
import { mediaTypes } from '../../src/adapters/oci/manifest.ts';
import { readImage } from '../../src/adapters/oci/read-image.ts';
import { createRegistryClient } from '../../src/adapters/oci/registry-client.ts';
import { tagManifest, writeBuiltImage, writeIndex } from '../../src/adapters/oci/write-layout.ts';
import { type Digest, digestOfBytes, hexOf } from '../../src/core/model/digest.ts';
import type { BlobSource } from '../../src/ports/blob-source.ts';
import type { DigestResolver } from '../../src/ports/digest-resolver.ts';
import { type ComponentName, requireComponent } from '../fakes/components.ts';
import { startDockerRegistry } from '../fakes/docker-registry.ts';
import { pushImage, pushManifest } from '../fakes/oci-image.ts';

const amd64 = { os: 'linux', architecture: 'amd64' };
const arm64 = { os: 'linux', architecture: 'arm64', variant: 'v8' };
const nowhere = digestOfBytes('nobody has this');

/** What the suite needs from the real registry and from the layout folder alike. */
type World = {
  readonly port: DigestResolver & BlobSource;
  readonly put: (repository: string, tag: string, image: BuiltImage) => Promise<void>;
  readonly putIndex: (repository: string, tag: string, bytes: Uint8Array) => Promise<void>;
  /** The file in which a blob lies, to damage it. */
  readonly blobFile: (repository: string, digest: Digest) => string;
  readonly stop: () => Promise<void>;
};

async function layoutWorld(): Promise<World> {
  const root = await mkdtemp(path.join(os.tmpdir(), 'stella-layout-'));
  return {
    port: createImageLayout({ root }),
    put: async (repository, tag, image) => {
      await writeBuiltImage(path.join(root, repository), image);
      await tagManifest(path.join(root, repository), tag, image.manifest);
    },
    putIndex: async (repository, tag, bytes) => void (await writeIndex(path.join(root, repository), tag, bytes)),
    blobFile: (repository, digest) => path.join(root, repository, 'blobs/sha256', hexOf(digest)),
    stop: () => rm(root, { recursive: true, force: true }),
  };
}

async function registryWorld(): Promise<World> {
  const registry = await startDockerRegistry();
  const at = (repository: string) => ({ origin: registry.url, repository });
  return {
    port: createRegistryClient({ registry: registry.url, now: () => new Date(0), backoff: () => 0 }),
    put: async (repository, tag, image) => {
      await pushImage(at(repository), tag, image);
    },
    putIndex: async (repository, tag, bytes) => void (await pushManifest(at(repository), tag, mediaTypes.ociIndex, bytes)),
    blobFile: (_, digest) => path.join(registry.storageFolder, 'docker/registry/v2/blobs/sha256', hexOf(digest).slice(0, 2), hexOf(digest), 'data'),
    stop: () => registry.stop(),
  };
}

const imageOf = async (text: string, platform = amd64): Promise<BuiltImage> =>
  buildImage([await buildLayer([{ path: 'app/hello.txt', content: text, mode: 0o644 }])], platform);

async function collect(chunks: AsyncIterable<Uint8Array>): Promise<Uint8Array> {
  const parts: Uint8Array[] = [];
  for await (const chunk of chunks) parts.push(chunk);
  return Buffer.concat(parts);
}

const worlds: readonly { readonly name: string; readonly component: ComponentName | undefined; readonly start: () => Promise<World> }[] = [
  { name: 'an image layout folder', component: undefined, start: layoutWorld },
  { name: 'a real registry', component: 'docker-registry', start: registryWorld },
];

describe.each(worlds)('images in $name', ({ component, start }) => {
  let world: World;
  beforeEach(async (context) => {
    if (component !== undefined) requireComponent(component, context);
    world ??= await start();
  });
  afterAll(async () => world?.stop());

  it('resolves a tag to the digest, media type and size of its manifest', async () => {
    const image = await imageOf('one');
    await world.put('shop/api', '1.0', image);
    const expected = { ok: true, digest: image.manifest.digest, mediaType: mediaTypes.ociManifest, size: image.manifestBytes.byteLength };
    expect(await world.port.resolve({ repository: 'shop/api', tag: '1.0' })).toEqual(expected);
    expect(await world.port.resolve({ repository: 'shop/api', tag: '1.0' })).toEqual(expected);
  });

  it('follows a tag that moved, and keeps the digest it pointed to before', async () => {
    const [before, after] = [await imageOf('before'), await imageOf('after')];
    await world.put('shop/moving', 'latest', before);
    expect(await world.port.resolve({ repository: 'shop/moving', tag: 'latest' })).toMatchObject({ digest: before.manifest.digest });
    await world.put('shop/moving', 'latest', after);
    expect(await world.port.resolve({ repository: 'shop/moving', tag: 'latest' })).toMatchObject({ digest: after.manifest.digest });
    expect(await world.port.exists({ repository: 'shop/moving', digest: before.manifest.digest })).toEqual({ ok: true, exists: true });
  });

  it('tells an unknown tag from an unknown repository', async () => {
    await world.put('shop/known', '1.0', await imageOf('known'));
    expect(await world.port.resolve({ repository: 'shop/known', tag: '2.0' })).toMatchObject({ ok: false, code: 'TagUnknown', disposition: 'wait' });
    expect(await world.port.resolve({ repository: 'shop/strange', tag: '1.0' })).toMatchObject({ ok: false, code: 'RepositoryUnknown', disposition: 'wait' });
    expect(await world.port.listTags('shop/strange')).toMatchObject({ ok: false, code: 'RepositoryUnknown' });
  });

  it('says whether a digest exists', async () => {
    const image = await imageOf('exists');
    await world.put('shop/exists', '1.0', image);
    expect(await world.port.exists({ repository: 'shop/exists', digest: image.manifest.digest })).toEqual({ ok: true, exists: true });
    expect(await world.port.exists({ repository: 'shop/exists', digest: nowhere })).toEqual({ ok: true, exists: false });
    expect(await world.port.exists({ repository: 'shop/strange', digest: nowhere })).toEqual({ ok: true, exists: false });
  });

  it('lists the tags of a repository in order', async () => {
    const image = await imageOf('tags');
    for (const tag of ['b', 'a', '1.0']) await world.put('shop/tags', tag, image);
    expect(await world.port.listTags('shop/tags')).toEqual({ ok: true, tags: ['1.0', 'a', 'b'], truncated: false });
  });

  it('pins the index of a multi-platform image and picks the manifest by platform', async () => {
    const [intel, arm] = [await imageOf('intel', amd64), await imageOf('arm', arm64)];
    await world.put('shop/multi', 'intel', intel);
    await world.put('shop/multi', 'arm', arm);
    const index = buildIndex([{ image: intel, platform: amd64 }, { image: arm, platform: arm64 }]);
    await world.putIndex('shop/multi', '1.0', index);
    const resolved = await world.port.resolve({ repository: 'shop/multi', tag: '1.0' });
    expect(resolved).toMatchObject({ ok: true, digest: digestOfBytes(index), mediaType: mediaTypes.ociIndex });
    const pinned = { repository: 'shop/multi', digest: digestOfBytes(index) };
    expect((await readImage(world.port, pinned, amd64)).manifestDigest).toBe(intel.manifest.digest);
    expect((await readImage(world.port, pinned, { os: 'linux', architecture: 'arm64' })).manifestDigest).toBe(arm.manifest.digest);
    await expect(readImage(world.port, pinned, { os: 'linux', architecture: 's390x' })).rejects.toMatchObject({ code: 'PlatformUnknown' });
  });

  it('gives manifests and blobs byte for byte', async () => {
    const image = await imageOf('bytes');
    await world.put('shop/bytes', '1.0', image);
    expect(Buffer.from(await world.port.readManifest('shop/bytes', image.manifest.digest)).equals(image.manifestBytes)).toBe(true);
    for (const [digest, bytes] of image.blobs) {
      expect(Buffer.from(await collect(world.port.openBlob('shop/bytes', digest, bytes.byteLength))).equals(bytes)).toBe(true);
    }
  });

  it('refuses a manifest and a blob that are not there', async () => {
    await world.put('shop/gaps', '1.0', await imageOf('gaps'));
    await expect(world.port.readManifest('shop/gaps', nowhere)).rejects.toMatchObject({ code: 'BlobUnknown' });
    await expect(collect(world.port.openBlob('shop/gaps', nowhere, 10))).rejects.toMatchObject({ code: 'BlobUnknown' });
  });

  it('refuses a blob whose content, length or stated size is wrong', async () => {
    const image = await imageOf('damaged');
    await world.put('shop/damaged', '1.0', image);
    const [first, second] = [...image.blobs];
    if (first === undefined || second === undefined) throw new Error('an image has a configuration and a layer');
    await expect(collect(world.port.openBlob('shop/damaged', first[0], first[1].byteLength + 1))).rejects.toMatchObject({ code: 'DigestMismatch' });
    await expect(collect(world.port.openBlob('shop/damaged', first[0], first[1].byteLength - 1))).rejects.toMatchObject({ code: 'DigestMismatch' });
    await writeFile(world.blobFile('shop/damaged', first[0]), Buffer.alloc(first[1].byteLength, 'x'));
    await expect(collect(world.port.openBlob('shop/damaged', first[0], first[1].byteLength))).rejects.toMatchObject({ code: 'DigestMismatch' });
    await truncate(world.blobFile('shop/damaged', second[0]), 7);
    await expect(collect(world.port.openBlob('shop/damaged', second[0], second[1].byteLength))).rejects.toMatchObject({ code: 'DigestMismatch' });
  });

  it('refuses names that lead elsewhere before it looks', async () => {
    const names = ['../secret', 'shop/../../secret', '/etc', 'shop//api', 'shop/.', 'Shop/api', 'shop\\api', 'shop/api?x', ''];
    for (const repository of names) {
      expect(await world.port.resolve({ repository, tag: '1.0' })).toMatchObject({ ok: false, code: 'InvalidReference', disposition: 'stall' });
      expect(await world.port.listTags(repository)).toMatchObject({ ok: false, code: 'InvalidReference' });
      await expect(world.port.readManifest(repository, nowhere)).rejects.toMatchObject({ code: 'InvalidReference' });
      await expect(collect(world.port.openBlob(repository, nowhere, 1))).rejects.toMatchObject({ code: 'InvalidReference' });
    }
    for (const tag of ['../x', 'a/b', '', '-a', 'a'.repeat(129)]) {
      expect(await world.port.resolve({ repository: 'shop/api', tag })).toMatchObject({ ok: false, code: 'InvalidReference' });
    }
    await expect(world.port.readManifest('shop/api', 'sha256:../../x' as Digest)).rejects.toMatchObject({ code: 'InvalidReference' });
  });
});

describe('writing an image layout', () => {
  it('gives the same digest for the same files in any order, and another for another mode', async () => {
    const one = { path: 'a', content: 'A', mode: 0o644 };
    const two = { path: 'b', content: 'B', mode: 0o755 };
    const digest = buildImage([await buildLayer([one, two])]).manifest.digest;
    expect(buildImage([await buildLayer([two, one])]).manifest.digest).toBe(digest);
    expect(buildImage([await buildLayer([{ ...one, mode: 0o600 }, two])]).manifest.digest).not.toBe(digest);
  });

  it('leaves no draft behind', async () => {
    const folder = await mkdtemp(path.join(os.tmpdir(), 'stella-layout-'));
    await mkdir(folder, { recursive: true });
    const image = await imageOf('clean');
    await writeBuiltImage(folder, image);
    await tagManifest(folder, '1.0', image.manifest);
    const files = await readdir(folder, { recursive: true });
    expect(files.filter((file) => file.endsWith('.draft'))).toEqual([]);
    expect(files).toContain('index.json');
    await rm(folder, { recursive: true });
  });
});
