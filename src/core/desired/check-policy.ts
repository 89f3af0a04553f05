import { checkAutomatic } from './check-automatic.ts';
import { checkClaims } from './check-claims.ts';
import { checkFreezes } from './check-freezes.ts';
import { checkGates } from './check-gates.ts';
import { checkCycles } from './check-cycles.ts';
import { checkIdentities } from './check-identities.ts';
import { checkKeys, type KeyIdentities } from './check-keys.ts';
import { checkNotifiers } from './check-notifiers.ts';
import { checkQuorums, type CanFillRoles } from './check-quorums.ts';
import { checkReferences } from './check-references.ts';
import { checkRollbacks } from './check-rollbacks.ts';
import { compareDiagnostics, type Diagnostic } from './diagnostic.ts';
import type { DocumentLookup } from './document-lookup.ts';

/** What the checks need from other stages of the core. */
export type PolicyTools = { readonly keyIdentities: KeyIdentities; readonly canFillRoles: CanFillRoles };

/**
 * Configuration errors in a set of protected documents (T10, T11, T12, T17). A change that leaves a set with an error does
 * not come into force; what was in force stays. Costs what protected documents there are.
 * @param documents all protected documents as they would be in force together
 * @returns sorted; a set without a diagnostic of severity error may be in force
 */
export function checkPolicy(documents: DocumentLookup, tools: PolicyTools): readonly Diagnostic[] {
  return [
    ...checkReferences(documents),
    ...checkCycles(documents),
    ...checkKeys(documents, tools.keyIdentities),
    ...checkQuorums(documents, tools.canFillRoles),
    ...checkClaims(documents),
    ...checkFreezes(documents),
    ...checkGates(documents),
    ...checkNotifiers(documents),
    ...checkRollbacks(documents),
    ...checkAutomatic(documents),
    ...checkIdentities(documents),
  ].sort(compareDiagnostics);
}
