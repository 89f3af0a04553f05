import { compareReleases } from '../release/versions.ts';
import type { AppState, LeftRelease, LogState, OpenRun } from './log-state.ts';
import type { DeploymentOutcomePredicate } from './records.ts';

/** Releases that are remembered at most. Part of rule set 1. */
const LEFT_RELEASES = 100;

/**
 * Which releases automatic promotion leaves alone after a run: those that failed here, and those that somebody left for an older one or for nothing, until they succeed
 * here after all. Something newer that runs meanwhile may be gone back from, and then they would come again.
 */
export function leftAfter(locks: LogState['locks'], app: AppState, run: OpenRun, result: DeploymentOutcomePredicate['result']): readonly LeftRelease[] {
  if (result === 'Aborted') return app.left;
  if (result !== 'Succeeded') return run.operation === 'promote' && run.lock !== app.lock ? remember(locks, app, run) : app.left;
  const isBack = app.release !== null && (run.release === null || compare(locks, app, app.release, run.release) > 0);
  return (isBack ? remember(locks, app, app) : app.left).filter((other) => other.lock !== run.lock);
}

function remember(locks: LogState['locks'], app: AppState, { release, lock }: Pick<OpenRun, 'release' | 'lock'>): readonly LeftRelease[] {
  if (release === null || lock === null) return app.left;
  const all = [...app.left.filter((other) => other.lock !== lock), { release, lock }];
  // The newest first; of too many the oldest are forgotten, which are the last that would be wanted.
  return all.sort((a, b) => compare(locks, app, b.release, a.release)).slice(0, LEFT_RELEASES);
}

function compare(locks: LogState['locks'], { application }: AppState, a: string, b: string): number {
  const of = (release: string): { readonly release: string; readonly seq: number } => ({ release, seq: locks.get(`${application}/${release}`)?.seq ?? 0 });
  return compareReleases(of(a), of(b));
}
