import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { BucketMap } from '../../../src/core/model/bucket-map.ts';

type Step = { readonly key: string; readonly value: number | null };
const step: fc.Arbitrary<Step> = fc.record({ key: fc.string({ maxLength: 3 }), value: fc.option(fc.nat(20)) });

describe('a bucket map', () => {
  it('holds what a plain map holds after any sequence of writes, and leaves the maps before as they were', () => {
    fc.assert(fc.property(fc.array(step), (steps) => {
      let map = BucketMap.empty<number>();
      const model = new Map<string, number>();
      const snapshots: [BucketMap<number>, [string, number][]][] = [];
      for (const { key, value } of steps) {
        snapshots.push([map, [...model]]);
        map = value === null ? map.delete(key) : map.set(key, value);
        if (value === null) model.delete(key);
        else model.set(key, value);
      }
      for (const [before, entries] of [...snapshots, [map, [...model]] as const]) {
        expect(before.size).toBe(entries.length);
        expect(new Map(before.entries())).toEqual(new Map(entries));
      }
    }));
  });

  it('groups its values by any function, also after it was changed and grouped in another way', () => {
    const isEven = (n: number): string => String(n % 2 === 0);
    const tens = (n: number): string => String(Math.floor(n / 10));
    fc.assert(fc.property(fc.array(fc.tuple(fc.string(), fc.nat(30))), fc.nat(30), (entries, extra) => {
      const map = BucketMap.from(entries);
      for (const by of [isEven, isEven, tens, isEven]) expect(map.grouped(by)).toEqual(Map.groupBy(map.values(), by));
      const changed = map.set('one more', extra);
      expect(changed.grouped(isEven)).toEqual(Map.groupBy(changed.values(), isEven));
    }));
  });
});
