import { randomInt } from 'node:crypto';
import { decoders } from './decoders.ts';
import { fuzz } from './run.ts';

/**
 * `npm run fuzz -- [decoder] [count]`: reads that many mutated inputs (a million by default), one JSON line for each decoder. `STELLA_FUZZ_SEED` repeats a run;
 * the seed of each run is printed.
 */
async function main([name, count = '1000000']: readonly string[]): Promise<number> {
  const chosen = decoders.filter((decoder) => name === undefined || name === 'all' || decoder.name === name);
  if (chosen.length === 0 || !/^[1-9]\d*$/.test(count)) {
    process.stderr.write(`usage: npm run fuzz -- [all|${decoders.map((decoder) => decoder.name).join('|')}] [count]\n`);
    return 2;
  }
  const seed = Number(process.env['STELLA_FUZZ_SEED'] ?? randomInt(2 ** 31));
  for (const decoder of chosen) {
    process.stderr.write(`${decoder.name}: ${count} inputs, seed ${seed}\n`);
    process.stdout.write(`${JSON.stringify(await fuzz(decoder, seed, Number(count)))}\n`);
  }
  return 0;
}

process.exit(await main(process.argv.slice(2)));
