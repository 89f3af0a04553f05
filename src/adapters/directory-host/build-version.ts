import { chmod, open, rename, rm } from 'node:fs/promises';
import path from 'node:path';
import { type Digest, hexOf } from '../../core/model/digest.ts';
import { limits } from '../../core/model/limits.ts';
import { type BlobSource, RegistryError } from '../../ports/blob-source.ts';
import type { Descriptor } from '../oci/manifest.ts';
import { type PinnedImage, readImage } from '../oci/read-image.ts';
import { DirectoryError } from './directory-error.ts';
import { type DirectoryOrder, envFileName, type OrderedComponent } from './directory-order.ts';
import { makeFolder, syncFolder, syncTree, writeDurably } from './durable-files.ts';
import { formatEnvFile } from './env-file.ts';
import { listVersionFolders, type Place, stagingFolder } from './place.ts';
import { requireLinksInside } from './tree-path.ts';
import { treeDigest } from './tree-digest.ts';
import { unpackLayer } from './unpack-layer.ts';
import { type MarkedComponent, markerFor, markerName, readMarker, shippedMode } from './version-marker.ts';

const triesPerBlob = 3;

/**
 * Puts a version together beside the others and renames it to its place: first every layer of every component is pulled and
 * verified, only then is anything unpacked. What runs is not touched.
 * @returns the name of the version's folder
 * @throws DirectoryError, RegistryError or an error of the file system; nothing half done stays
 */
export async function buildVersion(place: Place, order: DirectoryOrder): Promise<string> {
  const staging = stagingFolder(place, order.versionName);
  try {
    await makeFolder(staging, 0o700);
    const blobs = path.join(staging, '.stella-blobs');
    await makeFolder(blobs, 0o700);
    const images = await pullAll(order, blobs);
    const marked = await unpackAll(order, staging, blobs, images);
    await rm(blobs, { recursive: true });
    await writeFiles(order, staging);
    const sequence = await nextSequence(place);
    await writeDurably(path.join(staging, markerName), JSON.stringify(markerFor(order, marked, sequence)), 0o644);
    await chmod(staging, 0o755);
    await syncTree(staging);
    const folder = await freeFolder(place, order.versionName);
    await rename(staging, path.join(place.versions, folder));
    await syncFolder(place.versions);
    return folder;
  } catch (error) {
    await rm(staging, { recursive: true, force: true });
    throw error;
  }
}

type Pulled = { readonly component: OrderedComponent; readonly image: PinnedImage };

async function pullAll(order: DirectoryOrder, blobs: string): Promise<readonly Pulled[]> {
  const pulled: Pulled[] = [];
  const done = new Set<Digest>();
  for (const component of order.components) {
    const image = await readImage(order.source, component, order.platform, order.signal);
    order.progress(`${component.name}: pulling ${image.layers.length} layers of ${component.digest}`);
    for (const layer of image.layers) {
      if (!done.has(layer.digest)) await pullBlob(order.source, component.repository, layer, path.join(blobs, hexOf(layer.digest)), order.signal);
      done.add(layer.digest);
    }
    pulled.push({ component, image });
  }
  order.progress('every layer is here and is what its digest says');
  return pulled;
}

async function pullBlob(source: BlobSource, repository: string, layer: Descriptor, file: string, signal: AbortSignal | undefined): Promise<void> {
  for (let tries = 1; ; tries += 1) {
    try {
      return await writeBlob(source.openBlob(repository, layer.digest, layer.size, signal), file);
    } catch (error) {
      if (!(error instanceof RegistryError) || error.disposition !== 'retry' || tries >= triesPerBlob) throw error;
    }
  }
}

/** The iteration throws at its end if the content is not what was asked for; the file is used only after that. */
async function writeBlob(chunks: AsyncIterable<Uint8Array>, file: string): Promise<void> {
  const handle = await open(file, 'w', 0o600);
  try {
    for await (const chunk of chunks) await handle.writeFile(chunk);
  } finally {
    await handle.close();
  }
}

async function unpackAll(order: DirectoryOrder, staging: string, blobs: string, pulled: readonly Pulled[]): Promise<readonly MarkedComponent[]> {
  const marked: MarkedComponent[] = [];
  for (const { component, image } of pulled) {
    const root = path.join(staging, component.name);
    await makeFolder(root, 0o755);
    const { unpackedBytes, unpackedEntries } = order.unpackLimits ?? limits;
    const budget = { bytes: unpackedBytes, entries: unpackedEntries };
    for (const layer of image.layers) await unpackLayer(root, path.join(blobs, hexOf(layer.digest)), layer.mediaType, budget, order.signal);
    await requireLinksInside(root);
    const { name, repository, digest } = component;
    marked.push({ name, repository, digest, manifestDigest: image.manifestDigest, treeDigest: await treeDigest(root) });
    order.progress(`${name}: unpacked`);
  }
  return marked;
}

async function writeFiles(order: DirectoryOrder, staging: string): Promise<void> {
  for (const file of order.files) {
    const at = path.join(staging, file.path);
    await makeFolder(path.dirname(at), 0o755);
    await writeDurably(at, file.bytes, shippedMode(file.mode));
  }
  await writeDurably(path.join(staging, envFileName), formatEnvFile(order.env), 0o600);
}

async function nextSequence(place: Place): Promise<number> {
  const markers = await Promise.all((await listVersionFolders(place)).map((folder) => readMarker(path.join(place.versions, folder))));
  return Math.max(0, ...markers.map((marker) => marker?.sequence ?? 0)) + 1;
}

/** The name itself, or, when that is taken by other content that may be running, the name with `~` and a number. */
async function freeFolder(place: Place, versionName: string): Promise<string> {
  const taken = new Set(await listVersionFolders(place));
  if (!taken.has(versionName)) return versionName;
  for (let number = 1; number <= limits.unpackedEntries; number += 1) {
    const name = `${versionName}~${number}`;
    if (!taken.has(name)) return name;
  }
  throw new DirectoryError('FileSystem', `too many folders of version ${versionName}; remove the old ones`);
}
