import type { BlobId, ObjectId, TreeId } from '../../core/model/commit-id.ts';
import { GitError, type FileMode, type UnreadablePath } from '../../ports/git-reader.ts';

/** One entry of a raw tree object. The name is kept as one character per byte (latin1): Git knows no encoding. */
export type RawTreeEntry =
  | { readonly name: string; readonly mode: '40000'; readonly id: TreeId }
  | { readonly name: string; readonly mode: FileMode; readonly id: BlobId };

const FILE_MODES: readonly string[] = ['100644', '100755', '120000', '160000'];

/**
 * Entries of a raw tree object, in its order.
 * @throws GitError `ObjectCorrupt` for what no git writes: unknown modes, two entries of one name, cut-off bytes. A tree that two
 *   readers could understand differently has no place in a history that is signed.
 */
export function parseTree(id: TreeId, bytes: Uint8Array): RawTreeEntry[] {
  const idBytes = id.length / 2;
  const buffer = Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  const corrupt = (why: string): never => {
    throw new GitError('ObjectCorrupt', `The tree ${id} ${why}. Find out with which tool it was made.`);
  };
  const names = new Set<string>();
  const entries: RawTreeEntry[] = [];
  for (let at = 0; at < buffer.length; ) {
    const blank = buffer.indexOf(0x20, at);
    const end = buffer.indexOf(0, blank);
    if (blank < 0 || end < 0 || end + 1 + idBytes > buffer.length) return corrupt('is cut off');
    // Old tools wrote 100664; every git since reads it as 100644.
    const mode = buffer.toString('latin1', at, blank).replace(/^100664$/, '100644');
    const name = buffer.toString('latin1', blank + 1, end);
    if (mode !== '40000' && !FILE_MODES.includes(mode)) return corrupt(`has an entry of the unknown mode ${JSON.stringify(mode.slice(0, 20))}`);
    if (name === '' || name.includes('/') || names.has(name)) return corrupt('has two entries of one name, or a name that is none');
    names.add(name);
    entries.push({ name, mode, id: buffer.toString('hex', end + 1, end + 1 + idBytes) } as RawTreeEntry);
    at = end + 1 + idBytes;
  }
  return entries;
}

/** A raw tree object of these entries, in the order that Git demands: by bytes, a folder as if its name ended with `/`. */
export function serializeTree(entries: Iterable<RawTreeEntry>): Uint8Array {
  const sorted = [...entries].map((entry) => ({ entry, key: entry.mode === '40000' ? `${entry.name}/` : entry.name }));
  sorted.sort((a, b) => (a.key < b.key ? -1 : 1));
  return Buffer.concat(sorted.flatMap(({ entry }) => [Buffer.from(`${entry.mode} ${entry.name}\0`, 'latin1'), Buffer.from(entry.id, 'hex')]));
}

/** Id of the tree without entries, which every git knows without having it. */
export function emptyTree(format: 'sha1' | 'sha256'): TreeId {
  const id = format === 'sha1' ? '4b825dc642cb6eb9a060e54bf8d69288fbee4904' : '6ef19b41225c5369f1c104d45d8d85efa9b057b53b14b4b9b939dd74decc5321';
  return id as ObjectId as TreeId;
}

/** A path of one character per byte as text, or why it has none. */
export function parsePath(latin1: string): { readonly ok: true; readonly path: string } | { readonly ok: false; readonly unreadable: UnreadablePath } {
  const bytes = Buffer.from(latin1, 'latin1');
  const path = bytes.toString('utf8');
  if (!Buffer.from(path, 'utf8').equals(bytes)) return { ok: false, unreadable: { shown: shown(latin1), reason: 'NotUtf8' } };
  const unsafe = /[\u0000-\u001f\u007f]/.test(latin1) || path.split('/').some((part) => ['', '.', '..', '.git'].includes(part.toLowerCase()));
  return unsafe ? { ok: false, unreadable: { shown: shown(latin1), reason: 'Unsafe' } } : { ok: true, path };
}

function shown(latin1: string): string {
  return latin1.replace(/[^\u0020-\u007e]|\\/g, (byte) => `\\x${byte.charCodeAt(0).toString(16).padStart(2, '0')}`);
}
