import type { OpenPgpVerifier } from '../core/commit/openpgp.ts';
import type { CommitId } from '../core/model/commit-id.ts';
import type { Digest } from '../core/model/digest.ts';
import { documentDigest, type DocumentKey } from '../core/model/documents.ts';
import { parseInstant } from '../core/model/instant.ts';
import { documentsOf } from '../core/desired/desired-state.ts';
import { parseEnvelope } from '../core/evidence/dsse.ts';
import { initialState, rootOf, type LogState } from '../core/evidence/log-state.ts';
import type { DocumentParser } from '../ports/document-parser.ts';
import type { EvidenceBranch } from '../ports/evidence-writer.ts';
import type { GitReader } from '../ports/git-reader.ts';
import type { GitRemote } from '../ports/git-remote.ts';
import type { Ledger } from '../ports/ledger.ts';
import type { Signers } from '../ports/signing.ts';
import { Agenda } from './agenda.ts';
import { applyChanges, applyStopsAlone, findChangeCommits, type ChangeCommit, type SeenTip } from './apply-changes.ts';
import { isSettled, readStopBranches, STOP_BRANCHES, type Offered, type StopBranch } from './apply-stops.ts';
import { ArtifactCache } from './artifact-cache.ts';
import { BarrenBranches } from './barren-branches.ts';
import { CandidateApprovals } from './candidate-approvals.ts';
import { Conditions, type ConditionReason } from './conditions.ts';
import { Declarations, type Loaded } from './declarations.ts';
import { decideSubjects } from './decide-subjects.ts';
import type { RunExecutor } from './execute-runs.ts';
import { FETCHED, fetchRefs, listEvidenceTip, Stalled } from './fetch-refs.ts';
import { findGenesis, recordGenesis } from './genesis.ts';
import { lockReleases, pollTags } from './lock-releases.ts';
import type { LogBatch } from './log-batch.ts';
import { regressionOf, type LogMemory } from './log-memory.ts';
import { LogWriter } from './log-writer.ts';
import { LoopGuard } from './loop-guard.ts';
import { LOOP_MESSAGE, withoutSuspects } from './loop-suspects.ts';
import { approvalsInCommits, readNewCommits, type NewCommit } from './new-commits.ts';
import { LogMirror, mirrorRecord } from './mirror-log.ts';
import { APPROVAL_BRANCHES, approvalsOnTip, observeApprovals, readApprovalBranches, type ApprovalBranch } from './observe-approvals.ts';
import type { Notifications } from './notify.ts';
import type { Pass, ResolveRegistry } from './pass.ts';
import { acceptRewrite, findRewound, isHere, reachOf, rewoundMessage, untouchedReleases, type Rewound } from './rewrites.ts';
import { evidenceCommitKeys } from './own-keys.ts';
import { readEvidence, type RecordStep } from './read-evidence.ts';
import { equivocationAt } from './root-proposal.ts';
import { reportDeclarations } from './report-declarations.ts';
import { settleReviews } from './settle-reviews.ts';
import { RegistryBackOff } from './registry-back-off.ts';
import type { Snapshot } from './snapshot.ts';
import { TouchingCommits } from './touching-commits.ts';

export type ReconcilerParts = {
  readonly reader: GitReader;
  readonly remote: GitRemote;
  /** Where the evidence branch lives: the same mirror, or one of its own. */
  readonly evidence: { readonly reader: GitReader; readonly remote: GitRemote; readonly branch: EvidenceBranch };
  readonly parser: DocumentParser;
  readonly openPgp: OpenPgpVerifier;
  readonly registry: ResolveRegistry;
  readonly signers: Signers;
  readonly ledger: Ledger | null;
  readonly executor: Pick<RunExecutor, 'sync' | 'takeFinished' | 'needsRenewal'> | null;
  readonly now: () => Date;
  readonly engineVersion: string;
  /** Full name of the branch with the declarations. */
  readonly targetRef: string;
  /** Patterns of candidate refs whose approvals are harvested, each with one star: `refs/pull/<star>/head`. */
  readonly candidateRefs?: readonly string[];
  /** Log id, pinned out of band (T13). */
  readonly pin: Digest;
  /** Whether a missing log may be begun (T30). */
  readonly createLog: boolean;
  readonly author: { readonly name: string; readonly email: string };
  readonly tagPollSeconds: number;
  /** Tells people of what has changed; absent where nobody is told. */
  readonly notifications?: Pick<Notifications, 'note' | 'watch'>;
  /** Told of each record once it is pushed. */
  readonly onRecord?: (step: { readonly record: RecordStep['record']; readonly envelope: Uint8Array }) => void;
};

