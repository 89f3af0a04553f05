import type { GateResult } from '../decision/types.ts';
import type { ComponentVersion, PromotionPlan, ProposalPlan, ProtectedPlan } from './plan-model.ts';
import { waitsFor } from './situation-words.ts';

/** What the merge does here: `1.4.0 → 1.5.0`, `stays at 1.4.0`. */
export function releaseWords({ effect, release: { from, to } }: PromotionPlan): string {
  if (effect === 'nothing' || effect === 'withdraw') return from === null ? 'nothing runs' : `stays at ${from}`;
  if (effect === 'remove') return `${from ?? 'nothing'} → removed`;
  return from === to ? `${to ?? 'nothing'}${effect === 'redeploy' ? ' again' : ''}` : `${from ?? 'nothing'} → ${to ?? 'nothing'}`;
}

/** What becomes of it after the merge: `allowed`, `waits for sre (0 of 1 approved)`. */
export function verdictWords({ decision, effect }: PromotionPlan): string {
  if (decision === null) return effect === 'withdraw' ? 'the request is withdrawn' : 'nothing is due';
  const held = heldGates(decision.gates);
  return decision.outcome === 'allow' ? 'allowed' : `${decision.outcome === 'refuse' ? 'refused, waits' : 'waits'} for ${waitsFor(held)}`;
}

export function heldGates(gates: readonly GateResult[]): readonly GateResult[] {
  return gates.filter(({ outcome }) => outcome !== 'passed');
}

/** `1.4 (sha256:ab12…)`: a tag is what was asked for, the digest is what runs. */
export function versionWords(version: ComponentVersion | null, isShort: boolean): string {
  if (version === null) return 'none';
  const digest = isShort ? `${version.digest.slice(0, 19)}…` : version.digest;
  return version.tag === null ? digest : `${version.tag} (${digest})`;
}

/** `changes; would not come into force: 2 people` */
export function protectedWords({ change, isMet, quorum }: ProtectedPlan): string {
  const what = { added: 'is new', changed: 'changes', removed: 'is deleted' }[change];
  return isMet ? `${what} and comes into force with the merge` : `${what} and waits after the merge for ${quorum}`;
}

/** The commands that would bring it on, each once, with who can run it. */
export function nextCommands(plan: ProposalPlan): readonly { readonly command: string; readonly who: readonly string[] }[] {
  const gates = plan.promotions.flatMap(({ lines }) => lines.flatMap(({ command, who, outcome, about }) => (about === 'gate' && outcome !== 'passed' && command !== null ? [{ command, who }] : [])));
  const changes = plan.protectedChanges.flatMap(({ command, couldApprove, isMet }) => (isMet || command === null ? [] : [{ command, who: couldApprove }]));
  const byCommand = Map.groupBy([...changes, ...gates], ({ command }) => command);
  return [...byCommand].map(([command, all]) => ({ command, who: [...new Set(all.flatMap(({ who }) => who))].sort() }));
}

/** In which commit over which, by how many records, at what time. */
export function basisWords({ candidate, target, logSize, asOf }: ProposalPlan): string {
  return `Planned for ${candidate.slice(0, 12)} over ${target.commit.slice(0, 12)} of ${target.ref.replace(/^refs\/heads\//, '')}, by ${logSize} records of the log, as of ${asOf}. At the merge everything is decided again.`;
}
