/** One number that is measured, and that a change must not make worse. */
export type Figure = {
  readonly name: string;
  readonly unit: 'ratio' | 'ms' | 's' | 'kB' | 'MB';
  run(): Promise<number>;
};

type Entry = { readonly name: string; readonly unit: Figure['unit']; readonly file: string; readonly run: string };

/** What `npm run bench` knows: where each figure is measured, and by which exported function. Loaded only when it runs. */
const ENTRIES: readonly Entry[] = [
  { name: 'reconcile_vs_plain_git', unit: 'ratio', file: './reconcile.ts', run: 'reconcileVsPlainGit' },
  { name: 'one_change_50k_vs_1k', unit: 'ratio', file: './one-change.ts', run: 'oneChange50kVs1k' },
  { name: 'plan_50k_ms', unit: 'ms', file: './plan.ts', run: 'plan50kMs' },
  { name: 'replan_500_s', unit: 's', file: './plan.ts', run: 'replan500S' },
  { name: 'webhook_to_status_vs_fetch', unit: 'ratio', file: './webhook.ts', run: 'webhookToStatusVsFetch' },
  { name: 'verify_vs_git_ssh', unit: 'ratio', file: './verify.ts', run: 'verifyVsGitSsh' },
  { name: 'verify_vs_git_openpgp', unit: 'ratio', file: './verify.ts', run: 'verifyVsGitOpenPgp' },
  { name: 'approvals_1000_ms', unit: 'ms', file: './approvals.ts', run: 'approvals1000Ms' },
  { name: 'decision_p95_ms', unit: 'ms', file: './decision.ts', run: 'decisionP95Ms' },
  { name: 'cli_start_vs_node', unit: 'ratio', file: './cli-start.ts', run: 'cliStartVsNode' },
  { name: 'server_rss_mb', unit: 'MB', file: './server-memory.ts', run: 'serverRssMb' },
];

/** The figures whose file is there. */
export function figures(exists: (file: URL) => boolean): readonly Figure[] {
  return ENTRIES.flatMap(({ name, unit, file, run }) => {
    const url = new URL(file, import.meta.url);
    if (!exists(url)) return [];
    const measure = async (): Promise<number> => {
      const module = (await import(url.href)) as Readonly<Record<string, unknown>>;
      const measured = module[run];
      if (typeof measured !== 'function') throw new TypeError(`${file} exports no function ${run}`);
      return (await measured()) as number;
    };
    return [{ name, unit, run: measure }];
  });
}

/**
 * Runs `a` and `b` `n` times in turn, so that both meet the same weather, and gives the median of each in milliseconds with the
 * median of the `n` ratios a/b. One unmeasured pair warms caches. The order within a pair changes every time.
 */
export async function medianOfPaired(
  n: number,
  a: () => Promise<void> | void,
  b: () => Promise<void> | void,
): Promise<{ readonly aMs: number; readonly bMs: number; readonly ratio: number }> {
  const pairs: { readonly a: number; readonly b: number }[] = [];
  for (let i = -1; i < n; i += 1) {
    const first = await elapsedMs(i % 2 === 0 ? a : b);
    const second = await elapsedMs(i % 2 === 0 ? b : a);
    if (i >= 0) pairs.push(i % 2 === 0 ? { a: first, b: second } : { a: second, b: first });
  }
  return { aMs: median(pairs.map((pair) => pair.a)), bMs: median(pairs.map((pair) => pair.b)), ratio: median(pairs.map((pair) => pair.a / pair.b)) };
}

/** Wall time of one call. */
export async function elapsedMs(work: () => Promise<void> | void): Promise<number> {
  const start = performance.now();
  await work();
  return performance.now() - start;
}

export function median(values: readonly number[]): number {
  return percentile(values, 0.5);
}

/** The value that a share of `share` (0 to 1) of the values does not exceed; between two values it is interpolated. */
export function percentile(values: readonly number[], share: number): number {
  if (values.length === 0) throw new RangeError('no values');
  const sorted = values.toSorted((x, y) => x - y);
  const position = (sorted.length - 1) * share;
  const below = sorted[Math.floor(position)] ?? 0;
  const above = sorted[Math.ceil(position)] ?? 0;
  return below + (above - below) * (position - Math.floor(position));
}
