import { parseCanonicalJson, type JsonObject } from '../core/model/canonical-json.ts';
import type { CommitId } from '../core/model/commit-id.ts';
import type { Digest } from '../core/model/digest.ts';
import { documentKey, type DocumentOf, type Kind } from '../core/model/documents.ts';
import { splitPair } from '../core/model/names.ts';
import type { DecisionInput } from '../core/decision/types.ts';
import type { DesiredState } from '../core/desired/desired-state.ts';
import { rootOf, type AppState, type LogState } from '../core/evidence/log-state.ts';
import type { EvidenceRecord, PromotionDecisionPredicate } from '../core/evidence/records.ts';
import type { Ledger, MirrorArtifact, MirrorRecord, Projection, PromotionRow, ReleaseRow, ReleaseStatus, StateRow } from '../ports/ledger.ts';
import type { Conditions } from './conditions.ts';

/** Records as the mirror takes them. @param envelope raw file @param payload the signed statement */
export function mirrorRecord(record: EvidenceRecord, envelope: Uint8Array, payload: Uint8Array): MirrorRecord {
  return { record, envelope, statement: parseCanonicalJson(payload) as JsonObject };
}

/** The next write to Postgres, gathered until it succeeds: Git is ahead, Postgres follows. */
export class LogMirror {
  readonly #ledger: Ledger;
  #records: MirrorRecord[] = [];
  readonly #artifacts = new Map<Digest, Uint8Array>();
  readonly #states = new Set<string>();
  readonly #releases = new Set<string>();
  readonly #promotions = new Map<string, PromotionRow>();
  /** The newest decision of each subject that opened a run, also after it was written: its run ends later. */
  readonly #latest = new Map<string, PromotionRow>();
  /** Releases that were ever decided about, by application: their status follows what is deployed. */
  readonly #released = new Map<string, Set<string>>();
  #documents = false;
  readonly #gone = new Map<string, { kind: Kind; name: string }>();
  #complete = true;

  constructor(ledger: Ledger) {
    this.#ledger = ledger;
  }

  /** Whether something is not in Postgres yet. */
  get isBehind(): boolean {
    return this.#complete || this.#records.length > 0;
  }

  add(records: readonly MirrorRecord[], artifacts: Iterable<MirrorArtifact>): void {
    this.#records.push(...records);
    for (const { digest, bytes } of artifacts) this.#artifacts.set(digest, bytes);
    for (const { record } of records) this.#note(record);
  }

