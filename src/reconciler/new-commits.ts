import type { CommitId } from '../core/model/commit-id.ts';
import type { DocumentOf } from '../core/model/documents.ts';
import { limits } from '../core/model/limits.ts';
import { documentsOf } from '../core/desired/desired-state.ts';
import { approvedByCommit } from '../core/trust/approval-commit.ts';
import { parseChanges } from './declarations.ts';
import { approvalsByCommits } from './observe-approvals.ts';
import type { Pass } from './pass.ts';
import { isHere } from './rewrites.ts';

/** A commit of the target branch that was not looked at yet. */
export type NewCommit = { readonly commit: CommitId; readonly parents: readonly CommitId[]; readonly raw: Uint8Array };

/** Commits of the target branch after `from`, parents before children; those whose bytes cannot be had are left out. */
export async function readNewCommits({ reader, batch, tip }: Pick<Pass, 'reader' | 'batch' | 'tip'>, from: CommitId | null): Promise<readonly NewCommit[]> {
  if (from === tip) return [];
  const start = from !== null && (batch.state.lastRewrite === null || (await isHere(reader, from))) ? from : null;
  const entries = await reader.log(start, tip, limits.historyCommits);
  const raw = await reader.readCommits(entries.map((e) => e.commit));
  return entries.flatMap(({ commit, parents }) => {
    const object = raw.get(commit);
    return object?.ok === true ? [{ commit, parents, raw: object.bytes }] : [];
  });
}

/** Approvals that these commits carry with their messages: of a document that the commit itself brought, or that lies at the tip. */
export async function approvalsInCommits({ reader, parser, loaded }: Pick<Pass, 'reader' | 'parser' | 'loaded'>, commits: readonly NewCommit[]): Promise<readonly DocumentOf<'Approval'>[]> {
  const found: DocumentOf<'Approval'>[] = [];
  for (const { commit, parents, raw } of commits) {
    if (approvedByCommit(raw) === null) continue;
    const { changes } = await reader.diff(parents[0] ?? null, commit);
    const brought = (await parseChanges(reader, parser, changes.filter((c) => c.newBlob !== null))).flatMap(({ parsed }) => parsed?.documents ?? []).map(({ document }) => document);
    const lying = documentsOf(loaded.state, 'Approval').map((entry) => entry.document as unknown as DocumentOf<'Approval'>);
    found.push(...approvalsByCommits([{ raw, documents: [...brought.filter((document) => document.kind === 'Approval'), ...lying] }]));
  }
  return found;
}
