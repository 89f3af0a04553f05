import type { CommitId } from '../core/model/commit-id.ts';
import { limits } from '../core/model/limits.ts';
import type { LogState } from '../core/evidence/log-state.ts';
import type { Forge, ForgeProposal } from '../ports/forge.ts';
import { readFiles } from '../reconciler/planning.ts';
import { commitFiles, type NewFile } from './branch-commit.ts';
import type { CloneParts, PersonalKey, Repository } from './clone.ts';
import { CliError, flagOption, textOption, type CommandContext, type OptionTable } from './command.ts';
import { askForge } from './forge-setting.ts';
import { remoteFor } from './publish-approval.ts';

export const BRANCH_OPTIONS = {
  here: { type: 'boolean', description: 'Commit on the branch that you are on, and push nothing' },
  branch: { type: 'string', value: 'NAME', description: 'Name of the branch that is made' },
  'no-push': { type: 'boolean', description: 'Make the branch here only, and ask no network' },
  'no-commit': { type: 'boolean', description: 'Only write the file into the working tree' },
  remote: { type: 'string', value: 'NAME', description: 'Remote to push to (default: origin)' },
} as const satisfies OptionTable;

/** Where a change goes: into the worktree that the person is in, or onto a branch from the tip of the target branch. */
export type Place =
  | { readonly type: 'here' }
  | { readonly type: 'branch'; readonly remote: string | null; readonly forge: Forge | null };

/**
 * Settles where a change goes and whether forge and remote are there, before anything is written; fetches what is newest.
 * A clone without a remote is the repository that a server reads, so there the change is committed where the person is.
 * @throws CliError `RemoteUnknown`, `FetchFailed`; what the forge setting throws
 */
export async function openPlace(context: CommandContext, clone: CloneParts, repository: Repository): Promise<Place> {
  const { values } = context;
  const named = textOption(values, 'branch');
  const [isHere, isFile, isOffline] = [flagOption(values, 'here'), flagOption(values, 'no-commit'), flagOption(values, 'no-push')];
  if ((isHere || isFile) && (named !== undefined || isOffline || (isHere && isFile))) throw new CliError('Usage', '--here and --no-commit make no branch; give one of --here, --no-commit, and --branch or --no-push.');
  if (isHere || isFile) return { type: 'here' };
  const remote = await remoteFor(repository, textOption(values, 'remote'));
  if (remote === null) return named === undefined && !isOffline ? { type: 'here' } : { type: 'branch', remote: null, forge: null };
  if (isOffline) return { type: 'branch', remote: null, forge: null };
  const forge = await clone.openForge(context, repository);
  await context.terminal.during(`Fetching from ${remote}`, fetchAll(repository, remote));
  return { type: 'branch', remote, forge };
}

async function fetchAll({ git }: Repository, remote: string): Promise<void> {
  try {
    await git.run(['fetch', '--quiet', remote]);
  } catch (cause) {
    if (!(cause instanceof CliError)) throw cause;
    throw new CliError('FetchFailed', `${remote} could not be asked for what is newest: ${cause.message}`, 'Nothing was written. Try again, or make the branch here only: --no-push', { cause });
  }
}

