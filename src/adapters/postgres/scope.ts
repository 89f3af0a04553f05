import pg from 'pg';
import type { Digest } from '../../core/model/digest.ts';
import { limits } from '../../core/model/limits.ts';
import { StorageError } from '../../ports/storage-error.ts';
import { APPLICATION_ROLE } from './application-role.ts';
import { breaksConnection, toStorageError } from './errors.ts';

/** One log of one tenant: what a server works on. */
export type Scope = { readonly tenant: string; readonly logId: Digest };

/** Queries inside one transaction, seen as one tenant. */
export type Queries = {
  query<Row extends pg.QueryResultRow>(text: string, values?: readonly unknown[]): Promise<{ readonly rows: Row[]; readonly rowCount: number }>;
};

/** `set_config` first: no statement of ours ever runs without a tenant. */
export type TenantDatabase = Scope & {
  /** @throws StorageError; the transaction is rolled back when `work` throws. */
  transaction<T>(work: (queries: Queries) => Promise<T>): Promise<T>;
};

/** A pool whose sessions start as the application role, with timeouts, in UTC. Connects on first use; broken connections are replaced. */
export function openPool(url: string, options: { readonly applicationName: string; readonly maxConnections: number; readonly rawTypes?: boolean }): pg.Pool {
  const settings = {
    role: APPLICATION_ROLE,
    timezone: 'UTC',
    statement_timeout: limits.sqlStatementTimeoutMs,
    lock_timeout: limits.sqlLockTimeoutMs,
    idle_in_transaction_session_timeout: limits.sqlStatementTimeoutMs,
  };
  const pool = new pg.Pool({
    connectionString: url,
    // Given at connection start, so that RESET ROLE leads back here and not to the login role.
    options: Object.entries(settings).map(([name, value]) => `-c ${name}=${value}`).join(' '),
    application_name: options.applicationName,
    max: options.maxConnections,
    connectionTimeoutMillis: limits.sqlConnectTimeoutMs,
    query_timeout: limits.sqlStatementTimeoutMs + 5_000,
    keepAlive: true,
    ...(options.rawTypes === true ? {} : { types: { getTypeParser } as pg.CustomTypesConfig }),
  });
  // An idle connection that breaks is dropped by the pool; the next query opens another.
  pool.on('error', () => undefined);
  ignoreLateErrors(pool);
  return pool;
}

/** A connection that breaks between two queries says so by an event, which would end the process; the next query on it fails anyway. */
export function ignoreLateErrors(pool: pg.Pool): void {
  pool.on('connect', (client) => void client.on('error', () => undefined));
}

const INT8 = 20;
const TIMESTAMPTZ = 1184;

/** bigint as number (all of ours are below 2^53), timestamptz as RFC 3339 in UTC with milliseconds. */
function getTypeParser(oid: number, format?: 'text' | 'binary'): unknown {
  if (format !== 'binary' && oid === INT8) return Number;
  const standard: (text: string) => unknown = pg.types.getTypeParser(oid, format as 'text');
  if (format !== 'binary' && oid === TIMESTAMPTZ) return (text: string) => (standard(text) as Date).toISOString();
  return standard;
}

/** Every operation of the application goes through here. */
export function tenantDatabase(pool: pg.Pool, scope: Scope): TenantDatabase {
  return { ...scope, transaction: (work) => inTransaction(pool, scope.tenant, work) };
}

async function inTransaction<T>(pool: pg.Pool, tenant: string, work: (queries: Queries) => Promise<T>): Promise<T> {
  const client = await connect(pool);
  let broken = false;
  try {
    await client.query('BEGIN');
    const { rows } = await client.query<{ role: string }>("SELECT set_config('stella.tenant', $1, true), current_user AS role", [tenant]);
    if (rows[0]?.role !== APPLICATION_ROLE) {
      throw new StorageError('StorageMisconfigured', `the session runs as ${rows[0]?.role}, not as ${APPLICATION_ROLE}: take "options" out of CONNECTIONSTRINGS__DEFAULT`);
    }
    const result = await work(queriesOf(client));
    await client.query('COMMIT');
    return result;
  } catch (cause) {
    broken = breaksConnection(cause);
    if (!broken) await client.query('ROLLBACK').catch(() => (broken = true));
    throw toStorageError(cause);
  } finally {
    client.release(broken);
  }
}

async function connect(pool: pg.Pool): Promise<pg.PoolClient> {
  try {
    return await pool.connect();
  } catch (cause) {
    throw toStorageError(cause);
  }
}

function queriesOf(client: pg.PoolClient): Queries {
  return {
    query: async <Row extends pg.QueryResultRow>(text: string, values: readonly unknown[] = []) => {
      const { rows, rowCount } = await client.query<Row>(text, [...values]);
      return { rows, rowCount: rowCount ?? 0 };
    },
  };
}

/**
 * JSON text for a jsonb parameter. Postgres has no U+0000 in text: it becomes U+FFFD here, in copies for reading only.
 */
export function toJsonb(value: unknown): string {
  return JSON.stringify(value, (_key, member: unknown) => {
    if (typeof member === 'string') return toText(member);
    if (typeof member !== 'object' || member === null || Array.isArray(member) || !Object.keys(member).some((key) => key.includes('\0'))) return member;
    return Object.fromEntries(Object.entries(member).map(([key, inner]) => [toText(key), inner]));
  });
}

/** Text for a text parameter, without U+0000. */
export function toText(text: string): string {
  return text.replaceAll('\0', '\ufffd');
}
