import { execFile } from 'node:child_process';
import { randomBytes } from 'node:crypto';
import { chmod, chown, mkdir, mkdtemp, readFile, realpath, rename, rm, stat, writeFile } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { userInfo } from 'node:os';
import { promisify } from 'node:util';
import type pg from 'pg';
import { StorageError } from '../../ports/storage-error.ts';
import { APPLICATION_ROLE } from './application-role.ts';
import { findBinaries, serverAccount, type Account, type Binaries } from './postgres-binaries.ts';

/** An initialised data folder of Postgres and what is needed to run and reach it. */
export type Cluster = {
  readonly pgdata: string;
  readonly binaries: Binaries;
  readonly account: Account | undefined;
  readonly passwords: Passwords;
};

/** Passwords of the three users, known to this folder only. */
export type Passwords = { readonly superuser: string; readonly owner: string; readonly application: string };

/** Owner of the schema; user of the application, which can only become the application role; the database. */
const OWNER = 'stella_owner';
const APPLICATION = 'stella_server';
const DATABASE = 'stella';

const run = promisify(execFile);

/**
 * Opens `folder/pgdata`, and makes it if it is not there. It appears at once or not at all, so a crash on the way leaves no half of it.
 * @throws StorageError `FolderUnusable` when the account that Postgres runs as cannot reach the folder; `PostgresNotStarted`.
 */
export async function openCluster(folder: string, options: { readonly durable: boolean }): Promise<Cluster> {
  await mkdir(folder, { recursive: true });
  const root = await realpath(folder);
  const account = await accountOf(join(root, 'pgdata'));
  if (account !== undefined) await refuseUnreachable(root);
  const binaries = await findBinaries(account, root);
  const pgdata = join(root, 'pgdata');
  if (!(await isInitialised(pgdata))) await initialise(root, pgdata, binaries, account, options.durable);
  return { pgdata, binaries, account, passwords: JSON.parse(await readFile(credentialsOf(pgdata), 'utf8')) as Passwords };
}

const credentialsOf = (pgdata: string): string => join(pgdata, 'stella-credentials.json');

/** As root: the account that owns the folder already, so that an account installed later changes nothing. */
async function accountOf(pgdata: string): Promise<Account | undefined> {
  const uid = userInfo().uid;
  const found = await stat(pgdata).catch(() => undefined);
  if (uid === 0 && found !== undefined && found.uid !== 0) return { uid: found.uid, gid: found.gid };
  return serverAccount(uid);
}

async function refuseUnreachable(folder: string): Promise<void> {
  await chmod(folder, ((await stat(folder)).mode & 0o777) | 0o111);
  for (let at = folder; at !== dirname(at); at = dirname(at)) {
    if (((await stat(at)).mode & 0o001) === 0) {
      throw new StorageError('FolderUnusable', `as root we run Postgres as another account, which may not enter ${at}: choose another data folder, or run as another user`);
    }
  }
}

const isInitialised = (pgdata: string): Promise<boolean> => stat(credentialsOf(pgdata)).then(() => true, () => false);

async function initialise(root: string, pgdata: string, binaries: Binaries, account: Account | undefined, durable: boolean): Promise<void> {
  const draft = await mkdtemp(join(root, 'pgdata.new-'));
  const passwordFile = `${draft}.password`;
  const secret = (): string => randomBytes(24).toString('base64url');
  const passwords: Passwords = { superuser: secret(), owner: secret(), application: secret() };
  try {
    await writeFile(passwordFile, passwords.superuser, { mode: 0o600, flag: 'wx' });
    if (account !== undefined) for (const path of [draft, passwordFile]) await chown(path, account.uid, account.gid);
    const flags = ['--username=postgres', '--auth=scram-sha-256', `--pwfile=${passwordFile}`, '--no-locale', '--encoding=UTF8', '--no-instructions'];
    await run(binaries.initdb, [`--pgdata=${draft}`, ...flags, ...(durable ? [] : ['--no-sync'])], { cwd: '/', env: { LC_ALL: 'C' }, ...account });
    await writeFile(credentialsOf(draft), JSON.stringify(passwords), { mode: 0o600, flag: 'wx' });
    await rename(draft, pgdata);
  } catch (cause) {
    await rm(draft, { recursive: true, force: true });
    if (await isInitialised(pgdata)) throw new StorageError('FolderInUse', `another server is starting on ${root}: stop one of them`, cause);
    throw new StorageError('PostgresNotStarted', `Postgres could not initialise ${pgdata}: ${(cause as { stderr?: string }).stderr ?? String(cause)}`, cause);
  } finally {
    await rm(passwordFile, { force: true });
  }
}

/** Connection strings of the running server. */
export function clusterUrls(passwords: Passwords, port: number): { readonly application: string; readonly owner: string; readonly superuser: string } {
  const url = (user: string, password: string, database: string): string => `postgres://${user}:${password}@127.0.0.1:${port}/${database}`;
  return {
    application: url(APPLICATION, passwords.application, DATABASE),
    owner: url(OWNER, passwords.owner, DATABASE),
    superuser: url('postgres', passwords.superuser, 'postgres'),
  };
}

/** Makes users and database where they are missing; the same on every start. Nobody but the superuser of the folder is one. */
export async function prepareCluster(superuser: pg.Client, passwords: Passwords): Promise<void> {
  const { rows } = await superuser.query<{ name: string }>('SELECT rolname AS name FROM pg_roles UNION ALL SELECT datname FROM pg_database');
  const known = new Set(rows.map(({ name }) => name));
  const literal = (text: string): string => superuser.escapeLiteral(text);
  if (!known.has(APPLICATION_ROLE)) await superuser.query(`CREATE ROLE ${APPLICATION_ROLE} NOLOGIN`);
  if (!known.has(OWNER)) await superuser.query(`CREATE ROLE ${OWNER} LOGIN PASSWORD ${literal(passwords.owner)} IN ROLE ${APPLICATION_ROLE}`);
  if (!known.has(APPLICATION)) await superuser.query(`CREATE ROLE ${APPLICATION} LOGIN NOINHERIT PASSWORD ${literal(passwords.application)} IN ROLE ${APPLICATION_ROLE}`);
  if (!known.has(DATABASE)) await superuser.query(`CREATE DATABASE ${DATABASE} OWNER ${OWNER}`);
}
