import type { CommitId } from '../core/model/commit-id.ts';
import { ArtifactCache } from '../reconciler/artifact-cache.ts';
import type { ProposalWorld } from '../reconciler/plan-proposal.ts';
import { TouchingCommits } from '../reconciler/touching-commits.ts';
import type { CloneParts, Evidence, Repository } from './clone.ts';
import type { CommandContext } from './command.ts';

/**
 * What proposals are planned against in a clone: its log, and the declarations of a commit.
 * @param onto where a candidate is laid; null: the newest tip of the target branch that this clone knows
 * @throws CliError `TargetUnknown`
 */
export async function proposalWorld(context: CommandContext, clone: CloneParts, repository: Repository, evidence: Evidence, onto: CommitId | null): Promise<ProposalWorld> {
  const { reader, parser, openPgp } = repository;
  const tip = onto ?? (await clone.targetTip(repository, evidence.state));
  const { desired } = await clone.loadCommit(repository, tip);
  return {
    state: evidence.state, desired, tip, targetRef: evidence.state.tip?.ref ?? '', evidenceTip: evidence.commit, reader, parser, openPgp, artifact: evidence.artifact,
    artifacts: new ArtifactCache(evidence.reader), touching: new TouchingCommits(reader, parser), registry: clone.registryOf(context, repository),
  };
}
