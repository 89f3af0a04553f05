import type { Digest } from '../core/model/digest.ts';

/** Why a registry, or a folder that stands for one, gave no answer that can be used. */
export type RegistryCode =
  | 'TagUnknown'
  | 'RepositoryUnknown'
  | 'RegistryUnreachable'
  | 'RegistryUnauthorized'
  | 'RegistryLied'
  | 'ManifestTooLarge'
  | 'OfflineRefused'
  | 'UnsupportedManifest'
  | 'InvalidReference'
  | 'RedirectRefused'
  | 'Aborted';

/** `retry`: again with back-off. `wait`: until something outside changes. `stall`: until a person changes something. */
export type Disposition = 'retry' | 'wait' | 'stall';

export type RegistryRefusal = {
  readonly ok: false;
  readonly code: RegistryCode;
  /** For a person: what was asked, what came, what to do. Never holds a credential. */
  readonly message: string;
  readonly disposition: Disposition;
};

/** What a tag pointed to. For a multi-platform image this is the index, and the agent picks the platform. */
export type ResolvedTag = {
  readonly ok: true;
  readonly digest: Digest;
  readonly mediaType: string;
  /** Bytes of the manifest or index itself. */
  readonly size: number;
};

/** Turns tags into digests. `repository` is the path inside the registry, for example `shop/api`, without a host. */
export interface DigestResolver {
  /** The digest of what the tag points to now, computed by us over the manifest's bytes. */
  resolve(reference: { readonly repository: string; readonly tag: string }): Promise<ResolvedTag | RegistryRefusal>;
  /** Whether the registry has this manifest. Says nothing about its layers. */
  exists(reference: {
    readonly repository: string;
    readonly digest: Digest;
  }): Promise<{ readonly ok: true; readonly exists: boolean } | RegistryRefusal>;
  /** All tags, sorted; `truncated` when there are more than `limits.tagsPerRepository`. */
  listTags(
    repository: string,
  ): Promise<{ readonly ok: true; readonly tags: readonly string[]; readonly truncated: boolean } | RegistryRefusal>;
}
