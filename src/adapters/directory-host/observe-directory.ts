import { stat } from 'node:fs/promises';
import path from 'node:path';
import type { Digest } from '../../core/model/digest.ts';
import { isMissing } from './directory-error.ts';
import { currentTarget, type Place, placeOf, readSmallFile, readSwitchRecord, versionOf } from './place.ts';
import { areFilesIntact, observeTree, readMarker } from './version-marker.ts';

export type ObservedComponent = {
  readonly component: string;
  readonly repository: string;
  /** What its release pinned. */
  readonly digest: Digest;
  /** The manifest for this host's platform. */
  readonly manifestDigest: Digest;
  /** Over the folder as it was unpacked, and as it lies there now; the latter undefined when it cannot be read. */
  readonly treeDigest: Digest;
  readonly observedTreeDigest: Digest | undefined;
  readonly intact: boolean;
};

export type ObservedSticker =
  | { readonly state: 'absent' }
  | { readonly state: 'corrupt'; readonly message: string }
  | { readonly state: 'present'; readonly bytes: Uint8Array; readonly content: Readonly<Record<string, unknown>> };

/** What really lies on the host. `broken`: there is something that we cannot account for. */
export type DirectoryObservation = {
  readonly state: 'absent' | 'running' | 'stopped' | 'broken';
  /** For a person, when `broken`. */
  readonly message?: string;
  readonly versionName?: string;
  readonly components: readonly ObservedComponent[];
  /** Whether the shipped files of the version are as they were written. */
  readonly filesIntact: boolean;
  /** A switch was begun and not ended: what runs has not proven itself. */
  readonly switchOpen: boolean;
  readonly sticker: ObservedSticker;
};

/**
 * Observes one application: the version behind `current`, its components with their digests computed again over what lies on
 * disk, and the sticker. Changes nothing. What cannot be read is part of the answer.
 * @throws DirectoryError `InvalidOrder` for a bad application name
 */
export async function observeDirectory(at: { readonly root: string; readonly application: string }): Promise<DirectoryObservation> {
  const place = placeOf(at.root, at.application);
  const sticker = await observeSticker(place);
  const switchOpen = (await readSwitchRecord(place).catch(() => undefined))?.state === 'open';
  const nothing = { components: [], filesIntact: false, switchOpen, sticker } as const;
  try {
    if (!(await exists(place.folder))) return { ...nothing, state: 'absent' };
    const target = await currentTarget(place);
    if (target === undefined) return { ...nothing, state: 'stopped' };
    const folder = versionOf(target);
    if (folder === undefined) return { ...nothing, state: 'broken', message: `${place.current} leads to something that we did not put there` };
    const versionFolder = path.join(place.versions, folder);
    const marker = await readMarker(versionFolder);
    if (marker === undefined) return { ...nothing, state: 'broken', message: `${versionFolder} is missing or has lost its marker` };
    const components: ObservedComponent[] = [];
    for (const component of marker.components) {
      const { name, repository, digest, manifestDigest, treeDigest } = component;
      const observedTreeDigest = await observeTree(versionFolder, component);
      components.push({ component: name, repository, digest, manifestDigest, treeDigest, observedTreeDigest, intact: observedTreeDigest === treeDigest });
    }
    const filesIntact = await areFilesIntact(versionFolder, marker.files);
    return { state: 'running', versionName: marker.versionName, components, filesIntact, switchOpen, sticker };
  } catch (error) {
    return { ...nothing, state: 'broken', message: error instanceof Error ? error.message : 'it cannot be read' };
  }
}

async function observeSticker(place: Place): Promise<ObservedSticker> {
  try {
    const bytes = await readSmallFile(place.sticker);
    const content: unknown = JSON.parse(new TextDecoder('utf-8', { fatal: true }).decode(bytes));
    if (typeof content !== 'object' || content === null || Array.isArray(content)) return { state: 'corrupt', message: 'it is not a JSON object' };
    return { state: 'present', bytes, content: content as Readonly<Record<string, unknown>> };
  } catch (error) {
    if (isMissing(error)) return { state: 'absent' };
    return { state: 'corrupt', message: error instanceof Error ? error.message : 'it cannot be read' };
  }
}

async function exists(folder: string): Promise<boolean> {
  try {
    await stat(folder);
    return true;
  } catch (error) {
    if (isMissing(error)) return false;
    throw error;
  }
}
