import { isAbsolute, resolve } from 'node:path';
import { isDigest, type Digest } from '../core/model/digest.ts';
import { isSegment } from '../core/model/names.ts';
import { readSettings, variableOf, type GivenSettings, type SettingTypes } from './settings.ts';
import { parseStorageConfig, STORAGE_SETTINGS, type ConfigProblem, type StorageConfig } from './storage.ts';

/** A Git remote. Credentials are references, `env:NAME` or `file:/path`; their values are read when the server starts. */
export type RemoteConfig = {
  readonly url: string;
  /** Full name of the branch. */
  readonly ref: string;
  /** User for the token, for servers that want basic authentication; null sends the token as a bearer. */
  readonly username: string | null;
  readonly tokenRef: string | null;
  readonly sshKeyFile: string | null;
  readonly knownHostsFile: string | null;
};

const FORGES = ['github', 'gitlab', 'gitea', 'bitbucket'] as const;

export type ForgeConfig = {
  readonly type: (typeof FORGES)[number];
  /** Base of its API; null for the public instance. */
  readonly url: string | null;
  /** `owner/name`. */
  readonly repository: string;
  readonly tokenRef: string;
  /** Null: its webhook is off. */
  readonly webhookSecretRef: string | null;
  /** Account of the token, where the forge does not tell. */
  readonly account: string | null;
};

export type ServerConfig = {
  readonly repository: RemoteConfig & {
    readonly objectFormat: 'sha1' | 'sha256';
    /** Patterns of refs with pull requests, whose approvals are harvested before the merge. */
    readonly candidates: readonly string[];
  };
  /** Equal in all but `ref` to the repository where the log lies in it. */
  readonly evidence: RemoteConfig;
  /** Log id, pinned out of band (T13). */
  readonly genesis: Digest;
  readonly dataFolder: string;
  /** Absolute paths of files, or `env:NAME`. The keys are separate (T29). */
  readonly keys: {
    readonly decisions: string;
    readonly evidenceCommits: string;
    readonly agentCa: string;
    /** Keys that take over as soon as the trust root in force lists them; null when none is being rotated. */
    readonly nextDecisions: string | null;
    readonly nextEvidenceCommits: string | null;
  };
  readonly http: { readonly host: string; readonly port: number };
  readonly agents: { readonly host: string; readonly channelPort: number; readonly enrolmentPort: number; readonly serverNames: readonly string[] };
  readonly webhook: { readonly secretRef: string | null };
  /** Where pull requests are; null: plain branches alone. */
  readonly forge: ForgeConfig | null;
  readonly proposals: {
    /** Patterns of plain branches that are planned, each with one star. */
    readonly branches: readonly string[];
    /** Of our commit status. */
    readonly context: string;
    /** Days for which a merged pull request is followed. */
    readonly mergedDays: number;
    /** Full name of the branch with plans of plain branches, in the repository of the log. */
    readonly plansRef: string;
  };
  readonly pollSeconds: number;
  readonly tagPollSeconds: number;
  /** Every connection but those to `allowHosts` is refused. */
  readonly offline: boolean;
  readonly allowHosts: readonly string[];
  /** Absolute folders of OCI image layouts by the name that Integrations give. */
  readonly layouts: Readonly<Record<string, string>>;
  /** Where `file:` references may be read (T18). */
  readonly secretFolders: readonly string[];
  readonly storage: StorageConfig;
};

export type ServerConfigOutcome =
  /** `assumed`: storage settings that development assumed, to be printed. */
  | { readonly ok: true; readonly config: ServerConfig; readonly assumed: readonly string[] }
  | { readonly ok: false; readonly problems: readonly ConfigProblem[] };

export const SERVER_PREFIX = 'STELLA_';

