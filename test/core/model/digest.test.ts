import { createHash } from 'node:crypto';
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { digestOf, digestOfBytes, hexOf, isDigest, parseDigest } from '../../../src/core/model/digest.ts';
import { documentDigest, type DocumentOf } from '../../../src/core/model/documents.ts';
import { isPairName, isSegment, splitPair } from '../../../src/core/model/names.ts';
import { changeDigest, inForceDigest } from '../../../src/core/model/preimages.ts';

const digest = fc.string().map((text) => digestOfBytes(text));
const segment = fc.stringMatching(/^[a-z0-9][a-z0-9._-]{0,8}$/);

describe('a digest', () => {
  it('is the sha256 of the bytes', () => {
    fc.assert(fc.property(fc.uint8Array(), (bytes) => void expect(hexOf(digestOfBytes(bytes))).toBe(createHash('sha256').update(bytes).digest('hex'))));
  });

  it.each(['', 'sha256:', `sha256:${'A'.repeat(64)}`, `sha256:${'a'.repeat(63)}`, `sha256:${'a'.repeat(65)}`, `sha512:${'a'.repeat(64)}`, `${'a'.repeat(64)}`, `sha256:${'a'.repeat(64)}\n`])('is refused in another form: %j', (text) => {
    expect(isDigest(text)).toBe(false);
    expect(() => parseDigest(text)).toThrow(RangeError);
  });

  it('of a set does not depend on the order in which it is listed', () => {
    const ref = fc.record({ kind: fc.constantFrom('Target' as const, 'Environment' as const), name: segment, digest });
    const refs = fc.uniqueArray(ref, { selector: (r) => `${r.kind}/${r.name}` });
    fc.assert(fc.property(refs.chain((list) => fc.tuple(fc.constant(list), fc.shuffledSubarray(list, { minLength: list.length }))), ([a, b]) => void expect(inForceDigest(a)).toBe(inForceDigest(b))));
  });

  it('of a change is another one in another log and for another count', () => {
    const change = { kind: 'Target', name: 'x', count: 0, from: null, to: digestOfBytes('a') } as const;
    const logId = digestOfBytes('log');
    const digests = [changeDigest(logId, [change]), changeDigest(digestOfBytes('other'), [change]), changeDigest(logId, [{ ...change, count: 1 }]), changeDigest(logId, [{ ...change, to: null }])];
    expect(new Set(digests).size).toBe(4);
  });

  it('tells words apart: the same members under another word have another digest', () => {
    expect(digestOf({ type: 'stella/in-force/v1', documents: [] })).not.toBe(digestOf({ type: 'stella/genesis-documents/v1', documents: [] }));
  });

  it('of a document does not change with its signatures', () => {
    const promotion: DocumentOf<'Promotion'> = { apiVersion: 'stella/v1alpha1', kind: 'Promotion', metadata: { name: 'prod/shop' }, spec: { release: '1.4.0' } };
    const signed = fc.array(fc.record({ format: fc.constant('sshsig' as const), signature: fc.string() }));
    fc.assert(fc.property(signed, (signatures) => void expect(documentDigest({ ...promotion, signatures })).toBe(documentDigest(promotion))));
  });
});

describe('a name', () => {
  it('of two segments splits into them', () => {
    fc.assert(fc.property(segment, segment, (a, b) => void expect(splitPair(`${a}/${b}`)).toEqual([a, b])));
  });

  it.each(['', '.', '..', '-a', 'A', 'a/b', 'a b', 'ä', 'а' /* Cyrillic */, 'ａ', 'a\u200b', 'a\n', 'a\0', '../x', 'a\\b', 'a'.repeat(64)])('is refused as a segment: %j', (text) => {
    expect(isSegment(text)).toBe(false);
  });

  it.each(['a', 'a/', '/a', 'a//b', 'a/b/c', 'a/..', '../a', 'a/B'])('is refused as a pair: %j', (text) => {
    expect(isPairName(text)).toBe(false);
    expect(() => splitPair(text)).toThrow(RangeError);
  });
});
