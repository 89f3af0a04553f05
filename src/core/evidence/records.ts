import type { CommitId } from '../model/commit-id.ts';
import type { Digest } from '../model/digest.ts';
import type { ApprovalAction, ApprovalType, BreakGlass, ProtectedChange, Rewrite } from '../model/documents.ts';
import type { Lock, Operation, ReleaseIdentity } from '../model/preimages.ts';
import type { Decision, DecisionInput } from '../decision/types.ts';
import type { Identity } from '../trust/identity-token.ts';
import type { StepOutcome } from '../workflow/commands.ts';

/** Predicate types, one schema each under `schemas/records/`. */
export const PREDICATE_PREFIX = 'https://stella-gitops.dev/evidence/';
export const PREDICATE_TYPES = ['observation', 'protected-change', 'release-lock', 'promotion-decision', 'deployment-outcome', 'anchor', 'review'] as const;
export type RecordType = (typeof PREDICATE_TYPES)[number];
export function predicateTypeOf(type: RecordType): string {
  return `${PREDICATE_PREFIX}${type}/v1`;
}

/** Stands in every record. Times are RFC 3339 in UTC with milliseconds. */
export type RecordHeader = {
  readonly seq: number;
  /** sha256 of the envelope file before, null for record 0. */
  readonly prev: Digest | null;
  readonly logId: Digest;
  readonly tenant: string;
  /** Digest of the root in force before this record. */
  readonly root: Digest;
  /** inForceDigest of the principals and of all other protected documents in force before this record. */
  readonly principals: Digest;
  readonly policy: Digest;
  /** The tip of the target branch that was reconciled. Never part of a decision's replayed input. */
  readonly commit: CommitId;
  readonly asOf: string;
  readonly rules: 1;
  /** Outside the replayed bytes. */
  readonly engine: { readonly name: string; readonly version: string };
};

/** A signed commit whose author or approval a decision relied on; the raw object is an artifact. */
export type UsedCommit = {
  readonly commit: CommitId;
  readonly artifact: Digest;
};

export type Observation =
  | { readonly type: 'tip'; readonly ref: string; readonly commit: CommitId }
  | {
      readonly type: 'approval';
      readonly action: ApprovalAction;
      /** Digest of the Approval document, and of the document with the one signature that counts, as canonical JSON (an artifact). */
      readonly document: Digest;
      readonly artifact: Digest;
      readonly approves: { readonly type: ApprovalType; readonly digest: Digest };
      readonly subject: { readonly environment: string; readonly application: string } | null;
      readonly principal: string;
      readonly fingerprint: string;
      readonly payload: Digest;
    }
  | {
      readonly type: 'tag';
      readonly component: string;
      readonly repository: string;
      readonly tag: string;
      readonly digest: Digest;
      /** What this tag pointed to when last observed; null the first time. */
      readonly previous: Digest | null;
    };

/** One approval of a protected change: an embedded signature (an Approval that was observed) or a commit with the trailer `Stella-Change`. */
export type ChangeApproval =
  | { readonly carrier: 'embedded'; readonly principal: string; readonly document: Digest; readonly artifact: Digest; readonly observedAt: string }
  | { readonly carrier: 'commit'; readonly principal: string; readonly commit: CommitId; readonly artifact: Digest; readonly observedAt: string };

export type ProtectedChangePredicate = {
  /** stop: one signature put it in force, because the changes do nothing but stop (T24). */
  readonly basis: 'genesis' | 'quorum' | 'stop';
  /** null for genesis. */
  readonly changeDigest: Digest | null;
  readonly changes: readonly ProtectedChange[];
  readonly approvals: readonly ChangeApproval[];
  /** Who proposed, as far as it is known, where the root lets no proposer count; else empty. */
  readonly proposers: { readonly people: readonly string[]; readonly unknown: number; readonly commits: readonly UsedCommit[] };
};

/** A quorum accepted that the target branch went on from another commit (T25). */
export type AnchorPredicate = {
  readonly basis: 'rewrite';
  readonly rewrite: Rewrite;
  /** What was approved: the digest of the rewrite. */
  readonly digest: Digest;
  /** Observed Approvals of it, one of each person, sorted by person. */
  readonly approvals: readonly ObservedYes[];
};
/** People who took no part looked at a promotion that broke the glass (T27). */
export type ReviewPredicate = { readonly environment: string; readonly application: string; readonly promotionDigest: Digest; readonly approvals: readonly ObservedYes[] };
export type ObservedYes = { readonly principal: string; readonly document: Digest; readonly artifact: Digest; readonly observedAt: string };

export type ReleaseLockPredicate = {
  readonly application: string;
  readonly release: string;
  readonly releaseSpec: Digest;
  /** The release spec itself: what the Release says but for its mutable fields. Its channel is taken from here. */
  readonly spec: ReleaseIdentity;
  readonly lock: Lock;
  readonly lockDigest: Digest;
  /** resolved: tags asked at the registry; adopted: from a valid approval given before the merge; declared: every component had a digest. */
  readonly basis: 'resolved' | 'adopted' | 'declared';
  readonly tags: readonly { readonly component: string; readonly tag: string | null; readonly digest: Digest }[];
  /** The approval that named the digests, for `adopted`. */
  readonly approval: Digest | null;
  /** Whom an identity issuer in force named when it was locked, and its token as an artifact; null where nobody was, or not so that it counts. */
  readonly onBehalfOf: (Identity & { readonly token: Digest }) | null;
};

/** What a promotion was derived from that nobody wrote: what runs in an environment, or what a channel holds. */
export type Derived = {
  readonly from: 'environment' | 'channel';
  /** Of the environment or the channel. */
  readonly name: string;
  /** Releases that were passed over because their document at the tip is gone, differs from the lock, or calls them deprecated; in the order in which they were asked for. */
  readonly unavailable: readonly string[];
};