  #note(record: EvidenceRecord): void {
    switch (record.type) {
      case 'observation':
      case 'anchor':
      case 'review':
        return;
      case 'protected-change':
        this.#documents = true;
        for (const { kind, name, to } of record.predicate.changes) {
          if (to === null) this.#gone.set(documentKey(kind, name), { kind, name });
          else this.#gone.delete(documentKey(kind, name));
        }
        return;
      case 'release-lock':
        this.#releases.add(`${record.predicate.application}/${record.predicate.release}`);
        return;
      case 'promotion-decision':
        return this.#noteDecision(record, record.predicate);
      case 'deployment-outcome': {
        const { environment, application, generation, operation, result } = record.predicate;
        this.#states.add(`${environment}/${application}`);
        this.#addReleasesOf(application);
        const known = this.#latest.get(`${environment}/${application}`);
        if (known?.generation === generation && operation !== 'extend') this.#keep({ ...known, result, outcomeSeq: record.header.seq });
      }
    }
  }

  #addReleasesOf(application: string): void {
    for (const release of this.#released.get(application) ?? []) this.#releases.add(release);
  }

  #keep(row: PromotionRow): void {
    this.#follow(row);
    this.#promotions.set(promotionKey(row), row);
  }

  /** What waits for an open run does not take its place: the outcome is the run's. */
  #follow(row: PromotionRow): void {
    const key = `${row.environment}/${row.application}`;
    const known = this.#latest.get(key);
    if (known === undefined || row.outcome === 'allow' || promotionKey(known) === promotionKey(row)) this.#latest.set(key, row);
  }

  /** Decisions that Postgres has already, after a start: their runs may end yet. @param artifact inputs of the decisions */
  seed(records: Iterable<EvidenceRecord>, artifact: (digest: Digest) => Uint8Array | undefined): void {
    for (const record of records) {
      if (record.type !== 'promotion-decision' || record.predicate.operation === 'extend') continue;
      this.#follow(rowOf(record, record.predicate, artifact(record.predicate.input)));
      this.#noteRelease(record.predicate);
    }
  }

  #noteRelease({ application, release }: PromotionDecisionPredicate): void {
    if (release === null) return;
    const known = this.#released.get(application) ?? new Set();
    this.#released.set(application, known.add(`${application}/${release}`));
  }

  #noteDecision(record: EvidenceRecord, p: PromotionDecisionPredicate): void {
    this.#states.add(`${p.environment}/${p.application}`);
    this.#noteRelease(p);
    this.#addReleasesOf(p.application);
    // The promotion of this generation has its row, and how it ended there stays.
    if (p.operation !== 'extend') this.#keep(rowOf(record, p, this.#artifacts.get(p.input)));
  }

  /** Names of releases whose documents changed. */
  touchReleases(names: Iterable<string>): void {
    for (const name of names) this.#releases.add(name);
  }

  /** Writes what has gathered. @throws StorageError; then everything stays for the next time */
  async flush(p: { readonly state: LogState; readonly desired: DesiredState; readonly conditions: Conditions; readonly evidenceTip: CommitId; readonly at: string }): Promise<void> {
    const { state } = p;
    if (this.#records.length > 0) await this.#ledger.append(this.#records, [...this.#artifacts].map(([digest, bytes]) => ({ digest, bytes })));
    const states = this.#complete ? [...state.states.entries()].map(([key]) => key) : [...this.#states];
    const known = [...p.desired.usable.Release.values()].map((e) => e.document.metadata.name);
    const releases = this.#complete ? [...new Set([...known, ...[...state.locks.entries()].map(([name]) => name)])] : [...this.#releases];
    const changes = p.conditions.changes();
    const projection: Projection = {
      // What another process left and nobody says any more goes with the first write.
      asOf: p.at, complete: this.#complete,
      releases: { set: releases.flatMap((name) => releaseRow(state, p.desired, name, p.at)) },
      states: { set: states.flatMap((key) => { const app = state.states.get(key); return app === undefined ? [] : [stateRow(app)]; }) },
      promotions: { set: [...this.#promotions.values()] },
      ...(this.#documents || this.#complete ? { documents: { ...documentRows(state, p.at), remove: [...this.#gone.values()] } } : {}),
      conditions: this.#complete ? { set: p.conditions.all() } : changes,
    };
    await this.#ledger.project(projection);
    p.conditions.clearChanges(changes);
    const { head, tip } = state;
    if (head !== null && tip !== null) {
      const root = rootOf(state);
      await this.#ledger.remember({
        seq: state.size - 1, digest: head, evidenceCommit: p.evidenceTip, targetTip: tip.commit, rootVersion: root.spec.version, rootDigest: state.inForceDigests.root, rememberedAt: p.at,
      });
    }
    this.#clear();
  }

  /** Writes what has changed in conditions alone: a pass that cannot go on must not stay unseen. @throws StorageError; then it stays for the next time */
  async flushConditions(conditions: Conditions, at: string): Promise<void> {
    const changes = conditions.changes();
    if (changes.set.length === 0 && changes.remove.length === 0) return;
    await this.#ledger.project({ asOf: at, complete: false, conditions: changes });
    conditions.clearChanges(changes);
  }

  #clear(): void {
    this.#records = [];
    this.#artifacts.clear();
    this.#states.clear();
    this.#releases.clear();
    this.#promotions.clear();
    this.#documents = false;
    this.#gone.clear();
    this.#complete = false;
  }
}

