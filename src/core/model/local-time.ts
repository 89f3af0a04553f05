import { formatInstant, parseInstant, type InstantMs } from './instant.ts';
import { zoneRuleOf, type ClockChange, type ZoneRule } from './time-zones.ts';

/** What a clock on the wall shows, as milliseconds since 1970-01-01T00:00 on that clock. */
export type LocalMs = number;

export const DAY_MS = 86_400_000;
const MINUTE_MS = 60_000;
const WALL = /^\d{4}-\d{2}-\d{2}T\d{2}:\d{2}$/;
const CLOCK = /^([01]\d|2[0-3]):([0-5]\d)$/;

/** Parses `YYYY-MM-DDThh:mm`; null when `text` has another form or names no real day. */
export function parseLocal(text: string): LocalMs | null {
  return WALL.test(text) ? parseInstant(`${text}:00Z`) : null;
}

/** Minutes since midnight of `hh:mm`, 00:00 to 23:59; null when `text` has another form. */
export function parseClock(text: string): number | null {
  const m = CLOCK.exec(text);
  return m === null ? null : Number(m[1]) * 60 + Number(m[2]);
}

/** 0 for Sunday. @param day midnight of a day on a wall clock */
export function weekdayOf(day: LocalMs): number {
  return (((Math.floor(day / DAY_MS) + 4) % 7) + 7) % 7;
}

/** A clock on a wall somewhere: from instants to what it shows, and back. */
export type WallClock = {
  readonly at: (instant: InstantMs) => LocalMs;
  /**
   * When it first shows `local` or, where clocks are put forward over it, when they are; when they are put back, it shows `local` twice.
   */
  readonly first: (local: LocalMs) => InstantMs;
  /** The same, but the second time where it shows `local` twice. */
  readonly last: (local: LocalMs) => InstantMs;
};

/** @returns null for a time zone that is not known (T12) */
export function wallClockOf(timeZone: string): WallClock | null {
  const rule = zoneRuleOf(timeZone);
  if (rule === null) return null;
  const show = (instant: InstantMs): LocalMs => instant + offsetAt(rule, instant);
  return { at: show, first: (local) => instantOf(rule, local, 'first'), last: (local) => instantOf(rule, local, 'last') };
}

/** Milliseconds east of UTC. */
function offsetAt(rule: ZoneRule, instant: InstantMs): number {
  if (rule.summer === null) return rule.standard * MINUTE_MS;
  const { begins, ends } = changesOf(rule, rule.summer, yearOf(instant + rule.standard * MINUTE_MS));
  const isSummer = begins < ends ? instant >= begins && instant < ends : instant >= begins || instant < ends;
  return (isSummer ? rule.summer.offset : rule.standard) * MINUTE_MS;
}

function instantOf(rule: ZoneRule, local: LocalMs, which: 'first' | 'last'): InstantMs {
  if (rule.summer === null) return local - rule.standard * MINUTE_MS;
  const [low, high] = rule.summer.offset > rule.standard ? [rule.standard, rule.summer.offset] : [rule.summer.offset, rule.standard];
  const early = { instant: local - high * MINUTE_MS, isReal: offsetAt(rule, local - high * MINUTE_MS) === high * MINUTE_MS };
  const late = { instant: local - low * MINUTE_MS, isReal: offsetAt(rule, local - low * MINUTE_MS) === low * MINUTE_MS };
  const [wanted, other] = which === 'first' ? [early, late] : [late, early];
  if (wanted.isReal) return wanted.instant;
  if (other.isReal) return other.instant;
  // Clocks are put forward over it: the moment when they are lies between the two.
  const { begins, ends } = changesOf(rule, rule.summer, yearOf(local));
  return begins > early.instant && begins <= late.instant ? begins : ends;
}

function changesOf(rule: ZoneRule, summer: NonNullable<ZoneRule['summer']>, year: number): { readonly begins: InstantMs; readonly ends: InstantMs } {
  return { begins: localOf(year, summer.begins) - rule.standard * MINUTE_MS, ends: localOf(year, summer.ends) - summer.offset * MINUTE_MS };
}

function yearOf(local: LocalMs): number {
  return Number(formatInstant(local).slice(0, 4));
}

function localOf(year: number, [month, week, weekday, minute]: ClockChange): LocalMs {
  const first = firstOfMonth(year, month);
  const day = ((weekday - weekdayOf(first) + 7) % 7) + (week - 1) * 7;
  return first + (first + day * DAY_MS < firstOfMonth(year, month + 1) ? day : day - 7) * DAY_MS + minute * MINUTE_MS;
}

/** @param month 1..12 */
function firstOfMonth(year: number, month: number): LocalMs {
  return parseInstant(`${String(year).padStart(4, '0')}-${String(month).padStart(2, '0')}-01T00:00:00Z`) ?? 0;
}
