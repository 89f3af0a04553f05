import { X509Certificate } from 'node:crypto';
import type { AgentKeys } from '../../ports/agent-keys.ts';
import { agentUri, createCertificateRequest, pemOf } from './authority.ts';
import { newPrivateKeyPem, publicKeyDer } from './key-form.ts';

/** Keys and certificates for an agent's state folder. */
export const agentKeys: AgentKeys = { newPrivateKeyPem, publicKeyDer, createCertificateRequest, chainForIdentity };

function chainForIdentity(p: Parameters<AgentKeys['chainForIdentity']>[0]): ReturnType<AgentKeys['chainForIdentity']> {
  try {
    const authority = new X509Certificate(p.authorityPem);
    const leaf = new X509Certificate(p.chain[0] ?? new Uint8Array());
    const isOurs =
      leaf.subjectAltName === `URI:${agentUri(p.agent)}` &&
      leaf.publicKey.export({ type: 'spki', format: 'der' }).equals(publicKeyDer(p.privateKeyPem)) &&
      leaf.verify(authority.publicKey);
    return isOurs ? { certificateChainPem: `${pemOf(leaf.raw)}\n${pemOf(authority.raw)}\n`, notAfter: leaf.validToDate } : null;
  } catch {
    return null; // bytes that are no certificate
  }
}
