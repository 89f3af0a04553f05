import { setTimeout as sleepMs } from 'node:timers/promises';
import { type Digest, digestOfBytes, isDigest } from '../../core/model/digest.ts';
import { limits } from '../../core/model/limits.ts';
import { type BlobSource, RegistryError } from '../../ports/blob-source.ts';
import type { DigestResolver, ResolvedTag } from '../../ports/digest-resolver.ts';
import { type Backoff } from './backoff.ts';
import { acceptManifests, parseManifest } from './manifest.ts';
import { asRefusal, isTag, requireRepository, requireTag } from './reference.ts';
import { type Network, parseRegistryAddress } from './registry-address.ts';
import { createRegistryAuthorizer, type RegistryCredential } from './registry-auth.ts';
import { createRegistryTransport, type RegistryTransport } from './registry-transport.ts';
import { requireBlobSize, requireDigest, verifiedBlob } from './verified-bytes.ts';

export type RegistryClientOptions = {
  /** `host`, `host:port`, or a URL without a path; https unless it is this machine. */
  readonly registry: string;
  /** Allows http to a registry on another machine. */
  readonly insecure?: boolean;
  /** Values; whoever calls has resolved the references. */
  readonly credentials?: readonly RegistryCredential[];
  readonly network?: Network;
  readonly now: () => Date;
  readonly backoff: Backoff;
  /** Waits; injected so that tests do not. */
  readonly sleep?: (ms: number, signal?: AbortSignal) => Promise<void>;
  /** Longest silence of the registry, in ms. */
  readonly timeoutMs?: number;
};

const verifiedManifests = 10_000;

/**
 * A client of one registry.
 * @throws RegistryError `InvalidReference` when the address is none, or is not encrypted without `insecure`.
 * Source: OCI Distribution Specification 1.1.
 */
export function createRegistryClient(options: RegistryClientOptions): DigestResolver & BlobSource {
  const address = parseRegistryAddress(options.registry, options.insecure ?? false);
  const settings = { address, network: options.network ?? { offline: false }, timeoutMs: options.timeoutMs ?? limits.registryTimeoutMs };
  const transport = createRegistryTransport({
    settings,
    authorizer: createRegistryAuthorizer(settings, options.credentials ?? [], options.now),
    backoff: options.backoff,
    sleep: options.sleep ?? (async (ms, signal) => void (await sleepMs(ms, undefined, signal === undefined ? {} : { signal }))),
    now: options.now,
  });
  const verified = new Map<string, ResolvedTag>();
  return {
    resolve: (reference) => asRefusal(() => resolveTag(transport, verified, reference.repository, reference.tag)),
    exists: (reference) => asRefusal(() => manifestExists(transport, reference.repository, reference.digest)),
    listTags: (repository) => asRefusal(() => listAllTags(transport, repository)),
    readManifest: (repository, digest, signal) => readManifestByDigest(transport, repository, digest, signal),
    openBlob: (repository, digest, size, signal) => openVerifiedBlob(transport, repository, digest, size, signal),
  };
}

async function resolveTag(transport: RegistryTransport, verified: Map<string, ResolvedTag>, repository: string, tag: string): Promise<ResolvedTag> {
  requireRepository(repository);
  requireTag(tag);
  const path = `/v2/${repository}/manifests/${tag}`;
  const head = await transport.head(repository, path, acceptManifests);
  const said = head.headers.get('docker-content-digest');
  const known = said === null ? undefined : verified.get(`${repository}@${said}`);
  if (head.status === 200 && known !== undefined) return known;
  if (head.status === 404) throw await unknownTag(transport, repository, tag);
  // Unknown digest, no digest, or a registry that does not do HEAD: the body decides, at least once.
  const answer = await transport.get(repository, path, { accept: acceptManifests, maxBytes: limits.manifestBytes });
  if (answer.status === 404) throw await unknownTag(transport, repository, tag);
  const digest = digestOfBytes(answer.body);
  requireSaidDigest(answer.headers.get('docker-content-digest'), digest, `${repository}:${tag}`);
  const resolved = { ok: true, digest, mediaType: parseManifest(answer.body).mediaType, size: answer.body.byteLength } as const;
  if (verified.size >= verifiedManifests) verified.clear();
  verified.set(`${repository}@${digest}`, resolved);
  return resolved;
}

function requireSaidDigest(said: string | null, found: Digest, name: string): void {
  if (said === null || said === found) return;
  const why = isDigest(said) ? `says ${said}, the content is ${found}` : 'names its content by something that is not a sha256 digest';
  throw new RegistryError('RegistryLied', 'stall', `the registry contradicts itself about ${name}: it ${why}; do not use it before this is explained`);
}

/** Registries answer the same 404 for both; the tag list tells which. */
async function unknownTag(transport: RegistryTransport, repository: string, tag: string): Promise<RegistryError> {
  const tagUnknown = new RegistryError('TagUnknown', 'wait', `${repository} has no tag ${tag}; push it, or correct the Release`);
  try {
    const list = await transport.get(repository, `/v2/${repository}/tags/list?n=1`, { accept: 'application/json', maxBytes: limits.manifestBytes });
    return list.status === 404 ? unknownRepository(repository) : tagUnknown;
  } catch (error) {
    if (error instanceof RegistryError) return tagUnknown;
    throw error;
  }
}

