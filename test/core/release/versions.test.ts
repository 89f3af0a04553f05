import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { compareReleases, compareVersions } from '../../../src/core/release/versions.ts';

const sorted = (...names: readonly string[]): readonly string[] => names.map((release, i) => ({ release, seq: names.length - i })).sort(compareReleases).map(({ release }) => release);

describe('the newer one of two releases', () => {
  it('goes by the precedence of SemVer, as its section 11 has it', () => {
    const order = ['1.0.0-alpha', '1.0.0-alpha.1', '1.0.0-alpha.beta', '1.0.0-beta', '1.0.0-beta.2', '1.0.0-beta.11', '1.0.0-rc.1', '1.0.0', '1.9.0', '1.10.0', '1.11.0', '2.0.0', '2.1.0', '2.1.1'];
    expect(sorted(...order.toReversed())).toEqual(order);
  });

  it('takes a leading v, leading zeros, missing numbers and dates for what they say', () => {
    expect(sorted('v1.10', '1.9.9', 'v2.0', '2026.01.05', '2026.1.10')).toEqual(['1.9.9', 'v1.10', 'v2.0', '2026.01.05', '2026.1.10']);
  });

  it('goes by numbers of any length', () => {
    expect(sorted('1.99999999999999999999999999', '1.100000000000000000000000000')).toEqual(['1.99999999999999999999999999', '1.100000000000000000000000000']);
  });

  it('is the one that was locked later where names say nothing of age, or the same', () => {
    expect(sorted('build-10', 'build-9', '0a1b2c3', '1234567')).toEqual(['1234567', '0a1b2c3', 'build-9', 'build-10']);
    expect(sorted('1.0', 'v1.0.0', '1.00')).toEqual(['1.00', 'v1.0.0', '1.0']);
  });

  it('is a version before any other name', () => {
    expect(sorted('0.1-alpha', 'zzz')).toEqual(['zzz', '0.1-alpha']);
  });

  it('is settled by a total order', () => {
    const release = fc.record({
      release: fc.oneof(fc.stringMatching(/^v?[0-9]{1,2}(\.[0-9]{1,2}){1,3}(-[a-z0-9]{1,2}(\.[a-z0-9]{1,2}){0,2})?$/), fc.stringMatching(/^[a-z0-9][a-z0-9._-]{0,8}$/)), seq: fc.nat(5),
    });
    fc.assert(fc.property(release, release, release, (a, b, c) => {
      const [ab, ba, bc, ac] = [compareReleases(a, b), compareReleases(b, a), compareReleases(b, c), compareReleases(a, c)].map(Math.sign) as [number, number, number, number];
      expect(ab + ba).toBe(0);
      expect(ab === 0).toBe(a.release === b.release && a.seq === b.seq);
      if (ab <= 0 && bc <= 0) expect(ac).toBeLessThanOrEqual(0);
    }));
  });
});

it('two versions are compared only where both say something of age', () => {
  expect(compareVersions('v1.4', '1.4.0')).toBe(0);
  expect(compareVersions('2026.11.3', '2026.9.30')).toBeGreaterThan(0);
  expect(compareVersions('1.4.0-rc.1', '1.4.0')).toBeLessThan(0);
  for (const text of ['latest', 'main', '', '1..2', '1.4.0-', '12345678901']) expect(compareVersions(text, '1.0.0')).toBeNull();
});
