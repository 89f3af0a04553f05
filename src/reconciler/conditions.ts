import type { RootFault } from '../core/trust/root-change.ts';
import type { Condition } from '../ports/ledger.ts';

export type ConditionReason =
  | RootFault['code']
  | 'Reconciled' | 'Pending' | 'TagMoved' | 'TagUnresolved' | 'TokenRefused' | 'RegistryFault' | 'ReleaseChanged' | 'LockFailed' | 'Declaration' | 'ChangePending' | 'ChangeRefused' | 'Rewound' | 'ReviewMissing'
  | 'ForeignEvidence' | 'LogMissing' | 'GenesisMismatch' | 'FetchFailed' | 'PushFailed' | 'StorageUnavailable' | 'HistoryFault' | 'Waiting' | 'Refused' | 'Running' | 'Deployed' | 'Failed'
  | 'LiftingPending' | 'StopRefused' | 'QuorumUnreachable' | 'InternalError' | 'ForgeRateLimited' | 'ForgeUnauthorized' | 'ForgeRefused' | 'ForgeUnavailable' | 'TooManyProposals' | 'ForeignPlans' | 'ForeignDelivery'
  | 'DiskFull' | 'Deprecated' | 'LoopSuspected' | 'NotificationsFailing';

export type ConditionChanges = { readonly set: readonly Condition[]; readonly remove: readonly Pick<Condition, 'kind' | 'name' | 'type'>[] };

/**
 * What the reconciler has to say about resources, by kind, name and type. Only steps of one pass write, through one value, so
 * there is one writer of status; what a pass does not renew is kept, what it clears is gone.
 */
export class Conditions {
  readonly #current = new Map<string, Condition>();
  readonly #changed = new Map<string, Condition | null>();

  set(condition: Omit<Condition, 'file' | 'line'> & Partial<Pick<Condition, 'file' | 'line'>> & { readonly reason: ConditionReason }): void {
    const full: Condition = { file: null, line: null, ...condition };
    const key = keyOf(full);
    if (JSON.stringify(this.#current.get(key)) === JSON.stringify(full)) return;
    this.#current.set(key, full);
    this.#changed.set(key, full);
  }

  /** Stalled because of `reason`; or, with null, no longer stalled. */
  stalled(kind: string, name: string, fault: { readonly reason: ConditionReason; readonly message: string; readonly file?: string | null; readonly line?: number | null } | null): void {
    if (fault === null) this.clear(kind, name, 'Stalled');
    else this.set({ kind, name, type: 'Stalled', status: 'True', ...fault });
  }

  clear(kind: string, name: string, type: Condition['type']): void {
    const key = keyOf({ kind, name, type });
    if (this.#current.delete(key)) this.#changed.set(key, null);
  }

  all(): readonly Condition[] {
    return [...this.#current.values()];
  }

  /** What changed and was not cleared yet; events happen on transitions only. */
  changes(): ConditionChanges {
    const set: Condition[] = [];
    const remove: Pick<Condition, 'kind' | 'name' | 'type'>[] = [];
    for (const [key, condition] of this.#changed) {
      if (condition !== null) set.push(condition);
      else {
        const [kind = '', name = '', type = 'Ready'] = key.split('\n');
        remove.push({ kind, name, type: type as Condition['type'] });
      }
    }
    return { set, remove };
  }

  /** These changes are written; what has changed again since stays. */
  clearChanges(written: ConditionChanges): void {
    for (const condition of written.set) if (this.#changed.get(keyOf(condition)) === condition) this.#changed.delete(keyOf(condition));
    for (const gone of written.remove) if (this.#changed.get(keyOf(gone)) === null) this.#changed.delete(keyOf(gone));
  }
}

function keyOf(c: Pick<Condition, 'kind' | 'name' | 'type'>): string {
  return `${c.kind}\n${c.name}\n${c.type}`;
}
