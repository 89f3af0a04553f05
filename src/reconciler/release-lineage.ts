import { isCommitId, type CommitId } from '../core/model/commit-id.ts';
import { limits } from '../core/model/limits.ts';
import type { Lock } from '../core/model/preimages.ts';
import { compareVersions } from '../core/release/versions.ts';
import { GitError, type GitReader } from '../ports/git-reader.ts';
import { isHere } from './rewrites.ts';

/**
 * What the next release lacks of the one that runs: commits, where the commits that both were made of are in this repository; else which version is
 * the older one, and that nothing more can be told. What a release says of its source is its author's word.
 * @param from what runs; null where nothing does
 */
export async function lineageNotes(reader: GitReader, from: Lock | null, to: Lock): Promise<readonly string[]> {
  if (from === null || from.release === to.release) return [];
  const [old, now] = [sourceOf(from), sourceOf(to)];
  const isOlder = (compareVersions(to.release, from.release) ?? 0) < 0;
  const comparable = old.commit !== null && now.commit !== null && old.repository === now.repository;
  const lacking = comparable && old.commit !== null && now.commit !== null ? await lackingCommits(reader, now.commit, old.commit) : null;
  if (lacking === 0) return isOlder ? [`${to.release} is an older version than ${from.release}, which runs here, and holds all its commits`] : [];
  if (lacking !== null) return [`${to.release} lacks ${lacking > limits.lineageCommits ? `more than ${limits.lineageCommits}` : lacking} ${lacking === 1 ? 'commit' : 'commits'} of ${from.release}, which runs here`];
  const why = comparable ? 'their source commits are not in this repository' : old.commit === null || now.commit === null ? 'not both name a source commit' : 'they name different source repositories';
  return [`${isOlder ? `${to.release} is an older version than ${from.release}, which runs here; whether` : 'whether'} ${isOlder ? 'it' : to.release} lacks commits of ${isOlder ? 'that' : from.release} cannot be told: ${why}`];
}

function sourceOf({ source }: Lock): { readonly repository: unknown; readonly commit: CommitId | null } {
  const { repository, commit } = (source ?? {}) as { readonly repository?: unknown; readonly commit?: unknown };
  return { repository: repository ?? null, commit: isCommitId(commit) ? commit : null };
}

/** Commits of `old` that `now` does not hold, counted up to one more than the limit; null where one of them is not here. */
async function lackingCommits(reader: GitReader, now: CommitId, old: CommitId): Promise<number | null> {
  if (now.length !== old.length || now.length !== (reader.objectFormat === 'sha1' ? 40 : 64)) return null;
  if (!(await isHere(reader, old)) || !(await isHere(reader, now))) return null;
  try {
    return (await reader.log(now, old, limits.lineageCommits)).length;
  } catch (cause) {
    if (cause instanceof GitError && cause.code === 'LimitExceeded') return limits.lineageCommits + 1;
    if (cause instanceof GitError && cause.code === 'ObjectMissing') return null;
    throw cause;
  }
}
