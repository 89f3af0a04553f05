import type { Json, JsonObject } from '../model/canonical-json.ts';
import { compareText } from '../model/names.ts';
import { interpolate } from './interpolate.ts';
import { mergeCompose } from './merge-compose.ts';
import { renderYaml } from './render-yaml.ts';

export type ComposeInput = {
  /** Repository path of the team's Compose file; its relative references start at its folder. */
  readonly path: string;
  readonly base: Json;
  /** The environment's override file and its path. */
  readonly override: { readonly path: string; readonly value: Json } | null;
  readonly components: readonly { readonly repository: string; readonly digest: string }[];
  /** Paths that are shipped; every local reference must be one of them. */
  readonly shipped: ReadonlySet<string>;
  readonly variables: { readonly [name: string]: string };
  readonly secrets: ReadonlySet<string>;
  readonly labels: { readonly [name: string]: string };
};
export type Rendered = { readonly ok: true; readonly text: string } | { readonly ok: false; readonly detail: string };

class ComposeFault extends Error {}

/** Renders `compose.stella.lock.yml`: images by digest, variables resolved, secrets as placeholders, labels added (DESIGN §8). */
export function renderCompose(input: ComposeInput): Rendered {
  try {
    const base = localised(input, input.path, mapping(input.base, input.path));
    const override = input.override === null ? {} : localised(input, input.override.path, mapping(input.override.value, input.override.path));
    const { name: _name, version: _version, ...merged } = mergeCompose(base, override);
    const services = Object.entries(mapping(merged['services'] ?? null, 'services')).map(([name, service]) => [name, pinned(input, name, mapping(service, name))] as const);
    if (services.length === 0) return { ok: false, detail: `${input.path} has no services` };
    // docker-compose v1 demands a version; v2 ignores it.
    const text = renderYaml({ ...merged, version: '3.8', services: Object.fromEntries(services) });
    return { ok: true, text };
  } catch (cause) {
    if (cause instanceof ComposeFault) return { ok: false, detail: cause.message };
    throw cause;
  }
}

function mapping(value: Json, what: string): JsonObject {
  if (typeof value !== 'object' || value === null || Array.isArray(value)) throw new ComposeFault(`${what} is not a mapping`);
  return value as JsonObject;
}

/** Interpolates every string and turns references beside `file` into paths from the top of the repository. */
function localised(input: ComposeInput, file: string, compose: JsonObject): JsonObject {
  if ('include' in compose) throw new ComposeFault(`${file}: include is not supported; write the services out`);
  const folder = file.split('/').slice(0, -1);
  const plain = mapping(interpolated(input, compose), file);
  const out: Record<string, Json> = { ...plain };
  const services = plain['services'];
  if (services !== undefined && services !== null) {
    out['services'] = mapEntries(mapping(services, 'services'), (name, service) => localService(input, folder, name, mapping(service, name)));
  }
  for (const section of ['configs', 'secrets'] as const) {
    const entries = plain[section];
    if (entries === undefined || entries === null) continue;
    out[section] = mapEntries(mapping(entries, section), (name, entry) => {
      const e = mapping(entry, name);
      return typeof e['file'] === 'string' ? { ...e, file: shippedPath(input, folder, e['file']) } : e;
    });
  }
  return out;
}

function mapEntries(object: JsonObject, edit: (name: string, value: Json) => Json): JsonObject {
  return Object.fromEntries(Object.entries(object).map(([name, value]) => [name, edit(name, value)]));
}

function interpolated(input: ComposeInput, value: Json): Json {
  if (typeof value === 'string') {
    const result = interpolate(value, input.variables, input.secrets);
    if (!result.ok) throw new ComposeFault(result.detail);
    return result.text;
  }
  if (Array.isArray(value)) return (value as readonly Json[]).map((item) => interpolated(input, item));
  if (typeof value === 'object' && value !== null) return mapEntries(value as JsonObject, (_, item) => interpolated(input, item));
  return value;
}

