import type { Digest } from '../model/digest.ts';
import type { BreakGlass, CalendarWindow, RoleCount, Skippable, WeeklyWindow } from '../model/documents.ts';
import type { ExpressionFacts } from '../model/expression.ts';
import type { Clause, Operation } from '../model/preimages.ts';
import type { RuleMode } from './clauses.ts';

/** A reason code is stable; its text is rendered by `explain`, never stored. */
export type ReasonCode =
  | 'Ok' | 'NotRequired' | 'ApprovalsMissing' | 'ApprovalsRejected' | 'RequesterUnknown' | 'Frozen' | 'ReleaseSuspended' | 'AgentSuspended' | 'Excepted' | 'SourceMissing' | 'SourceNotDeployed' | 'Soaking'
  | 'BreakGlassNotAllowed' | 'BreakGlassExpired' | 'Skipped' | 'ReviewMissing' | 'RunOpen' | 'Closed' | 'Superseded' | 'Withdrawn' | 'LockMissing' | 'PlanInvalid' | 'NothingToRemove' | 'InputInvalid'
  | 'OutsideWindow' | 'DependencyMissing' | 'TooManyRuns' | 'Held' | 'ExpressionFalse' | 'ExpressionFailed' | 'GateMissing';

/** Why an approval by a known principal does not count (T31). */
export type RejectCode =
  | 'OtherDigest' | 'Expired' | 'KeyNotActive' | 'KeyNotYetValid' | 'KeyExpired' | 'KeyCompromised' | 'PrincipalSuspended' | 'NotAPerson' | 'RoleMissing' | 'Requester' | 'Duplicate' | 'Consumed' | 'Withdrawn';

/** A verified approval or rejection of exactly this promotion digest, observed in the log. */
export type CountedApproval = {
  readonly principal: string;
  /** digest of the Approval document */
  readonly document: Digest;
  /** digest of the signed payload (T7) */
  readonly payload: Digest;
  readonly action: 'approve' | 'reject';
  readonly observedAt: string;
  readonly expires: string | null;
};
export type RejectedApproval = { readonly principal: string; readonly document: Digest; readonly code: RejectCode };

/** A person in force and the demanded roles they hold for this environment and application. */
export type Approver = { readonly principal: string; readonly roles: readonly string[] };

/** A stop in force that reaches this promotion (T24). */
export type FreezeFact = {
  /** Of the Freeze; `agent/<name>` for a suspended agent. */
  readonly name: string;
  readonly stops: 'place' | 'release' | 'agent';
  /** When it holds; null: as long as it is in force. */
  readonly calendar: { readonly windows: readonly CalendarWindow[]; readonly weekly: readonly WeeklyWindow[]; readonly exceptions: readonly CalendarWindow[] } | null;
  /** Who may let this promotion through; null: nobody. */
  readonly except: { readonly people: number; readonly roles: readonly RoleCount[] } | null;
  /** Documents of approvals that say that it may run in spite of it, sorted. */
  readonly excepts: readonly Digest[];
};

/** An application that must run before. */
export type DependencyFact = {
  readonly environment: string;
  readonly application: string;
  /** Exactly this version, or this one or a newer one; null: whichever. */
  readonly release: string | null;
  readonly atLeast: string | null;
  /** What runs there in a clean state; null for nothing. */
  readonly runs: string | null;
};

/** A Gate that environment or application names, as it is in force. */
export type GateFact = { readonly name: string } & (
  | { readonly type: 'window'; /** When it may run. */ readonly calendar: NonNullable<FreezeFact['calendar']> }
  | { readonly type: 'dependency'; /** Sorted. */ readonly on: readonly DependencyFact[] }
  /** `full`: as many runs are open as may be. A run that is open keeps its place, so for its own promotion it is false. */
  | { readonly type: 'concurrency'; readonly most: number; readonly full: boolean; /** Whose runs, as `<environment>/<application>`, sorted; for the reader, and no news when it changes. */ readonly busy: readonly string[] }
  | { readonly type: 'hold'; readonly reason: string }
  | { readonly type: 'expression'; readonly expression: string }
  /** Named, but not in force (T12). */
  | { readonly type: 'missing' }
);

export type SourceFact = {
  readonly environment: string;
  readonly soakSeconds: number;
  /** Since when this very lock runs there in a clean state, or since when it once did for long enough; null if neither. */
  readonly succeededAt: string | null;
};

