import { createHash } from 'node:crypto';
import { readdir, readFile, rm, stat } from 'node:fs/promises';
import { dirname, isAbsolute, join, normalize } from 'node:path';
import { canonicalBytes, parseCanonicalJson } from '../../core/model/canonical-json.ts';
import { hexOf, type Digest } from '../../core/model/digest.ts';
import { preimageDigest, type Runs } from '../../core/model/preimages.ts';
import { LOCK_FILE } from '../../core/release/plan.ts';
import { STICKER } from '../../core/release/sticker.ts';
import type { TargetSlot } from '../../ports/target-driver.ts';
import { makeFolder, pointLink, readLink, syncTree, writeDurably } from '../directory-host/durable-files.ts';
import type { ComposeProject } from './compose-command.ts';
import { ComposeError } from './compose-error.ts';

/** Where one application of one environment lives on the target, and what Compose calls it. */
export type Place = { readonly folder: string; readonly project: string; readonly socket: string };

/** One version on the disk: enough to start it again without the order that brought it. */
export type Version = {
  readonly name: string;
  readonly compose: ComposeProject;
  readonly components: Runs['components'];
  /** Secret references, never values. */
  readonly secrets: Runs['secrets'];
  readonly healthTimeoutSeconds: number;
};

const KEPT_VERSIONS = 3;
const HEALTH_TIMEOUT_SECONDS = 120;
const DEFAULT_SOCKET = '/var/run/docker.sock';
const OWN = '.stella';

/** @throws ComposeError ConnectionInvalid */
export function placeOf(slot: TargetSlot): Place {
  const { folder, socket = DEFAULT_SOCKET } = slot.target.connection;
  if (typeof folder !== 'string' || !isAbsolute(folder) || typeof socket !== 'string' || !isAbsolute(socket)) {
    throw new ComposeError('ConnectionInvalid', `target ${slot.target.name} needs connection.folder, and connection.socket if it is not ${DEFAULT_SOCKET}, as absolute paths`);
  }
  const { environment, application } = slot;
  // Names may hold dots and hyphens, project names only hyphens: the digest keeps two applications from claiming one project (T17).
  const key = createHash('sha256').update(`${environment}/${application}/${slot.target.name}`).digest('hex').slice(0, 8);
  const project = `stella-${environment}-${application}-${key}`.replace(/[^a-z0-9_-]/g, '-');
  return { folder: join(folder, environment, application), project, socket };
}

/**
 * Writes lock file and shipped files of a version, durably, beside the version that runs. Nothing that runs is touched.
 * @param artifacts bytes by digest, checked before.
 * @throws ComposeError LockFileInvalid when the lock file or a file is not among them, or a path leads out of the folder.
 */
export async function writeVersion(place: Place, runs: Runs, artifacts: ReadonlyMap<Digest, Uint8Array>): Promise<Version> {
  const name = hexOf(preimageDigest(runs)).slice(0, 32);
  const folder = join(place.folder, 'versions', name);
  for (const file of [...runs.files, ...runs.artifacts]) {
    const bytes = artifacts.get(file.digest);
    if (bytes === undefined) throw new ComposeError('LockFileInvalid', `${file.path} ${file.digest} did not come with the order`);
    await writePlain(folder, file.path, bytes, file.mode);
  }
  await writePlain(folder, join(OWN, 'empty.env'), new Uint8Array(), 0o600);
  const { components, secrets } = runs;
  const seconds = runs.deployment['healthTimeoutSeconds'];
  const healthTimeoutSeconds = typeof seconds === 'number' ? seconds : HEALTH_TIMEOUT_SECONDS;
  await writePlain(folder, join(OWN, 'version.json'), canonicalBytes({ components, secrets, healthTimeoutSeconds }), 0o600);
  await syncTree(folder);
  return { name, compose: composeOf(place, name), components, secrets, healthTimeoutSeconds };
}

async function writePlain(folder: string, path: string, bytes: Uint8Array, mode: number): Promise<void> {
  const isInside = !isAbsolute(path) && normalize(path) === path && !path.split('/').includes('..');
  if (!isInside) throw new ComposeError('LockFileInvalid', `${JSON.stringify(path)} does not lie inside the application's folder`);
  const file = join(folder, path);
  // A file that is as it should be stays: running containers may have it mounted, and a version is applied again after a crash.
  if (await isSame(file, bytes)) return;
  await makeFolder(dirname(file), 0o755);
  await writeDurably(file, bytes, mode);
}

async function isSame(file: string, bytes: Uint8Array): Promise<boolean> {
  const there = await readFile(file).catch(() => null);
  return there !== null && there.equals(bytes);
}

function composeOf(place: Place, name: string): ComposeProject {
  const folder = join(place.folder, 'versions', name);
  return { name: place.project, folder, lockFile: join(folder, LOCK_FILE), envFile: join(folder, OWN, 'empty.env') };
}

/** The version that last came up, null when there is none. @throws ComposeError StateUnreadable */
export async function currentVersion(place: Place): Promise<Version | null> {
  const link = await readLink(join(place.folder, 'current'));
  const name = link === undefined ? undefined : /^versions\/([0-9a-f]{32})$/.exec(link)?.[1];
  if (name === undefined) return null;
  const path = join(place.folder, 'versions', name, OWN, 'version.json');
  const kept = parseCanonicalJson(await readFile(path).catch(() => new Uint8Array()));
  if (kept === undefined) throw new ComposeError('StateUnreadable', `${path} cannot be read: restore the folder, or remove the link \`current\` beside it and deploy again`);
  return { name, compose: composeOf(place, name), ...(kept as unknown as Pick<Version, 'components' | 'secrets' | 'healthTimeoutSeconds'>) };
}

/** Makes a version that has come up the one to fall back to, and says so on the sticker. */
export async function commitVersion(place: Place, version: Version, sticker: Uint8Array | null): Promise<void> {
  await pointLink(join(place.folder, 'current'), `versions/${version.name}`);
  if (sticker === null) await rm(join(place.folder, STICKER), { force: true });
  else await writeDurably(join(place.folder, STICKER), sticker, 0o644);
  await prune(place, version.name);
}

async function prune(place: Place, current: string): Promise<void> {
  const folder = join(place.folder, 'versions');
  const names = (await readdir(folder)).filter((name) => name !== current);
  const aged = await Promise.all(names.map(async (name) => ({ name, at: (await stat(join(folder, name))).mtimeMs })));
  for (const { name } of aged.sort((a, b) => b.at - a.at).slice(KEPT_VERSIONS - 1)) await rm(join(folder, name), { recursive: true, force: true });
}

/** Bytes of the sticker, null when there is none. */
export async function readSticker(place: Place): Promise<Uint8Array | null> {
  return await readFile(join(place.folder, STICKER)).catch((cause: NodeJS.ErrnoException) => {
    if (cause.code === 'ENOENT') return null;
    throw cause;
  });
}

/** Takes away everything that this adapter wrote. */
export async function clearPlace(place: Place): Promise<void> {
  for (const name of [STICKER, 'current', 'versions']) await rm(join(place.folder, name), { recursive: true, force: true });
}
