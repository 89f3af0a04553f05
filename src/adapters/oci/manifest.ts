import { type Digest, isDigest } from '../../core/model/digest.ts';
import { limits } from '../../core/model/limits.ts';
import { type Platform, RegistryError } from '../../ports/blob-source.ts';
import { quoted } from './reference.ts';

export const mediaTypes = {
  ociIndex: 'application/vnd.oci.image.index.v1+json',
  ociManifest: 'application/vnd.oci.image.manifest.v1+json',
  ociConfig: 'application/vnd.oci.image.config.v1+json',
  ociLayerGzip: 'application/vnd.oci.image.layer.v1.tar+gzip',
  dockerList: 'application/vnd.docker.distribution.manifest.list.v2+json',
  dockerManifest: 'application/vnd.docker.distribution.manifest.v2+json',
} as const;

/** All four, always: a registry answers 404 for a manifest whose type was not asked for. */
export const acceptManifests = [mediaTypes.ociIndex, mediaTypes.ociManifest, mediaTypes.dockerList, mediaTypes.dockerManifest].join(', ');

export type Descriptor = { readonly mediaType: string; readonly digest: Digest; readonly size: number };

export type ImageManifest = {
  readonly kind: 'image';
  readonly mediaType: string;
  readonly config: Descriptor;
  readonly layers: readonly Descriptor[];
};

export type ImageIndex = {
  readonly kind: 'index';
  readonly mediaType: string;
  readonly manifests: readonly (Descriptor & { readonly platform?: Platform })[];
};

/**
 * Parses an image manifest or a multi-platform index, of OCI or Docker v2.
 * The content decides what it is, never a header: one set of bytes must not mean two things.
 * @throws RegistryError `UnsupportedManifest`
 */
export function parseManifest(bytes: Uint8Array): ImageManifest | ImageIndex {
  const document = parseObject(bytes);
  const hasLayers = 'layers' in document || 'config' in document;
  const hasManifests = 'manifests' in document;
  if (document['schemaVersion'] !== 2) throw unsupported('it is not of schema version 2; push the image with a current tool');
  if (hasLayers === hasManifests) throw unsupported('it must be either an image manifest or an index, and it is neither or both');
  return hasManifests ? parseIndex(document) : parseImage(document);
}

/**
 * The manifest of an index that fits `platform`; the first one, if several do.
 * @throws RegistryError `PlatformUnknown`, which lists what there is.
 */
export function choosePlatform(index: ImageIndex, platform: Platform): Descriptor {
  const fitting = index.manifests.filter((entry) => entry.platform?.os === platform.os && entry.platform.architecture === platform.architecture);
  const chosen =
    fitting.find((entry) => variantOf(entry.platform) === variantOf(platform)) ??
    fitting.find((entry) => entry.platform?.variant === undefined) ??
    (platform.variant === undefined ? fitting[0] : undefined);
  if (chosen !== undefined) return chosen;
  const offered = index.manifests.flatMap((entry) => (entry.platform === undefined ? [] : [platformName(entry.platform)]));
  throw new RegistryError(
    'PlatformUnknown',
    'stall',
    `the image has nothing for ${platformName(platform)}; it offers ${quoted(offered.join(', '))}. Build it for this platform or place it elsewhere`,
  );
}

function platformName(platform: Platform): string {
  return [platform.os, platform.architecture, ...(platform.variant === undefined ? [] : [platform.variant])].join('/');
}

function variantOf(platform: Platform | undefined): string | undefined {
  // v8 is what arm64 means when it says nothing.
  return platform?.architecture === 'arm64' && platform.variant === undefined ? 'v8' : platform?.variant;
}

type Fields = { readonly [key: string]: unknown };

function parseObject(bytes: Uint8Array): Fields {
  let value: unknown;
  try {
    value = JSON.parse(new TextDecoder('utf-8', { fatal: true }).decode(bytes));
  } catch (cause) {
    throw unsupported('it is not JSON', { cause });
  }
  if (!isFields(value)) throw unsupported('it is not a JSON object');
  return value;
}

function parseImage(document: Fields): ImageManifest {
  const mediaType = typeOf(document, mediaTypes.ociManifest, mediaTypes.dockerManifest);
  const layers = listOf(document['layers'], 'layers').map((layer) => parseDescriptor(layer, 'a layer'));
  return { kind: 'image', mediaType, config: parseDescriptor(document['config'], 'config'), layers };
}

function parseIndex(document: Fields): ImageIndex {
  const mediaType = typeOf(document, mediaTypes.ociIndex, mediaTypes.dockerList);
  const manifests = listOf(document['manifests'], 'manifests').map((entry) => {
    const platform = parsePlatform(isFields(entry) ? entry['platform'] : undefined);
    return { ...parseDescriptor(entry, 'a manifest'), ...(platform === undefined ? {} : { platform }) };
  });
  return { kind: 'index', mediaType, manifests };
}

function typeOf(document: Fields, fallback: string, other: string): string {
  const said = document['mediaType'];
  if (said === undefined) return fallback;
  if (said === fallback || said === other) return said;
  throw unsupported(`its mediaType ${quoted(String(said))} does not fit its content`);
}

function listOf(value: unknown, field: string): readonly unknown[] {
  if (!Array.isArray(value)) throw unsupported(`${field} is not a list`);
  if (value.length > limits.layersPerImage) throw unsupported(`${field} has ${value.length} entries, the limit is ${limits.layersPerImage}`);
  return value;
}

function parseDescriptor(value: unknown, field: string): Descriptor {
  if (!isFields(value)) throw unsupported(`${field} is not a descriptor`);
  const { mediaType, digest, size } = value;
  if (typeof mediaType !== 'string') throw unsupported(`${field} has no mediaType`);
  if (!isDigest(digest)) throw unsupported(`${field} has no sha256 digest`);
  if (typeof size !== 'number' || !Number.isSafeInteger(size) || size < 0) throw unsupported(`${field} has no size`);
  return { mediaType, digest, size };
}

function parsePlatform(value: unknown): Platform | undefined {
  if (!isFields(value)) return undefined;
  const { os, architecture, variant } = value;
  if (typeof os !== 'string' || typeof architecture !== 'string') return undefined;
  return { os, architecture, ...(typeof variant === 'string' && variant !== '' ? { variant } : {}) };
}

function isFields(value: unknown): value is Fields {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}

function unsupported(why: string, options?: ErrorOptions): RegistryError {
  return new RegistryError('UnsupportedManifest', 'stall', `the manifest cannot be used: ${why}`, options);
}
