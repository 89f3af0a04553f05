import { execFile } from 'node:child_process';
import { cp, mkdir, mkdtemp, readFile, rename, rm, symlink, truncate, writeFile } from 'node:fs/promises';
import os from 'node:os';
import path from 'node:path';
import { promisify } from 'node:util';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { createImageLayout } from '../../src/adapters/oci/image-layout.ts';
import { refNameAnnotation } from '../../src/adapters/oci/layout-folder.ts';
import { writeImage } from '../../src/adapters/oci/write-layout.ts';
import { type Digest, hexOf } from '../../src/core/model/digest.ts';
import { limits } from '../../src/core/model/limits.ts';
import { requireComponent } from '../fakes/components.ts';

const repository = 'shop/api';
const reference = { repository, tag: '1.0' };

describe('an image layout folder', () => {
  let base: string;
  let root: string;
  let layoutFolder: string;
  let manifestDigest: Digest;
  beforeEach(async () => {
    base = await mkdtemp(path.join(os.tmpdir(), 'stella-layout-'));
    root = path.join(base, 'images');
    layoutFolder = path.join(root, repository);
    ({ manifestDigest } = await writeImage({ layoutFolder, tag: '1.0', files: [{ path: 'a', content: 'A', mode: 0o644 }] }));
  });
  afterEach(async () => rm(base, { recursive: true, force: true }));

  const manifestFile = (): string => path.join(layoutFolder, 'blobs/sha256', hexOf(manifestDigest));
  const port = () => createImageLayout({ root });

  it('that is away as a whole is unreachable, not without the repository', async () => {
    await rename(root, path.join(base, 'away'));
    expect(await port().resolve(reference)).toMatchObject({ ok: false, code: 'RegistryUnreachable', disposition: 'retry' });
  });

  it('does not follow a link out of itself, for a repository, an index or a blob', async () => {
    const outside = path.join(base, 'outside');
    await cp(layoutFolder, outside, { recursive: true });
    await rm(layoutFolder, { recursive: true });
    await symlink(outside, layoutFolder);
    expect(await port().resolve(reference)).toMatchObject({ ok: false, code: 'InvalidReference' });
    await rm(layoutFolder);
    await cp(outside, layoutFolder, { recursive: true });
    await rm(manifestFile());
    await symlink(path.join(outside, 'blobs/sha256', hexOf(manifestDigest)), manifestFile());
    expect(await port().resolve(reference)).toMatchObject({ ok: false, code: 'InvalidReference' });
    await expect(port().readManifest(repository, manifestDigest)).rejects.toMatchObject({ code: 'InvalidReference' });
    await expect(port().openBlob(repository, manifestDigest, 1)[Symbol.asyncIterator]().next()).rejects.toMatchObject({ code: 'InvalidReference' });
  });

  it('may use links inside itself', async () => {
    await rename(manifestFile(), path.join(root, 'shared'));
    await symlink(path.join(root, 'shared'), manifestFile());
    expect(await port().resolve(reference)).toMatchObject({ ok: true, digest: manifestDigest });
  });

  it('is refused when a pipe or a folder lies in the place of a blob', async () => {
    await rm(manifestFile());
    await mkdir(manifestFile());
    expect(await port().resolve(reference)).toMatchObject({ ok: false, code: 'InvalidReference' });
    await rm(manifestFile(), { recursive: true });
    await promisify(execFile)('mkfifo', [manifestFile()]);
    expect(await port().resolve(reference)).toMatchObject({ ok: false, code: 'InvalidReference' });
  });

  it('is refused when a manifest was changed, or is missing', async () => {
    await writeFile(manifestFile(), '{}');
    expect(await port().resolve(reference)).toMatchObject({ ok: false, code: 'RegistryLied' });
    await rm(manifestFile());
    expect(await port().resolve(reference)).toMatchObject({ ok: false, code: 'RegistryLied' });
  });

  it('is refused when its index gives one tag to two manifests, or another size', async () => {
    const entry = { mediaType: 'x', digest: manifestDigest, size: 1, annotations: { [refNameAnnotation]: '1.0' } };
    await writeFile(path.join(layoutFolder, 'index.json'), JSON.stringify({ manifests: [entry] }));
    expect(await port().resolve(reference)).toMatchObject({ ok: false, code: 'RegistryLied' });
    const twin = { ...entry, digest: `sha256:${'0'.repeat(64)}` };
    await writeFile(path.join(layoutFolder, 'index.json'), JSON.stringify({ manifests: [entry, twin] }));
    expect(await port().resolve(reference)).toMatchObject({ ok: false, code: 'RegistryLied' });
  });

  it.each([
    ['index.json', '{'],
    ['index.json', 'null'],
    ['index.json', '{"manifests":[null]}'],
    ['index.json', '{"manifests":[{"mediaType":"x","digest":"sha256:../../x","size":1}]}'],
    ['oci-layout', '{"imageLayoutVersion":"9"}'],
  ])('is refused when %s is %s', async (file, content) => {
    await writeFile(path.join(layoutFolder, file), content);
    expect(await port().resolve(reference)).toMatchObject({ ok: false, code: 'UnsupportedManifest', disposition: 'stall' });
  });

  it('is refused when index.json is too large', async () => {
    await truncate(path.join(layoutFolder, 'index.json'), limits.manifestBytes + 1);
    expect(await port().resolve(reference)).toMatchObject({ ok: false, code: 'ManifestTooLarge' });
  });

  it('moves a tag and keeps the others', async () => {
    const next = await writeImage({ layoutFolder, tag: '1.1', files: [{ path: 'a', content: 'B', mode: 0o644 }] });
    await writeImage({ layoutFolder, tag: '1.0', files: [{ path: 'a', content: 'B', mode: 0o644 }] });
    expect(await port().resolve(reference)).toMatchObject({ ok: true, digest: next.manifestDigest });
    expect(await port().listTags(repository)).toMatchObject({ tags: ['1.0', '1.1'] });
    const index = JSON.parse(await readFile(path.join(layoutFolder, 'index.json'), 'utf8')) as { manifests: unknown[] };
    expect(index.manifests).toHaveLength(2);
  });

  it('is read by skopeo, which finds the same digest', async (context) => {
    requireComponent('skopeo', context);
    const { stdout } = await promisify(execFile)('skopeo', ['inspect', `oci:${layoutFolder}:1.0`]);
    expect(JSON.parse(stdout)).toMatchObject({ Digest: manifestDigest, Architecture: 'amd64', Os: 'linux' });
  });
});
