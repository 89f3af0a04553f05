import { execFileSync } from 'node:child_process';
import { mkdtempSync, rmdirSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';

/** A small file system of its own, to be filled until writes fail. */
export type Tmpfs = { readonly path: string; unmount(): void };

/** Mounts a tmpfs of `sizeMb` megabytes on a new temporary folder. Ask `requireComponent('tmpfs', ctx)` first. */
export function mountTmpfs(sizeMb: number): Tmpfs {
  const path = mkdtempSync(join(tmpdir(), 'stella-test-tmpfs-'));
  execFileSync('mount', ['-t', 'tmpfs', '-o', `size=${sizeMb}m`, 'stella-test', path]);
  return {
    path,
    unmount: () => {
      execFileSync('umount', ['-l', path]);
      rmdirSync(path);
    },
  };
}
