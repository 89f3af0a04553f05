import type { Json, JsonObject } from './canonical-json.ts';
import { digestOf, type Digest, type Preimage } from './digest.ts';
import { compareText } from './names.ts';
import { requestOf, type ApplicationSpec, type BreakGlass, type Deployment, type DocumentOf, type Kind, type ProtectedChange, type ReleaseSpec, type Rewrite, type StepSpec } from './documents.ts';

/**
 * Every preimage that is signed or digested (TRUST "Words"). Members are complete: what is not there is null, never left
 * out, and lists are sorted, so that one meaning has one digest. Schemas: `schemas/preimages/`. Golden vectors: `test/fixtures/vectors/`.
 */

export type DocumentRef = { readonly kind: Kind; readonly name: string; readonly digest: Digest };

const byKindAndName = (a: { kind: string; name: string }, b: { kind: string; name: string }): number =>
  compareText(a.kind, b.kind) || compareText(a.name, b.name);

/** The first protected documents, which the genesis root names by one digest. */
export function genesisDocumentsDigest(documents: readonly DocumentRef[]): Digest {
  const sorted = [...documents].sort(byKindAndName).map(({ kind, name, digest }) => ({ kind, name, digest }));
  return digestOf({ type: 'stella/genesis-documents/v1', documents: sorted });
}

/** Digest of a set of documents in force, for the header of records. */
export function inForceDigest(documents: readonly DocumentRef[]): Digest {
  const sorted = [...documents].sort(byKindAndName).map(({ kind, name, digest }) => ({ kind, name, digest }));
  return digestOf({ type: 'stella/in-force/v1', documents: sorted });
}

/** A file that reaches targets as it is, at the same path. `mode` is 420 (0644) or 493 (0755). */
export type FileRef = { readonly path: string; readonly digest: Digest; readonly mode: number };
export type LockComponent = { readonly name: string; readonly repository: string; readonly registry: string; readonly digest: Digest; readonly tag: string | null };

/** The application as it was when the release was locked; promoted and rolled back with the images. */
export type Snapshot = { readonly components: readonly string[]; readonly deployment: Deployment; readonly files: readonly FileRef[] };
export function snapshotOf(application: ApplicationSpec, files: readonly FileRef[]): Snapshot {
  return {
    components: [...application.components].sort(compareText),
    deployment: application.deployment,
    files: [...files].sort((a, b) => compareText(a.path, b.path)),
  };
}

/** What a release is once it is locked. `tag` is what was asked for and is not part of the identity. */
export type Lock = {
  readonly type: 'stella/lock/v1';
  readonly logId: Digest;
  readonly application: string;
  readonly release: string;
  readonly components: readonly { readonly name: string; readonly repository: string; readonly registry: string; readonly digest: Digest }[];
  readonly source: Json;
  readonly snapshot: Snapshot;
};

/** @param components in any order; their tags are left out of the preimage. */
export function lockOf(p: { logId: Digest; application: string; release: string; components: readonly LockComponent[]; source: ReleaseSpec['source'] | null; snapshot: Snapshot }): Lock {
  const s = p.source ?? null;
  return {
    type: 'stella/lock/v1', logId: p.logId, application: p.application, release: p.release,
    components: [...p.components].sort((a, b) => compareText(a.name, b.name)).map(({ name, repository, registry, digest }) => ({ name, repository, registry, digest })),
    source: s === null ? null : { repository: s.repository ?? null, commit: s.commit ?? null, branch: s.branch ?? null, build: s.build ?? null },
    snapshot: p.snapshot,
  };
}

/** Digest of a Release without its mutable fields (displayName, metadata, deprecated). */
export function releaseSpecDigest(release: DocumentOf<'Release'>): Digest {
  return specDigest(release.metadata.name, identityOf(release.spec));
}

/** What a Release says but for its mutable fields. */
export type ReleaseIdentity = Omit<ReleaseSpec, 'displayName' | 'metadata' | 'deprecated'>;

export function identityOf({ displayName: _d, metadata: _m, deprecated: _x, ...identity }: ReleaseSpec): ReleaseIdentity {
  return identity;
}

/** @param name `<application>/<version>` */
export function specDigest(name: string, spec: ReleaseIdentity): Digest {
  return digestOf({ type: 'stella/release-spec/v1', name, spec: spec as unknown as JsonObject });
}

