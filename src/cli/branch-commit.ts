import type { CommitId } from '../core/model/commit-id.ts';
import type { PersonalKey, Repository } from './clone.ts';
import { CliError } from './command.ts';
import { authorEnvironment } from './publish-approval.ts';

export type NewFile = { readonly path: string; readonly text: string };
type Author = { readonly key: PersonalKey; /** Stands in the author line where git's configuration has no name. */ readonly name: string };

/**
 * A signed commit on `base` with these files written anew. It is made in an index of its own: neither the worktree nor the branch that the person is
 * on is touched, and nothing that lies around there gets in.
 * @param p.scratch a new name for that index, in the git folder; gone afterwards
 * @throws CliError `GitFailed`
 */
export async function commitFiles({ git }: Repository, p: { readonly base: CommitId; readonly files: readonly NewFile[]; readonly message: string; readonly author: Author; readonly scratch: string; readonly removeFile: (file: string) => Promise<void> }): Promise<CommitId> {
  const index = `${await git.run(['rev-parse', '--absolute-git-dir'])}/${p.scratch}`;
  const environment = { GIT_INDEX_FILE: index };
  const own = ['-c', 'core.fsmonitor=false', '-c', 'core.splitIndex=false'];
  try {
    await git.run([...own, 'read-tree', p.base], { environment });
    for (const { path, text } of p.files) {
      const blob = await git.run(['hash-object', '-w', '--stdin'], { input: text });
      await git.run([...own, 'update-index', '--add', '--cacheinfo', `100644,${blob},${path}`], { environment });
    }
    const tree = await git.run([...own, 'write-tree'], { environment });
    const commit = await git.run([...p.author.key.gitConfig.flatMap(([name, value]) => ['-c', `${name}=${value}`]), 'commit-tree', '-S', tree, '-p', p.base, '-m', p.message], { environment: await authorOf(git, p.author.name) });
    if (!/^[0-9a-f]{40,64}$/.test(commit)) throw new CliError('GitFailed', `git commit-tree answered ${JSON.stringify(commit.slice(0, 100))}.`);
    return commit as CommitId;
  } finally {
    await p.removeFile(index);
  }
}

/** The same files in the working tree, in a commit on the branch that the person is on. @throws CliError `GitFailed` */
export async function commitHere({ git }: Repository, p: { readonly paths: readonly string[]; readonly message: string; readonly author: Author }): Promise<CommitId> {
  await git.run(['add', '--', ...p.paths]);
  await git.run([...p.author.key.gitConfig.flatMap(([name, value]) => ['-c', `${name}=${value}`]), 'commit', '--quiet', '-S', '-m', p.message, '--', ...p.paths], { environment: await authorOf(git, p.author.name) });
  return (await git.run(['rev-parse', 'HEAD'])) as CommitId;
}

async function authorOf(git: Repository['git'], name: string): Promise<Readonly<Record<string, string>>> {
  // T8: author lines decide nothing.
  return (await git.tryRun(['config', '--get', 'user.email'])) === null ? authorEnvironment(name) : {};
}
