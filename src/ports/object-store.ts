import type { Digest } from '../core/model/digest.ts';

/** Bytes by their sha256: logs of steps and what else does not belong on the evidence branch. Nothing in it is ever overwritten. */
export interface ObjectStore {
  /** Stores durably; bytes that are there already are left alone. @throws StorageError `StorageFull`, `LimitExceeded`, `StorageUnavailable`. */
  put(bytes: Uint8Array): Promise<Digest>;
  /** @returns null when it is not there. @throws StorageError `ObjectCorrupt` when the bytes are no longer those of the digest. */
  get(digest: Digest): Promise<Uint8Array | null>;
  has(digest: Digest): Promise<boolean>;
}
