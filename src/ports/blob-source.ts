import type { Digest } from '../core/model/digest.ts';
import type { Disposition, RegistryCode } from './digest-resolver.ts';

/** Where an image should run, in the words of the OCI image index. */
export type Platform = { readonly os: string; readonly architecture: string; readonly variant?: string };

export type BlobCode = RegistryCode | 'DigestMismatch' | 'BlobUnknown' | 'BlobTooLarge' | 'PlatformUnknown';

/** Thrown when content could not be had, or is not what its digest says. The message never holds a credential. */
export class RegistryError extends Error {
  readonly code: BlobCode;
  readonly disposition: Disposition;

  constructor(code: BlobCode, disposition: Disposition, message: string, options?: ErrorOptions) {
    super(message, options);
    this.name = 'RegistryError';
    this.code = code;
    this.disposition = disposition;
  }
}

/** Content by digest. `repository` is the path inside the registry, without a host. */
export interface BlobSource {
  /**
   * The bytes of a manifest or index, verified against `digest`.
   * @throws RegistryError, `DigestMismatch` when the bytes are others.
   */
  readManifest(repository: string, digest: Digest, signal?: AbortSignal): Promise<Uint8Array>;
  /**
   * The bytes of a blob as they arrive. They are verified only once the iteration has ended without an error:
   * a consumer puts them aside and uses nothing before that.
   * @throws RegistryError while iterating, `DigestMismatch` when digest or size (in bytes) differ.
   */
  openBlob(repository: string, digest: Digest, size: number, signal?: AbortSignal): AsyncIterable<Uint8Array>;
}
