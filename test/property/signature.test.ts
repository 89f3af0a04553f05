import { generateKeyPairSync, sign } from 'node:crypto';
import fc from 'fast-check';
import { beforeAll, describe, expect, test } from 'vitest';
import { objectIdOf, parseCommit } from '../../src/core/commit/commit-object.ts';
import { parseSshKeyBlob, parseSshPublicKey } from '../../src/core/commit/ssh-key.ts';
import { verifySshSignature } from '../../src/core/commit/ssh-signature.ts';
import { parseTrailers } from '../../src/core/commit/trailers.ts';
import { verifyCommit } from '../../src/core/commit/verify-commit.ts';
import { assembleEnvelope, keyIdOf, parseEnvelope, parseForeignEnvelope, preAuthEncoding, verifyEnvelope } from '../../src/core/evidence/dsse.ts';
import { parseStatement, statementBytes } from '../../src/core/evidence/statement.ts';
import { decodeBase64, encodeBase64 } from '../../src/core/model/base64.ts';
import { commitOf, HEADERS, signatureHeader, signedCommit, verifyRaw } from '../core/commit/commit-maker.ts';
import { armour, makeSignature, makeSignatureBlob, makeTestKey, type TestKey } from '../core/commit/signature-maker.ts';

const TYPES = ['ssh-ed25519', 'ecdsa-sha2-nistp256', 'ecdsa-sha2-nistp384', 'ecdsa-sha2-nistp521', 'ssh-rsa', 'sk-ssh-ed25519@openssh.com',
  'sk-ecdsa-sha2-nistp256@openssh.com'];
const MESSAGE = Buffer.from('what people approved');

let keys: ReadonlyMap<string, TestKey>;
beforeAll(() => {
  keys = new Map(TYPES.map((type) => [type, makeTestKey(type)]));
});
const keyOf = (type: string): TestKey => keys.get(type) ?? makeTestKey(type);
const verifies = (armoured: string, message: Uint8Array = MESSAGE): boolean => verifySshSignature({ armoured, message, namespace: 'git' }).ok;

/** A change of one byte, as position (a share of the length) and a mask that is not zero. */
const flip = fc.record({ at: fc.double({ min: 0, max: 1, maxExcluded: true, noNaN: true }), mask: fc.integer({ min: 1, max: 255 }) });
type Flip = { readonly at: number; readonly mask: number };

function flipped(bytes: Uint8Array, { at, mask }: Flip): Buffer {
  const copy = Buffer.from(bytes);
  const position = Math.floor(at * copy.length);
  copy[position] = (copy[position] ?? 0) ^ mask;
  return copy;
}

describe.each(TYPES)('with any byte flipped, for %s', (type) => {
  test('in message, armour or blob, a signature never verifies and never throws', () => {
    const armoured = makeSignature(keyOf(type), MESSAGE);
    const blob = makeSignatureBlob(keyOf(type), MESSAGE);
    expect(verifies(armoured) && verifies(armour(blob))).toBe(true);
    fc.assert(fc.property(flip, (change) => {
      expect(verifies(armoured, flipped(MESSAGE, change))).toBe(false);
      expect(verifies(flipped(Buffer.from(armoured), change).toString('latin1'))).toBe(false);
      expect(verifies(armour(flipped(blob, change)))).toBe(false);
    }));
  });

  test('in a signed commit, it never verifies under its own key', () => {
    const raw = signedCommit(keyOf(type));
    expect(verifyRaw(raw).signed).toBe(true);
    fc.assert(fc.property(flip, (change) => {
      expect(verifyRaw(flipped(raw, change)).signed).toBe(false);
    }));
  });
});

