import { limits } from '../model/limits.ts';

/** One line of both texts together: it goes, comes, or stays. */
export type DiffLine = { readonly sign: '-' | '+' | ' '; readonly text: string };

const AROUND = 3;

/**
 * The unified difference of two texts, with hunks but without file names; '' when they are equal.
 * @returns null when they differ in more than `limits.diffEdits` lines, or it would be longer than `limits.diffLines`
 */
export function unifiedDiff(before: string, after: string): string | null {
  const lines = diffLines(linesOf(before), linesOf(after));
  if (lines === null) return null;
  const text = hunksOf(lines).flatMap(hunkText);
  return text.length > limits.diffLines ? null : text.join('\n');
}

/** The same for bytes; null also where one side is no text or larger than `limits.diffFileBytes`. null is the absent side. */
export function bytesDiff(before: Uint8Array | null, after: Uint8Array | null): string | null {
  const [a, b] = [textOf(before), textOf(after)];
  return a === null || b === null ? null : unifiedDiff(a, b);
}

function textOf(bytes: Uint8Array | null): string | null {
  if (bytes === null) return '';
  if (bytes.length > limits.diffFileBytes || bytes.includes(0)) return null;
  try {
    return new TextDecoder('utf-8', { fatal: true, ignoreBOM: true }).decode(bytes);
  } catch {
    return null;
  }
}

function linesOf(text: string): readonly string[] {
  if (text === '') return [];
  return text.endsWith('\n') ? text.slice(0, -1).split('\n') : [...text.split('\n').slice(0, -1), `${text.slice(text.lastIndexOf('\n') + 1)} (no newline at the end)`];
}

/** Shortest edit between two lists of lines, by what Myers' greedy algorithm finds first. @returns null for more than `limits.diffEdits` edits */
export function diffLines(before: readonly string[], after: readonly string[]): readonly DiffLine[] | null {
  let start = 0;
  while (start < before.length && start < after.length && before[start] === after[start]) start += 1;
  let end = 0;
  while (end < before.length - start && end < after.length - start && before[before.length - 1 - end] === after[after.length - 1 - end]) end += 1;
  const middle = shortestEdit(before.slice(start, before.length - end), after.slice(start, after.length - end));
  if (middle === null) return null;
  const same = (lines: readonly string[]): readonly DiffLine[] => lines.map((text) => ({ sign: ' ', text }));
  return [...same(before.slice(0, start)), ...middle, ...same(before.slice(before.length - end))];
}

/** Myers, "An O(ND) Difference Algorithm and Its Variations" (1986): the furthest point on each diagonal after each edit, kept to walk back. */
function shortestEdit(a: readonly string[], b: readonly string[]): readonly DiffLine[] | null {
  const most = Math.min(a.length + b.length, limits.diffEdits);
  const offset = most + 1;
  const furthest = new Int32Array(2 * most + 3);
  const trace: Int32Array[] = [];
  for (let edits = 0; edits <= most; edits += 1) {
    // Only the diagonals that this round reads are kept.
    trace.push(furthest.slice(offset - edits - 1, offset + edits + 2));
    for (let k = -edits; k <= edits; k += 2) {
      const down = k === -edits || (k !== edits && (furthest[offset + k - 1] ?? 0) < (furthest[offset + k + 1] ?? 0));
      let x = down ? (furthest[offset + k + 1] ?? 0) : (furthest[offset + k - 1] ?? 0) + 1;
      while (x < a.length && x - k < b.length && a[x] === b[x - k]) x += 1;
      furthest[offset + k] = x;
      if (x >= a.length && x - k >= b.length) return walkBack(a, b, trace);
    }
  }
  return null;
}

function walkBack(a: readonly string[], b: readonly string[], trace: readonly Int32Array[]): readonly DiffLine[] {
  const lines: DiffLine[] = [];
  let [x, y] = [a.length, b.length];
  for (let edits = trace.length - 1; edits >= 0; edits -= 1) {
    const at = (k: number): number => trace[edits]?.[k + edits + 1] ?? 0;
    const k = x - y;
    const down = k === -edits || (k !== edits && at(k - 1) < at(k + 1));
    const fromX = edits === 0 ? 0 : down ? at(k + 1) : at(k - 1);
    const fromY = edits === 0 ? 0 : fromX - (down ? k + 1 : k - 1);
    while (x > fromX && y > fromY) {
      [x, y] = [x - 1, y - 1];
      lines.push({ sign: ' ', text: a[x] ?? '' });
    }
    if (edits > 0) lines.push(down ? { sign: '+', text: b[fromY] ?? '' } : { sign: '-', text: a[fromX] ?? '' });
    [x, y] = [fromX, fromY];
  }
  return lines.reverse();
}

type Hunk = { readonly from: number; readonly to: number; readonly lines: readonly DiffLine[] };

function hunksOf(lines: readonly DiffLine[]): readonly Hunk[] {
  const hunks: Hunk[] = [];
  let [from, to] = [1, 1];
  let current: { from: number; to: number; lines: DiffLine[]; quiet: number } | null = null;
  for (const [i, line] of lines.entries()) {
    if (line.sign !== ' ' && current === null) {
      const before = lines.slice(Math.max(0, i - AROUND), i);
      current = { from: from - before.length, to: to - before.length, lines: [...before], quiet: 0 };
    }
    if (current !== null) {
      current.lines.push(line);
      current.quiet = line.sign === ' ' ? current.quiet + 1 : 0;
      if (current.quiet > 2 * AROUND) {
        hunks.push({ ...current, lines: current.lines.slice(0, AROUND - current.quiet) });
        current = null;
      }
    }
    if (line.sign !== '+') from += 1;
    if (line.sign !== '-') to += 1;
  }
  if (current !== null) hunks.push({ ...current, lines: current.lines.slice(0, current.lines.length - Math.max(0, current.quiet - AROUND)) });
  return hunks;
}

function hunkText({ from, to, lines }: Hunk): readonly string[] {
  const count = (without: DiffLine['sign']): number => lines.filter(({ sign }) => sign !== without).length;
  const place = (start: number, length: number): string => `${length === 0 ? start - 1 : start},${length}`;
  return [`@@ -${place(from, count('+'))} +${place(to, count('-'))} @@`, ...lines.map(({ sign, text }) => `${sign}${text}`)];
}
