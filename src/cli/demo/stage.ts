import type { Digest } from '../../core/model/digest.ts';
import type { AppState, LogState } from '../../core/evidence/log-state.ts';
import type { Condition } from '../../ports/ledger.ts';

export type Person = 'alice' | 'bob' | 'carol';
export const PEOPLE: readonly Person[] = ['alice', 'bob', 'carol'];
export type CommandResult = { readonly exitCode: number; readonly stdout: string; readonly stderr: string };

/** A running world: a repository, three people with a clone and a key each, a server, an agent, a registry folder. */
export interface Stage {
  readonly folder: string;
  readonly pin: Digest;
  readonly apiUrl: string;
  /** Runs git in somebody's clone. @throws DemoFailure when git fails */
  git(person: Person, ...args: readonly string[]): Promise<string>;
  /** Runs the command line in somebody's clone, in a process of its own. */
  stella(person: Person, ...args: readonly string[]): Promise<CommandResult>;
  write(person: Person, path: string, text: string): Promise<void>;
  /** The log's state as the server has pushed it. */
  state(): LogState;
  conditions(): readonly Condition[];
  /** Builds an image that holds `text` and points the tag at it. */
  image(component: string, tag: string, text: string): Promise<Digest>;
  /** Flips a byte in the newest layer of a component. @returns what puts it right again */
  damage(component: string, tag: string): Promise<() => Promise<void>>;
  /** A file of the shop on the target of an environment; null when it is not there. */
  onTarget(environment: string, path: string): Promise<string | null>;
  /** Clones the repository afresh, with nothing but the pin. */
  freshClone(): Promise<(...args: readonly string[]) => Promise<CommandResult>>;
  close(): Promise<void>;
}

/** A step of the demo went otherwise than it says. */
export class DemoFailure extends Error {
  readonly code = 'DemoFailure';
}

export function must(condition: unknown, what: string): asserts condition {
  if (condition === false || condition === null || condition === undefined) throw new DemoFailure(what);
}

export function appOf(stage: Stage, environment: string): AppState | undefined {
  return stage.state().states.get(`${environment}/shop`);
}

const POLL_MS = 40;

/** Waits until `look` finds something. @throws DemoFailure with what the server says, after `seconds` */
export async function until<T>(stage: Stage, what: string, look: () => T | null | undefined | false | Promise<T | null | undefined | false>, seconds = 20): Promise<T> {
  const tries = (seconds * 1000) / POLL_MS;
  for (let i = 0; i < tries; i++) {
    const found = await look();
    if (found !== null && found !== undefined && found !== false) return found;
    await new Promise((resolve) => setTimeout(resolve, POLL_MS));
  }
  const said = stage.conditions().filter((c) => c.status !== 'True' || c.type === 'Stalled').map((c) => `${c.kind} ${c.name}: ${c.reason}: ${c.message}`);
  throw new DemoFailure(`waited ${seconds} s for: ${what}${said.length === 0 ? '' : `\n  the server says:\n  ${said.join('\n  ')}`}`);
}
