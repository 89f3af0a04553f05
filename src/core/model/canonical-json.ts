/** A value that canonical JSON can carry. Numbers are integers below 2^53 in all that we write (EVIDENCE: no floats). */
export type Json = null | boolean | number | string | readonly Json[] | { readonly [key: string]: Json };

export type JsonObject = { readonly [key: string]: Json };

/** Thrown when a value has no canonical form: a float, a lone surrogate, an unsupported type. */
export class CanonicalError extends Error {
  readonly code = 'NotCanonical';
}

const isLoneSurrogateFree = (text: string): boolean => text.isWellFormed();

function serialize(value: unknown, allowFloats: boolean, path: string): string {
  if (value === null) return 'null';
  if (typeof value === 'boolean') return value ? 'true' : 'false';
  if (typeof value === 'string') {
    if (!isLoneSurrogateFree(value)) throw new CanonicalError(`${path}: a lone surrogate has no canonical form`);
    return JSON.stringify(value);
  }
  if (typeof value === 'number') return serializeNumber(value, allowFloats, path);
  if (Array.isArray(value)) return `[${value.map((item, i) => serialize(item, allowFloats, `${path}/${i}`)).join(',')}]`;
  if (typeof value === 'object') {
    const object = value as Record<string, unknown>;
    // RFC 8785 §3.2.3: sort by UTF-16 code units, which is what the default comparison of strings does.
    const members = Object.keys(object)
      .sort()
      .map((key) => `${serialize(key, allowFloats, path)}:${serialize(object[key], allowFloats, `${path}/${key}`)}`);
    return `{${members.join(',')}}`;
  }
  throw new CanonicalError(`${path}: ${typeof value} has no canonical form`);
}

function serializeNumber(value: number, allowFloats: boolean, path: string): string {
  const ok = allowFloats ? Number.isFinite(value) : Number.isSafeInteger(value);
  if (!ok) throw new CanonicalError(`${path}: ${value} is not an integer below 2^53`);
  return JSON.stringify(value);
}

/**
 * Canonical JSON of `value` (RFC 8785), for everything that is digested or signed.
 * @throws CanonicalError for floats, unsafe integers, lone surrogates, undefined, functions.
 */
export function canonicalText(value: unknown): string {
  return serialize(value, false, '');
}

/** UTF-8 bytes of {@link canonicalText}. */
export function canonicalBytes(value: unknown): Uint8Array {
  return new TextEncoder().encode(canonicalText(value));
}

/** RFC 8785 with every finite number; only for conformance with the public vectors and foreign JSON. */
export function canonicalTextWithFloats(value: unknown): string {
  return serialize(value, true, '');
}

/**
 * Parses bytes that must be canonical JSON already: invalid UTF-8, duplicate keys, floats, spaces and every second spelling are refused.
 * @returns undefined when the bytes are anything else.
 */
export function parseCanonicalJson(bytes: Uint8Array): Json | undefined {
  try {
    const text = new TextDecoder('utf-8', { fatal: true, ignoreBOM: true }).decode(bytes);
    const value = JSON.parse(text) as Json;
    return canonicalText(value) === text ? value : undefined;
  } catch {
    // SyntaxError, TypeError of the decoder, or CanonicalError: in each case these bytes say nothing.
    return undefined;
  }
}
