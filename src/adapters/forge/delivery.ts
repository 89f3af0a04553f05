import { createHash, createHmac, timingSafeEqual } from 'node:crypto';
import { limits } from '../../core/model/limits.ts';
import type { ForgeDelivery, WebhookReader } from '../../ports/forge.ts';

/** A delivery as it came, and what was made of it. */
export type RawDelivery = Parameters<WebhookReader['read']>[0];
export type ReadDelivery = ReturnType<WebhookReader['read']>;

type Refusal = Extract<ReadDelivery, { readonly ok: false }>;

export function refuseDelivery(code: Refusal['code'], message: string): Refusal {
  return { ok: false, code, message };
}

/** Whether two secrets are the same, in a time that tells nothing of either, not even a length. */
export function isSameSecret(given: string, expected: string): boolean {
  const digest = (text: string): Buffer => createHash('sha256').update(text, 'utf8').digest();
  return timingSafeEqual(digest(given), digest(expected));
}

/** Whether `signature` (raw bytes) is the HMAC-SHA256 of `content` under `key`, in constant time. With an empty key, which everybody knows, nothing is. */
export function isHmacOf(signature: Uint8Array, key: string | Uint8Array, content: readonly (string | Uint8Array)[]): boolean {
  if (key.length === 0) return false;
  const hmac = createHmac('sha256', key);
  for (const part of content) hmac.update(part);
  const expected = hmac.digest();
  return signature.length === expected.length && timingSafeEqual(expected, signature);
}

const DELIVERY_ID = /^[\x21-\x7e]+$/;

/** A delivery's id from a header; null where it is missing, too long or not printable. */
export function deliveryIdOf(text: string): string | null {
  return DELIVERY_ID.test(text) && text.length <= limits.deliveryIdChars ? text : null;
}

/** The payload's object; null where the bytes are not UTF-8, not JSON or no object: a delivery that was cut off. */
export function payloadOf(body: Uint8Array): Payload | null {
  try {
    return objectIn(JSON.parse(new TextDecoder('utf-8', { fatal: true }).decode(body)));
  } catch {
    return null;
  }
}

/** JSON of which nothing is known. */
export type Payload = Readonly<Record<string, unknown>>;

export function objectIn(value: unknown): Payload | null {
  return typeof value === 'object' && value !== null && !Array.isArray(value) ? (value as Payload) : null;
}

/** The value at a path of members; undefined where there is none. */
export function valueAt(payload: Payload, ...path: readonly string[]): unknown {
  return path.reduce<unknown>((value, name) => {
    const object = objectIn(value);
    return object !== null && Object.hasOwn(object, name) ? object[name] : undefined;
  }, payload);
}

/** `owner/name` as a payload says, bounded. */
export function repositoryIn(value: unknown): string | null {
  return typeof value === 'string' && value.length > 0 && value.length <= limits.gitUrlChars ? value : null;
}

/** The number of a proposal. */
export function numberIn(value: unknown): number | null {
  return typeof value === 'number' && Number.isSafeInteger(value) && value > 0 ? value : null;
}

/** What is read of a payload after its sender is known. */
export type DeliveryHint = Omit<ForgeDelivery, 'id'>;
