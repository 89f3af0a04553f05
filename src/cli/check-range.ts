import type { CommitId } from '../core/model/commit-id.ts';
import { keyRingIn } from '../core/trust/key-ring.ts';
import { rehearse } from '../reconciler/rehearse.ts';
import { checkDeclarations, checkSignatures } from '../core/proposal/check-documents.ts';
import { diagnose } from '../core/proposal/diagnose.ts';
import { checkRehearsal, unansweredIn } from '../reconciler/check-rehearsal.ts';
import { checkCommits, checkTrailers } from '../core/proposal/check-commits.ts';
import { CandidateConflict } from './candidate-conflict.ts';
import { seenCommit, type CloneParts, type Evidence, type LoadedDeclarations, type Repository } from './clone.ts';
import type { CommandContext } from './command.ts';
import { finding, sortedFindings, type Finding } from '../core/proposal/finding.ts';
import { rehearsalOf, unharvestedApprovals } from './rehearsal.ts';

export type Checked = { readonly commit: string; readonly target: string | null; readonly commits: number; readonly findings: readonly Finding[] };
type Desk = { readonly context: CommandContext; readonly clone: CloneParts; readonly repository: Repository; readonly evidence: Evidence };

/**
 * Everything that would be refused if `ref` were merged now, as far as this clone can tell: what the target branch and the log hold, and what
 * was fetched. A server may know more.
 * @param range.from commits after this one are looked at; null: those that the target branch does not hold
 * @throws CliError when it cannot be checked
 */
export async function checkRange(desk: Desk, range: { readonly from: CommitId | null; readonly ref: string }): Promise<Checked> {
  const { context, clone, repository, evidence } = desk;
  try {
    const loaded = await clone.loadCandidate(repository, evidence, range.ref);
    return await context.terminal.during('Checking', checkLoaded(desk, loaded, range.from));
  } catch (error) {
    if (!(error instanceof CandidateConflict)) throw error;
    const findings = error.files.map((file) => finding({ code: error.code, severity: 'refused', file, message: 'this branch and the target branch both changed it', remedy: error.remedy }));
    return { commit: range.ref, target: null, commits: 0, findings };
  }
}

async function checkLoaded({ context, clone, repository, evidence }: Desk, loaded: LoadedDeclarations, from: CommitId | null): Promise<Checked> {
  const now = context.now();
  const world = await clone.worldOf(repository, evidence, loaded, now.toISOString());
  const range = await world.touching.all(from ?? loaded.target, seenCommit(loaded));
  const batch = rehearsalOf(repository, evidence, loaded, now.toISOString());
  const played = await rehearse({
    tip: loaded.tip, targetRef: evidence.state.tip?.ref ?? '', loaded: { tip: loaded.tip, state: loaded.desired, changedKeys: loaded.changedKeys, changedPaths: loaded.changedPaths, parsedFiles: 0 },
    ...(loaded.candidate === undefined ? {} : { candidate: loaded.candidate }), batch, reader: world.reader, parser: world.parser, artifacts: world.artifacts, evidenceTip: world.evidenceTip,
    touching: world.touching, registry: clone.registryOf(context, repository),
  }, await unharvestedApprovals(repository, loaded, batch));
  const ring = keyRingIn(evidence.state, evidence.openPgp);
  const rehearsed = checkRehearsal(played, loaded);
  const findings = [
    ...checkDeclarations(diagnose(loaded.desired), await diagnosticsBefore(clone, repository, loaded)), ...rehearsed,
    ...checkSignatures(evidence.state, loaded, ring), ...checkTrailers(played.commits.filter(({ commit }) => range.some((one) => one.commit === commit)), evidence.state),
    ...checkCommits(range, { ring, objectFormat: repository.reader.objectFormat, now: now.getTime(), unanswered: unansweredIn(rehearsed, evidence.state, loaded.desired) }),
  ];
  return { commit: seenCommit(loaded), target: loaded.target, commits: range.length, findings: sortedFindings(findings) };
}

async function diagnosticsBefore(clone: CloneParts, repository: Repository, loaded: LoadedDeclarations): Promise<ReturnType<typeof diagnose>> {
  if (loaded.changedPaths.length === 0) return diagnose(loaded.desired);
  return diagnose((await clone.loadCommit(repository, loaded.target)).desired);
}
