import { lstat, mkdir, mkdtemp, readdir, readFile, readlink, rm, symlink, writeFile } from 'node:fs/promises';
import os from 'node:os';
import path from 'node:path';
import { gzipSync, zstdCompressSync } from 'node:zlib';
import fc from 'fast-check';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { treeDigest } from '../../src/adapters/directory-host/tree-digest.ts';
import { requireLinksInside } from '../../src/adapters/directory-host/tree-path.ts';
import { unpackLayer } from '../../src/adapters/directory-host/unpack-layer.ts';
import { type TarEntry, tarOf } from '../fakes/oci-image.ts';

const gzipType = 'application/vnd.oci.image.layer.v1.tar+gzip';
const dir = (name: string): TarEntry => ({ name, type: 'directory' });
const file = (name: string, content = name): TarEntry => ({ name, content });
const soft = (name: string, linkname: string): TarEntry => ({ name, type: 'symlink', linkname });
const hard = (name: string, linkname: string): TarEntry => ({ name, type: 'link', linkname });

let base: string;
let root: string;
beforeEach(async () => {
  base = await mkdtemp(path.join(os.tmpdir(), 'stella-unpack-'));
  root = path.join(base, 'component');
  await mkdir(root);
  await writeFile(path.join(base, 'outside'), 'untouched');
});
afterEach(async () => rm(base, { recursive: true, force: true }));

async function unpackBytes(bytes: Uint8Array, type = gzipType, budget = { bytes: 1_000_000, entries: 1_000 }): Promise<void> {
  await writeFile(path.join(base, 'layer'), bytes);
  await unpackLayer(root, path.join(base, 'layer'), type, budget);
}

async function unpack(...layers: readonly (readonly TarEntry[])[]): Promise<void> {
  for (const entries of layers) await unpackBytes(gzipSync(await tarOf(entries)));
  await requireLinksInside(root);
}

const tree = async (): Promise<string[]> => (await readdir(root, { recursive: true })).sort();
const text = (name: string): Promise<string> => readFile(path.join(root, name), 'utf8');

describe('unpacking layers', () => {
  it('writes files, folders and links with their permission bits', async () => {
    await unpack([dir('bin/'), { name: 'bin/run', content: '#!/bin/sh', mode: 0o755 }, soft('run', 'bin/run'), hard('bin/again', 'bin/run'), file('deep/er/file')]);
    expect(await tree()).toEqual(['bin', 'bin/again', 'bin/run', 'deep', 'deep/er', 'deep/er/file', 'run']);
    expect((await lstat(path.join(root, 'bin/run'))).mode & 0o7777).toBe(0o755);
    expect(await readlink(path.join(root, 'run'))).toBe('bin/run');
    expect((await lstat(path.join(root, 'bin/again'))).ino).toBe((await lstat(path.join(root, 'bin/run'))).ino);
  });

  it('drops setuid, setgid and the right of others to write', async () => {
    await unpack([{ name: 'root-shell', content: 'x', mode: 0o6777 }, { name: 'open', type: 'directory', mode: 0o3777 }]);
    expect((await lstat(path.join(root, 'root-shell'))).mode & 0o7777).toBe(0o755);
    expect((await lstat(path.join(root, 'open'))).mode & 0o7777).toBe(0o755);
  });

  it('reads plain, gzip and zstd, and no other type', async () => {
    const tar = await tarOf([file('a', 'A')]);
    await unpackBytes(tar, 'application/vnd.oci.image.layer.v1.tar');
    await unpackBytes(zstdCompressSync(tar), 'application/vnd.oci.image.layer.v1.tar+zstd');
    await unpackBytes(gzipSync(tar), 'application/vnd.docker.image.rootfs.diff.tar.gzip');
    expect(await text('a')).toBe('A');
    await expect(unpackBytes(tar, 'application/vnd.oci.image.layer.nondistributable.v1.tar+gzip')).rejects.toMatchObject({ code: 'UnsupportedLayer' });
  });

  it('lays a layer over the ones below', async () => {
    await unpack([file('a', 'old'), dir('d'), file('d/x'), soft('link', 'a')], [file('a', 'new'), file('d', 'now a file'), dir('link'), file('link/inside')]);
    expect(await tree()).toEqual(['a', 'd', 'link', 'link/inside']);
    expect(await text('a')).toBe('new');
  });

  it('does not write through a link or a hard link that lies where a file goes', async () => {
    await unpack([file('original', 'kept'), soft('soft', 'original'), hard('hard', 'original')], [file('soft', 'S'), file('hard', 'H')]);
    expect([await text('original'), await text('soft'), await text('hard')]).toEqual(['kept', 'S', 'H']);
  });

  it('follows a link to a folder that stays inside', async () => {
    await unpack([dir('usr/lib'), soft('lib', 'usr/lib')], [file('lib/new')]);
    expect(await text('usr/lib/new')).toBe('lib/new');
  });

  it('obeys whiteouts, for lower layers only', async () => {
    await unpack([file('gone'), file('stays'), file('d/old'), file('d/sub/old'), file('e/old')], [file('d/sub/new'), file('.wh.gone'), file('d/.wh..wh..opq'), file('new'), file('.wh.new'), file('.wh..wh.plnk')]);
    expect(await tree()).toEqual(['d', 'd/sub', 'd/sub/new', 'e', 'e/old', 'new', 'stays']);
  });
});

