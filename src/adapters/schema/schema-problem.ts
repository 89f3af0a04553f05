import type { ErrorObject } from 'ajv/dist/2020.js';
import { fieldName, type FieldPath } from '../../core/desired/source-position.ts';
import { limits } from '../../core/model/limits.ts';
import { closestName } from './closest-name.ts';
import { unsupportedField, unsupportedServiceRole } from './unsupported-fields.ts';

export type SchemaProblemCode = 'UnknownField' | 'UnsupportedField' | 'MissingField' | 'InvalidName' | 'UnsafePath' | 'InvalidValue';

/** One thing wrong with the shape of a value. `path` leads to the field, or to where a missing one belongs. */
export type SchemaProblem = { readonly code: SchemaProblemCode; readonly path: FieldPath; readonly message: string; readonly remedy: string };

type Branches = readonly { readonly required?: readonly string[] }[];
type ParentSchema = { readonly properties?: Readonly<Record<string, unknown>>; readonly description?: string };

/** What the validator found, in words for people; at most `limits.problemsPerDocument`, in the order of the fields' paths. */
export function problemsOf(errors: readonly ErrorObject[], value: unknown): readonly SchemaProblem[] {
  const told = errors.filter((error) => !isEcho(error, errors));
  const problems = (told.length > 0 ? told : errors).slice(0, limits.problemsPerDocument).map((error) => problemOf(error, pathOf(error.instancePath, value)));
  const unique = new Map(problems.map((problem) => [`${problem.code} ${problem.message}`, problem]));
  return [...unique.values()];
}

/** Errors that only repeat another one: of a condition, of one branch of several, of a name that is reported with its object. */
function isEcho(error: ErrorObject, all: readonly ErrorObject[]): boolean {
  if (error.keyword === 'if' || error.propertyName !== undefined) return true;
  if (error.keyword === 'required' && /\/oneOf\/\d+\/required$/.test(error.schemaPath)) return true;
  return all.some((other) => other !== error && other.keyword === 'anyOf' && isWithin(error.instancePath, other.instancePath) && error.keyword !== 'anyOf');
}

function isWithin(path: string, outer: string): boolean {
  return path === outer || path.startsWith(`${outer}/`);
}

/** A JSON pointer as a path; a segment is an index where the value there is a list. */
function pathOf(pointer: string, value: unknown): FieldPath {
  const path: (string | number)[] = [];
  let at: unknown = value;
  for (const raw of pointer.split('/').slice(1)) {
    const segment = raw.replaceAll('~1', '/').replaceAll('~0', '~');
    path.push(Array.isArray(at) ? Number(segment) : segment);
    at = typeof at === 'object' && at !== null ? (at as Record<string, unknown>)[segment] : undefined;
  }
  return path;
}

function problemOf(error: ErrorObject, path: FieldPath): SchemaProblem {
  const params = error.params as Record<string, unknown>;
  switch (error.keyword) {
    case 'additionalProperties':
    case 'unevaluatedProperties':
      return unknownField(path, String(params['additionalProperty'] ?? params['unevaluatedProperty']), error.parentSchema as ParentSchema);
    case 'false schema':
      return { code: 'UnsupportedField', path, message: `${named(path)} has no effect here`, remedy: 'Take it out: a field without effect is refused, never ignored.' };
    case 'required':
      return { code: 'MissingField', path, message: `${named([...path, String(params['missingProperty'])])} is missing`, remedy: 'Add it.' };
    case 'propertyNames':
      return { code: 'InvalidName', path: [...path, String(params['propertyName'])], message: `${shown(params['propertyName'])} is not a name that ${named(path)} can hold`, remedy: 'Give it another name.' };
    case 'pattern':
    case 'format':
      return unfit(error, path);
    case 'oneOf':
      return { code: 'InvalidValue', path, message: `${named(path)} needs exactly one of ${branches(error.schema as Branches)}`, remedy: 'Keep one and leave the others out.' };
    case 'enum':
      return unknownValue(error, params, path);
    default:
      return { code: 'InvalidValue', path, message: `${named(path)} ${complaint(error, params)}`, remedy: 'Correct the value.' };
  }
}

