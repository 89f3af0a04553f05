import { describe, expect, it } from 'vitest';
import { compareVersions } from '../../../src/core/proposal/version-order.ts';

describe('the order of versions', () => {
  it('is that of Semantic Versioning', () => {
    const rising = ['1.0.0-alpha', '1.0.0-alpha.1', '1.0.0-alpha.beta', '1.0.0-beta', '1.0.0-beta.2', '1.0.0-beta.11', '1.0.0-rc.1', '1.0.0', '1.2.0', '1.10.0', '2.0.0'];
    for (const [i, a] of rising.entries()) for (const [j, b] of rising.entries()) expect(Math.sign(compareVersions(a, b) ?? Number.NaN)).toBe(Math.sign(i - j));
  });

  it('knows short forms, a leading v, and build metadata that orders nothing', () => {
    expect(compareVersions('v1.4', '1.4.0')).toBe(0);
    expect(compareVersions('1.4.0+a', '1.4.0+b')).toBe(0);
    expect(compareVersions('2026.11.3', '2026.9.30')).toBeGreaterThan(0);
  });

  it('is none for what is no version', () => {
    for (const text of ['latest', 'main', '', '1..2', '1.4.0-', '12345678901']) expect(compareVersions(text, '1.0.0')).toBeNull();
  });
});
