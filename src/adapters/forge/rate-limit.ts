import { limits } from '../../core/model/limits.ts';
import { retryAfterMs } from '../oci/backoff.ts';

type Answered = { readonly status: number; readonly headers: Headers; readonly text: string; /** Milliseconds since 1970. */ readonly now: number };

/** Seconds since 1970 and seconds from now cannot be confused: the border is in 2001. */
const EPOCH_SECONDS = 1_000_000_000;

/**
 * Until when nothing should be asked, in milliseconds since 1970; null where the answer says nothing of the kind. A forge can be wrong or hostile: it silences us
 * for at most `limits.forgeRetryAfterMs`.
 * Source: GitHub, "Rate limits for the REST API" (primary: 403 or 429 with x-ratelimit-remaining 0; secondary: 403 or 429, Retry-After or one minute);
 * GitLab, "Rate limits" (429, RateLimit-Remaining, RateLimit-Reset, Retry-After); RFC 9110 §10.2.3.
 */
export function rateLimitOf({ status, headers, text, now }: Answered): number | null {
  const isSpent = headerOf(headers, 'remaining') === 0;
  const refused = status === 429 || (status === 403 && (isSpent || headers.has('retry-after') || /secondary rate limit|abuse detection|rate limit exceeded/i.test(text.slice(0, 4_096))));
  if (!refused && !isSpent) return null;
  const asked = retryAfterMs(headers.get('retry-after'), new Date(now));
  const reset = headerOf(headers, 'reset');
  const resetMs = reset === null || !isSpent ? null : reset > EPOCH_SECONDS ? reset * 1000 - now : reset * 1000;
  // An allowance that is used up without a word on when it is new says nothing about the request that was answered.
  if (!refused && resetMs === null) return null;
  const waitMs = asked ?? resetMs ?? limits.forgeDefaultRetryMs;
  return now + Math.min(Math.max(waitMs, 1_000), limits.forgeRetryAfterMs);
}

function headerOf(headers: Headers, name: 'remaining' | 'reset'): number | null {
  const text = headers.get(`x-ratelimit-${name}`) ?? headers.get(`ratelimit-${name}`);
  return text !== null && /^\d{1,15}$/.test(text.trim()) ? Number(text.trim()) : null;
}
