import type { CommitId } from '../core/model/commit-id.ts';
import { digestOfBytes, type Digest } from '../core/model/digest.ts';
import { limits } from '../core/model/limits.ts';
import { artifactPath } from '../core/evidence/layout.ts';
import type { GitReader } from '../ports/git-reader.ts';

/**
 * Artifacts of the log, read from the evidence branch when they are asked for. The core looks them up synchronously, so
 * whoever calls the core loads first. Bounded by bytes; the oldest unused give way.
 */
export class ArtifactCache {
  readonly #reader: GitReader;
  readonly #maxBytes: number;
  readonly #held = new Map<Digest, Uint8Array>();
  #bytes = 0;

  constructor(reader: GitReader, maxBytes: number = limits.artifactCacheBytes) {
    this.#reader = reader;
    this.#maxBytes = maxBytes;
  }

  readonly get = (digest: Digest): Uint8Array | undefined => this.#held.get(digest);

  put(digest: Digest, bytes: Uint8Array): void {
    this.#insert(digest, bytes);
    this.#shrink(new Set([digest]));
  }

  #insert(digest: Digest, bytes: Uint8Array): void {
    const before = this.#held.get(digest);
    if (before !== undefined) {
      this.#held.delete(digest);
      this.#held.set(digest, before);
      return;
    }
    this.#held.set(digest, bytes);
    this.#bytes += bytes.length;
  }

  #shrink(wanted: ReadonlySet<Digest>): void {
    for (const [oldest, old] of this.#held) {
      if (this.#bytes <= this.#maxBytes) break;
      if (wanted.has(oldest)) continue;
      this.#held.delete(oldest);
      this.#bytes -= old.length;
    }
  }

  /**
   * Makes `digests` available to `get`, as far as the branch at `commit` has them under their own digest (T30). All of them stay until the
   * next call, even beyond the bound: a rejection must not give way to the approvals it stands among.
   */
  async load(commit: CommitId, digests: Iterable<Digest>): Promise<void> {
    const wanted = new Set(digests);
    const missing = [...wanted].filter((digest) => !this.#held.has(digest));
    const shards = Map.groupBy(missing, (digest) => artifactPath(digest).split('/').slice(0, 2).join('/'));
    for (const [folder, wanted] of shards) {
      const { entries } = await this.#reader.readTree(commit, { under: folder });
      const byPath = new Map(entries.map((entry) => [entry.path, entry.blob]));
      const blobs = wanted.flatMap((digest) => byPath.get(artifactPath(digest)) ?? []);
      const read = await this.#reader.readBlobs(blobs, limits.artifactBytes);
      for (const object of read.values()) if (object.ok) this.#insert(digestOfBytes(object.bytes), object.bytes);
    }
    this.#shrink(wanted);
  }
}
