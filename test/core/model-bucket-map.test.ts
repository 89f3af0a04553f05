import { expect, it } from 'vitest';
import fc from 'fast-check';
import { BucketMap } from '../../src/core/model/bucket-map.ts';

it('answers like a Map under any sequence of writes and leaves earlier versions as they were', () => {
  const write = fc.record({ key: fc.string({ maxLength: 4 }), value: fc.option(fc.integer(), { nil: undefined }) });
  fc.assert(
    fc.property(fc.array(write), (writes) => {
      let ours = BucketMap.empty<number>();
      const theirs = new Map<string, number>();
      for (const { key, value } of writes) {
        const before = ours;
        const sizeBefore = before.size;
        const was = before.get(key);
        ours = value === undefined ? ours.delete(key) : ours.set(key, value);
        if (value === undefined) theirs.delete(key);
        else theirs.set(key, value);
        expect(before.get(key)).toBe(was);
        expect(before.size).toBe(sizeBefore);
      }
      expect(new Map(ours.entries())).toEqual(theirs);
      expect(ours.size).toBe(theirs.size);
    }),
  );
});