function localService(input: ComposeInput, folder: readonly string[], name: string, service: JsonObject): JsonObject {
  if ('build' in service) throw new ComposeFault(`service ${name} has build; only images by digest are deployed`);
  if ('extends' in service) throw new ComposeFault(`service ${name} has extends; write the service out`);
  const out: Record<string, Json> = { ...service };
  const envFile = service['env_file'];
  if (envFile !== undefined) {
    const list = Array.isArray(envFile) ? (envFile as readonly Json[]) : [envFile];
    out['env_file'] = list.map((item) => shippedPath(input, folder, typeof item === 'string' ? item : String(mapping(item, 'env_file')['path'])));
  }
  const labelFile = service['label_file'];
  if (labelFile !== undefined) out['label_file'] = (Array.isArray(labelFile) ? (labelFile as readonly Json[]) : [labelFile]).map((item) => shippedPath(input, folder, String(item)));
  if ('credential_spec' in service) throw new ComposeFault(`service ${name} has credential_spec, which is not supported`);
  const volumes = service['volumes'];
  if (Array.isArray(volumes)) out['volumes'] = (volumes as readonly Json[]).map((v) => localVolume(input, folder, v));
  return out;
}

function localVolume(input: ComposeInput, folder: readonly string[], volume: Json): Json {
  if (typeof volume === 'string') {
    const [source = '', ...rest] = volume.split(':');
    return source.startsWith('.') ? [shippedPath(input, folder, source), ...rest].join(':') : volume;
  }
  const v = mapping(volume, 'volumes');
  const source = v['source'];
  return v['type'] === 'bind' && typeof source === 'string' && !source.startsWith('/') ? { ...v, source: shippedPath(input, folder, source) } : v;
}

/** A local reference must be a shipped file: one that is not listed would be read from whatever lies on the target. */
function shippedPath(input: ComposeInput, folder: readonly string[], reference: string): string {
  if (reference.startsWith('/')) throw new ComposeFault(`${reference} is a path of the target; list a file of the repository in deployment.files`);
  const path: string[] = [...folder];
  for (const part of reference.split('/')) {
    if (part === '..') {
      if (path.pop() === undefined) throw new ComposeFault(`${reference} leaves the repository`);
    } else if (part !== '.' && part !== '') path.push(part);
  }
  const joined = path.join('/');
  if (!input.shipped.has(joined)) throw new ComposeFault(`${reference} (${joined}) is not listed in deployment.files`);
  return `./${joined}`;
}

function pinned(input: ComposeInput, name: string, service: JsonObject): JsonObject {
  const image = service['image'];
  if (typeof image !== 'string') throw new ComposeFault(`service ${name} has no image`);
  return { ...service, image: pinnedImage(input, name, image), labels: { ...labelsOf(service['labels']), ...input.labels } };
}

function pinnedImage(input: ComposeInput, service: string, image: string): string {
  const byDigest = /^([^@]+)@sha256:[0-9a-f]{64}$/.exec(image);
  const repository = (byDigest?.[1] ?? image).replace(/:[\w][\w.-]{0,127}$/, '');
  const component = input.components.find((c) => c.repository === repository);
  if (component !== undefined) return `${component.repository}@${component.digest}`;
  if (byDigest !== null) return image;
  throw new ComposeFault(`service ${service} uses ${image}, which is no component of the application and not pinned by digest`);
}

function labelsOf(labels: Json | undefined): { readonly [name: string]: Json } {
  if (labels === undefined || labels === null) return {};
  if (!Array.isArray(labels)) return mapping(labels, 'labels');
  const pairs = (labels as readonly Json[]).map((item) => String(item).split('='));
  return Object.fromEntries(pairs.sort(([a = ''], [b = '']) => compareText(a, b)).map(([key = '', ...rest]) => [key, rest.join('=')]));
}
