import type { Digest } from '../../core/model/digest.ts';
import type { EnrolmentTokenEntry, EnrolmentTokens } from '../../ports/enrolment-tokens.ts';

/** Tokens of one process, for tests and for a server that forgets them at its end. */
export function memoryEnrolmentTokens(): EnrolmentTokens {
  const open = new Map<Digest, EnrolmentTokenEntry>();
  return {
    async issue(entry) {
      open.set(entry.tokenDigest, entry);
    },
    async consume(tokenDigest, now) {
      const entry = open.get(tokenDigest);
      open.delete(tokenDigest);
      return entry !== undefined && entry.expiresAt > now ? { agent: entry.agent } : null;
    },
  };
}
