import { stat } from 'node:fs/promises';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { watch } from 'chokidar';

export type Watching = { close(): Promise<void> };

/**
 * Watches the references of a repository on this machine and says when one may have moved. Only a wake-up: polling finds what it misses.
 * @param url a path or a file URL; anything else is not watched
 * @param p.ignoredRefs whose moves are our own
 * @returns null when there is nothing to watch
 */
export async function watchRepository(url: string, p: { readonly ignoredRefs: readonly string[]; readonly onMove: () => void }): Promise<Watching | null> {
  const folder = await gitFolderOf(url);
  if (folder === null) return null;
  const own = new Set(p.ignoredRefs.map((ref) => join(folder, ref)));
  const isNoise = (path: string): boolean => path.endsWith('.lock') || own.has(path);
  const watcher = watch([join(folder, 'refs'), join(folder, 'packed-refs')], { ignoreInitial: true, ignored: isNoise, persistent: true });
  watcher.on('all', (event) => {
    if (event === 'add' || event === 'change' || event === 'unlink') p.onMove();
  });
  watcher.on('error', () => undefined); // polling goes on
  await new Promise<void>((resolve) => watcher.once('ready', () => resolve()));
  return { close: () => watcher.close() };
}

async function gitFolderOf(url: string): Promise<string | null> {
  const path = url.startsWith('file://') ? fileURLToPath(url) : url;
  for (const candidate of [join(path, '.git'), path]) {
    const found = await stat(join(candidate, 'refs')).catch(() => null);
    if (found?.isDirectory() === true) return candidate;
  }
  return null;
}