/** extend: a target put in force later gets what its environment already runs, under the approvals that stand behind it. */
export type Operation = 'promote' | 'extend' | 'remove';
export type PlanTarget = { readonly name: string; readonly type: string; readonly agent: string; readonly connection: JsonObject };
/** What would run: depends on lock, Configuration and names only. Secrets stay references. */
export type Runs = {
  readonly type: 'stella/runs/v1';
  readonly environment: string;
  readonly application: string;
  readonly release: string;
  readonly lock: Digest;
  readonly deployment: JsonObject;
  readonly components: readonly { readonly name: string; readonly repository: string; readonly registry: string; readonly digest: Digest }[];
  readonly artifacts: readonly FileRef[];
  readonly files: readonly FileRef[];
  readonly variables: { readonly [name: string]: string };
  readonly secrets: { readonly [name: string]: string };
};
export type Plan = {
  readonly type: 'stella/plan/v1';
  /** break-glass: a promotion in an emergency (T27). */
  readonly operation: Operation | 'break-glass';
  /** null unless the glass is broken. */
  readonly breakGlass: BreakGlass | null;
  /** null for a removal. */
  readonly runs: Runs | null;
  readonly workflow: { readonly name: string; readonly steps: readonly StepSpec[]; readonly onFailure: 'hold' | 'fall-back' };
  readonly targets: readonly PlanTarget[];
};

/** One demand on approvals. Clauses are never merged, so nothing below weakens what stands above (T17). */
export type Clause = {
  readonly origin: 'root' | 'environment' | 'target' | 'application';
  readonly name: string;
  readonly people: number;
  readonly roles: readonly { readonly role: string; readonly count: number }[];
  readonly authorNeverApproves: boolean;
  readonly unknownRequester: 'deny' | 'one-more';
};

/** What an approval of a promotion approves. */
export type PromotionPreimage = {
  readonly type: 'stella/promotion/v1';
  readonly logId: Digest;
  readonly tenant: string;
  readonly environment: string;
  readonly application: string;
  /** Generation and lock that it replaces. */
  readonly generation: number;
  readonly replaces: Digest | null;
  /** What runs before, to the last variable: exactly this is fallen back to, so it is approved beforehand (T28). */
  readonly replacesRuns: Digest | null;
  readonly lock: Digest | null;
  readonly plan: Digest;
  readonly rules: readonly Clause[];
};

export function intentDigest(p: { logId: Digest; promotion: DocumentOf<'Promotion'>; releaseSpec: Digest | null }): Digest {
  return digestOf(intentPreimage(p));
}
/** What a requester signs in namespace `stella-intent`: the request, without a hold on it. */
export function intentPreimage(p: { logId: Digest; promotion: DocumentOf<'Promotion'>; releaseSpec: Digest | null }): Preimage {
  return { type: 'stella/intent/v1', logId: p.logId, promotion: requestOf(p.promotion) as unknown as JsonObject, releaseSpec: p.releaseSpec };
}

export function changeDigest(logId: Digest, changes: readonly ProtectedChange[]): Digest {
  const sorted = [...changes].sort(byKindAndName).map(({ kind, name, count, from, to }) => ({ kind, name, count, from, to }));
  return digestOf({ type: 'stella/change/v1', logId, changes: sorted });
}

/** What an approval of a rewrite approves (T25). */
export function rewriteDigest(logId: Digest, { ref, from, to }: Rewrite): Digest {
  return digestOf({ type: 'stella/rewrite/v1', logId, ref, from, to });
}

/** fall-back: what the promotion digest names as replaced; health-check: look whether what was deployed still runs and is well. */
export type OrderOperation = Operation | 'fall-back' | 'health-check';

/** What an agent is told to do; everything else in its bundle proves it. */
export type Order = {
  readonly type: 'stella/order/v1';
  /** sha256 of the allow's envelope file. */
  readonly decision: Digest;
  readonly operation: OrderOperation;
  readonly target: string;
  /** Counts the orders of one run to this target, from 1. */
  readonly try: number;
};

/** Digest of any of the preimages above. */
export function preimageDigest(value: Lock | Runs | Plan | PromotionPreimage | Order): Digest {
  return digestOf(value as unknown as Preimage);
}

