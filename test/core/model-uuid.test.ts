import { expect, test } from 'vitest';
import type { Digest } from '../../src/core/model/digest.ts';
import { derivedId, isUuid, STELLA_NAMESPACE, uuidV5, type Uuid } from '../../src/core/model/uuid.ts';

const DNS = '6ba7b810-9dad-11d1-80b4-00c04fd430c8' as Uuid;

test('version 5 agrees with the example of RFC 9562', () => {
  expect(uuidV5(DNS, 'www.example.com')).toBe('2ed6657d-e927-568b-95e1-2665a8aea6a2');
});

test('the namespace of the product is derived from its domain', () => {
  expect(uuidV5(DNS, 'stella-gitops.dev')).toBe(STELLA_NAMESPACE);
});

test('a namespace that is not a UUID is refused', () => {
  expect(() => uuidV5('nonsense' as Uuid, 'x')).toThrow(RangeError);
});

test('an id depends on log, kind, name and generation and on nothing else', () => {
  const log = (digit: string): Digest => `sha256:${digit.repeat(64)}` as Digest;
  const ids = [
    derivedId(log('a'), 'Release', 'shop/1', 0),
    derivedId(log('b'), 'Release', 'shop/1', 0),
    derivedId(log('a'), 'Promotion', 'shop/1', 0),
    derivedId(log('a'), 'Release', 'shop/2', 0),
    derivedId(log('a'), 'Release', 'shop/1', 1),
  ];
  expect(new Set(ids).size).toBe(ids.length);
  expect(ids.every(isUuid)).toBe(true);
  expect(derivedId(log('a'), 'Release', 'shop/1', 0)).toBe(ids[0]);
});
