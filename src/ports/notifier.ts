import type { DocumentOf, NotifierSpec } from '../core/model/documents.ts';
import type { Notification } from '../core/proposal/notification.ts';

/** A notifier in force. */
export type NotifierDocument = Omit<DocumentOf<'Integration'>, 'spec'> & { readonly spec: NotifierSpec };

/** Refused: the receiver, or what is declared of it, must change; Unavailable: it is tried again. */
export type NotifyCode = 'Refused' | 'Unavailable' | 'SecretUnavailable' | 'OfflineRefused';

/** Says nothing of any secret. */
export class NotifyError extends Error {
  readonly code: NotifyCode;
  readonly disposition: 'retry' | 'wait';
  constructor(code: NotifyCode, message: string, options?: ErrorOptions) {
    super(message, options);
    this.code = code;
    this.disposition = code === 'Unavailable' ? 'retry' : 'wait';
  }
}

/**
 * Sends one notification to one receiver, once; the same id may come again after a crash, and is told to the receiver.
 * Secrets are resolved for this one sending and go to the declared host only (T18).
 * @throws NotifyError
 */
export type SendNotification = (notifier: NotifierDocument, notification: Notification, signal: AbortSignal) => Promise<void>;
