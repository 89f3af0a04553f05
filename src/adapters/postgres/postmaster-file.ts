import { execFile } from 'node:child_process';
import { readFile, readlink, realpath, rm } from 'node:fs/promises';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { promisify } from 'node:util';
import { StorageError } from '../../ports/storage-error.ts';

const run = promisify(execFile);
const codeOf = (cause: unknown): string | undefined => (cause as NodeJS.ErrnoException).code;

/**
 * Makes sure that no server works on `pgdata`. A `postmaster.pid` that a crash left behind is removed, also when its process id belongs
 * to another program by now, in front of which Postgres itself would give up. A server whose owner has just died gets time to end.
 * @param patienceMs how long a running server may still end.
 * @throws StorageError `FolderInUse` when one goes on running.
 */
export async function releaseDataFolder(pgdata: string, patienceMs: number): Promise<void> {
  const file = join(pgdata, 'postmaster.pid');
  const giveUpAt = performance.now() + patienceMs;
  for (;;) {
    const pid = await postmasterOf(file);
    if (pid === null) return;
    if (!(await worksIn(pid, pgdata))) return rm(file, { force: true });
    if (performance.now() > giveUpAt) {
      throw new StorageError('FolderInUse', `another server (process ${pid}) uses ${pgdata}: stop it, or give this one a data folder of its own`);
    }
    await sleep(50);
  }
}

/** The process id in the first line, null when there is no file. */
async function postmasterOf(file: string): Promise<number | null> {
  try {
    return Number.parseInt(await readFile(file, 'utf8'), 10);
  } catch (cause) {
    if (codeOf(cause) === 'ENOENT') return null;
    throw cause;
  }
}

/** Whether the process is a Postgres server in this folder; in doubt yes, because two servers on one folder destroy it. */
async function worksIn(pid: number, pgdata: string): Promise<boolean> {
  if (!Number.isSafeInteger(pid) || pid < 1 || !isAlive(pid)) return false;
  if (process.platform !== 'linux') return /postgres/i.test((await run('ps', ['-o', 'command=', '-p', String(pid)]).catch(() => ({ stdout: '' }))).stdout);
  try {
    // A server works in its data folder; the folder of a process that has ended but is not yet reaped cannot be read.
    return (await readlink(`/proc/${pid}/cwd`)) === (await realpath(pgdata));
  } catch (cause) {
    if (codeOf(cause) === 'ENOENT') return false;
    return (await readFile(`/proc/${pid}/comm`, 'utf8').catch(() => '')).startsWith('postgres');
  }
}

function isAlive(pid: number): boolean {
  try {
    process.kill(pid, 0);
    return true;
  } catch (cause) {
    return codeOf(cause) === 'EPERM';
  }
}
