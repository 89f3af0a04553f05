import { documentKey, isProtected, KINDS, type DocumentKey, type DocumentOf, type Kind } from '../core/model/documents.ts';
import { parseInstant, type InstantMs } from '../core/model/instant.ts';
import { splitPair } from '../core/model/names.ts';
import { asksAbout } from '../core/decision/gate-facts.ts';
import { automaticPlaces } from '../core/decision/automatic.ts';
import { documentsOf, type DesiredState } from '../core/desired/desired-state.ts';
import { stateKey, type LogState } from '../core/evidence/log-state.ts';
import type { EvidenceRecord } from '../core/evidence/records.ts';
import type { Loaded } from './declarations.ts';
import { hidesDocuments } from './derive-promotion.ts';

/**
 * What has to be looked at, gathered until a pass has dealt with it. The cost of a pass follows what changed, not what
 * exists; a pass that fails leaves everything on the agenda.
 */
export class Agenda {
  /** Document keys that changed at the tip since the last pass that succeeded. */
  readonly changedKeys = new Set<DocumentKey>();
  /** `<environment>/<application>` to decide. */
  readonly subjects = new Set<string>();
  /** Releases to lock. */
  readonly releases = new Set<DocumentKey>();
  /** Whether protected documents have to be compared with what is in force. */
  policy = true;
  readonly #byApplication = new Map<string, Set<string>>();
  readonly #byOverride = new Map<string, string>();
  /** Places where the policy in force wants a release by itself, by application. */
  readonly #automatic = new Map<string, Set<string>>();
  /** Whether the tip has a file that may hold a Promotion of which nobody can tell where. */
  #isUnclear = false;
  readonly #due = new Map<string, InstantMs>();

  /** Everything, after a start. */
  addEverything(desired: DesiredState, state: LogState): void {
    for (const entry of documentsOf(desired, 'Promotion')) this.#addSubject(entry.document.metadata.name);
    for (const [key] of state.states.entries()) this.#addSubject(key);
    this.addAutomatic(state);
    for (const entry of documentsOf(desired, 'Release')) this.releases.add(entry.key);
    for (const entry of documentsOf(desired, 'Configuration')) this.#noteOverride(entry.document as unknown as DocumentOf<'Configuration'>);
    for (const entry of documentsOf(desired, 'Approval')) this.changedKeys.add(entry.key);
    this.policy = true;
  }

  /** What is automatic by the policy in force: looked at now, and from now on whenever what it follows from changes. */
  addAutomatic(state: LogState): void {
    this.#automatic.clear();
    for (const { environment, application } of automaticPlaces(state)) {
      const name = stateKey(environment, application);
      this.#addSubject(name);
      this.#automatic.set(application, (this.#automatic.get(application) ?? new Set()).add(name));
    }
  }

  /** What a new tip changed. */
  addLoaded(loaded: Loaded): void {
    for (const key of loaded.changedKeys) {
      this.changedKeys.add(key);
      this.#addKey(key, loaded.state);
    }
    // Whose approvals count for a new root is said by that root: those that lie there already are looked at again.
    if (loaded.changedKeys.some((key) => key.startsWith('TrustRoot/'))) for (const entry of documentsOf(loaded.state, 'Approval')) this.changedKeys.add(entry.key);
    const isUnclear = hidesDocuments(loaded.state);
    if (isUnclear !== this.#isUnclear) for (const places of this.#automatic.values()) for (const subject of places) this.subjects.add(subject);
    this.#isUnclear = isUnclear;
    for (const path of loaded.changedPaths) {
      const subject = this.#byOverride.get(path);
      if (subject !== undefined) this.subjects.add(subject);
    }
  }

  #addKey(key: DocumentKey, desired: DesiredState): void {
    const slash = key.indexOf('/');
    const kind = key.slice(0, slash) as Kind;
    const name = key.slice(slash + 1);
    if (!KINDS.includes(kind)) return;
    if (isProtected(kind)) this.policy = true;
    if (kind === 'Release') {
      this.releases.add(key);
      for (const subject of this.#automatic.get(splitPair(name)[0]) ?? []) this.subjects.add(subject);
    }
    if (kind === 'Promotion' || kind === 'Configuration') this.#addSubject(name);
    if (kind === 'Configuration') {
      const entry = desired.usable.Configuration.get(documentKey('Configuration', name));
      if (entry !== undefined) this.#noteOverride(entry.document as unknown as DocumentOf<'Configuration'>);
    }
  }

  #noteOverride(configuration: DocumentOf<'Configuration'>): void {
    if (configuration.spec.override !== undefined) this.#byOverride.set(configuration.spec.override, configuration.metadata.name);
  }

