import type { CommitId } from '../core/model/commit-id.ts';
import type { JsonObject } from '../core/model/canonical-json.ts';
import type { Digest } from '../core/model/digest.ts';
import type { ApprovalAction, Kind } from '../core/model/documents.ts';
import type { LockComponent, Operation } from '../core/model/preimages.ts';
import type { Uuid } from '../core/model/uuid.ts';
import type { Decision } from '../core/decision/types.ts';
import type { EvidenceRecord, RecordType } from '../core/evidence/records.ts';

/** A verified record with the bytes it came in. `statement` is the decoded payload of the envelope. */
export type MirrorRecord = { readonly record: EvidenceRecord; readonly statement: JsonObject; readonly envelope: Uint8Array };
export type MirrorArtifact = { readonly digest: Digest; readonly bytes: Uint8Array };

/** Where the log stood when its push was confirmed. */
export type LogHead = {
  readonly seq: number;
  readonly digest: Digest;
  readonly evidenceCommit: CommitId;
  readonly targetTip: CommitId;
  readonly rootVersion: number;
  readonly rootDigest: Digest;
  readonly rememberedAt: string;
};

export type ReleaseStatus = 'draft' | 'ready' | 'promoting' | 'deployed' | 'deprecated' | 'archived';
/** `name` is `<application>/<version>`. Times are RFC 3339 in UTC. */
export type ReleaseRow = {
  readonly name: string;
  readonly application: string;
  readonly version: string;
  readonly displayName: string | null;
  readonly components: readonly LockComponent[];
  readonly sourceRef: JsonObject | null;
  readonly metadata: { readonly [key: string]: string };
  readonly deprecatedReason: string | null;
  readonly status: ReleaseStatus;
  readonly releaseSpecDigest: Digest | null;
  readonly lockDigest: Digest | null;
  readonly lockSeq: number | null;
  readonly lockedAt: string | null;
  readonly createdAt: string;
  readonly createdBy: readonly string[];
};

export type StateRow = {
  readonly environment: string;
  readonly application: string;
  readonly release: string | null;
  readonly generation: number;
  readonly lockDigest: Digest | null;
  readonly runsDigest: Digest | null;
  readonly clean: boolean;
  readonly status: 'empty' | 'deploying' | 'deployed' | 'failed' | 'rolled-back' | 'removed';
  readonly deployedAt: string | null;
  readonly deployedBy: readonly string[];
  readonly promotionDigest: Digest | null;
  readonly evidenceSeq: number | null;
};

/** One Promotion document at one generation, with the latest decision about it. */
export type PromotionRow = {
  readonly environment: string;
  readonly application: string;
  readonly documentDigest: Digest;
  /** The generation that its run gets (`Decision.generation`). */
  readonly generation: number;
  readonly operation: Operation;
  readonly release: string | null;
  readonly lockDigest: Digest | null;
  readonly planDigest: Digest | null;
  readonly promotionDigest: Digest | null;
  readonly outcome: Decision['outcome'];
  readonly reasons: Decision['reasons'];
  readonly gates: Decision['gates'];
  readonly requesters: { readonly people: readonly string[]; readonly unknown: number };
  readonly requestedAt: string;
  readonly decidedAt: string;
  readonly decisionSeq: number;
  readonly decisionDigest: Digest;
  readonly notAfter: string | null;
  readonly nextChangeAt: string | null;
  readonly result: 'Succeeded' | 'Failed' | 'Errored' | 'Aborted' | null;
  readonly outcomeSeq: number | null;
};

/** A protected document in force, the root included. */
export type DocumentRow = {
  readonly kind: Kind;
  readonly name: string;
  readonly count: number;
  readonly digest: Digest;
  readonly document: JsonObject;
  readonly seq: number;
  readonly inForceSince: string;
};

export type Condition = {
  readonly kind: string;
  readonly name: string;
  readonly type: 'Ready' | 'Reconciling' | 'Stalled';
  readonly status: 'True' | 'False' | 'Unknown';
  readonly reason: string;
  readonly message: string;
  readonly file: string | null;
  readonly line: number | null;
};

/** Rows to write, and keys of rows that are no more. Both may be left out. */
export type Changes<Row, Key extends keyof Row> = { readonly set?: readonly Row[]; readonly remove?: readonly Pick<Row, Key>[] };

