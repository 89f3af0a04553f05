import { Environment, type ASTNode, type ParseResult } from '@marcbachmann/cel-js';
import { compareText } from './names.ts';

/**
 * Conditions in the Common Expression Language: what a Gate of type `expression` may ask, version 1 of the variables, and how an answer is found.
 *
 * An expression compares, it does not compute. Only what stands in the lists below is the language here: no clock, no regular expression (they
 * backtrack), no floating point (machines may differ), nothing that builds a value larger than what it was given. So what an expression can cost is
 * known before it is evaluated, and two machines always agree.
 */
export type ExpressionFacts = {
  readonly environment: string;
  readonly application: string;
  /** promote, extend or remove. */
  readonly operation: string;
  /** Version; empty for a removal. */
  readonly release: string;
  /** What runs now; empty for nothing. */
  readonly previousRelease: string;
  readonly attempt: number;
  /** Whether it goes back to exactly what ran before, under eased rules (T28). */
  readonly rollback: boolean;
  /** Whether the glass is broken (T27). */
  readonly breakGlass: boolean;
  /** Names, sorted. */
  readonly components: readonly string[];
  /** Digest by component. */
  readonly images: { readonly [component: string]: string };
  /** What the lock says of where it was built from: repository, commit, branch, build, as far as it does. */
  readonly source: { readonly [member: string]: string };
  readonly variables: { readonly [name: string]: string };
  /** Names, sorted; values are nobody's business here. */
  readonly secrets: readonly string[];
  /** Names, sorted. */
  readonly targets: readonly string[];
  /** People, sorted (T19). */
  readonly requesters: readonly string[];
  readonly unknownRequesters: number;
  /** Of the environments that releases come from, those where this very lock runs or ran for long enough. */
  readonly sources: readonly string[];
};

/** Every variable and its type. More may be added in a later version; none changes its meaning. */
const VARIABLES: { readonly [name in keyof ExpressionFacts]: 'string' | 'int' | 'bool' | 'list<string>' | 'map<string, string>' } = {
  environment: 'string', application: 'string', operation: 'string', release: 'string', previousRelease: 'string', attempt: 'int', rollback: 'bool', breakGlass: 'bool',
  components: 'list<string>', images: 'map<string, string>', source: 'map<string, string>', variables: 'map<string, string>', secrets: 'list<string>', targets: 'list<string>',
  requesters: 'list<string>', unknownRequesters: 'int', sources: 'list<string>',
};

/** Most that one expression may hold, and steps that evaluating it may take. Part of rule set 1. */
export const EXPRESSION_LIMITS = { chars: 2_000, nodes: 300, depth: 24, listElements: 100, nestedMacros: 2, stringChars: 4_096, steps: 1_000_000 } as const;

const OPERATORS: ReadonlySet<string> = new Set(['value', 'id', '.', '[]', 'call', 'rcall', 'list', '?:', '||', '&&', '!_', '==', '!=', '<', '<=', '>', '>=', 'in']);
const ORDERS: ReadonlySet<string> = new Set(['<', '<=', '>', '>=']);
const FUNCTIONS: ReadonlySet<string> = new Set(['has', 'size']);
const METHODS: ReadonlySet<string> = new Set(['size', 'startsWith', 'endsWith', 'contains']);
const MACROS: ReadonlySet<string> = new Set(['all', 'exists', 'exists_one', 'filter']);

/** What is wrong with an expression, and where: characters from its beginning, from 0. */
export type ExpressionFault = { readonly message: string; readonly at: number };
/** `Invalid`: it is no expression of ours, or no condition; `TooCostly`: it would take more steps, or read longer texts, than it may; `Failed`: it asks for what is not there. */
export type ExpressionAnswer = { readonly ok: true; readonly holds: boolean } | { readonly ok: false; readonly code: 'Invalid' | 'TooCostly' | 'Failed' };

/** Why an expression is no condition over the variables; null for a sound one. Syntax, what is not allowed here, and types (T12). */
export function expressionFault(text: string): ExpressionFault | null {
  const read = readExpression(text);
  return 'fault' in read ? read.fault : null;
}

/** Whether the condition holds. Total: whatever goes wrong is an answer, and never a yes. */
export function evaluateExpression(text: string, facts: ExpressionFacts): ExpressionAnswer {
  const read = readExpression(text);
  if ('fault' in read) return { ok: false, code: 'Invalid' };
  const context = contextOf(facts);
  if (context === null || stepsOf(read.parsed.ast, { weights: weightsOf(facts), search: searchSteps(text, facts) }) > EXPRESSION_LIMITS.steps) return { ok: false, code: 'TooCostly' };
  try {
    const value: unknown = read.parsed(context);
    return typeof value === 'boolean' ? { ok: true, holds: value } : { ok: false, code: 'Failed' };
  } catch {
    return { ok: false, code: 'Failed' };
  }
}

