import type { Digest } from '../core/model/digest.ts';

/** What the server keeps of a token: never the token itself. */
export type EnrolmentTokenEntry = {
  /** sha256 of the token's text form. */
  readonly tokenDigest: Digest;
  /** The Agent document that may be enrolled with it. */
  readonly agent: string;
  readonly expiresAt: Date;
};

/** One-time tokens by which an agent gets its first certificate. */
export interface EnrolmentTokens {
  issue(entry: EnrolmentTokenEntry): Promise<void>;
  /**
   * Spends a token: at most one caller ever gets a non-null answer for it, also among replicas.
   * @returns whom it was issued for, or null when it is unknown, spent or expired at `now`.
   */
  consume(tokenDigest: Digest, now: Date): Promise<{ readonly agent: string } | null>;
}
