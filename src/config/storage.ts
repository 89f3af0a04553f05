/** Where state is kept. All drivers are the same Postgres; they differ in who runs it and whether it stays. */
export type DatabaseConfig =
  /** A server that the user names. `ownerUrl` is the user that owns the schema; the same as `url` unless it is configured apart. */
  | { readonly driver: 'postgres'; readonly url: string; readonly ownerUrl: string }
  /** A server of our own on the data folder. */
  | { readonly driver: 'filesystem' }
  /** A server of our own on a temporary folder that goes away with it. */
  | { readonly driver: 'inmemory' };

export type StorageConfig = { readonly database: DatabaseConfig; readonly objectStore: { readonly driver: 'seed-fs' } };

/** `setting` is the environment variable; `message` says what to do. Never holds a value, which may be secret. */
export type ConfigProblem = { readonly setting: string; readonly message: string };

export type StorageConfigOutcome =
  /** `assumed`: settings that were not given, as they are taken now, for the start to print. Only in development. */
  | { readonly ok: true; readonly config: StorageConfig; readonly assumed: readonly string[] }
  | { readonly ok: false; readonly problems: readonly ConfigProblem[] };

export const STORAGE_SETTINGS = ['STORAGE__DRIVER', 'STORAGE__OBJECTSTORE__DRIVER', 'CONNECTIONSTRINGS__DEFAULT', 'CONNECTIONSTRINGS__MIGRATIONS'] as const;
type Setting = (typeof STORAGE_SETTINGS)[number];
type Settings = Readonly<Record<string, string | undefined>>;

/**
 * Parses the storage settings once, at start.
 * @param settings environment variables; an empty one counts as missing.
 * @param options `environment` is STELLA_ENV; only `development` assumes what is missing, and says so.
 */
export function parseStorageConfig(settings: Settings, options: { readonly environment: string }): StorageConfigOutcome {
  const reading: Reading = { settings, mayAssume: options.environment === 'development', problems: [], assumed: [] };
  const database = readDatabase(reading);
  const objectStore = readObjectStore(reading);
  if (database === null || objectStore === null || reading.problems.length > 0) return { ok: false, problems: reading.problems };
  return { ok: true, config: Object.freeze({ database, objectStore }), assumed: reading.assumed };
}

type Reading = { readonly settings: Settings; readonly mayAssume: boolean; readonly problems: ConfigProblem[]; readonly assumed: string[] };

function valueOf(reading: Reading, setting: Setting): string | null {
  const value = reading.settings[setting];
  return value === undefined || value === '' ? null : value;
}

function problem(reading: Reading, setting: Setting, message: string): null {
  reading.problems.push({ setting, message });
  return null;
}

/** The value, or the default of development, or a problem. */
function required(reading: Reading, setting: Setting, developmentDefault: string, choices: string): string | null {
  const value = valueOf(reading, setting);
  if (value !== null) return value;
  if (!reading.mayAssume) return problem(reading, setting, `is not set: choose ${choices} (only STELLA_ENV=development assumes ${developmentDefault})`);
  reading.assumed.push(`${setting}=${developmentDefault}`);
  return developmentDefault;
}

function readDatabase(reading: Reading): DatabaseConfig | null {
  if (valueOf(reading, 'STORAGE__DRIVER') === null && valueOf(reading, 'CONNECTIONSTRINGS__DEFAULT') !== null) {
    return problem(reading, 'STORAGE__DRIVER', 'is not set, but CONNECTIONSTRINGS__DEFAULT is: set STORAGE__DRIVER=postgres to use that server');
  }
  const driver = required(reading, 'STORAGE__DRIVER', 'filesystem', 'postgres, filesystem or inmemory');
  if (driver === null) return null;
  if (driver === 'postgres') return readConnection(reading);
  if (driver !== 'filesystem' && driver !== 'inmemory') return problem(reading, 'STORAGE__DRIVER', 'must be postgres, filesystem or inmemory');
  for (const setting of ['CONNECTIONSTRINGS__DEFAULT', 'CONNECTIONSTRINGS__MIGRATIONS'] as const) {
    if (valueOf(reading, setting) !== null) problem(reading, setting, `has no effect with STORAGE__DRIVER=${driver}: remove it, or set STORAGE__DRIVER=postgres`);
  }
  return { driver };
}

function readConnection(reading: Reading): DatabaseConfig | null {
  const url = valueOf(reading, 'CONNECTIONSTRINGS__DEFAULT');
  if (url === null) return problem(reading, 'CONNECTIONSTRINGS__DEFAULT', 'is not set: STORAGE__DRIVER=postgres needs postgres://user:password@host:port/database');
  const apart = valueOf(reading, 'CONNECTIONSTRINGS__MIGRATIONS');
  const form = 'is not a connection string of the form postgres://user:password@host:port/database';
  if (!isPostgresUrl(url)) problem(reading, 'CONNECTIONSTRINGS__DEFAULT', form);
  if (apart !== null && !isPostgresUrl(apart)) problem(reading, 'CONNECTIONSTRINGS__MIGRATIONS', form);
  return { driver: 'postgres', url, ownerUrl: apart ?? url };
}

function isPostgresUrl(text: string): boolean {
  const url = URL.parse(text);
  return url !== null && (url.protocol === 'postgres:' || url.protocol === 'postgresql:') && url.pathname.length > 1;
}

function readObjectStore(reading: Reading): StorageConfig['objectStore'] | null {
  const driver = required(reading, 'STORAGE__OBJECTSTORE__DRIVER', 'seed-fs', 'seed-fs');
  if (driver === null) return null;
  if (driver === 'rustfs') return problem(reading, 'STORAGE__OBJECTSTORE__DRIVER', 'rustfs (S3) is not supported yet: set seed-fs, a folder below the data folder');
  if (driver !== 'seed-fs') return problem(reading, 'STORAGE__OBJECTSTORE__DRIVER', 'must be seed-fs');
  return { driver };
}
