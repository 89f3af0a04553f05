import { randomBytes } from 'node:crypto';
import { link, mkdir, open, readFile, rm, stat } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { digestOfBytes, hexOf, type Digest } from '../../core/model/digest.ts';
import { limits } from '../../core/model/limits.ts';
import type { ObjectStore } from '../../ports/object-store.ts';
import { StorageError } from '../../ports/storage-error.ts';

/**
 * A content-addressed folder: `<folder>/sha256/<first two digits>/<64 digits>`. Files are written beside, synced, and linked into place,
 * so a name is never seen with half its bytes and never replaced. Folders are made on first use.
 */
export function createSeedFsStore(folder: string): ObjectStore {
  const pathOf = (digest: Digest): string => join(folder, 'sha256', hexOf(digest).slice(0, 2), hexOf(digest));
  return {
    put: async (bytes) => {
      if (bytes.byteLength > limits.objectBytes) throw new StorageError('LimitExceeded', `an object of ${bytes.byteLength} bytes is over the limit of ${limits.objectBytes}`);
      const digest = digestOfBytes(bytes);
      try {
        if (!(await exists(pathOf(digest)))) await write(folder, pathOf(digest), bytes);
      } catch (cause) {
        throw toStorageError(cause, folder);
      }
      return digest;
    },
    get: async (digest) => {
      const bytes = await readFile(pathOf(digest)).catch((cause: unknown) => missingOrThrow(cause, folder));
      if (bytes !== null && digestOfBytes(bytes) !== digest) {
        throw new StorageError('ObjectCorrupt', `${pathOf(digest)} does not hold the bytes of its digest any more: restore it from a backup`);
      }
      return bytes;
    },
    has: (digest) => exists(pathOf(digest)).catch((cause: unknown) => {
      throw toStorageError(cause, folder);
    }),
  };
}

async function exists(path: string): Promise<boolean> {
  try {
    return (await stat(path)).isFile();
  } catch (cause) {
    if ((cause as NodeJS.ErrnoException).code === 'ENOENT') return false;
    throw cause;
  }
}

async function write(folder: string, path: string, bytes: Uint8Array): Promise<void> {
  const incoming = join(folder, 'incoming');
  await Promise.all([mkdir(incoming, { recursive: true, mode: 0o700 }), mkdir(dirname(path), { recursive: true, mode: 0o700 })]);
  const draft = join(incoming, randomBytes(12).toString('hex'));
  try {
    const file = await open(draft, 'wx', 0o600);
    try {
      await file.writeFile(bytes);
      await file.sync();
    } finally {
      await file.close();
    }
    // Unlike a rename, a link never replaces what another writer has put there.
    await link(draft, path).catch((cause: unknown) => {
      if ((cause as NodeJS.ErrnoException).code !== 'EEXIST') throw cause;
    });
    for (const parent of [dirname(path), dirname(dirname(path))]) await syncFolder(parent);
  } finally {
    await rm(draft, { force: true });
  }
}

async function syncFolder(path: string): Promise<void> {
  const handle = await open(path, 'r');
  try {
    await handle.sync();
  } finally {
    await handle.close();
  }
}

function missingOrThrow(cause: unknown, folder: string): null {
  if ((cause as NodeJS.ErrnoException).code === 'ENOENT') return null;
  throw toStorageError(cause, folder);
}

function toStorageError(cause: unknown, folder: string): unknown {
  const code = (cause as NodeJS.ErrnoException).code;
  if (code === 'ENOSPC' || code === 'EDQUOT') return new StorageError('StorageFull', `the disk of the object store ${folder} is full: make room`, cause);
  if (typeof code === 'string') return new StorageError('StorageUnavailable', `the object store ${folder} cannot be used (${code}): check the folder and its owner`, cause);
  return cause;
}
