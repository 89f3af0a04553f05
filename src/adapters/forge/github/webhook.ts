import type { WebhookReader } from '../../../ports/forge.ts';
import { type DeliveryHint, deliveryIdOf, isHmacOf, numberIn, objectIn, type Payload, payloadOf, type RawDelivery, type ReadDelivery, refuseDelivery, repositoryIn, valueAt } from '../delivery.ts';

const SIGNATURE = /^sha256=([0-9a-f]{64})$/;

/** Webhooks of GitHub: HMAC-SHA256 of the body in `X-Hub-Signature-256`, the event in `X-GitHub-Event`, an id in `X-GitHub-Delivery` that stays when it is sent again. */
export const githubWebhook: WebhookReader = { type: 'github', read };

function read({ headers, body, secret }: RawDelivery): ReadDelivery {
  const given = headers('x-hub-signature-256');
  if (given === '') return refuseDelivery('SignatureMissing', 'the delivery has no X-Hub-Signature-256: set the secret of the webhook in GitHub');
  const signature = SIGNATURE.exec(given)?.[1];
  if (signature === undefined) return refuseDelivery('SignatureInvalid', 'X-Hub-Signature-256 is not sha256= and 64 hexadecimal digits');
  if (!isHmacOf(Buffer.from(signature, 'hex'), secret, [body])) return refuseDelivery('SignatureInvalid', 'X-Hub-Signature-256 is not that of this body under the configured secret');
  const id = deliveryIdOf(headers('x-github-delivery'));
  if (id === null) return refuseDelivery('DeliveryInvalid', 'the delivery has no usable X-GitHub-Delivery');
  const payload = payloadOf(body);
  if (payload === null) return refuseDelivery('PayloadInvalid', 'the body is no JSON object; set the content type of the webhook to application/json');
  return { ok: true, delivery: { id, ...hintOf(headers('x-github-event'), payload) } };
}

function hintOf(event: string, payload: Payload): DeliveryHint {
  const repository = repositoryIn(valueAt(payload, 'repository', 'full_name'));
  if (event === 'pull_request') return { event: 'proposal', repository, number: numberIn(valueAt(payload, 'number')) };
  if (event === 'push') return { event: 'push', repository, number: null };
  if (event === 'merge_group') return { event: 'merge-queue', repository, number: null };
  // A comment on an issue that is no pull request concerns nobody here.
  const isOnProposal = event === 'issue_comment' && objectIn(valueAt(payload, 'issue', 'pull_request')) !== null;
  return isOnProposal ? { event: 'comment', repository, number: numberIn(valueAt(payload, 'issue', 'number')) } : { event: 'other', repository, number: null };
}
