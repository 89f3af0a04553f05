import type { BlobId, CommitId, ObjectId } from '../core/model/commit-id.ts';

/** How a Git failure is to be met: try again later, wait for a person, or stop the repository. */
export type GitErrorCode =
  | 'NotARepository'
  | 'ObjectMissing'
  | 'ObjectCorrupt'
  | 'LimitExceeded'
  | 'InvalidName'
  | 'ProcessFailed'
  | 'Timeout'
  | 'MirrorBusy'
  | 'DiskFull'
  | 'ReadOnly'
  | 'Closed';

const dispositions: Readonly<Record<GitErrorCode, 'retry' | 'wait' | 'stall'>> = {
  NotARepository: 'stall',
  ObjectMissing: 'stall',
  ObjectCorrupt: 'stall',
  LimitExceeded: 'stall',
  InvalidName: 'stall',
  ProcessFailed: 'retry',
  Timeout: 'retry',
  MirrorBusy: 'wait',
  DiskFull: 'wait',
  ReadOnly: 'wait',
  Closed: 'stall',
};

/** A failure of the Git side. Refusals by a remote are values instead (see `git-remote.ts`). */
export class GitError extends Error {
  override readonly name = 'GitError';
  readonly code: GitErrorCode;
  readonly disposition: 'retry' | 'wait' | 'stall';

  constructor(code: GitErrorCode, message: string, cause?: unknown) {
    super(message, cause === undefined ? undefined : { cause });
    this.code = code;
    this.disposition = dispositions[code];
  }
}

/** One object that was asked for: its bytes, or why they are not there. `Oversize` objects are never read. */
export type ObjectRead =
  | { readonly ok: true; readonly bytes: Uint8Array }
  | { readonly ok: false; readonly code: 'Oversize'; readonly sizeBytes: number }
  | { readonly ok: false; readonly code: 'Missing' }
  | { readonly ok: false; readonly code: 'WrongType'; readonly type: string };

/** File modes that Git stores: file, executable file, symbolic link, submodule. */
export type FileMode = '100644' | '100755' | '120000' | '160000';

/** One file of a tree. For a submodule (`160000`) `blob` names a commit of another repository. */
export type TreeEntry = { readonly path: string; readonly mode: FileMode; readonly blob: BlobId };

/** A path that is not valid UTF-8 or that no file system should receive (`..`, `.git`, control characters). */
export type UnreadablePath = {
  /** The path with every suspicious byte as `\xNN`, fit to print. */
  readonly shown: string;
  readonly reason: 'NotUtf8' | 'Unsafe';
};

/** All files of a commit. Unreadable paths are named, never silently left out. */
export type TreeListing = { readonly entries: readonly TreeEntry[]; readonly unreadable: readonly UnreadablePath[] };

/** One changed path; `null` where it did not or does not exist. Renames are a deletion and an addition. */
export type PathChange = {
  readonly path: string;
  readonly oldBlob: BlobId | null;
  readonly newBlob: BlobId | null;
  readonly oldMode: FileMode | null;
  readonly newMode: FileMode | null;
};

export type TreeDiff = { readonly changes: readonly PathChange[]; readonly unreadable: readonly UnreadablePath[] };

export type LogEntry = { readonly commit: CommitId; readonly parents: readonly CommitId[] };

export type GitRef = { readonly name: string; readonly id: ObjectId };

/** A reason why the history that git shows may not be the history that was signed (T6). */
export type HistoryFault = { readonly code: 'ReplaceRefs' | 'Grafts' | 'Shallow'; readonly remedy: string };

/**
 * Reading of one repository. Everything is batched and pipelined: ask for many ids at once.
 * All methods throw `GitError` when the repository cannot be read; a single object that is missing or too large is a value.
 */
export interface GitReader {
  /** `sha1` or `sha256`: how object ids of this repository are made. */
  readonly objectFormat: 'sha1' | 'sha256';

  /** Bytes of blobs, each checked against its id. A blob above `maxBytes` is reported with its size and not read. */
  readBlobs(ids: Iterable<BlobId>, maxBytes: number): Promise<ReadonlyMap<BlobId, ObjectRead>>;

  /** Raw commit objects (without Git's own `commit <size>` header), each checked against its id (T1). */
  readCommits(ids: Iterable<CommitId>): Promise<ReadonlyMap<CommitId, ObjectRead>>;

  /** Every file of a commit, sorted by path; with `under`, only this file or those below this folder. */
  readTree(commit: CommitId, options?: { readonly under?: string }): Promise<TreeListing>;

  /** Changed files between two commits, or all files of `to` when `from` is null. */
  diff(from: CommitId | null, to: CommitId): Promise<TreeDiff>;

  /**
   * Commits reachable from `to` and not from `from`, parents before children.
   * @throws GitError `LimitExceeded` when there are more than `maxCount`.
   */
  log(from: CommitId | null, to: CommitId, maxCount: number): Promise<readonly LogEntry[]>;

  /** Best common ancestor, or null for unrelated histories. */
  mergeBase(a: CommitId, b: CommitId): Promise<CommitId | null>;

  /** Whether `ancestor` is reachable from `descendant`; a commit is its own ancestor. */
  isAncestor(ancestor: CommitId, descendant: CommitId): Promise<boolean>;

  /** The commit that a full reference name (`refs/…` or `HEAD`) points to, or null when there is none. */
  resolveRef(name: string): Promise<CommitId | null>;

  /** References whose name begins with `prefix` (`refs/heads/stella/`), sorted by name. */
  listRefs(prefix: string): Promise<readonly GitRef[]>;

  /** Replace refs, grafts and shallow boundaries. Callers refuse a repository that has any (T6). */
  findHistoryFaults(): Promise<readonly HistoryFault[]>;

  /** Ends the long-lived git processes. */
  close(): Promise<void>;
}
