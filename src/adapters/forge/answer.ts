import { type CommitId, isCommitId } from '../../core/model/commit-id.ts';
import { ForgeError } from '../../ports/forge.ts';

/**
 * Members of one object of a forge's answer, read by name and kind. Nothing of an answer is believed before; only own members count, so that names
 * of a prototype say nothing. Everything throws ForgeError `AnswerInvalid`, naming the member, never its value.
 */
export class Fields {
  readonly #members: Readonly<Record<string, unknown>>;
  readonly #what: string;

  /** @param what the thing that the value should be, for messages */
  constructor(value: unknown, what: string) {
    if (typeof value !== 'object' || value === null || Array.isArray(value)) throw invalidAnswer(`${what} is no object`);
    this.#members = value as Readonly<Record<string, unknown>>;
    this.#what = what;
  }

  text(name: string): string {
    return this.#present(this.textOrNull(name), name, 'text');
  }

  textOrNull(name: string): string | null {
    return this.#read(name, 'text', (value) => typeof value === 'string');
  }

  /** False where it is missing: older versions of a forge leave out what is not set. */
  flag(name: string): boolean {
    return this.flagOrNull(name) ?? false;
  }

  flagOrNull(name: string): boolean | null {
    return this.#read(name, 'a truth value', (value) => typeof value === 'boolean');
  }

  /** A whole number above zero, such as an id. */
  number(name: string): number {
    return this.#present(this.numberOrNull(name), name, 'a number');
  }

  numberOrNull(name: string): number | null {
    return this.#read(name, 'a positive whole number', (value): value is number => Number.isSafeInteger(value) && (value as number) > 0);
  }

  /** A whole number, zero included. */
  countOrNull(name: string): number | null {
    return this.#read(name, 'a whole number', (value): value is number => Number.isSafeInteger(value) && (value as number) >= 0);
  }

  commit(name: string): CommitId {
    return this.#present(this.commitOrNull(name), name, 'a commit');
  }

  /** Null for an empty text as well. */
  commitOrNull(name: string): CommitId | null {
    const text = this.textOrNull(name);
    if (text === null || text === '') return null;
    if (!isCommitId(text)) throw invalidAnswer(`${this.#what}: ${name} is no commit id`);
    return text;
  }

  /** An instant in the form `2026-01-31T12:00:00.000Z`, whichever offset it had. */
  instant(name: string): string {
    return this.#present(this.instantOrNull(name), name, 'an instant');
  }

  instantOrNull(name: string): string | null {
    const text = this.textOrNull(name);
    if (text === null) return null;
    const at = /^\d{4}-\d{2}-\d{2}T/.test(text) ? Date.parse(text) : Number.NaN;
    if (Number.isNaN(at)) throw invalidAnswer(`${this.#what}: ${name} is no instant`);
    return new Date(at).toISOString();
  }

  object(name: string): Fields {
    return this.#present(this.objectOrNull(name), name, 'an object');
  }

  objectOrNull(name: string): Fields | null {
    const value = this.#own(name);
    return value === null ? null : new Fields(value, `${this.#what}: ${name}`);
  }

  list(name: string): readonly unknown[] {
    return listOf(this.#own(name), `${this.#what}: ${name}`);
  }

  listOrNull(name: string): readonly unknown[] | null {
    const value = this.#own(name);
    return value === null ? null : listOf(value, `${this.#what}: ${name}`);
  }

  #own(name: string): unknown {
    return Object.hasOwn(this.#members, name) ? (this.#members[name] ?? null) : null;
  }

  #read<T>(name: string, kind: string, fits: (value: unknown) => value is T): T | null {
    const value = this.#own(name);
    if (value === null) return null;
    if (!fits(value)) throw invalidAnswer(`${this.#what}: ${name} is not ${kind}`);
    return value;
  }

  #present<T>(value: T | null, name: string, kind: string): T {
    if (value === null) throw invalidAnswer(`${this.#what} has no ${name} (${kind})`);
    return value;
  }
}

/** @throws ForgeError `AnswerInvalid` */
export function listOf(value: unknown, what: string): readonly unknown[] {
  if (!Array.isArray(value)) throw invalidAnswer(`${what} is no list`);
  return value;
}

export function invalidAnswer(why: string, cause?: unknown): ForgeError {
  return new ForgeError('AnswerInvalid', `the forge answered something that we do not understand: ${why}; check forge.type and forge.url`, { cause });
}
