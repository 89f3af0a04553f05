import { readFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { Ajv2020, type ErrorObject, type ValidateFunction } from 'ajv/dist/2020.js';
import type { Kind } from '../../core/model/documents.ts';
import { parseInstant } from '../../core/model/instant.ts';
import type { RecordType } from '../../core/evidence/records.ts';
import { problemsOf, type SchemaProblem } from './schema-problem.ts';

/** Words of all preimages; one schema each under `schemas/preimages/`. */
export const PREIMAGE_WORDS = [
  'genesis-documents', 'in-force', 'lock', 'release-spec', 'runs', 'plan', 'promotion', 'intent', 'change', 'order', 'decision-input', 'relevant', 'decision', 'receipt', 'rewrite',
] as const;
export type PreimageWord = (typeof PREIMAGE_WORDS)[number];

export type SchemaResult = { readonly ok: true } | { readonly ok: false; readonly problems: readonly SchemaProblem[] };

export interface Schemas {
  /** Checks the shape of a whole document. */
  validateDocument(kind: Kind, value: unknown): SchemaResult;
  validatePreimage(word: PreimageWord, value: unknown): SchemaResult;
  validateRecord(type: RecordType | 'header', value: unknown): SchemaResult;
}

/**
 * The schemas under `schemas/` (JSON Schema 2020-12). Each is read and compiled when it is first asked for, so that a
 * command pays for what it uses.
 * @param folder absolute path of the schemas; the ones of this package by default
 * @throws Error when a schema is missing or is none: the installation is broken
 */
export function openSchemas(folder: string = fileURLToPath(new URL('../../../schemas/', import.meta.url))): Schemas {
  const ajv = createAjv();
  const compiled = new Map<string, ValidateFunction>();
  const load = (name: string): ValidateFunction => {
    const known = compiled.get(name);
    if (known !== undefined) return known;
    for (const needed of schemasNeededBy(folder, name)) if (ajv.getSchema(needed.id) === undefined) ajv.addSchema(needed.schema);
    const validate = ajv.getSchema(`${SCHEMA_BASE}${name}`);
    if (validate === undefined) throw new Error(`the schema ${name} is not where its id says`);
    compiled.set(name, validate);
    return validate;
  };
  const validate = (name: string, value: unknown): SchemaResult => resultOf(load(name), value);
  return {
    validateDocument: (kind, value) => validate(schemaFileOf(kind), value),
    validatePreimage: (word, value) => validate(`preimages/${word}.schema.json`, value),
    validateRecord: (type, value) => validate(`records/${type}.schema.json`, value),
  };
}

const SCHEMA_BASE = 'https://stella-gitops.dev/schemas/';

/** File name of a kind's schema: `TrustRoot` → `trust-root.schema.json`. */
export function schemaFileOf(kind: Kind): string {
  return `${kind.replace(/(?<=.)[A-Z]/g, (letter) => `-${letter}`).toLowerCase()}.schema.json`;
}

/** The one way in which our schemas are compiled; tests use it to check the schemas themselves. */
export function createAjv(options: { readonly validateSchema: boolean } = { validateSchema: false }): Ajv2020 {
  const ajv = new Ajv2020({ strict: true, strictRequired: false, allErrors: true, verbose: true, validateSchema: options.validateSchema, allowUnionTypes: true });
  // T32: our own reading of instants; the one of ajv-formats lets leap seconds and offsets pass.
  ajv.addFormat('date-time', { type: 'string', validate: (text: string) => parseInstant(text) !== null });
  return ajv;
}

type LoadedSchema = { readonly id: string; readonly schema: { readonly $id: string } };

/** A schema and all that it refers to, directly or not. */
function schemasNeededBy(folder: string, name: string): readonly LoadedSchema[] {
  const found = new Map<string, LoadedSchema>();
  const open = [name];
  for (let next = open.pop(); next !== undefined; next = open.pop()) {
    if (found.has(next)) continue;
    const text = readFileSync(`${folder}/${next}`, 'utf8');
    const schema = JSON.parse(text) as { readonly $id: string };
    found.set(next, { id: schema.$id, schema });
    for (const [, target = ''] of text.matchAll(/"\$ref": "([^"#]+)/g)) open.push(new URL(target, schema.$id).href.slice(SCHEMA_BASE.length));
  }
  return [...found.values()];
}

function resultOf(validate: ValidateFunction, value: unknown): SchemaResult {
  if (validate(value)) return { ok: true };
  const errors: readonly ErrorObject[] = validate.errors ?? [];
  return { ok: false, problems: problemsOf(errors, value) };
}
