import { rm } from 'node:fs/promises';
import path from 'node:path';
import { listVersionFolders, type Place, versionOf } from './place.ts';
import { readMarker } from './version-marker.ts';

const keptVersions = 3;

/**
 * Removes all but the last three versions that were put here. What `keep` points to (what runs, and what ran before it) always
 * stays, and counts among the three.
 */
export async function pruneVersions(place: Place, keep: readonly (string | null)[]): Promise<void> {
  const kept = new Set(keep.flatMap((target) => versionOf(target ?? undefined) ?? []));
  const others: { readonly folder: string; readonly sequence: number }[] = [];
  for (const folder of await listVersionFolders(place)) {
    if (kept.has(folder)) continue;
    const marker = await readMarker(path.join(place.versions, folder));
    others.push({ folder, sequence: marker?.sequence ?? 0 });
  }
  const newestFirst = others.sort((a, b) => b.sequence - a.sequence);
  for (const { folder } of newestFirst.slice(Math.max(0, keptVersions - kept.size))) {
    await rm(path.join(place.versions, folder), { recursive: true, force: true });
  }
}
