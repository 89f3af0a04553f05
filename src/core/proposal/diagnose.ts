import { isProtected, type DocumentKey, type Kind } from '../model/documents.ts';
import { canFillRoles } from '../decision/match-roles.ts';
import { checkPolicy } from '../desired/check-policy.ts';
import { checkUnprotected } from '../desired/check-unprotected.ts';
import { fileDiagnostics, lookupIn, protectedDocuments, type DesiredState } from '../desired/desired-state.ts';
import { compareDiagnostics, type Diagnostic } from '../desired/diagnostic.ts';
import { lookupOf } from '../desired/document-lookup.ts';
import { keyIdentities } from '../desired/key-identity.ts';

/** Everything that is wrong with the documents of one tree, judged against its own protected documents. */
export function diagnose(desired: DesiredState): readonly Diagnostic[] {
  const policy = checkPolicy(lookupOf(protectedDocuments(desired)), { keyIdentities, canFillRoles });
  return [...fileDiagnostics(desired), ...policy, ...checkUnprotected(desired, lookupIn(desired))].sort(compareDiagnostics);
}

/**
 * The same of two trees, as far as a change between them can make a difference: costs what changed, and everything only where something protected did.
 * @param changed keys that `applyFiles` calls changed
 */
export function diagnoseChange(before: DesiredState, after: DesiredState, changed: readonly DocumentKey[]): { readonly before: readonly Diagnostic[]; readonly after: readonly Diagnostic[] } {
  // Policy looks at protected documents alone, and an unprotected one names, besides them, only releases whose promotions are called changed as well.
  if (changed.some((key) => isProtected(key.slice(0, key.indexOf('/')) as Kind))) return { before: diagnose(before), after: diagnose(after) };
  const of = (desired: DesiredState): readonly Diagnostic[] => [...fileDiagnostics(desired), ...checkUnprotected(desired, lookupIn(desired), changed)];
  return { before: of(before), after: of(after) };
}
