import type { InstantMs } from '../../model/instant.ts';
import { holdsAt, nextTurn } from '../calendar.ts';
import { earlier, instantText, NEVER, type InstantText } from '../instants.ts';
import type { DecisionInput, GateResult } from '../types.ts';
import { passed, pending } from './result.ts';

export type WindowGate = {
  readonly results: readonly GateResult[];
  /** When the first window closes that is open; NEVER if none does. An allow holds no longer (T23). */
  readonly closes: InstantText;
  /** When windows open or close next, each of them. */
  readonly turns: readonly InstantText[];
};

/** Whether it is time: each gate of type `window` lets a promotion run only while its calendar says so. Without a time nothing is open. */
export function windowGate({ gates }: Pick<DecisionInput, 'gates'>, asOf: InstantMs | null): WindowGate {
  const results: GateResult[] = [];
  const turns: InstantText[] = [];
  let closes: InstantText = NEVER;
  for (const gate of gates) {
    if (gate.type !== 'window') continue;
    const { name: subject, calendar } = gate;
    const isOpen = asOf !== null && holdsAt(calendar, asOf, 'lets');
    const next = asOf === null ? null : nextTurn(calendar, asOf, 'lets');
    const text = next === null ? NEVER : instantText(next);
    if (text !== NEVER) turns.push(text);
    if (isOpen) closes = earlier(closes, text);
    const turn = text === NEVER ? null : text;
    results.push(isOpen ? passed('window', { subject, code: 'Ok', detail: { closes: turn ?? '' } }) : pending('window', { subject, code: 'OutsideWindow', opensAt: turn }));
  }
  return { results, closes, turns };
}
