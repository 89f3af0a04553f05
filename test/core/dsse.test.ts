import { createHash, generateKeyPairSync, sign, verify, type KeyObject } from 'node:crypto';
import { beforeAll, describe, expect, test } from 'vitest';
import {
  assembleEnvelope, IN_TOTO_PAYLOAD_TYPE, keyIdOf, parseEnvelope, parseEnvelopeKey, parseForeignEnvelope, preAuthEncoding, verifyEnvelope,
  type EnvelopeKey, type EnvelopeOutcome,
} from '../../src/core/evidence/dsse.ts';
import { parseStatement, STATEMENT_TYPE, statementBytes, type StatementOutcome } from '../../src/core/evidence/statement.ts';
import { digestOfBytes } from '../../src/core/model/digest.ts';
import { limits } from '../../src/core/model/limits.ts';

type Pair = { readonly key: EnvelopeKey; readonly privateKey: KeyObject };

const PAYLOAD = Buffer.from('{"_type":"https://in-toto.io/Statement/v1"}');
const codeOf = (outcome: EnvelopeOutcome | StatementOutcome): string => (outcome.ok ? 'ok' : outcome.code);
const changed = (bytes: Uint8Array, change: (text: string) => string): Buffer => Buffer.from(change(Buffer.from(bytes).toString()));

let ours: Pair;
let other: Pair;
let file: Uint8Array;
beforeAll(() => {
  ours = makePair();
  other = makePair();
  file = assembleEnvelope(PAYLOAD, [signed(ours)]);
});

function makePair(namedCurve = 'prime256v1'): Pair {
  const { publicKey, privateKey } = generateKeyPairSync('ec', { namedCurve });
  return { privateKey, key: { publicKey, keyId: keyIdOf(publicKey.export({ type: 'spki', format: 'der' })) } };
}

function signed(pair: Pair, payload: Uint8Array = PAYLOAD): { keyid: string; sig: Uint8Array } {
  return { keyid: pair.key.keyId, sig: sign('sha256', preAuthEncoding(IN_TOTO_PAYLOAD_TYPE, payload), pair.privateKey) };
}

function validKeys(bytes: Uint8Array, keys: readonly EnvelopeKey[]): readonly string[] {
  const outcome = parseForeignEnvelope(bytes);
  if (!outcome.ok) throw new Error(outcome.code);
  return verifyEnvelope(outcome.envelope, keys);
}

