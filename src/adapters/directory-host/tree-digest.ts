import { createHash } from 'node:crypto';
import { createReadStream } from 'node:fs';
import { lstat, readdir, readlink } from 'node:fs/promises';
import path from 'node:path';
import { canonicalText, type JsonObject } from '../../core/model/canonical-json.ts';
import type { Digest } from '../../core/model/digest.ts';

/**
 * A digest over a folder as it lies on disk: paths, kinds, permission bits, contents and link targets; no owners, no times.
 * One canonical JSON line per entry, sorted by path, behind the line `stella/tree/v1`.
 */
export async function treeDigest(folder: string): Promise<Digest> {
  const entries = await readdir(folder, { withFileTypes: true, recursive: true });
  const paths = entries.map((entry) => path.relative(folder, path.join(entry.parentPath, entry.name)).split(path.sep).join('/'));
  const sha256 = createHash('sha256').update('stella/tree/v1\n');
  for (const entryPath of paths.sort()) sha256.update(`${canonicalText(await describeEntry(folder, entryPath))}\n`);
  return `sha256:${sha256.digest('hex')}` as Digest;
}

/** sha256 of a file's content. */
export async function fileDigest(file: string): Promise<Digest> {
  const sha256 = createHash('sha256');
  for await (const chunk of createReadStream(file) as AsyncIterable<Uint8Array>) sha256.update(chunk);
  return `sha256:${sha256.digest('hex')}` as Digest;
}

async function describeEntry(folder: string, entryPath: string): Promise<JsonObject> {
  const file = path.join(folder, entryPath);
  const found = await lstat(file);
  const shown = entryPath.toWellFormed();
  if (found.isSymbolicLink()) return { path: shown, kind: 'link', target: (await readlink(file)).toWellFormed() };
  const mode = found.mode & 0o7777;
  if (found.isDirectory()) return { path: shown, kind: 'folder', mode };
  // Whatever else was put there is not read: a pipe would hold us for ever.
  if (!found.isFile()) return { path: shown, kind: 'other', mode };
  return { path: shown, kind: 'file', mode, digest: await fileDigest(file) };
}
