import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import type { StorageConfig } from '../../config/storage.ts';
import type { AgentRegister } from '../../ports/agent-register.ts';
import type { EnrolmentTokens } from '../../ports/enrolment-tokens.ts';
import type { JobQueue } from '../../ports/jobs.ts';
import type { Ledger, LedgerReader } from '../../ports/ledger.ts';
import type { ObjectStore } from '../../ports/object-store.ts';
import type { RunStore } from '../../ports/run-store.ts';
import { createSeedFsStore } from '../objectstore/seed-fs.ts';
import { createAgentRegister } from './agent-register.ts';
import { verifyApplicationRole } from './application-role.ts';
import { openDatabase } from './database.ts';
import { createEnrolmentTokens } from './enrolment-tokens.ts';
import { toStorageError } from './errors.ts';
import { createJobQueue, type JobQueueOptions } from './jobs.ts';
import { prepareJobs } from './jobs-schema.ts';
import { createLedgerReader } from './ledger-reader.ts';
import { createLedger } from './ledger.ts';
import { migrate, readMigrations } from './migrate.ts';
import { createRunStore } from './run-store.ts';
import { openPool, tenantDatabase, type Scope } from './scope.ts';

/** All stores of one log of one tenant. */
export type LogStorage = {
  readonly ledger: Ledger;
  readonly reader: LedgerReader;
  readonly runs: RunStore;
  readonly enrolmentTokens: EnrolmentTokens;
  readonly agents: AgentRegister;
  /** A queue of its own for each call; whoever takes it stops it. */
  jobs(options?: Pick<JobQueueOptions, 'lane' | 'concurrency' | 'onInterrupted'>): JobQueue;
};

export type Storage = {
  readonly objects: ObjectStore;
  /** For example 180001. */
  readonly serverVersion: number;
  of(scope: Scope): LogStorage;
  /** Whether Postgres answers, for `/readyz`. @throws StorageError `StorageUnavailable`. */
  ping(): Promise<void>;
  /** Closes connections and ends a server of our own. Queues must have been stopped. */
  close(): Promise<void>;
};

export type StorageOptions = {
  /** Below it lie `postgres/` (driver filesystem) and `objects/` (seed-fs). */
  readonly dataFolder: string;
  /** Default: `migrations/` of this package. */
  readonly migrationsFolder?: string;
  /** Connections of the stores; queues have their own. Default 10. */
  readonly maxConnections?: number;
};

/**
 * Opens database and object store, migrates the schema and checks the application role: everything that must hold before the server starts.
 * @throws StorageError; nothing stays running then.
 */
export async function openStorage(config: StorageConfig, options: StorageOptions): Promise<Storage> {
  const database = await openDatabase(config.database, options);
  const pool = openPool(database.urls.application, { applicationName: 'stella', maxConnections: options.maxConnections ?? 10 });
  const close = async (): Promise<void> => {
    await pool.end();
    await database.close();
  };
  try {
    await migrate(database.urls.owner, await readMigrations(options.migrationsFolder ?? ownMigrations()));
    await prepareJobs(database.urls.owner);
    await verifyApplicationRole(pool);
  } catch (cause) {
    await close();
    throw toStorageError(cause);
  }
  return {
    objects: createSeedFsStore(join(options.dataFolder, 'objects')),
    serverVersion: database.serverVersion,
    of: (scope) => {
      const own = tenantDatabase(pool, scope);
      return {
        ledger: createLedger(own), reader: createLedgerReader(own), runs: createRunStore(own), enrolmentTokens: createEnrolmentTokens(own),
        agents: createAgentRegister(own), jobs: (jobOptions = {}) => createJobQueue({ ...scope, url: database.urls.application, ...jobOptions }),
      };
    },
    ping: async () => {
      await pool.query('SELECT 1').catch((cause: unknown) => {
        throw toStorageError(cause);
      });
    },
    close,
  };
}

function ownMigrations(): string {
  return fileURLToPath(new URL('../../../migrations', import.meta.url));
}