describe('an envelope of ours', () => {
  test('is canonical JSON and nothing behind it, and reads back', () => {
    const { keyid, sig } = signed(ours);
    const bytes = assembleEnvelope(PAYLOAD, [{ keyid, sig }]);
    const base64 = (part: Uint8Array): string => Buffer.from(part).toString('base64');
    expect(Buffer.from(bytes).toString()).toBe(
      `{"payload":"${base64(PAYLOAD)}","payloadType":"application/vnd.in-toto+json","signatures":[{"keyid":"${keyid}","sig":"${base64(sig)}"}]}`,
    );
    expect(parseEnvelope(bytes)).toEqual({ ok: true, envelope: { payloadType: IN_TOTO_PAYLOAD_TYPE, payload: PAYLOAD, signatures: [{ keyid, sig }] } });
  });

  test('has the same bytes in whatever order its signatures come', () => {
    const signatures = [signed(ours), signed(other)];
    expect(assembleEnvelope(PAYLOAD, signatures)).toEqual(assembleEnvelope(PAYLOAD, signatures.toReversed()));
    expect(codeOf(parseEnvelope(assembleEnvelope(PAYLOAD, signatures)))).toBe('ok');
  });

  test.each([
    ['a trailing newline', (t: string) => `${t}\n`],
    ['white space', (t: string) => t.replace(',', ', ')],
    ['a byte order mark', (t: string) => `\uFEFF${t}`],
    ['another member', (t: string) => t.replace('{', '{"a":1,')],
    ['a duplicate key', (t: string) => t.replace('{"payload"', '{"payload":"","payload"')],
    ['a duplicate key in a signature', (t: string) => t.replace('{"keyid"', '{"keyid":"a","keyid"')],
    ['another member in a signature', (t: string) => t.replace('{"keyid"', '{"cert":"","keyid"')],
    ['members in another order', (t: string) => t.replace(/^\{("payload":"[^"]*"),("payloadType":"[^"]*")/, '{$2,$1')],
    ['an escaped character', (t: string) => t.replace('keyid', '\\u006beyid')],
    ['no key id', (t: string) => t.replace(/"keyid":"[^"]*",/, '')],
    ['an empty key id', (t: string) => t.replace(/"keyid":"[^"]*"/, '"keyid":""')],
    ['a lone surrogate', (t: string) => t.replace(/"keyid":"[^"]*"/, '"keyid":"\\ud800"')],
    ['signatures out of order', (t: string) => t.replace(/\[(.*)\]/, (_, s: string) => `[${s},${s.replace(/"keyid":"../, '"keyid":"  ')}]`)],
  ])('with %s is refused as not canonical', (_, change) => {
    expect(codeOf(parseEnvelope(file))).toBe('ok');
    expect(changed(file, change).equals(file)).toBe(false);
    expect(codeOf(parseEnvelope(changed(file, change)))).toMatch(/^Envelope(NotCanonical|Malformed)$/);
  });

  test.each([
    ['nothing', () => ''],
    ['no object', () => '[]'],
    ['null', () => 'null'],
    ['two objects', (t: string) => t + t],
    ['no payload', (t: string) => t.replace('"payload"', '"payloas"')],
    ['an empty payload type', (t: string) => t.replace(IN_TOTO_PAYLOAD_TYPE, '')],
    ['no signatures', (t: string) => t.replace(/\[.*\]/, '[]')],
    ['null as a signature', (t: string) => t.replace(/\[.*\]/, '[null]')],
    ['an empty signature', (t: string) => t.replace(/"sig":"[^"]*"/, '"sig":""')],
    ['URL-safe base64', (t: string) => t.replace(/"payload":"[^"]*"/, '"payload":"-_-_"')],
    ['base64 without padding', (t: string) => t.replace(/"payload":"[^"]*"/, '"payload":"AA"')],
    ['base64 with set bits behind the end', (t: string) => t.replace(/"payload":"[^"]*"/, '"payload":"AB=="')],
    ['17 signatures', (t: string) => t.replace(/\[(.*)\]/, (_, s: string) => `[${Array<string>(17).fill(s).join(',')}]`)],
  ])('with %s is refused as malformed', (_, change) => {
    expect(codeOf(parseEnvelope(changed(file, change)))).toBe('EnvelopeMalformed');
  });

  test('larger than the limit is refused before it is read', () => {
    expect(codeOf(parseEnvelope(new Uint8Array(limits.recordBytes + 1)))).toBe('EnvelopeTooLarge');
  });

  test('of brackets without end is refused, not a crash', () => {
    expect(codeOf(parseEnvelope(Buffer.from('['.repeat(limits.recordBytes))))).toBe('EnvelopeMalformed');
  });
});

describe('signatures of an envelope', () => {
  test('count for the keys that made them, each once', () => {
    const both = assembleEnvelope(PAYLOAD, [signed(ours), signed(other), signed(ours)]);
    expect(validKeys(both, [ours.key, other.key])).toEqual([ours.key.keyId, other.key.keyId].sort());
    expect(validKeys(both, [other.key])).toEqual([other.key.keyId]);
    expect(validKeys(both, [])).toEqual([]);
  });

  test('do not count under the key id of somebody else', () => {
    const { sig } = signed(ours);
    const claimed = assembleEnvelope(PAYLOAD, [{ keyid: other.key.keyId, sig }]);
    expect(validKeys(claimed, [ours.key, other.key])).toEqual([]);
    expect(validKeys(assembleEnvelope(PAYLOAD, [{ keyid: ours.key.keyId, sig }]), [ours.key, other.key])).toEqual([ours.key.keyId]);
  });

  test('do not count over another payload or another payload type', () => {
    expect(validKeys(assembleEnvelope(Buffer.from('{}'), [signed(ours)]), [ours.key])).toEqual([]);
    expect(validKeys(assembleEnvelope(PAYLOAD, [signed(ours)], 'application/json'), [ours.key])).toEqual([]);
    expect(validKeys(file, [ours.key])).toEqual([ours.key.keyId]);
  });

  test('are over the encoding that DSSE names, so that plain ECDSA tools verify them', () => {
    const { sig } = signed(ours);
    const encoded = Buffer.concat([Buffer.from(`DSSEv1 28 application/vnd.in-toto+json ${PAYLOAD.length} `), PAYLOAD]);
    expect(verify('sha256', encoded, ours.key.publicKey, sig)).toBe(true);
  });

  test('by a key on another curve, or by RSA, do not count', () => {
    const p384 = makePair('secp384r1');
    expect(validKeys(assembleEnvelope(PAYLOAD, [signed(p384)]), [p384.key])).toEqual([]);
    const { publicKey, privateKey } = generateKeyPairSync('rsa', { modulusLength: 3072 });
    const rsa: Pair = { privateKey, key: { publicKey, keyId: 'rsa' } };
    expect(validKeys(assembleEnvelope(PAYLOAD, [signed(rsa)]), [rsa.key])).toEqual([]);
  });

  test('with trailing bytes behind the DER do not count', () => {
    const { keyid, sig } = signed(ours);
    expect(validKeys(assembleEnvelope(PAYLOAD, [{ keyid, sig: Buffer.concat([sig, Buffer.of(0)]) }]), [ours.key])).toEqual([]);
  });
});

describe('an envelope key', () => {
  const pem = (pair: Pair): string => pair.key.publicKey.export({ type: 'spki', format: 'pem' }).toString();

  test('is read from PEM, with the sha256 of its DER as its id', () => {
    const der = ours.key.publicKey.export({ type: 'spki', format: 'der' });
    expect(parseEnvelopeKey(pem(ours))).toMatchObject({ ok: true, key: { keyId: createHash('sha256').update(der).digest('hex') } });
  });

  test('on another curve, private, certified or unreadable is refused', () => {
    const secret = ours.privateKey.export({ type: 'pkcs8', format: 'pem' }).toString();
    const ed25519 = generateKeyPairSync('ed25519').publicKey.export({ type: 'spki', format: 'pem' }).toString();
    const refused = [pem(makePair('secp384r1')), secret, ed25519, '', 'x', pem(ours).replace('M', '!'), ` ${pem(ours)}`];
    expect(refused.map((text) => parseEnvelopeKey(text).ok)).toEqual(refused.map(() => false));
  });
});

describe('a statement', () => {
  const digest = digestOfBytes('x');
  const subjects = [{ name: 'lock', digest }, { name: 'commit', gitCommit: 'a'.repeat(40) }];
  const statement = { subjects, predicateType: 'https://stella-gitops.dev/evidence/observation/v1', predicate: { seq: 0 } };

  test('is canonical JSON of in-toto v1 and reads back', () => {
    const bytes = statementBytes(statement);
    expect(Buffer.from(bytes).toString()).toBe(
      `{"_type":"${STATEMENT_TYPE}","predicate":{"seq":0},"predicateType":"${statement.predicateType}","subject":[` +
        `{"digest":{"sha256":"${digest.slice(7)}"},"name":"lock"},{"digest":{"gitCommit":"${'a'.repeat(40)}"},"name":"commit"}]}`,
    );
    expect(parseStatement(bytes)).toEqual({ ok: true, statement });
  });

  test.each([
    ['a git id beside the sha256', 'StatementMalformed', (t: string) => t.replace('"sha256"', `"gitCommit":"${'a'.repeat(40)}","sha256"`)],
    ['a sha1', 'StatementMalformed', (t: string) => t.replace('gitCommit', 'sha1')],
    ['an empty digest set', 'StatementMalformed', (t: string) => t.replace(/\{"sha256[^}]*/, '{')],
    ['a short digest', 'StatementMalformed', (t: string) => t.replace(/"sha256":"./, '"sha256":"')],
    ['no subject', 'StatementMalformed', (t: string) => t.replace(/\[.*\]/, '[]')],
    ['a subject without name', 'StatementMalformed', (t: string) => t.replace('"lock"', '""')],
    ['another type', 'StatementMalformed', (t: string) => t.replace('Statement/v1', 'Statement/v0.1')],
    ['no predicate', 'StatementMalformed', (t: string) => t.replace('{"seq":0}', 'null')],
    ['a list as predicate', 'StatementMalformed', (t: string) => t.replace('{"seq":0}', '[]')],
    ['no predicate type', 'StatementMalformed', (t: string) => t.replace(/"predicateType":"[^"]*"/, '"predicateType":""')],
    ['a float', 'StatementNotCanonical', (t: string) => t.replace('"seq":0', '"seq":0.5')],
    ['a number spelled differently', 'StatementNotCanonical', (t: string) => t.replace('"seq":0', '"seq":0e0')],
    ['a duplicate key', 'StatementNotCanonical', (t: string) => t.replace('"seq":0', '"seq":1,"seq":0')],
    ['another member', 'StatementNotCanonical', (t: string) => t.replace('{', '{"A":0,')],
    ['another member of a subject', 'StatementNotCanonical', (t: string) => t.replace('"name"', '"mediaType":"","name"')],
    ['a trailing newline', 'StatementNotCanonical', (t: string) => `${t}\n`],
    ['a lone surrogate', 'StatementNotCanonical', (t: string) => t.replace('"lock"', '"\\ud800"')],
    ['nesting beyond the stack', 'StatementNotCanonical', (t: string) => t.replace('"seq":0', `"seq":${'['.repeat(200_000)}${']'.repeat(200_000)}`)],
    ['a member named __proto__', 'StatementNotCanonical', (t: string) => t.replace('{', '{"__proto__":{},')],
  ])('with %s is refused', (_, refused, change) => {
    const bytes = statementBytes(statement);
    expect(codeOf(parseStatement(changed(bytes, change)))).toBe(refused);
    expect(codeOf(parseStatement(bytes))).toBe('ok');
  });
});
