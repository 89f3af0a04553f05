/** One segment of a name (DESIGN §3). ASCII only, so that no two names can look alike or normalise alike. */
const SEGMENT = /^[a-z0-9][a-z0-9._-]{0,62}$/;

/** Whether `text` is one well-formed name segment. */
export function isSegment(text: unknown): text is string {
  return typeof text === 'string' && SEGMENT.test(text);
}

/** Whether `text` is `<segment>/<segment>`, as Release, Promotion and Configuration are named. */
export function isPairName(text: unknown): text is string {
  if (typeof text !== 'string') return false;
  const parts = text.split('/');
  return parts.length === 2 && parts.every(isSegment);
}

/** The two segments of a pair name. @throws RangeError when `text` is not one. */
export function splitPair(text: string): readonly [string, string] {
  const [first, second] = text.split('/');
  if (!isPairName(text) || first === undefined || second === undefined) throw new RangeError(`not a name of two segments: ${text}`);
  return [first, second];
}

/** Orders strings by UTF-16 code units, the same on every machine and in every locale (T32). */
export function compareText(a: string, b: string): number {
  return a < b ? -1 : a > b ? 1 : 0;
}
