import 'reflect-metadata'; // the certificate library's container asks for it and must find it loaded
import * as x509 from '@peculiar/x509';
import { randomBytes, webcrypto, X509Certificate } from 'node:crypto';
import { limits } from '../../core/model/limits.ts';
import { isSegment } from '../../core/model/names.ts';
import { newPrivateKeyPem, P256, publicKeyDer, webCryptoPair } from './key-form.ts';

/** The agents' certificate authority: its key stands in the trust root with role `agent-ca` (T29). */
export type AgentAuthority = {
  readonly keys: webcrypto.CryptoKeyPair;
  readonly certificate: x509.X509Certificate;
  readonly certificateDer: Uint8Array;
  readonly certificatePem: string;
  readonly notAfter: Date;
};

export type IssueRefusal = 'RequestMalformed' | 'RequestSignatureInvalid' | 'RequestKeyMismatch' | 'AgentNameInvalid';
/** DER, leaf first, authority last. */
export type IssuedCertificate =
  | { readonly ok: true; readonly chain: readonly Uint8Array[]; readonly notAfter: Date }
  | { readonly ok: false; readonly code: IssueRefusal };

/** Lifetimes in seconds. */
export const lifetimes = { authoritySeconds: 10 * 365 * 86_400, agentSeconds: 86_400 } as const;

const crypto = webcrypto;
const clientAuth = '1.3.6.1.5.5.7.3.2';
const serverAuth = '1.3.6.1.5.5.7.3.1';

const serial = (): string => `5a${randomBytes(15).toString('hex')}`; // leading bit clear: a positive INTEGER
/** Certificates begin in the past by the skew that clocks are allowed (T32). */
const begin = (now: Date): Date => new Date(now.getTime() - limits.clockSkewSeconds * 1000);
const after = (now: Date, seconds: number): Date => new Date(now.getTime() + seconds * 1000);
const earlier = (a: Date, b: Date): Date => (a < b ? a : b);

/** The URI in the certificate of an agent: `stella:agent/<name>`. */
export function agentUri(agent: string): string {
  return `stella:agent/${agent}`;
}

/**
 * Self-signs a certificate for the authority's key. Enrolment tokens and agents pin the certificate's sha256, so make it once and keep it.
 * @param p.privateKeyPem PKCS #8, P-256.
 * @returns the certificate in PEM.
 */
export async function certifyAuthority(p: {
  privateKeyPem: string;
  name: string;
  now: Date;
  validSeconds?: number;
}): Promise<string> {
  const keys = await webCryptoPair(p.privateKeyPem);
  const certificate = await x509.X509CertificateGenerator.createSelfSigned(
    {
      serialNumber: serial(),
      name: [{ CN: [p.name] }],
      notBefore: begin(p.now),
      notAfter: after(p.now, p.validSeconds ?? lifetimes.authoritySeconds),
      signingAlgorithm: P256,
      keys: keys,
      extensions: [
        new x509.BasicConstraintsExtension(true, 0, true),
        new x509.KeyUsagesExtension(x509.KeyUsageFlags.keyCertSign | x509.KeyUsageFlags.cRLSign, true),
        await x509.SubjectKeyIdentifierExtension.create(keys.publicKey, false, crypto),
      ],
    },
    crypto,
  );
  return certificate.toString('pem');
}

/**
 * Makes the authority of its key and its certificate.
 * @throws RangeError when the key is not P-256 or the certificate is for another key.
 */
export async function openAuthority(p: { privateKeyPem: string; certificatePem: string }): Promise<AgentAuthority> {
  const certificate = new x509.X509Certificate(p.certificatePem);
  const certificateDer = new Uint8Array(certificate.rawData);
  const spki = new Uint8Array(certificate.publicKey.rawData);
  if (!Buffer.from(spki).equals(publicKeyDer(p.privateKeyPem))) {
    throw new RangeError("the certificate of the agents' authority is for another key: put the certificate beside the key that it was made with");
  }
  const keys = await webCryptoPair(p.privateKeyPem);
  return { keys, certificate, certificateDer, certificatePem: certificate.toString('pem'), notAfter: certificate.notAfter };
}

/**
 * Certifies an agent's identity key for a short time. Names in the request are ignored; only the key and the proof that the
 * sender holds it count.
 * @param p.request PKCS #10, DER, from outside.
 * @param p.identityKey SPKI DER of the key in the Agent document in force: the request must carry exactly this key.
 */
