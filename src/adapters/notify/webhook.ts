import { createHmac } from 'node:crypto';
import { wordsOf, type Notification } from '../../core/proposal/notification.ts';
import { NotifyError } from '../../ports/notifier.ts';
import { postJson } from './post-json.ts';
import type { Sender } from './sender.ts';

/**
 * A JSON body with its HMAC: `X-Stella-Signature: sha256=<hex>` over `<delivery id>.<body>`, so that neither can be put to the other. `X-Stella-Delivery` is the same each time it is tried: a
 * receiver that keeps it gets each notification once.
 */
export const sendWebhook: Sender<'notifier-webhook'> = async (spec, notification, { secret, network, signal }) => {
  const url = URL.parse(spec.url);
  if (url === null) throw new NotifyError('Refused', 'its url is none');
  const body = bodyOf(spec, notification);
  const signature = createHmac('sha256', await secret(spec.secretRef)).update(`${notification.id}.${body}`).digest('hex');
  await postJson({ url, body, network, signal, headers: { 'x-stella-delivery': notification.id, 'x-stella-event': notification.event, 'x-stella-signature': `sha256=${signature}`, 'user-agent': 'stella-gitops' } });
};

function bodyOf(spec: Parameters<typeof sendWebhook>[0], notification: Notification): string {
  return JSON.stringify({ ...notification, ...wordsOf(spec, notification) });
}
