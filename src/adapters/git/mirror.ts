import { mkdir, rm, stat, writeFile } from 'node:fs/promises';
import { join, resolve } from 'node:path';
import { limits } from '../../core/model/limits.ts';
import type { EvidenceWriter } from '../../ports/evidence-writer.ts';
import { GitError, type GitReader } from '../../ports/git-reader.ts';
import type { GitRemote } from '../../ports/git-remote.ts';
import { removeCrashLeftovers } from './crash-leftovers.ts';
import { openEvidenceWriter } from './evidence-writer.ts';
import { gitCommand, type GitSettings } from './git-folder.ts';
import { parseRemoteUrl, type RemoteUrl } from './hardened-git.ts';
import { takeMirrorLock } from './mirror-lock.ts';
import { openGitReader } from './native-git-reader.ts';
import { openGitRemote, type RemoteOptions } from './native-git-remote.ts';

export type MirrorOptions = Pick<RemoteOptions, 'credential' | 'ssh' | 'settings'> & {
  /** A folder of our own; the bare repository is `repository.git` in it. */
  readonly folder: string;
  /** Path, `file://`, ssh or https URL. */
  readonly url: string;
  /** Of the remote repository; default `sha1`. */
  readonly objectFormat?: 'sha1' | 'sha256';
  /** Number of this process, for the lock. */
  readonly ownPid: number;
  /** Throw the copy away and begin anew, after `ObjectMissing` or `ObjectCorrupt`. */
  readonly rebuild?: boolean;
};

/** A bare copy of a remote repository without worktree, and everything that works on it. */
export type Mirror = {
  readonly gitFolder: string;
  readonly reader: GitReader;
  readonly remote: GitRemote;
  readonly writer: EvidenceWriter;
  /** Whether the copy was made now, because there was none or a broken one: fetch before reading. */
  readonly isNew: boolean;
  /** What a crash had left and was removed, for the log. */
  readonly removedLeftovers: readonly string[];
  /** Packs what has gathered; worth it every few thousand fetches. Readers may go on meanwhile. */
  repack(): Promise<void>;
  close(): Promise<void>;
};

/**
 * Opens the mirror in `folder`, makes it, or makes it again when it is broken: what is not pushed is no evidence, so nothing is lost.
 * Contacts nobody; `remote.fetch` fills it.
 * @throws GitError `MirrorBusy`, `InvalidName` (URL), `DiskFull`, `ReadOnly`
 */
export async function openMirror(options: MirrorOptions): Promise<Mirror> {
  const url = parseRemoteUrl(options.url);
  const folder = resolve(options.folder);
  await mkdir(folder, { recursive: true });
  const lock = await takeMirrorLock(join(folder, 'lock'), options.ownPid);
  try {
    return await openLocked(folder, url.kind === 'path' ? { ...url, url: resolve(url.url) } : url, options, () => lock.release());
  } catch (error) {
    await lock.release();
    throw error;
  }
}

async function openLocked(folder: string, url: RemoteUrl, options: MirrorOptions, release: () => Promise<void>): Promise<Mirror> {
  const { settings } = options;
  const gitFolder = join(folder, 'repository.git');
  const globalConfigFile = await writeGlobalConfig(folder, url);
  const exists = await isFolder(gitFolder);
  const removedLeftovers = exists ? await removeCrashLeftovers(gitFolder) : [];
  const isNew = options.rebuild === true || !exists || !(await isSound(gitFolder, settings));
  if (isNew) await create(gitFolder, options);
  const reader = await openGitReader(gitFolder, settings);
  const writer = await openEvidenceWriter(gitFolder, settings);
  const remote = openGitRemote({ ...options, gitFolder, url, reader, globalConfigFile, timeoutMs: settings.timeoutMs ?? limits.gitTimeoutMs });
  return {
    gitFolder, reader, remote, writer, isNew, removedLeftovers,
    repack: () => repack(gitFolder, settings),
    close: async () => {
      remote.close();
      await Promise.all([reader.close(), writer.close()]);
      await release();
    },
  };
}

async function isFolder(path: string): Promise<boolean> {
  return stat(path).then((found) => found.isDirectory(), () => false);
}

/** Whether git takes it for a repository and every reference leads to an object. */
async function isSound(gitFolder: string, settings: GitSettings): Promise<boolean> {
  const result = await settings.commands.run(gitCommand(settings, ['for-each-ref', '--format=%(objectname) %(objecttype)'], { gitFolder }));
  return result.exitCode === 0 && result.stderr === '';
}

async function create(gitFolder: string, options: MirrorOptions): Promise<void> {
  await rm(gitFolder, { recursive: true, force: true });
  await mkdir(gitFolder, { recursive: true });
  const args = ['init', '--quiet', '--bare', '--template=', `--object-format=${options.objectFormat ?? 'sha1'}`, gitFolder];
  const result = await options.settings.commands.run(gitCommand(options.settings, args, { gitFolder }));
  if (result.exitCode === 0) return;
  const full = /No space left on device/.test(result.stderr);
  throw new GitError(full ? 'DiskFull' : 'ProcessFailed', `The mirror ${gitFolder} cannot be made: ${result.stderr.trim()}`);
}

/**
 * In place of the user's configuration. git refuses repositories of other owners; the operator named this one, so it is allowed,
 * and this one alone.
 */
async function writeGlobalConfig(folder: string, url: RemoteUrl): Promise<string> {
  const file = join(folder, 'gitconfig');
  const path = url.kind === 'file' ? decodeURIComponent(new URL(url.url).pathname) : url.kind === 'path' ? url.url : null;
  const quoted = (text: string): string => `"${text.replaceAll('\\', '\\\\').replaceAll('"', '\\"')}"`;
  const lines = path === null ? [] : ['[safe]', `\tdirectory = ${quoted(path)}`, `\tdirectory = ${quoted(join(path, '.git'))}`];
  await writeFile(file, `${lines.join('\n')}\n`);
  return file;
}

async function repack(gitFolder: string, settings: GitSettings): Promise<void> {
  for (const args of [['repack', '-d', '--geometric=2', '--quiet'], ['pack-refs', '--all']]) {
    const result = await settings.commands.run(gitCommand(settings, args, { gitFolder }));
    if (result.exitCode !== 0) throw new GitError('ProcessFailed', `The mirror ${gitFolder} cannot be packed: ${result.stderr.trim()}`);
  }
}
