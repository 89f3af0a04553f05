import type { NotifierSpec } from '../../core/model/documents.ts';
import type { Notification } from '../../core/proposal/notification.ts';
import type { NotifyNetwork } from './network.ts';

export type SendWorld = {
  /** @throws NotifyError `SecretUnavailable` */
  readonly secret: (reference: string) => Promise<string>;
  readonly network: NotifyNetwork;
  readonly signal: AbortSignal;
  /** Certificates, as PEM, that are trusted in the place of those of the system. */
  readonly certificates?: readonly string[];
};

/** Sends one notification of one kind. @throws NotifyError */
export type Sender<T extends NotifierSpec['type']> = (spec: Extract<NotifierSpec, { readonly type: T }>, notification: Notification, world: SendWorld) => Promise<void>;
