import { evaluateExpression } from '../../model/expression.ts';
import { isVersionAtLeast } from '../../release/versions.ts';
import { demandOf } from '../match-roles.ts';
import type { DecisionInput, DependencyFact, GateFact, GateResult } from '../types.ts';
import { firstOf, passed, pending } from './result.ts';

/** What is held back on purpose: by a Gate, which a quorum lifts, or by the Promotion itself, until a commit says otherwise. */
export function holdGate({ gates, hold }: Pick<DecisionInput, 'gates' | 'hold'>): readonly GateResult[] {
  const own = hold === null ? [] : [pending('hold', { code: 'Held', detail: { reason: hold } })];
  return [...own, ...gates.flatMap((gate) => (gate.type === 'hold' ? [pending('hold', { subject: gate.name, code: 'Held', detail: { reason: gate.reason } })] : []))];
}

/** A Gate that is named and not in force lets nothing through, and nobody may skip it (T12). */
export function missingGate({ gates }: Pick<DecisionInput, 'gates'>): readonly GateResult[] {
  return gates.flatMap((gate) => (gate.type === 'missing' ? [pending('gate', { subject: gate.name, code: 'GateMissing' })] : []));
}

/** Whether what it needs runs elsewhere, in a clean state and new enough. What is removed needs nothing. */
export function dependencyGate({ gates, operation }: Pick<DecisionInput, 'gates' | 'operation'>): readonly GateResult[] {
  return gates.flatMap((gate) => {
    if (gate.type !== 'dependency') return [];
    const { name: subject, on } = gate;
    if (operation === 'remove') return [passed('dependency', { subject, code: 'NotRequired' })];
    const missing = on.filter((one) => !isMet(one)).map(textOf);
    if (missing.length > 0) return [pending('dependency', { subject, code: 'DependencyMissing', detail: { missing: firstOf([...new Set(missing)].sort()) } })];
    return [passed('dependency', { subject, code: on.length === 0 ? 'NotRequired' : 'Ok', detail: { runs: firstOf([...new Set(on.map(textOf))].sort()) } })];
  });
}

/** A version that cannot be compared is not new enough. */
function isMet({ runs, release, atLeast }: DependencyFact): boolean {
  if (runs === null || (release !== null && runs !== release)) return false;
  return atLeast === null || isVersionAtLeast(runs, atLeast);
}

/** `prod/db`, and what is wanted of it. */
function textOf({ environment, application, release, atLeast }: DependencyFact): string {
  const wanted = [release === null ? [] : [release], atLeast === null ? [] : [`${atLeast} or newer`]].flat().join(', ');
  return `${environment}/${application}${wanted === '' ? '' : ` (${wanted})`}`;
}

/** Whether fewer runs are open than may be. What is no number lets nothing start. */
export function concurrencyGate({ gates }: Pick<DecisionInput, 'gates'>): readonly GateResult[] {
  return gates.flatMap((gate) => {
    if (gate.type !== 'concurrency') return [];
    const { name: subject, most, full, busy } = gate;
    const detail = { most: demandOf(most), busy: firstOf([...busy].sort()) };
    return [full || !Number.isSafeInteger(most) ? pending('concurrency', { subject, code: 'TooManyRuns', detail }) : passed('concurrency', { subject, code: 'Ok', detail })];
  });
}

/** Whether what was written down as a condition holds. An expression that cannot be evaluated is never a yes. */
export function expressionGate({ gates, about }: Pick<DecisionInput, 'gates' | 'about'>): readonly GateResult[] {
  return gates.flatMap((gate) => (gate.type === 'expression' ? [resultOf(gate, about)] : []));
}

function resultOf({ name: subject, expression }: Extract<GateFact, { type: 'expression' }>, about: DecisionInput['about']): GateResult {
  const answer = about === null ? ({ ok: false, code: 'Failed' } as const) : evaluateExpression(expression, about);
  if (!answer.ok) return pending('expression', { subject, code: 'ExpressionFailed', detail: { fault: answer.code } });
  return answer.holds ? passed('expression', { subject, code: 'Ok' }) : pending('expression', { subject, code: 'ExpressionFalse' });
}
