import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { limits } from '../../../src/core/model/limits.ts';
import { bytesDiff, diffLines, unifiedDiff } from '../../../src/core/proposal/unified-diff.ts';

const line = fc.constantFrom('a', 'b', 'c', '', '-', '+ d', '@@ -1,1 +1,1 @@');
const lines = fc.array(line, { maxLength: 30 });
const textOf = (some: readonly string[]): string => some.map((one) => `${one}\n`).join('');

/** What `patch` makes of it; it looks at every line that it is told stays or goes. */
function patched(before: readonly string[], diff: string): readonly string[] {
  const result: string[] = [];
  let at = 0;
  let left = { from: 0, to: 0 };
  for (const row of diff === '' ? [] : diff.split('\n')) {
    if (left.from === 0 && left.to === 0) {
      const [, start = '', from = '', to = ''] = /^@@ -(\d+),(\d+) \+\d+,(\d+) @@$/.exec(row) ?? [];
      left = { from: Number(from), to: Number(to) };
      const first = Number(start) - (left.from === 0 ? 0 : 1);
      while (at < first) result.push(before[at++] ?? '');
      continue;
    }
    if (row[0] !== '+') {
      expect(before[at++]).toBe(row.slice(1));
      left.from -= 1;
    }
    if (row[0] !== '-') {
      result.push(row.slice(1));
      left.to -= 1;
    }
  }
  return [...result, ...before.slice(at)];
}

describe('a unified difference', () => {
  it('turns the one text into the other', () => {
    fc.assert(fc.property(lines, lines, (before, after) => {
      expect(patched(before, unifiedDiff(textOf(before), textOf(after)) ?? 'none')).toEqual(after);
    }));
  });

  it('is empty for equal texts alone, and has as few edits as a longest common subsequence leaves', () => {
    fc.assert(fc.property(lines, lines, (before, after) => {
      expect(unifiedDiff(textOf(before), textOf(after)) === '').toBe(textOf(before) === textOf(after));
      const common = before.map(() => 0);
      const table = [...common, 0].map(() => Array.from({ length: after.length + 1 }, () => 0));
      for (let i = before.length - 1; i >= 0; i--) for (let j = after.length - 1; j >= 0; j--) table[i]![j] = before[i] === after[j] ? table[i + 1]![j + 1]! + 1 : Math.max(table[i + 1]![j]!, table[i]![j + 1]!);
      expect(diffLines(before, after)?.filter(({ sign }) => sign !== ' ')).toHaveLength(before.length + after.length - 2 * (table[0]?.[0] ?? 0));
    }));
  });

  it('says that a last line has no end', () => {
    expect(unifiedDiff('a\n', 'a')).toBe('@@ -1,1 +1,1 @@\n-a\n+a (no newline at the end)');
  });

  it('is none where a side is no text or too large, or where too much differs', () => {
    const bytes = (text: string): Uint8Array => new TextEncoder().encode(text);
    expect(bytesDiff(bytes('a\0'), bytes('b'))).toBeNull();
    expect(bytesDiff(new Uint8Array([0xff, 0xfe, 0x41]), null)).toBeNull();
    expect(bytesDiff(bytes('a'.repeat(limits.diffFileBytes + 1)), bytes('b'))).toBeNull();
    expect(bytesDiff(null, bytes('b\n'))).toBe('@@ -0,0 +1,1 @@\n+b');
    const [many, others] = [Array.from({ length: limits.diffEdits }, (_, i) => `a${i}`), Array.from({ length: limits.diffEdits }, (_, i) => `b${i}`)];
    expect(unifiedDiff(textOf(many), textOf(others))).toBeNull();
    expect(unifiedDiff('', textOf(many.slice(0, limits.diffLines)))).toBeNull();
  });
});
