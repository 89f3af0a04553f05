/** Lines that go (`- `), come (`+ `) and stay (`  `); unchanged stretches are cut to `around` lines. */
export function textDifference(before: string, after: string, around = 2): readonly string[] {
  const [a, b] = [linesOf(before), linesOf(after)];
  const marked = mark(a, b);
  const keep = marked.map((_, i) => marked.slice(Math.max(0, i - around), i + around + 1).some((line) => !line.startsWith('  ')));
  return marked.flatMap((line, i) => (keep[i] === true ? [line] : keep[i - 1] === true ? ['  …'] : []));
}

function linesOf(text: string): readonly string[] {
  return text === '' ? [] : text.replace(/\n$/, '').split('\n');
}

/** Longest common subsequence; documents are small. */
function mark(a: readonly string[], b: readonly string[]): readonly string[] {
  const common = Array.from({ length: a.length + 1 }, () => new Uint32Array(b.length + 1));
  for (let i = a.length - 1; i >= 0; i--) {
    for (let j = b.length - 1; j >= 0; j--) {
      const value = a[i] === b[j] ? (common[i + 1]?.[j + 1] ?? 0) + 1 : Math.max(common[i + 1]?.[j] ?? 0, common[i]?.[j + 1] ?? 0);
      (common[i] as Uint32Array)[j] = value;
    }
  }
  const marked: string[] = [];
  for (let i = 0, j = 0; i < a.length || j < b.length; ) {
    if (i < a.length && j < b.length && a[i] === b[j]) {
      marked.push(`  ${a[i++] ?? ''}`);
      j += 1;
    } else if (i < a.length && (j === b.length || (common[i + 1]?.[j] ?? 0) >= (common[i]?.[j + 1] ?? 0))) marked.push(`- ${a[i++] ?? ''}`);
    else marked.push(`+ ${b[j++] ?? ''}`);
  }
  return marked;
}
