import { type BlobCode, RegistryError } from '../../ports/blob-source.ts';

/** Why an order on a directory host did not succeed. */
export type DirectoryCode =
  | BlobCode
  | 'InvalidOrder'
  | 'UnsafeLayer'
  | 'LayerTooLarge'
  | 'UnsupportedLayer'
  | 'NoSpace'
  | 'FileSystem'
  | 'CommandFailed'
  | 'CommandTimedOut'
  | 'CommandNotRun'
  | 'Unhealthy'
  | 'HealthCheckNotRun'
  | 'RollbackFailed'
  | 'Aborted';

/** Thrown inside the adapter and turned into an outcome at its edge. The message holds no value of `env`. */
export class DirectoryError extends Error {
  readonly code: DirectoryCode;

  constructor(code: DirectoryCode, message: string, options?: ErrorOptions) {
    super(message, options);
    this.name = 'DirectoryError';
    this.code = code;
  }
}

/** Could not be run or decided, as opposed to: ran, or was looked at, and the answer is no. */
const erroredCodes: ReadonlySet<DirectoryCode> = new Set([
  'RegistryUnreachable',
  'RegistryUnauthorized',
  'RepositoryUnknown',
  'TagUnknown',
  'BlobUnknown',
  'OfflineRefused',
  'RedirectRefused',
  'NoSpace',
  'FileSystem',
  'CommandNotRun',
  'HealthCheckNotRun',
  'RollbackFailed',
  'Aborted',
]);

/** How a run ends that met `code`. */
export function resultOf(code: DirectoryCode): 'Failed' | 'Errored' {
  return erroredCodes.has(code) ? 'Errored' : 'Failed';
}

/** Any exception as one with a closed code. Unknown ones become `FileSystem`, which is what is left in this adapter. */
export function asDirectoryError(error: unknown): DirectoryError {
  if (error instanceof DirectoryError) return error;
  if (error instanceof RegistryError) return new DirectoryError(error.code, error.message, { cause: error });
  const code = error instanceof Error && 'code' in error && typeof error.code === 'string' ? error.code : undefined;
  if (code === 'ENOSPC' || code === 'EDQUOT') {
    return new DirectoryError('NoSpace', 'the disk of the target is full; free space and retry, what ran before is untouched', { cause: error });
  }
  if (code === 'ABORT_ERR' || (error instanceof Error && error.name === 'AbortError')) return new DirectoryError('Aborted', 'stopped before it was done', { cause: error });
  const why = error instanceof Error ? (code === undefined ? error.message : `${code} ${syscallOf(error)}`) : 'unknown reason';
  return new DirectoryError('FileSystem', `the target's file system refused: ${why}; check the folder, its owner and its permissions`, { cause: error });
}

function syscallOf(error: Error): string {
  const { syscall, path } = error as { readonly syscall?: unknown; readonly path?: unknown };
  return [syscall, path].filter((part) => typeof part === 'string').join(' ');
}

/** Whether this is "there is no such file". */
export function isMissing(error: unknown): boolean {
  return error instanceof Error && 'code' in error && error.code === 'ENOENT';
}