const REMOTE = { url: 'text', branch: 'text', username: 'text', tokenRef: 'text', sshKeyFile: 'text', knownHostsFile: 'text' } as const;
const under = (name: string, types: SettingTypes): SettingTypes => Object.fromEntries(Object.entries(types).map(([key, type]) => [`${name}.${key}`, type]));

/** Every setting of a server by its path in the file. */
export const SERVER_SETTINGS: SettingTypes = {
  ...under('repository', { ...REMOTE, objectFormat: 'text', candidates: 'list' }),
  ...under('evidence', REMOTE),
  genesis: 'text', dataFolder: 'text',
  ...under('keys', { decisions: 'text', evidenceCommits: 'text', agentCa: 'text', nextDecisions: 'text', nextEvidenceCommits: 'text' }),
  ...under('http', { host: 'text', port: 'integer' }),
  ...under('agents', { host: 'text', channelPort: 'integer', enrolmentPort: 'integer', serverNames: 'list' }),
  ...under('webhook', { secretRef: 'text' }),
  ...under('forge', { type: 'text', url: 'text', repository: 'text', tokenRef: 'text', webhookSecretRef: 'text', account: 'text' }),
  ...under('proposals', { branches: 'list', context: 'text', mergedDays: 'integer', plansBranch: 'text' }),
  pollSeconds: 'integer', tagPollSeconds: 'integer', offline: 'boolean', allowHosts: 'list', layouts: 'map', secretFolders: 'list',
  ...under('storage', { driver: 'text', objectStore: 'text' }),
};

/** Variables with our prefix that are no settings of the server. */
const OTHER_VARIABLES = ['STELLA_ENV', 'STELLA_DEBUG', 'STELLA_CONFIG', 'STELLA_FORGE_TOKEN', 'STELLA_AGENT__'];

/**
 * Parses the configuration of a server once, at start.
 * @param text the YAML file; null when there is none
 * @param environment `STELLA_…`, with two underscores between levels, wins over the file; the storage settings have their own names
 * @param options `folder`: relative paths are taken from there
 */
export function parseServerConfig(text: string | null, environment: Readonly<Record<string, string | undefined>>, options: { readonly folder: string }): ServerConfigOutcome {
  const given = readSettings({ text, environment, prefix: SERVER_PREFIX, types: SERVER_SETTINGS, others: OTHER_VARIABLES });
  const reading = new Reading(given, options.folder);
  const storage = parseStorageConfig(storageSettings(given, environment), { environment: environment['STELLA_ENV'] ?? '' });
  const config = readConfig(reading, storage.ok ? storage.config : null);
  const problems = [...given.problems, ...reading.problems, ...(storage.ok ? [] : storage.problems)];
  if (config === null || !storage.ok || problems.length > 0) return { ok: false, problems };
  return { ok: true, config: frozen(config), assumed: storage.assumed };
}

/** The file may say which driver; connection strings are secrets and come from the environment alone. */
function storageSettings(given: GivenSettings, environment: Readonly<Record<string, string | undefined>>): Record<string, string | undefined> {
  const own = STORAGE_SETTINGS.filter((name) => environment[name] !== undefined && environment[name] !== '').map((name) => [name, environment[name]] as const);
  return { STORAGE__DRIVER: given.values.get('storage.driver') as string | undefined, STORAGE__OBJECTSTORE__DRIVER: given.values.get('storage.objectStore') as string | undefined, ...Object.fromEntries(own) };
}

