import { execFileSync } from 'node:child_process';
import { X509Certificate } from 'node:crypto';
import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { afterEach, describe, expect, it } from 'vitest';
import { createCertificateRequest, issueAgentCertificate, pemOf } from '../../src/adapters/pki/authority.ts';
import { newEnrolmentToken } from '../../src/adapters/pki/enrolment-token.ts';
import { newPrivateKeyPem, publicKeyDer } from '../../src/adapters/pki/key-form.ts';
import { enrol, newAgent, newAuthority, Scratch, startServer } from './agent-fixture.ts';

const scratch = new Scratch();
afterEach(() => scratch.clean());

describe('enrolment', () => {
  it('gives a certificate for the identity key of the Agent document, which openssl verifies', async () => {
    const server = await startServer(scratch);
    const { identity, folder } = await newAgent(scratch, server, 'anna');
    const enrolled = await enrol(server, identity, await server.issueToken('anna'));
    if (!enrolled.ok) expect.unreachable(enrolled.code);
    const leaf = new X509Certificate(enrolled.certificateChainPem);
    expect(leaf.publicKey.export({ type: 'spki', format: 'der' })).toEqual(identity.publicKeyDer);
    expect(leaf.subjectAltName).toBe('URI:stella:agent/anna');
    expect(enrolled.channelPort).toBe(server.channelPort);
    await writeFile(join(folder, 'ca.pem'), enrolled.authorityPem);
    await writeFile(join(folder, 'leaf.pem'), enrolled.certificateChainPem);
    const verdict = execFileSync('openssl', ['verify', '-x509_strict', '-purpose', 'sslclient', '-CAfile', join(folder, 'ca.pem'), join(folder, 'leaf.pem')]);
    expect(verdict.toString()).toContain('OK');
  });

  it('at an IP address verifies that address, without a warning', async () => {
    const warnings: string[] = [];
    const note = (warning: Error & { readonly code?: string }): void => void warnings.push(warning.code ?? warning.name);
    process.on('warning', note);
    scratch.later(() => process.off('warning', note));
    const server = await startServer(scratch, { serverNames: ['127.0.0.1'] });
    const { identity } = await newAgent(scratch, server, 'anna');
    expect(await enrol(server, identity, await server.issueToken('anna'))).toMatchObject({ ok: true });
    const elsewhere = await startServer(scratch, { serverNames: ['localhost', '127.0.0.2'] });
    elsewhere.inForce.set('anna', identity.publicKeyDer);
    await expect(enrol(elsewhere, identity, await elsewhere.issueToken('anna'))).rejects.toMatchObject({ code: 'EnrolmentUnreachable' });
    expect(warnings.filter((code) => code === 'DEP0123')).toEqual([]);
  });

  it('spends a token once', async () => {
    const server = await startServer(scratch);
    const { identity } = await newAgent(scratch, server, 'anna');
    const token = await server.issueToken('anna');
    expect(await enrol(server, identity, token)).toMatchObject({ ok: true });
    expect(await enrol(server, identity, token)).toEqual({ ok: false, code: 'TokenRefused' });
  });

  it('gives one of many simultaneous callers a certificate', async () => {
    const server = await startServer(scratch);
    const { identity } = await newAgent(scratch, server, 'anna');
    const token = await server.issueToken('anna');
    const answers = await Promise.all([1, 2, 3, 4].map(() => enrol(server, identity, token)));
    expect(answers.filter((answer) => answer.ok)).toHaveLength(1);
  });

  it('refuses an expired token and one that was never issued', async () => {
    const server = await startServer(scratch);
    const { identity } = await newAgent(scratch, server, 'anna');
    const expired = await server.issueToken('anna', new Date(Date.now() - 1));
    expect(await enrol(server, identity, expired)).toEqual({ ok: false, code: 'TokenRefused' });
    expect(await enrol(server, identity, newEnrolmentToken(server.authority.certificateDer))).toEqual({ ok: false, code: 'TokenRefused' });
    expect(await enrol(server, identity, 'stella-enrol-v1.short.abc')).toEqual({ ok: false, code: 'TokenMalformed' });
  });

  it('shows neither token nor request to a server whose authority is not the one in the token', async () => {
    const server = await startServer(scratch);
    const impostor = await startServer(scratch);
    const { identity } = await newAgent(scratch, server, 'anna');
    const token = await server.issueToken('anna');
    const asked: string[] = [];
    const checkAuthority = async () => (asked.push('asked'), 'ok' as const);
    const answer = await enrol(impostor, identity, token, { checkAuthority });
    expect(answer).toEqual({ ok: false, code: 'AuthorityMismatch' });
    expect(asked).toEqual([]);
  });

  it('keeps the token unspent when the root chain does not list the authority', async () => {
    const server = await startServer(scratch);
    const { identity } = await newAgent(scratch, server, 'anna');
    const token = await server.issueToken('anna');
    const shown: string[] = [];
    const refuse = async (certificate: Uint8Array, bundle: Uint8Array) => {
      shown.push(Buffer.from(bundle).toString());
      expect(Buffer.from(certificate).equals(server.authority.certificateDer)).toBe(true);
      return 'refused' as const;
    };
    expect(await enrol(server, identity, token, { checkAuthority: refuse })).toEqual({ ok: false, code: 'AuthorityRefused' });
    expect(shown).toEqual(['the root chain']);
    expect(await enrol(server, identity, token)).toMatchObject({ ok: true });
  });

  it('certifies no key but the one in the Agent document in force', async () => {
    const server = await startServer(scratch);
    const { identity } = await newAgent(scratch, server, 'anna');
    const thief = { ...identity, privateKeyPem: newPrivateKeyPem() };
    expect(await enrol(server, thief, await server.issueToken('anna'))).toEqual({ ok: false, code: 'RequestRefused' });
    server.inForce.delete('anna');
    expect(await enrol(server, identity, await server.issueToken('anna'))).toEqual({ ok: false, code: 'AgentNotInForce' });
  });

  it('drops a certificate that is for another agent than the one that asked', async () => {
    const server = await startServer(scratch);
    const { identity } = await newAgent(scratch, server, 'anna');
    server.inForce.set('berta', identity.publicKeyDer);
    expect(await enrol(server, identity, await server.issueToken('berta'))).toEqual({ ok: false, code: 'CertificateMismatch' });
  });

  it('reports an address where nobody listens as unreachable', async () => {
    const server = await startServer(scratch);
    const { identity } = await newAgent(scratch, server, 'anna');
    const token = await server.issueToken('anna');
    await server.close();
    await expect(enrol(server, identity, token)).rejects.toMatchObject({ code: 'EnrolmentUnreachable' });
  });
});

