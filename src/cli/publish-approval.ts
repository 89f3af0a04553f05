import type { DocumentOf } from '../core/model/documents.ts';
import { approvalBranch, approvalPath, stopBranch } from './approval-document.ts';
import type { Repository, UserGit } from './clone.ts';
import { CliError } from './command.ts';

export type Published = { readonly commit: string; readonly branch: string; readonly remote: string | null };

type Signed = { readonly document: DocumentOf<'Approval'>; readonly text: string; readonly principal: string; readonly remote: string | null };

/**
 * Writes an approval as an orphan commit with this one file and brings it to its branch: pushed to `remote`, or a local branch.
 * The commit carries nothing; the signature in the document does.
 * @throws CliError `GitFailed`; `PushFailed` when the remote did not take it: what was signed is then on the local branch that the message names
 */
export async function publishApproval(repository: Repository, p: Signed): Promise<Published> {
  const commit = await orphanCommit(repository.git, [{ path: approvalPath(p.document), text: p.text }], p.principal);
  return publish(repository.git, commit, approvalBranch(p.document.spec.digest, p.principal), p);
}

/** The same for a stop (T24): the approval, and the document that it puts in force. */
export async function publishStop(repository: Repository, p: Signed & { readonly stop: { readonly name: string; readonly text: string } }): Promise<Published> {
  const commit = await orphanCommit(repository.git, [{ path: approvalPath(p.document), text: p.text }, { path: `stops/${p.stop.name}`, text: p.stop.text }], p.principal);
  return publish(repository.git, commit, stopBranch(p.document.spec.digest), p);
}

async function publish(git: UserGit, commit: string, first: string, p: Signed): Promise<Published> {
  // An earlier approval of the same thing may not be harvested yet; it stays where it is.
  const second = `${first}-${p.document.spec.nonce.slice(0, 8)}`;
  if (p.remote === null) return keepLocally(git, commit, [first, second]);
  try {
    const taken = await git.run(['ls-remote', p.remote, `refs/heads/${first}`]);
    const branch = taken === '' ? first : second;
    await git.run(['push', '--quiet', p.remote, `${commit}:refs/heads/${branch}`]);
    return { commit, branch, remote: p.remote };
  } catch (cause) {
    if (!(cause instanceof CliError)) throw cause;
    const { branch } = await keepLocally(git, commit, [first, second]);
    throw new CliError('PushFailed', `It is signed, but ${p.remote} did not take it: ${cause.message}`, `It waits on a local branch. Push it: git push ${p.remote} ${branch}`, { cause });
  }
}

async function keepLocally(git: UserGit, commit: string, [first, second]: readonly [string, string]): Promise<Published> {
  const branch = (await git.tryRun(['rev-parse', '--verify', '--quiet', `refs/heads/${first}`])) === null ? first : second;
  await git.run(['update-ref', `refs/heads/${branch}`, commit, '']);
  return { commit, branch, remote: null };
}

/**
 * Where an approval goes, settled before anything is signed: the remote, or null for a local branch.
 * @param asked what the user named
 * @throws CliError `RemoteUnknown` when there is none of that name
 */
export async function remoteFor({ git }: Pick<Repository, 'git'>, asked: string | undefined): Promise<string | null> {
  const remote = asked ?? 'origin';
  if ((await git.tryRun(['remote', 'get-url', '--', remote])) !== null) return remote;
  if (asked !== undefined) throw new CliError('RemoteUnknown', `This clone has no remote ${asked}.`, 'See `git remote`, or leave it on a local branch: --no-push');
  return null;
}

async function orphanCommit(git: UserGit, files: readonly { readonly path: string; readonly text: string }[], principal: string): Promise<string> {
  const folders: string[] = [];
  for (const { path, text } of files) {
    const [folder = '', file = ''] = path.split('/');
    const blob = await git.run(['hash-object', '-w', '--stdin'], { input: text });
    const inner = await git.run(['mktree'], { input: `100644 blob ${blob}\t${file}\n` });
    folders.push(`040000 tree ${inner}\t${folder}\n`);
  }
  const tree = await git.run(['mktree'], { input: folders.join('') });
  const isNamed = (await git.tryRun(['config', '--get', 'user.email'])) !== null;
  // T8: author lines decide nothing, so a machine where git does not know the person may approve as well.
  const environment = isNamed ? {} : authorEnvironment(principal);
  const commit = await git.run(['commit-tree', tree, '-m', `Approval by ${principal}`], { environment });
  if (!/^[0-9a-f]{40,64}$/.test(commit)) throw new CliError('GitFailed', `git commit-tree answered ${JSON.stringify(commit.slice(0, 100))}.`);
  return commit;
}

/** Names for commits where git's configuration has none. */
export function authorEnvironment(name: string): Readonly<Record<string, string>> {
  const email = `${name}@localhost`;
  return { GIT_AUTHOR_NAME: name, GIT_AUTHOR_EMAIL: email, GIT_COMMITTER_NAME: name, GIT_COMMITTER_EMAIL: email };
}
