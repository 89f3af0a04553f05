import { parseInstant, type InstantMs } from '../../model/instant.ts';
import { demandOf } from '../match-roles.ts';
import type { DecisionInput, GateName, GateResult } from '../types.ts';
import { passed, pending, refused } from './result.ts';

/** Whether the glass may be broken: policy of environment and root, the list of what is skipped, and the time (T27). No result where nobody asks. */
export function breakGlassGate({ breakGlass, operation }: Pick<DecisionInput, 'breakGlass' | 'operation'>, asOf: InstantMs | null): readonly GateResult[] {
  if (breakGlass === null) return [];
  const { allowed, expires } = breakGlass;
  const skip = [...breakGlass.skip].sort();
  const detail = { skip, maySkip: [...(allowed?.skip ?? [])].sort(), expires };
  const isListed = allowed !== null && skip.length > 0 && skip.every((gate) => allowed.skip.includes(gate));
  if (!isListed || operation !== 'promote') return [refused('break-glass', { code: 'BreakGlassNotAllowed', detail })];
  const [from, until] = [asOf, parseInstant(expires)];
  if (from === null || until === null || from >= until) return [refused('break-glass', { code: 'BreakGlassExpired', detail })];
  // What is no number of seconds lets nothing through.
  if (!(until - from <= demandOf(allowed.withinSeconds) * 1000)) return [refused('break-glass', { code: 'BreakGlassNotAllowed', detail: { ...detail, withinSeconds: demandOf(allowed.withinSeconds) } })];
  return [passed('break-glass', { code: 'Ok', detail })];
}

/** When time alone changes what this gate says: once the end is near enough, and at the end. */
export function breakGlassTurns({ breakGlass }: Pick<DecisionInput, 'breakGlass'>): readonly InstantMs[] {
  const until = breakGlass === null ? null : parseInstant(breakGlass.expires);
  if (breakGlass === null || until === null) return [];
  return breakGlass.allowed === null ? [until] : [until - demandOf(breakGlass.allowed.withinSeconds) * 1000, until];
}

/**
 * Takes away what gates hold against the promotion that the broken glass may and does skip. Every other gate stays as it is: a hold and a freeze are
 * somebody else's stop, and a Gate that is missing is nobody's to judge (T27).
 */
export function skipped(results: readonly GateResult[], { breakGlass }: DecisionInput, gate: readonly GateResult[]): readonly GateResult[] {
  return results.map((result) => (result.outcome !== 'passed' && skips(breakGlass, gate, result.gate) ? { ...result, outcome: 'passed', code: 'Skipped', opensAt: null } : result));
}

/** Whether the glass is broken, and gates of this name are skipped. @param gate what {@link breakGlassGate} says */
export function skips(breakGlass: DecisionInput['breakGlass'], gate: readonly GateResult[], name: GateName): boolean {
  const isBroken = breakGlass !== null && gate.length > 0 && gate.every(({ outcome }) => outcome === 'passed');
  return isBroken && SKIPPABLE.has(name) && (breakGlass.skip as readonly string[]).includes(name);
}

/** Approvals are skipped by their clauses, which are not demanded then. */
const SKIPPABLE: ReadonlySet<GateName> = new Set(['source', 'window', 'dependency', 'concurrency', 'expression']);

/** Broken glass that nobody has reviewed blocks what comes after it, but never the way back (T27). No result where there is none. */
export function reviewGate(input: DecisionInput, isRollback: boolean): readonly GateResult[] {
  if (input.debts.length === 0 || isRollback) return [];
  return [...new Set(input.debts)].map((subject) => pending('review', { subject, code: 'ReviewMissing' }));
}
