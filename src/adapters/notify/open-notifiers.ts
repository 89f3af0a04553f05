import type { NotifierSpec } from '../../core/model/documents.ts';
import type { Notification } from '../../core/proposal/notification.ts';
import { NotifyError, type SendNotification } from '../../ports/notifier.ts';
import { SecretUnavailable } from '../../ports/target-driver.ts';
import { sendEmail } from './email.ts';
import type { NotifyNetwork } from './network.ts';
import type { SendWorld } from './sender.ts';
import { sendSlack } from './slack.ts';
import { sendWebhook } from './webhook.ts';

/** Every kind of notifier that there is. @param p.secret throws SecretUnavailable */
export function openNotifiers(p: { readonly secret: (reference: string) => Promise<string>; readonly network: NotifyNetwork; readonly certificates?: readonly string[] }): SendNotification {
  const secret = async (reference: string): Promise<string> => {
    try {
      return await p.secret(reference);
    } catch (cause) {
      if (cause instanceof SecretUnavailable) throw new NotifyError('SecretUnavailable', cause.message);
      throw cause;
    }
  };
  return (notifier, notification, signal) => send(notifier.spec, notification, { ...p, secret, signal });
}

function send(spec: NotifierSpec, notification: Notification, world: SendWorld): Promise<void> {
  switch (spec.type) {
    case 'notifier-webhook':
      return sendWebhook(spec, notification, world);
    case 'notifier-slack':
      return sendSlack(spec, notification, world);
    case 'notifier-email':
      return sendEmail(spec, notification, world);
  }
}
