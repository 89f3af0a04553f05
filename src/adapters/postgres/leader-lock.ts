import { setTimeout as sleep } from 'node:timers/promises';
import pg from 'pg';
import { limits } from '../../core/model/limits.ts';

/** Held as long as its connection lives; Postgres frees it when we die. */
export type LeaderLock = {
  /** Resolves when the connection is gone, and the lock with it. */
  readonly lost: Promise<void>;
  release(): Promise<void>;
};

/**
 * Waits until this process holds the advisory lock of `key`.
 * @returns null when `signal` fires before.
 * @throws what the driver throws when Postgres is away.
 */
export async function acquireLeaderLock(url: string, key: string, signal: AbortSignal): Promise<LeaderLock | null> {
  const client = new pg.Client({
    connectionString: url, application_name: 'stella-leader', keepAlive: true,
    connectionTimeoutMillis: limits.sqlConnectTimeoutMs, query_timeout: limits.sqlConnectTimeoutMs,
  });
  const lost = new Promise<void>((resolve) => {
    client.on('error', () => resolve());
    client.on('end', () => resolve());
  });
  try {
    await client.connect();
    while (!signal.aborted) {
      const { rows } = await client.query<{ locked: boolean }>('SELECT pg_try_advisory_lock(hashtextextended($1, 0)) AS locked', [key]);
      if (rows[0]?.locked === true) return watched(client, lost);
      await sleep(ASK_AGAIN_MS, undefined, { signal }).catch(() => undefined);
    }
  } catch (cause) {
    await client.end().catch(() => undefined);
    throw cause;
  }
  await client.end().catch(() => undefined);
  return null;
}

const ASK_AGAIN_MS = 500;
const HEARTBEAT_MS = 5_000;

/** A connection that is cut without a word is found by asking. */
function watched(client: pg.Client, lost: Promise<void>): LeaderLock {
  let declareLost = (): void => undefined;
  const silent = new Promise<void>((resolve) => {
    declareLost = resolve;
  });
  const heartbeat = setInterval(() => void client.query('SELECT 1').catch(() => declareLost()), HEARTBEAT_MS);
  heartbeat.unref();
  const gone = Promise.race([lost, silent]).then(() => clearInterval(heartbeat));
  return {
    lost: gone,
    release: async () => {
      clearInterval(heartbeat);
      await client.end().catch(() => undefined);
    },
  };
}
