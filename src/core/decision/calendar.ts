import type { CalendarWindow, FreezeCalendar, Weekday, WeeklyWindow } from '../model/documents.ts';
import type { InstantMs } from '../model/instant.ts';
import { DAY_MS, parseClock, parseLocal, wallClockOf, weekdayOf } from '../model/local-time.ts';

/** In the order of `weekdayOf`. */
const WEEKDAYS: readonly Weekday[] = ['sun', 'mon', 'tue', 'wed', 'thu', 'fri', 'sat'];
/** The same week comes again after seven days; one day more, because clocks change. */
const SCAN_DAYS = 8;
const MINUTE_MS = 60_000;

type Span = { readonly from: InstantMs; readonly until: InstantMs };

/** What a calendar is for. Where clocks are changed, or something means nothing, it is read so that less may run (T12). */
export type CalendarUse = 'stops' | 'lets';

/**
 * Whether a calendar holds at a moment. Where clocks are changed a window that stops is never shorter than a clock on the wall says, and an exception
 * from it never longer; one that means nothing stops always, and such an exception never helps. For windows that let something run it is the
 * other way round (T12).
 */
export function holdsAt(calendar: FreezeCalendar, at: InstantMs, use: CalendarUse = 'stops'): boolean {
  const [windows, exceptions] = READINGS[use];
  if ((calendar.exceptions ?? []).some((exception) => covers(spanOf(exception, exceptions), at))) return false;
  return (calendar.windows ?? []).some((window) => covers(spanOf(window, windows), at)) || (calendar.weekly ?? []).some((window) => isInWeek(window, at, windows));
}

/** The first moment after `at` from which {@link holdsAt} says something else than at `at`; null if it never does. */
export function nextTurn(calendar: FreezeCalendar, at: InstantMs, use: CalendarUse = 'stops'): InstantMs | null {
  const now = holdsAt(calendar, at, use);
  const [windows, exceptions] = READINGS[use];
  const spans = [...(calendar.windows ?? []).map((window) => spanOf(window, windows)), ...(calendar.exceptions ?? []).map((exception) => spanOf(exception, exceptions))];
  const marks = spans.flatMap(({ from, until }) => [from, until]);
  const stretches = [at, ...[...new Set(marks)].filter((mark) => mark > at && Number.isFinite(mark)).sort((a, b) => a - b)];
  for (const [i, begin] of stretches.entries()) {
    if (holdsAt(calendar, begin, use) !== now) return begin;
    const end = stretches[i + 1] ?? Number.POSITIVE_INFINITY;
    const turn = weeklyTurns(calendar, begin, windows).find((moment) => moment < end && holdsAt(calendar, moment, use) !== now);
    if (turn !== undefined) return turn;
  }
  return null;
}

/** Beginnings and ends of weekly windows within the next week, in order. */
function weeklyTurns(calendar: FreezeCalendar, after: InstantMs, reading: Reading): readonly InstantMs[] {
  const spans = (calendar.weekly ?? []).flatMap((window) => weeklySpans(window, after, { count: SCAN_DAYS, reading }));
  return [...new Set(spans.flatMap(({ from, until }) => [from, until]))].filter((moment) => moment > after && Number.isFinite(moment)).sort((a, b) => a - b);
}

function covers({ from, until }: Span, at: InstantMs): boolean {
  return at >= from && at < until;
}

const ALWAYS: Span = { from: Number.NEGATIVE_INFINITY, until: Number.POSITIVE_INFINITY };
const NEVER: Span = { from: 0, until: 0 };

/** `wide`: as long as it can be meant, and always if it means nothing. `narrow`: no longer than it must be meant, and never. */
type Reading = 'wide' | 'narrow';
/** How windows and exceptions are read. */
const READINGS: { readonly [use in CalendarUse]: readonly [Reading, Reading] } = { stops: ['wide', 'narrow'], lets: ['narrow', 'wide'] };

function spanOf({ start, end, timeZone }: CalendarWindow, reading: Reading): Span {
  const [clock, from, until] = [wallClockOf(timeZone), parseLocal(start), parseLocal(end)];
  if (clock === null || from === null || until === null || until <= from) return reading === 'wide' ? ALWAYS : NEVER;
  return reading === 'wide' ? { from: clock.first(from), until: clock.last(until) } : { from: clock.last(from), until: clock.first(until) };
}

function isInWeek(window: WeeklyWindow, at: InstantMs, reading: Reading): boolean {
  return weeklySpans(window, at, { count: 1, reading }).some((span) => covers(span, at));
}

/** Spans that begin on the day before `at` and on the `count` days from it on. One whose end is not later than its begin ends the next day. */
function weeklySpans({ days, from, to, timeZone }: WeeklyWindow, at: InstantMs, { count, reading }: { readonly count: number; readonly reading: Reading }): readonly Span[] {
  const [clock, begins, ends] = [wallClockOf(timeZone), parseClock(from), parseClock(to)];
  if (clock === null || begins === null || ends === null) return [reading === 'wide' ? ALWAYS : NEVER];
  const today = Math.floor(clock.at(at) / DAY_MS) * DAY_MS;
  const spans: Span[] = [];
  for (let day = today - DAY_MS; day <= today + count * DAY_MS; day += DAY_MS) {
    const name = WEEKDAYS[weekdayOf(day)];
    if (name === undefined || !days.includes(name)) continue;
    const [start, end] = [day + begins * MINUTE_MS, day + ends * MINUTE_MS + (ends <= begins ? DAY_MS : 0)];
    spans.push(reading === 'wide' ? { from: clock.first(start), until: clock.last(end) } : { from: clock.last(start), until: clock.first(end) });
  }
  return spans;
}
