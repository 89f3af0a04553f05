import type { CalendarWindow, FreezeCalendar, Weekday, WeeklyWindow } from '../model/documents.ts';
import type { InstantMs } from '../model/instant.ts';
import { DAY_MS, parseClock, parseLocal, wallClockOf, weekdayOf } from '../model/local-time.ts';

/** In the order of `weekdayOf`. */
const WEEKDAYS: readonly Weekday[] = ['sun', 'mon', 'tue', 'wed', 'thu', 'fri', 'sat'];
/** The same week comes again after seven days; one day more, because clocks change. */
const SCAN_DAYS = 8;
const MINUTE_MS = 60_000;

type Span = { readonly from: InstantMs; readonly until: InstantMs };

/**
 * Whether a calendar holds at a moment. Where clocks are changed a window is never shorter than a clock on the wall says, and an exception
 * never longer. A window that means nothing holds always, and such an exception never (T12).
 */
export function holdsAt(calendar: FreezeCalendar, at: InstantMs): boolean {
  if ((calendar.exceptions ?? []).some((exception) => covers(exceptionSpan(exception), at))) return false;
  return (calendar.windows ?? []).some((window) => covers(windowSpan(window), at)) || (calendar.weekly ?? []).some((window) => isInWeek(window, at));
}

/** The first moment after `at` from which {@link holdsAt} says something else than at `at`; null if it never does. */
export function nextTurn(calendar: FreezeCalendar, at: InstantMs): InstantMs | null {
  const now = holdsAt(calendar, at);
  const marks = [...(calendar.windows ?? []).map(windowSpan), ...(calendar.exceptions ?? []).map(exceptionSpan)].flatMap(({ from, until }) => [from, until]);
  const stretches = [at, ...[...new Set(marks)].filter((mark) => mark > at && Number.isFinite(mark)).sort((a, b) => a - b)];
  for (const [i, begin] of stretches.entries()) {
    if (holdsAt(calendar, begin) !== now) return begin;
    const end = stretches[i + 1] ?? Number.POSITIVE_INFINITY;
    const turn = weeklyTurns(calendar, begin).find((moment) => moment < end && holdsAt(calendar, moment) !== now);
    if (turn !== undefined) return turn;
  }
  return null;
}

/** Beginnings and ends of weekly windows within the next week, in order. */
function weeklyTurns(calendar: FreezeCalendar, after: InstantMs): readonly InstantMs[] {
  const spans = (calendar.weekly ?? []).flatMap((window) => weeklySpans(window, after, SCAN_DAYS));
  return [...new Set(spans.flatMap(({ from, until }) => [from, until]))].filter((moment) => moment > after && Number.isFinite(moment)).sort((a, b) => a - b);
}

function covers({ from, until }: Span, at: InstantMs): boolean {
  return at >= from && at < until;
}

const ALWAYS: Span = { from: Number.NEGATIVE_INFINITY, until: Number.POSITIVE_INFINITY };
const NEVER: Span = { from: 0, until: 0 };

function windowSpan({ start, end, timeZone }: CalendarWindow): Span {
  const [clock, from, until] = [wallClockOf(timeZone), parseLocal(start), parseLocal(end)];
  return clock === null || from === null || until === null || until <= from ? ALWAYS : { from: clock.first(from), until: clock.last(until) };
}

function exceptionSpan({ start, end, timeZone }: CalendarWindow): Span {
  const [clock, from, until] = [wallClockOf(timeZone), parseLocal(start), parseLocal(end)];
  return clock === null || from === null || until === null ? NEVER : { from: clock.last(from), until: clock.first(until) };
}

function isInWeek(window: WeeklyWindow, at: InstantMs): boolean {
  return weeklySpans(window, at, 1).some((span) => covers(span, at));
}

/** Spans that begin on the day before `at` and on the `days` days from it on. One whose end is not later than its begin ends the next day. */
function weeklySpans({ days, from, to, timeZone }: WeeklyWindow, at: InstantMs, count: number): readonly Span[] {
  const [clock, begins, ends] = [wallClockOf(timeZone), parseClock(from), parseClock(to)];
  if (clock === null || begins === null || ends === null) return [ALWAYS];
  const today = Math.floor(clock.at(at) / DAY_MS) * DAY_MS;
  const spans: Span[] = [];
  for (let day = today - DAY_MS; day <= today + count * DAY_MS; day += DAY_MS) {
    const name = WEEKDAYS[weekdayOf(day)];
    if (name === undefined || !days.includes(name)) continue;
    spans.push({ from: clock.first(day + begins * MINUTE_MS), until: clock.last(day + ends * MINUTE_MS + (ends <= begins ? DAY_MS : 0)) });
  }
  return spans;
}
