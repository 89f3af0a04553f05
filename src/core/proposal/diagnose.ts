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
