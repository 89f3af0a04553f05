/** A part of a text that may have to be shorter: its forms, the fullest first. The last may be empty: it is left out then. */
export type Block = {
  /** What it is, in the plural, for the note of what was left out: `differences`. */
  readonly part: string;
  readonly forms: readonly Form[];
};
/** `rank`: how late this form is taken; of all that could be, the lowest goes first. Of the first form it has no meaning. Ranks of a block rise. */
export type Form = { readonly text: string; readonly rank: number };

const BETWEEN = '\n\n';

/**
 * The blocks one below the other in at most `maxChars` UTF-16 code units: the least important is shortened first, the last of equals first. A form is
 * taken or not, and never cut.
 * @param note says what is not shown in full; the counts are by part
 * @returns null when not even the shortest forms fit
 */
export function fitBlocks(blocks: readonly Block[], maxChars: number, note: (shortened: ReadonlyMap<string, number>) => string): string | null {
  const chosen = blocks.map(() => 0);
  const steps = blocks.flatMap(({ forms }, block) => forms.slice(1).map(({ rank }, i) => ({ block, form: i + 1, rank }))).sort((a, b) => a.rank - b.rank || b.block - a.block || a.form - b.form);
  const lengthOf = (block: number, form: number): number => {
    const length = blocks[block]?.forms[form]?.text.length ?? 0;
    return length === 0 ? 0 : length + BETWEEN.length;
  };
  let length = blocks.reduce((sum, _, i) => sum + lengthOf(i, 0), 0) - BETWEEN.length;
  const shortened = new Map<string, number>();
  let next = 0;
  for (let said = ''; length + (said === '' ? 0 : said.length + BETWEEN.length) > maxChars; said = note(shortened)) {
    const step = steps[next];
    if (step === undefined) return null;
    next += 1;
    length += lengthOf(step.block, step.form) - lengthOf(step.block, step.form - 1);
    chosen[step.block] = step.form;
    const { part } = blocks[step.block] as Block;
    if (step.form === 1) shortened.set(part, (shortened.get(part) ?? 0) + 1);
  }
  const texts = blocks.map(({ forms }, i) => forms[chosen[i] ?? 0]?.text ?? '');
  return [...texts, ...(next === 0 ? [] : [note(shortened)])].filter((text) => text !== '').join(BETWEEN);
}
