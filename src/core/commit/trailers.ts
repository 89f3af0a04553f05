import { isDigest, type Digest } from '../model/digest.ts';

/** A trailer by which a signed commit speaks to us (TRUST "two carriers", T15). */
export interface StellaTrailer {
  readonly key: 'Stella-Approval' | 'Stella-Change';
  readonly value: Digest;
}

const TRAILER = /^([A-Za-z0-9][A-Za-z0-9-]*): (\S.*)$/;
const OURS = /^stella-/i;

/**
 * Our trailers in the last paragraph of a commit message, in order. Read them from verified commits only.
 *
 * Strict, because a trailer is an approval: the paragraph is not the first (that is the subject), each of its lines is a trailer
 * `Key: value`, and each `Stella-…` line is exactly one of ours with a digest. If any line is not, there are none: quoted text,
 * a reply or a half-edited message must not approve.
 */
export function parseTrailers(message: string): readonly StellaTrailer[] {
  const paragraphs = message.split(/\n{2,}/).filter((paragraph) => paragraph !== '' && paragraph !== '\n');
  const lines = paragraphs.length < 2 ? [] : withoutFinalNewline(paragraphs.at(-1) ?? '').split('\n');
  const found: StellaTrailer[] = [];
  for (const line of lines) {
    const [, key = '', value = ''] = TRAILER.exec(line) ?? [];
    if (key === '') return [];
    if (!OURS.test(key)) continue;
    if ((key !== 'Stella-Approval' && key !== 'Stella-Change') || !isDigest(value)) return [];
    found.push({ key, value });
  }
  return found;
}

function withoutFinalNewline(text: string): string {
  return text.endsWith('\n') ? text.slice(0, -1) : text;
}
