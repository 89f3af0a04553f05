import type { EnrolmentTokens } from '../../ports/enrolment-tokens.ts';
import type { TenantDatabase } from './scope.ts';

/** One-time tokens of one log on Postgres; only their digests are stored. */
export function createEnrolmentTokens(database: TenantDatabase): EnrolmentTokens {
  return {
    issue: ({ tokenDigest, agent, expiresAt }) => database.transaction(async (queries) => {
      await queries.query('INSERT INTO agent.enrolment_tokens (tenant_id, log_id, token_digest, agent, expires_at) VALUES ($1, $2, $3, $4, $5)',
        [database.tenant, database.logId, tokenDigest, agent, expiresAt]);
    }),
    // The row lock of the update decides between two that come at once.
    consume: (tokenDigest, now) => database.transaction(async (queries) => {
      const { rows } = await queries.query<{ agent: string }>(
        `UPDATE agent.enrolment_tokens SET consumed_at = $3
          WHERE log_id = $1 AND token_digest = $2 AND consumed_at IS NULL AND expires_at > $3 RETURNING agent`,
        [database.logId, tokenDigest, now]);
      return rows[0] ?? null;
    }),
  };
}
