import { createHash } from 'node:crypto';
import { canonicalText } from './canonical-json.ts';
import type { Digest } from './digest.ts';

/** 36 characters, lower case: `2ed6657d-e927-568b-95e1-2665a8aea6a2`. */
export type Uuid = string & { readonly __brand: 'Uuid' };

const FORM = /^[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}$/;

/** The namespace of all ids of this product; itself version 5 of the DNS namespace and `stella-gitops.dev`. */
export const STELLA_NAMESPACE = '48a248b3-58ae-54df-898b-d177548bef73' as Uuid;

/** Whether `text` is a UUID in its lower-case text form. */
export function isUuid(text: unknown): text is Uuid {
  return typeof text === 'string' && FORM.test(text);
}

/**
 * UUID version 5 of a name in a namespace (RFC 9562 §5.5): SHA-1, which is no protection here but a naming rule.
 * @throws RangeError when `namespace` is not a UUID.
 */
export function uuidV5(namespace: Uuid, name: string): Uuid {
  if (!isUuid(namespace)) throw new RangeError(`not a UUID: ${JSON.stringify(namespace)}`);
  const bytes = createHash('sha1').update(Buffer.from(namespace.replaceAll('-', ''), 'hex')).update(name, 'utf8').digest().subarray(0, 16);
  bytes.writeUInt8((bytes.readUInt8(6) & 0x0f) | 0x50, 6);
  bytes.writeUInt8((bytes.readUInt8(8) & 0x3f) | 0x80, 8);
  const hex = bytes.toString('hex');
  return [hex.slice(0, 8), hex.slice(8, 12), hex.slice(12, 16), hex.slice(16, 20), hex.slice(20)].join('-') as Uuid;
}

/** The id of a thing in API and tables: the same in every database that is built from the same log (DESIGN §3). */
export function derivedId(logId: Digest, kind: string, name: string, generation: number, ...more: readonly number[]): Uuid {
  return uuidV5(STELLA_NAMESPACE, canonicalText([logId, kind, name, generation, ...more]));
}
