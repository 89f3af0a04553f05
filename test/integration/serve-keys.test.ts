import { createPublicKey, generateKeyPairSync, verify } from 'node:crypto';
import { readFile, rm } from 'node:fs/promises';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { openCommitSigner } from '../../src/adapters/keys/commit-key.ts';
import { openRecordSigner } from '../../src/adapters/keys/record-key.ts';
import { parseSshPublicKey } from '../../src/core/commit/ssh-key.ts';
import { verifySshSignature } from '../../src/core/commit/ssh-signature.ts';
import { keyIdOf } from '../../src/core/order/receipt.ts';
import { createSshKey, createTemporaryFolder, runProgram, writeAllowedSigners } from '../fakes/git-repository.ts';

const environment = { PATH: process.env['PATH'] };
const message = Buffer.from('tree 1\n\nRecord 0\n');
let folder: string;

beforeAll(async () => {
  folder = await createTemporaryFolder();
});
afterAll(() => rm(folder, { recursive: true, force: true }));

test('an ed25519 key signs commits in this process, and ssh-keygen accepts what it makes', async () => {
  const key = await createSshKey(folder, 'ed');
  const sign = openCommitSigner({ text: await readFile(key.privateKeyPath, 'utf8'), file: null, where: 'the key', environment: {} });
  const armoured = await sign(message);
  expect(verifySshSignature({ armoured, message, namespace: 'git' })).toMatchObject({ ok: true });
  const signers = await writeAllowedSigners(`${folder}/signers`, [key]);
  await runProgram('sh', ['-c', `cat > "${folder}/sig"`], { input: armoured });
  const said = await runProgram('ssh-keygen', ['-Y', 'verify', '-f', signers, '-I', 'ed@example.test', '-n', 'git', '-s', `${folder}/sig`], { input: message });
  expect(said.toString()).toContain('Good "git" signature');
});

test('the signature carries the key that the root lists', async () => {
  const key = await createSshKey(folder, 'listed');
  const sign = openCommitSigner({ text: await readFile(key.privateKeyPath, 'utf8'), file: null, where: 'the key', environment: {} });
  const listed = parseSshPublicKey(key.publicKey);
  const verified = verifySshSignature({ armoured: await sign(message), message, namespace: 'git' });
  expect(verified.ok && listed.ok && verified.key.fingerprint === listed.key.fingerprint).toBe(true);
});

test('a key of another kind signs through ssh-keygen from its file', async () => {
  const key = await createSshKey(folder, 'ec', 'ecdsa');
  const sign = openCommitSigner({ text: await readFile(key.privateKeyPath, 'utf8'), file: key.privateKeyPath, where: 'the key', environment });
  expect(verifySshSignature({ armoured: await sign(message), message, namespace: 'git' })).toMatchObject({ ok: true, key: { type: 'ecdsa-sha2-nistp256' } });
});

test('a key of another kind that is not in a file is refused when the server starts', async () => {
  const key = await createSshKey(folder, 'ec2', 'ecdsa');
  const text = await readFile(key.privateKeyPath, 'utf8');
  expect(() => openCommitSigner({ text, file: null, where: 'env:KEY', environment })).toThrow(expect.objectContaining({ code: 'KeyUnsupported' }));
});

test('an encrypted key that is not in a file is refused when the server starts', async () => {
  await runProgram('ssh-keygen', ['-q', '-t', 'ed25519', '-N', 'open sesame', '-f', `${folder}/locked`]);
  const text = await readFile(`${folder}/locked`, 'utf8');
  expect(() => openCommitSigner({ text, file: null, where: 'env:KEY', environment })).toThrow(expect.objectContaining({ code: 'KeyEncrypted' }));
});

test('a damaged key is refused, and nothing of it is in the message', async () => {
  const key = await createSshKey(folder, 'hurt');
  const text = await readFile(key.privateKeyPath, 'utf8');
  const lines = text.split('\n');
  const hurt = [...lines.slice(0, 3), ...lines.slice(4)].join('\n');
  for (const bad of [hurt, 'nonsense', '']) {
    expect(() => openCommitSigner({ text: bad, file: null, where: 'env:KEY', environment })).toThrow(expect.objectContaining({ code: 'KeyUnreadable' }));
  }
});

test('a decisions key signs what its public half verifies, under the digest of that half', () => {
  const { privateKey, publicKey } = generateKeyPairSync('ec', { namedCurve: 'P-256' });
  const signer = openRecordSigner(privateKey.export({ type: 'pkcs8', format: 'pem' }).toString(), 'the key');
  expect(verify('sha256', message, { key: publicKey, dsaEncoding: 'der' }, signer.sign(message))).toBe(true);
  expect(signer.keyId).toBe(keyIdOf(createPublicKey(publicKey.export({ type: 'spki', format: 'pem' })).export({ type: 'spki', format: 'der' })));
});

test('a decisions key of another kind is refused', () => {
  const other = generateKeyPairSync('ed25519').privateKey.export({ type: 'pkcs8', format: 'pem' }).toString();
  expect(() => openRecordSigner(other, 'the key')).toThrow(expect.objectContaining({ code: 'KeyUnsupported' }));
  expect(() => openRecordSigner('-----BEGIN PRIVATE KEY-----\nc2VjcmV0\n-----END PRIVATE KEY-----\n', 'the key')).toThrow(expect.objectContaining({ code: 'KeyUnreadable' }));
});
