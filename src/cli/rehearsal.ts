import { documentKey, type DocumentOf } from '../core/model/documents.ts';
import { LogBatch } from '../reconciler/log-batch.ts';
import { approvalsInCommits, readNewCommits } from '../reconciler/new-commits.ts';
import { readApprovalBranches } from '../reconciler/observe-approvals.ts';
import { seenCommit, type Evidence, type LoadedDeclarations, type Repository } from './clone.ts';

/** A batch on the log of this clone that nobody signs, pushes or keeps: to see what the server would make of what lies here. */
export function rehearsalOf(repository: Repository, evidence: Evidence, loaded: LoadedDeclarations, asOf: string): LogBatch {
  return new LogBatch(evidence.state, null, { artifact: evidence.artifact, openPgp: repository.openPgp }, { commit: loaded.tip, asOf, engineVersion: 'rehearsal' });
}

/** Approvals that the log may not have observed yet: on approval branches, here and as fetched, and those that a candidate brings, in files or by signed commits (T18). */
export async function unharvestedApprovals(repository: Repository, loaded: LoadedDeclarations, batch: LogBatch): Promise<readonly DocumentOf<'Approval'>[]> {
  const { reader, parser } = repository;
  const branches = await approvalsOnBranches(repository);
  const brought = loaded.changedKeys.flatMap((key) => {
    const entry = key.startsWith('Approval/') ? loaded.desired.usable.Approval.get(documentKey('Approval', key.slice('Approval/'.length))) : undefined;
    return entry === undefined ? [] : [entry.document as unknown as DocumentOf<'Approval'>];
  });
  const own = loaded.changedPaths.length === 0 ? [] : await readNewCommits({ reader, batch, tip: seenCommit(loaded) }, loaded.target);
  const named = await approvalsInCommits({ reader, parser, loaded: { tip: loaded.tip, state: loaded.desired, changedKeys: loaded.changedKeys, changedPaths: loaded.changedPaths, parsedFiles: 0 } }, own);
  return [...branches, ...brought, ...named];
}

/** Approvals on approval branches, here and as fetched. */
export async function approvalsOnBranches({ reader, parser }: Repository): Promise<readonly DocumentOf<'Approval'>[]> {
  const refs = (await Promise.all(['refs/remotes/origin/stella/approvals/', 'refs/heads/stella/approvals/'].map((prefix) => reader.listRefs(prefix)))).flat();
  const tips = await Promise.all(refs.map(async ({ name }) => ({ ref: name, commit: await reader.resolveRef(name) })));
  const branches = await readApprovalBranches(reader, parser, tips.flatMap(({ ref, commit }) => (commit === null ? [] : [{ ref, commit }])));
  return branches.flatMap((branch) => branch.documents);
}