describe('a layer that reaches out', () => {
  const attacks: readonly (readonly [string, readonly (readonly TarEntry[])[]])[] = [
    ['a path upwards', [[file('../outside', 'evil')]]],
    ['a path upwards in its middle', [[file('a/../../outside', 'evil')]]],
    ['an absolute path', [[file('/tmp/stella-evil', 'evil')]]],
    ['a link upwards', [[soft('l', '../outside')]]],
    ['an absolute link', [[soft('l', '/etc/passwd')]]],
    ['a link upwards through a link that looks deep', [[dir('a/b'), soft('a/b/s', '../..'), soft('a/b/t', 's/../outside')]]],
    ['a link that escapes once its first step was replaced', [[dir('a/b/c'), soft('l', 'a/b/c/../../../in'), file('in')], [soft('a/b/c', '../..')]]],
    ['a file behind a link upwards', [[soft('l', '..'), file('l/outside', 'evil')]]],
    ['a folder behind an absolute link', [[soft('l', '/tmp'), dir('l/stella-evil')]]],
    ['a hard link upwards', [[hard('h', '../outside')]]],
    ['an absolute hard link', [[hard('h', '/etc/passwd')]]],
    ['a hard link to a link', [[file('f'), soft('s', 'f'), hard('h', 's')]]],
    ['a hard link to a folder', [[dir('d'), hard('h', 'd')]]],
    ['a hard link to itself', [[file('f'), hard('f', './f')]]],
    ['a whiteout upwards', [[file('../.wh.outside')]]],
    ['a whiteout of its parent', [[dir('d'), file('d/.wh...')]]],
    ['a whiteout of its own folder', [[dir('d'), file('d/.wh..')]]],
    ['a whiteout without a name', [[file('d/.wh.')]]],
    ['links in a circle', [[soft('a', 'b'), soft('b', 'a'), file('a/x')]]],
    ['a character device', [[{ name: 'null', type: 'character-device' }]]],
    ['a block device', [[{ name: 'sda', type: 'block-device' }]]],
    ['a pipe', [[{ name: 'pipe', type: 'fifo' }]]],
    ['a folder below a file', [[file('f'), file('f/x')]]],
    ['a path without end', [[file(`${'d/'.repeat(2100)}x`)]]],
  ];
  it.each(attacks)('by %s is refused', async (_, layers) => {
    await expect(unpack(...layers)).rejects.toMatchObject({ code: 'UnsafeLayer' });
    expect(await readFile(path.join(base, 'outside'), 'utf8')).toBe('untouched');
    expect((await readdir(base)).sort()).toEqual(['component', 'layer', 'outside']);
  });

  it('by any mixture of links, files and whiteouts never changes what lies outside', async () => {
    const segment = fc.constantFrom('a', 'b', '..', '.', '.wh.a', '.wh..wh..opq', 'outside');
    const name = fc.array(segment, { minLength: 1, maxLength: 4 }).map((segments) => segments.join('/'));
    const entry = fc.oneof(
      name.map((n) => file(n, 'evil')),
      name.map(dir),
      fc.tuple(name, name).map(([n, target]) => soft(n, target)),
      fc.tuple(name, name).map(([n, target]) => hard(n, target)),
    );
    await fc.assert(
      fc.asyncProperty(fc.array(entry, { maxLength: 8 }), async (entries) => {
        await rm(root, { recursive: true, force: true });
        await mkdir(root);
        await unpack(entries).catch(() => undefined);
        expect(await readFile(path.join(base, 'outside'), 'utf8')).toBe('untouched');
        expect((await readdir(base)).filter((found) => !['component', 'layer', 'outside'].includes(found))).toEqual([]);
      }),
      { numRuns: 150 },
    );
  });
});

describe('a layer that is too much, or broken', () => {
  it('is refused when its files, its entries or its compressed zeros pass the limit', async () => {
    const tar = gzipSync(await tarOf([file('a', 'x'.repeat(600)), file('b', 'x'.repeat(600))]));
    await expect(unpackBytes(tar, gzipType, { bytes: 1_000, entries: 10 })).rejects.toMatchObject({ code: 'LayerTooLarge' });
    await expect(unpackBytes(tar, gzipType, { bytes: 10_000, entries: 1 })).rejects.toMatchObject({ code: 'LayerTooLarge' });
    const bomb = gzipSync(Buffer.alloc(50_000_000));
    await expect(unpackBytes(bomb, gzipType, { bytes: 1_000, entries: 10 })).rejects.toMatchObject({ code: 'LayerTooLarge' });
  });

  it('is refused when it is cut or no archive', async () => {
    const tar = await tarOf([file('a', 'x'.repeat(5_000))]);
    const zipped = gzipSync(tar);
    await expect(unpackBytes(zipped.subarray(0, zipped.length - 20))).rejects.toMatchObject({ code: 'UnsupportedLayer' });
    await expect(unpackBytes(gzipSync(tar.subarray(0, 2_000)))).rejects.toMatchObject({ code: 'UnsupportedLayer' });
    await expect(unpackBytes(Buffer.from('no archive'))).rejects.toMatchObject({ code: 'UnsupportedLayer' });
    await expect(unpackBytes(gzipSync(Buffer.alloc(2_048, 'x')))).rejects.toMatchObject({ code: 'UnsupportedLayer' });
  });
});

describe('the digest of a tree', () => {
  it('is the same for the same content and another for any change', async () => {
    const entries = [dir('d'), file('d/a', 'A'), soft('l', 'd/a')];
    await unpack(entries);
    const before = await treeDigest(root);
    await rm(root, { recursive: true });
    await mkdir(root);
    await unpack([...entries]);
    expect(await treeDigest(root)).toBe(before);
    const seen = new Set([before]);
    await writeFile(path.join(root, 'd/a'), 'B');
    seen.add(await treeDigest(root));
    await rm(path.join(root, 'l'));
    await symlink('d', path.join(root, 'l'));
    seen.add(await treeDigest(root));
    await writeFile(path.join(root, 'new'), '');
    seen.add(await treeDigest(root));
    expect(seen.size).toBe(4);
  });
});
