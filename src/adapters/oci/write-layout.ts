import { mkdir, open, readFile, rename, rm } from 'node:fs/promises';
import path from 'node:path';
import { type Digest, digestOfBytes } from '../../core/model/digest.ts';
import type { Platform } from '../../ports/blob-source.ts';
import { buildImage, buildLayer, type BuiltImage, defaultPlatform, descriptorOf, type ImageFile } from './build-image.ts';
import { blobPath, type LayoutEntry, layoutVersion, parseLayoutIndex, refNameAnnotation, tagOf } from './layout-folder.ts';
import { type Descriptor, mediaTypes } from './manifest.ts';

/**
 * Writes an image of one layer into an OCI image layout folder, which is made if it is not there, and points `tag` at it.
 * A tag that exists is moved. The same files give the same digest.
 * @param options.layoutFolder the folder of one repository
 */
export async function writeImage(options: {
  readonly layoutFolder: string;
  readonly tag: string;
  readonly files: readonly ImageFile[];
  readonly platform?: Platform;
}): Promise<{ readonly manifestDigest: Digest }> {
  const image = buildImage([await buildLayer(options.files)], options.platform ?? defaultPlatform);
  await writeBuiltImage(options.layoutFolder, image);
  await tagManifest(options.layoutFolder, options.tag, image.manifest);
  return { manifestDigest: image.manifest.digest };
}

/** Writes the blobs and the manifest of an image, without a tag. */
export async function writeBuiltImage(layoutFolder: string, image: BuiltImage): Promise<void> {
  for (const bytes of image.blobs.values()) await writeBlob(layoutFolder, bytes);
  await writeBlob(layoutFolder, image.manifestBytes);
}

/** Writes a multi-platform index (its images must be there already) and points `tag` at it. */
export async function writeIndex(layoutFolder: string, tag: string, indexBytes: Uint8Array): Promise<{ readonly manifestDigest: Digest }> {
  await writeBlob(layoutFolder, indexBytes);
  const descriptor = descriptorOf(mediaTypes.ociIndex, indexBytes);
  await tagManifest(layoutFolder, tag, descriptor);
  return { manifestDigest: descriptor.digest };
}

/** Points `tag` at a manifest that is in the layout. The blobs of what it pointed to before stay. */
export async function tagManifest(layoutFolder: string, tag: string, manifest: Descriptor): Promise<void> {
  const entries = (await readIndex(layoutFolder)).filter((entry) => tagOf(entry) !== tag);
  const manifests = [...entries, { ...manifest, annotations: { [refNameAnnotation]: tag } }];
  await writeWhole(path.join(layoutFolder, 'oci-layout'), JSON.stringify({ imageLayoutVersion: layoutVersion }));
  await writeWhole(path.join(layoutFolder, 'index.json'), JSON.stringify({ schemaVersion: 2, mediaType: mediaTypes.ociIndex, manifests }, null, 2));
}

async function readIndex(layoutFolder: string): Promise<readonly LayoutEntry[]> {
  try {
    return parseLayoutIndex(await readFile(path.join(layoutFolder, 'index.json')), layoutFolder);
  } catch (error) {
    if (error instanceof Error && 'code' in error && error.code === 'ENOENT') return [];
    throw error;
  }
}

async function writeBlob(layoutFolder: string, bytes: Uint8Array): Promise<void> {
  await writeWhole(path.join(layoutFolder, blobPath(digestOfBytes(bytes))), bytes);
}

/** A reader sees the old file or the new one, never half of one. */
async function writeWhole(file: string, content: string | Uint8Array): Promise<void> {
  await mkdir(path.dirname(file), { recursive: true });
  const draft = `${file}.draft`;
  try {
    const handle = await open(draft, 'w');
    try {
      await handle.writeFile(content);
      await handle.sync();
    } finally {
      await handle.close();
    }
    await rename(draft, file);
  } catch (error) {
    await rm(draft, { force: true });
    throw error;
  }
}
