import { formatInstant, parseInstant, type InstantMs } from '../model/instant.ts';

/**
 * A moment as `YYYY-MM-DDThh:mm:ss.mmmZ`. Such texts order as the moments do, so hundreds of expiries are compared without
 * taking each apart.
 */
export type InstantText = string & { readonly __brand: 'InstantText' };

/** The last moment that has a text; stands for "never". */
export const NEVER = '9999-12-31T23:59:59.999Z' as InstantText;
const NEVER_MS: InstantMs = 253_402_300_799_999;

/** The full form on a day that every month has: surely a real moment. */
const SURELY_REAL = /^\d{4}-(?:0[1-9]|1[0-2])-(?:0[1-9]|1\d|2[0-8])T(?:[01]\d|2[0-3]):[0-5]\d:[0-5]\d\.\d{3}Z$/;

/** @returns null when `text` names no real moment in one of the forms of `parseInstant` */
export function instantTextOf(text: string): InstantText | null {
  if (SURELY_REAL.test(text)) return text as InstantText;
  const instant = parseInstant(text);
  return instant === null ? null : (formatInstant(instant) as InstantText);
}

/** The text of a moment; {@link NEVER} for what lies beyond all texts. */
export function instantText(instant: InstantMs): InstantText {
  return instant >= 0 && instant < NEVER_MS ? (formatInstant(instant) as InstantText) : NEVER;
}

/** The earlier of two moments. */
export function earlier(a: InstantText, b: InstantText): InstantText {
  return a < b ? a : b;
}
