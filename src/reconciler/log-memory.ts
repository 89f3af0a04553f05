import type { CommitId } from '../core/model/commit-id.ts';
import type { Digest } from '../core/model/digest.ts';
import { parseCommit } from '../core/commit/commit-object.ts';
import type { GitReader } from '../ports/git-reader.ts';

/** What this server remembers of the log besides the branch that the remote shows. */
export type LogMemory = {
  /** The local branch; its last commit may never have been pushed. */
  readonly local: CommitId | null;
  /** Where the remote branch was when it was fetched last. */
  readonly fetched: CommitId | null;
  /** The last record that Postgres mirrors: mirrored once it was pushed. */
  readonly mirrored: { readonly seq: number; readonly digest: Digest } | null;
};

/** The log as the remote shows it now. */
export type ShownLog = { readonly tip: CommitId; readonly digestOf: (seq: number) => Digest | undefined };

/**
 * T16: last seen tips are remembered and a regression is refused. Without it, whoever may push could cut the log back to before a
 * rejection, a freeze or the end of a key, all of it signed by us, and wait for a restart.
 * @param shown null when the remote has no log
 * @returns what is wrong, or null
 */
export async function regressionOf(reader: GitReader, memory: LogMemory, shown: ShownLog | null): Promise<string | null> {
  const { local, fetched, mirrored } = memory;
  if (mirrored !== null && shown?.digestOf(mirrored.seq) !== mirrored.digest) return `record ${mirrored.seq}, which the database mirrors, is not on the branch`;
  const known = [fetched, local === null ? null : await parentOf(reader, local)];
  for (const commit of known) {
    if (commit === null) continue;
    if (shown === null || !(await reader.isAncestor(commit, shown.tip))) return `commit ${commit}, which this server knows, is not on the branch`;
  }
  return null;
}

/** A commit is written on top of one that was pushed. */
async function parentOf(reader: GitReader, commit: CommitId): Promise<CommitId | null> {
  const raw = (await reader.readCommits([commit])).get(commit);
  const parsed = raw?.ok === true ? parseCommit(raw.bytes, reader.objectFormat) : null;
  return parsed?.ok === true ? (parsed.commit.parents[0] ?? null) : null;
}
