import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { formatInstant, parseInstant } from '../../../src/core/model/instant.ts';

const FIRST = Date.parse('0000-01-01T00:00:00.000Z');
const LAST = Date.parse('9999-12-31T23:59:59.999Z');
const instant = fc.integer({ min: FIRST, max: LAST });

describe('an instant', () => {
  it('is written as the platform writes it, for every moment of years 0 to 9999', () => {
    fc.assert(fc.property(instant, (ms) => void expect(formatInstant(ms)).toBe(new Date(ms).toISOString())), { numRuns: 1000 });
  });

  it('reads back as the moment it was written from', () => {
    fc.assert(fc.property(instant, (ms) => void expect(parseInstant(formatInstant(ms))).toBe(ms)), { numRuns: 1000 });
  });

  it('reads the form without milliseconds as the platform does', () => {
    fc.assert(
      fc.property(instant, (ms) => {
        const text = `${new Date(ms).toISOString().slice(0, 19)}Z`;
        expect(parseInstant(text)).toBe(Date.parse(text));
      }),
    );
  });

  it('orders as its text does', () => {
    fc.assert(fc.property(instant, instant, (a, b) => void expect(formatInstant(a) < formatInstant(b)).toBe(a < b)));
  });

  it.each([
    '2031-02-29T00:00:00Z', '2031-04-31T00:00:00Z', '2031-13-01T00:00:00Z', '2031-00-01T00:00:00Z', '2031-01-00T00:00:00Z', '2031-01-01T24:00:00Z', '2031-01-01T00:60:00Z',
    '2031-01-01T23:59:60Z', '2031-01-01T00:00:00+00:00', '2031-01-01T00:00:00', '2031-01-01 00:00:00Z', '2031-01-01t00:00:00z', '2031-01-01T00:00:00.1Z', '2031-01-01', '',
    ' 2031-01-01T00:00:00Z', '2031-01-01T00:00:00Z\n', '+02031-01-01T00:00:00Z', '２031-01-01T00:00:00Z',
  ])('is refused when it names no real moment in the one form: %j', (text) => {
    expect(parseInstant(text)).toBeNull();
  });

  it('knows leap years', () => {
    expect(parseInstant('2032-02-29T00:00:00Z')).toBe(Date.UTC(2032, 1, 29));
    expect(parseInstant('2000-02-29T00:00:00Z')).toBe(Date.UTC(2000, 1, 29));
    expect(parseInstant('2100-02-29T00:00:00Z')).toBeNull();
  });
});
