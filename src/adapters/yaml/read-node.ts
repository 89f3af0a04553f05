import { isMap, isScalar, isSeq, type LineCounter, type Node, type Pair, type YAMLMap, type YAMLSeq } from 'yaml';
import type { Json } from '../../core/model/canonical-json.ts';
import type { Positions } from '../../core/desired/source-position.ts';
import { readScalar } from './scalar.ts';

/** A value that a document may not hold. `offset` counts UTF-16 code units from the start of the file. */
export type ValueFinding = { readonly offset: number; readonly message: string; readonly remedy: string };
export type NodeResult = { readonly ok: true; readonly value: Json; readonly positions: Positions } | { readonly ok: false; readonly finding: ValueFinding };

/** A value and the offsets of it and of all below it, in the order of `Positions`. */
type Read = { readonly value: Json; readonly offsets: readonly number[] };

/**
 * The value of a composed document and where each part of it stands. Depth and size were bounded before (`guardDocument`).
 * @param node the contents of the document
 */
export function readNode(node: Node, lines: LineCounter): NodeResult {
  try {
    const { value, offsets } = read(node, offsetOf(node));
    const positions = new Uint32Array(offsets.length * 2);
    offsets.forEach((offset, i) => {
      const { line, col } = lines.linePos(offset);
      positions[i * 2] = line;
      positions[i * 2 + 1] = col;
    });
    return { ok: true, value, positions };
  } catch (error) {
    if (error instanceof Unreadable) return { ok: false, finding: error.finding };
    throw error;
  }
}

/** Ends the walk at the first unreadable value; never leaves this file. */
class Unreadable extends Error {
  readonly finding: ValueFinding;

  constructor(offset: number, message: string, remedy: string) {
    super(message);
    this.finding = { offset, message, remedy };
  }
}

function read(node: unknown, offset: number): Read {
  if (node === null || node === undefined) return { value: null, offsets: [offset] };
  if (isMap(node)) return readMap(node as YAMLMap, offset);
  if (isSeq(node)) return readList(node as YAMLSeq, offset);
  if (!isScalar(node)) throw new Unreadable(offset, 'this value is not a mapping, a list or a scalar', 'Write the value itself.');
  const result = readScalar(node);
  if (!result.ok) throw new Unreadable(offsetOf(node), result.message, result.remedy);
  return { value: result.value, offsets: [offset] };
}

function readList(node: YAMLSeq, offset: number): Read {
  const items = node.items.map((item) => read(item, offsetOf(item) || offset));
  return { value: items.map((item) => item.value), offsets: [offset, ...items.flatMap((item) => item.offsets)] };
}

function readMap(node: YAMLMap, offset: number): Read {
  const members = new Map(node.items.map((pair) => readPair(pair, offset)));
  const value: Record<string, Json> = {};
  for (const [name, member] of members) value[name] = member.value;
  // An object lists whole numbers first, whatever the file does: offsets follow the object.
  return { value, offsets: [offset, ...Object.keys(value).flatMap((name) => members.get(name)?.offsets ?? [])] };
}

function readPair(pair: Pair, offset: number): readonly [string, Read] {
  const { key, value } = pair;
  if (!isScalar(key) || typeof key.value !== 'string') throw new Unreadable(offsetOf(key) || offset, 'a name in a mapping must be text', 'Write a plain name before the colon.');
  const at = offsetOf(key);
  if (!key.value.isWellFormed()) throw new Unreadable(at, 'half of a surrogate pair is no character', 'Write the whole character, or leave it out.');
  // Assigning it would change the object's prototype instead of adding a member.
  if (key.value === '__proto__') throw new Unreadable(at, 'the name __proto__ cannot be used', 'Choose another name.');
  return [key.value, read(value, at)];
}

function offsetOf(node: unknown): number {
  return (node as { readonly range?: readonly number[] | null } | null)?.range?.[0] ?? 0;
}
