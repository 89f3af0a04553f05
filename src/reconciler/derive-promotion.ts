import { documentKey, type DocumentOf } from '../core/model/documents.ts';
import { releaseSpecDigest } from '../core/model/preimages.ts';
import { automaticRule, derivedPromotion, deriveRelease, type Derivation } from '../core/decision/automatic.ts';
import { findDocument, type DesiredState } from '../core/desired/desired-state.ts';
import type { LogState } from '../core/evidence/log-state.ts';
import type { Derived } from '../core/evidence/records.ts';
import type { Subject } from './planning.ts';

/** What is asked for in one place, and where from. */
export type Asked = {
  /** null: nothing, or nothing that can be used. */
  readonly promotion: DocumentOf<'Promotion'> | null;
  /** What it was derived from; null where somebody wrote it. */
  readonly derived: Derived | null;
  /** Set where the place is automatic and no Promotion stands there, whether or not anything is wanted. */
  readonly derivation: Derivation | null;
  /** Whether a file that cannot be read may hold a Promotion for here: nobody can tell whether the place is automatic. */
  readonly isUnclear: boolean;
};

const NOTHING: Asked = { promotion: null, derived: null, derivation: null, isUnclear: false };

/**
 * What is asked for in one place: the Promotion that lies at the tip, whatever it says, or else what the environment in force wants by itself. A
 * Promotion that cannot be used stands in the way as well, and so does a file of which nobody can tell what it would say (T12).
 */
export function promotionAsked({ state, desired }: { readonly state: LogState; readonly desired: DesiredState }, s: Subject): Asked {
  const name = `${s.environment}/${s.application}`;
  const entry = desired.usable.Promotion.get(documentKey('Promotion', name));
  if (entry !== undefined) return { ...NOTHING, promotion: entry.document as unknown as DocumentOf<'Promotion'> };
  if (automaticRule(state, s) === null || findDocument(desired, 'Promotion', name).status !== 'absent') return NOTHING;
  if (hidesDocuments(desired)) return { ...NOTHING, isUnclear: true };
  const derivation = deriveRelease(state, s, (release) => isOffered(state, desired, `${s.application}/${release}`));
  if (derivation === null) return NOTHING;
  return derivation.release === null ? { ...NOTHING, derivation } : { ...NOTHING, promotion: derivedPromotion(s, derivation.release), derived: derivation.derived, derivation };
}

/** Whether the tip has a file of ours of which not even the names of its documents can be read: one of them may be a Promotion. */
export function hidesDocuments({ problems }: DesiredState): boolean {
  for (const found of problems.values()) if (found.some(({ severity, subject }) => severity === 'error' && subject === undefined)) return true;
  return false;
}

/** Whether the tip still offers a locked release: it says there what was locked, and nobody called it deprecated. */
function isOffered(state: LogState, desired: DesiredState, name: string): boolean {
  const document = desired.usable.Release.get(documentKey('Release', name))?.document as unknown as DocumentOf<'Release'> | undefined;
  return document !== undefined && document.spec.deprecated === undefined && releaseSpecDigest(document) === state.locks.get(name)?.releaseSpec;
}
