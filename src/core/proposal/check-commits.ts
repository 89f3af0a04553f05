import { verifyCommit } from '../commit/verify-commit.ts';
import { parseCommit } from '../commit/commit-object.ts';
import { isOwnAct } from '../trust/approval-commit.ts';
import { parseTrailers } from '../commit/trailers.ts';
import type { InstantMs } from '../model/instant.ts';
import type { CommitId } from '../model/commit-id.ts';
import type { Digest } from '../model/digest.ts';
import { isProtected, KINDS, type DocumentKey, type Kind, type ProtectedChange } from '../model/documents.ts';
import { changeDigest } from '../model/preimages.ts';
import type { LogState } from '../evidence/log-state.ts';
import { changeTo } from '../trust/apply-change.ts';
import { keyFault, type KeyRing } from '../trust/key-ring.ts';
import { finding, type Finding, type Severity } from './finding.ts';

/** A commit of the range, and what it changed itself (T26). */
export type RangeCommit = { readonly commit: CommitId; readonly raw: Uint8Array; readonly keys: ReadonlySet<DocumentKey>; readonly paths: ReadonlySet<string> };

/** A commit that names changes in its trailers, and the protected documents that it changed itself. */
type NamingCommit = { readonly commit: CommitId; readonly named: readonly Digest[]; readonly documents: readonly (Pick<ProtectedChange, 'kind' | 'name' | 'to'> & { readonly key: DocumentKey })[] };

export type CommitChecks = {
  readonly ring: KeyRing;
  readonly objectFormat: 'sha1' | 'sha256';
  readonly now: InstantMs;
  /** Keys of documents whose author has to be known and is not (T20). */
  readonly unanswered: ReadonlySet<DocumentKey>;
};

/** Faults of signatures: what verifies under no person's key, where that matters, and what will never verify, anywhere. */
export function checkCommits(commits: readonly RangeCommit[], checks: CommitChecks): readonly Finding[] {
  return commits.flatMap((one) => [...signatureFindings(one, checks), ...trailerFindings(one, checks)]);
}

function signatureFindings({ commit, raw, keys }: RangeCommit, { ring, objectFormat, now, unanswered }: CommitChecks): readonly Finding[] {
  const touched = [...keys].filter((key) => KINDS.includes(kindOf(key)));
  const [needed] = touched.filter((key) => unanswered.has(key));
  const of = { commit, subject: needed ?? touched[0] ?? null };
  const severity: Severity = needed !== undefined ? 'refused' : 'note';
  const verified = verifyCommit(raw, objectFormat, commit, ring);
  if (!verified.signed) {
    const isAbsent = verified.code === 'Unsigned';
    if (isAbsent && touched.length === 0) return [];
    // A signature that was meant and does not hold is a fault wherever it stands; a missing one only where somebody has to answer.
    const grave = isAbsent || verified.code === 'KeyUnknown' ? severity : 'refused';
    return [finding({ ...of, code: verified.code, severity: grave, message: `${verified.message}${needed === undefined ? '' : `; nobody answers for ${needed}`}`, remedy: 'Sign it and write the branch again: git rebase --exec "git commit --amend --no-edit -S" <base>; or let somebody adopt the request.' })];
  }
  const holder = ring.get(verified.signer.fingerprint);
  if (touched.length === 0) return [];
  if (holder === undefined) return [finding({ ...of, code: 'KeyUnknown', severity, message: `it is signed with ${verified.signer.fingerprint}, a key of nobody in force`, remedy: 'Sign with a key of your Principal document, or have yours put in force first.' })];
  const { name } = holder.principal.metadata;
  if (holder.principal.spec.type !== 'person') return [finding({ ...of, code: 'NotAPerson', severity, message: `it is signed by the service ${name}, who is nobody's person`, remedy: 'Somebody who answers for it signs it, or adopts the request.' })];
  const fault = keyFault(holder, now);
  return fault === null ? [] : [finding({ ...of, code: fault, severity: 'refused', message: `the key of ${name} may not sign now`, remedy: 'Sign with an active key, or have the new one put in force first.' })];
}

/** A trailer that is there and says nothing: half an approval is none. */
function trailerFindings({ commit, raw }: RangeCommit, { objectFormat }: CommitChecks): readonly Finding[] {
  const parsed = parseCommit(raw, objectFormat);
  if (!parsed.ok || !/^stella-(?:change|approval):/im.test(parsed.commit.message)) return [];
  if (parseTrailers(parsed.commit.message).length > 0) {
    if (isOwnAct(parsed.commit)) return [];
    return [finding({ commit, code: 'TrailerOfAnother', severity: 'note', message: 'its trailer approves nothing, because its author is not who committed it, or it is a merge', remedy: 'Whoever means it says so: git commit --amend --reset-author, or stella approve.' })];
  }
  return [finding({ commit, code: 'TrailerUnreadable', severity: 'refused', message: 'its message names Stella-Change or Stella-Approval in a way that does not count', remedy: 'The last paragraph holds trailers only, each `Key: value`, with a digest: git commit --amend.' })];
}

/** A trailer whose digest is not that of what its commit changes approves nothing (T15). */
export function checkTrailers(commits: readonly NamingCommit[], state: LogState): readonly Finding[] {
  return commits.flatMap(({ commit, named, documents }) => {
    const changes = documents.map(({ kind, name, to }) => changeTo(state, kind, name, to)).filter((change) => change.from !== change.to);
    const digest = changes.length === 0 ? null : changeDigest(state.logId, changes);
    if (digest !== null && named.includes(digest)) return [];
    return [finding({
      commit, code: 'OtherDigest', severity: 'refused', subject: documents[0]?.key ?? null,
      message: digest === null ? 'its trailer approves a change, and it changes no protected document' : `its trailer names another change than the one it makes, ${digest}`,
      remedy: digest === null ? 'Take the trailer out.' : 'Correct it with git commit --amend, or approve: stella approve --pending.',
    })];
  });
}

/** Those that come into force by a quorum of their own (T15). */
export function protectedAmong(keys: Iterable<DocumentKey>): readonly DocumentKey[] {
  return [...keys].filter((key) => KINDS.includes(kindOf(key)) && isProtected(kindOf(key)));
}

function kindOf(key: DocumentKey): Kind {
  return key.slice(0, key.indexOf('/')) as Kind;
}
