import type { Rewrite } from '../model/documents.ts';
import { compareText } from '../model/names.ts';
import { rewriteDigest } from '../model/preimages.ts';
import { rootOf, type LogState } from '../evidence/log-state.ts';
import type { FoldResult, LogSources } from '../evidence/fold.ts';
import type { AnchorPredicate, ObservedYes, RecordHeader } from '../evidence/records.ts';
import { voicesIn } from './observed-approval.ts';
import { hasSay, meetsQuorum } from './quorum.ts';

/** Where the acceptance of a rewrite stands. `missing`: why it is not accepted; null when it is. */
export type Acceptance = { readonly approvals: readonly ObservedYes[]; readonly missing: string | null };

/**
 * Whether the quorum `default` of the root in force accepts a rewrite, by Approvals that the log observed and that served for nothing
 * yet (T25). A no of somebody with a say holds it.
 */
export function acceptanceOf(state: LogState, rewrite: Rewrite, asOf: string, sources: LogSources): Acceptance {
  const digest = rewriteDigest(state.logId, rewrite);
  const voices = voicesIn(state, state.rewriteApprovals.get(digest) ?? [], { type: 'rewrite', digest, asOf }, sources);
  if (voices === null) return { approvals: [], missing: 'an approval of it is not in the log; restore the evidence branch from a clone' };
  const quorum = rootOf(state).spec.quorums.default;
  const people = [...voices.yes.values()].map((voice) => voice.person);
  const approvals = [...voices.yes.values()].map((voice) => voice.approval).sort((a, b) => compareText(a.principal, b.principal));
  const against = voices.no.find((person) => hasSay(quorum, person));
  if (against !== undefined) return { approvals, missing: `${against.metadata.name} rejected it` };
  if (!meetsQuorum(quorum, people)) return { approvals, missing: `the quorum of the root is not met by ${approvals.map((a) => a.principal).join(', ') || 'anybody'}` };
  return { approvals, missing: null };
}

/**
 * Takes an accepted rewrite: the next tip may descend from where it leads instead of from the last one. Its approvals are spent, so
 * that the same rewrite a second time asks again.
 */
export function applyAnchor(state: LogState, header: Pick<RecordHeader, 'seq' | 'asOf'>, p: AnchorPredicate, sources: LogSources): FoldResult {
  const fault = anchorFault(state, header, p, sources);
  if (fault !== null) return { ok: false, code: 'RewriteNotAccepted', message: `anchor ${header.seq}: ${fault}` };
  const { ref, from, to } = p.rewrite;
  return { ok: true, state: { ...state, rewriteApprovals: state.rewriteApprovals.delete(p.digest), lastRewrite: { ref, from, to, seq: header.seq } } };
}

function anchorFault(state: LogState, header: Pick<RecordHeader, 'asOf'>, p: AnchorPredicate, sources: LogSources): string | null {
  if (p.basis !== 'rewrite') return 'its basis is unknown'; // T12
  const { ref, from, to } = p.rewrite;
  if (p.digest !== rewriteDigest(state.logId, { ref, from, to })) return 'its digest is that of another rewrite';
  if (state.tip === null || state.tip.ref !== ref || state.tip.commit !== from) return 'it does not start at the last tip';
  const { approvals, missing } = acceptanceOf(state, p.rewrite, header.asOf, sources);
  if (missing !== null) return missing;
  return JSON.stringify(approvals.map((a) => a.artifact)) === JSON.stringify(p.approvals.map((a) => a.artifact)) ? null : 'its approvals are not those that the log observed';
}
