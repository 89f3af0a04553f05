import { existsSync } from 'node:fs';
import { figures } from './figure.ts';

/** `npm run bench [-- NAME …]`: one JSON line per figure on stdout, progress on stderr. */
async function main(names: readonly string[]): Promise<number> {
  const known = figures(existsSync);
  const unknown = names.filter((name) => !known.some((figure) => figure.name === name));
  if (unknown.length > 0) {
    process.stderr.write(`no figure is called ${unknown.join(', ')}; there are ${known.map(({ name }) => name).join(', ')}\n`);
    return 2;
  }
  let failures = 0;
  for (const { name, unit, run } of known.filter((figure) => names.length === 0 || names.includes(figure.name))) {
    process.stderr.write(`measuring ${name} …\n`);
    try {
      const value = Number((await run()).toPrecision(4));
      process.stdout.write(`${JSON.stringify({ figure: name, value, unit })}\n`);
    } catch (error) {
      failures += 1;
      process.stderr.write(`${name} could not be measured: ${error instanceof Error ? error.stack : String(error)}\n`);
    }
  }
  return failures === 0 ? 0 : 1;
}

process.exit(await main(process.argv.slice(2)));
