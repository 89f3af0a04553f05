import type { WebhookReader } from '../../../ports/forge.ts';
import { type DeliveryHint, deliveryIdOf, isHmacOf, numberIn, type Payload, payloadOf, type RawDelivery, type ReadDelivery, refuseDelivery, repositoryIn, valueAt } from '../delivery.ts';

const SIGNATURE = /^[0-9a-f]{64}$/;

/**
 * Webhooks of Gitea and Forgejo: HMAC-SHA256 of the body in `X-Gitea-Signature` (Forgejo: `X-Forgejo-Signature` as well), the event in `X-Gitea-Event`, an id in
 * `X-Gitea-Delivery`.
 */
export const giteaWebhook: WebhookReader = { type: 'gitea', read };

function read({ headers, body, secret }: RawDelivery): ReadDelivery {
  const header = (name: string): string => headers(`x-forgejo-${name}`) || headers(`x-gitea-${name}`);
  const given = header('signature');
  if (given === '') return refuseDelivery('SignatureMissing', 'the delivery has no X-Gitea-Signature: set the secret of the webhook in Gitea or Forgejo');
  if (!SIGNATURE.test(given)) return refuseDelivery('SignatureInvalid', 'X-Gitea-Signature is not 64 hexadecimal digits');
  if (!isHmacOf(Buffer.from(given, 'hex'), secret, [body])) return refuseDelivery('SignatureInvalid', 'X-Gitea-Signature is not that of this body under the configured secret');
  const id = deliveryIdOf(header('delivery'));
  if (id === null) return refuseDelivery('DeliveryInvalid', 'the delivery has no usable X-Gitea-Delivery');
  const payload = payloadOf(body);
  if (payload === null) return refuseDelivery('PayloadInvalid', 'the body is no JSON object; set the content type of the webhook to application/json');
  return { ok: true, delivery: { id, ...hintOf(header('event'), payload) } };
}

function hintOf(event: string, payload: Payload): DeliveryHint {
  const repository = repositoryIn(valueAt(payload, 'repository', 'full_name'));
  if (event === 'push') return { event: 'push', repository, number: null };
  const isOnProposal = event === 'pull_request_comment' || (event === 'issue_comment' && valueAt(payload, 'is_pull') === true);
  if (isOnProposal) return { event: 'comment', repository, number: numberIn(valueAt(payload, 'issue', 'number')) ?? numberIn(valueAt(payload, 'pull_request', 'number')) };
  // Pushes to its branch, reviews and labels have names of their own that begin alike.
  if (event.startsWith('pull_request')) return { event: 'proposal', repository, number: numberIn(valueAt(payload, 'number')) };
  return { event: 'other', repository, number: null };
}
