import type { Json } from '../model/canonical-json.ts';
import { renderYaml } from '../release/render-yaml.ts';
import { lockPath, statePath } from './layout.ts';
import { appStateOf, type AppState, type LockEntry, type LogState } from './log-state.ts';
import type { EvidenceRecord } from './records.ts';

export type ProjectionFile = { readonly path: string; readonly bytes: Uint8Array };

/**
 * The files for readers that one record changes: a lock file, or the state of one environment and application. A pure
 * function of the state after the record, so that `verify` can tell whether the tree is the projection of its records (T30).
 */
export function projectionOf(state: LogState, record: EvidenceRecord): readonly ProjectionFile[] {
  if (record.type === 'release-lock') {
    const entry = state.locks.get(`${record.predicate.application}/${record.predicate.release}`);
    return entry === undefined ? [] : [lockFile(entry, record.predicate.tags)];
  }
  if (record.type === 'promotion-decision' || record.type === 'deployment-outcome') {
    return [stateFile(appStateOf(state, record.predicate.environment, record.predicate.application))];
  }
  return [];
}

function file(path: string, value: Json): ProjectionFile {
  return { path, bytes: new TextEncoder().encode(renderYaml(value)) };
}

function lockFile(entry: LockEntry, tags: readonly { readonly component: string; readonly tag: string | null }[]): ProjectionFile {
  const { lock } = entry;
  const components = lock.components.map((c) => ({
    name: c.name, image: `${c.repository}@${c.digest}`, tag: tags.find((t) => t.component === c.name)?.tag ?? null,
  }));
  return file(lockPath(lock.application, lock.release), {
    application: lock.application, release: lock.release, lock: entry.digest, lockedAt: entry.lockedAt, record: entry.seq, components,
    files: lock.snapshot.files.map((f) => ({ path: f.path, digest: f.digest })),
  });
}

function stateFile(app: AppState): ProjectionFile {
  const { lastDecision, lastOutcome, openRun } = app;
  return file(statePath(app.environment, app.application), {
    environment: app.environment, application: app.application, generation: app.generation, release: app.release, lock: app.lock, clean: app.clean,
    succeededAt: app.succeededAt,
    running: openRun === null ? null : { release: openRun.release, generation: openRun.generation, decision: openRun.decision.seq, notAfter: openRun.notAfter },
    lastDecision: lastDecision === null ? null : { record: lastDecision.seq, release: lastDecision.release, outcome: lastDecision.outcome, decidedAt: lastDecision.decidedAt },
    lastOutcome: lastOutcome === null ? null : { record: lastOutcome.seq, generation: lastOutcome.generation, result: lastOutcome.result, reason: lastOutcome.reason, endedAt: lastOutcome.endedAt },
  });
}
