import { writeFileSync } from 'node:fs';
import type { SerializedError } from 'vitest';
import type { Reporter, TestCase, TestModule } from 'vitest/node';

export type Tally = { readonly passed: number; readonly failed: number; readonly skipped: readonly SkippedTest[] };
export type SkippedTest = { readonly name: string; readonly reason: string };

/** The line that closes a run. */
export function closingLine(passed: number, failed: number, skipped: number): string {
  return `${passed} passed, ${failed} failed, ${skipped} skipped`;
}

/**
 * Counts a run. A file that could not be loaded and an error outside of any test count as failures too, because they
 * are; a test that never ran counts as skipped.
 */
export function tally(modules: readonly TestModule[], unhandled: readonly SerializedError[]): Tally {
  const skipped: SkippedTest[] = [];
  let passed = 0;
  let failed = unhandled.length;
  for (const module of modules) {
    failed += module.errors().length;
    for (const test of module.children.allTests()) {
      const state = test.result().state;
      if (state === 'passed') passed += 1;
      else if (state === 'failed') failed += 1;
      else skipped.push({ name: `${module.relativeModuleId}: ${test.fullName}`, reason: reasonOf(test) });
    }
    for (const suite of module.children.allSuites()) failed += suite.errors().length;
  }
  return { passed, failed, skipped };
}

function reasonOf(test: TestCase): string {
  const result = test.result();
  if (result.state === 'skipped') return result.note ?? 'no reason given';
  return 'it did not run';
}

/**
 * Says why each skipped test was skipped and closes with {@link closingLine}. Where `STELLA_TALLY_FILE` is set the line goes
 * into that file instead, for a caller that has more to do before it closes.
 */
export default class ClosingReporter implements Reporter {
  onTestRunEnd(modules: readonly TestModule[], unhandled: readonly SerializedError[]): void {
    const { passed, failed, skipped } = tally(modules, unhandled);
    for (const { name, reason } of skipped) process.stdout.write(`skipped: ${name} (${reason})\n`);
    const line = closingLine(passed, failed, skipped.length);
    const file = process.env['STELLA_TALLY_FILE'];
    if (file === undefined) process.stdout.write(`${line}\n`);
    else writeFileSync(file, `${line}\n`);
  }
}