export type PassReport = {
  /** Places that are written about no more (`LoopGuard`). */
  readonly suspects: readonly string[];
  readonly ok: boolean;
  readonly tip: CommitId | null;
  readonly records: number;
  readonly fault: { readonly code: string; readonly message: string } | null;
};

type ChangeCommits = { readonly upTo: CommitId; readonly found: readonly ChangeCommit[] };

/**
 * Reconciles one repository: fetch, verify, load, resolve, decide, record, execute, record (DESIGN §2). One pass at a time;
 * each begins from what is pushed, so it may be stopped at any moment and begun again.
 */
export class Reconciler {
  readonly #parts: ReconcilerParts;
  readonly #declarations: Declarations;
  readonly #touching: TouchingCommits;
  readonly #artifacts: ArtifactCache;
  readonly #agenda = new Agenda();
  readonly #mirror: LogMirror | null;
  readonly #registries: RegistryBackOff;
  readonly conditions = new Conditions();
  #writer: LogWriter | null = null;
  #loaded: Loaded | null = null;
  #snapshot: Snapshot | null = null;
  #changeCommits: ChangeCommits | null = null;
  readonly #barren = new BarrenBranches();
  readonly #barrenStops = new BarrenBranches();
  readonly #candidates: CandidateApprovals;
  /** Tips that the log had recorded when it was read. */
  #recordedTips: readonly SeenTip[] = [];
  readonly #guard = new LoopGuard();
  #tagsPolledAt = 0;
  #wasRewound = false;
  #strangers = 0;

  constructor(parts: ReconcilerParts) {
    this.#parts = parts;
    this.#declarations = new Declarations(parts.reader, parts.parser);
    this.#touching = new TouchingCommits(parts.reader, parts.parser);
    this.#registries = new RegistryBackOff(parts.registry, parts.now);
    this.#artifacts = new ArtifactCache(parts.evidence.reader);
    this.#candidates = new CandidateApprovals(parts);
    this.#mirror = parts.ledger === null ? null : new LogMirror(parts.ledger);
  }

  /** The log's state as far as it is pushed; null before the first pass that could read it. */
  get state(): LogState | null {
    return this.#writer?.state ?? null;
  }

  get artifacts(): ArtifactCache {
    return this.#artifacts;
  }

  get evidenceTip(): CommitId | null {
    return this.#writer?.tip ?? null;
  }

  /** What the last pass left that came to its end, as one value; null before the first. Proposals are planned against it, beside passes. */
  get snapshot(): Snapshot | null {
    return this.#snapshot;
  }

  /** Places that are written about no more, because nothing from outside explains what was written last. */
  get suspects(): readonly string[] {
    return this.#guard.suspects;
  }

  /** Candidates by nobody we know, since the start. */
  get strangers(): number {
    return this.#strangers;
  }

