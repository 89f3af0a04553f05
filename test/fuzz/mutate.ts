import type { Random } from './random.ts';

/** One way of changing bytes. */
type Change = (bytes: Buffer, random: Random, pantry: Pantry) => Buffer;
/** What mutations are made from: words of the format, and other samples of it. */
export type Pantry = { readonly words: readonly (string | Uint8Array)[]; readonly others: readonly Uint8Array[] };

/** Lengths and numbers at which decoders make mistakes. */
const EDGES: readonly number[] = [0, 1, 0x7f, 0x80, 0xff, 0x100, 0x7fff, 0xffff, 0x10000, 0x7fffffff, 0x80000000, 0xffffffff];
const LONGEST_INSERT = 64;
const LONGEST_RUN = 4096;

const at = (bytes: Buffer, random: Random): number => (bytes.length === 0 ? 0 : random.below(bytes.length));
const splice = (bytes: Buffer, from: number, to: number, insert: Uint8Array): Buffer => Buffer.concat([bytes.subarray(0, from), insert, bytes.subarray(to)]);

function range(bytes: Buffer, random: Random): readonly [number, number] {
  const from = at(bytes, random);
  return [from, Math.min(bytes.length, from + 1 + random.below(random.below(8) === 0 ? bytes.length + 1 : 16))];
}

const changes: readonly Change[] = [
  function flipBit(bytes, random) {
    const copy = Buffer.from(bytes);
    const position = at(copy, random);
    if (position < copy.length) copy[position] = (copy[position] ?? 0) ^ (1 << random.below(8));
    return copy;
  },
  function setByte(bytes, random) {
    const copy = Buffer.from(bytes);
    const position = at(copy, random);
    if (position < copy.length) copy[position] = random.pick([0, 10, 13, 32, 34, 45, 58, 61, 92, 127, 128, 255, random.below(256)]);
    return copy;
  },
  function setLength(bytes, random) {
    if (bytes.length < 4) return bytes;
    const copy = Buffer.from(bytes);
    copy.writeUInt32BE(random.below(2) === 0 ? random.pick(EDGES) : random.below(bytes.length + 2), random.below(copy.length - 3));
    return copy;
  },
  function remove(bytes, random) {
    const [from, to] = range(bytes, random);
    return splice(bytes, from, to, Buffer.alloc(0));
  },
  function repeat(bytes, random) {
    const [from, to] = range(bytes, random);
    return splice(bytes, to, to, bytes.subarray(from, to));
  },
  function move(bytes, random) {
    const [from, to] = range(bytes, random);
    const rest = splice(bytes, from, to, Buffer.alloc(0));
    const there = at(rest, random);
    return splice(rest, there, there, bytes.subarray(from, to));
  },
  function insert(bytes, random) {
    const there = random.below(bytes.length + 1);
    return splice(bytes, there, there, random.bytes(random.below(LONGEST_INSERT)));
  },
  function insertRun(bytes, random) {
    const there = random.below(bytes.length + 1);
    return splice(bytes, there, there, Buffer.alloc(random.below(LONGEST_RUN), random.pick([0, 10, 32, 40, 45, 65, 91, 123, 255])));
  },
  function insertWord(bytes, random, { words }) {
    const there = random.below(bytes.length + 1);
    return splice(bytes, there, there, Buffer.from(random.pick(words)));
  },
  function replaceByWord(bytes, random, { words }) {
    const [from, to] = range(bytes, random);
    return splice(bytes, from, to, Buffer.from(random.pick(words)));
  },
  function cross(bytes, random, { others }) {
    const other = Buffer.from(random.pick(others));
    return Buffer.concat([bytes.subarray(0, random.below(bytes.length + 1)), other.subarray(random.below(other.length + 1))]);
  },
  function truncate(bytes, random) {
    return bytes.subarray(0, random.below(bytes.length + 1));
  },
  function append(bytes, random, { words }) {
    return Buffer.concat([bytes, random.below(2) === 0 ? random.bytes(1 + random.below(8)) : Buffer.from(random.pick(words))]);
  },
  function swapLines(bytes, random) {
    const lines = bytes.toString('latin1').split('\n');
    const [one, two] = [random.below(lines.length), random.below(lines.length)];
    [lines[one], lines[two]] = [lines[two] ?? '', lines[one] ?? ''];
    return Buffer.from(lines.join('\n'), 'latin1');
  },
  function replaceNumber(bytes, random) {
    const text = bytes.toString('latin1');
    const numbers = [...text.matchAll(/\d+/g)];
    if (numbers.length === 0) return bytes;
    const { index, 0: found } = random.pick(numbers);
    return Buffer.from(text.slice(0, index) + random.pick(['0', '-1', '1e400', '9007199254740993', '00', '1.0', String(random.pick(EDGES))]) + text.slice(index + found.length), 'latin1');
  },
];

/** `bytes` changed in one to four ways. It may come out as it went in. */
export function mutated(bytes: Uint8Array, random: Random, pantry: Pantry): Buffer {
  let result = Buffer.from(bytes);
  for (let times = random.pick([1, 1, 1, 2, 2, 3, 4]); times > 0; times -= 1) result = Buffer.from(random.pick(changes)(result, random, pantry));
  return result;
}
