import type { Digest } from '../model/digest.ts';
import { documentKey, type DocumentKey, type Kind, type ProtectedChange } from '../model/documents.ts';
import { compareText } from '../model/names.ts';
import type { LogState } from '../evidence/log-state.ts';
import { changeTo } from './apply-change.ts';

/** A protected document as the tip has it. */
export type TipDocument = { readonly kind: Kind; readonly name: string; readonly digest: Digest };

/**
 * Where the tip differs from what is in force, sorted by kind and name. Computed, never recorded (TRUST "In force").
 * @param tip usable protected documents of the tip
 * @param unusable keys that the tip claims but that cannot be used: what was in force stays (T10, T12)
 */
export function pendingChanges(state: LogState, tip: Iterable<TipDocument>, unusable: ReadonlySet<DocumentKey>): readonly ProtectedChange[] {
  const changes: ProtectedChange[] = [];
  const held = new Set<DocumentKey>(unusable);
  for (const { kind, name, digest } of tip) {
    const key = documentKey(kind, name);
    held.add(key);
    if (state.inForce.get(key)?.digest !== digest) changes.push(changeTo(state, kind, name, digest));
  }
  for (const { kind, name } of state.inForce.values()) if (!held.has(documentKey(kind, name))) changes.push(changeTo(state, kind, name, null));
  return changes.sort((a, b) => compareText(a.kind, b.kind) || compareText(a.name, b.name));
}
