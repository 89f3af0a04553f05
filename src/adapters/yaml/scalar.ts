import { Scalar } from 'yaml';

/** A value, or what is wrong with it. `remedy` is a sentence. */
export type ScalarResult = { readonly ok: true; readonly value: string | number | boolean | null } | { readonly ok: false; readonly message: string; readonly remedy: string };

const DECIMAL = /^(?:0|-?[1-9][0-9]*)$/;
/** Everything that some version of YAML takes for a number. */
const NUMBER_LIKE = /^[-+]?(?:\.[0-9]+|[0-9][0-9_]*(?:\.[0-9]*)?)(?:[eE][-+]?[0-9]+)?$|^[-+]?0(?:x[0-9a-fA-F_]+|o[0-7_]+|b[01_]+)$|^[-+]?\.(?:inf|nan)$/i;
const OTHER_WORD = /^(?:null|true|false)$/i;

/**
 * The value of a scalar as it is written. Quoted and block text is text; plain text is null, true, false, a whole number
 * in its one decimal form, or text. What only looks like a number is refused, because no two readers agree on it and a
 * digest needs one meaning: 1.10, 007, 0x1F, 1e3.
 */
export function readScalar(node: Scalar): ScalarResult {
  const text = String(node.value ?? '');
  if (!text.isWellFormed()) return { ok: false, message: 'half of a surrogate pair is no character', remedy: 'Write the whole character, or leave it out.' };
  return node.type === Scalar.PLAIN ? readPlain(text) : { ok: true, value: text };
}

function readPlain(text: string): ScalarResult {
  if (text === '' || text === '~' || text === 'null') return { ok: true, value: null };
  if (text === 'true' || text === 'false') return { ok: true, value: text === 'true' };
  if (DECIMAL.test(text)) {
    const value = Number(text);
    if (Number.isSafeInteger(value)) return { ok: true, value };
    return { ok: false, message: `${text.slice(0, 40)} is beyond 2^53, where numbers lose digits`, remedy: 'Write it in quotes.' };
  }
  if (NUMBER_LIKE.test(text)) return { ok: false, message: `${text.slice(0, 40)} is not a whole number in decimal form`, remedy: `Write it in quotes: "${text.slice(0, 40)}".` };
  if (OTHER_WORD.test(text)) return { ok: false, message: `${text} is a word that readers of YAML disagree on`, remedy: `Write ${text.toLowerCase()} in lower case, or put it in quotes.` };
  return { ok: true, value: text };
}

/**
 * As {@link readScalar}, for Compose files, which others read as well: what is not a whole number in its one decimal form
 * stays the text that was written, so that 0.50 or 0440 reach the engine as they are. YAML 1.1 words such as `yes` are text.
 */
export function readLenientScalar(node: Scalar): ScalarResult {
  const result = readScalar(node);
  const text = String(node.value ?? '');
  if (result.ok || !text.isWellFormed()) return result;
  if (OTHER_WORD.test(text)) return { ok: true, value: text.toLowerCase() === 'null' ? null : text.toLowerCase() === 'true' };
  return { ok: true, value: text };
}
