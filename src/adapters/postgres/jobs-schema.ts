import { Logger, runMigrations } from 'graphile-worker';
import pg from 'pg';
import { limits } from '../../core/model/limits.ts';
import { APPLICATION_ROLE } from './application-role.ts';
import { toStorageError } from './errors.ts';
import { ignoreLateErrors } from './scope.ts';

/** The schema that graphile-worker keeps itself. */
export const JOBS_SCHEMA = 'graphile_worker';

/** Says nothing: what matters of a job is a row or a record, not a line of log. */
export function silentLogger(): Logger {
  return new Logger(() => () => undefined);
}

/**
 * Lets graphile-worker bring its schema up to date as the owner, and lets the application role use it. Its tables have row level security
 * and no policy, and no column for a tenant: names of tasks begin with tenant and log instead.
 */
export async function prepareJobs(ownerUrl: string): Promise<void> {
  const pool = new pg.Pool({ connectionString: ownerUrl, max: 2, connectionTimeoutMillis: limits.sqlConnectTimeoutMs, application_name: 'stella-migrate' });
  pool.on('error', () => undefined);
  ignoreLateErrors(pool);
  try {
    const client = await pool.connect();
    try {
      await client.query("SELECT pg_advisory_lock(hashtextextended('stella.migrations', 0))");
      await runMigrations({ pgPool: pool, schema: JOBS_SCHEMA, logger: silentLogger(), noHandleSignals: true });
      await client.query(GRANTS);
    } finally {
      client.release(true);
    }
  } catch (cause) {
    throw toStorageError(cause);
  } finally {
    await pool.end();
  }
}

const GRANTS = `
  GRANT USAGE ON SCHEMA ${JOBS_SCHEMA} TO ${APPLICATION_ROLE};
  GRANT SELECT, INSERT, UPDATE, DELETE ON ALL TABLES IN SCHEMA ${JOBS_SCHEMA} TO ${APPLICATION_ROLE};
  GRANT USAGE ON ALL SEQUENCES IN SCHEMA ${JOBS_SCHEMA} TO ${APPLICATION_ROLE};
  DO $$
  DECLARE
    target regclass;
  BEGIN
    FOR target IN
      SELECT c.oid FROM pg_class c
       WHERE c.relnamespace = '${JOBS_SCHEMA}'::regnamespace AND c.relrowsecurity
         AND NOT EXISTS (SELECT FROM pg_policy p WHERE p.polrelid = c.oid AND p.polname = '${APPLICATION_ROLE}')
    LOOP
      EXECUTE format('CREATE POLICY ${APPLICATION_ROLE} ON %s TO ${APPLICATION_ROLE} USING (true) WITH CHECK (true)', target);
    END LOOP;
  END $$`;
