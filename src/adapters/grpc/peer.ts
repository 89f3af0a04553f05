import { X509Certificate } from 'node:crypto';
import type { AuthContext } from '@grpc/grpc-js/build/src/auth-context.js';
import type { RefusalCode } from './refusal.ts';

/** SPKI DER of the identity key in the Agent document in force, null when there is none or the agent is suspended (T12, T24). */
export type IdentityOf = (agent: string) => Promise<Uint8Array | null>;

export type Peer = { readonly agent: string; readonly publicKey: Uint8Array; readonly expiresAt: Date };
export type PeerOrRefusal = { readonly ok: true; readonly peer: Peer } | { readonly ok: false; readonly code: RefusalCode };

const AGENT_NAMES = /^URI:stella:agent\/([a-z0-9][a-z0-9._-]{0,62})$/;

/**
 * Who is at the other end, by the certificate that TLS has already checked against our authority. An authority's signature alone is not
 * enough: the document in force must still hold the certificate's key.
 */
export async function peerOf(context: AuthContext, identityOf: IdentityOf, now: Date): Promise<PeerOrRefusal> {
  const raw = context.sslPeerCertificate?.raw;
  if (context.transportSecurityType !== 'ssl' || raw === undefined) return { ok: false, code: 'CertificateMissing' };
  const certificate = new X509Certificate(raw);
  const agent = AGENT_NAMES.exec(certificate.subjectAltName ?? '')?.[1];
  if (agent === undefined) return { ok: false, code: 'CertificateNotForAgents' };
  const expiresAt = certificate.validToDate;
  if (expiresAt <= now) return { ok: false, code: 'CertificateExpired' };
  const publicKey = certificate.publicKey.export({ type: 'spki', format: 'der' });
  const refusal = await refusalInForce({ agent, publicKey }, identityOf);
  return refusal === null ? { ok: true, peer: { agent, publicKey, expiresAt } } : { ok: false, code: refusal };
}

/** Whether the documents in force still speak for this peer; asked at connect, at each ping and at each order. */
export async function refusalInForce(peer: Pick<Peer, 'agent' | 'publicKey'>, identityOf: IdentityOf): Promise<RefusalCode | null> {
  let identity: Uint8Array | null;
  try {
    identity = await identityOf(peer.agent);
  } catch {
    return 'IdentityUnknown'; // T12: what cannot be read means no
  }
  if (identity === null) return 'AgentNotInForce';
  return Buffer.from(identity).equals(peer.publicKey) ? null : 'IdentityKeyChanged';
}