function readConfig(r: Reading, storage: StorageConfig | null): ServerConfig | null {
  const repository = { ...readRemote(r, 'repository', null, 'main'), objectFormat: r.oneOf('repository.objectFormat', ['sha1', 'sha256'], 'sha1'), candidates: candidatesIn(r) };
  const evidence = readRemote(r, 'evidence', repository, 'stella/evidence');
  if (r.branch('proposals.plansBranch', 'stella/plans') === evidence.ref) r.problem('proposals.plansBranch', 'must be another branch than that of the log');
  if (evidence.url === repository.url && evidence.ref === repository.ref) r.problem('evidence.branch', 'must be another branch than that of the declarations');
  const offline = r.boolean('offline', false);
  const allowHosts = r.list('allowHosts');
  for (const [name, remote] of [['repository.url', repository], ['evidence.url', evidence]] as const) if (offline) requireAllowed(r, name, remote.url, allowHosts);
  const config = {
    repository, evidence, genesis: r.digest('genesis'), dataFolder: r.path('dataFolder'),
    keys: {
      decisions: r.key('keys.decisions'), evidenceCommits: r.key('keys.evidenceCommits'), agentCa: r.key('keys.agentCa'),
      nextDecisions: r.optionalKey('keys.nextDecisions'), nextEvidenceCommits: r.optionalKey('keys.nextEvidenceCommits'),
    },
    http: { host: r.text('http.host', '127.0.0.1'), port: r.port('http.port', 8443) },
    agents: { host: r.text('agents.host', '127.0.0.1'), channelPort: r.port('agents.channelPort', 9443), enrolmentPort: r.port('agents.enrolmentPort', 9444), serverNames: r.list('agents.serverNames', ['localhost', '127.0.0.1']) },
    webhook: { secretRef: r.reference('webhook.secretRef') }, forge: readForge(r, offline, allowHosts), proposals: readProposals(r, repository.ref),
    pollSeconds: r.integer('pollSeconds', 60, 1, 86_400), tagPollSeconds: r.integer('tagPollSeconds', 300, 1, 86_400),
    offline, allowHosts, layouts: r.folders('layouts'), secretFolders: r.list('secretFolders').map((folder) => r.absolute(folder)),
  };
  const keys = Object.values(config.keys).filter((key) => key !== null);
  const separate = new Set(keys).size === keys.length;
  if (!separate && r.problems.length === 0) r.problem('keys', 'must all be different keys, so that one that leaks is not all of them');
  return storage === null || config.genesis === null ? null : { ...config, genesis: config.genesis, storage };
}

function readRemote(r: Reading, name: 'repository' | 'evidence', same: RemoteConfig | null, branch: string): RemoteConfig {
  const url = r.url(`${name}.url`, same?.url ?? null);
  // Credentials belong to the remote that they were declared with (T18).
  const own = same !== null && url === same.url ? same : null;
  return {
    url, ref: r.branch(`${name}.branch`, branch), username: r.optional(`${name}.username`) ?? own?.username ?? null, tokenRef: r.reference(`${name}.tokenRef`) ?? own?.tokenRef ?? null,
    sshKeyFile: r.optionalPath(`${name}.sshKeyFile`) ?? own?.sshKeyFile ?? null, knownHostsFile: r.optionalPath(`${name}.knownHostsFile`) ?? own?.knownHostsFile ?? null,
  };
}

