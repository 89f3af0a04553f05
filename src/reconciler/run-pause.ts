import { setTimeout as sleep } from 'node:timers/promises';

const FIRST_MS = 100;
const LONGEST_MS = 5_000;

/** Pauses that grow, for whatever has to be tried again until it works. A signal ends a pause at once. */
export class Pause {
  #nextMs = FIRST_MS;

  async wait(signal: AbortSignal): Promise<void> {
    const ms = this.#nextMs;
    this.#nextMs = Math.min(ms * 2, LONGEST_MS);
    await sleep(ms, undefined, { signal }).catch(() => undefined);
  }
}
