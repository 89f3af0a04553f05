import { readFileSync } from 'node:fs';
import { dirname } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { keepYoungGenerationSmall } from '../../src/bin/young-generation.ts';
import type { StartedServer } from '../../src/cli/compose/server.ts';

/** What the process is told, and what it says. Sizes in megabytes of 10^6 bytes. */
export type ServerOrder = { readonly passes: number };
export type ServerReport = { readonly passes: number; readonly records: number; readonly failures: number; readonly rssMb: number; readonly heapMb: number };

/** A server as `stella serve` starts it, which passes as often as it is told and says how large it has become. */
async function serve(configFile: string): Promise<void> {
  keepYoungGenerationSmall();
  const { parseServerConfig } = await import('../../src/config/server.ts');
  const { startServer } = await import('../../src/cli/compose/server.ts');
  const outcome = parseServerConfig(readFileSync(configFile, 'utf8'), process.env, { folder: dirname(configFile) });
  if (!outcome.ok) throw new Error(JSON.stringify(outcome.problems));
  const log = (level: string, message: string, fields: object = {}): void => {
    if (level !== 'info') process.stderr.write(`${level}: ${message} ${JSON.stringify(fields)}\n`);
  };
  const server = await startServer(outcome.config, { now: () => new Date(), log, environment: process.env, pid: process.pid, version: 'benchmark', createLog: true });
  process.on('message', ({ passes }: ServerOrder) => {
    if (passes === 0) void server.close().then(() => process.disconnect());
    else void passUntil(server.loop, passes).then((report) => process.send?.(report));
  });
  process.send?.(reportOf(server.loop));
}

type Loop = StartedServer['loop'];

async function passUntil(loop: Loop, passes: number): Promise<ServerReport> {
  for (let woken = -1; loop.status.passes < passes; await sleep(1)) {
    if (loop.status.passes === woken) continue;
    woken = loop.status.passes;
    loop.wake('benchmark');
  }
  return reportOf(loop);
}

function reportOf({ status }: Loop): ServerReport {
  for (let i = 0; i < 3; i += 1) globalThis.gc?.();
  const { rss, heapUsed } = process.memoryUsage();
  return { passes: status.passes, records: status.records, failures: status.failures, rssMb: rss / 1e6, heapMb: heapUsed / 1e6 };
}

await serve(process.argv[2] ?? '');
