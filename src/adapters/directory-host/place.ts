import { lstat, readdir, readFile, realpath, rm, stat } from 'node:fs/promises';
import path from 'node:path';
import { limits } from '../../core/model/limits.ts';
import { DirectoryError, isMissing } from './directory-error.ts';
import { requireApplication } from './directory-order.ts';
import { makeFolder, readLink, writeDurably } from './durable-files.ts';

/** Where one application lies on a directory host. */
export type Place = {
  readonly folder: string;
  readonly versions: string;
  /** The link that says what runs. */
  readonly current: string;
  readonly sticker: string;
  readonly switchRecord: string;
};

const stagingPrefix = '.staging-';

/** The paths of an application, without a look at the disk. @throws DirectoryError `InvalidOrder` for a bad name */
export function placeOf(root: string, application: string): Place {
  requireApplication(application);
  const folder = path.join(path.resolve(root), application);
  return {
    folder,
    versions: path.join(folder, 'versions'),
    current: path.join(folder, 'current'),
    sticker: path.join(folder, 'stella.version.json'),
    switchRecord: path.join(folder, '.stella-switch.json'),
  };
}

/** Makes the application's folders. @throws DirectoryError `InvalidOrder` when one of them is a link to elsewhere */
export async function openPlace(root: string, application: string): Promise<Place> {
  const place = placeOf(root, application);
  await makeFolder(place.versions, 0o755);
  await requireOwnFolders(root, place);
  return place;
}

/** @throws DirectoryError `InvalidOrder`: a link here would make us write, or remove, what belongs to somebody else */
export async function requireOwnFolders(root: string, place: Place): Promise<void> {
  const realRoot = await realpath(root);
  for (const folder of [place.folder, place.versions]) {
    const expected = path.join(realRoot, path.relative(path.resolve(root), folder));
    if ((await realpath(folder).catch(() => expected)) !== expected) {
      throw new DirectoryError('InvalidOrder', `${folder} is a link; put a folder there, nothing is written through links`);
    }
  }
}

/** Where a version is put together before it is renamed to its place. */
export function stagingFolder(place: Place, versionName: string): string {
  return path.join(place.versions, `${stagingPrefix}${versionName}`);
}

/** Removes what an earlier run left half done. */
export async function sweepStaging(place: Place): Promise<void> {
  for (const name of await readdir(place.versions)) {
    if (name.startsWith(stagingPrefix)) await rm(path.join(place.versions, name), { recursive: true, force: true });
  }
}

/** Folders of finished versions, by name. */
export async function listVersionFolders(place: Place): Promise<readonly string[]> {
  const entries = await readdir(place.versions, { withFileTypes: true }).catch((error: unknown) => {
    if (isMissing(error)) return [];
    throw error;
  });
  return entries.filter((entry) => entry.isDirectory() && !entry.name.startsWith('.')).map((entry) => entry.name).sort();
}

/** What `current` points to, as it is written there. @throws DirectoryError `FileSystem` when `current` is no link */
export async function currentTarget(place: Place): Promise<string | undefined> {
  const found = await lstat(place.current).catch((error: unknown) => {
    if (isMissing(error)) return undefined;
    throw error;
  });
  if (found !== undefined && !found.isSymbolicLink()) {
    throw new DirectoryError('FileSystem', `${place.current} is not the link that we make; move it away, then retry`);
  }
  return await readLink(place.current);
}

/** The link target for a version's folder. */
export function targetOf(versionFolder: string): string {
  return path.posix.join('versions', versionFolder);
}

/** The version's folder of a link target; undefined when the link leads anywhere else. */
export function versionOf(target: string | undefined): string | undefined {
  return /^versions\/([a-z0-9][^/]*)$/.exec(target ?? '')?.[1];
}

/**
 * The last switch of `current`: `open` from before the link moves until the new version has proven itself. After a crash in
 * between, `from` is what last proved itself.
 */
export type SwitchRecord = { readonly from: string | null; readonly to: string | null; readonly state: 'open' | 'done' };

/** undefined when there is none, or when it cannot be read: it is a memory, not an authority. */
export async function readSwitchRecord(place: Place): Promise<SwitchRecord | undefined> {
  try {
    const record = JSON.parse((await readSmallFile(place.switchRecord)).toString('utf8')) as Partial<SwitchRecord> | null;
    const { from, to, state } = record ?? {};
    const isTarget = (value: unknown): value is string | null => value === null || typeof value === 'string';
    return isTarget(from) && isTarget(to) && (state === 'open' || state === 'done') ? { from, to, state } : undefined;
  } catch (error) {
    if (isMissing(error) || error instanceof SyntaxError) return undefined;
    throw error;
  }
}

/** Writes it so that it survives a crash. */
export async function writeSwitchRecord(place: Place, record: SwitchRecord): Promise<void> {
  await writeDurably(place.switchRecord, JSON.stringify(record), 0o644);
}

/** A file of ours, at most one record long. @throws ENOENT, DirectoryError `FileSystem` when it is too long or no file */
export async function readSmallFile(file: string): Promise<Buffer> {
  const found = await stat(file);
  if (!found.isFile() || found.size > limits.recordBytes) throw new DirectoryError('FileSystem', `${file} is not a file of ours`);
  return await readFile(file);
}