/** Full name of the branch that is reconciled: as the log says, else the one that origin shows first. */
export async function targetRefOf({ git }: Repository, state: LogState | null): Promise<string> {
  if (state?.tip !== undefined && state.tip !== null) return state.tip.ref;
  const head = await git.tryRun(['symbolic-ref', '--quiet', 'refs/remotes/origin/HEAD']);
  return head === null ? 'refs/heads/main' : head.replace(/^refs\/remotes\/origin\//, 'refs/heads/');
}

/** Newest tip of the target branch that is here. @throws CliError `TargetUnknown` */
export async function baseFor({ reader }: Repository, targetRef: string, remote: string | null): Promise<CommitId> {
  const name = targetRef.replace(/^refs\/heads\//, '');
  const found = (await reader.resolveRef(`refs/remotes/${remote ?? 'origin'}/${name}`)) ?? (await reader.resolveRef(targetRef));
  if (found === null) throw new CliError('TargetUnknown', `This clone does not have ${name}, the branch that is reconciled.`, `Fetch it: git fetch ${remote ?? 'origin'} ${name}`);
  return found;
}

/** Text of a file of a commit; null where it is none. */
export async function textAt({ reader }: Repository, commit: CommitId, path: string): Promise<string | null> {
  const [file] = (await readFiles(reader, commit, [path])).files;
  return file === undefined ? null : Buffer.from(file.bytes).toString('utf8');
}

export type Change = {
  readonly files: readonly NewFile[];
  /** Branch that it gets by default, without `refs/heads/`; those that begin with `family` are about the same. */
  readonly branch: string;
  readonly family: string;
  /** Subject of the commit and title of the pull request. */
  readonly title: string;
  /** Markdown; what the pull request says. */
  readonly body: string;
  /** Whether a file that lies on a branch already says the same as this one, whoever signed it. */
  readonly isSame: (file: NewFile, there: string) => boolean;
};
export type Proposed = {
  readonly branch: string;
  readonly commit: CommitId;
  readonly base: CommitId;
  /** null: the branch is only here. */
  readonly remote: string | null;
  /** False where somebody asked for the same on this branch before. */
  readonly isNew: boolean;
  readonly proposal: (Pick<ForgeProposal, 'number' | 'url' | 'title'> & { /** By this call. */ readonly opened: boolean }) | null;
  /** Other branches that would change one of these files if they were merged. */
  readonly rivals: readonly { readonly branch: string; readonly number: number | null }[];
};
type Desk = { readonly context: CommandContext; readonly clone: CloneParts; readonly repository: Repository; readonly key: PersonalKey; readonly principal: string | null };
type Ground = { readonly base: CommitId; readonly targetRef: string; readonly place: Extract<Place, { type: 'branch' }> };

/**
 * Brings a change to a branch of its own, pushes it, and opens the pull request where a forge is set. Doing it again finds what is there: the same
 * request on the same branch with the same pull request. Nothing that exists is moved or overwritten.
 * @throws CliError `BranchTaken`; `PushFailed`, `Forge…` with what is there by then
 */
export async function proposeChange(desk: Desk, { base, targetRef, place }: Ground, change: Change): Promise<Proposed> {
  const { context, repository } = desk;
  const { remote, forge } = place;
  // Asked first: a token without rights is found before anything is pushed.
  const open = forge === null ? [] : (await context.terminal.during('Asking the forge', askForge(forge.listOpen(targetRef), 'Nothing was written.'))).proposals.filter((p) => !p.isFork);
  const there = await branchesThere(repository, remote, { wanted: textOption(context.values, 'branch') ?? change.branch, family: change.family });
  const found = await branchFor(desk, { base, there }, change);
  const commit = found.commit ?? (await commitFiles(repository, {
    base, files: change.files, message: change.title, author: { key: desk.key, name: desk.principal ?? 'stella' }, scratch: `stella-index-${desk.clone.randomHex(8)}`, removeFile: desk.clone.removeFile,
  }));
  const { branch } = found;
  await bring(desk, { commit, branch, remote, isPushed: found.isPushed });
  const known = open.find((p) => p.head.branch === branch);
  const proposal = forge === null ? null : (known ?? (await context.terminal.during('Opening the pull request', askForge(
    forge.open({ title: change.title, body: change.body, branch, baseRef: targetRef }), `Branch ${branch} is pushed, and no pull request is open for it.`))));
  const rivals = (await rivalsOf(repository, { base, tips: there.family, branch }, change)).map((other) => ({ branch: other, number: open.find((p) => p.head.branch === other)?.number ?? null }));
  return {
    branch, commit, base, remote, isNew: found.commit === null, rivals,
    proposal: proposal === null ? null : { number: proposal.number, url: proposal.url, title: proposal.title, opened: known === undefined },
  };
}

const TRIES = 20;
type Tips = ReadonlyMap<string, CommitId>;
type There = { readonly wanted: string; readonly pushed: Tips; readonly local: Tips; readonly family: Tips };

async function branchesThere({ git }: Repository, remote: string | null, { wanted, family }: { readonly wanted: string; readonly family: string }): Promise<There> {
  if (wanted.startsWith('-') || wanted.length > limits.refNameChars || (await git.tryRun(['check-ref-format', `refs/heads/${wanted}`])) === null) {
    throw new CliError('BranchMalformed', `${wanted.slice(0, 100)} is no name of a branch.`, 'Name one: --branch NAME');
  }
  const patterns = [wanted, `${wanted}-*`, `${family}*`].map((name) => `refs/heads/${name}`);
  const tips = (text: string): Tips => new Map(text.split('\n').flatMap((row) => {
    const [, commit = '', name = ''] = /^([0-9a-f]{40,64})\s+refs\/heads\/(.+)$/.exec(row) ?? [];
    return name === '' ? [] : [[name, commit as CommitId] as const];
  }));
  const pushed: Tips = remote === null ? new Map() : tips(await git.run(['ls-remote', remote, ...patterns]));
  const local = tips(await git.run(['for-each-ref', '--format=%(objectname) %(refname)', ...patterns]));
  return { wanted, pushed, local, family: new Map([...(remote === null ? local : pushed)].filter(([name]) => name.startsWith(family))) };
}

type Found = { readonly branch: string; /** What is asked for there already; null for a branch that is not there. */ readonly commit: CommitId | null; readonly isPushed: boolean };

/** The branch that asks for the same already, else the first name that is free. */
async function branchFor({ context, repository }: Desk, p: { readonly base: CommitId; readonly there: There }, change: Change): Promise<Found> {
  const { wanted, pushed, local } = p.there;
  const isNamed = textOption(context.values, 'branch') !== undefined;
  for (let i = 1; i <= (isNamed ? 1 : TRIES); i += 1) {
    const branch = i === 1 ? wanted : `${wanted}-${i}`;
    const tip = pushed.get(branch) ?? local.get(branch);
    if (tip === undefined) return { branch, commit: null, isPushed: false };
    const says = await wouldSay(repository, p.base, tip, change.files);
    const isSame = says !== null && change.files.every((file, at) => change.isSame(file, says[at] ?? ''));
    // Whoever may push could have made it, with more in it than was asked for: nobody opens that as theirs.
    if (isSame && (await changesOnly(repository, p.base, tip, change.files))) return { branch, commit: tip, isPushed: pushed.has(branch) };
  }
  throw new CliError('BranchTaken', isNamed ? `There is a branch ${wanted} already, and it asks for something else.` : `${TRIES} branches ${wanted} are there already.`, 'Name another: --branch NAME; or delete what nobody needs any more.');
}

/** What a branch would make of the files if it were merged; null where it is merged, was overtaken on the target branch, or is not here. */
async function wouldSay(repository: Repository, base: CommitId, tip: CommitId, files: readonly NewFile[]): Promise<readonly (string | null)[] | null> {
  if ((await repository.git.tryRun(['cat-file', '-e', `${tip}^{commit}`])) === null) return null;
  const from = await repository.reader.mergeBase(base, tip);
  if (from === null || from === tip) return null;
  const texts = await Promise.all(files.map(async ({ path }) => Promise.all([textAt(repository, tip, path), textAt(repository, base, path), textAt(repository, from, path)])));
  return texts.some(([, now, then]) => now !== then) || texts.every(([there, now]) => there === now) ? null : texts.map(([there]) => there);
}

async function changesOnly({ reader }: Repository, base: CommitId, tip: CommitId, files: readonly NewFile[]): Promise<boolean> {
  const paths = new Set(files.map(({ path }) => path));
  return (await reader.diff(await reader.mergeBase(base, tip), tip)).changes.every(({ path }) => paths.has(path));
}

async function rivalsOf(repository: Repository, p: { readonly base: CommitId; readonly tips: Tips; readonly branch: string }, change: Change): Promise<readonly string[]> {
  const found: string[] = [];
  for (const [name, tip] of [...p.tips].slice(0, TRIES)) if (name !== p.branch && (await wouldSay(repository, p.base, tip, change.files)) !== null) found.push(name);
  return found;
}

async function bring({ context, repository: { git } }: Desk, p: { readonly commit: CommitId; readonly branch: string; readonly remote: string | null; readonly isPushed: boolean }): Promise<void> {
  const { commit, branch, remote } = p;
  const keep = async (): Promise<void> => {
    if ((await git.tryRun(['rev-parse', '--verify', '--quiet', `refs/heads/${branch}`])) === null) await git.run(['update-ref', `refs/heads/${branch}`, commit, '']);
  };
  if (remote === null) return keep();
  if (p.isPushed) return;
  try {
    // Made new and never moved: somebody else's branch of this name refuses it.
    await context.terminal.during(`Pushing to ${remote}`, git.run(['push', '--quiet', `--force-with-lease=refs/heads/${branch}:`, remote, `${commit}:refs/heads/${branch}`]));
  } catch (cause) {
    if (!(cause instanceof CliError)) throw cause;
    await keep();
    throw new CliError('PushFailed', `It is committed, but ${remote} did not take it: ${cause.message}`, `It waits on the local branch ${branch}. Run it again, or push it yourself: git push ${remote} ${branch}`, { cause });
  }
}
