import type { GateName, GateResult, ReasonCode } from '../types.ts';

type Detail = GateResult['detail'];
/** What a gate finds out; `subject` is empty where there is only one. */
export type Finding = { readonly subject?: string; readonly code: ReasonCode; readonly detail?: Detail; readonly opensAt?: string | null };

/** Most names that one list of a gate's detail holds: a decision must stay readable and below the size of a record. */
export const NAMES_PER_LIST = 50;

export function passed(gate: GateName, finding: Finding): GateResult {
  return resultOf(gate, 'passed', finding);
}
export function pending(gate: GateName, finding: Finding): GateResult {
  return resultOf(gate, 'pending', finding);
}
export function refused(gate: GateName, finding: Finding): GateResult {
  return resultOf(gate, 'refused', finding);
}

function resultOf(gate: GateName, outcome: GateResult['outcome'], finding: Finding): GateResult {
  return { gate, subject: finding.subject ?? '', outcome, code: finding.code, detail: finding.detail ?? {}, opensAt: finding.opensAt ?? null };
}

/** No more names than fit, of a list that is sorted. */
export function firstOf(sorted: readonly string[]): readonly string[] {
  return sorted.slice(0, NAMES_PER_LIST);
}

/** Names of those items that `fits` picks, no more than one list holds; the items are sorted by name. */
export function firstNames<T>(sorted: readonly T[], fits: (item: T) => boolean, nameOf: (item: T) => string): readonly string[] {
  const names: string[] = [];
  for (const item of sorted) {
    if (names.length === NAMES_PER_LIST) break;
    if (fits(item)) names.push(nameOf(item));
  }
  return names;
}
