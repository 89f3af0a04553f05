import { readdir, readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { isObjectId } from '../../core/model/commit-id.ts';
import type { GitRef } from '../../ports/git-reader.ts';

/**
 * References below `folder` (`refs/` or deeper, with a slash at its end) as the files of a repository state them, sorted by name. A process for
 * this costs more than everything else that a quiet reconcile does.
 * @param commonFolder of the repository
 * @returns null when only git can tell: another storage than files, a symbolic or broken reference, a file that is being replaced
 */
export async function readRefFiles(commonFolder: string, folder: string): Promise<readonly GitRef[] | null> {
  if (await isThere(join(commonFolder, 'reftable'))) return null;
  // Loose before packed: git packs a reference before it removes the loose one, so none is missed in between.
  const loose = await looseRefs(commonFolder, folder);
  const packed = loose === null ? null : await packedRefs(commonFolder, folder);
  if (loose === null || packed === null) return null;
  const all = new Map([...packed, ...loose].map((ref) => [ref.name, ref]));
  return [...all.values()].sort((a, b) => (a.name < b.name ? -1 : 1));
}

async function looseRefs(commonFolder: string, folder: string): Promise<readonly GitRef[] | null> {
  const entries = await readdir(join(commonFolder, folder), { withFileTypes: true }).catch(nothingThere);
  if (entries === null) return null;
  const refs: GitRef[] = [];
  for (const entry of entries) {
    const name = `${folder}${entry.name}`;
    if (entry.name.endsWith('.lock')) continue;
    if (!entry.isDirectory() && !entry.isFile()) return null;
    const below = entry.isDirectory() ? await looseRefs(commonFolder, `${name}/`) : await looseRef(commonFolder, name);
    if (below === null) return null;
    refs.push(...below);
  }
  return refs;
}

async function looseRef(commonFolder: string, name: string): Promise<readonly GitRef[] | null> {
  const text = await readFile(join(commonFolder, name), 'latin1').catch(() => '');
  const id = text.trimEnd();
  return isObjectId(id) ? [{ name, id }] : null;
}

async function packedRefs(commonFolder: string, folder: string): Promise<readonly GitRef[] | null> {
  const text = await readFile(join(commonFolder, 'packed-refs'), 'utf8').catch((error: NodeJS.ErrnoException) => (error.code === 'ENOENT' ? '' : null));
  if (text === null) return null;
  const refs: GitRef[] = [];
  for (const line of text.split('\n')) {
    // Comments, and the objects that tags lead to.
    if (line === '' || line.startsWith('#') || line.startsWith('^')) continue;
    const blank = line.indexOf(' ');
    const id = line.slice(0, blank);
    const name = line.slice(blank + 1);
    if (!isObjectId(id) || !name.startsWith('refs/')) return null;
    if (name.startsWith(folder)) refs.push({ name, id });
  }
  return refs;
}

async function isThere(path: string): Promise<boolean> {
  return readdir(path).then(() => true, () => false);
}

/** A folder that is not there holds nothing; one that cannot be read is git's to explain. */
function nothingThere(error: NodeJS.ErrnoException): [] | null {
  return error.code === 'ENOENT' ? [] : null;
}
