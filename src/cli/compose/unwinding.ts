/** What was opened, so that it can be closed in reverse order, all of it and once. */
export class Unwinding {
  readonly #closes: (() => Promise<unknown>)[] = [];
  #running: Promise<void> | null = null;

  keep<T>(opened: T, close: (opened: T) => Promise<unknown>): T {
    this.#closes.push(() => close(opened));
    return opened;
  }

  /** One that fails to close does not keep the others open. @throws the first failure, at the end */
  run(): Promise<void> {
    return (this.#running ??= this.#unwind());
  }

  async #unwind(): Promise<void> {
    const failures: unknown[] = [];
    for (const close of this.#closes.splice(0).reverse()) await close().catch((cause: unknown) => void failures.push(cause));
    if (failures.length > 0) throw new Error('not everything could be closed', { cause: failures[0] });
  }
}
