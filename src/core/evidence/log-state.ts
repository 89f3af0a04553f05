import { BucketMap } from '../model/bucket-map.ts';
import type { CommitId } from '../model/commit-id.ts';
import type { Digest } from '../model/digest.ts';
import { documentKey, type AnyDocument, type DocumentOf, type Kind, type Rewrite } from '../model/documents.ts';
import type { OpenPgpCertificate } from '../model/openpgp-key.ts';
import { inForceDigest, type Lock, type Operation } from '../model/preimages.ts';
import type { TargetFailure } from './failures.ts';
import type { DecisionSources, Derived, DeploymentOutcomePredicate, Observation, ProtectedChangePredicate } from './records.ts';
import type { Decision, GateResult } from '../decision/types.ts';

/**
 * What the log says, folded over its records (TRUST "State", "In force"). Immutable: a batch is built on a copy and
 * kept only once it is pushed. Nothing here is written by anybody but the fold.
 */
export type LogState = {
  readonly logId: Digest;
  readonly tenant: string;
  readonly size: number;
  readonly head: Digest | null;
  /** `asOf` of the last record. */
  readonly asOf: string | null;
  readonly inForce: BucketMap<InForce>;
  /** How many changes of each document were ever in force, by document key; also of deleted ones. */
  readonly counts: BucketMap<number>;
  /** OpenPGP certificates that documents in force name or once named, by fingerprint of the primary key: merged, never replaced (T9). */
  readonly certificates: BucketMap<OpenPgpCertificate>;
  readonly inForceDigests: { readonly root: Digest; readonly principals: Digest; readonly policy: Digest };
  readonly genesisTip: CommitId | null;
  readonly tip: { readonly ref: string; readonly commit: CommitId; readonly observedAt: string; readonly seq: number; /** The tip before it. */ readonly before: CommitId | null } | null;
  /** Observed approvals by digest of their artifact: the document with the one signature that counted. */
  readonly approvals: BucketMap<ObservedApproval>;
  /** `<document>/<fingerprint>` of every observed approval: one is observed once, in whatever wrapping it comes again (T7). */
  readonly approvalKeys: BucketMap<Digest>;
  /** Artifacts of the approvals that name a change digest. */
  readonly changeApprovals: BucketMap<readonly Digest[]>;
  /** Artifacts of the approvals that name the digest of a rewrite, until it is accepted: no approval serves twice. */
  readonly rewriteApprovals: BucketMap<readonly Digest[]>;
  /** Artifacts of reviews, by the promotion digest of the broken glass. */
  readonly reviewApprovals: BucketMap<readonly Digest[]>;
  /** The last rewrite of the target branch that was accepted (T25). */
  readonly lastRewrite: (Rewrite & { readonly seq: number }) | null;
  /** Last observed digest by `<repository>:<tag>`. */
  readonly tags: BucketMap<{ readonly digest: Digest; readonly observedAt: string }>;
  /** By `<application>/<release>`. */
  readonly locks: BucketMap<LockEntry>;
  /** Locked releases by `<application>/<channel>`, the newest first (`compareReleases`). */
  readonly channels: BucketMap<readonly string[]>;
  /** By `<environment>/<application>`. */
  readonly states: BucketMap<AppState>;
  /** Where a run is open, by the same key: asked for by every gate that counts runs. */
  readonly openRuns: BucketMap<{ readonly environment: string; readonly application: string }>;
};

export type InForce = {
  readonly kind: Kind;
  readonly name: string;
  readonly digest: Digest;
  readonly document: AnyDocument;
  readonly seq: number;
  /** Tip at which it came into force; null for genesis. */
  readonly tip: CommitId | null;
  /** `asOf` of its record, null before the first; whose approvals brought it, sorted, and on which basis. For readers: nothing is judged by it. */
  readonly since: string | null;
  readonly by: readonly string[];
  readonly basis: ProtectedChangePredicate['basis'];
};
export type ObservedApproval = Extract<Observation, { type: 'approval' }> & { readonly observedAt: string; readonly seq: number };
export type LockEntry = { readonly lock: Lock; readonly digest: Digest; readonly releaseSpec: Digest; readonly seq: number; /** Tip at which it was locked: who wrote what it ships is in its history. */ readonly tip: CommitId; /** Tip before that one; null: none is known. */ readonly before: CommitId | null; readonly lockedAt: string; readonly channel: string | null; /** For whom a service wrote the Release, by a token that counted then. */ readonly onBehalfOf: LogOnBehalfOf };

/** The Integration by which it counted, issuer and subject as the issuer names them, and the token. */
export type LogOnBehalfOf = { readonly integration: string; readonly issuer: string; readonly subject: string; readonly token: Digest } | null;

