import type { Condition, Ledger } from '../../ports/ledger.ts';

/**
 * Writes why the repository as a whole stands still to where it is read. A pass that cannot go on never reaches the projection, and its
 * condition must not stay unseen.
 */
export class RepositoryConditions {
  readonly #ledger: Ledger;
  /** As last written; null before the first time in this process. */
  #written: string | null = null;
  #keys: readonly Pick<Condition, 'kind' | 'name' | 'type'>[] = [{ kind: 'Repository', name: 'declarations', type: 'Stalled' }];

  constructor(ledger: Ledger) {
    this.#ledger = ledger;
  }

  /** @throws StorageError; the next pass writes it then */
  async write(all: readonly Condition[], at: Date): Promise<void> {
    const set = all.filter(({ kind }) => kind === 'Repository');
    const text = JSON.stringify(set);
    if (text === this.#written) return;
    const remove = this.#keys.filter((key) => !set.some((one) => one.name === key.name && one.type === key.type));
    await this.#ledger.project({ asOf: at.toISOString(), complete: false, conditions: { set, remove } });
    this.#written = text;
    this.#keys = [...new Map([...this.#keys, ...set].map((key) => [`${key.name}\n${key.type}`, key])).values()].map(({ kind, name, type }) => ({ kind, name, type }));
  }
}