function readForge(r: Reading, offline: boolean, allowHosts: readonly string[]): ForgeConfig | null {
  const given = ['type', 'url', 'repository', 'tokenRef', 'webhookSecretRef', 'account'].filter((name) => r.optional(`forge.${name}`) !== null);
  if (given.length === 0) return null;
  const type = r.required('forge.type') === '' ? 'github' : r.oneOf('forge.type', FORGES, 'github');
  const url = r.optional('forge.url');
  const isUrl = url === null || (/^https?:\/\//.test(url) && URL.canParse(url));
  if (!isUrl) r.problem('forge.url', 'must be an https URL, the base of its API');
  if (url !== null && isUrl && /^https?:\/\/[^/]*@/.test(url)) r.problem('forge.url', 'holds a credential: take it out and set forge.tokenRef');
  if (offline && url !== null && isUrl) requireAllowed(r, 'forge.url', url, allowHosts);
  const repository = r.required('forge.repository');
  if (repository !== '' && !/^[\w.-]+(?:\/[\w.-]+)+$/.test(repository)) r.problem('forge.repository', 'must be owner/name');
  r.required('forge.tokenRef');
  return { type, url, repository, tokenRef: r.reference('forge.tokenRef') ?? '', webhookSecretRef: r.reference('forge.webhookSecretRef'), account: r.optional('forge.account') };
}

function readProposals(r: Reading, targetRef: string): ServerConfig['proposals'] {
  const branches = r.list('proposals.branches', ['refs/heads/promote/*']);
  for (const pattern of branches) {
    const [prefix = ''] = pattern.split('*');
    const isPattern = /^refs\/heads\/[A-Za-z0-9_./-]+\*[A-Za-z0-9_./-]*$/.test(pattern) && !pattern.includes('..') && !pattern.includes('//');
    // Branches of our own are not proposals, and the target branch does not propose itself.
    if (!isPattern || pattern.startsWith('refs/heads/stella/') || targetRef.startsWith(prefix)) r.problem('proposals.branches', 'must be patterns with one star, such as refs/heads/promote/*, and name neither the target branch nor branches of stella itself');
  }
  const context = r.text('proposals.context', 'stella/plan');
  if (!/^[A-Za-z0-9][A-Za-z0-9._/-]{0,99}$/.test(context)) r.problem('proposals.context', 'must be at most 100 letters, digits, dots, slashes, hyphens and underscores');
  const plansRef = r.branch('proposals.plansBranch', 'stella/plans');
  if (plansRef === targetRef) r.problem('proposals.plansBranch', 'must be another branch than that of the declarations');
  return { branches, context, mergedDays: r.integer('proposals.mergedDays', 7, 1, 90), plansRef };
}

/** Patterns with one star each. Our own branches are read in their own way, and all of a repository's would bring those along. */
function candidatesIn(r: Reading): readonly string[] {
  const patterns = r.list('repository.candidates');
  for (const pattern of patterns) {
    const isPattern = /^refs\/[a-z]+\/[A-Za-z0-9_./-]*\*[A-Za-z0-9_./-]*$/.test(pattern) && !pattern.includes('..') && !pattern.includes('//');
    const isOurs = pattern.startsWith('refs/heads/*') || pattern.startsWith('refs/heads/stella/') || pattern.startsWith('refs/stella/');
    if (!isPattern || isOurs) r.problem('repository.candidates', 'must be patterns with one star, such as refs/pull/*/head or refs/heads/feature/*, and not name branches of stella itself');
  }
  return patterns;
}

/** Offline, also the repository may only lie on a host that was named. */
function requireAllowed(r: Reading, setting: string, url: string, allowHosts: readonly string[]): void {
  const host = /^[a-z][a-z0-9+.-]*:\/\//i.test(url) ? URL.parse(url)?.host : /^(?:[^@/:]+@)?([^/:@]+):(?!\/\/)/.exec(url)?.[1];
  if (host === undefined || host === '' || allowHosts.includes(host) || allowHosts.includes(host.replace(/:\d+$/, ''))) return;
  r.problem(setting, 'names a host that offline: true refuses: add it to allowHosts, or use a path');
}

/** Typed access to what was given; collects problems and goes on, so that all of them show at once. */
class Reading {
  readonly problems: ConfigProblem[] = [];
  readonly #values: GivenSettings['values'];
  readonly #folder: string;

  constructor(given: GivenSettings, folder: string) {
    this.#values = given.values;
    this.#folder = folder;
  }

  problem(setting: string, message: string): void {
    this.problems.push({ setting, message });
  }

  optional(setting: string): string | null {
    return (this.#values.get(setting) as string | undefined) ?? null;
  }

  text(setting: string, otherwise: string): string {
    return this.optional(setting) ?? otherwise;
  }

  required(setting: string): string {
    const value = this.optional(setting);
    if (value === null) this.problem(setting, `is not set: write it into the file, or set ${variableOf(SERVER_PREFIX, setting)}`);
    return value ?? '';
  }

  oneOf<T extends string>(setting: string, choices: readonly T[], otherwise: T): T {
    const value = this.optional(setting) ?? otherwise;
    const found = choices.find((choice) => choice === value);
    if (found === undefined) this.problem(setting, `must be ${choices.join(' or ')}`);
    return found ?? otherwise;
  }

  boolean(setting: string, otherwise: boolean): boolean {
    return (this.#values.get(setting) as boolean | undefined) ?? otherwise;
  }

  list(setting: string, otherwise: readonly string[] = []): readonly string[] {
    return (this.#values.get(setting) as readonly string[] | undefined) ?? otherwise;
  }

  integer(setting: string, otherwise: number, least: number, most: number): number {
    const value = (this.#values.get(setting) as number | undefined) ?? otherwise;
    if (value < least || value > most) this.problem(setting, `must be from ${least} to ${most}`);
    return value;
  }

  port(setting: string, otherwise: number): number {
    return this.integer(setting, otherwise, 0, 65_535);
  }

  digest(setting: string): Digest | null {
    const value = this.required(setting);
    if (isDigest(value)) return value;
    if (value !== '') this.problem(setting, 'must be the pin that stella init printed: sha256: and 64 hexadecimal digits');
    return null;
  }

  absolute(path: string): string {
    return isAbsolute(path) ? path : resolve(this.#folder, path);
  }

  path(setting: string): string {
    return this.absolute(this.required(setting));
  }

  optionalPath(setting: string): string | null {
    const value = this.optional(setting);
    return value === null ? null : this.absolute(value);
  }

  /** A path, or `env:NAME`. */
  key(setting: string): string {
    const value = this.required(setting);
    if (value.startsWith('env:')) return this.reference(setting) ?? value;
    return this.absolute(value.startsWith('file:') ? value.slice('file:'.length) : value);
  }

  optionalKey(setting: string): string | null {
    return this.optional(setting) === null ? null : this.key(setting);
  }

  reference(setting: string): string | null {
    const value = this.optional(setting);
    if (value === null || /^env:[A-Za-z_][A-Za-z0-9_]*$/.test(value) || /^file:\//.test(value)) return value;
    // Somebody has probably written the secret itself.
    this.problem(setting, 'must be a reference, env:NAME or file:/path, never the value itself');
    return null;
  }

  /** Relative paths are made absolute; everything else is judged where it is used. */
  url(setting: string, otherwise: string | null): string {
    const value = this.optional(setting) ?? otherwise ?? this.required(setting);
    if (/\/\/[^/]*:[^/]*@/.test(value)) this.problem(setting, 'holds a password: take it out and set tokenRef');
    return /^\.{1,2}(\/|$)/.test(value) ? this.absolute(value) : value;
  }

  branch(setting: string, otherwise: string): string {
    const name = this.text(setting, otherwise);
    const isName = /^[A-Za-z0-9][A-Za-z0-9._/-]*$/.test(name) && !/\.\.|\/\/|\.lock$|[./]$/.test(name);
    if (!isName) this.problem(setting, 'is no name of a branch');
    return name.startsWith('refs/heads/') ? name : `refs/heads/${name}`;
  }

  folders(setting: string): Readonly<Record<string, string>> {
    const given = Object.entries((this.#values.get(setting) as Readonly<Record<string, string>> | undefined) ?? {});
    for (const [name] of given) if (!isSegment(name)) this.problem(`${setting}.${name}`, 'is no name: small letters, digits, dots, hyphens and underscores');
    return Object.fromEntries(given.map(([name, path]) => [name, this.absolute(path)]));
  }
}

/** Nothing can change a configuration after it was parsed. */
function frozen<T>(value: T): T {
  if (typeof value === 'object' && value !== null && !Object.isFrozen(value)) {
    Object.freeze(value);
    for (const inner of Object.values(value)) frozen(inner);
  }
  return value;
}
