import { execFile } from 'node:child_process';
import { randomInt } from 'node:crypto';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';
import { expect, test } from 'vitest';
import { decoders } from './decoders.ts';
import { fuzz, type Report } from './run.ts';
import type { Decoder } from './decoder.ts';

const INPUTS = 100_000;
/** A log is folded for each of these: fewer are tried here, as many as one likes with `npm run fuzz`. */
const FEWER: Readonly<Record<string, number>> = { 'order-proof': 5_000, 'root-chain': 5_000 };
const LIMIT_MS = 600_000;
const run = promisify(execFile);
const main = fileURLToPath(new URL('main.ts', import.meta.url));

/** In a process of its own that may use 256 MB: one that runs out of memory has crashed. */
async function fuzzed(name: string, count: number): Promise<Report> {
  const seed = process.env['STELLA_FUZZ_SEED'] ?? String(randomInt(2 ** 31));
  process.stdout.write(`fuzzing ${name} with STELLA_FUZZ_SEED=${seed}\n`);
  const { stdout } = await run(process.execPath, ['--max-old-space-size=256', main, name, String(count)], { env: { ...process.env, STELLA_FUZZ_SEED: seed }, maxBuffer: 64 * 1024 * 1024 });
  return JSON.parse(stdout) as Report;
}

test.each(decoders.map(({ name }) => [name, FEWER[name] ?? INPUTS] as const))('%s: none of %d mutated inputs crashes it, is accepted unsigned, or takes long', async (name, count) => {
  const { inputs, answers } = await fuzzed(name, count);
  expect(inputs).toBe(count);
  // It is not refused at the door each time.
  expect(Object.keys(answers).length).toBeGreaterThanOrEqual(2);
}, LIMIT_MS);

const naive = (read: (text: string) => string): Decoder => ({ name: 'naive', open: async () => ({ samples: [{ bytes: Buffer.from('signed by bob') }], words: ['bob'], read: (input) => read(Buffer.from(input).toString()) }) });

test('a decoder that accepts what nobody signed is found, and so is one that crashes or hangs', async () => {
  const accepts = naive((text) => { if (text.includes('bob') && text !== 'signed by bob') throw new Error('accepted what nobody signed'); return text === 'signed by bob' ? 'Same' : 'Refused'; });
  await expect(fuzz(accepts, 1, 1000)).rejects.toThrow(/accepted what nobody signed \(seed 1, input \d+\)/);
  const hangs = naive((text) => { const end = performance.now() + (text.length > 20 ? 1010 : 0); while (performance.now() < end); return 'Read'; });
  await expect(fuzz(hangs, 1, 1000)).rejects.toThrow('takes longer than 1000 ms');
  await expect(fuzz(naive(() => 'Refused'), 1, 1)).rejects.toThrow('a sample is not accepted');
});

test('the same seed gives the same inputs', async () => {
  const seen: string[][] = [[], []];
  for (const list of seen) await fuzz(naive((text) => { list.push(text); return 'Read'; }), 7, 200);
  expect(seen[0]).toEqual(seen[1]);
  expect(new Set(seen[0]).size).toBeGreaterThan(100);
});
