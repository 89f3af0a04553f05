import { limits } from '../../core/model/limits.ts';
import { ForgeError, type Forge, type ForgeErrorCode } from '../../ports/forge.ts';

export type ForgeFault = { readonly code: ForgeErrorCode; readonly message: string };
export type Asked<T> = { readonly ok: true; readonly value: T } | { readonly ok: false; readonly code: ForgeErrorCode };

/** Refusals in a row after which a pass asks no more: one proposal may be locked for us, but not all of them. */
const REFUSALS_IN_ROW = 3;

/**
 * A forge as one pass uses it: it is asked no more once that is no use, and what it said last is kept for the condition. What is not asked now is
 * asked by a later pass, because nothing is forgotten that the forge does not have.
 */
export class ForgeAccess {
  readonly #forge: Forge;
  readonly #now: () => Date;
  #waitsUntil = 0;
  #waits = 0;
  #refusals = 0;
  #rests = false;
  #fault: ForgeFault | null = null;

  constructor(forge: Forge, now: () => Date) {
    this.#forge = forge;
    this.#now = now;
  }

  get limits(): Forge['limits'] {
    return this.#forge.limits;
  }

  /** A new pass tries again, but for what the forge told us to wait. */
  begin(): void {
    this.#rests = false;
    this.#refusals = 0;
    if (!this.#isWaiting()) this.#fault = null;
  }

  /** What went wrong in this pass, or what is waited for. */
  get fault(): ForgeFault | null {
    return this.#fault;
  }

  /** Before when asking is no use, milliseconds since 1970; null when it may be asked. */
  get waitsUntil(): number | null {
    return this.#isWaiting() ? this.#waitsUntil : null;
  }

  /** Whether it is worth asking in this pass. */
  get isAnswering(): boolean {
    return !this.#rests && !this.#isWaiting();
  }

  /** How often it told us to wait. */
  get waits(): number {
    return this.#waits;
  }

  /** @returns why there is no answer; the fault is kept as well */
  async ask<T>(call: (forge: Forge) => Promise<T>): Promise<Asked<T>> {
    if (!this.isAnswering) return { ok: false, code: this.#fault?.code ?? 'Unavailable' };
    try {
      const value = await call(this.#forge);
      this.#refusals = 0;
      return { ok: true, value };
    } catch (cause) {
      if (!(cause instanceof ForgeError)) throw cause;
      this.#note(cause);
      return { ok: false, code: cause.code };
    }
  }

  /**
   * Asks about single proposals. An answer about one that is refused or senseless, which its author may have brought about, ends these questions and
   * nothing else. What the forge told us to wait for holds.
   */
  async aside<T>(questions: () => Promise<T>): Promise<T> {
    const rests = this.#rests;
    try {
      return await questions();
    } finally {
      this.#rests = rests;
      this.#refusals = 0;
    }
  }

  /** What was asked cannot be as it should be, for whoever asked. */
  fail(code: ForgeErrorCode, message: string): void {
    this.#fault = { code, message };
  }

  #note({ code, message, retryAt }: ForgeError): void {
    // A proposal or a comment that is gone is no fault of the forge.
    if (code === 'NotFound') return;
    this.#fault = { code, message };
    if (code === 'RateLimited') {
      const now = this.#now().getTime();
      // An answer cannot stop us for longer than its limit.
      this.#waitsUntil = Math.min(Math.max(retryAt ?? now + limits.forgeDefaultRetryMs, now + 1), now + limits.forgeRetryAfterMs);
      this.#waits += 1;
    }
    if (code === 'Unavailable') this.#rests = true;
    this.#refusals += 1;
    if (this.#refusals >= REFUSALS_IN_ROW) this.#rests = true;
  }

  #isWaiting(): boolean {
    return this.#now().getTime() < this.#waitsUntil;
  }
}
