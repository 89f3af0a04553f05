/** How long to wait before try `attempt + 1`, in ms; `attempt` counts from 1. */
export type Backoff = (attempt: number) => number;

/**
 * Exponential back-off with full jitter: between half and all of `baseMs * 2^(attempt-1)`, never above `capMs`.
 * @param random a number in [0, 1), injected so that a run can be repeated
 */
export function jitteredBackoff(options: { readonly baseMs: number; readonly capMs: number; readonly random: () => number }): Backoff {
  return (attempt) => {
    const ceilingMs = Math.min(options.capMs, options.baseMs * 2 ** Math.min(attempt - 1, 30));
    return Math.round(ceilingMs / 2 + (ceilingMs / 2) * options.random());
  };
}

/**
 * The wait that a Retry-After header asks for, in ms from `now`; undefined when there is none or it cannot be read.
 * Source: RFC 9110 §10.2.3 (seconds or an HTTP date).
 */
export function retryAfterMs(header: string | null, now: Date): number | undefined {
  if (header === null) return undefined;
  if (/^\d{1,9}$/.test(header.trim())) return Number(header.trim()) * 1000;
  const at = Date.parse(header);
  return Number.isNaN(at) ? undefined : Math.max(0, at - now.getTime());
}
