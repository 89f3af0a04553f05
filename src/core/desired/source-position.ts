import type { Json } from '../model/canonical-json.ts';

/** Member names and list indexes from the top of a document. */
export type FieldPath = readonly (string | number)[];
/** Both from 1. */
export type Position = { readonly line: number; readonly column: number };

/**
 * Line and column of every value of a document, in the order of a walk that visits a value before its members. Two
 * numbers a value: small enough to keep for every document, so that a finding about many documents names the exact line.
 */
export type Positions = Uint32Array;

/**
 * Where the value at `path` stands; for a member of an object, where its name stands. A path that leads nowhere gives the
 * innermost value that exists.
 */
export function positionAt(document: unknown, positions: Positions, path: FieldPath): Position {
  let value = document as Json;
  let index = 0;
  for (const segment of path) {
    const step = stepInto(value, segment, index);
    if (step === null) break;
    ({ value, index } = step);
  }
  return { line: positions[index * 2] ?? 1, column: positions[index * 2 + 1] ?? 1 };
}

function stepInto(value: Json, segment: string | number, index: number): { value: Json; index: number } | null {
  if (typeof value !== 'object' || value === null) return null;
  let next = index + 1;
  for (const [name, member] of Object.entries(value) as [string, Json][]) {
    if (name === String(segment)) return { value: member, index: next };
    next += countOf(member);
  }
  return null;
}

function countOf(value: Json): number {
  if (typeof value !== 'object' || value === null) return 1;
  return Object.values(value).reduce((sum: number, member) => sum + countOf(member as Json), 1);
}

/** `spec.keys[0].key`, as messages name a field. */
export function fieldName(path: FieldPath): string {
  return path.map((segment, i) => (typeof segment === 'number' ? `[${segment}]` : i === 0 ? segment : `.${segment}`)).join('');
}
