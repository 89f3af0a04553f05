import { parseDocument } from 'yaml';
import type { ConfigProblem } from './storage.ts';

/** What a setting holds. `list`: in the environment separated by commas. `map`: names and texts. `table`: names and maps, in the file only. */
export type SettingType = 'text' | 'integer' | 'boolean' | 'list' | 'map' | 'table';
export type SettingTable = Readonly<Record<string, Readonly<Record<string, string | boolean>>>>;
/** Settings by their dotted path in the file, for example `http.port`. */
export type SettingTypes = Readonly<Record<string, SettingType>>;
export type SettingValue = string | number | boolean | readonly string[] | Readonly<Record<string, string>> | SettingTable;

/** Longest configuration file, in characters. */
const FILE_CHARS = 256 * 1024;

/** Values of a configuration as they were given, and what is wrong with them. Nothing in a problem is a value: it may be a secret. */
export type GivenSettings = { readonly values: ReadonlyMap<string, SettingValue>; readonly problems: readonly ConfigProblem[] };

/**
 * Reads settings from a YAML file and from the environment, which wins.
 * @param p.text the file; null when there is none
 * @param p.prefix of the environment's variables: `STELLA_` makes `http.port` `STELLA_HTTP__PORT`
 * @param p.others variables with the prefix that mean something else; one that ends with two underscores stands for all that begin so
 */
export function readSettings(p: {
  readonly text: string | null;
  readonly environment: Readonly<Record<string, string | undefined>>;
  readonly prefix: string;
  readonly types: SettingTypes;
  readonly others: readonly string[];
}): GivenSettings {
  const problems: ConfigProblem[] = [];
  const values = new Map<string, SettingValue>();
  if (p.text !== null) readFile(p.text, p.types, values, problems);
  readEnvironment(p, values, problems);
  return { values, problems };
}

function readFile(text: string, types: SettingTypes, values: Map<string, SettingValue>, problems: ConfigProblem[]): void {
  if (text.length > FILE_CHARS) return void problems.push({ setting: 'file', message: `is longer than ${FILE_CHARS} characters` });
  const document = parseDocument(text, { uniqueKeys: true, prettyErrors: false, schema: 'core' });
  const [error] = document.errors;
  if (error !== undefined) {
    const line = text.slice(0, error.pos[0]).split('\n').length;
    // The message of the library may quote the line, and the line may hold what should not be shown.
    return void problems.push({ setting: 'file', message: `is not YAML at line ${line} (${error.code})` });
  }
  let content: unknown;
  try {
    content = document.toJS({ maxAliasCount: 0 });
  } catch {
    return void problems.push({ setting: 'file', message: 'uses aliases: write every value out' });
  }
  if (content === null || content === undefined) return;
  walk(content, '', types, values, problems);
}

function walk(node: unknown, path: string, types: SettingTypes, values: Map<string, SettingValue>, problems: ConfigProblem[]): void {
  const type = types[path];
  if (type !== undefined) {
    const value = typed(node, type);
    if (value === null) problems.push({ setting: path, message: `must be ${describe(type)}` });
    else values.set(path, value);
    return;
  }
  if (!isRecord(node)) return void problems.push({ setting: path === '' ? 'file' : path, message: 'must be a mapping' });
  for (const [name, inner] of Object.entries(node)) {
    const at = path === '' ? name : `${path}.${name}`;
    const isKnown = types[at] !== undefined || Object.keys(types).some((known) => known.startsWith(`${at}.`));
    if (isKnown) walk(inner, at, types, values, problems);
    else problems.push(unknown(at, Object.keys(types)));
  }
}

function isRecord(value: unknown): value is Readonly<Record<string, unknown>> {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}

function typed(value: unknown, type: SettingType): SettingValue | null {
  switch (type) {
    case 'text':
      return typeof value === 'string' && value !== '' ? value : null;
    case 'integer':
      return Number.isSafeInteger(value) ? (value as number) : null;
    case 'boolean':
      return typeof value === 'boolean' ? value : null;
    case 'list':
      return Array.isArray(value) && value.every((item) => typeof item === 'string' && item !== '') ? (value as string[]) : null;
    case 'map':
      return isRecord(value) && Object.values(value).every((item) => typeof item === 'string' && item !== '') ? (value as Record<string, string>) : null;
    case 'table':
      return isRecord(value) && Object.values(value).every((row) => isRecord(row) && Object.values(row).every(isCell)) ? (value as SettingTable) : null;
  }
}