function readExpression(text: string): { readonly parsed: ParseResult } | { readonly fault: ExpressionFault } {
  if (text.length > EXPRESSION_LIMITS.chars) return { fault: { message: `it is longer than ${EXPRESSION_LIMITS.chars} characters`, at: EXPRESSION_LIMITS.chars } };
  try {
    const parsed = languageOf().parse(text);
    const foreign = foreignPart(parsed.ast, 0);
    if (foreign !== null) return { fault: foreign };
    const { valid, type, error } = parsed.check();
    if (!valid) return { fault: faultOf(error) };
    return type === 'bool' ? { parsed } : { fault: { message: `it gives ${type ?? 'nothing'}, but a gate needs true or false`, at: 0 } };
  } catch (cause) {
    return { fault: faultOf(cause) };
  }
}

function languageOf(): Environment {
  const { nodes, depth, listElements } = EXPRESSION_LIMITS;
  const language = new Environment({ unlistedVariablesAreDyn: false, limits: { maxAstNodes: nodes, maxDepth: depth, maxListElements: listElements, maxMapEntries: 0, maxCallArguments: 2 } });
  for (const [name, type] of Object.entries(VARIABLES)) language.registerVariable(name, type);
  return language;
}

function faultOf(cause: unknown): ExpressionFault {
  const { summary, message, range } = cause as { readonly summary?: string; readonly message?: string; readonly range?: { readonly start?: number } };
  // The first line says what; the others draw the place.
  return { message: (summary ?? message ?? String(cause)).split('\n')[0] ?? '', at: range?.start ?? 0 };
}

/** The first part that is not in the lists above, in the order in which it is written. */
function foreignPart(node: ASTNode, macros: number): ExpressionFault | null {
  const fault = (message: string): ExpressionFault => ({ message, at: node.start });
  if (!OPERATORS.has(node.op)) return fault(`\`${node.op.replace('_', '')}\` is not supported: an expression compares, it does not compute`);
  if (node.op === 'value' && !['string', 'bigint', 'boolean'].includes(typeof node.args)) return fault('only text, whole numbers, true and false may be written');
  if (node.op === 'call' && !FUNCTIONS.has(node.args[0])) return fault(`\`${node.args[0]}()\` is not supported; use one of: ${[...FUNCTIONS].join(', ')}`);
  if (node.op === 'rcall' && !METHODS.has(node.args[0]) && !MACROS.has(node.args[0])) return fault(`\`.${node.args[0]}()\` is not supported; use one of: ${[...METHODS, ...MACROS].join(', ')}`);
  const inside = macros + (isMacro(node) ? 1 : 0);
  if (inside > EXPRESSION_LIMITS.nestedMacros) return fault(`more than ${EXPRESSION_LIMITS.nestedMacros} of ${[...MACROS].join(', ')} within each other`);
  // A name means one thing only, to the reader as well as to what counts steps.
  const named = node.op === 'rcall' && isMacro(node) ? node.args[2][0] : undefined;
  if (named?.op === 'id' && Object.hasOwn(VARIABLES, named.args)) return { message: `\`${named.args}\` is a variable already; take another name for the elements`, at: named.start };
  for (const child of childrenOf(node)) {
    const found = foreignPart(child, inside);
    if (found !== null) return found;
  }
  if (ORDERS.has(node.op) && !childrenOf(node).every(isNumber)) return fault(`\`${node.op}\` orders whole numbers only: as text 10.0.0 comes before 9.0.0, so versions are for a gate of type dependency`);
  return null;
}

/** Whether a node gives a whole number, as far as one can be asked for here. */
function isNumber(node: ASTNode): boolean {
  if (node.op === 'value') return typeof node.args === 'bigint';
  if (node.op === 'id') return Object.hasOwn(VARIABLES, node.args) && VARIABLES[node.args as keyof ExpressionFacts] === 'int';
  if (node.op === '?:') return isNumber(node.args[1]) && isNumber(node.args[2]);
  return (node.op === 'call' || node.op === 'rcall') && node.args[0] === 'size';
}

function isMacro(node: ASTNode): boolean {
  return node.op === 'rcall' && MACROS.has(node.args[0]);
}

