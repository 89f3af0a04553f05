import { constants } from 'node:fs';
import { type FileHandle, open, realpath } from 'node:fs/promises';
import path from 'node:path';
import { type Digest, hexOf, isDigest } from '../../core/model/digest.ts';
import { limits } from '../../core/model/limits.ts';
import { RegistryError } from '../../ports/blob-source.ts';
import { quoted } from './reference.ts';

/** The annotation that carries a tag in `index.json`. Source: OCI Image Specification, annotations. */
export const refNameAnnotation = 'org.opencontainers.image.ref.name';

export const layoutVersion = '1.0.0';

/** One entry of `index.json`. */
export type LayoutEntry = {
  readonly mediaType: string;
  readonly digest: Digest;
  readonly size: number;
  readonly annotations?: Readonly<Record<string, string>>;
};

/** Where a blob lies, relative to its layout. */
export function blobPath(digest: Digest): string {
  return path.join('blobs', 'sha256', hexOf(digest));
}

/** The tag of an entry, if it has one. */
export function tagOf(entry: LayoutEntry): string | undefined {
  return entry.annotations?.[refNameAnnotation];
}

/**
 * Parses `index.json`. Entries without a sha256 digest are an error, not skipped: a tag must not silently vanish.
 * @throws RegistryError `UnsupportedManifest`
 */
export function parseLayoutIndex(bytes: Uint8Array, folder: string): readonly LayoutEntry[] {
  const manifests = (parseJson(bytes, folder, 'index.json') as { readonly manifests?: unknown } | null)?.manifests;
  if (!Array.isArray(manifests)) throw badLayout(folder, 'index.json holds no list of manifests');
  if (manifests.length > limits.tagsPerRepository) throw badLayout(folder, `index.json has more than ${limits.tagsPerRepository} entries`);
  return manifests.map((value: unknown) => {
    const entry = (value ?? {}) as Partial<LayoutEntry>;
    const whole = isDigest(entry.digest) && typeof entry.mediaType === 'string' && Number.isSafeInteger(entry.size);
    if (!whole) throw badLayout(folder, 'an entry of index.json has no mediaType, sha256 digest or size');
    return entry as LayoutEntry;
  });
}

/** @throws RegistryError `UnsupportedManifest` unless `bytes` are an `oci-layout` file of version 1 */
export function requireLayoutVersion(bytes: Uint8Array, folder: string): void {
  const version = (parseJson(bytes, folder, 'oci-layout') as { readonly imageLayoutVersion?: unknown } | null)?.imageLayoutVersion;
  if (version !== layoutVersion) throw badLayout(folder, `its version is not ${layoutVersion}`);
}

/**
 * Opens a file of the layout for reading; undefined when it is not there.
 * A link that leads out of `root` is refused: whoever may write the folder must not read the rest of the machine through it.
 * @throws RegistryError `InvalidReference` for such a link or for what is no regular file, `RegistryUnreachable` when it cannot be read
 */
export async function openInside(root: string, file: string): Promise<FileHandle | undefined> {
  try {
    const [realRoot, realFile] = await Promise.all([realpath(root), realpath(file)]);
    if (!realFile.startsWith(realRoot + path.sep)) {
      throw new RegistryError('InvalidReference', 'stall', `${file} is a link out of the image layout ${root}; it is not followed`);
    }
    // O_NONBLOCK, so that a pipe in the place of a blob cannot hold us.
    const handle = await open(realFile, constants.O_RDONLY | constants.O_NOFOLLOW | constants.O_NONBLOCK);
    if ((await handle.stat()).isFile()) return handle;
    await handle.close();
    throw new RegistryError('InvalidReference', 'stall', `${file} is not a regular file`);
  } catch (cause) {
    if (cause instanceof RegistryError) throw cause;
    if (isMissing(cause)) return undefined;
    throw unreadable(file, cause);
  }
}

/** The whole file, at most `maxBytes`; undefined when it is not there. @throws RegistryError as {@link openInside}, `ManifestTooLarge` */
export async function readInside(root: string, file: string, maxBytes: number): Promise<Uint8Array | undefined> {
  const handle = await openInside(root, file);
  if (handle === undefined) return undefined;
  try {
    const { size } = await handle.stat();
    if (size > maxBytes) throw new RegistryError('ManifestTooLarge', 'stall', `${file} has ${size} bytes, the limit is ${maxBytes}`);
    return await handle.readFile();
  } catch (cause) {
    throw cause instanceof RegistryError ? cause : unreadable(file, cause);
  } finally {
    await handle.close();
  }
}

/** The error for a file that is there and cannot be read. */
export function unreadable(file: string, cause: unknown): RegistryError {
  const code = cause instanceof Error && 'code' in cause ? String(cause.code) : 'unknown reason';
  return new RegistryError('RegistryUnreachable', 'retry', `${file} cannot be read (${code})`, { cause });
}

function isMissing(error: unknown): boolean {
  return error instanceof Error && 'code' in error && (error.code === 'ENOENT' || error.code === 'ENOTDIR');
}

function parseJson(bytes: Uint8Array, folder: string, name: string): unknown {
  try {
    return JSON.parse(Buffer.from(bytes).toString('utf8'));
  } catch (cause) {
    throw new RegistryError('UnsupportedManifest', 'stall', `${name} in ${folder} is not JSON; write the layout again`, { cause });
  }
}

function badLayout(folder: string, why: string): RegistryError {
  return new RegistryError('UnsupportedManifest', 'stall', `${quoted(folder)} is no OCI image layout that can be used: ${why}`);
}
