import { execFileSync } from 'node:child_process';
import { expect, test } from 'vitest';

const MODULE = new URL('../../src/bin/young-generation.ts', import.meta.url).href;

/** Megabytes of young generation in a process that has allocated much and kept some of it for a while. */
function youngGenerationMb(first: string): number {
  const script = `
    import { getHeapSpaceStatistics } from 'node:v8';
    import { keepYoungGenerationSmall } from ${JSON.stringify(MODULE)};
    ${first}
    let kept = [];
    for (let i = 0; i < 3_000_000; i++) {
      kept.push({ i });
      if (kept.length > 200_000) kept = [];
    }
    console.log(getHeapSpaceStatistics().find((space) => space.space_name === 'new_space').physical_space_size / 1e6);`;
  return Number(execFileSync(process.execPath, ['--input-type=module', '-e', script], { encoding: 'utf8' }));
}

test('the young generation of a process that asks for it stays small', () => {
  const small = youngGenerationMb('keepYoungGenerationSmall();');
  expect(small).toBeGreaterThan(0);
  expect(small).toBeLessThan(youngGenerationMb('') / 4);
});
