import type { Decoder, OpenDecoder } from './decoder.ts';
import { mutated } from './mutate.ts';
import { Random } from './random.ts';

/** No input may take longer. */
const SLOWEST_MS = 1_000;
/** Nor may all of them together make the process grow by more. */
const MOST_BYTES = 256 * 1024 * 1024;

export type Report = {
  readonly decoder: string;
  readonly seed: number;
  readonly inputs: number;
  /** Of the processor. */
  readonly cpuSeconds: number;
  readonly slowestMs: number;
  readonly grownBytes: number;
  /** How often each answer was given. */
  readonly answers: Readonly<Record<string, number>>;
};

/** What an input did that none may do. */
export class Finding extends Error {
  constructor(decoder: string, seed: number, index: number, input: Uint8Array, why: string, cause?: unknown) {
    super(`${decoder}: ${why} (seed ${seed}, input ${index}): ${Buffer.from(input).toString('base64')}`, { cause });
  }
}

/** Reads `count` inputs. The same seed and count make the same inputs as long as the samples are the same: keys are new each time. @throws Finding */
export async function fuzz(decoder: Decoder, seed: number, count: number): Promise<Report> {
  const opened = await decoder.open();
  const answers: Record<string, number> = {};
  opened.samples.forEach(({ bytes }) => demandAccepted(decoder.name, opened, bytes));
  const random = new Random(seed);
  const others = opened.samples.map(({ bytes }) => bytes);
  const begun = process.cpuUsage();
  const before = process.memoryUsage.rss();
  let slowestMs = 0;
  let highest = before;
  for (let index = 0; index < count; index += 1) {
    const input = inputOf(opened, random, others);
    const { answer, ms } = timed(() => read(decoder.name, opened, { input, seed, index }));
    slowestMs = Math.max(slowestMs, ms);
    if (ms > SLOWEST_MS && fastestOf(opened, input) > SLOWEST_MS) throw new Finding(decoder.name, seed, index, input, `takes longer than ${SLOWEST_MS} ms`);
    answers[answer] = (answers[answer] ?? 0) + 1;
    if (index % 512 === 0) highest = Math.max(highest, process.memoryUsage.rss());
    if (highest - before > MOST_BYTES) throw new Finding(decoder.name, seed, index, input, `the process grew by more than ${MOST_BYTES} bytes`);
  }
  const { user, system } = process.cpuUsage(begun);
  return { decoder: decoder.name, seed, inputs: count, cpuSeconds: (user + system) / 1e6, slowestMs, grownBytes: highest - before, answers };
}

/** A fuzzer whose samples are refused anyway finds nothing. */
function demandAccepted(name: string, opened: OpenDecoder, bytes: Uint8Array): void {
  const answer = opened.read(bytes);
  if (!/^(Same|Read)$/.test(answer)) throw new Error(`${name}: a sample is not accepted: ${answer}`);
}

function inputOf(opened: OpenDecoder, random: Random, others: readonly Uint8Array[]): Uint8Array {
  const pantry = { words: opened.words, others };
  const { bytes, layers = [] } = random.pick(opened.samples);
  const layer = layers.length === 0 || random.below(2) === 0 ? null : random.pick(layers);
  return layer === null ? mutated(bytes, random, pantry) : layer.wrap(mutated(layer.bytes, random, pantry), random);
}

function read(name: string, opened: OpenDecoder, p: { readonly input: Uint8Array; readonly seed: number; readonly index: number }): string {
  try {
    return opened.read(p.input);
  } catch (cause) {
    throw new Finding(name, p.seed, p.index, p.input, cause instanceof Error ? cause.message : String(cause), cause);
  }
}

function timed(work: () => string): { readonly answer: string; readonly ms: number } {
  const begun = performance.now();
  const answer = work();
  return { answer, ms: performance.now() - begun };
}

/** Another process may have had the processor; three times in a row it has not. */
function fastestOf(opened: OpenDecoder, input: Uint8Array): number {
  return Math.min(...[1, 2, 3].map(() => timed(() => opened.read(input)).ms));
}