/** Everything a decision used; each digest names an artifact. */
export type DecisionSources = {
  /** Digest of the Promotion document, and of the document with its signatures as canonical JSON (an artifact). */
  readonly promotionDocument: Digest;
  readonly promotion: Digest;
  /** null where somebody wrote the Promotion. */
  readonly derived: Derived | null;
  /** Set when the document was replaced or deleted before its run. */
  readonly ended: DecisionInput['ended'];
  /** Why there is no lock or plan. */
  readonly problems: DecisionInput['problems'];
  readonly plan: Digest | null;
  /** Configuration document as canonical JSON; null where there is none. */
  readonly configuration: Digest | null;
  /** releaseSpec digest that intents cover; null for a removal or without a lock. */
  readonly releaseSpec: Digest | null;
  /** Intent digests that valid signatures on the Promotion cover and that were not spent. */
  readonly intents: readonly Digest[];
  /** Artifacts of approvals, observed before, that name this environment and application. */
  readonly approvals: readonly Digest[];
  /** Input of the allow whose promotion an extension brings to further targets; null for everything else. */
  readonly extends: Digest | null;
  /** Token, as an artifact, of an identity issuer that says for whom a service wrote the Release; null where the lock names none. */
  readonly onBehalfOf: Digest | null;
  /** Commits since the base that by T26 changed the Promotion, the Release, files that it ships, or the Configuration and its files. */
  readonly commits: readonly (UsedCommit & { readonly touched: readonly ('promotion' | 'release' | 'files' | 'configuration')[] })[];
};
export type PromotionDecisionPredicate = {
  readonly environment: string;
  readonly application: string;
  readonly operation: Operation;
  readonly release: string | null;
  readonly attempt: number;
  readonly lock: Digest | null;
  readonly runs: Digest | null;
  /** Who asked, as the input names them; when, the `observedAt` of the tip that brought the document. */
  readonly requestedAt: string;
  readonly decidedAt: string;
  /** The input's canonical bytes are the artifact of this digest, so a reader needs nothing else. */
  readonly input: Digest;
  /** Digest of the input without `asOf`. */
  readonly relevant: Digest;
  readonly sources: DecisionSources;
  /** Candidates under keys of nobody in force; outside the replayed bytes (T31). */
  readonly strangers: number;
  readonly decision: Decision;
  /** The emergency that it was decided as, and who asked for it or approved it: they cannot review it (T27). */
  readonly breakGlass: (BreakGlass & { readonly participants: readonly string[] }) | null;
  /** Generated artifacts of an allow by name: compose.stella.lock.yml, release.evidence.json, stella.version.json. */
  readonly artifacts: readonly { readonly name: string; readonly digest: Digest }[];
};

export type DeploymentOutcomePredicate = {
  readonly environment: string;
  readonly application: string;
  readonly operation: Operation;
  readonly generation: number;
  readonly promotionDigest: Digest;
  /** seq and envelope digest of the allow. */
  readonly decision: { readonly seq: number; readonly digest: Digest };
  readonly result: 'Succeeded' | 'Failed' | 'Errored' | 'Aborted';
  readonly reason: string;
  readonly startedAt: string;
  readonly endedAt: string;
  /** The fallback among them, where one was tried. */
  readonly steps: readonly StepOutcome[];
  /** null: none was tried. */
  readonly fallback: 'Succeeded' | 'Failed' | null;
};

export type RecordBody =
  | { readonly type: 'observation'; readonly predicate: Observation }
  | { readonly type: 'protected-change'; readonly predicate: ProtectedChangePredicate }
  | { readonly type: 'release-lock'; readonly predicate: ReleaseLockPredicate }
  | { readonly type: 'promotion-decision'; readonly predicate: PromotionDecisionPredicate }
  | { readonly type: 'deployment-outcome'; readonly predicate: DeploymentOutcomePredicate }
  | { readonly type: 'anchor'; readonly predicate: AnchorPredicate }
  | { readonly type: 'review'; readonly predicate: ReviewPredicate };

/** A record as it is read back: verified envelope, its digest, header and body. */
export type EvidenceRecord = {
  /** sha256 of the envelope file. */
  readonly digest: Digest;
  readonly header: RecordHeader;
} & RecordBody;

/** Digests of all artifacts that a record names: each lies in the log from the record on. */
export function artifactsOf(record: RecordBody): readonly Digest[] {
  const some = (...digests: readonly (Digest | null)[]): readonly Digest[] => digests.filter((digest) => digest !== null);
  switch (record.type) {
    case 'observation':
      return record.predicate.type === 'approval' ? [record.predicate.artifact] : [];
    case 'protected-change': {
      const { changes, approvals, proposers } = record.predicate;
      return some(...changes.map((c) => c.to), ...approvals.map((a) => a.artifact), ...proposers.commits.map((c) => c.artifact));
    }
    case 'release-lock':
      return some(record.predicate.onBehalfOf?.token ?? null, ...record.predicate.lock.snapshot.files.map((file) => file.digest));
    case 'promotion-decision': {
      const { input, lock, runs, sources, artifacts } = record.predicate;
      return some(input, lock, runs, sources.promotion, sources.plan, sources.configuration, sources.extends, sources.onBehalfOf, ...sources.approvals, ...sources.commits.map((c) => c.artifact), ...artifacts.map((a) => a.digest));
    }
    case 'deployment-outcome':
      return some(...record.predicate.steps.flatMap((step) => step.targets.map((target) => target.receipt)));
    case 'anchor':
    case 'review':
      return record.predicate.approvals.map((a) => a.artifact);
  }
}