function childrenOf(node: ASTNode): readonly ASTNode[] {
  switch (node.op) {
    case 'value':
    case 'id':
    case 'map':
      return [];
    case '.':
    case '.?':
      return [node.args[0]];
    case 'call':
      return node.args[1];
    case 'rcall':
      return [node.args[1], ...node.args[2]];
    case '!_':
    case '-_':
      return [node.args];
    case 'list':
    case '?:':
      return node.args;
    default:
      return [node.args[0], node.args[1]];
  }
}

/** How many values a variable holds at most, itself included. */
type Weights = ReadonlyMap<string, number>;

function weightsOf(facts: ExpressionFacts): Weights {
  return new Map(Object.entries(facts).map(([name, value]) => [name, typeof value === 'object' ? 1 + Object.keys(value).length : 1]));
}

/** How many values the result of a node holds at most: nothing but a list that is written out is larger than what it is made of. */
function weightOf(node: ASTNode, weights: Weights): number {
  if (node.op === 'id') return weights.get(node.args) ?? 1;
  if (node.op === '?:') return Math.max(weightOf(node.args[1], weights), weightOf(node.args[2], weights));
  if (node.op === 'list') return node.args.reduce((sum, item) => sum + weightOf(item, weights), 1);
  if (node.op === '.' || node.op === '[]') return elementWeight(node.args[0], weights);
  return node.op === 'rcall' && node.args[0] === 'filter' ? weightOf(node.args[1], weights) : 1;
}

/** What looking for one text in another may take: in the worst case every place of the one is compared with all of the other. */
function searchSteps(text: string, facts: ExpressionFacts): number {
  const texts = Object.values(facts).flatMap((value) => (typeof value === 'object' ? [...Object.keys(value), ...(Object.values(value) as string[])] : [String(value)]));
  const longest = texts.reduce((most, { length }) => Math.max(most, length), text.length);
  return Math.ceil((longest * longest) / 1_000);
}

/** The same of one element of it: those of the variables are single texts. */
function elementWeight(node: ASTNode, weights: Weights): number {
  if (node.op === 'id') return Object.hasOwn(VARIABLES, node.args) ? 1 : weightOf(node, weights);
  if (node.op === 'list') return node.args.reduce((most, item) => Math.max(most, weightOf(item, weights)), 1);
  if (node.op === '?:') return Math.max(elementWeight(node.args[1], weights), elementWeight(node.args[2], weights));
  return node.op === 'rcall' && node.args[0] === 'filter' ? elementWeight(node.args[1], weights) : weightOf(node, weights);
}

type Costs = { readonly weights: Weights; /** Of one `contains`. */ readonly search: number };

/** Steps that evaluating a node takes at most: a macro does what it does for every element, a comparison looks at every value on both sides. */
function stepsOf(node: ASTNode, costs: Costs): number {
  const { weights, search } = costs;
  if (node.op === 'rcall' && isMacro(node)) {
    const [, range, [variable, body]] = node.args;
    const size = weightOf(range, weights);
    const within = { search, weights: new Map(weights).set(variable?.op === 'id' ? variable.args : '', elementWeight(range, weights)) };
    return stepsOf(range, costs) + size * (1 + (body === undefined ? 0 : stepsOf(body, within)));
  }
  const children = childrenOf(node);
  const compares = node.op === '==' || node.op === '!=' || node.op === 'in';
  const looks = compares ? children.reduce((sum, child) => sum + weightOf(child, weights), 0) : node.op === 'rcall' && node.args[0] === 'contains' ? search : 0;
  return children.reduce((sum, child) => sum + stepsOf(child, costs), 1 + looks);
}

/** Values as the language has them; null where a text is longer than what is looked through. */
function contextOf(facts: ExpressionFacts): { readonly [name: string]: unknown } | null {
  let isShort = true;
  const text = (value: string): string => {
    isShort &&= value.length <= EXPRESSION_LIMITS.stringChars;
    return value;
  };
  const valueOf = (value: ExpressionFacts[keyof ExpressionFacts]): unknown => {
    if (typeof value === 'string') return text(value);
    if (typeof value === 'number') return BigInt(Number.isSafeInteger(value) ? value : 0);
    if (typeof value === 'boolean') return value;
    if (Array.isArray(value)) return (value as readonly string[]).map(text);
    // A Map has no members but its own: nothing of an object's prototype can be asked for. By names: an object from a file has another order than the same one from the log (T32).
    return new Map(Object.entries(value).sort(([a], [b]) => compareText(a, b)).map(([name, member]) => [text(name), text(member as string)]));
  };
  const context = Object.fromEntries(Object.entries(facts).map(([name, value]) => [name, valueOf(value)]));
  return isShort ? context : null;
}