/** What is deployed: the state that a promotion replaces. */
export type Deployed = {
  readonly generation: number;
  readonly release: string | null;
  readonly lock: Digest | null;
  readonly runs: Digest | null;
  readonly plan: Digest | null;
  readonly clean: boolean;
};
export type OpenRun = {
  readonly operation: Operation;
  readonly generation: number;
  readonly promotionDigest: Digest;
  /** The latest allow of this run. */
  readonly decision: { readonly seq: number; readonly digest: Digest };
  /** Record of the allow that opened it, and the tip it was decided at. */
  readonly openedSeq: number;
  readonly tip: CommitId;
  readonly promotion: Digest;
  readonly release: string | null;
  readonly attempt: number;
  readonly requestedAt: string;
  readonly lock: Digest | null;
  readonly runs: Digest | null;
  readonly plan: Digest;
  readonly intents: readonly Digest[];
  readonly notAfter: string;
  /** Until when it may fall back by itself (T28). */
  readonly rollbackUntil: string;
  /** Canonical input of the latest allow, its relevant digest, and what it was made from. */
  readonly input: Digest;
  readonly relevant: Digest;
  readonly sources: DecisionSources;
  /** Where its plan puts it. */
  readonly targets: readonly Place[];
  /** The allow has fallen: a later decision about the same document and plan is not an allow (T23). */
  readonly fallen: boolean;
};
/** A target as a plan had it: one that was edited since is another place. */
export type Place = { readonly target: string; /** Canonical JSON of the plan's target. */ readonly as: string };
/** What the agents of one target were told of a promotion. */
export type TargetMark = Place & { readonly succeeded: boolean; /** Number of the last order to a target of this name; an agent accepts only a higher one. */ readonly try: number };
/** The allow behind what runs here: its approvals carry the release to targets that come later (operation `extend`). */
export type Standing = {
  readonly promotionDigest: Digest;
  readonly generation: number;
  readonly plan: Digest;
  readonly input: Digest;
  readonly attempt: number;
  readonly sources: DecisionSources;
  /** Sorted by name. */
  readonly targets: readonly TargetMark[];
  /** What an extension failed on, until the attempt rises or a target changes (T22). */
  readonly closed: { readonly places: readonly string[]; readonly attempt: number } | null;
};
export type LastDecision = {
  readonly seq: number;
  readonly digest: Digest;
  /** Digest of the Promotion document, and of the artifact that holds it with its signatures. */
  readonly promotion: Digest;
  readonly promotionArtifact: Digest;
  /** What the promotion was derived from; null where somebody wrote it. */
  readonly derived: Derived | null;
  readonly plan: Digest | null;
  /** Superseded, withdrawn, or closed after its run: nothing more will be said of it. */
  readonly ended: boolean;
  readonly release: string | null;
  readonly operation: Operation;
  readonly relevant: Digest;
  readonly outcome: Decision['outcome'];
  /** Canonical input, from which the decision follows; and the gates that did not pass. */
  readonly input: Digest;
  readonly held: readonly GateResult[];
  readonly intents: readonly Digest[];
  readonly notAfter: string | null;
  readonly nextChangeAt: string | null;
  readonly requestedAt: string;
  readonly decidedAt: string;
};
/** A release that failed here or was left for an older one. */
export type LeftRelease = { readonly release: string; readonly lock: Digest };
/** A span of time in which one lock ran. */
export type Held = { readonly lock: Digest; readonly from: string; readonly until: string | null };
/** A promotion that broke the glass. Whoever took part asked for it or approved it, and cannot review it. */
export type Debt = { readonly promotionDigest: Digest; readonly seq: number; readonly release: string | null; readonly reason: string; readonly participants: readonly string[]; /** Of those who asked, how many nobody can tell: any reviewer may be one of them (T20). */ readonly unknown: number };
export type AppState = Deployed & {
  readonly environment: string;
  readonly application: string;
  readonly openRun: OpenRun | null;
  /** null where nothing runs. */
  readonly standing: Standing | null;
  /** What ended without success, until the attempt rises (T22). */
  readonly closed: { readonly operation: Operation; readonly lock: Digest | null; readonly runs: Digest | null; readonly attempt: number } | null;
  /** Releases that failed here or were left by going back, and did not succeed here since: automatic promotion leaves them alone. */
  readonly left: readonly LeftRelease[];
  /** When the present lock last succeeded. */
  readonly succeededAt: string | null;
  /** Records of the allow and of the outcome that made the present state; for readers. Null before the first success. */
  readonly deployedBy: { readonly allow: number; readonly outcome: number } | null;
  /** When which lock ran here in a clean state; the newest last, `until` null while it does. */
  readonly held: readonly Held[];
  /** What ran in a clean state before what runs now; null after going back to it (T28). */
  readonly previous: { readonly release: string; readonly lock: Digest; readonly runs: Digest; readonly replacedAt: string } | null;
  /** Broken glass that nobody has reviewed, oldest first (T27). */
  readonly debts: readonly Debt[];
  /** Tip of the last succeeded run's allow; requesters are looked for after it (T19). */
  readonly succeededTip: CommitId | null;
  readonly spentIntents: readonly Digest[];
  /** Artifacts of approvals that name this subject, observed since the last run that ended was allowed. */
  readonly approvals: readonly Digest[];
  readonly lastDecision: LastDecision | null;
  readonly lastOutcome: LastOutcome | null;
};

