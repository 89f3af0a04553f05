import { describe, expect, it } from 'vitest';
import { leftAfter } from '../../../src/core/evidence/left-releases.ts';
import { emptyAppState, type AppState, type LockEntry, type OpenRun } from '../../../src/core/evidence/log-state.ts';
import { BucketMap } from '../../../src/core/model/bucket-map.ts';
import { digestOfBytes } from '../../../src/core/model/digest.ts';

const VERSIONS = ['1.4', '1.5', '1.6', '1.7'];
const locks = BucketMap.from<LockEntry>(VERSIONS.map((release, seq) => [`shop/${release}`, { seq } as LockEntry]));
const lockOf = (release: string | null) => (release === null ? null : digestOfBytes(release));

/** What is left after these runs, of a version or of nothing, one after the other. */
function leftBy(...runs: readonly (readonly [release: string | null, result: 'Succeeded' | 'Failed' | 'Aborted'])[]): readonly string[] {
  let app: AppState = emptyAppState('prod', 'shop');
  for (const [release, result] of runs) {
    const run = { operation: release === null ? 'remove' : 'promote', release, lock: lockOf(release) } as OpenRun;
    const left = leftAfter(locks, app, run, result);
    app = { ...app, left, ...(result === 'Succeeded' ? { release, lock: lockOf(release) } : {}) };
  }
  return app.left.map(({ release }) => release);
}

describe('releases that automatic promotion leaves alone', () => {
  it('are those that failed, also once something newer ran that somebody went back from', () => {
    expect(leftBy(['1.4', 'Succeeded'], ['1.5', 'Failed'])).toEqual(['1.5']);
    expect(leftBy(['1.4', 'Succeeded'], ['1.5', 'Failed'], ['1.6', 'Succeeded'], ['1.4', 'Succeeded'])).toEqual(['1.6', '1.5']);
  });

  it('are those that somebody left for an older one or for nothing, and none that was replaced by a newer one', () => {
    expect(leftBy(['1.4', 'Succeeded'], ['1.5', 'Succeeded'], ['1.6', 'Succeeded'], ['1.4', 'Succeeded'])).toEqual(['1.6']);
    expect(leftBy(['1.4', 'Succeeded'], [null, 'Succeeded'])).toEqual(['1.4']);
  });

  it('are none that succeeded after all, and none whose run was aborted', () => {
    expect(leftBy(['1.4', 'Succeeded'], ['1.5', 'Failed'], ['1.5', 'Succeeded'])).toEqual([]);
    expect(leftBy(['1.4', 'Succeeded'], ['1.5', 'Aborted'])).toEqual([]);
  });
});