  #addSubject(name: string): void {
    this.subjects.add(name);
    const [, application] = splitPair(name);
    const known = this.#byApplication.get(application) ?? new Set();
    this.#byApplication.set(application, known.add(name));
  }

  /** What records of a batch make worth deciding again. */
  addRecord(record: EvidenceRecord, state: LogState): void {
    if (record.type === 'protected-change') this.#addAll();
    if (record.type === 'observation' && record.predicate.type === 'approval') {
      if (record.predicate.approves.type === 'change') this.policy = true;
      if (record.predicate.subject !== null) this.subjects.add(stateKey(record.predicate.subject.environment, record.predicate.subject.application));
    }
    if (record.type === 'review') this.subjects.add(stateKey(record.predicate.environment, record.predicate.application));
    if (record.type === 'release-lock') this.#addApplication(record.predicate.application);
    if (record.type === 'deployment-outcome') {
      this.#addApplication(record.predicate.application);
      this.#addMoved(state, record.predicate);
    }
  }

  /** Promotions that a gate makes wait for what runs at `moved`, or for its run to end. */
  #addMoved(state: LogState, moved: { readonly environment: string; readonly application: string }): void {
    const asks = asksAbout(state, moved);
    if (asks === null) return;
    for (const subjects of this.#byApplication.values()) {
      for (const subject of subjects) {
        const [environment, application] = splitPair(subject);
        if (asks({ environment, application })) this.subjects.add(subject);
      }
    }
  }

  #addAll(): void {
    for (const subjects of this.#byApplication.values()) for (const subject of subjects) this.subjects.add(subject);
  }

  #addApplication(application: string): void {
    for (const subject of this.#byApplication.get(application) ?? []) this.subjects.add(subject);
  }

  /** Subjects whose decision can change by time alone at `now`. */
  addDue(now: InstantMs): void {
    for (const [subject, at] of this.#due) if (at <= now) this.subjects.add(subject);
  }

  /** Reads from the state when the decided subjects change by time next. */
  schedule(state: LogState, subjects: Iterable<string>): void {
    for (const subject of subjects) {
      const app = state.states.get(subject);
      const last = app?.lastDecision;
      const run = app?.openRun;
      const times = [run?.fallen === false ? run.notAfter : null, last?.outcome === 'allow' || last?.ended === true ? null : (last?.nextChangeAt ?? null)];
      const due = Math.min(...times.map((at) => (at === null ? null : parseInstant(at)) ?? Number.POSITIVE_INFINITY));
      if (due === Number.POSITIVE_INFINITY) this.#due.delete(subject);
      else this.#due.set(subject, due);
    }
  }

  /** When the next of them is due. */
  nextDue(): InstantMs | null {
    let next: InstantMs | null = null;
    for (const at of this.#due.values()) if (next === null || at < next) next = at;
    return next;
  }

  /** A pass has dealt with everything; `retry` comes back. */
  done(retry: { readonly releases: Iterable<DocumentKey> }): void {
    this.changedKeys.clear();
    this.subjects.clear();
    this.releases.clear();
    this.policy = false;
    for (const key of retry.releases) this.releases.add(key);
  }
}