describe('the authority', () => {
  const now = new Date('2026-01-01T00:00:00Z');

  it('refuses a request whose signature does not prove the key, and accepts its intact twin', async () => {
    const authority = await newAuthority();
    const privateKeyPem = newPrivateKeyPem();
    const identityKey = publicKeyDer(privateKeyPem);
    const request = await createCertificateRequest({ privateKeyPem, agent: 'anna' });
    const forged = Uint8Array.from(request);
    const name = Buffer.from(request).indexOf('anna');
    forged[name] = 'o'.charCodeAt(0); // the signature no longer covers the request
    expect(await issueAgentCertificate(authority, { agent: 'anna', request: forged, identityKey, now })).toEqual({ ok: false, code: 'RequestSignatureInvalid' });
    expect(await issueAgentCertificate(authority, { agent: 'anna', request, identityKey, now })).toMatchObject({ ok: true });
  });

  it('refuses what is not a request, or too large, or for a name that is none', async () => {
    const authority = await newAuthority();
    const privateKeyPem = newPrivateKeyPem();
    const identityKey = publicKeyDer(privateKeyPem);
    const request = await createCertificateRequest({ privateKeyPem, agent: 'anna' });
    const issue = (agent: string, bytes: Uint8Array) => issueAgentCertificate(authority, { agent, request: bytes, identityKey, now });
    expect(await issue('anna', Buffer.from('junk'))).toEqual({ ok: false, code: 'RequestMalformed' });
    expect(await issue('anna', new Uint8Array(64 * 1024))).toEqual({ ok: false, code: 'RequestMalformed' });
    expect(await issue('anna/../root', request)).toEqual({ ok: false, code: 'AgentNameInvalid' });
  });

  it('ends certificates after a day and never after itself', async () => {
    const authority = await newAuthority();
    const privateKeyPem = newPrivateKeyPem();
    const request = await createCertificateRequest({ privateKeyPem, agent: 'anna' });
    const p = { agent: 'anna', request, identityKey: publicKeyDer(privateKeyPem), now };
    const day = await issueAgentCertificate(authority, p);
    const century = await issueAgentCertificate(authority, { ...p, validSeconds: 100 * 365 * 86_400 });
    if (!day.ok || !century.ok) expect.unreachable();
    expect(day.notAfter).toEqual(new Date('2026-01-02T00:00:00Z'));
    expect(century.notAfter).toEqual(authority.notAfter);
    expect(pemOf(day.chain[1] ?? new Uint8Array())).toBe(authority.certificatePem.trim());
  });
});
