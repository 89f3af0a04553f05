import type { CommitId, TreeId } from '../core/model/commit-id.ts';

/** A file to add or replace. Paths are relative, with `/`, without `.`, `..` or empty segments. */
export type EvidenceFile = { readonly path: string; readonly bytes: Uint8Array };

/** Makes the armoured SSH signature over the bytes of a commit; namespace `git`. */
export type CommitSigner = (payload: Uint8Array) => string | Promise<string>;

export type EvidenceAppend = {
  /** Tip on which to build, null for the first commit of the branch. */
  readonly parent: CommitId | null;
  readonly files: readonly EvidenceFile[];
  /** Files and folders to remove; one that is not there is fine. */
  readonly deletes?: readonly string[];
  readonly message: string;
  readonly author: { readonly name: string; readonly email: string };
  /** Author and committer date, written in UTC with a resolution of a second. */
  readonly at: Date;
  readonly sign: CommitSigner;
};

export type AppendOutcome =
  | { readonly ok: true; readonly commit: CommitId; readonly tree: TreeId }
  /** The local branch is not at `parent`; nothing changed. */
  | { readonly ok: false; readonly code: 'RefMoved'; readonly actual: CommitId | null };

/** One branch of signed commits. Appends to one branch run one after another. */
export interface EvidenceBranch {
  readonly ref: string;

  /**
   * Writes files and a signed commit durably (fsync) and moves the branch from `parent` to it.
   * Only the trees on the touched paths are written, so the cost does not follow the size of the branch.
   * @throws GitError `DiskFull` or `ReadOnly`: nothing half-written is left and the same append may be tried again.
   */
  append(request: EvidenceAppend): Promise<AppendOutcome>;

  /** Compare-and-swap of the local branch, to follow a remote that was ahead; null means that the branch does not exist. */
  moveTo(from: CommitId | null, to: CommitId | null): Promise<{ readonly ok: true } | { readonly ok: false; readonly code: 'RefMoved'; readonly actual: CommitId | null }>;
}

/** Writes evidence commits into one bare repository without a worktree. */
export interface EvidenceWriter {
  openBranch(ref: string): EvidenceBranch;
  /** Ends the long-lived git process. */
  close(): Promise<void>;
}
