import { documentKey, type AnyDocument, type DocumentKey, type ProtectedChange } from '../core/model/documents.ts';
import { canFillRoles } from '../core/decision/match-roles.ts';
import { checkPolicy } from '../core/desired/check-policy.ts';
import { ruleOf } from '../core/desired/check-quorums.ts';
import { keyIdentities } from '../core/desired/key-identity.ts';
import type { Diagnostic } from '../core/desired/diagnostic.ts';
import { lookupOf, unplaced } from '../core/desired/document-lookup.ts';
import type { LogState } from '../core/evidence/log-state.ts';

/** T10: the configuration errors that a change would bring, besides those that are there already. @param read the new document of a change */
export function newErrors(state: LogState, changes: readonly ProtectedChange[], read: (change: ProtectedChange) => AnyDocument | null): readonly Diagnostic[] {
  const after = new Map<DocumentKey, AnyDocument>();
  for (const entry of state.inForce.values()) after.set(documentKey(entry.kind, entry.name), entry.document);
  for (const change of changes) {
    const document = change.to === null ? null : read(change);
    if (document === null) after.delete(documentKey(change.kind, change.name));
    else after.set(documentKey(change.kind, change.name), document);
  }
  const before = errorsInForce(state);
  return errorsIn([...after.values()]).filter((d) => !before.some((b) => isSame(b, d)));
}

/** A rule that nobody could meet before is no new error while it is met by more, or by fewer: else what a stop took away could not come back one by one (T24). */
function isSame(a: Diagnostic, b: Diagnostic): boolean {
  const rule = ruleOf(a);
  return a.subject === b.subject && (rule === null ? a.code === b.code && a.message === b.message : rule === ruleOf(b));
}

/** Configuration errors in what is in force: only a stop leaves some. */
export function errorsInForce(state: LogState): readonly Diagnostic[] {
  return errorsIn([...state.inForce.values()].map((e) => e.document));
}

/** T10, T24: nobody is left who could meet a rule. A stop may do that: stopping is easier than going on. */
export function isUnreachable({ code }: Diagnostic): boolean {
  return code === 'ThresholdUnreachable' || code === 'RoleUnheld';
}

function errorsIn(documents: readonly AnyDocument[]): readonly Diagnostic[] {
  return checkPolicy(lookupOf(documents.map(unplaced)), { keyIdentities, canFillRoles }).filter((d) => d.severity === 'error');
}
