import type { Digest } from '../../core/model/digest.ts';
import { type BlobSource, type Platform, RegistryError } from '../../ports/blob-source.ts';
import { choosePlatform, type Descriptor, type ImageManifest, parseManifest } from './manifest.ts';

/** An image for one platform, read by digest from what a release pins. */
export type PinnedImage = {
  /** What the release pins: an index or a manifest. */
  readonly digest: Digest;
  /** The manifest for the platform; the same as `digest` when the release pins no index. */
  readonly manifestDigest: Digest;
  readonly layers: readonly Descriptor[];
};

/**
 * Reads manifest and layers of a pinned image; of an index, the manifest that fits `platform`.
 * @throws RegistryError, `PlatformUnknown` when the index has nothing for it
 */
export async function readImage(
  source: BlobSource,
  pinned: { readonly repository: string; readonly digest: Digest },
  platform: Platform,
  signal?: AbortSignal,
): Promise<PinnedImage> {
  const top = parseManifest(await source.readManifest(pinned.repository, pinned.digest, signal));
  if (top.kind === 'image') return { digest: pinned.digest, manifestDigest: pinned.digest, layers: top.layers };
  const chosen = choosePlatform(top, platform);
  const bytes = await source.readManifest(pinned.repository, chosen.digest, signal);
  if (bytes.byteLength !== chosen.size) {
    throw new RegistryError('DigestMismatch', 'stall', `the index gives ${chosen.digest} another size than it has`);
  }
  return { digest: pinned.digest, manifestDigest: chosen.digest, layers: requireImage(parseManifest(bytes)).layers };
}

function requireImage(manifest: ReturnType<typeof parseManifest>): ImageManifest {
  if (manifest.kind === 'image') return manifest;
  throw new RegistryError('UnsupportedManifest', 'stall', 'an index inside an index is not supported; pin the inner one');
}
