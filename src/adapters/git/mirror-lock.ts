import { open, readFile, rm } from 'node:fs/promises';
import { GitError } from '../../ports/git-reader.ts';

/** Held while a process uses a mirror; ends with `release`, or with the process. */
export type MirrorLock = { release(): Promise<void> };

/**
 * Takes the lock file for this process. A lock whose process is gone, or whose number another process has by now, is taken over.
 * @throws GitError `MirrorBusy` when a living process holds it.
 */
export async function takeMirrorLock(file: string, ownPid: number): Promise<MirrorLock> {
  const own = `${ownPid} ${await startOf(ownPid)}\n`;
  for (let tries = 0; tries < 3; tries++) {
    if (await create(file, own)) return { release: () => rm(file, { force: true }) };
    const held = await readFile(file, 'utf8').catch(() => '');
    const [pid = '', start = ''] = held.trim().split(' ');
    if (await isAlive(Number(pid), start)) {
      throw new GitError('MirrorBusy', `The process ${pid} uses this mirror (${file}). Give each server a data folder of its own, or stop that process.`);
    }
    // Only the lock that was judged: somebody else may have taken over in the meantime.
    if ((await readFile(file, 'utf8').catch(() => '')) === held) await rm(file, { force: true });
  }
  throw new GitError('MirrorBusy', `Another process takes this mirror at the same moment (${file}). Start only one of them.`);
}

async function create(file: string, text: string): Promise<boolean> {
  try {
    const handle = await open(file, 'wx');
    await handle.writeFile(text);
    await handle.close();
    return true;
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'EEXIST') return false;
    throw error;
  }
}

async function isAlive(pid: number, start: string): Promise<boolean> {
  if (!Number.isSafeInteger(pid) || pid <= 0) return false;
  try {
    process.kill(pid, 0);
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ESRCH') return false;
  }
  return (await startOf(pid)) === start;
}

/** When a process started, in clock ticks since boot: tells it from a later one with the same number. `-` where the system does not say. */
async function startOf(pid: number): Promise<string> {
  const stat = await readFile(`/proc/${pid}/stat`, 'utf8').catch(() => '');
  return stat.slice(stat.lastIndexOf(')') + 2).split(' ')[19] ?? '-';
}
