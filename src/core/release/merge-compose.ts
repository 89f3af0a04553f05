import type { Json, JsonObject } from '../model/canonical-json.ts';

/** Lists that an override replaces; all other lists are appended to. Source: Compose specification, "Merge". */
const REPLACED: ReadonlySet<string> = new Set(['command', 'entrypoint', 'test']);
/** Lists of `KEY=value` that merge by key. */
const KEYED: ReadonlySet<string> = new Set(['environment', 'labels', 'extra_hosts', 'sysctls']);

/** Lays `override` over `base` as Compose does with a second file. */
export function mergeCompose(base: JsonObject, override: JsonObject): JsonObject {
  const out: Record<string, Json> = { ...base };
  for (const [key, value] of Object.entries(override)) {
    const below = out[key];
    out[key] = below === undefined || below === null ? value : merged(key, below, value);
  }
  return out;
}

function isMapping(value: Json): value is JsonObject {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}

function merged(key: string, base: Json, override: Json): Json {
  if (KEYED.has(key)) return { ...byKey(base), ...byKey(override) };
  if (isMapping(base) && isMapping(override)) return mergeCompose(base, override);
  if (!Array.isArray(base) || !Array.isArray(override) || REPLACED.has(key)) return override;
  if (key === 'volumes') return mergeVolumes(base as readonly Json[], override as readonly Json[]);
  const seen = new Set((base as readonly Json[]).map((item) => JSON.stringify(item)));
  return [...(base as readonly Json[]), ...(override as readonly Json[]).filter((item) => !seen.has(JSON.stringify(item)))];
}

function byKey(value: Json): JsonObject {
  if (!Array.isArray(value)) return isMapping(value) ? value : {};
  return Object.fromEntries(
    (value as readonly Json[]).map((item) => {
      const [name = '', ...rest] = String(item).split('=');
      return [name, rest.length === 0 ? null : rest.join('=')];
    }),
  );
}

/** Volumes merge by the path in the container. */
function mergeVolumes(base: readonly Json[], override: readonly Json[]): readonly Json[] {
  const targets = new Set(override.map(volumeTarget));
  return [...base.filter((v) => !targets.has(volumeTarget(v))), ...override];
}

function volumeTarget(volume: Json): string {
  if (typeof volume === 'string') return volume.split(':')[1] ?? volume;
  return isMapping(volume) ? String(volume['target']) : '';
}
