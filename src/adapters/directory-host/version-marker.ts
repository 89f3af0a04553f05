import { lstat, readFile } from 'node:fs/promises';
import path from 'node:path';
import { type Digest, digestOfBytes, isDigest } from '../../core/model/digest.ts';
import { isMissing } from './directory-error.ts';
import { type DirectoryOrder, envFileName, type OrderedFile, type RunningComponent } from './directory-order.ts';
import { formatEnvFile } from './env-file.ts';
import { readSmallFile } from './place.ts';
import type { CommandSpec } from './run-command.ts';
import { fileDigest, treeDigest } from './tree-digest.ts';

export const markerName = '.stella-version.json';
const markerType = 'stella/directory-version/v1';

export type MarkedComponent = {
  readonly name: string;
  readonly repository: string;
  /** What the release pins. */
  readonly digest: Digest;
  /** The manifest for this host's platform. */
  readonly manifestDigest: Digest;
  /** Over the component's folder as it was unpacked. */
  readonly treeDigest: Digest;
};

type MarkedFile = { readonly path: string; readonly mode: number; readonly digest: Digest };

/** Written last into a version's folder: a folder with a marker is complete. It holds nothing about the values in `app.env`. */
export type VersionMarker = {
  readonly type: typeof markerType;
  readonly versionName: string;
  /** Counts the versions that were ever put on this place. */
  readonly sequence: number;
  readonly components: readonly MarkedComponent[];
  readonly files: readonly MarkedFile[];
  /** Null when the version needs no command. */
  readonly command: CommandSpec | null;
};

/** The marker of a version about to be finished. */
export function markerFor(order: DirectoryOrder, components: readonly MarkedComponent[], sequence: number): VersionMarker {
  return { type: markerType, versionName: order.versionName, sequence, components, files: markedFiles(order.files), command: order.command ?? null };
}

/** Permission bits that a shipped file gets: nobody but the owner may write. */
export function shippedMode(mode: number): number {
  return (mode & 0o755) | 0o400;
}

function markedFiles(files: readonly OrderedFile[]): readonly MarkedFile[] {
  const marked = files.map((file) => ({ path: file.path, mode: shippedMode(file.mode), digest: digestOfBytes(file.bytes) }));
  return marked.sort((a, b) => (a.path < b.path ? -1 : 1));
}

/** undefined when the folder has no marker that can be read, so is not complete. */
export async function readMarker(versionFolder: string): Promise<VersionMarker | undefined> {
  try {
    const marker = JSON.parse((await readSmallFile(path.join(versionFolder, markerName))).toString('utf8')) as unknown;
    return isMarker(marker) ? marker : undefined;
  } catch (error) {
    if (isMissing(error) || error instanceof SyntaxError) return undefined;
    throw error;
  }
}

function isMarker(value: unknown): value is VersionMarker {
  const marker = value as Partial<VersionMarker> | null;
  if (marker?.type !== markerType || !Number.isSafeInteger(marker.sequence) || typeof marker.versionName !== 'string') return false;
  const { components, files, command } = marker;
  if (command !== null && !(Array.isArray(command?.argv) && typeof command.timeoutSeconds === 'number')) return false;
  const whole = (component: Partial<MarkedComponent> | null): boolean =>
    typeof component?.name === 'string' && /^[a-z0-9][a-z0-9._-]*$/.test(component.name) && isDigest(component.digest) && isDigest(component.treeDigest);
  return Array.isArray(components) && components.every(whole) && Array.isArray(files) && files.every((file: Partial<MarkedFile> | null) => typeof file?.path === 'string');
}

/** Whether a finished version is what the order asks for, by what its marker and its `app.env` say. */
export async function isOrdered(versionFolder: string, marker: VersionMarker, order: DirectoryOrder): Promise<boolean> {
  const pinned = (components: readonly { readonly name: string; readonly repository: string; readonly digest: Digest }[]) =>
    components.map(({ name, repository, digest }) => ({ name, repository, digest })).sort((a, b) => (a.name < b.name ? -1 : 1));
  const wanted = [pinned(order.components), markedFiles(order.files).map(fileLine), commandLine(order.command ?? null)];
  const found = [pinned(marker.components), marker.files.map(fileLine), commandLine(marker.command)];
  if (JSON.stringify(wanted) !== JSON.stringify(found)) return false;
  const env = await readFile(path.join(versionFolder, envFileName), 'utf8').catch(() => undefined);
  return env === formatEnvFile(order.env);
}

// Lists, so that the order of keys in a marker does not matter.
const fileLine = (file: MarkedFile): readonly unknown[] => [file.path, file.mode, file.digest];
const commandLine = (command: CommandSpec | null): readonly unknown[] => (command === null ? [] : [command.argv, command.timeoutSeconds]);

/** Whether the component's folder still has the content that was unpacked. */
export async function observeTree(versionFolder: string, component: MarkedComponent): Promise<Digest | undefined> {
  try {
    return await treeDigest(path.join(versionFolder, component.name));
  } catch {
    return undefined; // gone, or not to be read: not what was unpacked
  }
}

/** Whether every shipped file is there as it was written. */
export async function areFilesIntact(versionFolder: string, files: readonly MarkedFile[]): Promise<boolean> {
  for (const file of files) {
    const at = path.join(versionFolder, file.path);
    try {
      const found = await lstat(at);
      if (!found.isFile() || (found.mode & 0o7777) !== file.mode || (await fileDigest(at)) !== file.digest) return false;
    } catch {
      return false;
    }
  }
  return true;
}

/** Whether everything that the marker names is as it was put there. */
export async function isIntact(versionFolder: string, marker: VersionMarker): Promise<boolean> {
  for (const component of marker.components) {
    if ((await observeTree(versionFolder, component)) !== component.treeDigest) return false;
  }
  return await areFilesIntact(versionFolder, marker.files);
}

/** What runs when this version does. */
export function runningOf(marker: VersionMarker | undefined): readonly RunningComponent[] {
  return (marker?.components ?? []).map(({ name, digest }) => ({ component: name, digest }));
}
