import type { BlobId, CommitId, ObjectId, TreeId } from '../../core/model/commit-id.ts';
import { isCommitId, isObjectId } from '../../core/model/commit-id.ts';
import { limits } from '../../core/model/limits.ts';
import { GitError, type GitReader, type GitRef, type HistoryFault, type LogEntry, type ObjectRead, type TreeDiff, type TreeEntry, type TreeListing, type UnreadablePath } from '../../ports/git-reader.ts';
import type { GitCommandResult } from './git-command.ts';
import { findGitFolder, findHistoryFileFaults, gitCommand, type GitFolder, type GitSettings } from './git-folder.ts';
import { parseRefName, parseRefPrefix } from './hardened-git.ts';
import { ObjectStore } from './object-store.ts';
import { readRefFiles } from './ref-files.ts';
import { TreeDiffer } from './tree-differ.ts';
import { emptyTree, parsePath, parseTree, type RawTreeEntry } from './tree-object.ts';

/** Commits in a row that are walked in process before `git rev-list` is asked. */
const WALKED_COMMITS = 64;

/**
 * Opens a bare repository or a clone for reading.
 * @throws GitError `NotARepository`
 */
export async function openGitReader(path: string, settings: GitSettings): Promise<GitReader> {
  return new NativeGitReader(await findGitFolder(path, settings), settings);
}

class NativeGitReader implements GitReader {
  readonly objectFormat: GitFolder['objectFormat'];
  readonly #folder: GitFolder;
  readonly #settings: GitSettings;
  readonly #objects: ObjectStore;
  readonly #differ: TreeDiffer;

  constructor(folder: GitFolder, settings: GitSettings) {
    this.objectFormat = folder.objectFormat;
    this.#folder = folder;
    this.#settings = settings;
    const command = gitCommand(settings, [], { gitFolder: folder.gitFolder });
    this.#objects = new ObjectStore(folder.objectFormat, command);
    this.#differ = new TreeDiffer(command);
  }

  readBlobs(ids: Iterable<BlobId>, maxBytes: number): Promise<ReadonlyMap<BlobId, ObjectRead>> {
    return this.#objects.read(ids, 'blob', maxBytes);
  }

  readCommits(ids: Iterable<CommitId>): Promise<ReadonlyMap<CommitId, ObjectRead>> {
    return this.#objects.read(ids, 'commit', limits.commitBytes);
  }

