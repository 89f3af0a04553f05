import type { WebhookReader } from '../../../ports/forge.ts';
import {
  type DeliveryHint, deliveryIdOf, isHmacOf, isSameSecret, numberIn, type Payload, payloadOf, type RawDelivery, type ReadDelivery, refuseDelivery, repositoryIn, valueAt,
} from '../delivery.ts';

/** With this, GitLab's signing tokens begin; what follows is the key in base64. Source: GitLab's REST API for project webhooks, `signing_token`. */
const SIGNING_TOKEN = /^whsec_([A-Za-z0-9+/]{43}=)$/;

/**
 * Webhooks of GitLab. The secret decides how a delivery has to prove itself, so that no sender can choose the weaker way: a signing token
 * (`whsec_…`) asks for a signature over id, time and body (Standard Webhooks 1.0); any other secret is compared with `X-Gitlab-Token`.
 */
export const gitlabWebhook: WebhookReader = { type: 'gitlab', read };

function read(raw: RawDelivery): ReadDelivery {
  const refusal = raw.secret.startsWith('whsec_') ? signatureFault(raw) : tokenFault(raw);
  if (refusal !== null) return refusal;
  const id = deliveryIdOf(idOf(raw));
  if (id === null) return refuseDelivery('DeliveryInvalid', 'the delivery has no usable id: GitLab sends Idempotency-Key, older ones X-Gitlab-Event-UUID');
  const payload = payloadOf(raw.body);
  if (payload === null) return refuseDelivery('PayloadInvalid', 'the body is no JSON object; send the webhook as application/json');
  return { ok: true, delivery: { id, ...hintOf(raw.headers('x-gitlab-event'), payload) } };
}

/** The id that GitLab repeats when it tries again; of a signed delivery the one that is signed. */
function idOf({ headers, secret }: RawDelivery): string {
  if (secret.startsWith('whsec_')) return headers('webhook-id');
  return headers('idempotency-key') || headers('x-gitlab-event-uuid');
}

function tokenFault({ headers, secret }: RawDelivery): ReadDelivery | null {
  const token = headers('x-gitlab-token');
  if (token === '') return refuseDelivery('SignatureMissing', 'the delivery has no X-Gitlab-Token: set the secret token of the webhook in GitLab');
  return isSameSecret(token, secret) ? null : refuseDelivery('SignatureInvalid', 'X-Gitlab-Token is not the configured secret');
}

function signatureFault({ headers, body, secret }: RawDelivery): ReadDelivery | null {
  const key = SIGNING_TOKEN.exec(secret)?.[1];
  if (key === undefined) return refuseDelivery('SignatureInvalid', 'the configured secret begins like a signing token of GitLab and is none: whsec_ and 32 bytes in base64');
  const listed = headers('webhook-signature');
  if (listed === '') return refuseDelivery('SignatureMissing', 'the delivery has no webhook-signature: set the signing token of the webhook in GitLab');
  const content = [`${headers('webhook-id')}.${headers('webhook-timestamp')}.`, body];
  // Several signatures stand side by side while a key is exchanged.
  const signatures = listed.split(' ', 8).map((one) => /^v1,([A-Za-z0-9+/]{43}=)$/.exec(one)?.[1]);
  const isSigned = signatures.some((text) => text !== undefined && isHmacOf(Buffer.from(text, 'base64'), Buffer.from(key, 'base64'), content));
  return isSigned ? null : refuseDelivery('SignatureInvalid', 'webhook-signature is not that of this body under the configured signing token');
}

/** A merge train has no event of its own: it shows as a changed merge request and a push. */
function hintOf(event: string, payload: Payload): DeliveryHint {
  const repository = repositoryIn(valueAt(payload, 'project', 'path_with_namespace'));
  if (event === 'Merge Request Hook') return { event: 'proposal', repository, number: numberIn(valueAt(payload, 'object_attributes', 'iid')) };
  if (event === 'Push Hook') return { event: 'push', repository, number: null };
  const commented = event === 'Note Hook' ? numberIn(valueAt(payload, 'merge_request', 'iid')) : null;
  return { event: commented === null ? 'other' : 'comment', repository, number: commented };
}
