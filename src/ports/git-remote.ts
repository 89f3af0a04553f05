import type { CommitId } from '../core/model/commit-id.ts';
import type { GitRef } from './git-reader.ts';

/** Why a remote did not do what was asked. The message is fit for users and never holds a credential. */
export type RemoteRefusal = {
  readonly ok: false;
  readonly code:
    /** The reference is not where we expected it: fetch, decide again on the new tip, push again. Never force. */
    | 'NonFastForward'
    /** The remote said no (a hook, a protected branch); `message` has its text. */
    | 'Rejected'
    | 'Unauthorized'
    | 'Unreachable'
    /** Another writer holds the reference at this moment: try again shortly. */
    | 'RemoteLocked'
    | 'RefMissing'
    /** The remote sent objects that do not pass `fsck` (T6). */
    | 'BadObjects';
  readonly message: string;
};

export type RemoteOutcome = { readonly ok: true } | RemoteRefusal;

/** Move `ref` from exactly `from` (null: it must not exist yet) to `to`. */
export type RefUpdate = { readonly ref: string; readonly from: CommitId | null; readonly to: CommitId };

/** The other side of a mirror: one URL with its credential. */
export interface GitRemote {
  /**
   * Fetches into the mirror, e.g. `+refs/heads/main:refs/remotes/origin/main`. Objects are checked by git as they arrive (T6).
   * `prune` removes local references of these refspecs that the remote no longer has.
   */
  fetch(refspecs: readonly string[], options?: { readonly prune?: boolean }): Promise<RemoteOutcome>;

  /** Compare-and-swap of all updates together, or of none. Only fast-forwards are ever sent. */
  push(updates: readonly RefUpdate[]): Promise<RemoteOutcome>;

  /** Deletes `ref` if it still points to `expected`. */
  deleteRef(ref: string, expected: CommitId): Promise<RemoteOutcome>;

  /** References of the remote below `prefix`, sorted by name, without fetching anything. */
  listRefs(prefix: string): Promise<{ readonly ok: true; readonly refs: readonly GitRef[] } | RemoteRefusal>;
}
