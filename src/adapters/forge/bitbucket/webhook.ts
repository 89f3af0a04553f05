import type { WebhookReader } from '../../../ports/forge.ts';
import { type DeliveryHint, deliveryIdOf, isHmacOf, numberIn, type Payload, payloadOf, type RawDelivery, type ReadDelivery, refuseDelivery, repositoryIn, valueAt } from '../delivery.ts';

const SIGNATURE = /^sha256=([0-9a-f]{64})$/;

/** Webhooks of Bitbucket Cloud: HMAC-SHA256 of the body in `X-Hub-Signature`, the event in `X-Event-Key`, an id in `X-Request-UUID` that stays when it is sent again. */
export const bitbucketWebhook: WebhookReader = { type: 'bitbucket', read };

function read({ headers, body, secret }: RawDelivery): ReadDelivery {
  const given = headers('x-hub-signature');
  if (given === '') return refuseDelivery('SignatureMissing', 'the delivery has no X-Hub-Signature: set the secret of the webhook in Bitbucket');
  const signature = SIGNATURE.exec(given)?.[1];
  if (signature === undefined) return refuseDelivery('SignatureInvalid', 'X-Hub-Signature is not sha256= and 64 hexadecimal digits');
  if (!isHmacOf(Buffer.from(signature, 'hex'), secret, [body])) return refuseDelivery('SignatureInvalid', 'X-Hub-Signature is not that of this body under the configured secret');
  const id = deliveryIdOf(headers('x-request-uuid'));
  if (id === null) return refuseDelivery('DeliveryInvalid', 'the delivery has no usable X-Request-UUID');
  const payload = payloadOf(body);
  if (payload === null) return refuseDelivery('PayloadInvalid', 'the body is no JSON object');
  return { ok: true, delivery: { id, ...hintOf(headers('x-event-key'), payload) } };
}

function hintOf(event: string, payload: Payload): DeliveryHint {
  const repository = repositoryIn(valueAt(payload, 'repository', 'full_name'));
  if (event === 'repo:push') return { event: 'push', repository, number: null };
  if (!event.startsWith('pullrequest:')) return { event: 'other', repository, number: null };
  const number = numberIn(valueAt(payload, 'pullrequest', 'id'));
  return { event: event.startsWith('pullrequest:comment_') ? 'comment' : 'proposal', repository, number };
}