describe('any bytes', () => {
  const bytes = fc.oneof(
    fc.uint8Array({ maxLength: 400 }),
    // Pieces of the real thing in any order reach further than noise does.
    fc.array(fc.constantFrom(...HEADERS, ' ', '\n', '\0', 'gpgsig ', 'gpgsig-x ', 'encoding UTF-8', '-----BEGIN SSH SIGNATURE-----', 'U1NIU0lH',
      '-----END SSH SIGNATURE-----', '{"payload":"', '","payloadType":"', '"}', '[', '\u00ff'), { maxLength: 20 }).map((parts) => Buffer.from(parts.join('\n'))),
  );

  test('are answered by every reader without throwing, and are never signed', () => {
    fc.assert(fc.property(bytes, (raw) => {
      const text = Buffer.from(raw).toString('latin1');
      expect(verifyRaw(raw).signed).toBe(false);
      expect(verifyCommit(raw, 'sha256', objectIdOf(raw, 'sha256')).signed).toBe(false);
      expect(verifies(text)).toBe(false);
      expect(verifies(armour(raw))).toBe(false);
      expect([parseSshPublicKey(text).ok, parseSshKeyBlob(raw).ok, parseEnvelope(raw).ok, parseForeignEnvelope(raw).ok, parseStatement(raw).ok]).not.toContain(true);
      expect(parseTrailers(text)).toEqual([]);
    }), { numRuns: 500 });
  });

  test('that parse as a commit have a payload that is the raw bytes without one header', () => {
    const header = fc.constantFrom(...HEADERS, 'encoding UTF-8', 'gpgsig x\n y', 'gpgsig a');
    fc.assert(fc.property(fc.array(header, { maxLength: 8 }), fc.string(), (headers, message) => {
      const raw = commitOf(headers, message);
      const outcome = parseCommit(raw, 'sha1');
      if (!outcome.ok || outcome.commit.signature.state !== 'present') return;
      const { armoured, payload } = outcome.commit.signature;
      expect(raw.toString('latin1')).toContain(`\n${signatureHeader(armoured)}\n`);
      expect(Buffer.from(payload).toString('latin1')).toBe(raw.toString('latin1').replace(`${signatureHeader(armoured)}\n`, ''));
    }));
  });
});

describe('base64', () => {
  test('of any bytes reads back, and no other text reads as the same bytes', () => {
    fc.assert(fc.property(fc.uint8Array(), flip, (raw, change) => {
      const text = encodeBase64(raw);
      expect(Buffer.from(decodeBase64(text) ?? 'x').equals(Buffer.from(raw))).toBe(true);
      if (text === '') return;
      const other = decodeBase64(flipped(Buffer.from(text), change).toString('latin1'));
      expect(other !== null && Buffer.from(other).equals(Buffer.from(raw))).toBe(false);
    }));
  });
});

describe('an envelope', () => {
  const { publicKey, privateKey } = generateKeyPairSync('ec', { namedCurve: 'prime256v1' });
  const keyId = keyIdOf(publicKey.export({ type: 'spki', format: 'der' }));
  const type = 'application/vnd.in-toto+json';

  test('of any payload reads back and verifies; with any byte flipped it is refused or not signed', () => {
    fc.assert(fc.property(fc.uint8Array({ maxLength: 200 }), flip, (payload, change) => {
      const file = assembleEnvelope(payload, [{ keyid: keyId, sig: sign('sha256', preAuthEncoding(type, payload), privateKey) }]);
      expect(signers(file)).toEqual([keyId]);
      expect(signers(flipped(file, change))).toEqual([]);
    }));
  });

  function signers(file: Uint8Array): readonly string[] {
    const outcome = parseEnvelope(file);
    return outcome.ok ? verifyEnvelope(outcome.envelope, [{ keyId, publicKey }]) : [];
  }

  test('payload that is a statement reads back, and no other bytes read as the same statement', () => {
    const name = fc.string({ minLength: 1 }).filter((text) => text.isWellFormed());
    fc.assert(fc.property(name, fc.dictionary(name, fc.oneof(name, fc.integer(), fc.boolean())), flip, (text, predicate, change) => {
      const statement = { subjects: [{ name: text, gitCommit: 'a'.repeat(40) }], predicateType: text, predicate };
      const written = statementBytes(statement);
      const read = parseStatement(written);
      expect(read.ok && Buffer.compare(statementBytes(read.statement), written) === 0).toBe(true);
      const other = parseStatement(flipped(written, change));
      expect(other.ok && Buffer.compare(statementBytes(other.statement), written) === 0).toBe(false);
    }));
  });
});
