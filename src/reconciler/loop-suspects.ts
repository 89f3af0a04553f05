import type { LoopGuard } from './loop-guard.ts';
import type { Pass } from './pass.ts';

/** What to do about it; a restart is the manual step. */
export const LOOP_MESSAGE = 'records were written again and again without anything new from outside; see the last records and who changes what, then push a commit to the target branch, or restart the server';

/** The subjects that may be decided about; the others get a condition, and lose it once something new has come. */
export function withoutSuspects({ batch, conditions }: Pick<Pass, 'batch' | 'conditions'>, guard: LoopGuard, subjects: Iterable<string>): readonly string[] {
  const all = [...subjects];
  for (const name of guard.suspects) conditions.stalled('Promotion', name, { reason: 'LoopSuspected', message: LOOP_MESSAGE });
  const known = new Set(guard.suspects);
  for (const { kind, name, reason } of conditions.all()) if (kind === 'Promotion' && reason === 'LoopSuspected' && !known.has(name)) conditions.stalled(kind, name, null);
  return all.filter((one) => !guard.isSuspect(one, batch.asOf));
}
