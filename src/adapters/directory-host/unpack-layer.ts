import { constants, createReadStream } from 'node:fs';
import { chmod, link, lstat, mkdir, open, readdir, rm, symlink } from 'node:fs/promises';
import path from 'node:path';
import { type Duplex, PassThrough, Transform } from 'node:stream';
import { pipeline } from 'node:stream/promises';
import { createGunzip, createZstdDecompress } from 'node:zlib';
import { extract, type Header } from 'tar-stream';
import { limits } from '../../core/model/limits.ts';
import { DirectoryError } from './directory-error.ts';
import { kindOf, requireRelativeTarget, resolveInside, splitEntryName, unsafe } from './tree-path.ts';

/** What all layers of one component may use together. */
export type UnpackLimits = { readonly unpackedBytes: number; readonly unpackedEntries: number };

/** What is left of it. Counted down while unpacking, so it is the one value here that changes. */
export type UnpackBudget = { bytes: number; entries: number };

const whiteoutPrefix = '.wh.';
const opaqueWhiteout = '.wh..wh..opq';
/** Permission bits that are kept: no setuid, setgid or sticky, and nobody but the owner may write. */
const keptMode = 0o755;
const tarBlockBytes = 512;

type Layer = { readonly root: string; readonly budget: UnpackBudget; readonly touched: Set<string> };

/**
 * Unpacks one verified layer over what lies in `root`. Everything belongs to the user who runs this.
 * @param layerType media type: tar, tar+gzip or tar+zstd
 * @throws DirectoryError `UnsafeLayer`, `LayerTooLarge`, `UnsupportedLayer`, `Aborted`; the tree is then half done and must be thrown away
 * Source: OCI Image Specification, layers (whiteouts).
 */
export async function unpackLayer(root: string, layerFile: string, layerType: string, budget: UnpackBudget, signal?: AbortSignal): Promise<void> {
  const layer: Layer = { root, budget, touched: new Set() };
  const extractor = extract();
  const stream = extractor as unknown as NodeJS.WritableStream;
  const options = signal === undefined ? {} : { signal };
  const feeding = pipeline(createReadStream(layerFile), decompressor(layerType), limiter(budget), stream, options).then(
    () => undefined,
    (error: unknown) => error,
  );
  try {
    for await (const entry of extractor) await unpackEntry(layer, entry.header, entry as AsyncIterable<Uint8Array>);
  } catch (error) {
    extractor.destroy();
    throw layerError((await feeding) ?? error, error, signal);
  }
  const failure = await feeding;
  if (failure !== undefined) throw layerError(failure, failure, signal);
}

function layerError(first: unknown, seen: unknown, signal: AbortSignal | undefined): unknown {
  for (const error of [seen, first]) if (error instanceof DirectoryError) return error;
  if (signal?.aborted === true) return new DirectoryError('Aborted', 'stopped while unpacking', { cause: first });
  // An error of the file system keeps its own code; what is left comes from the decompressor or the tar reader.
  for (const error of [seen, first]) if (error instanceof Error && 'syscall' in error) return error;
  return new DirectoryError('UnsupportedLayer', 'a layer is no complete tar archive of the kind that its media type says; build the image again', { cause: seen });
}

function decompressor(layerType: string): Duplex {
  const kind = /^application\/vnd\.(?:oci\.image\.layer\.v1\.tar|docker\.image\.rootfs\.diff\.tar)(?:[.+](gzip|zstd))?$/.exec(layerType);
  if (kind === null) throw new DirectoryError('UnsupportedLayer', `layers of the type ${JSON.stringify(layerType.slice(0, 200))} cannot be unpacked`);
  if (kind[1] === 'gzip') return createGunzip();
  return kind[1] === 'zstd' ? createZstdDecompress() : new PassThrough();
}

/** Stops a compression bomb in the stream itself, before the tar reader keeps any of it. */
function limiter(budget: UnpackBudget): Transform {
  let leftBytes = budget.bytes + (budget.entries + 20) * 4 * tarBlockBytes;
  return new Transform({
    transform: (chunk: Uint8Array, _, done) => {
      leftBytes -= chunk.byteLength;
      if (leftBytes < 0) done(tooLarge());
      else done(null, chunk);
    },
  });
}

function tooLarge(): DirectoryError {
  return new DirectoryError(
    'LayerTooLarge',
    `the component unpacks to more than the limit (${limits.unpackedBytes} bytes, ${limits.unpackedEntries} entries unless set lower); make the image smaller`,
  );
}

