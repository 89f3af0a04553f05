import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { CanonicalError, canonicalBytes, canonicalText, parseCanonicalJson } from '../../../src/core/model/canonical-json.ts';

/** Whatever canonical JSON can carry. */
const name = fc.string({ unit: 'binary', maxLength: 6 }).filter((text) => text.isWellFormed() && text !== '__proto__');
const value = fc.letrec((tie) => ({
  any: fc.oneof({ maxDepth: 4 }, fc.constant(null), fc.boolean(), fc.maxSafeInteger(), name, fc.array(tie('any'), { maxLength: 4 }), tie('object')),
  object: fc.dictionary(name, tie('any'), { maxKeys: 5, noNullPrototype: true }),
})).any;

function withMembersReversed(given: unknown): unknown {
  if (Array.isArray(given)) return given.map(withMembersReversed);
  if (typeof given !== 'object' || given === null) return given;
  return Object.fromEntries(Object.entries(given).reverse().map(([key, member]) => [key, withMembersReversed(member)]));
}

function namesIn(given: unknown): string[][] {
  if (typeof given !== 'object' || given === null) return [];
  const own = Array.isArray(given) ? [] : [Object.keys(given)];
  return [...own, ...Object.values(given).flatMap(namesIn)];
}

describe('canonical JSON', () => {
  it('reads back as the value it was made of', () => {
    fc.assert(fc.property(value, (v) => void expect(JSON.parse(canonicalText(v))).toEqual(v)));
  });

  it('is its own canonical form once it is read back', () => {
    fc.assert(fc.property(value, (v) => void expect(canonicalText(JSON.parse(canonicalText(v)))).toBe(canonicalText(v))));
  });

  it('does not depend on the order in which members were written', () => {
    fc.assert(fc.property(value, (v) => void expect(canonicalText(withMembersReversed(v))).toBe(canonicalText(v))));
  });

  it('sorts names by UTF-16 code units', () => {
    const plainName = name.filter((text) => !/^\d/.test(text)); // JSON.parse itself puts names that are indexes first
    fc.assert(
      fc.property(fc.dictionary(plainName, fc.integer(), { noNullPrototype: true }), (v) => {
        for (const names of namesIn(JSON.parse(canonicalText(v)))) expect(names).toEqual([...names].sort());
      }),
    );
  });

  it('is accepted by the strict reader, and with one space more it is not', () => {
    fc.assert(
      fc.property(value, (v) => {
        expect(parseCanonicalJson(canonicalBytes(v))).toEqual(v);
        expect(parseCanonicalJson(new TextEncoder().encode(`${canonicalText(v)} `))).toBeUndefined();
      }),
    );
  });

  it.each([
    ['a fraction', 1.5], ['an integer beyond 2^53', 2 ** 53], ['not a number', Number.NaN], ['infinity', Number.POSITIVE_INFINITY], ['a lone surrogate', '\ud800'],
    ['a lone surrogate in a name', { '\udc00': 1 }], ['undefined', { a: undefined }], ['a function', () => 1], ['a big integer', 1n], ['a symbol', Symbol('x')],
  ])('has no form for %s', (_, v) => {
    expect(() => canonicalText(v)).toThrow(CanonicalError);
  });

  it.each([
    ['a second spelling of a character', '"\\u0061"'], ['a number with an exponent', '1e2'], ['minus zero', '-0'], ['a name that stands twice', '{"a":1,"a":1}'],
    ['names out of order', '{"b":1,"a":1}'], ['a byte order mark', '\ufeff1'], ['an escaped lone surrogate', '"\\ud800"'], ['nothing', ''],
  ])('the strict reader refuses %s', (_, text) => {
    expect(parseCanonicalJson(new TextEncoder().encode(text))).toBeUndefined();
  });

  it('the strict reader refuses bytes that are not UTF-8', () => {
    expect(parseCanonicalJson(Uint8Array.of(0x22, 0xff, 0x22))).toBeUndefined();
  });
});
