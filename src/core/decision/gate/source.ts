import { parseInstant, type InstantMs } from '../../model/instant.ts';
import { instantText, NEVER } from '../instants.ts';
import { demandOf } from '../match-roles.ts';
import type { DecisionInput, GateResult, SourceFact } from '../types.ts';
import { passed, pending } from './result.ts';

/**
 * Whether one of the environments that releases come from holds this very lock in a clean state for long enough, or once
 * did. One is enough: then the others are not required.
 */
export function sourceGate(input: DecisionInput, asOf: InstantMs | null): readonly GateResult[] {
  // What is removed runs in no source.
  if (input.operation === 'remove' || input.sources.length === 0) return [passed('source', { code: 'NotRequired' })];
  const soaked = input.sources.map((source) => soakOf(source));
  const anySatisfied = soaked.some((soak) => isSatisfied(soak, asOf));
  return soaked.map((soak) => {
    const { environment: subject, succeededAt } = soak.source;
    const detail = { soakSeconds: demandOf(soak.source.soakSeconds), succeededAt: succeededAt ?? '' };
    if (isSatisfied(soak, asOf)) return passed('source', { subject, code: 'Ok', detail });
    if (anySatisfied) return passed('source', { subject, code: 'NotRequired', detail });
    if (soak.endsAt === null) return pending('source', { subject, code: 'SourceNotDeployed', detail });
    const opensAt = instantText(soak.endsAt);
    return pending('source', { subject, code: 'Soaking', detail, opensAt: opensAt === NEVER ? null : opensAt });
  });
}

/** When the soaks end that have not ended as of `asOf`. */
export function soakEnds(input: DecisionInput, asOf: InstantMs): readonly InstantMs[] {
  if (input.operation === 'remove') return [];
  return input.sources.flatMap((source) => {
    const { endsAt } = soakOf(source);
    return endsAt !== null && endsAt > asOf ? [endsAt] : [];
  });
}

/** `endsAt` is null while the lock does not run there, or where its time is malformed. */
type Soak = { readonly source: SourceFact; readonly endsAt: InstantMs | null };

function soakOf(source: SourceFact): Soak {
  const succeededAt = source.succeededAt === null ? null : parseInstant(source.succeededAt);
  return { source, endsAt: succeededAt === null ? null : succeededAt + demandOf(source.soakSeconds) * 1000 };
}

function isSatisfied(soak: Soak, asOf: InstantMs | null): boolean {
  return soak.endsAt !== null && asOf !== null && asOf >= soak.endsAt;
}
