export type ComposeCode =
  | 'ConnectionInvalid'
  | 'LockFileInvalid'
  | 'ImageNotPinned'
  | 'SecretNameReserved'
  | 'EngineUnreachable'
  | 'ImagePullFailed'
  | 'ImageDigestMismatch'
  | 'ComposeMissing'
  | 'ComposeInvalid'
  | 'StateUnreadable'
  | 'UpFailed'
  | 'ServiceExited'
  | 'ServiceUnhealthy'
  | 'HealthTimedOut'
  | 'DownFailed';

/** Why a Compose host did not do what was asked. The message holds no secret. */
export class ComposeError extends Error {
  readonly code: ComposeCode;
  constructor(code: ComposeCode, message: string, options?: ErrorOptions) {
    super(message, options);
    this.code = code;
  }
}
