import { createHmac, timingSafeEqual } from 'node:crypto';
import type { IncomingMessage } from 'node:http';
import type { Context } from 'koa';
import { limits } from '../core/model/limits.ts';
import type { ForgeType } from '../ports/forge.ts';
import { Problem } from './problem.ts';
import type { ApiWorld } from './world.ts';

const SIGNATURE = /^sha256=([0-9a-f]{64})$/;
const DELIVERY = /^[\x21-\x7e]+$/;

/** Deliveries that were accepted, so that one that is sent again wakes nobody. The oldest gives way. */
export class SeenDeliveries {
  readonly #ids = new Set<string>();

  /** @returns false when it was seen before */
  add(id: string): boolean {
    if (this.#ids.has(id)) return false;
    const oldest = this.#ids.size >= limits.webhookDeliveries ? this.#ids.values().next().value : undefined;
    if (oldest !== undefined) this.#ids.delete(oldest);
    this.#ids.add(id);
    return true;
  }
}

/**
 * A signed "look again": HMAC-SHA256 of the body in `x-stella-signature: sha256=<hex>`, an id in `x-stella-delivery`. What the body says is
 * never acted upon: the reconciler looks at the repository itself.
 */
export async function answerWebhook(context: Context, world: Pick<ApiWorld, 'webhookSecret' | 'wake'>, seen: SeenDeliveries): Promise<void> {
  const { webhookSecret } = world;
  if (webhookSecret === null) throw new Problem('WebhookOff', 'this server has no webhook: set webhook.secretRef in its configuration');
  const signature = SIGNATURE.exec(context.get('x-stella-signature'))?.[1];
  if (signature === undefined) throw new Problem('SignatureMissing', 'send x-stella-signature: sha256= and the HMAC-SHA256 of the body in hexadecimal digits');
  const delivery = context.get('x-stella-delivery');
  if (!DELIVERY.test(delivery) || delivery.length > limits.deliveryIdChars) throw new Problem('DeliveryInvalid', `send x-stella-delivery: an id of at most ${limits.deliveryIdChars} printable characters`);
  const body = await boundedBody(context.req, limits.webhookBytes);
  const expected = createHmac('sha256', webhookSecret).update(body).digest();
  if (!timingSafeEqual(expected, Buffer.from(signature, 'hex'))) throw new Problem('SignatureInvalid', 'the signature is not that of this body under the configured secret');
  const isNew = seen.add(delivery);
  if (isNew) world.wake('webhook');
  context.status = 202;
  context.body = { data: { woken: isNew } };
}

/**
 * A delivery of the configured forge, signed in its own way. A delivery that was seen before, is for another repository, or is about something
 * else wakes nobody, but is taken: forges switch off webhooks that they cannot deliver.
 */
export async function answerForgeWebhook(context: Context, { forgeWebhook }: Pick<ApiWorld, 'forgeWebhook'>, seen: SeenDeliveries, type: ForgeType): Promise<void> {
  if (forgeWebhook?.reader.type !== type) throw new Problem('WebhookOff', `this server has no webhook for ${type}: set forge.type and forge.webhookSecretRef in its configuration`);
  const { reader, secret, repository, onDelivery } = forgeWebhook;
  const headers = (name: string): string => context.get(name);
  // Whoever shows no signature at all has no body read for it.
  const unread = reader.read({ headers, body: new Uint8Array(), secret });
  if (!unread.ok && unread.code === 'SignatureMissing') throw new Problem(unread.code, unread.message);
  const body = await boundedBody(context.req, limits.webhookBytes);
  const read = reader.read({ headers, body, secret });
  if (!read.ok) throw new Problem(read.code, read.message);
  const { id, event } = read.delivery;
  if (!DELIVERY.test(id) || id.length > limits.deliveryIdChars) throw new Problem('DeliveryInvalid', `the id of a delivery has at most ${limits.deliveryIdChars} printable characters`);
  const isNew = seen.add(`${type} ${id}`);
  const isOurs = read.delivery.repository?.toLowerCase() === repository.toLowerCase();
  if (isNew) onDelivery(read.delivery, isOurs);
  context.status = 202;
  context.body = { data: { woken: isNew && isOurs && event !== 'other' } };
}

/** @throws Problem `BodyTooLarge`, by the length that is announced where there is one, and before anything is done with the body */
async function boundedBody(request: IncomingMessage, maxBytes: number): Promise<Buffer> {
  if (Number(request.headers['content-length'] ?? 0) > maxBytes) throw tooLarge(maxBytes);
  const chunks: Buffer[] = [];
  let bytes = 0;
  for await (const chunk of request as AsyncIterable<Buffer>) {
    bytes += chunk.length;
    if (bytes > maxBytes) throw tooLarge(maxBytes);
    chunks.push(chunk);
  }
  return Buffer.concat(chunks);
}

function tooLarge(maxBytes: number): Problem {
  return new Problem('BodyTooLarge', `a delivery has at most ${maxBytes} bytes`);
}