/** The state the promotion would replace; while its own run is open, the state before that run. */
export type StateFacts = {
  readonly generation: number;
  readonly lock: Digest | null;
  readonly runs: Digest | null;
  readonly clean: boolean;
  /** Promotion digest of a run of another promotion that is open, else null. */
  readonly otherRunOpen: Digest | null;
  /** What ran in a clean state before this one, and when it was replaced: what a rollback goes back to (T28). */
  readonly previous: { readonly lock: Digest; readonly runs: Digest; readonly replacedAt: string } | null;
  /** A run of the same lock and runs digest ended without success at this attempt or a later one. */
  readonly closed: boolean;
};

/** One canonical JSON value with everything that a decision depends on. Lists are sorted; nothing is optional. */
export type DecisionInput = {
  readonly type: 'stella/decision-input/v1';
  readonly rules: 1;
  readonly logId: Digest;
  readonly tenant: string;
  readonly environment: string;
  readonly application: string;
  readonly operation: Operation;
  /** Release version; for a removal null. */
  readonly release: string | null;
  readonly attempt: number;
  /** Digest of the Promotion document; what an ended promotion was. */
  readonly promotion: Digest;
  /** What it was derived from; null where somebody wrote it. */
  readonly derived: { readonly from: 'environment' | 'channel'; readonly name: string } | null;
  /** Set when the document was replaced or deleted before its run. */
  readonly ended: 'Superseded' | 'Withdrawn' | null;
  readonly lock: Digest | null;
  readonly plan: Digest | null;
  readonly runs: Digest | null;
  /** null when there is no lock or no plan. */
  readonly promotionDigest: Digest | null;
  /** Why there is no lock or plan. */
  readonly problems: readonly { readonly code: 'LockMissing' | 'PlanInvalid' | 'NothingToRemove'; readonly detail: string }[];
  readonly state: StateFacts;
  /** By which rules the clauses came about. */
  readonly mode: RuleMode['type'];
  /** What the Promotion asks for in an emergency, and what documents in force let it (T27); null where it asks for nothing. */
  readonly breakGlass: (BreakGlass & { readonly allowed: { readonly skip: readonly Skippable[]; readonly withinSeconds: number } | null }) | null;
  /** Promotion digests of broken glass here that nobody has reviewed, sorted. */
  readonly debts: readonly Digest[];
  readonly clauses: readonly Clause[];
  readonly approvers: readonly Approver[];
  readonly requesters: { readonly people: readonly string[]; readonly unknown: number };
  readonly approvals: readonly CountedApproval[];
  readonly rejected: readonly RejectedApproval[];
  readonly freezes: readonly FreezeFact[];
  readonly sources: readonly SourceFact[];
  /** Gates that environment and application in force name, sorted by name. */
  readonly gates: readonly GateFact[];
  /** Why the Promotion itself says that it waits; null where it does not. */
  readonly hold: string | null;
  /** What expressions may ask about; null where no gate is an expression. */
  readonly about: ExpressionFacts | null;
  readonly allowSeconds: number;
  readonly fallBackSeconds: number;
  readonly asOf: string;
};

export type GateName = 'lock' | 'plan' | 'run' | 'approvals' | 'separation' | 'freeze' | 'source' | 'promotion' | 'break-glass' | 'review' | 'window' | 'dependency' | 'concurrency' | 'hold' | 'expression' | 'gate';
export type GateResult = {
  readonly gate: GateName;
  /** Which of several: a clause (`environment/prod`), a freeze, a source, a Gate. */
  readonly subject: string;
  readonly outcome: 'passed' | 'pending' | 'refused';
  readonly code: ReasonCode;
  /** Facts for the reader, sorted: people counted, missing roles, who could still approve. */
  readonly detail: { readonly [name: string]: string | number | readonly string[] };
  /** Earliest time at which this gate could pass without anything else changing; null if not by time. */
  readonly opensAt: string | null;
};

export type Decision = {
  readonly type: 'stella/decision/v1';
  readonly outcome: 'allow' | 'pending' | 'refuse';
  readonly promotionDigest: Digest | null;
  /** The generation that the run gets: one more than the state's. */
  readonly generation: number;
  readonly gates: readonly GateResult[];
  /** Codes of all gates that did not pass, sorted and unique; empty for allow. */
  readonly reasons: readonly ReasonCode[];
  /** Documents of the approvals that an allow consumes (T22), sorted. */
  readonly consumes: readonly Digest[];
  readonly notAfter: string | null;
  /** Until when a run of this allow may fall back by itself (T28). */
  readonly rollbackUntil: string | null;
  readonly nextChangeAt: string | null;
};
