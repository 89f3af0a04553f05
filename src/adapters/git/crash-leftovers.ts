import { readFile, readdir, rm } from 'node:fs/promises';
import { join, relative } from 'node:path';

/**
 * Removes what killed git processes left in a bare repository: lock files, half objects, half packs, keep marks of fetches.
 * Only for the holder of the mirror lock: nobody else may be writing there.
 * @returns the removed paths, relative to the repository, sorted.
 */
export async function removeCrashLeftovers(gitFolder: string): Promise<string[]> {
  const found = await readdir(gitFolder, { recursive: true, withFileTypes: true });
  const paths = found.map((entry) => relative(gitFolder, join(entry.parentPath, entry.name)));
  const existing = new Set(paths);
  const removed: string[] = [];
  for (const path of paths.sort()) {
    if (!isLeftover(path, existing) && !(await isKeepMarkOfFetch(gitFolder, path))) continue;
    await rm(join(gitFolder, path), { recursive: true, force: true });
    removed.push(path);
  }
  return removed;
}

function isLeftover(path: string, existing: ReadonlySet<string>): boolean {
  const name = path.slice(path.lastIndexOf('/') + 1);
  // No reference can be named so: git forbids it for this reason.
  if (name.endsWith('.lock')) return true;
  if (!path.startsWith('objects/')) return false;
  if (/^(?:tmp_|incoming-|\.tmp-)/.test(name)) return true;
  // A pack is complete once its index is there.
  return /^objects\/pack\/pack-[0-9a-f]+\.pack$/.test(path) && !existing.has(path.replace(/pack$/, 'idx'));
}

/** A fetch protects its new pack with a keep mark until its references are written; after a crash it would stay unpackable for ever. */
async function isKeepMarkOfFetch(gitFolder: string, path: string): Promise<boolean> {
  if (!/^objects\/pack\/pack-[0-9a-f]+\.keep$/.test(path)) return false;
  return (await readFile(join(gitFolder, path), 'utf8')).startsWith('fetch-pack');
}
