import { stat } from 'node:fs/promises';
import path from 'node:path';
import { type Digest, isDigest } from '../../core/model/digest.ts';
import { limits } from '../../core/model/limits.ts';
import { type BlobSource, RegistryError } from '../../ports/blob-source.ts';
import type { DigestResolver, ResolvedTag } from '../../ports/digest-resolver.ts';
import { blobPath, type LayoutEntry, openInside, parseLayoutIndex, readInside, requireLayoutVersion, tagOf, unreadable } from './layout-folder.ts';
import { parseManifest } from './manifest.ts';
import { asRefusal, isTag, requireRepository, requireTag } from './reference.ts';
import { requireBlobSize, requireDigest, verifiedBlob } from './verified-bytes.ts';

/**
 * A folder of OCI image layouts in the place of a registry, for air gaps and for the demo: each repository is the layout
 * `<root>/<repository path>/`, a tag is the annotation `org.opencontainers.image.ref.name` in its `index.json`.
 * Nothing is kept in memory: a tag that moves is seen at the next look.
 * Source: OCI Image Specification, image layout 1.0.0.
 */
export function createImageLayout(options: { readonly root: string }): DigestResolver & BlobSource {
  const root = path.resolve(options.root);
  return {
    resolve: (reference) => asRefusal(() => resolveTag(root, reference.repository, reference.tag)),
    exists: ({ repository, digest }) => asRefusal(() => manifestExists(root, repository, digest)),
    listTags: (repository) => asRefusal(() => listTags(root, repository)),
    readManifest: async (repository, digest) => {
      const bytes = await findManifest(root, repository, digest);
      if (bytes === undefined) throw unknownBlob(repository, digest);
      return bytes;
    },
    openBlob: (repository, digest, size, signal) => openBlob(root, repository, digest, size, signal),
  };
}

async function resolveTag(root: string, repository: string, tag: string): Promise<ResolvedTag> {
  requireTag(tag);
  const entries = (await readEntries(root, repository)).filter((entry) => tagOf(entry) === tag);
  const [entry] = entries;
  if (entry === undefined) {
    throw new RegistryError('TagUnknown', 'wait', `${repository} has no tag ${tag}; add it to the image layout, or correct the Release`);
  }
  if (entries.some((other) => other.digest !== entry.digest)) {
    throw new RegistryError('RegistryLied', 'stall', `index.json of ${repository} gives the tag ${tag} to two manifests; write the layout again`);
  }
  const bytes = await findManifest(root, repository, entry.digest);
  if (bytes === undefined) throw unknownBlob(repository, entry.digest);
  if (bytes.byteLength !== entry.size) {
    throw new RegistryError('RegistryLied', 'stall', `index.json of ${repository} gives ${entry.digest} another size than it has`);
  }
  return { ok: true, digest: entry.digest, mediaType: parseManifest(bytes).mediaType, size: bytes.byteLength };
}

async function manifestExists(root: string, repository: string, digest: Digest): Promise<{ readonly ok: true; readonly exists: boolean }> {
  await readEntries(root, repository).catch((error: unknown) => {
    if (error instanceof RegistryError && error.code === 'RepositoryUnknown') return [];
    throw error;
  });
  return { ok: true, exists: (await findManifest(root, repository, digest)) !== undefined };
}

async function listTags(root: string, repository: string): Promise<{ readonly ok: true; readonly tags: readonly string[]; readonly truncated: boolean }> {
  const tags = (await readEntries(root, repository)).flatMap((entry) => tagOf(entry) ?? []).filter(isTag);
  return { ok: true, tags: [...new Set(tags)].sort(), truncated: false };
}

async function readEntries(root: string, repository: string): Promise<readonly LayoutEntry[]> {
  const folder = folderOf(root, repository);
  const version = await readInside(root, path.join(folder, 'oci-layout'), limits.registryAnswerBytes);
  const index = await readInside(root, path.join(folder, 'index.json'), limits.manifestBytes);
  if (version === undefined || index === undefined) throw await missingLayout(root, repository);
  requireLayoutVersion(version, folder);
  return parseLayoutIndex(index, folder);
}

async function missingLayout(root: string, repository: string): Promise<RegistryError> {
  try {
    await stat(root);
  } catch (cause) {
    return unreadable(root, cause); // the whole medium is away, which says nothing about the repository
  }
  return new RegistryError('RepositoryUnknown', 'wait', `there is no image layout for ${repository} under ${root}; copy it there, or correct the Component`);
}

async function findManifest(root: string, repository: string, digest: Digest): Promise<Uint8Array | undefined> {
  const file = path.join(folderOf(root, repository), blobPath(requireDigestForm(digest)));
  const bytes = await readInside(root, file, limits.manifestBytes);
  if (bytes !== undefined) requireDigest(bytes, digest);
  return bytes;
}

async function* openBlob(root: string, repository: string, digest: Digest, size: number, signal: AbortSignal | undefined): AsyncGenerator<Uint8Array> {
  requireBlobSize(digest, size);
  const handle = await openInside(root, path.join(folderOf(root, repository), blobPath(requireDigestForm(digest))));
  if (handle === undefined) throw unknownBlob(repository, digest);
  try {
    // One byte more than expected is enough to see that the blob is too long.
    const chunks = handle.createReadStream({ autoClose: false, end: size }) as AsyncIterable<Uint8Array>;
    for await (const chunk of verifiedBlob(chunks, digest, size)) {
      // Asked here and not given to the stream, which would throw where nobody listens when it is stopped before it is read.
      if (signal?.aborted === true) throw new RegistryError('Aborted', 'wait', `reading ${digest} was stopped`);
      yield chunk;
    }
  } catch (cause) {
    if (cause instanceof RegistryError) throw cause;
    throw unreadable(digest, cause);
  } finally {
    await handle.close();
  }
}

function folderOf(root: string, repository: string): string {
  requireRepository(repository); // no "..", no absolute path, no empty segment
  return path.join(root, ...repository.split('/'));
}

function requireDigestForm(digest: Digest): Digest {
  if (isDigest(digest)) return digest;
  throw new RegistryError('InvalidReference', 'stall', 'the reference holds no sha256 digest');
}

function unknownBlob(repository: string, digest: Digest): RegistryError {
  return new RegistryError('BlobUnknown', 'wait', `the image layout of ${repository} has no blob ${digest}; copy the whole image again`);
}
