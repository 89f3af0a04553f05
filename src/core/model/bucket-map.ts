/**
 * An immutable map from strings. A write copies two small arrays and one bucket, never the whole: with 50,000 entries a
 * change costs what it does with 1,000. Iteration follows the keys' digests, the same for the same keys; sort where order matters.
 */
const WIDTH = 64;

type Bucket<V> = ReadonlyMap<string, V>;
type Branch<V> = readonly (Bucket<V> | undefined)[];

/** FNV-1a over UTF-16 code units, 32 bits. Spread only, not security: a bucket is a Map and stays correct under collisions. */
function spread(key: string): number {
  let h = 0x811c9dc5;
  for (let i = 0; i < key.length; i++) h = Math.imul(h ^ key.charCodeAt(i), 0x01000193);
  h ^= h >>> 15;
  return h >>> 0;
}

export class BucketMap<V> {
  readonly #root: readonly (Branch<V> | undefined)[];
  readonly size: number;
  /** The last grouping: derived from what never changes, so it is no state. */
  #grouped: { readonly by: (value: V) => string; readonly groups: ReadonlyMap<string, readonly V[]> } | null = null;

  private constructor(root: readonly (Branch<V> | undefined)[], size: number) {
    this.#root = root;
    this.size = size;
  }

  static empty<V>(): BucketMap<V> {
    return new BucketMap<V>([], 0);
  }

  static from<V>(entries: Iterable<readonly [string, V]>): BucketMap<V> {
    let map = BucketMap.empty<V>();
    for (const [key, value] of entries) map = map.set(key, value);
    return map;
  }

  get(key: string): V | undefined {
    const h = spread(key);
    return this.#root[h % WIDTH]?.[(h >>> 6) % WIDTH]?.get(key);
  }

  has(key: string): boolean {
    const h = spread(key);
    return this.#root[h % WIDTH]?.[(h >>> 6) % WIDTH]?.has(key) ?? false;
  }

  set(key: string, value: V): BucketMap<V> {
    const had = this.has(key);
    return this.#replace(key, (bucket) => bucket.set(key, value), had ? 0 : 1);
  }

  delete(key: string): BucketMap<V> {
    if (!this.has(key)) return this;
    return this.#replace(key, (bucket) => bucket.delete(key), -1);
  }

  *entries(): Generator<readonly [string, V]> {
    for (const branch of this.#root) for (const bucket of branch ?? []) if (bucket !== undefined) yield* bucket;
  }

  *values(): Generator<V> {
    for (const [, value] of this.entries()) yield value;
  }

  /**
   * Values by what `groupOf` says of them, each group in the order of `values`. Costs what there is once, and nothing when asked again with
   * the same function.
   */
  grouped(groupOf: (value: V) => string): ReadonlyMap<string, readonly V[]> {
    if (this.#grouped?.by !== groupOf) this.#grouped = { by: groupOf, groups: Map.groupBy(this.values(), groupOf) };
    return this.#grouped.groups;
  }

  #replace(key: string, edit: (bucket: Map<string, V>) => void, growth: number): BucketMap<V> {
    const h = spread(key);
    const root = this.#root.slice();
    const branch = (root[h % WIDTH] ?? []).slice();
    const bucket = new Map(branch[(h >>> 6) % WIDTH] ?? []);
    edit(bucket);
    branch[(h >>> 6) % WIDTH] = bucket;
    root[h % WIDTH] = branch;
    return new BucketMap(root, this.size + growth);
  }
}
