import { Composer, isAlias, isMap, isScalar, isSeq, LineCounter, type Alias, type CST, type Document, type Node, type Pair } from 'yaml';
import type { Json } from '../../core/model/canonical-json.ts';
import { limits } from '../../core/model/limits.ts';
import { findDuplicateKey } from './duplicate-key.ts';
import { guardDocument } from './guard-tokens.ts';
import { readLenientScalar } from './scalar.ts';
import { tokenise, type TokenFault } from './tokenise.ts';

export type ComposeCode = 'FileTooLarge' | 'NotUtf8' | 'YamlSyntax' | 'DuplicateKey' | 'TagRefused' | 'TooDeep' | 'TooManyEntries' | 'TooManyAliases' | 'TooLargeResolved' | 'ValueRefused' | 'NotAMapping';
/** `message` begins with line and column and ends with what to do. */
export type ComposeResult = { readonly ok: true; readonly value: Json } | { readonly ok: false; readonly code: ComposeCode; readonly line: number; readonly column: number; readonly message: string };

/**
 * Reads a team's Compose file (or an override of it). Aliases and merge keys are followed, within limits; whole numbers
 * are numbers, and every other number stays the text that was written. It never throws for what a file holds.
 * @param bytes the file, at most `limits.shippedFileBytes`
 */
export function parseComposeFile(bytes: Uint8Array): ComposeResult {
  const lines = new LineCounter();
  try {
    return { ok: true, value: readFile(bytes, lines) };
  } catch (error) {
    if (!(error instanceof ComposeFault)) throw error;
    const { line, col } = lines.linePos(error.offset);
    const place = { line: Math.max(line, 1), column: Math.max(col, 1) };
    return { ok: false, code: error.code, ...place, message: `line ${place.line}, column ${place.column}: ${error.message}` };
  }
}

/** Ends the reading; never leaves this file. */
class ComposeFault extends Error {
  readonly code: ComposeCode;
  readonly offset: number;

  constructor(code: ComposeCode, offset: number, message: string) {
    super(message);
    this.code = code;
    this.offset = offset;
  }
}

function readFile(bytes: Uint8Array, lines: LineCounter): Json {
  if (bytes.length > limits.shippedFileBytes) throw new ComposeFault('FileTooLarge', 0, `the file has ${bytes.length} bytes; at most ${limits.shippedFileBytes} are read; split it`);
  const text = decode(bytes);
  const result = tokenise(text, lines);
  if (!result.ok) throw faultOf(result.fault);
  const { tokens } = result;
  const documents = tokens.filter((token): token is CST.Document => token.type === 'document');
  if (documents.length > 1) throw new ComposeFault('YamlSyntax', documents[1]?.offset ?? 0, 'a Compose file is one document; take the `---` out');
  guard(documents);
  const options = { version: '1.2', schema: 'failsafe', strict: true, uniqueKeys: false, merge: false, prettyErrors: false, logLevel: 'silent' } as const;
  const [document] = [...new Composer(options).compose(tokens, true, text.length)] as Document.Parsed[];
  const error = document?.errors[0];
  if (error !== undefined) throw new ComposeFault('YamlSyntax', error.pos[0], `this is not YAML: ${error.message.slice(0, 300)}`);
  const contents = document?.contents ?? null;
  const double = findDuplicateKey(contents);
  if (double !== null) throw new ComposeFault('DuplicateKey', double, 'a name stands twice in one mapping; keep one');
  if (!isMap(contents)) throw new ComposeFault('NotAMapping', 0, 'a Compose file is a mapping with `services`; write it so');
  return new ComposeReader(contents).read();
}

function decode(bytes: Uint8Array): string {
  try {
    return new TextDecoder('utf-8', { fatal: true }).decode(bytes);
  } catch {
    // TypeError: the only thing that a fatal decoder throws for bytes.
    throw new ComposeFault('NotUtf8', 0, 'the file is not UTF-8; save it as UTF-8');
  }
}

function guard(documents: readonly CST.Document[]): void {
  for (const document of documents) {
    const finding = guardDocument(document, { aliases: 'allowed' });
    if (finding?.code === 'TagRefused') throw new ComposeFault('TagRefused', finding.offset, 'tags (`!`) are not supported; take it out');
    if (finding?.code === 'ByteOrderMark') throw new ComposeFault('YamlSyntax', finding.offset, 'a byte order mark stands inside the file; take it out');
    if (finding?.code === 'TooDeep' || finding?.code === 'TooManyEntries') throw faultOf({ code: finding.code, offset: finding.offset, message: '' });
  }
}

function faultOf({ code, offset, message }: TokenFault): ComposeFault {
  if (code === 'TooDeep') return new ComposeFault(code, offset, `values are nested more than ${limits.documentDepth} deep; flatten them`);
  if (code === 'TooManyEntries') return new ComposeFault(code, offset, `one mapping or list has more than ${limits.documentEntries} entries; split it`);
  if (code === 'TooManyDocuments') return new ComposeFault('YamlSyntax', offset, 'a Compose file is one document; take the `---` out');
  return new ComposeFault('YamlSyntax', offset, `this is not YAML: ${message.slice(0, 300)}`);
}

