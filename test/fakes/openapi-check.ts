import { Ajv, type ValidateFunction } from 'ajv';
import addFormats from 'ajv-formats';

type Json = Readonly<Record<string, unknown>>;

/** An operation of a published description (OpenAPI 3.0): what may be asked, and what is answered. */
export type Operation = {
  readonly method: string;
  readonly template: string;
  /** Variable parts of the path, decoded. */
  readonly variables: Readonly<Record<string, string>>;
  readonly node: Json;
  readonly shared: readonly unknown[];
};

export type AskedRequest = { readonly query: URLSearchParams; readonly contentType: string; readonly body: string };

/**
 * A published OpenAPI 3.0 description, against which requests and answers are checked. Faults are sentences; none is what a test wants to see.
 * What is described loosely is checked loosely: the descriptions of some forges require nothing.
 */
export class OpenApiDescription {
  readonly #document: Json;
  readonly #templates: readonly { readonly template: string; readonly pattern: RegExp; readonly names: readonly string[] }[];
  readonly #ajv = addFormats.default(new Ajv({ strict: false, logger: false, allErrors: false }));
  /** Parameters arrive as text. */
  readonly #coercing = addFormats.default(new Ajv({ strict: false, logger: false, coerceTypes: true }));
  readonly #compiled = new Map<object, ValidateFunction>();
  readonly #added = new Set<string>();

  constructor(document: unknown) {
    this.#document = objectOf(document);
    this.#templates = Object.keys(objectOf(this.#document['paths'])).map(templateOf).sort((one, other) => one.names.length - other.names.length || other.template.length - one.template.length);
  }

