import type { OpenPgpVerifier } from '../commit/openpgp.ts';
import { verifyCommit } from '../commit/verify-commit.ts';
import { verifyDocumentSignature } from '../commit/document-signature.ts';
import { canonicalBytes, parseCanonicalJson } from '../model/canonical-json.ts';
import type { CommitId } from '../model/commit-id.ts';
import type { Digest } from '../model/digest.ts';
import type { AnyDocument } from '../model/documents.ts';
import { intentPreimage } from '../model/preimages.ts';
import { keyRingIn, type KeyRing } from '../trust/key-ring.ts';
import type { ArtifactLookup } from './fold.ts';
import type { LogState } from './log-state.ts';
import type { ChangeApproval, EvidenceRecord, PromotionDecisionPredicate } from './records.ts';

/** Who or what is suspected: a principal by name, keys by fingerprint. Either is enough. */
export type Suspects = { readonly principal: string | null; readonly fingerprints: ReadonlySet<string> };

/** A recorded decision that would have to be looked at again. History is not rewritten (T9). */
export type Reliance = {
  readonly seq: number;
  readonly decidedAt: string;
  readonly type: 'promotion-decision' | 'protected-change' | 'anchor' | 'review';
  /** null for what concerns no single environment. */
  readonly environment: string | null;
  readonly application: string | null;
  /** Promotion digest, change digest or digest of the rewrite. */
  readonly digest: Digest | null;
  /** Of a decision; what came into force says `in-force`. */
  readonly outcome: string;
  readonly lock: Digest | null;
  /** Sorted. */
  readonly as: readonly ('approver' | 'requester')[];
};

/**
 * What a record relied on a suspect for (T9): approvals that were counted, and signatures of who asked. Decisions that allowed nothing relied on
 * nobody.
 * @param before the log's state before the record
 * @returns null when it did not
 */
export function relianceOf(before: LogState, record: EvidenceRecord, suspects: Suspects, sources: { readonly artifact: ArtifactLookup; readonly openPgp: OpenPgpVerifier }): Reliance | null {
  const { seq, asOf: decidedAt } = record.header;
  const ring = keyRingIn(before, sources.openPgp);
  const base = { seq, decidedAt, environment: null, application: null, lock: null, outcome: 'in-force' };
  const approver = (is: boolean): Reliance['as'] => (is ? ['approver'] : []);
  const found = (reliance: Reliance): Reliance | null => (reliance.as.length === 0 ? null : reliance);
  switch (record.type) {
    case 'promotion-decision': {
      const p = record.predicate;
      if (p.decision.outcome !== 'allow') return null;
      const as = [...approver(approvedBy(before, p, suspects)), ...(requestedBy(before, p, suspects, sources.artifact, ring) ? ['requester' as const] : [])];
      return found({ ...base, type: record.type, environment: p.environment, application: p.application, digest: p.decision.promotionDigest, outcome: p.decision.outcome, lock: p.lock, as });
    }
    case 'protected-change':
      return found({ ...base, type: record.type, digest: record.predicate.changeDigest, as: approver(record.predicate.approvals.some((a) => isChangeApprover(before, a, suspects, sources.artifact, ring))) });
    case 'anchor':
      return found({ ...base, type: record.type, digest: record.predicate.digest, as: approver(record.predicate.approvals.some((a) => isSuspect(before, a.artifact, suspects))) });
    case 'review': {
      const { environment, application, promotionDigest, approvals } = record.predicate;
      return found({ ...base, type: record.type, environment, application, digest: promotionDigest, as: approver(approvals.some((a) => isSuspect(before, a.artifact, suspects))) });
    }
    default:
      return null;
  }
}

function isSuspect(before: LogState, approval: Digest, { principal, fingerprints }: Suspects): boolean {
  const seen = before.approvals.get(approval);
  return seen !== undefined && (seen.principal === principal || fingerprints.has(seen.fingerprint));
}

/** Only approvals that the allow consumed carried it; others were there and did not count. */
function approvedBy(before: LogState, p: PromotionDecisionPredicate, suspects: Suspects): boolean {
  return p.sources.approvals.some((approval) => {
    const seen = before.approvals.get(approval);
    return seen !== undefined && p.decision.consumes.includes(seen.document) && isSuspect(before, approval, suspects);
  });
}

/** By whom the request is signed: the intents in the Promotion, and the commits that brought it. */
function requestedBy(before: LogState, p: PromotionDecisionPredicate, suspects: Suspects, artifact: ArtifactLookup, ring: KeyRing): boolean {
  const commits = p.sources.commits.flatMap(({ commit, artifact: digest }) => commitSigners(artifact(digest), commit, ring));
  const bytes = artifact(p.sources.promotion);
  const promotion = bytes === undefined ? undefined : (parseCanonicalJson(bytes) as AnyDocument | undefined);
  const intents = promotion?.kind !== 'Promotion' ? [] : (promotion.signatures ?? []).flatMap(({ signature }) => {
    const preimage = canonicalBytes(intentPreimage({ logId: before.logId, promotion, releaseSpec: p.sources.releaseSpec }));
    const outcome = verifyDocumentSignature({ preimage, armoured: signature, namespace: 'stella-intent', keys: ring });
    return outcome.signed ? [outcome.signer.fingerprint] : [];
  });
  return [...commits, ...intents].some((fingerprint) => suspects.fingerprints.has(fingerprint) || holderOf(ring, fingerprint) === suspects.principal);
}

/** An approval was observed under its key; a commit is asked itself, and one by a root key that no principal lists is told by its name. */
function isChangeApprover(before: LogState, approval: ChangeApproval, suspects: Suspects, artifact: ArtifactLookup, ring: KeyRing): boolean {
  if (approval.principal === suspects.principal) return true;
  if (approval.carrier === 'embedded') return isSuspect(before, approval.artifact, suspects);
  return commitSigners(artifact(approval.artifact), approval.commit, ring).some((fingerprint) => suspects.fingerprints.has(fingerprint));
}

function commitSigners(raw: Uint8Array | undefined, commit: CommitId, ring: KeyRing): readonly string[] {
  const verified = raw === undefined ? null : verifyCommit(raw, commit.length === 40 ? 'sha1' : 'sha256', commit, ring);
  return verified?.signed === true ? [verified.signer.fingerprint] : [];
}

function holderOf(ring: KeyRing, fingerprint: string): string | undefined {
  return ring.get(fingerprint)?.principal.metadata.name;
}