function unknownRepository(repository: string): RegistryError {
  return new RegistryError('RepositoryUnknown', 'wait', `there is no repository ${repository}; push an image to it, or correct the Component`);
}

async function manifestExists(transport: RegistryTransport, repository: string, digest: Digest): Promise<{ readonly ok: true; readonly exists: boolean }> {
  requireRepository(repository);
  requireDigestForm(digest);
  const head = await transport.head(repository, `/v2/${repository}/manifests/${digest}`, acceptManifests);
  if (head.status === 404) return { ok: true, exists: false };
  // No digest, or no HEAD at all: the body has to say it.
  if (head.headers.get('docker-content-digest') === null) return await manifestReadable(transport, repository, digest);
  requireSaidDigest(head.headers.get('docker-content-digest'), digest, `${repository}@${digest}`);
  return { ok: true, exists: true };
}

async function manifestReadable(transport: RegistryTransport, repository: string, digest: Digest): Promise<{ readonly ok: true; readonly exists: boolean }> {
  try {
    await readManifestByDigest(transport, repository, digest, undefined);
    return { ok: true, exists: true };
  } catch (error) {
    if (error instanceof RegistryError && error.code === 'BlobUnknown') return { ok: true, exists: false };
    throw error;
  }
}

async function listAllTags(
  transport: RegistryTransport,
  repository: string,
): Promise<{ readonly ok: true; readonly tags: readonly string[]; readonly truncated: boolean }> {
  requireRepository(repository);
  const tags = new Set<string>();
  const seenPages = new Set<string>();
  let path: string | undefined = `/v2/${repository}/tags/list?n=1000`;
  while (path !== undefined && !seenPages.has(path)) {
    // A registry that pages for ever, with or without new tags, is cut off here.
    if (tags.size > limits.tagsPerRepository || seenPages.size > limits.tagsPerRepository) break;
    seenPages.add(path);
    const page = await transport.get(repository, path, { accept: 'application/json', maxBytes: limits.manifestBytes });
    if (page.status === 404) throw unknownRepository(repository);
    for (const tag of parseTagPage(page.body)) tags.add(tag);
    path = nextPage(transport, page.headers.get('link'), path, repository);
  }
  const sorted = [...tags].sort();
  return { ok: true, tags: sorted.slice(0, limits.tagsPerRepository), truncated: path !== undefined || sorted.length > limits.tagsPerRepository };
}

function parseTagPage(body: Uint8Array): readonly string[] {
  try {
    const page: unknown = JSON.parse(Buffer.from(body).toString('utf8'));
    const tags = (page as { readonly tags?: unknown } | null)?.tags ?? [];
    if (Array.isArray(tags)) return tags.filter((tag): tag is string => typeof tag === 'string' && isTag(tag));
  } catch (cause) {
    throw new RegistryError('RegistryLied', 'stall', 'the tag list is not JSON', { cause });
  }
  throw new RegistryError('RegistryLied', 'stall', 'the tag list holds no list of tags');
}

function nextPage(transport: RegistryTransport, link: string | null, from: string, repository: string): string | undefined {
  const target = /<([^>]{1,2048})>\s*;[^,]*\brel="?next"?/i.exec(link ?? '')?.[1];
  if (target === undefined) return undefined;
  const url = URL.parse(target, new URL(from, transport.origin).href);
  // T18: a page elsewhere would take our credentials along.
  if (url === null || url.origin !== transport.origin.origin || url.pathname !== `/v2/${repository}/tags/list`) {
    throw new RegistryError('RegistryLied', 'stall', `the tag list of ${repository} continues somewhere else, which is not followed`);
  }
  return url.pathname + url.search;
}

async function readManifestByDigest(transport: RegistryTransport, repository: string, digest: Digest, signal: AbortSignal | undefined): Promise<Uint8Array> {
  requireRepository(repository);
  requireDigestForm(digest);
  const path = `/v2/${repository}/manifests/${digest}`;
  const answer = await transport.get(repository, path, { accept: acceptManifests, maxBytes: limits.manifestBytes, ...(signal === undefined ? {} : { signal }) });
  if (answer.status === 404) throw new RegistryError('BlobUnknown', 'wait', `${repository} has no manifest ${digest}; it was deleted or never pushed there`);
  requireDigest(answer.body, digest);
  return answer.body;
}

async function* openVerifiedBlob(
  transport: RegistryTransport,
  repository: string,
  digest: Digest,
  size: number,
  signal: AbortSignal | undefined,
): AsyncGenerator<Uint8Array> {
  requireRepository(repository);
  requireDigestForm(digest);
  requireBlobSize(digest, size);
  const answer = await transport.open(repository, `/v2/${repository}/blobs/${digest}`, signal);
  if (answer.status === 404) {
    await answer.discard();
    throw new RegistryError('BlobUnknown', 'wait', `${repository} has no blob ${digest}; push the image again`);
  }
  yield* verifiedBlob(answer.chunks, digest, size);
}

function requireDigestForm(digest: string): void {
  if (!isDigest(digest)) throw new RegistryError('InvalidReference', 'stall', 'the reference holds no sha256 digest');
}

