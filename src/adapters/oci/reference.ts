import { RegistryError } from '../../ports/blob-source.ts';
import type { RegistryRefusal } from '../../ports/digest-resolver.ts';

// The grammar of the OCI distribution specification. Neither pattern can hold `..`, a leading slash or a backslash.
const REPOSITORY = /^[a-z0-9]+(?:(?:\.|_|__|-+)[a-z0-9]+)*(?:\/[a-z0-9]+(?:(?:\.|_|__|-+)[a-z0-9]+)*)*$/;
const TAG = /^[a-zA-Z0-9_][a-zA-Z0-9._-]{0,127}$/;
const repositoryChars = 255;

/** Whether `tag` is a tag by the distribution specification. */
export function isTag(tag: string): boolean {
  return TAG.test(tag);
}

/** @throws RegistryError `InvalidReference`, so that no name reaches a URL or a path unchecked. */
export function requireRepository(repository: string): void {
  if (repository.length <= repositoryChars && REPOSITORY.test(repository)) return;
  throw new RegistryError(
    'InvalidReference',
    'stall',
    `${quoted(repository)} is not a repository name: write lower-case segments separated by "/", without a host or a tag`,
  );
}

/** @throws RegistryError `InvalidReference` */
export function requireTag(tag: string): void {
  if (isTag(tag)) return;
  throw new RegistryError('InvalidReference', 'stall', `${quoted(tag)} is not a tag: up to 128 letters, digits, ".", "_" and "-"`);
}

/** Foreign text for a message: clipped, and without control characters. */
export function quoted(text: string): string {
  return JSON.stringify(text.slice(0, 200));
}

/** Runs `ask` and turns a RegistryError into the refusal that the resolver port returns. Other exceptions pass. */
export async function asRefusal<T>(ask: () => Promise<T>): Promise<T | RegistryRefusal> {
  try {
    return await ask();
  } catch (error) {
    if (!(error instanceof RegistryError)) throw error;
    return { ok: false, code: resolverCode(error), message: error.message, disposition: error.disposition };
  }
}

function resolverCode(error: RegistryError): RegistryRefusal['code'] {
  switch (error.code) {
    // What a pull calls a mismatch is, when a tag is resolved, a registry that contradicts itself.
    case 'DigestMismatch':
    case 'BlobUnknown':
      return 'RegistryLied';
    case 'BlobTooLarge':
      return 'ManifestTooLarge';
    case 'PlatformUnknown':
      return 'UnsupportedManifest';
    default:
      return error.code;
  }
}