/** Follows aliases with a budget: a short file can stand for a very long one. */
class ComposeReader {
  readonly #contents: Node;
  readonly #meant = new Map<Alias, Node>();
  #values = 0;
  #chars = 0;

  constructor(contents: Node) {
    this.#contents = contents;
  }

  read(): Json {
    this.#bind(this.#contents, new Map());
    if (this.#meant.size > limits.composeAliases) throw new ComposeFault('TooManyAliases', 0, `the file has ${this.#meant.size} aliases; at most ${limits.composeAliases} are followed; write some out`);
    return this.#value(this.#contents, 1);
  }

  /** An alias means the last anchor of its name before it. */
  #bind(node: unknown, anchors: Map<string, Node>): void {
    if (isAlias(node)) {
      const target = anchors.get(node.source);
      if (target === undefined) throw new ComposeFault('YamlSyntax', offsetOf(node), `there is no anchor ${node.source} before this alias; add it`);
      this.#meant.set(node, target);
      return;
    }
    if (isScalar(node) || isMap(node) || isSeq(node)) if (node.anchor !== undefined) anchors.set(node.anchor, node);
    if (isSeq(node)) for (const item of node.items) this.#bind(item, anchors);
    if (!isMap(node)) return;
    for (const { key, value } of node.items) {
      this.#bind(key, anchors);
      this.#bind(value, anchors);
    }
  }

  #value(node: unknown, depth: number): Json {
    this.#values += 1;
    if (this.#values > limits.composeValues) throw new ComposeFault('TooLargeResolved', offsetOf(node), `with aliases followed the file has more than ${limits.composeValues} values; use fewer aliases`);
    if (depth > limits.documentDepth + 1) throw new ComposeFault('TooDeep', offsetOf(node), `with aliases followed values are nested more than ${limits.documentDepth} deep; does an alias contain itself?`);
    if (isAlias(node)) return this.#value(this.#meant.get(node), depth + 1);
    if (isSeq(node)) return node.items.map((item) => this.#value(item, depth + 1));
    if (isMap(node)) return this.#mapping(node.items, depth);
    return node === null || node === undefined ? null : this.#scalar(node);
  }

  #scalar(node: unknown): Json {
    if (!isScalar(node)) throw new ComposeFault('ValueRefused', offsetOf(node), 'this is not a value; write a mapping, a list or text');
    const result = readLenientScalar(node);
    if (!result.ok) throw new ComposeFault('ValueRefused', offsetOf(node), `${result.message}. ${result.remedy}`);
    this.#chars += typeof result.value === 'string' ? result.value.length : 1;
    if (this.#chars > limits.composeChars) throw new ComposeFault('TooLargeResolved', offsetOf(node), `with aliases followed the file has more than ${limits.composeChars} characters; use fewer aliases`);
    return result.value;
  }

  /** Own members win over merged ones, and earlier merged mappings over later ones (YAML 1.1 merge keys). */
  #mapping(pairs: readonly Pair[], depth: number): Json {
    const own: Record<string, Json> = {};
    const merged: Record<string, Json> = {};
    for (const { key, value } of pairs) {
      const name = this.#name(key, depth);
      if (name === '<<') Object.assign(merged, this.#merged(value, depth));
      else own[name] = this.#value(value, depth + 1);
    }
    return { ...merged, ...own };
  }

  #name(key: unknown, depth: number): string {
    const value = isAlias(key) ? this.#value(key, depth) : isScalar(key) ? String(key.value) : null;
    if (typeof value !== 'string' || !value.isWellFormed()) throw new ComposeFault('ValueRefused', offsetOf(key), 'a name in a mapping must be text; write a plain name before the colon');
    // Assigning it would change the object's prototype instead of adding a member.
    if (value === '__proto__') throw new ComposeFault('ValueRefused', offsetOf(key), 'the name __proto__ cannot be used; choose another one');
    return value;
  }

  /** The members that `<<` brings. */
  #merged(node: unknown, depth: number): { readonly [name: string]: Json } {
    const value = this.#value(node, depth + 1);
    const sources = (Array.isArray(value) ? value : [value]) as readonly Json[];
    if (!sources.every(isMapping)) throw new ComposeFault('ValueRefused', offsetOf(node), '`<<` merges mappings only; give it an alias of a mapping, or a list of them');
    return Object.assign({}, ...sources.toReversed()) as { readonly [name: string]: Json };
  }
}

function isMapping(value: Json): boolean {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}

function offsetOf(node: unknown): number {
  return (node as { readonly range?: readonly number[] | null } | null)?.range?.[0] ?? 0;
}
