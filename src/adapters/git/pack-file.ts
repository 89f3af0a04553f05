import { createHash, randomBytes } from 'node:crypto';
import { open, rename, rm, type FileHandle } from 'node:fs/promises';
import { join } from 'node:path';
import { deflateSync } from 'node:zlib';
import { GitError } from '../../ports/git-reader.ts';
import type { GitCommandResult } from './git-command.ts';
import { diskError, syncFolder, type NewObject } from './loose-objects.ts';
import { objectIdOf, type ObjectFormat, type ObjectType } from './object-store.ts';

const COMPRESSION_LEVEL = 3;
/** Objects compressed at a time: a few milliseconds, after which others have their turn while the bytes are written. */
const CHUNK = 64;

const TYPE_NUMBERS: Readonly<Record<ObjectType, number>> = { commit: 1, tree: 2, blob: 3, tag: 4 };

export type PackPlace = {
  readonly objectsFolder: string;
  readonly format: ObjectFormat;
  /** Runs git in the repository. */
  readonly git: (args: readonly string[]) => Promise<GitCommandResult>;
};

/**
 * Writes objects as one pack that survives a power cut: for many objects, where a file and an fsync for each would take minutes. The pack
 * counts once its index has its name, which comes last.
 * Source: gitformat-pack(5), version 2, without deltas.
 * @throws GitError `DiskFull`, `ReadOnly`, `ProcessFailed`; no temporary file is left.
 */
export async function writePack(place: PackPlace, objects: readonly NewObject[]): Promise<void> {
  const folder = join(place.objectsFolder, 'pack');
  const random = randomBytes(8).toString('hex');
  // Named so that a clean-up after a crash knows them.
  const pack = join(folder, `tmp_pack_${random}.pack`);
  const index = join(folder, `tmp_idx_${random}`);
  try {
    const name = join(folder, `pack-${await writeContent(pack, place.format, objects)}`);
    const result = await place.git(['index-pack', '--no-rev-index', '-o', index, pack]);
    if (result.exitCode !== 0) throw new GitError('ProcessFailed', `git index-pack says: ${result.stderr.trim().slice(0, 500)}`);
    await syncFile(index);
    await rename(pack, `${name}.pack`);
    await rename(index, `${name}.idx`);
    await syncFolder(folder);
  } catch (error) {
    await Promise.all([pack, index].map((file) => rm(file, { force: true })));
    throw diskError(error);
  }
}

/** @returns digest of the pack, which is its name */
async function writeContent(file: string, format: ObjectFormat, objects: readonly NewObject[]): Promise<string> {
  const distinct = [...new Map(objects.map((object) => [objectIdOf(format, object.type, object.bytes), object])).values()];
  const digest = createHash(format);
  const handle = await open(file, 'wx', 0o444);
  const write = async (bytes: Uint8Array): Promise<void> => {
    digest.update(bytes);
    await writeAll(handle, bytes);
  };
  try {
    await write(packHeader(distinct.length));
    for (let i = 0; i < distinct.length; i += CHUNK) {
      await write(Buffer.concat(distinct.slice(i, i + CHUNK).flatMap(packEntry)));
    }
    const trailer = digest.digest();
    await writeAll(handle, trailer);
    await handle.sync();
    return trailer.toString('hex');
  } finally {
    await handle.close();
  }
}

async function writeAll(handle: FileHandle, bytes: Uint8Array): Promise<void> {
  for (let at = 0; at < bytes.length; ) at += (await handle.write(bytes, at)).bytesWritten;
}

function packHeader(count: number): Buffer {
  const header = Buffer.from('PACK\0\0\0\x02\0\0\0\0', 'latin1');
  header.writeUInt32BE(count, 8);
  return header;
}

function packEntry({ type, bytes }: NewObject): readonly Buffer[] {
  // Four bits of the size stand beside the type, then seven in each byte; the high bit says that more follow.
  const head: number[] = [];
  let current = (TYPE_NUMBERS[type] << 4) | (bytes.length & 0x0f);
  for (let rest = Math.floor(bytes.length / 16); rest > 0; rest = Math.floor(rest / 128)) {
    head.push(current | 0x80);
    current = rest & 0x7f;
  }
  // Not through the thread pool: for thousands of small objects its round trips cost more than the work.
  // Nor with the usual buffer of 16 kB for each of them.
  return [Buffer.from([...head, current]), deflateSync(bytes, { level: COMPRESSION_LEVEL, chunkSize: bytes.length + 128 })];
}

async function syncFile(file: string): Promise<void> {
  const handle = await open(file, 'r');
  try {
    await handle.sync();
  } finally {
    await handle.close();
  }
}
