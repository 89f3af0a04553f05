import { isObjectId, type CommitId } from '../core/model/commit-id.ts';
import { isDigest } from '../core/model/digest.ts';
import type { ApprovalSpec, Rewrite } from '../core/model/documents.ts';
import { rewriteDigest } from '../core/model/preimages.ts';
import type { RewriteReach } from '../core/desired/rewrite-reach.ts';
import { rootOf } from '../core/evidence/log-state.ts';
import { acceptanceOf } from '../core/trust/rewrite.ts';
import { findRewound, isHere, reachOf } from '../reconciler/rewrites.ts';
import type { CloneParts, Evidence, Repository } from './clone.ts';
import { CliError } from './command.ts';
import { plain } from '../core/model/plain-text.ts';

export type RewriteQuestion = { readonly text: string; readonly model: object; readonly specs: readonly ApprovalSpec[]; readonly warnings: readonly string[] };
type Desk = { readonly clone: CloneParts; readonly repository: Repository; readonly evidence: Evidence; readonly now: string };
type Answer = Pick<ApprovalSpec, 'action' | 'nonce'> & Partial<Pick<ApprovalSpec, 'comment' | 'expires'>>;

/** Most documents and files that are listed for the reader. */
const SHOWN = 200;

/**
 * What differs between the history that the log follows and another one of the target branch (T25).
 * @param named `<from>..<to>`, or the digest of the rewrite that the server names
 * @param ref the other history's tip where only the digest is named
 * @throws CliError `RewriteUnknown`, `NothingToApprove`, `OtherDigest`, `HistoryGone`
 */
export async function rewriteQuestion(desk: Desk, named: string, ref: string, answer: Answer): Promise<RewriteQuestion> {
  const { clone, repository, evidence } = desk;
  const rewrite = await rewriteNamed(desk, named, ref);
  const digest = rewriteDigest(evidence.state.logId, rewrite);
  if (isDigest(named) && named !== digest) {
    throw new CliError('OtherDigest', `From the last recorded tip to ${rewrite.to} the rewrite has the digest ${digest}, not ${named}.`, 'Fetch and look again, or name the other commit: stella approve --rewrite <from>..<to>', { exitCode: 1 });
  }
  // What cannot be shown is not signed.
  if (!(await isHere(repository.reader, rewrite.from))) {
    throw new CliError('HistoryGone', `The commit ${rewrite.from}, where the log was, is not in this clone, so nobody can see what differs.`, 'Fetch it from a clone that has it; the server keeps it in its mirror.');
  }
  const { desired } = await clone.loadCommit(repository, rewrite.from);
  const reach = await reachOf(repository, evidence.state, desired, rewrite);
  const { approvals } = acceptanceOf(evidence.state, rewrite, desk.now, evidence);
  const approvedBy = approvals.map((a) => a.principal);
  return { text: textOf(evidence, { rewrite, digest, reach, approvedBy }), model: { type: 'rewrite', digest, ...rewrite, ...reach, approvedBy }, specs: [{ type: 'rewrite', digest, rewrite, ...answer }], warnings: [] };
}

async function rewriteNamed({ repository, evidence }: Desk, named: string, ref: string): Promise<Rewrite> {
  const { tip } = evidence.state;
  const [left = '', right = ref] = isDigest(named) ? [] : named.split('..');
  const to = await commitOf(repository, isDigest(named) ? ref : right);
  if (tip === null) throw new CliError('RewriteUnknown', 'The log has recorded no tip yet.');
  const from = left === '' ? tip.commit : await commitOf(repository, left);
  if (from !== tip.commit) throw new CliError('RewriteUnknown', `The log is at ${tip.commit}, not at ${from}.`, 'Fetch the evidence branch and look again: stella status', { exitCode: 1 });
  if ((await findRewound(repository.reader, evidence.state, tip.ref, to)) === null) {
    throw new CliError('NothingToApprove', `${to} descends from ${from}: there is nothing to accept.`, null, { exitCode: 1 });
  }
  return { ref: tip.ref, from, to };
}

/** A full id is taken as it is: its objects may be gone. */
async function commitOf(repository: Repository, named: string): Promise<CommitId> {
  if (isObjectId(named)) return named as CommitId;
  const found = await repository.git.tryRun(['rev-parse', '--verify', '--quiet', '--end-of-options', `${named}^{commit}`]);
  if (!isObjectId(found)) throw new CliError('RewriteUnknown', `${JSON.stringify(named)} names no commit here.`, 'Fetch, then write both commits: stella approve --rewrite <from>..<to>');
  return found as CommitId;
}

type Shown = { readonly rewrite: Rewrite; readonly digest: string; readonly reach: RewriteReach; readonly approvedBy: readonly string[] };

function textOf(evidence: Evidence, { rewrite, digest, reach, approvedBy }: Shown): string {
  const { people, roles = [] } = rootOf(evidence.state).spec.quorums.default;
  const more = reach.differs.length - SHOWN;
  const touched = reach.everything ?? [...reach.applications.map((name) => `all of ${name}`), ...reach.subjects].join(', ');
  return [
    `Rewrite of ${rewrite.ref}`, `  from        ${rewrite.from} (the last recorded tip)`, `  to          ${rewrite.to}`, `  digest      ${digest}`,
    `  quorum      ${people} ${people === 1 ? 'person' : 'people'}${roles.length === 0 ? '' : `: ${roles.map((r) => `${r.count} ${r.role}`).join(', ')}`}`,
    `  approved by ${approvedBy.join(', ') || 'nobody yet'}`, `  stands still ${touched === '' ? 'nothing' : touched}`,
    ...reach.differs.slice(0, SHOWN).map((name) => `  differs     ${name}`), ...(more > 0 ? [`  and ${more} more`] : []),
  ].map(plain).join('\n');
}
