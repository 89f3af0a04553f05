import { createHash } from 'node:crypto';
import { canonicalBytes, type JsonObject } from './canonical-json.ts';

/** `sha256:` and 64 lower-case hexadecimal digits. */
export type Digest = string & { readonly __brand: 'Digest' };

const DIGEST = /^sha256:[0-9a-f]{64}$/;

/** Whether `text` has the form of a digest. */
export function isDigest(text: unknown): text is Digest {
  return typeof text === 'string' && DIGEST.test(text);
}

/** @throws RangeError when `text` is not `sha256:` and 64 lower-case hexadecimal digits. */
export function parseDigest(text: string): Digest {
  if (!isDigest(text)) throw new RangeError(`not a sha256 digest: ${JSON.stringify(text.slice(0, 100))}`);
  return text;
}

/** sha256 of raw bytes. */
export function digestOfBytes(bytes: Uint8Array | string): Digest {
  return `sha256:${createHash('sha256').update(bytes).digest('hex')}` as Digest;
}

/** The 64 hexadecimal digits alone, as in-toto digest sets and artifact paths want them. */
export function hexOf(digest: Digest): string {
  return digest.slice('sha256:'.length);
}

/** A preimage: canonical JSON object whose `type` names word and version (TRUST "Words"). */
export type Preimage = JsonObject & { readonly type: `stella/${string}/v${number}` };

/** sha256 over the canonical JSON of a preimage. */
export function digestOf(preimage: Preimage): Digest {
  return digestOfBytes(canonicalBytes(preimage));
}
