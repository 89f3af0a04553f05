import { changeDigest } from '../model/preimages.ts';
import type { Digest } from '../model/digest.ts';
import { documentKey, type Kind, type ProtectedChange } from '../model/documents.ts';
import { compareText } from '../model/names.ts';
import { lineOf, type ExplainLine, type SituationCode } from '../decision/explain.ts';
import type { Advice } from '../decision/explain-gates.ts';
import type { DesiredState } from '../desired/desired-state.ts';
import { allInForce, rootOf, type InForce, type LogState } from '../evidence/log-state.ts';
import { rootHolders, rootKeyRing } from '../trust/root-change.ts';
import { hasSay, quorumFor } from '../trust/quorum.ts';
import { pendingIn, quorumText } from './pending.ts';
import { listOf } from './situation-words.ts';
import type { OpenPgpVerifier } from '../commit/openpgp.ts';

/** Most names that one sentence takes. */
const NAMED = 20;

/**
 * How a protected document stands: in force since which record and by whose approvals, or not; and what a version that the branch holds waits for (T15, T16).
 * @param desired the branch, null where only the log is asked
 */
export function explainDocument(p: { readonly state: LogState; readonly desired: DesiredState | null; readonly openPgp: OpenPgpVerifier }, kind: Kind, name: string): readonly ExplainLine[] {
  const { state, desired } = p;
  const key = documentKey(kind, name);
  const entry = state.inForce.get(key);
  const lines = [entry === undefined ? line(key, 'NotInForce', { text: `${key} is not in force.` }) : line(key, 'InForce', { text: inForceText(key, entry) })];
  const changes = desired === null ? [] : pendingIn(state, desired, [key]).changes;
  const change = changes.find((one) => documentKey(one.kind, one.name) === key);
  return change === undefined || desired === null ? lines : [...lines, pendingLine(p, { key, change, digests: [digestOf(state, [change]), pendingIn(state, desired).digest] })];
}

/** Since which record and by whom. */
export function inForceText(key: string, { seq, since, by, basis, digest }: InForce): string {
  if (basis === 'genesis') return `${key} is in force since genesis${seq < 0 ? '' : ` (record ${seq})`}: it is one of the first documents, which the log's id pins (${digest}).`;
  const how = basis === 'stop' ? `as a stop, by the one signature of ${listOf(by)}` : `approved by ${listOf(by) || 'nobody'}`;
  return `${key} is in force since record ${seq} (${since ?? 'never'}), ${how} (${digest}).`;
}

type PendingOne = { readonly key: string; readonly change: ProtectedChange; /** Under which it may have been approved: by itself, and with everything else that waits. */ readonly digests: readonly (Digest | null)[] };

function pendingLine(p: { readonly state: LogState; readonly openPgp: OpenPgpVerifier }, { key, change, digests }: PendingOne): ExplainLine {
  const { state } = p;
  const seen = digests.flatMap((digest) => (digest === null ? [] : (state.changeApprovals.get(digest) ?? []))).flatMap((artifact) => state.approvals.get(artifact) ?? []);
  const peopleWho = (action: string): readonly string[] => [...new Set(seen.filter((one) => one.action === action).map(({ principal }) => principal))].sort(compareText);
  const [yes, no] = [peopleWho('approve'), peopleWho('reject')];
  const what = change.to === null ? 'The target branch no longer holds it' : change.from === null ? 'The target branch holds it' : 'The target branch holds another version';
  const needs = key.startsWith('TrustRoot/') ? `root keys of ${rootOf(state).spec.threshold} ${rootOf(state).spec.threshold === 1 ? 'person' : 'people'}` : quorumText(quorumFor(rootOf(state), change));
  const so = `Its quorum: ${needs}. Approved so far by ${listOf(yes) || 'nobody'}${no.length === 0 ? '' : `; rejected by ${listOf(no)}`}.`;
  const who = couldApprove(p, change).filter((name) => !yes.includes(name)).slice(0, NAMED);
  return line(key, no.length === 0 ? 'ChangePending' : 'ChangeRefused', {
    text: `${what}, which is not in force yet. ${so}`, remedy: no.length === 0 ? 'It comes into force once its quorum is met.' : 'A no stands for exactly this change: change it and ask again.', command: `stella approve --pending --only ${key}`, who,
  });
}

/** Names of people whose yes would count; whether a proposer counts is judged with the change itself (T15). */
function couldApprove({ state, openPgp }: { readonly state: LogState; readonly openPgp: OpenPgpVerifier }, change: ProtectedChange): readonly string[] {
  const principals = allInForce(state, 'Principal').filter(({ spec }) => spec.suspended === undefined);
  if (change.kind === 'TrustRoot') return rootHolders(rootKeyRing(rootOf(state), principals, { certificates: state.certificates, openPgp }));
  const quorum = quorumFor(rootOf(state), change);
  return principals.filter((person) => hasSay(quorum, person)).map((person) => person.metadata.name);
}

function digestOf(state: LogState, changes: readonly ProtectedChange[]): Digest {
  return changeDigest(state.logId, changes);
}

function line(subject: string, code: SituationCode, advice: Advice): ExplainLine {
  return lineOf({ about: 'situation', subject, code }, advice);
}
