import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { beforeEach, expect, test } from 'vitest';
import { parseSshPublicKey } from '../../src/core/commit/ssh-key.ts';
import { verifySshSignature } from '../../src/core/commit/ssh-signature.ts';
import { requireVectors, vectorsFolder } from './vectors.ts';

beforeEach((ctx) => requireVectors('sshsig', ctx));

const read = (name: string): Promise<Buffer> => readFile(join(vectorsFolder, 'sshsig', name));

async function verifyVector(name: string): Promise<ReturnType<typeof verifySshSignature>> {
  const [armoured, message, namespace] = await Promise.all([read(`${name}.sig`), read('signed-data'), read('namespace')]);
  return verifySshSignature({ armoured: armoured.toString('latin1'), message, namespace: namespace.toString() });
}

test.each(['rsa', 'ecdsa', 'ed25519', 'ecdsa_sk', 'ed25519_sk'])('the OpenSSH signature %s verifies under its public key', async (name) => {
  const key = parseSshPublicKey((await read(`${name}.pub`)).toString());
  const outcome = await verifyVector(name);
  expect(key.ok).toBe(true);
  expect(outcome).toMatchObject({ ok: true, key: { fingerprint: key.ok ? key.key.fingerprint : '' } });
});

test.each([['ecdsa_sk_webauthn', 'AlgorithmUnsupported'], ['mldsa44-ed25519', 'KeyUnsupported']])(
  'the OpenSSH signature %s is refused as unsupported',
  async (name, code) => {
    expect(await verifyVector(name)).toMatchObject({ ok: false, code });
  },
);