function rowOf(record: EvidenceRecord, p: PromotionDecisionPredicate, inputBytes: Uint8Array | undefined): PromotionRow {
  const input = inputBytes === undefined ? undefined : (parseCanonicalJson(inputBytes) as DecisionInput | undefined);
  return {
    environment: p.environment, application: p.application, documentDigest: p.sources.promotionDocument, generation: p.decision.generation, operation: p.operation,
    release: p.release, lockDigest: p.lock, planDigest: p.sources.plan, promotionDigest: p.decision.promotionDigest, outcome: p.decision.outcome, reasons: p.decision.reasons,
    gates: p.decision.gates, requesters: input?.requesters ?? { people: [], unknown: 0 }, requestedAt: p.requestedAt, decidedAt: p.decidedAt, decisionSeq: record.header.seq,
    decisionDigest: record.digest, notAfter: p.decision.notAfter, nextChangeAt: p.decision.nextChangeAt, result: null, outcomeSeq: null,
  };
}

function promotionKey(row: PromotionRow): string {
  return `${row.environment}/${row.application}/${row.documentDigest}/${row.generation}`;
}

function stateRow(app: AppState): StateRow {
  const status = app.openRun !== null ? 'deploying' : app.lock === null ? (app.generation === 0 ? 'empty' : app.clean ? 'removed' : 'failed') : app.clean ? (app.standing?.generation === app.generation ? 'deployed' : 'rolled-back') : 'failed';
  return {
    environment: app.environment, application: app.application, release: app.release, generation: app.generation, lockDigest: app.lock, runsDigest: app.runs, clean: app.clean, status,
    deployedAt: app.succeededAt, deployedBy: [], promotionDigest: app.openRun?.promotionDigest ?? null, evidenceSeq: app.lastOutcome?.seq ?? app.lastDecision?.seq ?? null,
  };
}

function releaseRow(state: LogState, desired: DesiredState, name: string, at: string): readonly ReleaseRow[] {
  const document = desired.usable.Release.get(documentKey('Release', name))?.document as unknown as DocumentOf<'Release'> | undefined;
  const entry = state.locks.get(name);
  if (document === undefined && entry === undefined) return [];
  const [application, version] = splitPair(name);
  const tags = document?.spec.components ?? {};
  return [{
    name, application, version, displayName: document?.spec.displayName ?? null,
    components: entry?.lock.components.map((c) => ({ ...c, tag: tags[c.name]?.tag ?? null })) ?? [],
    sourceRef: (entry?.lock.source ?? null) as JsonObject | null, metadata: document?.spec.metadata ?? {}, deprecatedReason: document?.spec.deprecated?.reason ?? null,
    status: statusOf(state, document, application, version, entry !== undefined), releaseSpecDigest: entry?.releaseSpec ?? null, lockDigest: entry?.digest ?? null, lockSeq: entry?.seq ?? null,
    lockedAt: entry?.lockedAt ?? null, createdAt: entry?.lockedAt ?? at, createdBy: [],
  }];
}

/** Status is derived, never declared (DESIGN §3). */
function statusOf(state: LogState, document: DocumentOf<'Release'> | undefined, application: string, version: string, locked: boolean): ReleaseStatus {
  if (document === undefined) return 'archived';
  if (document.spec.deprecated !== undefined) return 'deprecated';
  if (!locked) return 'draft';
  let deployed = false;
  for (const app of state.states.values()) {
    if (app.application !== application) continue;
    if (app.openRun?.release === version) return 'promoting';
    if (app.release === version) deployed = true;
  }
  return deployed ? 'deployed' : 'ready';
}

function documentRows(state: LogState, at: string): NonNullable<Projection['documents']> {
  return {
    set: [...state.inForce.values()].map((e) => ({
      kind: e.kind, name: e.name, count: state.counts.get(documentKey(e.kind, e.name)) ?? 0, digest: e.digest, document: e.document as unknown as JsonObject, seq: Math.max(e.seq, 0), inForceSince: at,
    })),
  };
}

