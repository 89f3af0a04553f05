import { create, type Message } from '@bufbuild/protobuf';
import { Client, credentials, type ServiceError } from '@grpc/grpc-js';
import { isIP } from 'node:net';
import { connect, type DetailedPeerCertificate, type TLSSocket } from 'node:tls';
import {
  EnrolRequestSchema,
  IntroduceRequestSchema,
  type EnrolResponse,
  type IntroduceResponse,
} from '../../generated/proto/stella/agent/v1/agent_pb.ts';
import { agentKeys } from '../pki/agent-keys.ts';
import { createCertificateRequest, pemOf } from '../pki/authority.ts';
import { authorityOfToken, certificateSha256 } from '../pki/enrolment-token.ts';
import { refusalCodeOf, type RefusalCode } from './refusal.ts';
import { splitAddress, tlsTo } from './server-address.ts';
import { channelOptions, enrolmentMethods } from './wire.ts';

export type EnrolOptions = {
  /** `host:port` of the server's enrolment listener. */
  readonly address: string;
  readonly token: string;
  /** The agent's own name; the certificate must carry it. */
  readonly agent: string;
  /** Identity key, PKCS #8 PEM. */
  readonly privateKeyPem: string;
  /**
   * Whether the root chain, proven from the pinned genesis with the help of `trustBundle`, lists the authority's key with role `agent-ca`.
   */
  readonly checkAuthority: (certificateDer: Uint8Array, trustBundle: Uint8Array) => Promise<'ok' | 'refused'>;
  readonly timeoutMs?: number;
};

export type EnrolRefusal = 'TokenMalformed' | 'AuthorityMismatch' | 'AuthorityRefused' | 'CertificateMismatch' | RefusalCode;
export type Enrolled = {
  readonly ok: true;
  /** PEM, leaf first, authority last. */
  readonly certificateChainPem: string;
  /** PEM: the only root by which this agent trusts its server from now on. */
  readonly authorityPem: string;
  readonly notAfter: Date;
  readonly channelPort: number;
};

/** The connection failed before anybody could refuse anything. */
export class EnrolConnectionError extends Error {
  readonly code = 'EnrolmentUnreachable';
  readonly disposition = 'retry';
}

/**
 * Exchanges a one-time token for the first certificate. The token and the request leave this machine only after the server has shown the
 * authority that the token names, TLS has verified the server against it alone, and the root chain lists its key (TRUST "What an agent proves").
 * @throws EnrolConnectionError when the server cannot be reached or its TLS does not verify.
 */
export async function enrolAgent(options: EnrolOptions): Promise<Enrolled | { readonly ok: false; readonly code: EnrolRefusal }> {
  const expected = authorityOfToken(options.token);
  if (expected === null) return { ok: false, code: 'TokenMalformed' };
  const timeoutMs = options.timeoutMs ?? 15_000;
  const authority = await shownAuthority(options.address, timeoutMs);
  // The attacker: whoever answers at this address with a certificate of their own.
  if (certificateSha256(authority) !== expected) return { ok: false, code: 'AuthorityMismatch' };
  const { verify, channel } = tlsTo(options.address);
  const client = new Client(options.address, credentials.createSsl(Buffer.from(pemOf(authority)), null, null, verify), { ...channelOptions, ...channel });
  try {
    const introduced = await call<IntroduceResponse>(client, 'introduce', create(IntroduceRequestSchema, {}), timeoutMs);
    if (!Buffer.from(introduced.authorityCertificate).equals(authority)) return { ok: false, code: 'AuthorityMismatch' };
    if ((await options.checkAuthority(authority, introduced.trustBundle)) !== 'ok') return { ok: false, code: 'AuthorityRefused' };
    const certificateRequest = await createCertificateRequest(options);
    const request = create(EnrolRequestSchema, { token: options.token, certificateRequest });
    return enrolledFrom(await call<EnrolResponse>(client, 'enrol', request, timeoutMs), authority, options);
  } catch (error) {
    const code = refusalCodeOf(error as ServiceError);
    if (code !== null) return { ok: false, code };
    throw unreachable(options.address, error);
  } finally {
    client.close();
  }
}

function enrolledFrom(response: EnrolResponse, authority: Uint8Array, options: EnrolOptions): Enrolled | { readonly ok: false; readonly code: 'CertificateMismatch' } {
  const { agent, privateKeyPem } = options;
  const authorityPem = pemOf(authority);
  const chain = agentKeys.chainForIdentity({ chain: response.certificateChain, agent, privateKeyPem, authorityPem });
  if (chain === null) return { ok: false, code: 'CertificateMismatch' };
  return { ok: true, ...chain, authorityPem, channelPort: response.channelPort };
}

function unreachable(address: string, cause: unknown): EnrolConnectionError {
  return new EnrolConnectionError(`cannot enrol at ${address}: check address and port of the server's enrolment listener, and that its names hold this host`, { cause });
}

/** The certificate at the end of the chain that a server shows, DER. Nothing is trusted yet: the caller compares its digest. */
async function shownAuthority(address: string, timeoutMs: number): Promise<Uint8Array> {
  const { host, port } = splitAddress(address);
  const name = isIP(host) === 0 ? { servername: host } : {};
  const socket = connect({ host, port, ALPNProtocols: ['h2'], rejectUnauthorized: false, ...name });
  try {
    return await new Promise<Uint8Array>((resolve, reject) => {
      socket.setTimeout(timeoutMs, () => reject(new Error(`no TLS handshake within ${timeoutMs} ms`)));
      socket.once('error', reject);
      socket.once('secureConnect', () => resolve(lastOfChain(socket)));
    });
  } catch (cause) {
    throw unreachable(address, cause);
  } finally {
    socket.destroy();
  }
}

function lastOfChain(socket: TLSSocket): Uint8Array {
  let certificate: DetailedPeerCertificate | undefined = socket.getPeerCertificate(true);
  for (let depth = 0; depth < 5; depth++) {
    const issuer: DetailedPeerCertificate | undefined = certificate.issuerCertificate;
    if (issuer === undefined || issuer === certificate || issuer.raw.equals(certificate.raw)) break;
    certificate = issuer;
  }
  return certificate.raw;
}

function call<T>(client: Client, method: 'introduce' | 'enrol', request: Message, timeoutMs: number): Promise<T> {
  const definition = enrolmentMethods[method];
  return new Promise((resolve, reject) => {
    client.makeUnaryRequest(
      definition.path,
      definition.requestSerialize,
      definition.responseDeserialize,
      request,
      { deadline: Date.now() + timeoutMs },
      (error, response) => (error === null ? resolve(response as unknown as T) : reject(error)),
    );
  });
}