/** How the last run ended, and what it was. */
export type LastOutcome = Pick<DeploymentOutcomePredicate, 'operation' | 'generation' | 'result' | 'reason' | 'endedAt' | 'fallback'> & {
  readonly seq: number;
  /** Digest of the Promotion document of the run, and record of the allow that opened it. */
  readonly promotion: Digest;
  readonly openedSeq: number;
  readonly release: string | null;
  readonly attempt: number;
  readonly failures: readonly TargetFailure[];
};

/** The state before record 0: genesis is in force by the pin alone (T13). @param root the pinned genesis document */
export function initialState(root: DocumentOf<'TrustRoot'>, logId: Digest): LogState {
  const entry: InForce = { kind: 'TrustRoot', name: root.metadata.name, digest: logId, document: root, seq: -1, tip: null, since: null, by: [], basis: 'genesis' };
  return {
    logId, tenant: root.spec.tenant, size: 0, head: null, asOf: null,
    inForce: BucketMap.from([[documentKey('TrustRoot', root.metadata.name), entry]]),
    counts: BucketMap.empty(), certificates: BucketMap.empty(),
    inForceDigests: { root: logId, principals: inForceDigest([]), policy: inForceDigest([]) },
    genesisTip: null, tip: null,
    approvals: BucketMap.empty(), approvalKeys: BucketMap.empty(), changeApprovals: BucketMap.empty(), rewriteApprovals: BucketMap.empty(), reviewApprovals: BucketMap.empty(), lastRewrite: null, tags: BucketMap.empty(), locks: BucketMap.empty(), channels: BucketMap.empty(), states: BucketMap.empty(), openRuns: BucketMap.empty(),
  };
}

export function emptyAppState(environment: string, application: string): AppState {
  return {
    environment, application, generation: 0, release: null, lock: null, runs: null, plan: null, clean: true, openRun: null, standing: null, closed: null, left: [],
    succeededAt: null, deployedBy: null, held: [], previous: null, debts: [], succeededTip: null, spentIntents: [], approvals: [], lastDecision: null, lastOutcome: null,
  };
}

/** Key of `approvalKeys`. */
export function approvalKey(document: Digest, fingerprint: string): string {
  return `${document}/${fingerprint}`;
}

/** `<environment>/<application>`, the key of a state. */
export function stateKey(environment: string, application: string): string {
  return `${environment}/${application}`;
}

export function appStateOf(state: LogState, environment: string, application: string): AppState {
  return state.states.get(stateKey(environment, application)) ?? emptyAppState(environment, application);
}

/** The document of this kind and name in force, or null. */
export function inForceOf<K extends Kind>(state: LogState, kind: K, name: string): DocumentOf<K> | null {
  const entry = state.inForce.get(documentKey(kind, name));
  return entry === undefined ? null : (entry.document as unknown as DocumentOf<K>);
}

const kindOf = (entry: InForce): Kind => entry.kind;

/** All documents of one kind in force, sorted by name. Costs what there is of this kind: every decision asks for some kinds with few documents. */
export function allInForce<K extends Kind>(state: Pick<LogState, 'inForce'>, kind: K): readonly DocumentOf<K>[] {
  const found = (state.inForce.grouped(kindOf).get(kind) ?? []).map((entry) => entry.document as unknown as DocumentOf<K>);
  return found.sort((a, b) => (a.metadata.name < b.metadata.name ? -1 : 1));
}

/** The root in force. @throws Error when a state was built without one, which no caller can do through `initialState` */
export function rootOf(state: LogState): DocumentOf<'TrustRoot'> {
  const root = allInForce(state, 'TrustRoot')[0];
  if (root === undefined) throw new Error('a log state without a trust root');
  return root;
}
