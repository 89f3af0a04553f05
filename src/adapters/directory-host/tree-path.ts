import { lstat, mkdir, readdir, readlink } from 'node:fs/promises';
import path from 'node:path';
import { limits } from '../../core/model/limits.ts';
import { DirectoryError, isMissing } from './directory-error.ts';

/**
 * Splits the name of a layer entry. Absolute names and `..` are refused, `.` and empty segments vanish.
 * @throws DirectoryError `UnsafeLayer`
 */
export function splitEntryName(name: string): readonly string[] {
  if (Buffer.byteLength(name) > limits.layerPathBytes) throw unsafe(name.slice(0, 100), `its path is longer than ${limits.layerPathBytes} bytes`);
  const foreign = name.includes('\0') || (path.sep === '\\' && /[\\:]/.test(name));
  if (name.startsWith('/') || foreign) throw unsafe(name, 'its path is not relative');
  const segments = name.split('/').filter((segment) => segment !== '' && segment !== '.');
  if (segments.includes('..')) throw unsafe(name, 'its path leads upwards');
  return segments;
}

/**
 * Where `segments` lead below `root` when links are followed, as segments without links. Every step is looked at, because a
 * link that an earlier entry made may lead anywhere, and `..` behind a link does not mean what it says.
 * Parts that do not exist are taken as written, or made as folders when `make` is set.
 * @throws DirectoryError `UnsafeLayer` when a step leaves `root`
 */
export async function resolveInside(root: string, segments: readonly string[], make = false): Promise<readonly string[]> {
  const pending = [...segments].reverse();
  const resolved: string[] = [];
  let followed = 0;
  for (let segment = pending.pop(); segment !== undefined; segment = pending.pop()) {
    if (segment === '' || segment === '.') continue;
    if (segment === '..') {
      if (resolved.pop() === undefined) throw unsafe(segments.join('/'), 'it leads out of the folder of its component');
      continue;
    }
    const here = path.join(root, ...resolved, segment);
    const kind = await kindOf(here);
    if (kind === 'link') {
      followed += 1;
      if (followed > limits.linksPerPath) throw unsafe(segments.join('/'), 'its links go in a circle');
      const target = await readlink(here);
      requireRelativeTarget(segments.join('/'), target);
      pending.push(...target.split('/').reverse());
      continue;
    }
    if (kind === 'other' && (make || pending.length > 0)) throw unsafe(segments.join('/'), 'a part of its path is no folder');
    if (kind === 'missing' && make) await mkdir(here, { mode: 0o755 });
    resolved.push(segment);
  }
  return resolved;
}

/** @throws DirectoryError `UnsafeLayer`: on a host, an absolute link leads to the host's files, not to the image's. */
export function requireRelativeTarget(name: string, target: string): void {
  const foreign = path.sep === '\\' && /[\\:]/.test(target);
  if (target !== '' && !target.startsWith('/') && !target.includes('\0') && !foreign) return;
  throw unsafe(name, `it links to the absolute path ${JSON.stringify(target.slice(0, 200))}; use a relative link`);
}

/**
 * Looks at every link of a finished tree once more: a later entry can turn a link that was harmless into one that escapes.
 * @throws DirectoryError `UnsafeLayer`
 */
export async function requireLinksInside(root: string): Promise<void> {
  for (const entry of await readdir(root, { withFileTypes: true, recursive: true })) {
    if (!entry.isSymbolicLink()) continue;
    const segments = path.relative(root, path.join(entry.parentPath, entry.name)).split(path.sep);
    await resolveInside(root, segments);
  }
}

/** What lies at a path, without following it. */
export async function kindOf(file: string): Promise<'missing' | 'folder' | 'link' | 'other'> {
  try {
    const found = await lstat(file);
    if (found.isSymbolicLink()) return 'link';
    return found.isDirectory() ? 'folder' : 'other';
  } catch (error) {
    if (isMissing(error)) return 'missing';
    throw error;
  }
}

/** The error for an entry that would reach out of its component. */
export function unsafe(name: string, why: string): DirectoryError {
  return new DirectoryError('UnsafeLayer', `the layer entry ${JSON.stringify(name.slice(0, 200))} is refused: ${why}. Build the image without it`);
}