function isCell(value: unknown): boolean {
  return typeof value === 'boolean' || (typeof value === 'string' && value !== '');
}

function describe(type: SettingType): string {
  return { text: 'a text', integer: 'a whole number', boolean: 'true or false', list: 'a list of texts', map: 'a mapping of names to texts', table: 'a mapping of names to mappings' }[type];
}

function readEnvironment(p: Parameters<typeof readSettings>[0], values: Map<string, SettingValue>, problems: ConfigProblem[]): void {
  const byVariable = new Map(Object.keys(p.types).map((path) => [variableOf(p.prefix, path), path]));
  for (const [variable, text] of Object.entries(p.environment)) {
    if (!variable.startsWith(p.prefix) || text === undefined || text === '' || p.others.some((other) => variable === other || (other.endsWith('__') && variable.startsWith(other)))) continue;
    const path = byVariable.get(variable);
    if (path === undefined) {
      readUnknownVariable(variable, text, p, values, problems);
      continue;
    }
    const type = p.types[path] ?? 'text';
    const value = type === 'map' || type === 'table' ? null : typed(fromText(text, type), type);
    if (value === null) problems.push({ setting: variable, message: adviceFor(variable, type) });
    else values.set(path, value);
  }
}

function adviceFor(variable: string, type: SettingType): string {
  if (type === 'table') return 'is too much for a variable: write it into the file';
  return type === 'map' ? `names one entry each: ${variable}__NAME` : `must be ${describe(type)}`;
}

function fromText(text: string, type: SettingType): unknown {
  if (type === 'integer') return /^-?\d{1,15}$/.test(text) ? Number(text) : null;
  if (type === 'boolean') return text === 'true' ? true : text === 'false' ? false : null;
  if (type === 'list') return text.split(',').map((item) => item.trim()).filter((item) => item !== '');
  return text;
}

/** One entry of a map, or nothing that we know. */
function readUnknownVariable(variable: string, text: string, p: Parameters<typeof readSettings>[0], values: Map<string, SettingValue>, problems: ConfigProblem[]): void {
  for (const [path, type] of Object.entries(p.types)) {
    const start = `${variableOf(p.prefix, path)}__`;
    if (type !== 'map' || !variable.startsWith(start)) continue;
    const name = variable.slice(start.length).toLowerCase();
    values.set(path, { ...(values.get(path) as Readonly<Record<string, string>> | undefined), [name]: text });
    return;
  }
  const known = Object.keys(p.types).map((path) => variableOf(p.prefix, path));
  // Variables with our prefix that are near to nothing of ours belong to somebody else, perhaps to a secret that is named by reference.
  if (variable.includes('__') || closest(variable, known) !== null) problems.push(unknown(variable, known));
}

/** `http.channelPort` → `STELLA_HTTP__CHANNEL_PORT`. */
export function variableOf(prefix: string, path: string): string {
  return prefix + path.split('.').map((part) => part.replace(/[A-Z]/g, (letter) => `_${letter}`).toUpperCase()).join('__');
}

/** A problem that names the known setting that was probably meant. */
export function unknown(setting: string, known: readonly string[]): ConfigProblem {
  const meant = closest(setting, known);
  return { setting, message: meant === null ? 'is no setting of ours: remove it' : `is no setting of ours: did you mean ${meant}?` };
}

/** The known name that was probably meant: at most two letters off, or the same last word elsewhere; null when none is near. */
function closest(written: string, known: readonly string[]): string | null {
  const plain = (name: string): string => name.toLowerCase().replaceAll('_', '');
  const near = known.map((name) => ({ name, distance: distance(plain(written), plain(name)) })).filter((one) => one.distance <= 2);
  const best = near.sort((a, b) => a.distance - b.distance || (a.name < b.name ? -1 : 1))[0];
  const last = written.split('.').at(-1) ?? '';
  return best?.name ?? known.find((name) => name.includes('.') && plain(name.split('.').at(-1) ?? '') === plain(last)) ?? null;
}

/** Letters to add, drop or replace (Levenshtein). */
function distance(a: string, b: string): number {
  if (Math.abs(a.length - b.length) > 2) return 3;
  let row = Array.from({ length: b.length + 1 }, (_, index) => index);
  for (const [i, letter] of [...a].entries()) {
    const next = [i + 1];
    for (const [j, other] of [...b].entries()) next.push(Math.min((row[j] ?? 0) + Number(letter !== other), (row[j + 1] ?? 0) + 1, (next[j] ?? 0) + 1));
    row = next;
  }
  return row[b.length] ?? 0;
}
