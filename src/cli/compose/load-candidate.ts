import type { CommitId } from '../../core/model/commit-id.ts';
import { limits } from '../../core/model/limits.ts';
import type { LogState } from '../../core/evidence/log-state.ts';
import { layCandidateOver } from '../../reconciler/candidate.ts';
import { Declarations, type Loaded } from '../../reconciler/declarations.ts';
import type { Evidence, LoadedDeclarations, Repository } from '../clone.ts';
import { CandidateConflict } from '../candidate-conflict.ts';
import { CliError } from '../command.ts';

export async function loadCommit(repository: Repository, ref: string): Promise<LoadedDeclarations> {
  const { reader, parser } = repository;
  return unchanged(await new Declarations(reader, parser).load(await commitNamed(repository, ref)));
}

export async function loadCandidate(repository: Repository, evidence: Evidence, ref: string): Promise<LoadedDeclarations> {
  const { reader, parser } = repository;
  const commit = await commitNamed(repository, ref);
  const tip = await targetTip(repository, evidence.state);
  const declarations = new Declarations(reader, parser);
  const onto = unchanged(await declarations.load(tip));
  if (await reader.isAncestor(tip, commit)) {
    const { state, changedKeys, changedPaths } = await declarations.load(commit);
    return { tip: commit, target: tip, desired: state, changedKeys, changedPaths };
  }
  if (await reader.isAncestor(commit, tip)) return onto;
  const laid = await layCandidateOver(reader, parser, onto, commit);
  if (laid.ok) return { tip, target: tip, desired: laid.desired, candidate: laid.candidate, changedKeys: laid.changedKeys, changedPaths: [...laid.candidate.files.keys()] };
  const [mine, theirs] = [commit.slice(0, 12), tip.slice(0, 12)];
  if (laid.code === 'Unrelated') throw new CliError('Unrelated', `${mine} has no history in common with ${theirs}, the tip of the target branch.`, 'Begin a branch at the target branch, and commit there.', { exitCode: 1 });
  if (laid.code === 'TooLarge') throw new CliError('TooLarge', `${mine} changes ${laid.paths.length} files with documents, more than the limit of ${limits.candidateDocuments}.`, 'Merge it in smaller parts.');
  throw new CandidateConflict(commit, tip, laid.paths);
}

function unchanged({ tip, state }: Loaded): LoadedDeclarations {
  return { tip, target: tip, desired: state, changedKeys: [], changedPaths: [] };
}

/** The commit that a branch, a tag, a reference or an id names here. @throws CliError `RefUnknown` */
export async function commitNamed(repository: Repository, ref: string): Promise<CommitId> {
  const candidates = ref === 'HEAD' || ref.startsWith('refs/') ? [ref] : [`refs/heads/${ref}`, `refs/remotes/origin/${ref}`, `refs/remotes/${ref}`, `refs/tags/${ref}`];
  let tip: CommitId | null = null;
  // What no reference may be called, such as main~1, is an expression that git reads.
  const isName = !/[\s~^:?*[\\]|@\{|\.\./.test(ref);
  for (const candidate of isName ? candidates : []) tip ??= await repository.reader.resolveRef(candidate);
  tip ??= (await repository.git.tryRun(['rev-parse', '--verify', '--quiet', '--end-of-options', `${ref}^{commit}`])) as CommitId | null;
  if (tip === null) throw new CliError('RefUnknown', `${ref} names no commit here.`, 'Commit something first, or name a branch, tag or commit.');
  return tip;
}

/**
 * The newest tip of the target branch that this clone knows: as it was fetched, or as the log last recorded it.
 * @throws CliError `TargetUnknown` when the log is ahead of what was fetched
 */
export async function targetTip({ reader }: Repository, { tip: recorded }: LogState): Promise<CommitId> {
  if (recorded === null) throw new CliError('TargetUnknown', 'The log has not recorded the target branch yet.', 'Wait for the first pass of the server, and fetch.');
  const fetched = (await reader.resolveRef(recorded.ref.replace(/^refs\/heads\//, 'refs/remotes/origin/'))) ?? (await reader.resolveRef(recorded.ref));
  if ((await reader.readCommits([recorded.commit])).get(recorded.commit)?.ok !== true) {
    throw new CliError('TargetUnknown', `This clone does not have ${recorded.commit}, the newest tip that was reconciled.`, 'Fetch: git fetch origin');
  }
  return fetched === null || (await reader.isAncestor(fetched, recorded.commit)) ? recorded.commit : fetched;
}
