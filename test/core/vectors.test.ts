import { readdirSync, readFileSync } from 'node:fs';
import { describe, expect, it } from 'vitest';
import { openSchemas, PREIMAGE_WORDS, type PreimageWord } from '../../src/adapters/schema/open-schemas.ts';
import { relevantDigest } from '../../src/core/decision/build-input.ts';
import { preAuthEncoding } from '../../src/core/evidence/dsse.ts';
import { canonicalText, parseCanonicalJson } from '../../src/core/model/canonical-json.ts';
import { digestOf, digestOfBytes, type Preimage } from '../../src/core/model/digest.ts';
import { documentDigest, documentPreimage, type AnyDocument } from '../../src/core/model/documents.ts';
import {
  changeDigest, genesisDocumentsDigest, inForceDigest, intentDigest, intentPreimage, lockOf, preimageDigest, releaseSpecDigest, rewriteDigest, snapshotOf, type Lock,
} from '../../src/core/model/preimages.ts';

type Case = { readonly name: string; readonly preimage: Preimage; readonly canonical: string; readonly digest: string; readonly input?: unknown };

const folder = new URL('../fixtures/vectors/', import.meta.url);
const load = <T = Case>(name: string): readonly T[] => JSON.parse(readFileSync(new URL(`${name}.json`, folder), 'utf8')) as T[];

/** The digest that our own function makes of the input of a case. */
const functions: Partial<Record<PreimageWord, (input: never) => string>> = {
  'genesis-documents': (input: { documents: never }) => genesisDocumentsDigest(input.documents),
  'in-force': (input: { documents: never }) => inForceDigest(input.documents),
  lock: (input: Parameters<typeof lockOf>[0] & { snapshotInput: { application: never; files: never } }) => preimageDigest(lockFrom(input)),
  'release-spec': (input: never) => releaseSpecDigest(input),
  intent: (input: never) => intentDigest(input),
  change: (input: { logId: never; changes: never }) => changeDigest(input.logId, input.changes),
  relevant: (input: never) => relevantDigest(input),
  rewrite: (input: { logId: never; rewrite: never }) => rewriteDigest(input.logId, input.rewrite),
};

function lockFrom(input: Parameters<typeof lockOf>[0] & { snapshotInput: { application: never; files: never } }): Lock {
  return lockOf({ ...input, snapshot: snapshotOf(input.snapshotInput.application, input.snapshotInput.files) });
}

describe.each(PREIMAGE_WORDS)('the preimage %s', (word) => {
  const cases = load(word);

  it('has vectors', () => {
    expect(cases.length).toBeGreaterThan(0);
  });

  it.each(cases)('has one canonical form and one digest: $name', ({ preimage, canonical, digest }) => {
    expect(preimage.type).toBe(`stella/${word}/v1`);
    expect(canonicalText(preimage)).toBe(canonical);
    expect(digestOf(preimage)).toBe(digest);
    expect(digestOfBytes(canonical)).toBe(digest);
    expect(parseCanonicalJson(new TextEncoder().encode(canonical))).toEqual(preimage);
  });

  it.each(cases)('fits its schema: $name', ({ preimage }) => {
    expect(openSchemas().validatePreimage(word, preimage)).toEqual({ ok: true });
  });

  it.each(cases)('is refused by its schema with a member more or one less: $name', ({ preimage }) => {
    const schemas = openSchemas();
    expect(schemas.validatePreimage(word, { ...preimage, extra: null }).ok).toBe(false);
    for (const member of Object.keys(preimage)) {
      const { [member]: _, ...rest } = preimage as Record<string, unknown>;
      expect({ member, ok: schemas.validatePreimage(word, rest).ok }).toEqual({ member, ok: false });
    }
  });

  const made = functions[word];
  if (made !== undefined) {
    it.each(cases)('is what our function makes of its input: $name', ({ input, digest }) => {
      expect(made(input as never)).toBe(digest);
    });
  }
});

it('an intent covers the Promotion without its signatures', () => {
  for (const { input, preimage } of load('intent')) expect(intentPreimage(input as never)).toEqual(preimage);
});

describe('documents', () => {
  type DocumentCase = { readonly name: string; readonly document: AnyDocument; readonly canonical: string; readonly digest: string };

  it.each(load<DocumentCase>('documents'))('have the digest of their canonical form without signatures: $name', ({ document, canonical, digest }) => {
    expect(new TextDecoder().decode(documentPreimage(document))).toBe(canonical);
    expect(documentDigest(document)).toBe(digest);
  });

  it('differ by a default that is written out, and not by signatures', () => {
    const digests = load<DocumentCase>('documents').map((c) => c.digest);
    expect(digests[1]).toBe(digests[0]);
    expect(digests[2]).toBe(digests[0]);
    expect(new Set(digests).size).toBe(digests.length - 2);
  });
});

it.each(load<{ name: string; value: unknown; canonical: string; digest: string }>('canonical-json'))('canonical JSON: $name', ({ value, canonical, digest }) => {
  expect(canonicalText(value)).toBe(canonical);
  expect(digestOfBytes(canonical)).toBe(digest);
});

it.each(load<{ name: string; payloadType: string; payloadHex: string; paeHex: string }>('envelope-pae'))('an envelope signs type and payload with their lengths: $name', (c) => {
  expect(Buffer.from(preAuthEncoding(c.payloadType, Buffer.from(c.payloadHex, 'hex'))).toString('hex')).toBe(c.paeHex);
});

it('no file of vectors is left out', () => {
  const known = [...PREIMAGE_WORDS, 'documents', 'canonical-json', 'envelope-pae'].map((name) => `${name}.json`).sort();
  expect(readdirSync(folder).filter((name) => name.endsWith('.json')).sort()).toEqual(known);
});
