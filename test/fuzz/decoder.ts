import type { Pantry } from './mutate.ts';
import type { Random } from './random.ts';

/** A reader of bytes from outside, and what must hold of it whatever the bytes are. */
export type Decoder = {
  readonly name: string;
  /** Makes real samples and whatever they need to be read. */
  open(): Promise<OpenDecoder>;
};

export type OpenDecoder = {
  readonly samples: readonly Sample[];
  readonly words: Pantry['words'];
  /**
   * Reads `input`. @returns the code of a refusal, {@link SAME} for what was accepted because it is a sample in all that is signed, or another word for
   * what was read without a question of trust. @throws Error for what must not happen
   */
  read(input: Uint8Array): string;
};

/** Accepted: the bytes that the signature covers, and the signature, are those of a sample. */
export const SAME = 'Same';

export type Sample = {
  readonly bytes: Uint8Array;
  /** Parts that are worth changing by themselves: behind an armour, within a field. */
  readonly layers?: readonly Layer[];
};

/** A part of a sample that is encoded in the whole. */
export type Layer = { readonly bytes: Uint8Array; readonly wrap: (changed: Buffer, random: Random) => Uint8Array };

/**
 * @param accepted what is signed, and the signature where the reader shows it
 * @param samples the same of each sample: parts of one may have come into another
 * @throws Error when something was accepted that differs from all samples
 */
export function demandSame(what: string, accepted: readonly Uint8Array[], samples: readonly (readonly Uint8Array[])[]): typeof SAME {
  const isSample = samples.some((sample) => sample.length === accepted.length && sample.every((part, i) => Buffer.compare(part, accepted[i] ?? new Uint8Array()) === 0));
  if (!isSample) throw new Error(`accepted ${what} that nobody signed`);
  return SAME;
}
