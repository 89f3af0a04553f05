/** The name that was probably meant, or null: at most two letters off, or one that begins with what was written. */
export function closestCommand(written: string, known: readonly string[]): string | null {
  const text = written.slice(0, 32);
  const ranked = known
    .map((name) => ({ name, distance: name.startsWith(text) && text !== '' ? 0 : editDistance(text, name) }))
    .filter(({ name, distance }) => distance <= Math.min(2, Math.floor(name.length / 2)))
    .sort((a, b) => a.distance - b.distance);
  return ranked[0]?.name ?? null;
}

/** Letters to add, drop or replace. */
function editDistance(a: string, b: string): number {
  let row = Array.from({ length: b.length + 1 }, (_, i) => i);
  for (const letter of a) {
    const next = [(row[0] ?? 0) + 1];
    for (let j = 1; j <= b.length; j++) next.push(Math.min((row[j - 1] ?? 0) + (letter === b[j - 1] ? 0 : 1), (row[j] ?? 0) + 1, (next[j - 1] ?? 0) + 1));
    row = next;
  }
  return row[b.length] ?? 0;
}
