import { describe, expect, it } from 'vitest';
import fc from 'fast-check';
import { formatInstant, parseInstant } from '../../../src/core/model/instant.ts';
import { holdsAt, nextTurn } from '../../../src/core/decision/calendar.ts';
import type { FreezeCalendar } from '../../../src/core/model/documents.ts';
import { arbitraryCalendar } from '../../property/decision-arbitraries.ts';
import { AS_OF } from './inputs.ts';

const at = (text: string): number => parseInstant(text) ?? Number.NaN;
const holds = (calendar: FreezeCalendar, text: string): boolean => holdsAt(calendar, at(text));
const turn = (calendar: FreezeCalendar, text: string): string | null => {
  const next = nextTurn(calendar, at(text));
  return next === null ? null : formatInstant(next);
};
const berlin = 'Europe/Berlin';

describe('a calendar', () => {
  const holidays: FreezeCalendar = { windows: [{ start: '2026-12-20T00:00', end: '2027-01-03T00:00', timeZone: berlin }], exceptions: [{ start: '2026-12-28T08:00', end: '2026-12-28T12:00', timeZone: berlin }] };

  it('holds from its start and up to its end, by the clock of its zone, but not in its exceptions', () => {
    expect(['2026-12-19T22:59:59.999Z', '2026-12-19T23:00:00Z', '2026-12-28T07:00:00Z', '2026-12-28T11:00:00Z', '2027-01-02T22:59:59Z', '2027-01-02T23:00:00Z'].map((t) => holds(holidays, t))).toEqual([false, true, false, true, true, false]);
  });

  it('says when it turns next', () => {
    expect(turn(holidays, '2026-11-01T00:00:00Z')).toBe('2026-12-19T23:00:00.000Z');
    expect(turn(holidays, '2026-12-24T00:00:00Z')).toBe('2026-12-28T07:00:00.000Z');
    expect(turn(holidays, '2026-12-28T07:30:00Z')).toBe('2026-12-28T11:00:00.000Z');
    expect(turn(holidays, '2027-02-01T00:00:00Z')).toBeNull();
  });

  const weekends: FreezeCalendar = { weekly: [{ days: ['fri'], from: '17:00', to: '00:00', timeZone: berlin }, { days: ['sat', 'sun'], from: '00:00', to: '00:00', timeZone: berlin }, { days: ['mon'], from: '00:00', to: '08:00', timeZone: berlin }] };

  it('comes again every week, over midnight and over the change of clocks', () => {
    expect(['2026-11-06T15:59:59Z', '2026-11-06T16:00:00Z', '2026-11-08T12:00:00Z', '2026-11-09T06:59:00Z', '2026-11-09T07:00:00Z'].map((t) => holds(weekends, t))).toEqual([false, true, true, true, false]);
    expect(turn(weekends, '2026-11-06T20:00:00Z')).toBe('2026-11-09T07:00:00.000Z');
    // In October, when clocks are put back, the same weekend begins an hour earlier by UTC and ends when it always does.
    expect(turn(weekends, '2026-10-21T00:00:00Z')).toBe('2026-10-23T15:00:00.000Z');
    expect(turn(weekends, '2026-10-24T00:00:00Z')).toBe('2026-10-26T07:00:00.000Z');
  });

  it('is never shorter than a clock on the wall says, and its exceptions never longer', () => {
    const night = (day: 'sun', from: string, to: string): FreezeCalendar => ({ weekly: [{ days: [day], from, to, timeZone: berlin }] });
    // 02:30 does not exist on 29 March, and is there twice on 25 October.
    expect([holds(night('sun', '02:30', '04:00'), '2026-03-29T00:59:59Z'), holds(night('sun', '02:30', '04:00'), '2026-03-29T01:00:00Z')]).toEqual([false, true]);
    expect([holds(night('sun', '02:30', '04:00'), '2026-10-25T00:30:00Z'), holds(night('sun', '01:00', '02:30'), '2026-10-25T01:29:00Z'), holds(night('sun', '01:00', '02:30'), '2026-10-25T01:30:00Z')]).toEqual([true, true, false]);
    const open: FreezeCalendar = { windows: [{ start: '2026-10-01T00:00', end: '2026-11-01T00:00', timeZone: berlin }], exceptions: [{ start: '2026-10-25T02:00', end: '2026-10-25T02:30', timeZone: berlin }] };
    expect(['2026-10-25T00:15:00Z', '2026-10-25T01:15:00Z'].map((t) => holds(open, t))).toEqual([true, true]);
  });

  it('finds its next turn after an exception of weeks', () => {
    const calendar: FreezeCalendar = { ...weekends, exceptions: [{ start: '2026-11-02T00:00', end: '2026-12-01T12:00', timeZone: berlin }] };
    expect(turn(calendar, '2026-11-03T00:00:00Z')).toBe('2026-12-04T16:00:00.000Z');
    const always: FreezeCalendar = { weekly: [{ days: ['mon', 'tue', 'wed', 'thu', 'fri', 'sat', 'sun'], from: '00:00', to: '00:00', timeZone: 'UTC' }] };
    expect(turn(always, '2026-11-03T00:00:00Z')).toBeNull();
  });

  it('that means nothing holds always, and such an exception never (T12)', () => {
    const window = { start: '2026-12-20T00:00', end: '2026-12-21T00:00', timeZone: berlin };
    const day = { days: ['mon'] as const, from: '00:00', to: '01:00', timeZone: berlin };
    for (const broken of [{ ...window, timeZone: 'Mars/Olympus' }, { ...window, start: 'soon' }, { ...window, end: window.start }]) expect(holds({ windows: [broken] }, '2026-01-01T00:00:00Z')).toBe(true);
    expect(holds({ weekly: [{ ...day, timeZone: 'x' }] }, '2026-01-01T00:00:00Z')).toBe(true);
    expect(holds({ windows: [window], exceptions: [{ ...window, timeZone: 'x' }] }, '2026-12-20T12:00:00Z')).toBe(true);
  });

  it('says the same at every moment before its next turn, and something else at it', () => {
    const near = fc.integer({ min: at(AS_OF) - 5 * 86_400_000, max: at(AS_OF) + 5 * 86_400_000 });
    fc.assert(
      fc.property(arbitraryCalendar, near, fc.double({ min: 0, max: 1, noNaN: true }), (calendar, now, part) => {
        const next = nextTurn(calendar, now);
        const before = now + Math.floor(((next ?? now + 30 * 86_400_000) - 1 - now) * part);
        expect(holdsAt(calendar, before)).toBe(holdsAt(calendar, now));
        if (next !== null) expect(holdsAt(calendar, next)).toBe(!holdsAt(calendar, now));
      }),
      { numRuns: 2_000 },
    );
  });
});
