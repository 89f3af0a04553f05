import { parseInstant, type InstantMs } from '../model/instant.ts';
import { compareText } from '../model/names.ts';
import { ballotOf, type Ballot, type Vote } from './ballot.ts';
import { approvalsGate } from './gate/approvals.ts';
import { breakGlassGate, breakGlassTurns, reviewGate, skipped, skips } from './gate/break-glass.ts';
import { concurrencyGate, dependencyGate, expressionGate, holdGate, missingGate } from './gate/conditions.ts';
import { freezeGate } from './gate/freeze.ts';
import { lockGate } from './gate/lock.ts';
import { planGate } from './gate/plan.ts';
import { promotionGate } from './gate/promotion.ts';
import { runGate } from './gate/run.ts';
import { separationGate } from './gate/separation.ts';
import { soakEnds, sourceGate } from './gate/source.ts';
import { windowGate } from './gate/window.ts';
import { earlier, instantText, instantTextOf, NEVER, type InstantText } from './instants.ts';
import { goesBack } from './mode.ts';
import type { Decision, DecisionInput, GateName, GateResult } from './types.ts';

/** The order in which results stand in a decision: what the promotion is, what would run, who agreed, what holds it. */
const GATE_ORDER: readonly GateName[] = ['promotion', 'break-glass', 'review', 'lock', 'plan', 'run', 'approvals', 'separation', 'freeze', 'hold', 'gate', 'window', 'source', 'dependency', 'concurrency', 'expression'];

/**
 * Decides whether a promotion may run (DESIGN §6). Pure and total: the same input gives the same bytes, in whatever order
 * its lists stand; nothing is thrown. All gates are evaluated, so "why blocked?" is complete. A time or number that means
 * nothing counts against an allow.
 */
export function decide(input: DecisionInput): Decision {
  const asOf = parseInstant(input.asOf);
  const ballot = ballotOf(input, asOf === null ? null : instantText(asOf));
  const approvals = approvalsGate(input.clauses, ballot);
  const freeze = freezeGate(input, asOf, ballot);
  const breakGlass = breakGlassGate(input, asOf);
  const window = windowGate(input, asOf);
  const gates = sortedGates([
    ...promotionGate(input, asOf),
    ...breakGlass,
    ...reviewGate(input, goesBack(input.state.previous, input)),
    ...lockGate(input),
    ...planGate(input),
    ...runGate(input),
    ...approvals.results,
    ...separationGate(input.clauses, ballot),
    ...freeze.results,
    ...holdGate(input),
    ...missingGate(input),
    ...skipped([...window.results, ...sourceGate(input, asOf), ...dependencyGate(input), ...concurrencyGate(input), ...expressionGate(input)], input, breakGlass),
  ]);
  const outcome = outcomeOf(gates);
  const counted = [...new Set([...approvals.counted, ...freeze.counted])];
  // T23: what is skipped ends nothing.
  const closes = skips(input.breakGlass, breakGlass, 'window') ? NEVER : window.closes;
  const notAfter = outcome === 'allow' && asOf !== null ? [freeze.begins, closes].reduce(earlier, endOfAllow(input, asOf, counted)) : null;
  return {
    type: 'stella/decision/v1',
    outcome,
    promotionDigest: input.promotionDigest,
    generation: input.state.generation + 1,
    gates,
    reasons: [...new Set(gates.flatMap((gate) => (gate.outcome === 'passed' ? [] : [gate.code])))].sort(compareText),
    consumes: outcome === 'allow' ? [...new Set(counted.flatMap((vote) => vote.documents))].sort(compareText) : [], // T22
    notAfter,
    rollbackUntil: notAfter === null || asOf === null ? null : fallBackEnd(input, asOf, notAfter),
    nextChangeAt: asOf === null ? null : nextChange(input, asOf, ballot, [...freeze.turns, ...window.turns, ...(notAfter === null ? [] : [notAfter])]),
  };
}

function outcomeOf(gates: readonly GateResult[]): Decision['outcome'] {
  if (gates.some((gate) => gate.outcome === 'refused')) return 'refuse';
  return gates.some((gate) => gate.outcome === 'pending') ? 'pending' : 'allow';
}

/** T23: an allow holds until the first of its approvals expires, and never longer than the environment lets it. When a freeze begins it ends, too. */
function endOfAllow(input: DecisionInput, asOf: InstantMs, counted: readonly Vote[]): InstantText {
  const holdsSeconds = Number.isSafeInteger(input.allowSeconds) && input.allowSeconds > 0 ? input.allowSeconds : 0;
  const end = counted.reduce((first, vote) => earlier(first, vote.expiresAt), instantText(asOf + holdsSeconds * 1000));
  return earlier(end, breakGlassEnd(input)); // T27
}

/** T28: never before the allow itself ends, so that what it began can be taken back. */
function fallBackEnd(input: DecisionInput, asOf: InstantMs, notAfter: InstantText): InstantText {
  const seconds = Number.isSafeInteger(input.fallBackSeconds) && input.fallBackSeconds > 0 ? input.fallBackSeconds : 0;
  const end = instantText(asOf + seconds * 1000);
  return end > notAfter ? end : notAfter;
}

/** Earliest moment after `asOf` at which a gate or the outcome could change by time alone: nobody needs to ask before. */
function nextChange(input: DecisionInput, asOf: InstantMs, ballot: Ballot, more: readonly InstantText[]): InstantText | null {
  const now = instantText(asOf);
  let next = NEVER;
  const consider = (moment: InstantText): void => {
    if (moment > now) next = earlier(next, moment);
  };
  for (const end of soakEnds(input, asOf)) consider(instantText(end));
  for (const vote of ballot.yes) consider(vote.expiresAt);
  for (const vote of ballot.no) consider(vote.expiresAt);
  for (const moment of more) consider(moment);
  for (const moment of breakGlassTurns(input)) consider(instantText(moment));
  return next === NEVER ? null : next;
}

function breakGlassEnd({ breakGlass }: DecisionInput): InstantText {
  return breakGlass === null ? NEVER : (instantTextOf(breakGlass.expires) ?? NEVER);
}

function sortedGates(gates: readonly GateResult[]): readonly GateResult[] {
  const byPlace = (a: GateResult, b: GateResult): number => GATE_ORDER.indexOf(a.gate) - GATE_ORDER.indexOf(b.gate) || compareText(a.subject, b.subject);
  // Two clauses or sources may bear one name; their contents then settle the order.
  return [...gates].sort((a, b) => byPlace(a, b) || compareText(a.code, b.code) || compareText(JSON.stringify(a.detail), JSON.stringify(b.detail)) || compareText(a.opensAt ?? '', b.opensAt ?? ''));
}
