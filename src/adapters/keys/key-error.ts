export type KeyCode = 'KeyUnreadable' | 'KeyUnsupported' | 'KeyEncrypted';

/** A key of ours cannot be used. The message names where it lies, never what it holds. */
export class KeyError extends Error {
  override readonly name = 'KeyError';
  readonly code: KeyCode;
  readonly disposition = 'stall';

  constructor(code: KeyCode, message: string, cause?: unknown) {
    super(message, cause === undefined ? undefined : { cause });
    this.code = code;
  }
}
