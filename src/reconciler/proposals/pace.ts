/** How often something may be done, as strangers decide how often there is cause: `burst` times at once, and once more every `everyMs`. */
export class Pace {
  readonly #burst: number;
  readonly #everyMs: number;
  readonly #now: () => Date;
  /** When the whole burst is there again, milliseconds since 1970. */
  #wholeAt = 0;

  constructor({ burst, everyMs }: { readonly burst: number; readonly everyMs: number }, now: () => Date) {
    this.#burst = burst;
    this.#everyMs = everyMs;
    this.#now = now;
  }

  /** When it may be done again, milliseconds since 1970. */
  get nextAt(): number {
    return this.#wholeAt - (this.#burst - 1) * this.#everyMs;
  }

  /** @returns whether it may be done now; then it counts as done */
  take(): boolean {
    if (this.#now().getTime() < this.nextAt) return false;
    this.charge(1);
    return true;
  }

  /** What was done cost as much as doing it so many times more. */
  charge(times: number): void {
    this.#wholeAt = Math.max(this.#wholeAt, this.#now().getTime()) + times * this.#everyMs;
  }
}