/** What changed since the last projection; the cost follows what is in it. */
export type Projection = {
  /** Becomes `since` of conditions whose status changes. RFC 3339. */
  readonly asOf: string;
  /** true: these are all rows there are, and others are removed (first reconcile, rebuild). Promotions are history and stay. */
  readonly complete: boolean;
  readonly releases?: Changes<ReleaseRow, 'name'>;
  readonly states?: Changes<StateRow, 'environment' | 'application'>;
  readonly promotions?: { readonly set?: readonly PromotionRow[] };
  readonly documents?: Changes<DocumentRow, 'kind' | 'name'>;
  readonly conditions?: Changes<Condition, 'kind' | 'name' | 'type'>;
};

/** `page` counts from 1; `pageSize` is cut to `limits.pageItems`. */
export type PageRequest = { readonly page?: number; readonly pageSize?: number };
export type Page<T> = { readonly items: readonly T[]; readonly total: number; readonly page: number; readonly pageSize: number };

export type Identified<Row> = Row & { readonly id: Uuid };
export type EnvironmentView = {
  readonly name: string;
  /** null: something runs there, but no such document is in force. */
  readonly order: number | null;
  readonly document: JsonObject | null;
  /** No rule of the environment or the root asks a person: what runs there rests on the server's word. */
  readonly reconcilerTrusted: boolean;
  readonly states: readonly Identified<StateRow>[];
};
export type ApprovalRow = {
  readonly seq: number;
  readonly documentDigest: Digest;
  readonly action: ApprovalAction;
  readonly principal: string;
  readonly fingerprint: string;
  readonly observedAt: string;
};
export type RecordView = {
  readonly seq: number;
  readonly digest: Digest;
  readonly prev: Digest | null;
  readonly type: RecordType;
  readonly predicateType: string;
  readonly asOf: string;
  readonly commit: CommitId;
  readonly statement: JsonObject;
};

/**
 * The mirror of one log and what is projected from it. Holds nothing that Git does not have, so losing it loses nothing.
 * Every method throws StorageError `StorageUnavailable` (retry) while Postgres is away; no call needs a restart afterwards.
 */
export interface Ledger {
  /**
   * Appends records in order, with the artifacts that they name, in one transaction; what is there already is skipped.
   * Observed approvals become rows of their own.
   * @returns how many records were new.
   * @throws StorageError `LedgerDiverged`: another record has this seq, or `prev` is not the record before. `LedgerGap`: earlier records are missing.
   */
  append(records: readonly MirrorRecord[], artifacts: readonly MirrorArtifact[]): Promise<number>;
  /** @throws StorageError `DigestImmutable` when a locked release or a document in force would get other content under its old identity. */
  project(projection: Projection): Promise<void>;
  /** Remembers a confirmed push. @throws StorageError `LogRewound` when log or root would go back (T16). */
  remember(head: LogHead): Promise<void>;
  /** The newest remembered head. */
  head(): Promise<LogHead | null>;
  /** The last mirrored record. */
  tip(): Promise<{ readonly seq: number; readonly digest: Digest } | null>;
}

/** What the faces read; newest first, or by name. */
export interface LedgerReader {
  releases(filter?: PageRequest & { readonly application?: string; readonly status?: ReleaseStatus }): Promise<Page<Identified<ReleaseRow>>>;
  /** @param nameOrId `<application>/<version>` or the id. */
  release(nameOrId: string): Promise<Identified<ReleaseRow> | null>;
  environments(): Promise<readonly EnvironmentView[]>;
  promotions(filter?: PageRequest & { readonly environment?: string; readonly application?: string }): Promise<Page<Identified<PromotionRow>>>;
  promotion(id: string): Promise<(Identified<PromotionRow> & { readonly approvals: readonly ApprovalRow[] }) | null>;
  documents(kind?: Kind): Promise<readonly DocumentRow[]>;
  conditions(): Promise<readonly (Condition & { readonly since: string })[]>;
  evidence(filter?: { readonly fromSeq?: number; readonly limit?: number; readonly type?: RecordType }): Promise<readonly RecordView[]>;
  record(seq: number): Promise<(RecordView & { readonly envelope: Uint8Array }) | null>;
  /** The bytes of a mirrored artifact; null when it is unknown or lies only on the evidence branch. */
  artifact(digest: Digest): Promise<Uint8Array | null>;
}
