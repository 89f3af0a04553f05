/** How a failure of the storage is to be met. */
export type StorageErrorCode =
  | 'StorageUnavailable'
  | 'StorageFull'
  | 'StorageMisconfigured'
  | 'StorageForbidden'
  | 'StorageFailed'
  | 'PostgresTooOld'
  | 'PostgresNotStarted'
  | 'FolderInUse'
  | 'FolderUnusable'
  | 'MigrationChanged'
  | 'MigrationMissing'
  | 'MigrationFailed'
  | 'SchemaTooNew'
  | 'LedgerDiverged'
  | 'LedgerGap'
  | 'LogRewound'
  | 'AppendOnly'
  | 'DigestImmutable'
  | 'ObjectCorrupt'
  | 'LimitExceeded'
  | 'Closed';

const dispositions: Readonly<Record<StorageErrorCode, 'retry' | 'wait' | 'stall'>> = {
  StorageUnavailable: 'retry',
  StorageFull: 'wait',
  StorageMisconfigured: 'stall',
  StorageForbidden: 'stall',
  StorageFailed: 'stall',
  PostgresTooOld: 'stall',
  PostgresNotStarted: 'retry',
  FolderInUse: 'wait',
  FolderUnusable: 'stall',
  MigrationChanged: 'stall',
  MigrationMissing: 'stall',
  MigrationFailed: 'stall',
  SchemaTooNew: 'stall',
  LedgerDiverged: 'stall',
  LedgerGap: 'retry',
  LogRewound: 'stall',
  AppendOnly: 'stall',
  DigestImmutable: 'stall',
  ObjectCorrupt: 'stall',
  LimitExceeded: 'stall',
  Closed: 'stall',
};

/** A failure of Postgres, of the object store or of the folder that holds them. The message tells what to do; it never holds a password. */
export class StorageError extends Error {
  override readonly name = 'StorageError';
  readonly code: StorageErrorCode;
  /** `retry`: again with back-off. `wait`: until somebody makes room. `stall`: until a person changes something. */
  readonly disposition: 'retry' | 'wait' | 'stall';

  constructor(code: StorageErrorCode, message: string, cause?: unknown) {
    super(message, cause === undefined ? undefined : { cause });
    this.code = code;
    this.disposition = dispositions[code];
  }
}
