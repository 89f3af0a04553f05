import { limits } from '../../core/model/limits.ts';
import { GitError } from '../../ports/git-reader.ts';
import type { RemoteRefusal } from '../../ports/git-remote.ts';
import type { GitCommandResult } from './git-command.ts';

type Code = RemoteRefusal['code'];

/** What git says when a connection did not come about, first match wins. `LC_ALL=C` keeps the wording. */
const CONNECTION: readonly (readonly [RegExp, Code])[] = [
  [/Authentication failed|could not read (?:Username|Password)|returned error: 40[13]|Permission denied \(|HTTP 40[13]/, 'Unauthorized'],
  [/couldn't find remote ref/, 'RefMissing'],
  [/fsck error|error: object [0-9a-f]+: |index-pack failed|unpack-objects failed|did not send all necessary objects/, 'BadObjects'],
];

/** Why the reference did not move, from git's reason per reference and what the server said beside it. */
const MOVED = /stale info|fetch first|non-fast-forward|incorrect old value|but expected|reference already exists|unable to resolve reference/;
const LOCKED = /Unable to create '.*\.lock'|File exists|cannot lock ref|failed to lock|failed to update ref/;

/**
 * Makes a refusal of a failed fetch, push or listing.
 * @throws GitError `DiskFull` or `ReadOnly` when it was our own disk that failed.
 */
export function refusalOf(result: GitCommandResult, secrets: readonly string[]): RemoteRefusal {
  const ownLines = result.stderr.split('\n').filter((line) => !line.startsWith('remote: ')).join('\n');
  if (/No space left on device|Disk quota exceeded/.test(ownLines)) throw new GitError('DiskFull', 'The disk that holds the Git mirror is full. Free some space; it goes on by itself.');
  if (/Read-only file system/.test(ownLines)) throw new GitError('ReadOnly', 'The disk that holds the Git mirror is read-only. Mount it writable; it goes on by itself.');
  const message = withoutSecrets(messageOf(result), secrets);
  return { ok: false, code: pushCode(result) ?? CONNECTION.find(([pattern]) => pattern.test(ownLines))?.[1] ?? 'Unreachable', message };
}

/** Reads the lines `!<TAB><from>:<to><TAB>[rejected] (reason)` of `git push --porcelain`. */
function pushCode({ stdout, stderr }: GitCommandResult): Code | null {
  const refused = stdout.split('\n').filter((line) => line.startsWith('!\t'));
  if (refused.length === 0) return null;
  const text = `${refused.join('\n')}\n${stderr}`;
  if (MOVED.test(text)) return 'NonFastForward';
  return LOCKED.test(text) ? 'RemoteLocked' : 'Rejected';
}

/** What the remote said, its own lines first, without progress and padding. */
function messageOf({ stdout, stderr }: GitCommandResult): string {
  const lines = stderr.split(/[\r\n]+/).map((line) => line.trimEnd());
  const remote = lines.filter((line) => line.startsWith('remote: ')).map((line) => line.slice('remote: '.length));
  const own = lines.filter((line) => /^(?:fatal|error|ssh|Host key|.*Permission denied)/.test(line));
  const refused = stdout.split('\n').filter((line) => line.startsWith('!\t')).map((line) => line.split('\t').slice(1).join(' '));
  return [...remote, ...refused, ...own].join('\n').slice(0, limits.remoteMessageChars);
}

function withoutSecrets(text: string, secrets: readonly string[]): string {
  return secrets.reduce((clean, secret) => (secret === '' ? clean : clean.replaceAll(secret, '***')), text);
}
