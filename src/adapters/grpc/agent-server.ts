import { Server, ServerCredentials } from '@grpc/grpc-js';
import type { AgentHub } from '../../ports/agent-hub.ts';
import type { EnrolmentTokens } from '../../ports/enrolment-tokens.ts';
import { issueServerCertificate, lifetimes, type AgentAuthority } from '../pki/authority.ts';
import type { AgentCall } from './agent-stream.ts';
import { serveAgent } from './connect-handler.ts';
import { enrolmentHandlers } from './enrolment-handler.ts';
import { Hub } from './hub.ts';
import type { IdentityOf } from './peer.ts';
import { refusalStatus } from './refusal.ts';
import { agentChannelDefinition, channelOptions, enrolmentDefinition } from './wire.ts';

export type AgentServerOptions = {
  readonly authority: AgentAuthority;
  readonly tokens: EnrolmentTokens;
  readonly identityOf: IdentityOf;
  readonly trustBundle: () => Promise<Uint8Array>;
  readonly now: () => Date;
  /** DNS names and IP addresses by which agents reach this server. */
  readonly serverNames: readonly string[];
  /** Address to listen on; port 0 takes a free one. */
  readonly listen: { readonly host: string; readonly channelPort: number; readonly enrolmentPort: number };
  /** Lifetime of agents' certificates, one day by default. */
  readonly certificateSeconds?: number;
  /** How often a stream is pinged and its agent looked up again, 15,000 by default. */
  readonly pingMs?: number;
  /** A target's inventory as an agent sees it: JSON bytes from outside, not verified. */
  readonly onInventory?: (inventory: { agent: string; target: string; observed: Uint8Array }) => void;
};

export type AgentServer = {
  readonly hub: AgentHub;
  readonly channelPort: number;
  readonly enrolmentPort: number;
  /** Ends all streams; dispatches that still wait fail with HubClosed. */
  close(): Promise<void>;
};

/**
 * Starts both listeners: enrolment with server TLS only, and the agents' channel, where TLS itself turns away whoever has no certificate
 * of our authority.
 * @throws when a port cannot be bound.
 */
export async function startAgentServer(options: AgentServerOptions): Promise<AgentServer> {
  const { authority, identityOf, now } = options;
  const certificateSeconds = options.certificateSeconds ?? lifetimes.agentSeconds;
  const hub = new Hub(identityOf);
  const pair = await issueServerCertificate(authority, { names: options.serverNames, now: now() });
  const world = { hub, authority, identityOf, now, certificateSeconds, pingMs: options.pingMs ?? 15_000, onInventory: options.onInventory ?? (() => undefined) };
  const channel = new Server(channelOptions);
  channel.addService(agentChannelDefinition, {
    connect: (call: AgentCall) => {
      call.on('error', () => undefined); // a broken stream ends itself; the agent comes back
      serveAgent(call, world).catch(() => call.emit('error', refusalStatus('IdentityUnknown')));
    },
  });
  const enrolment = new Server({ ...channelOptions, 'grpc.max_receive_message_length': 256 * 1024 });
  let channelPort = 0;
  const enrolmentWorld = { authority, identityOf, now, certificateSeconds, tokens: options.tokens, trustBundle: options.trustBundle };
  enrolment.addService(enrolmentDefinition, enrolmentHandlers({ ...enrolmentWorld, channelPort: () => channelPort }));
  const servers = [channel, enrolment];
  try {
    channelPort = await bind(channel, options.listen.host, options.listen.channelPort, authority.certificatePem, pair);
    const enrolmentPort = await bind(enrolment, options.listen.host, options.listen.enrolmentPort, null, pair);
    return { hub, channelPort, enrolmentPort, close: () => close(hub, servers) };
  } catch (cause) {
    for (const server of servers) server.forceShutdown();
    throw cause;
  }
}

/** @param authorityPem whose certificates a client must show; null asks for none. */
function bind(
  server: Server,
  host: string,
  port: number,
  authorityPem: string | null,
  pair: { certificateChainPem: string; privateKeyPem: string },
): Promise<number> {
  const keyPair = { private_key: Buffer.from(pair.privateKeyPem), cert_chain: Buffer.from(pair.certificateChainPem) };
  const roots = authorityPem === null ? null : Buffer.from(authorityPem);
  const credentials = ServerCredentials.createSsl(roots, [keyPair], authorityPem !== null);
  const address = host.includes(':') ? `[${host}]:${port}` : `${host}:${port}`;
  return new Promise((resolve, reject) => {
    server.bindAsync(address, credentials, (cause, bound) => {
      if (cause === null) return resolve(bound);
      reject(new Error(`cannot listen for agents on ${address}: choose another address or port, or stop who holds it`, { cause }));
    });
  });
}

async function close(hub: Hub, servers: readonly Server[]): Promise<void> {
  hub.close();
  await Promise.all(
    servers.map(
      (server) =>
        new Promise<void>((resolve) => {
          const force = setTimeout(() => server.forceShutdown(), 2_000);
          server.tryShutdown(() => {
            clearTimeout(force);
            resolve();
          });
        }),
    ),
  );
}
