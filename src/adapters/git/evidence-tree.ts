import type { BlobId, TreeId } from '../../core/model/commit-id.ts';
import { limits } from '../../core/model/limits.ts';
import { GitError } from '../../ports/git-reader.ts';
import { objectIdOf, type ObjectFormat, type ObjectStore } from './object-store.ts';
import type { NewObject } from './loose-objects.ts';
import { parsePath, parseTree, serializeTree, type RawTreeEntry } from './tree-object.ts';

/** Changes of one folder by name (latin1 of the UTF-8 bytes): a blob to put, null to remove, or changes further down. */
type FolderChange = { readonly names: Map<string, BlobId | null | FolderChange> };

/** Trees kept from the last appends; the touched ones come back with the next. */
const CACHED_TREES = 256;

/** Turns changed files into new tree objects: only those on the touched paths. */
export class EvidenceTrees {
  readonly #format: ObjectFormat;
  readonly #objects: ObjectStore;
  readonly #cache = new Map<TreeId, ReadonlyMap<string, RawTreeEntry>>();

  constructor(format: ObjectFormat, objects: ObjectStore) {
    this.#format = format;
    this.#objects = objects;
  }

  /** @returns the new root, with the tree objects to write, children before parents. */
  async change(root: TreeId | null, puts: readonly { readonly path: string; readonly blob: BlobId }[], deletes: readonly string[]): Promise<{ root: TreeId; trees: NewObject[] }> {
    const change: FolderChange = { names: new Map() };
    for (const path of deletes) addChange(change, path, null);
    for (const { path, blob } of puts) addChange(change, path, blob);
    const trees: NewObject[] = [];
    const entries = await this.#changed(root, change, trees);
    return { root: this.#store(entries, trees), trees };
  }

  /** Entries of a folder after its change. Siblings are read in one round trip. */
  async #changed(id: TreeId | null, change: FolderChange, trees: NewObject[]): Promise<ReadonlyMap<string, RawTreeEntry>> {
    const before = id === null ? new Map<string, RawTreeEntry>() : await this.#entriesOf(id);
    const after = new Map(before);
    const changes = [...change.names];
    const folders = await Promise.all(
      changes.map(async ([name, what]) => {
        if (what === null || typeof what === 'string') return null;
        const existing = before.get(name);
        return this.#changed(existing?.mode === '40000' ? existing.id : null, what, trees);
      }),
    );
    changes.forEach(([name, what], i) => {
      const folder = folders[i];
      if (typeof what === 'string') after.set(name, { name, mode: '100644', id: what });
      else if (folder !== null && folder !== undefined && folder.size > 0) after.set(name, { name, mode: '40000', id: this.#store(folder, trees) });
      // Git has no empty folders. A deletion below what is no folder leaves that file alone.
      else if (what === null || before.get(name)?.mode === '40000') after.delete(name);
    });
    return after;
  }

  #store(entries: ReadonlyMap<string, RawTreeEntry>, trees: NewObject[]): TreeId {
    const bytes = serializeTree(entries.values());
    const id = objectIdOf(this.#format, 'tree', bytes) as TreeId;
    trees.push({ type: 'tree', bytes });
    this.#remember(id, entries);
    return id;
  }

  async #entriesOf(id: TreeId): Promise<ReadonlyMap<string, RawTreeEntry>> {
    const cached = this.#cache.get(id);
    const bytes = cached === undefined ? (await this.#objects.demand([id], 'tree', limits.treeBytes)).get(id) : undefined;
    const entries = cached ?? new Map(parseTree(id, bytes as Uint8Array).map((entry) => [entry.name, entry]));
    this.#remember(id, entries);
    return entries;
  }

  #remember(id: TreeId, entries: ReadonlyMap<string, RawTreeEntry>): void {
    this.#cache.delete(id);
    this.#cache.set(id, entries);
    for (const oldest of this.#cache.keys()) {
      if (this.#cache.size <= CACHED_TREES) break;
      this.#cache.delete(oldest);
    }
  }
}

function addChange(root: FolderChange, path: string, what: BlobId | null): void {
  const latin1 = Buffer.from(path, 'utf8').toString('latin1');
  const parts = latin1.split('/');
  if (!path.isWellFormed() || !parsePath(latin1).ok || parts.length > limits.treeDepth) throw new GitError('InvalidName', `${JSON.stringify(path.slice(0, 200))} is no path for the evidence branch.`);
  let folder = root;
  for (const part of parts.slice(0, -1)) {
    const existing = folder.names.get(part);
    if (typeof existing === 'string') throw new GitError('InvalidName', `${JSON.stringify(path)} lies below a file of the same append.`);
    // A folder that is deleted and written to in one append would need an order; nobody needs it.
    if (existing === null) throw new GitError('InvalidName', `${JSON.stringify(path)} lies below a folder that the same append deletes.`);
    const next: FolderChange = existing ?? { names: new Map() };
    folder.names.set(part, next);
    folder = next;
  }
  const name = parts.at(-1) as string;
  const existing = folder.names.get(name);
  if (typeof existing === 'object' && existing !== null) throw new GitError('InvalidName', `${JSON.stringify(path)} is a file and a folder in the same append.`);
  if (typeof existing === 'string') throw new GitError('InvalidName', `${JSON.stringify(path)} is written twice in the same append.`);
  folder.names.set(name, what);
}