  /** When something can change by time alone, as milliseconds since 1970; null if nothing can. */
  nextDue(): number | null {
    const times = [this.#agenda.nextDue(), this.#registries.nextDue()].filter((at) => at !== null);
    return times.length === 0 ? null : Math.min(...times);
  }

  /** One reconcile. Never throws: what went wrong is a condition of the repository and in the report. */
  async pass(): Promise<PassReport> {
    const report = await this.#tryPass();
    await this.#parts.notifications?.watch(this.conditions).catch(() => undefined);
    // The pass that stalls has not come as far as the mirror. Where that is away too, the condition stays to be written by the next pass.
    await this.#mirror?.flushConditions(this.conditions, this.#parts.now().toISOString()).catch(() => undefined);
    return report;
  }

  async #tryPass(): Promise<PassReport> {
    const before = this.#writer?.state.size ?? 0;
    try {
      const rewound = await this.#reconcile();
      // T25: what the rewrite does not touch went on; the branch itself is not followed.
      if (rewound !== null) throw new Stalled('Rewound', rewound);
      this.conditions.stalled('Repository', 'declarations', null);
      return { ok: true, suspects: this.suspects, tip: this.#loaded?.tip ?? null, records: (this.#writer?.state.size ?? 0) - before, fault: null };
    } catch (cause) {
      const reason: ConditionReason = cause instanceof Stalled ? cause.reason : codeOf(cause) === 'DiskFull' ? 'DiskFull' : codeOf(cause) === 'StorageUnavailable' ? 'StorageUnavailable' : 'InternalError';
      const message = cause instanceof Error ? cause.message : String(cause);
      this.conditions.stalled('Repository', 'declarations', { reason, message });
      return { ok: false, suspects: this.suspects, tip: this.#loaded?.tip ?? null, records: (this.#writer?.state.size ?? 0) - before, fault: { code: cause instanceof Stalled ? reason : codeOf(cause), message } };
    }
  }

  /** @returns why the branch is not followed, null when it is */
  async #reconcile(): Promise<string | null> {
    const fetched = await fetchRefs(this.#parts, this.#writer);
    const writer = this.#writer ?? (await this.#openLog(fetched));
    if (writer.isUnsure) await this.#settle(writer);
    await this.#recordOutcomes(writer);
    const { reader, targetRef } = this.#parts;
    const rewound = await findRewound(reader, writer.state, targetRef, fetched);
    if (rewound !== null && !(await isHere(reader, rewound.rewrite.from))) return this.#awaitAcceptance(writer, rewound);
    const tip = rewound?.rewrite.from ?? fetched;
    const loaded = await this.#load(writer, tip, rewound);
    const frozen = rewound === null ? null : { ...rewound, reach: await reachOf(this.#parts, writer.state, loaded.state, rewound.rewrite) };
    const branches = await this.#approvalBranches(writer);
    const stops = await this.#stopBranches(writer);
    const batch = writer.begin({ commit: tip, at: this.#parts.now() });
    const pass = this.#passOf(writer, batch, loaded, { tip, frozen });
    const { again, changeCommits } = await this.#runSteps(pass, branches, stops);
    const missing = frozen === null ? null : await acceptRewrite(pass, reader, frozen);
    await this.#publish(writer, batch);
    // What was not pushed was not observed: its time would not be that of the record.
    this.#changeCommits = changeCommits;
    this.#candidates.settled();
    if (changeCommits !== null) this.#recordedTips = [];
    this.#agenda.schedule(writer.state, this.#agenda.subjects);
    this.#agenda.done({ releases: again });
    // Looked at again by each pass, and decided about once something new has come.
    for (const place of this.#guard.suspects) this.#agenda.subjects.add(place);
    this.#snapshot = { state: writer.state, desired: loaded.state, tip, targetRef, evidenceTip: writer.tip };
    await this.#follow(writer, loaded);
    await this.#removeHarvested(branches, stops, writer.state);
    return frozen === null || missing === null ? null : rewoundMessage(frozen, missing);
  }

  /** The objects of the last tip are gone: nothing can be compared, so nothing goes on but the acceptance itself (T25). */
  async #awaitAcceptance(writer: LogWriter, rewound: Rewound): Promise<string | null> {
    const branches = await this.#approvalBranches(writer);
    const batch = writer.begin({ commit: rewound.rewrite.from, at: this.#parts.now() });
    this.#strangers += observeApprovals({ batch }, branches.flatMap((b) => b.documents));
    const frozen = { ...rewound, reach: await reachOf(this.#parts, writer.state, null, rewound.rewrite) };
    const missing = await acceptRewrite({ batch, artifacts: this.#artifacts, evidenceTip: writer.tip }, this.#parts.reader, frozen);
    await this.#publish(writer, batch);
    return missing === null ? null : rewoundMessage(frozen, missing);
  }

  async #runSteps(pass: Pass, branches: readonly ApprovalBranch[], stops: readonly StopBranch[]): Promise<{ readonly again: readonly DocumentKey[]; readonly changeCommits: ChangeCommits | null }> {
    const { batch, tip, targetRef, conditions } = pass;
    if (batch.state.tip?.commit !== tip) batch.add({ type: 'observation', predicate: { type: 'tip', ref: targetRef, commit: tip } });
    // T25: while nobody can tell what a rewrite means for the rules, no rule changes and nothing is locked.
    const stands = pass.frozen?.reach.everything != null;
    const commits = stands ? [] : await readNewCommits(pass, this.#changeCommits === null ? batch.state.genesisTip : this.#changeCommits.upTo);
    const brought = await this.#candidates.read(tip, this.#keysOf(batch.state));
    const documents = [...approvalsOnTip(pass), ...(await approvalsInCommits(pass, commits)), ...[...branches, ...stops].flatMap((b) => b.documents), ...brought];
    const offered = new Map(stops.flatMap((b) => [...b.offered]));
    const seen = batch.records.length;
    this.#strangers += observeApprovals(pass, documents);
    this.#note(batch, seen);
    if (stands && (this.#agenda.policy || offered.size > 0)) await applyStopsAlone(pass, offered);
    const changeCommits = stands ? this.#changeCommits : await this.#judgeChanges(pass, commits, offered);
    const again = stands ? [...this.#agenda.releases] : await lockReleases(pass, untouchedReleases(this.#agenda.releases, pass.frozen));
    if (pass.pollTags && !stands) await pollTags(pass);
    await settleReviews(pass);
    this.#note(batch, seen);
    this.#agenda.addDue(parseInstant(batch.asOf) ?? 0);
    for (const subject of this.#parts.executor?.needsRenewal() ?? []) this.#agenda.subjects.add(subject);
    await decideSubjects(pass, withoutSuspects(pass, this.#guard, this.#agenda.subjects));
    reportDeclarations(pass, conditions);
    return { again, changeCommits };
  }

  #note(batch: LogBatch, from: number): void {
    const added = batch.records.slice(from);
    for (const { record } of added) this.#agenda.addRecord(record, batch.state);
    if (added.some(({ record }) => record.type === 'protected-change')) this.#agenda.addAutomatic(batch.state);
  }

  async #judgeChanges(pass: Pass, commits: readonly NewCommit[], offered: Offered): Promise<ChangeCommits> {
    const { state, asOf } = pass.batch;
    const known = this.#changeCommits;
    const tip: SeenTip = { commit: pass.tip, observedAt: state.tip?.observedAt ?? asOf };
    const added = await findChangeCommits(pass, commits, known === null ? [...this.#recordedTips, tip] : [tip]);
    const found = [...(known?.found ?? []), ...added];
    if (this.#agenda.policy || added.length > 0 || offered.size > 0) await applyChanges(pass, found, offered);
    return { upTo: pass.tip, found };
  }

  #passOf(writer: LogWriter, batch: LogBatch, loaded: Loaded, { tip, frozen }: Pick<Pass, 'tip' | 'frozen'>): Pass {
    const { reader, parser, targetRef, tagPollSeconds, now } = this.#parts;
    const isPollDue = now().getTime() - this.#tagsPolledAt >= tagPollSeconds * 1000;
    if (isPollDue) this.#tagsPolledAt = now().getTime();
    return {
      tip, frozen, targetRef, batch, reader, parser, registry: this.#registries.resolverOf, artifacts: this.#artifacts, evidenceTip: writer.tip, touching: this.#touching, conditions: this.conditions, guard: this.#guard, pollTags: isPollDue,
      loaded: { ...loaded, changedKeys: [...this.#agenda.changedKeys] },
    };
  }

  async #settle(writer: LogWriter): Promise<void> {
    const settled = await writer.settle();
    if (!settled.ok && writer.isUnsure) throw new Stalled(settled.code === 'ForeignEvidence' ? 'ForeignEvidence' : 'PushFailed', settled.message);
  }

  /** Reads and verifies the log that is there, or begins it where that was asked for. */
  async #openLog(tip: CommitId): Promise<LogWriter> {
    const { evidence, pin, createLog, signers, author, engineVersion, now, targetRef } = this.#parts;
    const { reader, remote, branch } = evidence;
    const there = await listEvidenceTip(evidence);
    const parts = { remote, branch, signers, artifacts: this.#artifacts, openPgp: this.#parts.openPgp, author, engineVersion };
    if (there !== null) return this.#readLog(parts, there);
    if (!createLog) throw new Stalled('LogMissing', `there is no evidence branch ${branch.ref}; a new log is begun with: stella serve --create-log`);
    const regressed = await regressionOf(reader, await this.#memory(), null);
    if (regressed !== null) throw new Stalled('LogMissing', `the evidence branch ${branch.ref} is gone: ${regressed}; restore it from a clone`);
    const loaded = await this.#declarations.load(tip);
    const genesis = findGenesis(loaded.state, pin);
    if ('code' in genesis) throw new Stalled('GenesisMismatch', genesis.message);
    this.#loaded = loaded;
    this.#agenda.addEverything(loaded.state, initialState(genesis.root, pin));
    const local = await reader.resolveRef(branch.ref);
    // A first commit that was never pushed is no evidence.
    if (local !== null) await branch.moveTo(local, null);
    const writer = new LogWriter(parts, initialState(genesis.root, pin), null);
    const batch = writer.begin({ commit: tip, at: now() });
    recordGenesis(batch, { ref: targetRef, commit: tip }, genesis.documents);
    await this.#publish(writer, batch);
    this.#agenda.addAutomatic(writer.state);
    this.#writer = writer;
    return writer;
  }

  async #memory(): Promise<LogMemory> {
    const { evidence, ledger } = this.#parts;
    const { reader, branch } = evidence;
    return { local: await reader.resolveRef(branch.ref), fetched: await reader.resolveRef(FETCHED.evidence), mirrored: ledger === null ? null : await ledger.tip() };
  }

  async #readLog(parts: ConstructorParameters<typeof LogWriter>[0], there: CommitId): Promise<LogWriter> {
    const { evidence, pin } = this.#parts;
    const memory = await this.#memory();
    const fetched = await evidence.remote.fetch([`+${evidence.branch.ref}:${FETCHED.evidence}`]);
    if (!fetched.ok) throw new Stalled('FetchFailed', fetched.message);
    const steps: RecordStep[] = [];
    const read = await readEvidence({ reader: evidence.reader, openPgp: this.#parts.openPgp }, there, pin, (step) => { steps.push(step); });
    if (!read.ok) throw new Stalled(read.fault.code === 'RootMissing' || read.fault.code === 'GenesisNotPinned' ? 'GenesisMismatch' : 'ForeignEvidence', `${read.fault.code}: ${read.fault.message}`);
    if (evidenceCommitKeys(rootOf(read.state)).size === 0) throw new Stalled('ForeignEvidence', 'the root lists no key for evidence commits');
    const regressed = await regressionOf(evidence.reader, memory, { tip: there, digestOf: (seq) => steps[seq]?.record.digest });
    if (regressed !== null) throw new Stalled('ForeignEvidence', `the evidence branch ${evidence.branch.ref} was cut back: ${regressed}; restore it from a clone`);
    // What is not pushed is no evidence: the local branch follows the remote.
    if (memory.local !== there) await evidence.branch.moveTo(memory.local, there);
    for (const { record, envelope } of steps) this.#parts.onRecord?.({ record, envelope });
    this.#recordedTips = tipsSinceRewrite(steps);
    await this.#catchUpMirror(steps, read.artifacts);
    this.#writer = new LogWriter(parts, read.state, there);
    return this.#writer;
  }

  /** Records that Postgres missed, after a crash between push and write. */
  async #catchUpMirror(steps: readonly RecordStep[], artifacts: ReadonlyMap<Digest, Uint8Array>): Promise<void> {
    const { ledger } = this.#parts;
    if (ledger === null || this.#mirror === null) return;
    const known = (await ledger.tip())?.seq ?? -1;
    this.#mirror.seed(steps.filter((s) => s.record.header.seq <= known).map((s) => s.record), (digest) => artifacts.get(digest));
    const missing = steps.filter((s) => s.record.header.seq > known);
    if (missing.length === 0) return;
    this.#parts.notifications?.note(missing, (digest) => artifacts.get(digest));
    this.#mirror.add(missing.map((s) => mirrorRecord(s.record, s.envelope, payloadOf(s.envelope))), [...artifacts].map(([digest, bytes]) => ({ digest, bytes })));
  }

  async #load(writer: LogWriter, tip: CommitId, rewound: Rewound | null): Promise<Loaded> {
    const isRewritten = writer.state.lastRewrite !== null && writer.state.lastRewrite.seq > (writer.state.tip?.seq ?? -1);
    // Commits of the history that was left no longer speak, and what they brought is observed anew.
    if (isRewritten && rewound === null) [this.#changeCommits, this.#recordedTips] = [null, []];
    // What stood still is looked at again, however the rewrite ended.
    const isFirst = this.#loaded === null || isRewritten || (this.#wasRewound && rewound === null);
    this.#wasRewound = rewound !== null;
    const loaded = await this.#declarations.load(tip);
    if (isFirst) this.#agenda.addEverything(loaded.state, writer.state);
    if (this.#loaded !== null) this.#agenda.addLoaded(loaded);
    this.#mirror?.touchReleases(loaded.changedKeys.filter((key) => key.startsWith('Release/')).map((key) => key.slice('Release/'.length)));
    this.#loaded = loaded;
    // T16: two roots of one version: somebody is shown another root than others, or is meant to be. Nothing goes on until one is withdrawn; what changed stays on the agenda.
    const equivocation = equivocationAt(loaded.state, writer.state);
    if (equivocation !== null) throw new Stalled('RootEquivocation', equivocation);
    return loaded;
  }

  async #approvalBranches(writer: LogWriter): Promise<readonly ApprovalBranch[]> {
    const { reader, parser } = this.#parts;
    const refs = await reader.listRefs(FETCHED.approvals);
    const branches = refs.map((r) => ({ ref: APPROVAL_BRANCHES + r.name.slice(FETCHED.approvals.length), commit: r.id as CommitId }));
    const fresh = this.#barren.worthReading(branches, this.#keysOf(writer.state));
    return fresh.length === 0 ? [] : readApprovalBranches(reader, parser, fresh);
  }

  /** Changes when somebody's keys do: what was nobody's word may be somebody's then. */
  #keysOf(state: LogState): string {
    const roots = this.#loaded === null ? [] : documentsOf(this.#loaded.state, 'TrustRoot').map((entry) => entry.digest);
    return [state.inForceDigests.principals, ...roots].join(' ');
  }

  /** Stops may wait for whatever is in force: for a role, or for the place that they stop. */
  async #stopBranches(writer: LogWriter): Promise<readonly StopBranch[]> {
    const { reader, parser } = this.#parts;
    const refs = await reader.listRefs(FETCHED.stops);
    const branches = refs.map((r) => ({ ref: STOP_BRANCHES + r.name.slice(FETCHED.stops.length), commit: r.id as CommitId }));
    const fresh = this.#barrenStops.worthReading(branches, Object.values(writer.state.inForceDigests).join(' '));
    return fresh.length === 0 ? [] : readStopBranches(reader, parser, fresh);
  }

  async #recordOutcomes(writer: LogWriter): Promise<void> {
    const finished = this.#parts.executor?.takeFinished() ?? [];
    const tip = writer.state.tip?.commit;
    if (finished.length === 0 || tip === undefined) return;
    const batch = writer.begin({ commit: tip, at: this.#parts.now() });
    for (const { predicate, receipts } of finished) {
      const app = writer.state.states.get(`${predicate.environment}/${predicate.application}`);
      if (app?.openRun?.promotionDigest !== predicate.promotionDigest) continue;
      for (const receipt of receipts) batch.artifact(receipt);
      batch.add({ type: 'deployment-outcome', predicate });
    }
    this.#note(batch, 0);
    await this.#publish(writer, batch);
  }

  async #publish(writer: LogWriter, batch: LogBatch): Promise<void> {
    if (batch.isEmpty) return;
    const records = batch.records.map(({ record }) => record);
    if (this.#guard.refuses(records)) throw new Stalled('LoopSuspected', LOOP_MESSAGE);
    const published = await writer.publish(batch, this.#parts.now());
    if (!published.ok) throw new Stalled(published.code === 'ForeignEvidence' ? 'ForeignEvidence' : 'PushFailed', published.message);
    this.#guard.note(records);
    this.#parts.notifications?.note(batch.records, batch.lookup);
    for (const { record, envelope } of batch.records) this.#parts.onRecord?.({ record, envelope });
    this.#mirror?.add(
      batch.records.map((r) => mirrorRecord(r.record, r.envelope, r.payload)),
      [...batch.artifacts].map(([digest, bytes]) => ({ digest, bytes })),
    );
  }

  /** Postgres and the executor follow the log. While Postgres is away nothing executes. */
  async #follow(writer: LogWriter, loaded: Loaded): Promise<void> {
    const evidenceTip = writer.tip;
    if (evidenceTip === null) return;
    // Before the mirror has them: a record that is there was told.
    await this.#parts.notifications?.watch(this.conditions);
    await this.#mirror?.flush({ state: writer.state, desired: loaded.state, conditions: this.conditions, evidenceTip, at: this.#parts.now().toISOString() });
    await this.#parts.executor?.sync(writer.state);
  }

  /** A branch whose approvals are all in the log has done its work; one with stops, once they are in force or can never be. */
  async #removeHarvested(branches: readonly ApprovalBranch[], stops: readonly StopBranch[], state: LogState): Promise<void> {
    if (branches.length === 0 && stops.length === 0) return;
    const archived = new Set([...state.approvals.values()].map((a) => a.document));
    for (const { ref, commit, documents } of branches) {
      if (documents.length > 0 && documents.every((d) => archived.has(documentDigest(d)))) await this.#parts.remote.deleteRef(ref, commit);
      else this.#barren.add({ ref, commit });
    }
    for (const stop of stops) {
      const isHarvested = stop.documents.length > 0 && stop.documents.every((d) => archived.has(documentDigest(d)));
      if (isHarvested && isSettled(state, stop)) await this.#parts.remote.deleteRef(stop.ref, stop.commit);
      else this.#barrenStops.add(stop);
    }
  }
}

/** Tips that descend from each other, oldest first: those after the last rewrite that was accepted. */
function tipsSinceRewrite(steps: readonly RecordStep[]): readonly SeenTip[] {
  const last = steps.findLastIndex(({ record }) => record.type === 'anchor');
  return steps.slice(last + 1).flatMap(({ record: { header, ...body } }) => (body.type === 'observation' && body.predicate.type === 'tip' ? [{ commit: body.predicate.commit, observedAt: header.asOf }] : []));
}

function codeOf(cause: unknown): string {
  const code = (cause as { code?: unknown } | null)?.code;
  return typeof code === 'string' ? code : 'InternalError';
}

function payloadOf(envelope: Uint8Array): Uint8Array {
  const parsed = parseEnvelope(envelope);
  return parsed.ok ? parsed.envelope.payload : new Uint8Array();
}
