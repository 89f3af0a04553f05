import { parseInstant, type InstantMs } from '../model/instant.ts';
import { limits } from '../model/limits.ts';
import type { OrderOperation, Plan } from '../model/preimages.ts';
import { gateFacts } from '../decision/gate-facts.ts';
import { breakGlassGate, skips } from '../decision/gate/break-glass.ts';
import { holdGate, missingGate } from '../decision/gate/conditions.ts';
import { windowGate } from '../decision/gate/window.ts';
import { NEVER, type InstantText } from '../decision/instants.ts';
import { breakGlassFacts } from '../decision/mode.ts';
import type { LogState } from '../evidence/log-state.ts';
import type { PromotionDecisionPredicate } from '../evidence/records.ts';
import { Refused } from './refused.ts';

/**
 * Of the gates in force those that documents alone decide: holds, gates that are missing, and windows, judged when the decision was made. What runs
 * elsewhere, how much of it, and what an expression asks about are recorded facts, which an agent cannot prove. Going back is never held (T28).
 * @param hold that the Promotion itself is under
 * @returns when the first open window closes: the order holds no longer, by the agent's own clock
 */
export function proveGates(state: LogState, p: PromotionDecisionPredicate, { plan, hold, operation, now }: { readonly plan: Plan; readonly hold: string | null; readonly operation: OrderOperation; readonly now: InstantMs }): InstantText {
  if (operation === 'fall-back' || operation === 'health-check') return NEVER;
  const asOf = parseInstant(p.decidedAt);
  const gates = gateFacts(state, p, { keepsPlace: true });
  const breakGlass = breakGlassFacts(state, p.environment, plan.breakGlass ?? undefined);
  const skipsWindows = skips(breakGlass, breakGlassGate({ breakGlass, operation: p.operation }, asOf), 'window');
  const window = skipsWindows ? { results: [], closes: NEVER } : windowGate({ gates }, asOf);
  const held = [...holdGate({ gates, hold: p.operation === 'extend' ? null : hold }), ...missingGate({ gates }), ...window.results].find(({ outcome }) => outcome !== 'passed');
  if (held !== undefined) throw new Refused('GateClosed', `gate ${held.subject === '' ? 'of the promotion itself' : held.subject} lets nothing through: ${held.code}`);
  // A decision that is dated into the future would find a window open that is not.
  const isAhead = asOf === null || asOf > now + limits.clockSkewSeconds * 1000;
  if (isAhead && window.results.length > 0) throw new Refused('GateClosed', `the decision is dated ${p.decidedAt}, which is to come, and no window can be judged by it`);
  return window.closes;
}
