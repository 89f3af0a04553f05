import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { layOver, type SideChange } from '../../../src/core/desired/lay-over.ts';

const wrote = (path: string, blob: string, mode = '100644'): SideChange => ({ path, blob, mode });
const deleted = (path: string): SideChange => ({ path, blob: null, mode: null });

describe('layOver', () => {
  it('lays over what the candidate changed and the target did not', () => {
    expect(layOver([wrote('a', '1')], [wrote('b', '2'), deleted('c')])).toEqual({ over: [wrote('b', '2'), deleted('c')], conflicts: [] });
  });

  it('calls a file that both changed a conflict, whoever deleted it and if only its mode differs', () => {
    const both = [wrote('a', '1'), deleted('b'), wrote('c', '1'), wrote('d', '1', '100755')];
    expect(layOver(both, [wrote('a', '2'), wrote('b', '1'), deleted('c'), wrote('d', '1')]).conflicts).toEqual(['a', 'b', 'c', 'd']);
  });

  it('takes what both made the same as one', () => {
    expect(layOver([wrote('a', '1'), deleted('b')], [wrote('a', '1'), deleted('b')])).toEqual({ over: [], conflicts: [] });
  });

  it('calls a file where the other side has a folder a conflict, and not one that lies beside it', () => {
    expect(layOver([wrote('a', '1')], [wrote('a/b/c', '2')]).conflicts).toEqual(['a/b/c']);
    expect(layOver([wrote('a/b/c', '1')], [wrote('a/b', '2')]).conflicts).toEqual(['a/b/c']);
    expect(layOver([wrote('a', '1')], [wrote('ab/c', '2')]).conflicts).toEqual([]);
    expect(layOver([deleted('a')], [wrote('a/b', '2')]).conflicts).toEqual([]);
  });

  it('finds the same conflicts whichever side is the candidate, and never lays over a path that is in conflict', () => {
    const change = fc.record({ path: fc.constantFrom('a', 'a/b', 'a/b/c', 'd', 'd/e'), blob: fc.option(fc.constantFrom('1', '2'), { nil: null }) })
      .map(({ path, blob }): SideChange => (blob === null ? deleted(path) : wrote(path, blob)));
    const side = fc.uniqueArray(change, { selector: (c) => c.path });
    fc.assert(fc.property(side, side, (ours, theirs) => {
      const [one, other] = [layOver(ours, theirs), layOver(theirs, ours)];
      expect(one.conflicts).toEqual(other.conflicts);
      if (one.conflicts.length === 0) for (const { path } of one.over) expect(ours.map((c) => c.path)).not.toContain(path);
    }));
  });
});
