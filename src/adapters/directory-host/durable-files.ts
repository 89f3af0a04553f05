import { mkdir, open, readdir, readlink, rename, rm, symlink } from 'node:fs/promises';
import path from 'node:path';
import { isMissing } from './directory-error.ts';

const syncsAtOnce = 16;

/** Writes a whole file that survives a crash: draft, fsync, rename, fsync of the folder. A reader sees old or new, never half. */
export async function writeDurably(file: string, bytes: Uint8Array | string, mode: number): Promise<void> {
  await writeDraft(file, bytes, mode);
  await commitDraft(file);
}

/** The first half of {@link writeDurably}: afterwards only a rename is missing, which needs no space. */
export async function writeDraft(file: string, bytes: Uint8Array | string, mode: number): Promise<void> {
  await rm(draftOf(file), { force: true });
  try {
    const handle = await open(draftOf(file), 'wx', mode);
    try {
      await handle.writeFile(bytes);
      await handle.chmod(mode); // the mask of the process does not decide
      await handle.sync();
    } finally {
      await handle.close();
    }
  } catch (error) {
    await discardDraft(file);
    throw error;
  }
}

/** The second half of {@link writeDurably}. */
export async function commitDraft(file: string): Promise<void> {
  await rename(draftOf(file), file);
  await syncFolder(path.dirname(file));
}

/** Takes back {@link writeDraft}. */
export async function discardDraft(file: string): Promise<void> {
  await rm(draftOf(file), { force: true });
}

function draftOf(file: string): string {
  return `${file}.draft`;
}

/** Points the symbolic link `link` at `target` in one step: it always points to the old or to the new. */
export async function pointLink(link: string, target: string): Promise<void> {
  await rm(draftOf(link), { force: true });
  await symlink(target, draftOf(link));
  await rename(draftOf(link), link);
  await syncFolder(path.dirname(link));
}

/** Where the link points, as it is written; undefined when there is none. @throws EINVAL when it is no link */
export async function readLink(link: string): Promise<string | undefined> {
  try {
    return await readlink(link);
  } catch (error) {
    if (isMissing(error)) return undefined;
    throw error;
  }
}

/** Makes the names in a folder survive a crash. */
export async function syncFolder(folder: string): Promise<void> {
  const handle = await open(folder, 'r');
  try {
    await handle.sync();
  } finally {
    await handle.close();
  }
}

/** Makes everything below `folder` survive a crash, contents before names. Several at once, so that the disk can join them. */
export async function syncTree(folder: string): Promise<void> {
  const entries = await readdir(folder, { withFileTypes: true, recursive: true });
  const pathsOf = (kind: 'isFile' | 'isDirectory'): string[] => entries.filter((entry) => entry[kind]()).map((entry) => path.join(entry.parentPath, entry.name));
  for (const paths of [pathsOf('isFile'), [...pathsOf('isDirectory'), folder]]) {
    for (let start = 0; start < paths.length; start += syncsAtOnce) {
      await Promise.all(paths.slice(start, start + syncsAtOnce).map(syncFolder));
    }
  }
}

/** Makes a folder and what is missing above it. */
export async function makeFolder(folder: string, mode: number): Promise<void> {
  await mkdir(folder, { recursive: true, mode });
}
