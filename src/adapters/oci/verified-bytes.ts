import { createHash } from 'node:crypto';
import { type Digest, digestOfBytes, hexOf } from '../../core/model/digest.ts';
import { limits } from '../../core/model/limits.ts';
import { RegistryError } from '../../ports/blob-source.ts';

/**
 * Passes `chunks` on and compares size and sha256 with what was asked for.
 * @throws RegistryError `DigestMismatch` as soon as more than `size` bytes came, or at the end; `BlobTooLarge` before the first byte.
 */
export async function* verifiedBlob(chunks: AsyncIterable<Uint8Array>, digest: Digest, size: number): AsyncGenerator<Uint8Array> {
  requireBlobSize(digest, size);
  const sha256 = createHash('sha256');
  let seenBytes = 0;
  for await (const chunk of chunks) {
    seenBytes += chunk.byteLength;
    if (seenBytes > size) throw mismatch(digest, `it is longer than the ${size} bytes that the manifest says`);
    sha256.update(chunk);
    yield chunk;
  }
  if (seenBytes !== size) throw mismatch(digest, `it has ${seenBytes} bytes, the manifest says ${size}`);
  const found = sha256.digest('hex');
  if (found !== hexOf(digest)) throw mismatch(digest, `its content is sha256:${found}`);
}

/** @throws RegistryError `BlobTooLarge` when `size` is no sensible number of bytes. */
export function requireBlobSize(digest: Digest, size: number): void {
  if (Number.isSafeInteger(size) && size >= 0 && size <= limits.layerBytes) return;
  throw new RegistryError('BlobTooLarge', 'stall', `the blob ${digest} is said to have ${size} bytes, the limit is ${limits.layerBytes}`);
}

/** @throws RegistryError `DigestMismatch` when `bytes` are not those of `digest`. */
export function requireDigest(bytes: Uint8Array, digest: Digest): void {
  const found = digestOfBytes(bytes);
  if (found !== digest) throw mismatch(digest, `its content is ${found}`);
}

/**
 * All bytes of `chunks`, at most `maxBytes`.
 * @throws RegistryError `ManifestTooLarge`; the rest is not read.
 */
export async function readLimited(chunks: AsyncIterable<Uint8Array>, maxBytes: number): Promise<Uint8Array> {
  const parts: Uint8Array[] = [];
  let seenBytes = 0;
  for await (const chunk of chunks) {
    seenBytes += chunk.byteLength;
    if (seenBytes > maxBytes) throw new RegistryError('ManifestTooLarge', 'stall', `the answer is longer than the limit of ${maxBytes} bytes`);
    parts.push(chunk);
  }
  return Buffer.concat(parts);
}

function mismatch(digest: Digest, found: string): RegistryError {
  return new RegistryError(
    'DigestMismatch',
    'stall',
    `the content of ${digest} is not what its digest says: ${found}. It was changed or cut on the way or at rest; push the image again or repair the copy`,
  );
}