function unknownValue(error: ErrorObject, params: Record<string, unknown>, path: FieldPath): SchemaProblem {
  const unsupported = path.at(-1) === 'role' && path.includes('services') ? unsupportedServiceRole(error.data) : null;
  if (unsupported === null) return { code: 'InvalidValue', path, message: `${named(path)} ${complaint(error, params)}`, remedy: 'Correct the value.' };
  return { code: 'UnsupportedField', path, message: `${named(path)} cannot be ${shown(error.data)} yet: nothing would see to it ${unsupported.what}`, remedy: unsupported.remedy };
}

function unknownField(path: FieldPath, field: string, parent: ParentSchema): SchemaProblem {
  const known = Object.keys(parent.properties ?? {});
  const meant = closestName(field, known);
  const where = [...path, field];
  const unsupported = unsupportedField(field);
  if (unsupported !== null) return { code: 'UnsupportedField', path: where, message: `${named(where)} is not supported yet: nothing would see to it ${unsupported.what}`, remedy: unsupported.remedy };
  return {
    code: 'UnknownField',
    path: where,
    // T12: never accepted and ignored.
    message: meant === null ? `unknown field ${named(where)}; it is not supported` : `unknown field ${named(where)}; did you mean \`${meant}\`?`,
    remedy: known.length === 0 ? 'Take it out.' : `Take it out, or use one of: ${known.join(', ')}.`,
  };
}

function unfit(error: ErrorObject, path: FieldPath): SchemaProblem {
  const definition = /#\/\$defs\/(\w+)\/(?:pattern|format)$/.exec(error.schemaPath)?.[1] ?? '';
  const code = NAME_DEFINITIONS.has(definition) ? 'InvalidName' : PATH_DEFINITIONS.has(definition) ? 'UnsafePath' : 'InvalidValue';
  const expected = (error.parentSchema as ParentSchema).description ?? 'See the schema.';
  return { code, path, message: `${named(path)} cannot be ${shown(error.data)}`, remedy: `Expected: ${expected}` };
}

const NAME_DEFINITIONS: ReadonlySet<string> = new Set(['name', 'pairName', 'anyName', 'nameOrAny']);
const PATH_DEFINITIONS: ReadonlySet<string> = new Set(['path', 'absolutePath']);

function complaint(error: ErrorObject, params: Record<string, unknown>): string {
  const limit = String(params['limit']);
  switch (error.keyword) {
    case 'type':
      return `must be ${withArticle(String(params['type']))}, not ${shown(error.data)}`;
    case 'minimum':
      return `must be at least ${limit}`;
    case 'maximum':
      return `must be at most ${limit}`;
    case 'enum':
      return `must be one of ${(params['allowedValues'] as readonly unknown[]).map(String).join(', ')}, not ${shown(error.data)}`;
    case 'const':
      return `must be ${String(params['allowedValue'])}, not ${shown(error.data)}`;
    case 'minLength':
    case 'minItems':
    case 'minProperties':
      return `must not be empty`;
    case 'maxLength':
      return `must have at most ${limit} characters`;
    case 'maxItems':
    case 'maxProperties':
      return `must have at most ${limit} entries`;
    case 'uniqueItems':
      return 'holds one entry twice';
    default:
      return 'does not have a form that is allowed here';
  }
}

const WORDS: Readonly<Record<string, string>> = { integer: 'a whole number', string: 'text', object: 'a mapping', array: 'a list', boolean: 'true or false', null: 'null' };

function withArticle(types: string): string {
  return types.split(',').map((type) => WORDS[type] ?? type).join(' or ');
}

function branches(schemas: Branches): string {
  return schemas.map((schema) => (schema.required ?? []).map((name) => `\`${name}\``).join(' with ')).join(' or ');
}

function named(path: FieldPath): string {
  return path.length === 0 ? 'the document' : `\`${fieldName(path)}\``;
}

/** Foreign text for a message: clipped, and with everything outside printable ASCII escaped, so that look-alikes show. */
function shown(value: unknown): string {
  if (typeof value === 'object' && value !== null) return Array.isArray(value) ? 'a list' : 'a mapping';
  return (JSON.stringify(value) ?? 'nothing').slice(0, 120).replace(/[^\x20-\x7e]/g, (c) => `\\u${c.charCodeAt(0).toString(16).padStart(4, '0')}`);
}