async function unpackEntry(layer: Layer, header: Header, content: AsyncIterable<Uint8Array>): Promise<void> {
  layer.budget.entries -= 1;
  if (layer.budget.entries < 0 || header.size > layer.budget.bytes) throw tooLarge();
  const segments = splitEntryName(header.name);
  const name = segments.at(-1);
  if (name === undefined) return await drain(content); // the root itself
  const parent = await resolveInside(layer.root, segments.slice(0, -1), true);
  if (name.startsWith(whiteoutPrefix)) {
    await whiteOut(layer, parent, name, header.name);
    return await drain(content);
  }
  const target = [...parent, name];
  for (let length = 1; length <= target.length; length += 1) layer.touched.add(target.slice(0, length).join('/'));
  await place(layer, header, path.join(layer.root, ...target), parent, content);
}

async function place(layer: Layer, header: Header, file: string, parent: readonly string[], content: AsyncIterable<Uint8Array>): Promise<void> {
  if (header.type !== 'directory' || (await kindOf(file)) !== 'folder') await prepareSpot(header, file);
  switch (header.type) {
    case 'file':
    case 'contiguous-file':
      return await writeFile(layer, header, file, content);
    case 'directory':
      await mkdir(file, { recursive: true });
      await chmod(file, (header.mode & keptMode) | 0o700);
      return await drain(content);
    case 'symlink':
      requireRelativeTarget(header.name, header.linkname);
      await resolveInside(layer.root, [...parent, ...header.linkname.split('/')]);
      await symlink(header.linkname, file);
      return await drain(content);
    case 'link':
      await placeHardLink(layer, header, file);
      return await drain(content);
    default:
      throw unsafe(header.name, 'it is a device, a pipe or of an unknown type');
  }
}

/** A hard link to the entry itself must not remove what it links to. */
async function prepareSpot(header: Header, file: string): Promise<void> {
  if (header.type === 'link' && path.normalize(header.name) === path.normalize(header.linkname)) throw unsafe(header.name, 'it links to itself');
  await rm(file, { recursive: true, force: true });
}

async function writeFile(layer: Layer, header: Header, file: string, content: AsyncIterable<Uint8Array>): Promise<void> {
  const handle = await open(file, constants.O_CREAT | constants.O_EXCL | constants.O_WRONLY | constants.O_NOFOLLOW, 0o600);
  try {
    for await (const chunk of content) {
      layer.budget.bytes -= chunk.byteLength;
      if (layer.budget.bytes < 0) throw tooLarge();
      await handle.writeFile(chunk);
    }
    await handle.chmod((header.mode & keptMode) | 0o400);
  } finally {
    await handle.close();
  }
}

async function placeHardLink(layer: Layer, header: Header, file: string): Promise<void> {
  const segments = splitEntryName(header.linkname);
  const parent = await resolveInside(layer.root, segments.slice(0, -1));
  const target = path.join(layer.root, ...parent, segments.at(-1) ?? '');
  const found = await lstat(target).catch(() => undefined);
  // Of a link to a link, the second would lead where nobody looked.
  if (found?.isFile() !== true) throw unsafe(header.name, 'it is a hard link to something that is no file of this component');
  await link(target, file);
}

async function whiteOut(layer: Layer, parent: readonly string[], name: string, entryName: string): Promise<void> {
  if (name === opaqueWhiteout) return await removeLower(layer, parent);
  const hidden = name.slice(whiteoutPrefix.length);
  if (hidden.startsWith(whiteoutPrefix)) return; // bookkeeping of other tools
  if (hidden === '' || hidden === '.' || hidden === '..') throw unsafe(entryName, 'it removes a folder above its own');
  const target = [...parent, hidden];
  if (layer.touched.has(target.join('/'))) return; // a whiteout hides lower layers only
  await rm(path.join(layer.root, ...target), { recursive: true, force: true });
}

async function removeLower(layer: Layer, folder: readonly string[]): Promise<void> {
  for (const child of await readdir(path.join(layer.root, ...folder), { withFileTypes: true })) {
    const target = [...folder, child.name];
    if (!layer.touched.has(target.join('/'))) await rm(path.join(layer.root, ...target), { recursive: true, force: true });
    else if (child.isDirectory()) await removeLower(layer, target);
  }
}

async function drain(content: AsyncIterable<Uint8Array>): Promise<void> {
  for await (const chunk of content) void chunk;
}
