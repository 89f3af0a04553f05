import type { Digest } from '../model/digest.ts';
import { splitPair } from '../model/names.ts';
import { specDigest, type Lock, type ReleaseIdentity } from '../model/preimages.ts';
import { compareReleases } from '../release/versions.ts';
import type { LockEntry, LogState } from './log-state.ts';

/** The state with one more lock, in its channel as well. @param name `<application>/<release>` */
export function withLock(state: LogState, name: string, entry: LockEntry): LogState {
  const locks = state.locks.set(name, entry);
  if (entry.channel === null) return { ...state, locks };
  const [application] = splitPair(name);
  const key = channelKey(application, entry.channel);
  const known = state.channels.get(key) ?? [];
  // What the channel holds is sorted, so one more costs no sorting.
  const at = known.findIndex((release) => compareReleases(lockedVersion(locks, application, release), { release: entry.lock.release, seq: entry.seq }) < 0);
  const releases = at === -1 ? [...known, entry.lock.release] : known.toSpliced(at, 0, entry.lock.release);
  return { ...state, locks, channels: state.channels.set(key, releases) };
}

/** Key of `channels`. */
export function channelKey(application: string, channel: string): string {
  return `${application}/${channel}`;
}

function lockedVersion(locks: LogState['locks'], application: string, release: string): { readonly release: string; readonly seq: number } {
  return { release, seq: locks.get(`${application}/${release}`)?.seq ?? 0 };
}

/** Whether a lock holds what a release spec says: its components and, where the spec names them, their digests. */
export function lockFitsSpec({ application, release, components }: Lock, spec: ReleaseIdentity, releaseSpec: Digest): boolean {
  const fits = components.every(({ name, digest }) => Object.hasOwn(spec.components, name) && (spec.components[name]?.digest ?? digest) === digest);
  return fits && components.length === Object.keys(spec.components).length && specDigest(`${application}/${release}`, spec) === releaseSpec;
}
