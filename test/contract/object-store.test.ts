import { mkdtemp, readdir, rm, stat, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import fc from 'fast-check';
import { beforeEach, expect, test } from 'vitest';
import { digestOfBytes, hexOf, type Digest } from '../../src/core/model/digest.ts';
import { limits } from '../../src/core/model/limits.ts';
import { createSeedFsStore } from '../../src/adapters/objectstore/seed-fs.ts';
import { requireComponent } from '../fakes/components.ts';
import { mountTmpfs } from '../fakes/tmpfs.ts';

let folder: string;

beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), 'stella-objects-'));
  return () => rm(folder, { recursive: true, force: true });
});

const pathOf = (digest: Digest): string => join(folder, 'sha256', hexOf(digest).slice(0, 2), hexOf(digest));

test('what was put comes back by its digest, whatever it is', async () => {
  const store = createSeedFsStore(folder);
  await fc.assert(fc.asyncProperty(fc.uint8Array({ maxLength: 2_000 }), async (bytes) => {
    const digest = await store.put(bytes);
    expect(digest).toBe(digestOfBytes(bytes));
    expect(Buffer.from(await store.get(digest) ?? [1])).toEqual(Buffer.from(bytes));
    expect(await store.has(digest)).toBe(true);
  }), { numRuns: 30 });
});

test('what was never put is not there', async () => {
  const store = createSeedFsStore(join(folder, 'not yet made'));
  expect(await store.get(digestOfBytes('x'))).toBeNull();
  expect(await store.has(digestOfBytes('x'))).toBe(false);
});

test('bytes that are there are never written again, also by many at once', async () => {
  const store = createSeedFsStore(folder);
  const digests = await Promise.all(Array.from({ length: 10 }, () => store.put(Buffer.from('same'))));
  expect(new Set(digests).size).toBe(1);
  const before = await stat(pathOf(digestOfBytes('same')));
  await store.put(Buffer.from('same'));
  const after = await stat(pathOf(digestOfBytes('same')));
  expect([after.ino, after.mtimeMs]).toEqual([before.ino, before.mtimeMs]);
  expect(await readdir(join(folder, 'incoming'))).toEqual([]);
});

test('bytes that changed on disk are refused, not handed out', async () => {
  const store = createSeedFsStore(folder);
  const digest = await store.put(Buffer.from('true'));
  await writeFile(pathOf(digest), 'false');
  await expect(store.get(digest)).rejects.toMatchObject({ code: 'ObjectCorrupt' });
});

test('an object over the limit is refused before anything is written', async () => {
  await expect(createSeedFsStore(folder).put(new Uint8Array(limits.objectBytes + 1))).rejects.toMatchObject({ code: 'LimitExceeded' });
  expect(await readdir(folder)).toEqual([]);
});

test('a folder that cannot be one is a clear error', async () => {
  await writeFile(join(folder, 'file'), '');
  await expect(createSeedFsStore(join(folder, 'file')).put(Buffer.from('x'))).rejects.toMatchObject({ code: 'StorageUnavailable', disposition: 'retry' });
});

test('a full disk leaves nothing half-written, and the same put works once there is room', async (context) => {
  requireComponent('tmpfs', context);
  const small = mountTmpfs(1);
  try {
    const store = createSeedFsStore(small.path);
    await writeFile(join(small.path, 'filler'), new Uint8Array(900 * 1024));
    const bytes = new Uint8Array(500 * 1024).fill(7);
    await expect(store.put(bytes)).rejects.toMatchObject({ code: 'StorageFull', disposition: 'wait' });
    expect(await readdir(join(small.path, 'incoming'))).toEqual([]);
    expect(await store.has(digestOfBytes(bytes))).toBe(false);
    await rm(join(small.path, 'filler'));
    expect(Buffer.from(await store.get(await store.put(bytes)) ?? [])).toEqual(Buffer.from(bytes));
  } finally {
    small.unmount();
  }
});