  /** The operation that a request means; null where the description has none. The path is without that of the server. */
  find(method: string, path: string): Operation | null {
    for (const { template, pattern, names } of this.#templates) {
      const match = pattern.exec(path);
      const item = match === null ? null : objectOf(objectOf(this.#document['paths'])[template]);
      const node = item?.[method.toLowerCase()];
      if (match === null || item === null || node === undefined) continue;
      const variables = Object.fromEntries(names.map((name, index) => [name, decodeURIComponent(match[index + 1] ?? '')]));
      return { method, template, variables, node: objectOf(node), shared: listOf(item['parameters']) };
    }
    return null;
  }

  /** What is wrong with a request. */
  requestFaults(operation: Operation, { query, contentType, body }: AskedRequest): readonly string[] {
    return [...this.#parameterFaults(operation, query), ...this.#bodyFaults(operation, contentType, body)].map((fault) => `${operation.method} ${operation.template}: ${fault}`);
  }

  /** What is wrong with an answer. Refusals that concern every operation (of the token, of the rate) are seldom described and need not be. */
  answerFaults(operation: Operation, status: number, body: unknown): readonly string[] {
    const described = this.#answerSchema(operation, status);
    const where = `${operation.method} ${operation.template} ${status}`;
    if (described === undefined) return status >= 400 ? [] : [`${where}: this answer is not described`];
    if (described === null) return [];
    return this.#faults(described, body).map((fault) => `${where}: ${fault}`);
  }

  /** `partial` with every member that the description requires of this answer and that is not there, so that a miniature needs to know only what it is about. */
  complete(operation: Operation, status: number, partial: unknown): unknown {
    const schema = this.#answerSchema(operation, status);
    return schema === undefined || schema === null ? partial : this.#fill(schema, partial, 0);
  }

  #parameterFaults(operation: Operation, query: URLSearchParams): readonly string[] {
    const described = [...listOf(operation.node['parameters']), ...operation.shared].map((one) => this.#resolve(one));
    const faults: string[] = [];
    for (const [name, text] of [...query, ...Object.entries(operation.variables)]) {
      const parameter = described.find((one) => one['name'] === name || one['name'] === `${name}[]`);
      if (parameter === undefined) faults.push(`the parameter ${name} is not described`);
      else if (!this.#fitsParameter(parameter['schema'], text)) faults.push(`the parameter ${name} may not be ${JSON.stringify(text)}`);
    }
    const missing = described.filter((one) => one['in'] === 'query' && one['required'] === true && !query.has(String(one['name'])));
    return [...faults, ...missing.map((one) => `the parameter ${String(one['name'])} is missing`)];
  }

  #fitsParameter(schema: unknown, text: string): boolean {
    if (schema === undefined) return true;
    const known = this.#coercing.compile({ type: 'object', properties: { value: this.#inlined(schema) } });
    return known({ value: text });
  }

  #bodyFaults(operation: Operation, contentType: string, body: string): readonly string[] {
    const described = operation.node['requestBody'];
    if (described === undefined) return body === '' ? [] : ['a body is not described'];
    const { content, required } = this.#resolve(described);
    if (body === '') return required === true ? ['the body is missing'] : [];
    const schema = objectOf(objectOf(content)['application/json'] ?? {})['schema'];
    if (schema === undefined) return ['a body in JSON is not described'];
    if (!contentType.startsWith('application/json')) return [`the body is ${contentType}, not JSON`];
    const value: unknown = JSON.parse(body);
    return [...this.#faults(schema, value), ...this.#unknownMembers(schema, value).map((name) => `the member ${name} of the body is not described`)];
  }

  #unknownMembers(schema: unknown, value: unknown): readonly string[] {
    const { properties, allOf, anyOf, oneOf } = this.#resolve(schema);
    if (properties === undefined || allOf !== undefined || anyOf !== undefined || oneOf !== undefined) return [];
    return Object.keys(objectOf(value)).filter((name) => !Object.hasOwn(objectOf(properties), name));
  }

  /** undefined: not described. null: described as empty, or not as JSON. */
  #answerSchema(operation: Operation, status: number): unknown {
    const answers = objectOf(operation.node['responses']);
    const answer = answers[String(status)] ?? answers['default'];
    if (answer === undefined) return undefined;
    const { content } = this.#resolve(answer);
    const json = content === undefined ? undefined : objectOf(content)['application/json'];
    return json === undefined ? null : (objectOf(json)['schema'] ?? null);
  }

  #faults(schema: unknown, value: unknown): readonly string[] {
    const validate = this.#compile(objectOf(schema));
    return validate(value) ? [] : [`${this.#ajv.errorsText(validate.errors?.slice(0, 5))}`];
  }

