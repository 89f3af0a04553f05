import type { DocumentOf, Kind } from '../core/model/documents.ts';
import { formatInstant, type InstantMs } from '../core/model/instant.ts';
import { holdsAt, nextTurn } from '../core/decision/calendar.ts';
import { allInForce, type LogState } from '../core/evidence/log-state.ts';
import { keyName } from '../core/trust/key-ring.ts';

/** A stop in force, in the words that every command uses (T24). */
export type StopView = {
  readonly kind: Kind;
  readonly name: string;
  readonly text: string;
  readonly reason: string | null;
  /** Environments where it applies; null: all, or of no environment. */
  readonly environments: readonly string[] | null;
  /** Whether it holds now; a calendar may be between two windows. */
  readonly holds: boolean;
  /** When a calendar turns next; null where nothing but its lifting ends it. */
  readonly turnsAt: string | null;
  /** The command with which those of its quorum lift it. */
  readonly lift: string;
};

/** Stops in force, sorted by kind and name. A key that is only retired or superseded is no stop. @param now milliseconds since 1970 */
export function stopsInForce(state: LogState, now: InstantMs): readonly StopView[] {
  const agents = allInForce(state, 'Agent').flatMap(({ metadata: { name }, spec }) => (spec.suspended === undefined ? [] : [view('Agent', name, `agent ${name} is suspended and gets no orders`, spec.suspended.reason)]));
  const freezes = allInForce(state, 'Freeze').map((freeze) => freezeView(freeze, now));
  return [...agents, ...freezes, ...allInForce(state, 'Principal').flatMap(principalViews)];
}

function view(kind: Kind, name: string, text: string, reason: string | null): StopView {
  return { kind, name, text, reason, environments: null, holds: true, turnsAt: null, lift: `stella approve --pending --only ${kind}/${name}` };
}

function freezeView({ metadata: { name }, spec }: DocumentOf<'Freeze'>, now: InstantMs): StopView {
  const what = spec.releases === undefined ? 'nothing new is allowed' : `${spec.releases.length === 1 ? 'release' : 'releases'} ${spec.releases.join(', ')} ${spec.releases.length === 1 ? 'is' : 'are'} suspended`;
  const where = `${spec.environments === undefined ? ' in any environment' : ` in ${spec.environments.join(', ')}`}${spec.applications === undefined ? '' : ` for ${spec.applications.join(', ')}`}`;
  const holds = spec.calendar === undefined || holdsAt(spec.calendar, now);
  const turn = spec.calendar === undefined ? null : nextTurn(spec.calendar, now);
  const turnsAt = turn === null ? null : formatInstant(turn);
  const when = spec.calendar === undefined ? '' : holds ? `, by its calendar${turnsAt === null ? '' : ` until ${turnsAt}`}` : `, by its calendar ${turnsAt === null ? 'never again' : `from ${turnsAt} on`}`;
  return { ...view('Freeze', name, `freeze ${name}: ${what}${where}${when}`, spec.reason), environments: spec.environments ?? null, holds, turnsAt };
}

function principalViews({ metadata: { name }, spec }: DocumentOf<'Principal'>): readonly StopView[] {
  const suspended = spec.suspended === undefined ? [] : [view('Principal', name, `${name} is suspended: no approval and no request of theirs counts`, spec.suspended.reason)];
  const keys = spec.keys.filter(({ status }) => status === 'compromised').map(({ key, since }) => view('Principal', name, `a key of ${name} is compromised since ${since ?? 'ever'}: ${keyName(key) ?? 'one that cannot be read'}`, null));
  return [...suspended, ...keys];
}

/** One line for people. */
export function stopText({ text, reason }: StopView): string {
  return reason === null ? text : `${text} (${reason})`;
}
