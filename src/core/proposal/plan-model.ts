import type { CommitId } from '../model/commit-id.ts';
import type { Digest } from '../model/digest.ts';
import type { Decision } from '../decision/types.ts';
import type { ExplainLine } from '../decision/explain.ts';
import type { Finding } from './finding.ts';

/**
 * What would happen if a candidate were merged now: one value, from which text, Markdown and JSON are rendered. Lists are sorted. A plan is no
 * decision and no record: at the merge everything is decided again (T18).
 */
export type ProposalPlan = {
  readonly type: 'stella/proposal-plan/v1';
  readonly candidate: CommitId;
  readonly target: { readonly ref: string; readonly commit: CommitId };
  /** Records of the log by which it was judged. */
  readonly logSize: number;
  readonly asOf: string;
  /** nothing: the merge changes nothing that runs or is in force. error: it could not be planned, `findings` say why. */
  readonly outcome: 'nothing' | 'changes' | 'error';
  readonly promotions: readonly PromotionPlan[];
  readonly protectedChanges: readonly ProtectedPlan[];
  /** Releases that it brings, and what they would be locked to. */
  readonly releases: readonly ReleasePlan[];
  readonly findings: readonly Finding[];
  /** Earliest moment after `asOf` at which time alone could change something; null if none. */
  readonly nextChangeAt: string | null;
};

/** withdraw: a request that waits is taken back, and what runs keeps running. redeploy: the same release with other configuration, or once more. nothing: it runs already. */
export type PromotionEffect = 'deploy' | 'redeploy' | 'rollback' | 'remove' | 'extend' | 'withdraw' | 'nothing' | 'unplannable';

/** What the merge would do in one environment to one application. */
export type PromotionPlan = {
  readonly environment: string;
  readonly application: string;
  readonly effect: PromotionEffect;
  readonly release: Change<string>;
  readonly lock: Change<Digest>;
  readonly components: readonly ComponentChange[];
  /** Those that reach targets, rendered ones included. */
  readonly files: readonly FileChange[];
  readonly variables: readonly ({ readonly name: string } & Change<string>)[];
  /** References only. */
  readonly secrets: readonly ({ readonly name: string } & Change<string>)[];
  readonly targets: TargetChange;
  /** Workflow and its steps in order, as words: `rolling: deploy, health-check`; null where there is no plan. */
  readonly strategy: string | null;
  /** What somebody should know of the release's history: `1.5.0 lacks commits of 1.4.1`. */
  readonly notes: readonly string[];
  readonly promotionDigest: Digest | null;
  /** null where nothing is due. */
  readonly decision: Decision | null;
  readonly lines: readonly ExplainLine[];
  /** When time alone could let it pass; null where it passes now, or where somebody has to act. */
  readonly couldPassAt: string | null;
};

/** `from` runs or is in force now; `to` would. null: none. */
export type Change<T> = { readonly from: T | null; readonly to: T | null };
export type ComponentChange = { readonly name: string; readonly change: ChangeKind } & Change<ComponentVersion>;
export type ComponentVersion = { readonly tag: string | null; readonly digest: Digest };
export type ChangeKind = 'added' | 'removed' | 'changed' | 'unchanged';
export type FileChange = { readonly path: string; readonly change: ChangeKind; /** Unified lines, null where it is no text, is too long, or does not differ. */ readonly diff: string | null } & Change<Digest>;
export type TargetChange = { readonly all: readonly string[]; readonly added: readonly string[]; readonly removed: readonly string[] };

/** A Release that the candidate adds, changes or deletes. */
export type ReleasePlan = {
  /** `<application>/<version>`. */
  readonly name: string;
  readonly change: Exclude<ChangeKind, 'unchanged'>;
  /** null where it cannot be locked, or goes. */
  readonly lock: Digest | null;
  readonly components: readonly ({ readonly name: string } & ComponentVersion)[];
};

/** A protected change that the candidate brings: in force → new, and what it needs (T15). */
export type ProtectedPlan = {
  /** Change digest that approvals name; null where it cannot be approved as it stands. */
  readonly digest: Digest | null;
  readonly kind: string;
  readonly name: string;
  readonly change: Exclude<ChangeKind, 'unchanged'>;
  readonly diff: string | null;
  /** `2 people (1 security)`. */
  readonly quorum: string;
  readonly approvedBy: readonly string[];
  readonly couldApprove: readonly string[];
  readonly command: string | null;
  /** Whether it would come into force with the merge. */
  readonly isMet: boolean;
  /** Why it would not, where more is wrong than that people are missing. */
  readonly why: string | null;
};
