import pg from 'pg';
import { StorageError, type StorageErrorCode } from '../../ports/storage-error.ts';

/** SQLSTATEs, exact or by class (the first two characters). ST… are raised by our own triggers (migrations/). */
const CODES: Readonly<Record<string, StorageErrorCode>> = {
  ST001: 'AppendOnly',
  ST002: 'LedgerDiverged',
  ST003: 'DigestImmutable',
  ST004: 'LogRewound',
  '53100': 'StorageFull',
  '55P03': 'StorageUnavailable',
  '42501': 'StorageForbidden',
  '08': 'StorageUnavailable',
  '25': 'StorageUnavailable',
  '28': 'StorageMisconfigured',
  '3D': 'StorageMisconfigured',
  '40': 'StorageUnavailable',
  '53': 'StorageUnavailable',
  '57': 'StorageUnavailable',
  '58': 'StorageUnavailable',
};

const ADVICE: Partial<Readonly<Record<StorageErrorCode, string>>> = {
  StorageUnavailable: 'Postgres does not answer; it is tried again, nothing is lost',
  StorageFull: 'the disk of Postgres is full: make room',
  StorageMisconfigured: 'Postgres refuses us: check user, password and database in CONNECTIONSTRINGS__DEFAULT',
  StorageForbidden: 'the database role lacks a privilege: see docs/storage.md, "Roles"',
};

/** What the driver says of a connection that broke, for want of codes. */
const BROKEN = /Connection terminated|timeout exceeded when trying to connect|Query read timeout|not queryable|Connection ended/i;

/** Whether the connection that threw this must not be used again. */
export function breaksConnection(cause: unknown): boolean {
  return !(cause instanceof StorageError) && (!(cause instanceof pg.DatabaseError) || (cause.code ?? '').startsWith('57P') || (cause.code ?? '').startsWith('08'));
}

/** Whatever a query threw as StorageError; errors of our own code pass unchanged. */
export function toStorageError(cause: unknown): unknown {
  if (cause instanceof pg.DatabaseError) {
    const state = cause.code ?? '';
    const code = CODES[state] ?? CODES[state.slice(0, 2)] ?? 'StorageFailed';
    const advice = ADVICE[code];
    return new StorageError(code, advice === undefined ? cause.message : `${advice} (${cause.message})`, cause);
  }
  if (!(cause instanceof Error) || cause instanceof StorageError) return cause;
  const system = (cause as NodeJS.ErrnoException).code;
  if (/after calling end on the pool/.test(cause.message)) return new StorageError('Closed', 'the storage is closed', cause);
  if (BROKEN.test(cause.message) || (typeof system === 'string' && /^E[A-Z]{3,}$/.test(system))) {
    return new StorageError('StorageUnavailable', `${ADVICE.StorageUnavailable} (${system ?? cause.message})`, cause);
  }
  return cause;
}
