import type { CommitId } from '../core/model/commit-id.ts';
import type { EvidenceBranch } from '../ports/evidence-writer.ts';
import type { GitReader } from '../ports/git-reader.ts';
import type { GitRemote } from '../ports/git-remote.ts';
import { APPROVAL_BRANCHES } from './observe-approvals.ts';
import { STOP_BRANCHES } from './apply-stops.ts';
import { candidateRefspecs } from './candidate-approvals.ts';
import type { ConditionReason } from './conditions.ts';
import type { LogWriter } from './log-writer.ts';

/** A pass cannot go on, and why; becomes the condition of the repository. */
export class Stalled extends Error {
  readonly reason: ConditionReason;
  constructor(reason: ConditionReason, message: string) {
    super(message);
    this.reason = reason;
  }
}

/** Where a pass keeps in its mirror what it fetched. */
export const FETCHED = { target: 'refs/stella/target', evidence: 'refs/stella/evidence', approvals: 'refs/stella/approvals/', stops: 'refs/stella/stops/' } as const;

type Parts = {
  readonly reader: GitReader;
  readonly remote: GitRemote;
  readonly targetRef: string;
  readonly candidateRefs?: readonly string[];
  readonly evidence: { readonly remote: GitRemote; readonly branch: EvidenceBranch };
};

/**
 * Fetches target and approval branches, and looks whether the evidence branch is where we left it.
 * @returns the target branch's tip
 * @throws Stalled
 */
export async function fetchRefs({ remote, reader, targetRef, evidence, candidateRefs = [] }: Parts, writer: LogWriter | null): Promise<CommitId> {
  const refspecs = [`+${targetRef}:${FETCHED.target}`, `+${APPROVAL_BRANCHES}*:${FETCHED.approvals}*`, `+${STOP_BRANCHES}*:${FETCHED.stops}*`, ...candidateRefspecs(candidateRefs)];
  const expected = writer === null || writer.isUnsure ? undefined : writer.tip;
  // Where one remote has both, the evidence branch comes along and is not asked for once more. Without it git fetches nothing at all.
  const isShared = evidence.remote === remote && typeof expected === 'string';
  const together = isShared ? await remote.fetch([...refspecs, `+${evidence.branch.ref}:${FETCHED.evidence}`], { prune: true }) : null;
  const fetched = together === null || (!together.ok && together.code === 'RefMissing') ? await remote.fetch(refspecs, { prune: true }) : together;
  if (!fetched.ok) throw new Stalled('FetchFailed', fetched.message);
  // T6: history that is not what was signed.
  const faults = await reader.findHistoryFaults();
  if (faults[0] !== undefined) throw new Stalled('HistoryFault', `${faults[0].code}: ${faults[0].remedy}`);
  const tip = await reader.resolveRef(FETCHED.target);
  if (tip === null) throw new Stalled('FetchFailed', `the repository has no branch ${targetRef}`);
  if (expected !== undefined) checkEvidenceTip(evidence.branch.ref, together?.ok === true ? await reader.resolveRef(FETCHED.evidence) : await listEvidenceTip(evidence), expected);
  return tip;
}

/** Where the remote's evidence branch is, null where there is none. @throws Stalled */
export async function listEvidenceTip({ remote, branch }: Pick<Parts['evidence'], 'remote' | 'branch'>): Promise<CommitId | null> {
  const listed = await remote.listRefs(branch.ref);
  if (!listed.ok) throw new Stalled('FetchFailed', listed.message);
  return (listed.refs.find((r) => r.name === branch.ref)?.id ?? null) as CommitId | null;
}

function checkEvidenceTip(ref: string, there: CommitId | null, expected: CommitId | null): void {
  if (there === expected) return;
  // T30: a tip that is not ours stops everything; nothing follows a foreign commit or a force-push silently.
  if (there === null) throw new Stalled('LogMissing', `the evidence branch ${ref} is gone; restore it from a clone`);
  throw new Stalled('ForeignEvidence', `the evidence branch is at ${there}, this server left it at ${expected ?? 'nothing'}; see who pushed there and restore it`);
}
