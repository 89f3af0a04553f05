import { existsSync } from 'node:fs';
import { join } from 'node:path';
import type { TestContext } from 'vitest';

/** Folder of the public test vectors: `STELLA_VECTORS`, or `../shared/vectors` beside the project. */
export const vectorsFolder = process.env['STELLA_VECTORS'] ?? join(import.meta.dirname, '../../../shared/vectors');

/**
 * Skips a test whose vectors are not on this machine, saying where they were looked for.
 * @throws Error instead of skipping where `STELLA_REQUIRE_ALL` is set (continuous integration).
 */
export function requireVectors(name: 'dsse' | 'jcs' | 'sshsig', ctx: Pick<TestContext, 'skip'>): void {
  if (existsSync(join(vectorsFolder, name))) return;
  const reason = `public test vectors ${name} are not in ${vectorsFolder}; name their folder in STELLA_VECTORS`;
  if (process.env['STELLA_REQUIRE_ALL']) throw new Error(reason);
  ctx.skip(reason);
}
