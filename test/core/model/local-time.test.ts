import { describe, expect, it } from 'vitest';
import fc from 'fast-check';
import { formatInstant, parseInstant } from '../../../src/core/model/instant.ts';
import { parseClock, parseLocal, wallClockOf, weekdayOf, type WallClock } from '../../../src/core/model/local-time.ts';
import { timeZoneNames, zoneRuleOf } from '../../../src/core/model/time-zones.ts';

const clock = (zone: string): WallClock => {
  const found = wallClockOf(zone);
  if (found === null) throw new Error(`no zone ${zone}`);
  return found;
};
const local = (text: string): number => parseLocal(text) ?? Number.NaN;
const first = (zone: string, text: string): string => formatInstant(clock(zone).first(local(text))).slice(0, 16);
const last = (zone: string, text: string): string => formatInstant(clock(zone).last(local(text))).slice(0, 16);
const shown = (zone: string, text: string): string => formatInstant(clock(zone).at(parseInstant(text) ?? Number.NaN)).slice(0, 16);

describe('a clock on the wall', () => {
  it('shows the offset of the season', () => {
    expect(shown('Europe/Berlin', '2026-01-15T12:00:00Z')).toBe('2026-01-15T13:00');
    expect(shown('Europe/Berlin', '2026-07-15T12:00:00Z')).toBe('2026-07-15T14:00');
    expect(shown('Australia/Sydney', '2026-01-15T12:00:00Z')).toBe('2026-01-15T23:00');
    expect(shown('Europe/Dublin', '2026-01-15T12:00:00Z')).toBe('2026-01-15T12:00');
    expect(shown('Europe/Dublin', '2026-07-15T12:00:00Z')).toBe('2026-07-15T13:00');
    expect(shown('Asia/Kolkata', '2026-07-15T12:00:00Z')).toBe('2026-07-15T17:30');
  });

  it('skips what it is put forward over: that is the moment when it is', () => {
    for (const text of ['2026-03-29T02:00', '2026-03-29T02:30', '2026-03-29T02:59', '2026-03-29T03:00']) {
      expect([first('Europe/Berlin', text), last('Europe/Berlin', text)]).toEqual(['2026-03-29T01:00', '2026-03-29T01:00']);
    }
    expect(first('Australia/Lord_Howe', '2026-10-04T02:15')).toBe('2026-10-03T15:30');
    expect(first('Africa/Cairo', '2026-04-24T00:30')).toBe('2026-04-23T22:00');
  });

  it('shows twice what it is put back over', () => {
    expect([first('Europe/Berlin', '2026-10-25T02:30'), last('Europe/Berlin', '2026-10-25T02:30')]).toEqual(['2026-10-25T00:30', '2026-10-25T01:30']);
    expect([first('America/New_York', '2026-11-01T01:15'), last('America/New_York', '2026-11-01T01:15')]).toEqual(['2026-11-01T05:15', '2026-11-01T06:15']);
    expect([first('Australia/Lord_Howe', '2026-04-05T01:45'), last('Australia/Lord_Howe', '2026-04-05T01:45')]).toEqual(['2026-04-04T14:45', '2026-04-04T15:15']);
    expect([first('Europe/Berlin', '2026-10-25T03:00'), last('Europe/Berlin', '2026-10-25T03:00')]).toEqual(['2026-10-25T02:00', '2026-10-25T02:00']);
  });

  it('takes an offset, and nothing that is no zone', () => {
    expect(first('+05:30', '2026-01-01T00:00')).toBe('2025-12-31T18:30');
    expect(first('UTC', '2026-01-01T00:00')).toBe('2026-01-01T00:00');
    for (const zone of ['', 'Mars/Olympus', 'Europe/Berlin Europe/Paris', 'europe/berlin', '+2', '+15:00', 'Africa/Casablanca', 'Berlin', '__proto__']) expect(wallClockOf(zone)).toBeNull();
  });

  it('comes back from every moment to a wall time that names it', () => {
    fc.assert(
      fc.property(fc.constantFrom(...timeZoneNames()), fc.integer({ min: Date.UTC(1970, 0, 2), max: Date.UTC(2199, 0) }), (zone, at) => {
        const wall = clock(zone).at(at);
        expect([clock(zone).first(wall), clock(zone).last(wall)]).toContain(at);
        expect(clock(zone).first(wall)).toBeLessThanOrEqual(clock(zone).last(wall));
      }),
      { numRuns: 3_000 },
    );
  });

  it('never runs backwards over wall times', () => {
    fc.assert(
      fc.property(fc.constantFrom(...timeZoneNames()), fc.integer({ min: Date.UTC(2020, 0), max: Date.UTC(2040, 0) }), fc.nat(7_200_000), (zone, wall, later) => {
        expect(clock(zone).first(wall)).toBeLessThanOrEqual(clock(zone).first(wall + later));
        expect(clock(zone).last(wall)).toBeLessThanOrEqual(clock(zone).last(wall + later));
      }),
      { numRuns: 3_000 },
    );
  });
});

describe('the table of time zones', () => {
  /** Independent of our rules: the data of the runtime that runs the tests. Rule set 1 keeps its table, so what changes after it is listed here. */
  const CHANGED_SINCE: readonly string[] = [];

  it('agrees with the time zone data of the runtime, years ahead', () => {
    const differing = timeZoneNames().filter((zone) => {
      const format = new Intl.DateTimeFormat('en-US', { timeZone: zone, timeZoneName: 'longOffset' });
      const offsetAt = (at: number): number => {
        const part = format.formatToParts(at).find(({ type }) => type === 'timeZoneName')?.value ?? '';
        const m = /GMT(?:([+-])(\d\d):(\d\d))?/.exec(part);
        return m?.[1] === undefined ? 0 : (m[1] === '-' ? -1 : 1) * (Number(m[2]) * 60 + Number(m[3]));
      };
      const { at } = clock(zone);
      for (let day = Date.UTC(2026, 11, 1); day < Date.UTC(2029, 0, 1); day += 4 * 86_400_000) if ((at(day) - day) / 60_000 !== offsetAt(day)) return true;
      return false;
    });
    expect(differing).toEqual(CHANGED_SINCE);
  });

  it('names each zone once', () => {
    expect(new Set(timeZoneNames()).size).toBe(timeZoneNames().length);
    expect(zoneRuleOf('Europe/Berlin')).toEqual({ standard: 60, summer: { offset: 120, begins: [3, 5, 0, 120], ends: [10, 5, 0, 180] } });
  });
});

describe('times without a zone', () => {
  it('are read in one form only', () => {
    expect(parseLocal('2026-02-28T23:59')).toBe(Date.UTC(2026, 1, 28, 23, 59));
    for (const text of ['2026-02-29T00:00', '2026-01-01T24:00', '2026-01-01', '2026-01-01T00:00Z', '2026-1-1T00:00']) expect(parseLocal(text)).toBeNull();
    expect([parseClock('00:00'), parseClock('23:59'), parseClock('24:00'), parseClock('7:00')]).toEqual([0, 1439, null, null]);
    expect(weekdayOf(Date.UTC(2026, 10, 21))).toBe(6);
  });
});
