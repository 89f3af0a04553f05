import { randomBytes } from 'node:crypto';
import { access, mkdir, open, rename, rm } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { promisify } from 'node:util';
import { deflate } from 'node:zlib';
import type { ObjectId } from '../../core/model/commit-id.ts';
import { GitError } from '../../ports/git-reader.ts';
import { objectIdOf, type ObjectFormat, type ObjectType } from './object-store.ts';

export type NewObject = { readonly type: ObjectType; readonly bytes: Uint8Array };

const compress = promisify(deflate);
/** Records are small and mostly signatures; more effort buys little. */
const COMPRESSION_LEVEL = 3;
/** Files written at once: enough to keep the disk busy while each waits for its fsync. */
const PARALLEL_WRITES = 8;

/**
 * Writes objects as loose files so that they survive a power cut: content first (temporary file, fsync), then the name (rename,
 * fsync of the folder). An object that is there already is left as it is.
 * @throws GitError `DiskFull`, `ReadOnly`; no temporary file is left.
 */
export async function writeLooseObjects(objectsFolder: string, format: ObjectFormat, objects: readonly NewObject[]): Promise<void> {
  const wanted = new Map(objects.map((object) => [objectIdOf(format, object.type, object.bytes), object]));
  try {
    const queue = [...wanted];
    const workers = Array.from({ length: Math.min(PARALLEL_WRITES, queue.length) }, async () => {
      for (let next = queue.shift(); next !== undefined; next = queue.shift()) await writeOne(objectsFolder, next[0], next[1]);
    });
    // All of them, so that no temporary file is still being written when the error is reported.
    for (const outcome of await Promise.allSettled(workers)) if (outcome.status === 'rejected') throw outcome.reason;
    const folders = new Set([...wanted.keys()].map((id) => join(objectsFolder, id.slice(0, 2))));
    await Promise.all([objectsFolder, ...folders].map(syncFolder));
  } catch (error) {
    throw diskError(error);
  }
}

async function writeOne(objectsFolder: string, id: ObjectId, { type, bytes }: NewObject): Promise<void> {
  const file = join(objectsFolder, id.slice(0, 2), id.slice(2));
  if (await exists(file)) return;
  const content = await compress(Buffer.concat([Buffer.from(`${type} ${bytes.length}\0`), bytes]), { level: COMPRESSION_LEVEL });
  // Named as git names its own, so that its clean-up and ours know it.
  const temporary = join(objectsFolder, `tmp_obj_${randomBytes(8).toString('hex')}`);
  try {
    const handle = await open(temporary, 'wx', 0o444);
    try {
      await handle.writeFile(content);
      await handle.sync();
    } finally {
      await handle.close();
    }
    await rename(temporary, file).catch(async (error: NodeJS.ErrnoException) => {
      if (error.code !== 'ENOENT') throw error;
      await mkdir(dirname(file), { recursive: true });
      await rename(temporary, file);
    });
  } catch (error) {
    await rm(temporary, { force: true });
    throw error;
  }
}

async function exists(file: string): Promise<boolean> {
  return access(file).then(
    () => true,
    () => false,
  );
}

/** Makes the names in a folder survive a power cut. */
export async function syncFolder(folder: string): Promise<void> {
  const handle = await open(folder, 'r');
  try {
    await handle.sync();
  } finally {
    await handle.close();
  }
}

/**
 * Writes and removes a small file, because git names no cause when it could not write a reference.
 * @throws GitError `DiskFull`, `ReadOnly`
 */
export async function probeDisk(folder: string): Promise<void> {
  const temporary = join(folder, `tmp_obj_${randomBytes(8).toString('hex')}`);
  try {
    const handle = await open(temporary, 'wx');
    try {
      await handle.writeFile('probe');
      await handle.sync();
    } finally {
      await handle.close();
    }
  } catch (error) {
    throw diskError(error);
  } finally {
    await rm(temporary, { force: true });
  }
}

/** The failure of a write as one that says what to do. */
export function diskError(error: unknown): unknown {
  const text = error instanceof GitError ? error.message : '';
  const code = (error as NodeJS.ErrnoException | null)?.code;
  if (code === 'ENOSPC' || code === 'EDQUOT' || /No space left on device|Disk quota exceeded/.test(text)) {
    return new GitError('DiskFull', 'The disk that holds the evidence repository is full. Free some space; the same append is tried again.', error);
  }
  if (code === 'EROFS' || /Read-only file system/.test(text)) {
    return new GitError('ReadOnly', 'The disk that holds the evidence repository is read-only. Mount it writable; the same append is tried again.', error);
  }
  return error;
}
