/** One page: its items, and whether the forge has another. */
export type Page = { readonly items: readonly unknown[]; readonly hasMore: boolean };

/**
 * Reads pages, counted from 1, until there are no more, `limit` items were taken, or `take` says that what follows is of no interest.
 * Pages move while they are read: the same item can come twice, so callers that count tell them apart by `idOf`.
 * @param take makes a value of an item; null leaves it out, 'stop' ends the reading
 * @throws ForgeError what `read` and `take` throw
 */
export async function collectPages<T>({ limit, read, take, idOf }: {
  readonly limit: number;
  readonly read: (page: number) => Promise<Page>;
  readonly take: (item: unknown) => T | null | 'stop';
  readonly idOf: (value: T) => string | number;
}): Promise<{ readonly values: readonly T[]; readonly isComplete: boolean }> {
  const found = new Map<string | number, T>();
  let seen = 0;
  for (let page = 1; ; page += 1) {
    const { items, hasMore } = await read(page);
    for (const item of items) {
      const value = take(item);
      if (value === 'stop') return { values: [...found.values()], isComplete: true };
      seen += 1;
      if (value === null || found.has(idOf(value))) continue;
      if (found.size >= limit) return { values: [...found.values()], isComplete: false };
      found.set(idOf(value), value);
    }
    if (!hasMore || items.length === 0) return { values: [...found.values()], isComplete: true };
    // Items that are left out are work as well: a forge with nothing else must not keep us reading.
    if (seen >= limit * 10) return { values: [...found.values()], isComplete: false };
  }
}

/** Whether a Link header names a next page. Only that is read of it: where the next page lies we know ourselves (T18). Source: RFC 8288. */
export function hasNextLink(headers: Headers): boolean {
  return /;\s*rel="?next"?/.test(headers.get('link') ?? '');
}
