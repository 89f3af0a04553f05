import { createPublicKey } from 'node:crypto';
import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { expect, test } from 'vitest';
import { parseForeignEnvelope, preAuthEncoding, verifyEnvelope, type EnvelopeKey } from '../../src/core/evidence/dsse.ts';
import { requireVectors, vectorsFolder } from './vectors.ts';

type Vector = {
  readonly id: string;
  readonly envelope: unknown;
  readonly trustedKeys: readonly string[];
  readonly threshold: number;
  readonly supportedPayloadTypes: readonly string[];
  readonly pae: string;
  readonly expect: 'accept' | 'reject';
};
type Vectors = { readonly keys: Readonly<Record<string, { readonly public: string }>>; readonly vectors: readonly Vector[] };

test('every public DSSE vector is accepted or rejected as it says', async (ctx) => {
  requireVectors('dsse', ctx);
  const { keys, vectors } = JSON.parse(await readFile(join(vectorsFolder, 'dsse/vectors.json'), 'utf8')) as Vectors;
  expect(vectors.map((vector) => [vector.id, judge(vector, keys)])).toEqual(vectors.map((vector) => [vector.id, vector.expect]));
  expect(vectors.length).toBeGreaterThan(0);
});

test('the pre-authentication encoding is that of the accepted public vectors, byte for byte', async (ctx) => {
  requireVectors('dsse', ctx);
  const { vectors } = JSON.parse(await readFile(join(vectorsFolder, 'dsse/vectors.json'), 'utf8')) as Vectors;
  const accepted = vectors.filter((vector) => vector.expect === 'accept');
  expect(accepted.map((vector) => [vector.id, encodingOf(vector)])).toEqual(accepted.map((vector) => [vector.id, vector.pae]));
});

function judge(vector: Vector, keys: Vectors['keys']): 'accept' | 'reject' {
  const outcome = parseForeignEnvelope(Buffer.from(JSON.stringify(vector.envelope)));
  if (!outcome.ok || !vector.supportedPayloadTypes.includes(outcome.envelope.payloadType)) return 'reject';
  const valid = verifyEnvelope(outcome.envelope, vector.trustedKeys.map((name) => keyOf(name, keys[name]?.public ?? '')));
  return valid.length >= vector.threshold ? 'accept' : 'reject';
}

function encodingOf(vector: Vector): string {
  const outcome = parseForeignEnvelope(Buffer.from(JSON.stringify(vector.envelope)));
  if (!outcome.ok) return outcome.code;
  return Buffer.from(preAuthEncoding(outcome.envelope.payloadType, outcome.envelope.payload)).toString('hex');
}

function keyOf(keyId: string, hex: string): EnvelopeKey {
  const x = Buffer.from(hex, 'hex').toString('base64url');
  return { keyId, publicKey: createPublicKey({ key: { kty: 'OKP', crv: 'Ed25519', x }, format: 'jwk' }) };
}