  async readTree(commit: CommitId, options: { readonly under?: string } = {}): Promise<TreeListing> {
    const under = Buffer.from(options.under ?? '', 'utf8').toString('latin1').replace(/\/$/, '');
    const entries: TreeEntry[] = [];
    const unreadable: UnreadablePath[] = [];
    // Level by level, each level in one batch.
    let level: readonly Folder[] = [{ path: '', id: await this.#treeOf(commit) }];
    for (let depth = 0; level.length > 0; depth++) {
      if (depth > limits.treeDepth) throw new GitError('LimitExceeded', `The commit ${commit} has folders deeper than ${limits.treeDepth}. Flatten them.`);
      const trees = await this.#objects.demand(level.map(({ id }) => id), 'tree', limits.treeBytes);
      const parsed = new Map([...trees].map(([id, bytes]) => [id, parseTree(id, bytes)]));
      const next: Folder[] = [];
      for (const folder of level) {
        listFolder(folder, parsed.get(folder.id) ?? [], under, { entries, unreadable, folders: next });
        // Folders count too: a few small trees that name each other many times over unfold without end.
        if (entries.length + next.length > limits.treeEntries) throw new GitError('LimitExceeded', `The commit ${commit} has more than ${limits.treeEntries} files.`);
      }
      level = next;
    }
    return { entries: entries.sort((a, b) => (a.path < b.path ? -1 : 1)), unreadable };
  }

  async diff(from: CommitId | null, to: CommitId): Promise<TreeDiff> {
    const [newTree, oldTree] = await Promise.all([this.#treeOf(to), from === null ? emptyTree(this.objectFormat) : this.#treeOf(from)]);
    return this.#differ.diff(oldTree, newTree);
  }

  async log(from: CommitId | null, to: CommitId, maxCount: number): Promise<readonly LogEntry[]> {
    demandIds(from ?? to, to);
    const walked = from === null ? await this.#walk(from, to) : ((await this.#meet(from, to))?.after ?? null);
    const entries = walked ?? (await this.#revList(from, to, maxCount));
    if (entries.length > maxCount) throw new GitError('LimitExceeded', `More than ${maxCount} commits lead to ${to}. Reconcile in smaller steps, or raise the limit.`);
    return entries;
  }

  async mergeBase(a: CommitId, b: CommitId): Promise<CommitId | null> {
    demandIds(a, b);
    if (a === b) return a;
    const met = await this.#meet(a, b);
    if (met !== null) return met.base;
    const { exitCode, stdout } = await this.#run(['merge-base', a, b], [0, 1]);
    return exitCode === 0 ? idOf(stdout.trim()) : null;
  }

  async isAncestor(ancestor: CommitId, descendant: CommitId): Promise<boolean> {
    demandIds(ancestor, descendant);
    if (ancestor === descendant || (await this.#walk(ancestor, descendant)) !== null) return true;
    // Not `--is-ancestor`, which says nothing: simple-git waits another 50 ms for the output of silent commands.
    return (await this.mergeBase(ancestor, descendant)) === ancestor;
  }

  async resolveRef(name: string): Promise<CommitId | null> {
    const [header] = await this.#objects.describe([`${parseRefName(name)}^{commit}`]);
    return header?.type === 'commit' ? idOf(header.id) : null;
  }

  async listRefs(prefix: string): Promise<readonly GitRef[]> {
    const folder = parseRefPrefix(prefix).replace(/[^/]*$/, '');
    const read = folder.startsWith('refs/') ? await readRefFiles(this.#folder.commonFolder, folder) : null;
    if (read !== null) return read.filter(({ name }) => name.startsWith(prefix));
    const { stdout } = await this.#run(['for-each-ref', '--format=%(objectname) %(refname)', folder], [0]);
    return stdout.split('\n').flatMap((line) => {
      const [id, name = ''] = line.split(' ');
      return isObjectId(id) && name.startsWith(prefix) ? [{ name, id }] : [];
    });
  }

  async findHistoryFaults(): Promise<readonly HistoryFault[]> {
    const replaced = await this.listRefs('refs/replace/');
    const faults = await findHistoryFileFaults(this.#folder.commonFolder);
    if (replaced.length === 0) return faults;
    const remedy = 'Replace refs show other commits than those that were signed. Remove each with `git replace -d <id>`.';
    return [{ code: 'ReplaceRefs', remedy }, ...faults];
  }

  async close(): Promise<void> {
    await Promise.all([this.#objects.close(), this.#differ.close()]);
  }

  async #treeOf(commit: CommitId): Promise<TreeId> {
    demandIds(commit);
    const [header] = await this.#objects.describe([`${commit}^{tree}`]);
    if (header?.type !== 'tree') throw new GitError('ObjectMissing', `The repository has no commit ${commit}. Fetch it first.`);
    return header.id as TreeId;
  }

  /** The commits after `from` up to `to` if they form one line of at most `WALKED_COMMITS`, else null. Saves a process. */
  async #walk(from: CommitId | null, to: CommitId): Promise<LogEntry[] | null> {
    const line: LogEntry[] = [];
    for (let commit = to; line.length < WALKED_COMMITS; ) {
      if (commit === from) return line.reverse();
      const parents = parentsOf((await this.#objects.demand([commit], 'commit', limits.commitBytes)).get(commit) as Uint8Array);
      line.push({ commit, parents });
      const [parent, second] = parents;
      if (second !== undefined) return null;
      if (parent === undefined) return from === null ? line.reverse() : null;
      commit = parent;
    }
    return null;
  }

  /**
   * Where two lines of single parents meet, and the commits of the second one after that, oldest first; null where a merge, a root or
   * `WALKED_COMMITS` come before. Up to there each side is whole, so the answer is git's. Saves a process.
   */
  async #meet(a: CommitId, b: CommitId): Promise<{ readonly base: CommitId; readonly after: LogEntry[] } | null> {
    const lines: readonly LogEntry[][] = [[], []];
    const seen: readonly Set<CommitId>[] = [new Set([a]), new Set([b])];
    let next: readonly (CommitId | null)[] = [a, b];
    for (let i = 0; i < WALKED_COMMITS; i++) {
      const [x, y] = next;
      const base = x != null && seen[1]?.has(x) === true ? x : y != null && seen[0]?.has(y) === true ? y : null;
      if (base !== null) {
        const line = lines[1] ?? [];
        const end = line.findIndex(({ commit }) => commit === base);
        return { base, after: line.slice(0, end < 0 ? undefined : end).reverse() };
      }
      const wanted = next.filter((commit) => commit !== null);
      if (wanted.length === 0) return null;
      const read = await this.#objects.demand(wanted, 'commit', limits.commitBytes);
      next = next.map((commit, side) => {
        if (commit === null) return null;
        const parents = parentsOf(read.get(commit) as Uint8Array);
        lines[side]?.push({ commit, parents });
        const [parent = null, second] = parents;
        if (parent === null || second !== undefined) return null;
        seen[side]?.add(parent);
        return parent;
      });
    }
    return null;
  }

  async #revList(from: CommitId | null, to: CommitId, maxCount: number): Promise<LogEntry[]> {
    const range = from === null ? [to] : [to, `^${from}`];
    const { stdout } = await this.#run(['rev-list', '--topo-order', '--reverse', '--parents', `--max-count=${maxCount + 1}`, ...range, '--'], [0]);
    return stdout.split('\n').filter((line) => line !== '').map((line) => {
      const [commit = '', ...parents] = line.split(' ');
      return { commit: idOf(commit), parents: parents.map(idOf) };
    });
  }

  async #run(args: readonly string[], expected: readonly number[]): Promise<GitCommandResult> {
    const result = await this.#settings.commands.run(gitCommand(this.#settings, args, { gitFolder: this.#folder.gitFolder }));
    if (expected.includes(result.exitCode)) return result;
    const missing = /bad object|bad revision|Not a valid (commit|object) name/.test(result.stderr);
    throw new GitError(missing ? 'ObjectMissing' : 'ProcessFailed', `git ${args[0] ?? ''} says: ${result.stderr.trim().slice(0, limits.remoteMessageChars)}`);
  }
}

type Folder = { readonly path: string; readonly id: TreeId };

type Found = { readonly entries: TreeEntry[]; readonly unreadable: UnreadablePath[]; readonly folders: Folder[] };

/** Adds the files and the subfolders of one folder to what was found. Paths are latin1 until they are files. */
function listFolder(folder: Folder, content: readonly RawTreeEntry[], under: string, found: Found): void {
  for (const entry of content) {
    const path = folder.path === '' ? entry.name : `${folder.path}/${entry.name}`;
    const inside = under === '' || path.startsWith(`${under}/`);
    if (entry.mode === '40000') {
      if (inside || path === under || under.startsWith(`${path}/`)) found.folders.push({ path, id: entry.id });
    } else if (inside || path === under) {
      const parsed = parsePath(path);
      if (parsed.ok) found.entries.push({ path: parsed.path, mode: entry.mode, blob: entry.id });
      else found.unreadable.push(parsed.unreadable);
    }
  }
}

/** Parents as the commit itself states them; its bytes have been checked against its id. */
function parentsOf(commit: Uint8Array): CommitId[] {
  const header = Buffer.from(commit).toString('latin1').split('\n\n', 1)[0] ?? '';
  return [...header.matchAll(/^parent ([0-9a-f]+)$/gm)].map((match) => idOf(match[1] ?? ''));
}

function idOf(text: string): CommitId {
  if (!isCommitId(text)) throw new GitError('ObjectCorrupt', `${JSON.stringify(text.slice(0, 100))} stands where a commit id is expected.`);
  return text;
}

function demandIds(...ids: readonly ObjectId[]): void {
  for (const id of ids) {
    if (!isObjectId(id)) throw new GitError('InvalidName', `${JSON.stringify(String(id).slice(0, 100))} is not a commit id.`);
  }
}
