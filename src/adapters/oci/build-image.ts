import { gzipSync } from 'node:zlib';
import { pack } from 'tar-stream';
import { canonicalBytes } from '../../core/model/canonical-json.ts';
import { type Digest, digestOfBytes } from '../../core/model/digest.ts';
import type { Platform } from '../../ports/blob-source.ts';
import { type Descriptor, mediaTypes } from './manifest.ts';

/** One file of an image: path relative to the image's root, permission bits in `mode`. */
export type ImageFile = { readonly path: string; readonly content: string | Uint8Array; readonly mode: number };

/** An image in memory: the manifest, and every blob that it names. */
export type BuiltImage = {
  readonly manifest: Descriptor;
  readonly manifestBytes: Uint8Array;
  readonly blobs: ReadonlyMap<Digest, Uint8Array>;
};

export const defaultPlatform: Platform = { os: 'linux', architecture: 'amd64' };

/** A layer: its blob, and the digest of the tar inside, which the image's configuration names. */
export type BuiltLayer = { readonly mediaType: string; readonly bytes: Uint8Array; readonly diffId: Digest };

/** A gzip'd tar layer of these files. The same files give the same bytes: sorted, owned by 0:0, dated 1970. */
export async function buildLayer(files: readonly ImageFile[]): Promise<BuiltLayer> {
  const archive = pack();
  const sorted = [...files].sort((a, b) => (a.path < b.path ? -1 : 1));
  for (const file of sorted) archive.entry({ name: file.path, mode: file.mode, mtime: new Date(0), uid: 0, gid: 0 }, Buffer.from(file.content));
  archive.finalize();
  const chunks: Uint8Array[] = [];
  for await (const chunk of archive as AsyncIterable<Uint8Array>) chunks.push(chunk);
  return layerOfTar(Buffer.concat(chunks));
}

/** A gzip'd layer of a finished tar. */
export function layerOfTar(tar: Uint8Array): BuiltLayer {
  const bytes = gzipSync(tar, { level: 9 });
  bytes[9] = 0xff; // RFC 1952: unknown operating system; zlib writes the one it runs on
  return { mediaType: mediaTypes.ociLayerGzip, bytes, diffId: digestOfBytes(tar) };
}

/** An OCI image of finished layers, lowest first. */
export function buildImage(layers: readonly BuiltLayer[], platform: Platform = defaultPlatform): BuiltImage {
  const config = canonicalBytes({ ...platform, config: {}, rootfs: { type: 'layers', diff_ids: layers.map((layer) => layer.diffId) } });
  const manifestBytes = canonicalBytes({
    schemaVersion: 2,
    mediaType: mediaTypes.ociManifest,
    config: descriptorOf(mediaTypes.ociConfig, config),
    layers: layers.map((layer) => descriptorOf(layer.mediaType, layer.bytes)),
  });
  const blobs = new Map<Digest, Uint8Array>([[digestOfBytes(config), config]]);
  for (const layer of layers) blobs.set(digestOfBytes(layer.bytes), layer.bytes);
  return { manifest: descriptorOf(mediaTypes.ociManifest, manifestBytes), manifestBytes, blobs };
}

/** The bytes of a multi-platform index over these images. */
export function buildIndex(images: readonly { readonly image: BuiltImage; readonly platform: Platform }[]): Uint8Array {
  const manifests = images.map(({ image, platform }) => ({ ...image.manifest, platform: { ...platform } }));
  return canonicalBytes({ schemaVersion: 2, mediaType: mediaTypes.ociIndex, manifests });
}

/** Media type, digest and size of these bytes. */
export function descriptorOf(mediaType: string, bytes: Uint8Array): Descriptor {
  return { mediaType, digest: digestOfBytes(bytes), size: bytes.byteLength };
}
