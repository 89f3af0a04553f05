import { rm } from 'node:fs/promises';
import path from 'node:path';
import { asDirectoryError, DirectoryError, isMissing, resultOf } from './directory-error.ts';
import type { DirectoryOutcome } from './directory-order.ts';
import { syncFolder } from './durable-files.ts';
import { observeDirectory } from './observe-directory.ts';
import { placeOf, requireOwnFolders } from './place.ts';

/**
 * Removes an application from this host (`state: absent`): first the link, so that nothing half removed runs, then everything else.
 * Succeeds when there is nothing. Never throws for what the outside does.
 */
export async function removeDirectory(at: { readonly root: string; readonly application: string }): Promise<DirectoryOutcome> {
  try {
    const place = placeOf(at.root, at.application);
    try {
      await requireOwnFolders(at.root, place);
      await rm(place.current, { force: true });
      await rm(place.folder, { recursive: true, force: true });
      await syncFolder(path.dirname(place.folder));
    } catch (error) {
      if (!isMissing(error)) throw error; // no root, so nothing in it
    }
    return { result: 'Succeeded', code: 'Removed', message: `${at.application} is not on this host`, rolledBack: false, running: [] };
  } catch (cause) {
    const error = cause instanceof DirectoryError ? cause : asDirectoryError(cause);
    const observed = await observeDirectory(at).catch(() => undefined);
    const running = (observed?.components ?? []).map(({ component, digest }) => ({ component, digest }));
    return { result: resultOf(error.code), code: error.code, message: error.message, rolledBack: false, running };
  }
}
