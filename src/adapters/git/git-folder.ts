import { readFile } from 'node:fs/promises';
import { isAbsolute, join, resolve } from 'node:path';
import { limits } from '../../core/model/limits.ts';
import { GitError, type HistoryFault } from '../../ports/git-reader.ts';
import type { GitCommand, GitCommands } from './git-command.ts';
import { hardenedEnvironment, type Environment, type HardenedOptions } from './hardened-git.ts';
import type { ObjectFormat } from './object-store.ts';

/** Where a repository keeps its files: `gitFolder` its own, `commonFolder` those that linked worktrees share. */
export type GitFolder = { readonly gitFolder: string; readonly commonFolder: string; readonly objectFormat: ObjectFormat };

/** Everything that is needed to run git in one repository. */
export type GitSettings = {
  /** The caller's environment, of which a short list is passed on. */
  readonly environment: Environment;
  readonly commands: GitCommands;
  /** Longest silence of a git process; default `limits.gitTimeoutMs`. */
  readonly timeoutMs?: number;
};

/** A command for the repository in `gitFolder`, hardened. */
export function gitCommand(settings: GitSettings, args: readonly string[], options: HardenedOptions): GitCommand {
  return {
    folder: options.gitFolder,
    args,
    environment: hardenedEnvironment(settings.environment, options),
    timeoutMs: settings.timeoutMs ?? limits.gitTimeoutMs,
  };
}

/**
 * Finds the repository of `path`: a bare repository, a clone, or a linked worktree; parents are not searched.
 * @throws GitError `NotARepository`
 */
export async function findGitFolder(path: string, settings: GitSettings): Promise<GitFolder> {
  for (const candidate of [join(resolve(path), '.git'), resolve(path)]) {
    const gitFolder = await followGitFile(candidate);
    const result = await settings.commands
      .run({ ...gitCommand(settings, ['rev-parse', '--git-common-dir', '--show-object-format'], { gitFolder }), folder: resolve(path) })
      .catch((error: unknown) => notARepository(path, error));
    const [common = '', format = ''] = result.stdout.trim().split('\n');
    if (result.exitCode === 0 && (format === 'sha1' || format === 'sha256')) {
      return { gitFolder, commonFolder: isAbsolute(common) ? common : resolve(path, common), objectFormat: format };
    }
  }
  return notARepository(path);
}

/** A linked worktree has a file `.git` that names its folder. */
async function followGitFile(candidate: string): Promise<string> {
  const text = await readFile(candidate, 'utf8').catch(() => '');
  const named = /^gitdir: (.+)$/m.exec(text)?.[1];
  return named === undefined ? candidate : resolve(candidate, '..', named);
}

function notARepository(path: string, cause?: unknown): never {
  throw new GitError('NotARepository', `${path} is not a Git repository. Name the folder of a clone or of a bare repository.`, cause);
}

/** Grafts and shallow boundaries, which are files; replace refs come from the list of references (T6). */
export async function findHistoryFileFaults(commonFolder: string): Promise<HistoryFault[]> {
  const grafts = await linesOf(join(commonFolder, 'info', 'grafts'));
  const shallow = await linesOf(join(commonFolder, 'shallow'));
  const faults: HistoryFault[] = [];
  if (grafts.length > 0) {
    faults.push({ code: 'Grafts', remedy: `The file info/grafts gives commits other parents than they were signed with. Delete ${join(commonFolder, 'info', 'grafts')}.` });
  }
  if (shallow.length > 0) {
    faults.push({ code: 'Shallow', remedy: 'The clone is shallow, so its history is cut off. Run `git fetch --unshallow` in it, or clone again without --depth.' });
  }
  return faults;
}

async function linesOf(file: string): Promise<string[]> {
  try {
    const text = await readFile(file, 'utf8');
    return text.split('\n').filter((line) => line.trim() !== '' && !line.startsWith('#'));
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return [];
    throw new GitError('NotARepository', `${file} cannot be read. Check its permissions.`, error);
  }
}