export async function issueAgentCertificate(
  authority: AgentAuthority,
  p: { agent: string; request: Uint8Array; identityKey: Uint8Array; now: Date; validSeconds?: number },
): Promise<IssuedCertificate> {
  if (!isSegment(p.agent)) return { ok: false, code: 'AgentNameInvalid' };
  const request = parseRequest(p.request);
  if (request === null) return { ok: false, code: 'RequestMalformed' };
  // TRUST "What an agent proves": the short-lived certificate must carry the key of the Agent document.
  if (!Buffer.from(request.publicKey.rawData).equals(p.identityKey)) return { ok: false, code: 'RequestKeyMismatch' };
  // Proof of possession: without it a thief of the document could have the key certified to a stream of their own.
  const holdsKey = await request.verify(crypto).catch(() => false);
  if (!holdsKey) return { ok: false, code: 'RequestSignatureInvalid' };
  const notAfter = earlier(after(p.now, p.validSeconds ?? lifetimes.agentSeconds), authority.notAfter);
  const leaf = await sign(authority, {
    commonName: p.agent,
    publicKey: request.publicKey,
    notBefore: begin(p.now),
    notAfter,
    usage: clientAuth,
    names: [{ type: 'url', value: agentUri(p.agent) }],
  });
  return { ok: true, chain: [leaf, authority.certificateDer], notAfter };
}

/**
 * A new key and a certificate for the server's endpoint, valid as long as the authority: the key lives in memory only and is made anew at
 * each start.
 * @param p.names DNS names and IP addresses by which agents reach the server.
 * @returns PEM; the chain holds the authority as well, because an agent that enrols must see it.
 */
export async function issueServerCertificate(
  authority: AgentAuthority,
  p: { names: readonly string[]; now: Date },
): Promise<{ certificateChainPem: string; privateKeyPem: string }> {
  const privateKeyPem = newPrivateKeyPem();
  const leaf = await sign(authority, {
    commonName: p.names[0] ?? 'stella',
    publicKey: new x509.PublicKey(publicKeyDer(privateKeyPem) as Uint8Array<ArrayBuffer>),
    notBefore: begin(p.now),
    notAfter: authority.notAfter,
    usage: serverAuth,
    names: p.names.map((value) => ({ type: isAddress(value) ? ('ip' as const) : ('dns' as const), value })),
  });
  return { certificateChainPem: `${pemOf(leaf)}\n${authority.certificatePem}\n`, privateKeyPem };
}

/** A request for a certificate of the identity key, PKCS #10 DER, signed with that key. */
export async function createCertificateRequest(p: { privateKeyPem: string; agent: string }): Promise<Uint8Array> {
  const keys = await webCryptoPair(p.privateKeyPem);
  const request = await x509.Pkcs10CertificateRequestGenerator.create(
    { name: [{ CN: [p.agent] }], keys, signingAlgorithm: P256 },
    crypto,
  );
  return new Uint8Array(request.rawData);
}

/** PEM of one certificate in DER. */
export function pemOf(der: Uint8Array): string {
  return new X509Certificate(der).toString().trim();
}

const isAddress = (name: string): boolean => /^\d+\.\d+\.\d+\.\d+$/.test(name) || name.includes(':');

function parseRequest(der: Uint8Array): x509.Pkcs10CertificateRequest | null {
  if (der.length === 0 || der.length > limits.certificateRequestBytes) return null;
  try {
    return new x509.Pkcs10CertificateRequest(Uint8Array.from(der));
  } catch {
    return null;
  }
}

type LeafRequest = {
  readonly commonName: string;
  readonly publicKey: x509.PublicKey;
  readonly notBefore: Date;
  readonly notAfter: Date;
  readonly usage: string;
  readonly names: readonly { readonly type: 'url' | 'dns' | 'ip'; readonly value: string }[];
};

async function sign(authority: AgentAuthority, leaf: LeafRequest): Promise<Uint8Array> {
  const certificate = await x509.X509CertificateGenerator.create(
    {
      serialNumber: serial(),
      subject: [{ CN: [leaf.commonName] }],
      issuer: authority.certificate.subjectName.toJSON(),
      notBefore: leaf.notBefore,
      notAfter: leaf.notAfter,
      signingAlgorithm: P256,
      publicKey: leaf.publicKey,
      signingKey: authority.keys.privateKey,
      extensions: [
        new x509.BasicConstraintsExtension(false, undefined, true),
        new x509.KeyUsagesExtension(x509.KeyUsageFlags.digitalSignature, true),
        new x509.ExtendedKeyUsageExtension([leaf.usage]),
        new x509.SubjectAlternativeNameExtension(leaf.names.map(({ type, value }) => ({ type, value }))),
        await x509.AuthorityKeyIdentifierExtension.create(authority.keys.publicKey, false, crypto),
        await x509.SubjectKeyIdentifierExtension.create(leaf.publicKey, false, crypto),
      ],
    },
    crypto,
  );
  return new Uint8Array(certificate.rawData);
}
