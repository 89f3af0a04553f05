import { isAbsolute, resolve } from 'node:path';
import { isDigest, type Digest } from '../core/model/digest.ts';
import { isSegment } from '../core/model/names.ts';
import { readSettings, unknown, variableOf, type SettingTable, type SettingTypes } from './settings.ts';
import type { ConfigProblem } from './storage.ts';

/** Where the images of one Integration come from on this machine. Credentials are references, and go to `host` alone (T18). */
export type AgentRegistry =
  | { readonly layout: string }
  | { readonly host: string; readonly insecure: boolean; readonly username: string | null; readonly passwordRef: string | null; readonly tokenRef: string | null };

export type AgentConfig = {
  /** Absolute. Identity key, certificates, journal. */
  readonly folder: string;
  /** Null: as it was enrolled. */
  readonly name: string | null;
  readonly server: string | null;
  readonly genesis: Digest | null;
  readonly registries: Readonly<Record<string, AgentRegistry>>;
  readonly secretFolders: readonly string[];
  readonly offline: boolean;
  readonly allowHosts: readonly string[];
};
export type AgentConfigOutcome = { readonly ok: true; readonly config: AgentConfig } | { readonly ok: false; readonly problems: readonly ConfigProblem[] };

const PREFIX = 'STELLA_AGENT__';
const SETTINGS: SettingTypes = {
  folder: 'text', name: 'text', server: 'text', genesis: 'text', layouts: 'map', registries: 'table', secretFolders: 'list', offline: 'boolean', allowHosts: 'list',
};
const REGISTRY_SETTINGS = ['layout', 'host', 'insecure', 'username', 'passwordRef', 'tokenRef'];
const REFERENCE = /^(?:env:[A-Za-z_][A-Za-z0-9_]*|file:\/.*)$/;

/** What was given on the command line; wins over file and environment. */
export type AgentFlags = { readonly folder?: string; readonly name?: string; readonly server?: string; readonly genesis?: string; readonly layouts?: Readonly<Record<string, string>>; readonly secretFolders?: readonly string[] };

/**
 * Parses the configuration of an agent once, at start.
 * @param text the YAML file; null when there is none
 * @param environment `STELLA_AGENT__…` wins over the file
 * @param options `folder`: relative paths are taken from there
 */
export function parseAgentConfig(text: string | null, environment: Readonly<Record<string, string | undefined>>, options: { readonly folder: string; readonly flags?: AgentFlags }): AgentConfigOutcome {
  const { values, problems: given } = readSettings({ text, environment, prefix: PREFIX, types: SETTINGS, others: [] });
  const problems: ConfigProblem[] = [...given];
  const { flags = {} } = options;
  const absolute = (path: string): string => (isAbsolute(path) ? path : resolve(options.folder, path));
  const textOf = (setting: 'folder' | 'name' | 'server' | 'genesis'): string | null => flags[setting] ?? (values.get(setting) as string | undefined) ?? null;
  const folder = textOf('folder');
  const name = textOf('name');
  const server = textOf('server');
  const genesis = textOf('genesis');
  if (folder === null) problems.push({ setting: 'folder', message: `is not set: give --folder, write it into the file, or set ${variableOf(PREFIX, 'folder')}` });
  if (name !== null && !isSegment(name)) problems.push({ setting: 'name', message: 'is no name: small letters, digits, dots, hyphens and underscores' });
  if (server !== null && !/^(?:\[[0-9a-f:]+\]|[^:\s]+):\d{1,5}$/i.test(server)) problems.push({ setting: 'server', message: 'must be host:port' });
  if (genesis !== null && !isDigest(genesis)) problems.push({ setting: 'genesis', message: 'must be the pin that stella init printed: sha256: and 64 hexadecimal digits' });
  const layouts = { ...(values.get('layouts') as Readonly<Record<string, string>> | undefined), ...flags.layouts };
  const registries = {
    ...Object.fromEntries(Object.entries(layouts).map(([key, path]) => [key, { layout: absolute(path) }])),
    ...readRegistries((values.get('registries') as SettingTable | undefined) ?? {}, absolute, problems),
  };
  if (problems.length > 0 || folder === null) return { ok: false, problems };
  const secretFolders = [...((values.get('secretFolders') as readonly string[] | undefined) ?? []), ...(flags.secretFolders ?? [])].map(absolute);
  const offline = (values.get('offline') as boolean | undefined) ?? false;
  const allowHosts = (values.get('allowHosts') as readonly string[] | undefined) ?? [];
  return { ok: true, config: Object.freeze({ folder: absolute(folder), name, server, genesis: isDigest(genesis) ? genesis : null, registries, secretFolders, offline, allowHosts }) };
}

function readRegistries(table: SettingTable, absolute: (path: string) => string, problems: ConfigProblem[]): Record<string, AgentRegistry> {
  const found: Record<string, AgentRegistry> = {};
  for (const [name, row] of Object.entries(table)) {
    const at = `registries.${name}`;
    for (const key of Object.keys(row)) if (!REGISTRY_SETTINGS.includes(key)) problems.push(unknown(`${at}.${key}`, REGISTRY_SETTINGS.map((known) => `${at}.${known}`)));
    const text = (key: string): string | null => (typeof row[key] === 'string' ? row[key] : null);
    const [layout, host] = [text('layout'), text('host')];
    for (const key of ['passwordRef', 'tokenRef']) {
      const reference = text(key);
      if (reference !== null && !REFERENCE.test(reference)) problems.push({ setting: `${at}.${key}`, message: 'must be a reference, env:NAME or file:/path, never the value itself' });
    }
    if ((layout === null) === (host === null)) problems.push({ setting: at, message: 'needs either layout, a folder, or host' });
    else if (layout !== null) found[name] = { layout: absolute(layout) };
    else if (host !== null) found[name] = { host, insecure: row['insecure'] === true, username: text('username'), passwordRef: text('passwordRef'), tokenRef: text('tokenRef') };
  }
  return found;
}
