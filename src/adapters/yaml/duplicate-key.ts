import { isMap, isScalar, isSeq, type Node } from 'yaml';

/**
 * Where a name stands for the second time in one mapping. The composer finds that by comparing each name with all others, which for 5,000 of them
 * takes as long as everything else in the file does.
 * @param contents composed without `uniqueKeys`; its depth was bounded before
 * @returns offset in UTF-16 code units from the start of the file, of the first in the file's order; null where there is none
 */
export function findDuplicateKey(contents: Node | null): number | null {
  if (isSeq(contents)) return firstOf(contents.items, (item) => findDuplicateKey(item as Node | null));
  if (!isMap(contents)) return null;
  const names = new Set<unknown>();
  return firstOf(contents.items, ({ key, value }) => {
    if (isScalar(key) && names.has(key.value)) return key.range?.[0] ?? 0;
    if (isScalar(key)) names.add(key.value);
    return findDuplicateKey(key as Node | null) ?? findDuplicateKey(value as Node | null);
  });
}

function firstOf<T>(items: readonly T[], find: (item: T) => number | null): number | null {
  for (const item of items) {
    const found = find(item);
    if (found !== null) return found;
  }
  return null;
}