  #compile(schema: Json): ValidateFunction {
    const known = this.#compiled.get(schema);
    if (known !== undefined) return known;
    const compiled = this.#ajv.compile(objectOf(this.#converted(schema)));
    this.#compiled.set(schema, compiled);
    return compiled;
  }

  /** As JSON Schema: `nullable` becomes a choice; what is referred to is added to ajv once, under its pointer. */
  #converted(node: unknown): unknown {
    if (Array.isArray(node)) return node.map((one) => this.#converted(one));
    if (typeof node !== 'object' || node === null) return node;
    const { nullable, example: _example, examples: _examples, discriminator: _discriminator, ...rest } = node as Json;
    const converted = Object.fromEntries(Object.entries(rest).map(([key, value]) => [key, key === 'enum' || key === 'default' ? value : this.#converted(value)]));
    if (typeof rest['$ref'] === 'string') {
      this.#add(rest['$ref']);
      converted['$ref'] = idOf(rest['$ref']);
    }
    return nullable === true ? { anyOf: [converted, { type: 'null' }] } : converted;
  }

  #add(reference: string): void {
    if (this.#added.has(reference)) return;
    this.#added.add(reference);
    this.#ajv.addSchema({ ...objectOf(this.#converted(this.#at(reference))) }, idOf(reference));
  }

  /** For parameters, whose schemas are small: references replaced by what they mean. */
  #inlined(node: unknown): unknown {
    return JSON.parse(JSON.stringify(this.#resolve(node), (_key, value: unknown) => (typeof value === 'object' && value !== null && '$ref' in value ? this.#resolve(value) : value)));
  }

  #resolve(node: unknown): Json {
    const found = objectOf(node);
    return typeof found['$ref'] === 'string' ? this.#resolve(this.#at(found['$ref'])) : found;
  }

  #at(reference: string): unknown {
    return reference.replace(/^#\//, '').split('/').reduce<unknown>((value, part) => objectOf(value)[part.replaceAll('~1', '/').replaceAll('~0', '~')], this.#document);
  }

  #fill(node: unknown, partial: unknown, depth: number): unknown {
    const schema = this.#resolve(node);
    if (depth > 12) return partial;
    if (partial === null || (partial === undefined && schema['nullable'] === true)) return null;
    const choices = listOf(schema['oneOf'] ?? schema['anyOf']);
    if (choices.length > 0) return this.#fillChoice(schema, choices, partial, depth);
    const parts = listOf(schema['allOf']);
    if (parts.length > 0) return parts.reduce<unknown>((value, part) => this.#fill(part, value, depth + 1), partial);
    if (schema['type'] === 'array' || Array.isArray(partial)) return (Array.isArray(partial) ? partial : []).map((one) => this.#fill(schema['items'] ?? {}, one, depth + 1));
    if (schema['type'] === 'object' || schema['properties'] !== undefined) return this.#fillObject(schema, partial, depth);
    return partial === undefined ? scalarOf(schema) : partial;
  }

  #fillObject(schema: Json, partial: unknown, depth: number): unknown {
    if (partial !== undefined && (typeof partial !== 'object' || partial === null)) return partial;
    const given = objectOf(partial ?? {});
    const properties = objectOf(schema['properties'] ?? {});
    const filled: Record<string, unknown> = { ...given };
    for (const name of new Set([...listOf(schema['required']).map(String), ...Object.keys(given)])) {
      if (Object.hasOwn(properties, name)) filled[name] = this.#fill(properties[name], given[name], depth + 1);
    }
    return filled;
  }

  #fillChoice(schema: Json, choices: readonly unknown[], partial: unknown, depth: number): unknown {
    if (partial === undefined && choices.some((one) => this.#resolve(one)['type'] === 'null')) return null;
    for (const choice of choices) {
      const filled = this.#fill(choice, partial, depth + 1);
      if (this.#faults(schema, filled).length === 0) return filled;
    }
    return partial;
  }
}

function templateOf(template: string): { readonly template: string; readonly pattern: RegExp; readonly names: readonly string[] } {
  const names = [...template.matchAll(/\{([^}]+)\}/g)].map(([, name = '']) => name);
  const pattern = template.split(/\{[^}]+\}/).map((part) => part.replace(/[.*+?^${}()|[\]\\]/g, '\\$&')).join('([^/]+)');
  return { template, pattern: new RegExp(`^${pattern}$`), names };
}

function scalarOf(schema: Json): unknown {
  const allowed = listOf(schema['enum']);
  if (allowed.length > 0) return allowed[0];
  if (schema['type'] === 'integer' || schema['type'] === 'number') return schema['minimum'] ?? 1;
  if (schema['type'] === 'boolean') return false;
  if (schema['type'] !== 'string') return {};
  const texts: Readonly<Record<string, string>> = {
    uri: 'https://forge.example/', 'date-time': '2026-01-01T00:00:00Z', date: '2026-01-01', email: 'somebody@forge.example', uuid: '00000000-0000-4000-8000-000000000000', hostname: 'forge.example',
  };
  return texts[String(schema['format'])] ?? '';
}

function idOf(reference: string): string {
  return `description:${reference.replace(/^#\//, '').replace(/[^A-Za-z0-9/_-]/g, '.')}`;
}

function objectOf(value: unknown): Json {
  if (typeof value !== 'object' || value === null) throw new TypeError('the description or what is checked against it is not what it should be');
  return value as Json;
}

function listOf(value: unknown): readonly unknown[] {
  return Array.isArray(value) ? value : [];
}
