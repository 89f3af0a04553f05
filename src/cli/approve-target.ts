import type { CommitId } from '../core/model/commit-id.ts';
import { isPairName, splitPair } from '../core/model/names.ts';
import { limits } from '../core/model/limits.ts';
import { inForceOf, type LogState } from '../core/evidence/log-state.ts';
import type { ForgeProposal } from '../ports/forge.ts';
import type { CloneParts, Repository } from './clone.ts';
import { CliError, type CommandContext } from './command.ts';
import { askForge } from './forge-setting.ts';
import { remoteFor } from './publish-approval.ts';

/** What somebody may name to approve it, told apart by its form alone. */
export type Named =
  | { readonly type: 'number'; readonly number: number }
  /** The first digits of a promotion digest or a change digest, at least twelve. */
  | { readonly type: 'digest'; readonly digits: string }
  | { readonly type: 'pair'; readonly text: string }
  | { readonly type: 'branch'; readonly text: string };

export function namedBy(text: string): Named {
  if (/^#?[1-9]\d{0,9}$/.test(text)) return { type: 'number', number: Number(text.replace('#', '')) };
  const [, digits] = /^(?:sha256:)?([0-9a-f]{12,64})$/.exec(text) ?? [];
  if (digits !== undefined) return { type: 'digest', digits };
  return isPairName(text) ? { type: 'pair', text } : { type: 'branch', text };
}

/** A commit that may be merged, or was, and where it comes from. */
export type ApproveCandidate = {
  readonly commit: CommitId;
  /** `#12 Promote shop 1.5.0 to prod, promote/prod/shop-1.5.0 into main`, or the branch. */
  readonly title: string;
  readonly proposal: ForgeProposal | null;
};

/**
 * The pull request of a number, with its head fetched by the forge's own ref.
 * @throws CliError `ForgeMissing`, `Forge…`, `ProposalClosed`, `OtherTarget`, `FetchFailed`, `HeadMoved`
 */
export async function proposalNumbered(desk: { readonly context: CommandContext; readonly clone: CloneParts; readonly repository: Repository }, number: number, state: LogState): Promise<ApproveCandidate> {
  const { context, clone, repository } = desk;
  const forge = await clone.openForge(context, repository);
  if (forge === null) throw new CliError('ForgeMissing', `This clone names no forge that knows #${number}.`, 'Name it: git config stella.forge github:acme/deploy; or name the branch: stella approve <branch>');
  const proposal = await context.terminal.during('Asking the forge', askForge(forge.read(number)));
  const target = state.tip?.ref ?? proposal.baseRef;
  if (proposal.state === 'closed') throw new CliError('ProposalClosed', `#${number} was closed without a merge.`, 'Reopen it, or name what is to be approved.', { exitCode: 1 });
  if (proposal.baseRef !== target) throw new CliError('OtherTarget', `#${number} goes into ${short(proposal.baseRef)}, and ${short(target)} is what is reconciled.`, 'Retarget it; nothing there would run.', { exitCode: 1 });
  const commit = await fetchHead(repository, proposal);
  const kind = `${proposal.isFork ? ', from a fork' : ''}${proposal.isDraft ? ', a draft' : ''}${proposal.state === 'merged' ? ', merged' : ''}`;
  return { commit, proposal, title: `#${number} ${proposal.title}: ${proposal.head.branch} into ${short(target)}${kind}` };
}

/**
 * Brings the head that a forge names into the clone, by a ref that nothing here is named after.
 * @returns that head: what is shown is what is signed
 * @throws CliError `FetchFailed`, `HeadMoved`
 */
export async function fetchHead(repository: Pick<Repository, 'git'>, { number, head, state }: Pick<ForgeProposal, 'number' | 'head' | 'state'>): Promise<CommitId> {
  const { git } = repository;
  // The branch of one that is merged may be gone, and its commits are on the target branch.
  if (state === 'merged' && (await git.tryRun(['cat-file', '-e', `${head.commit}^{commit}`])) !== null) return head.commit;
  const remote = await remoteFor(repository, undefined);
  // T18: a name from outside that git could take for something else than one ref is asked of nobody.
  if (head.fetchRef === null) throw new CliError('FetchFailed', `The forge names no ref from which the head of #${number} could be fetched.`, 'Fetch the branch from the repository where it lies, and name it: stella approve <branch>');
  if (!/^refs\/[^\s:+*?[\\^~\u0000-\u001f\u007f]+$/.test(head.fetchRef) || head.fetchRef.includes('..') || head.fetchRef.length > limits.refNameChars) throw new CliError('FetchFailed', `The forge names a ref for the head of #${number} that is none.`);
  if (remote === null) throw new CliError('FetchFailed', `This clone has no remote from which the head of #${number} could be fetched.`, 'Add it: git remote add origin URL');
  try {
    const [tip] = (await git.run(['ls-remote', remote, head.fetchRef])).split(/\s/);
    if (tip !== head.commit) throw new CliError('HeadMoved', `#${number} moved while it was looked at, or ${remote} is another repository than the forge's.`, 'Run it again; compare `git remote get-url origin` with `git config stella.forge`.');
    await git.run(['fetch', '--quiet', '--no-tags', '--no-write-fetch-head', remote, head.fetchRef]);
  } catch (cause) {
    if (!(cause instanceof CliError) || cause.code === 'HeadMoved') throw cause;
    throw new CliError('FetchFailed', `The head of #${number} could not be fetched: ${cause.message}`, 'Try again, or fetch its branch and name that: stella approve <branch>', { cause });
  }
  if ((await git.tryRun(['cat-file', '-e', `${head.commit}^{commit}`])) === null) {
    throw new CliError('HeadMoved', `#${number} moved while it was fetched.`, 'Run it again.');
  }
  return head.commit;
}

/** A branch as origin has it, else as it lies here. @throws CliError `TargetUnknown` */
export async function branchNamed({ reader }: Repository, text: string): Promise<ApproveCandidate | null> {
  const name = text.replace(/^refs\/heads\//, '').replace(/^origin\//, '');
  const commit = (await reader.resolveRef(`refs/remotes/origin/${name}`)) ?? (await reader.resolveRef(`refs/heads/${name}`));
  return commit === null ? null : { commit, proposal: null, title: name };
}

/** Whether `<a>/<b>` is a place, or a branch that happens to have two words. */
export function isPlace(state: LogState, text: string): boolean {
  return inForceOf(state, 'Environment', splitPair(text)[0]) !== null;
}

export function short(ref: string): string {
  return ref.replace(/^refs\/heads\//, '');
}
