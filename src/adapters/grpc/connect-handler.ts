import { limits } from '../../core/model/limits.ts';
import type { AgentMessage, Hello, RenewalRequest } from '../../generated/proto/stella/agent/v1/agent_pb.ts';
import { issueAgentCertificate, type AgentAuthority } from '../pki/authority.ts';
import { AgentStream, type AgentCall } from './agent-stream.ts';
import type { Hub } from './hub.ts';
import { peerOf, refusalInForce, type IdentityOf } from './peer.ts';
import { refusalStatus, type RefusalCode } from './refusal.ts';

export type ConnectWorld = {
  readonly hub: Hub;
  readonly authority: AgentAuthority;
  readonly identityOf: IdentityOf;
  readonly now: () => Date;
  readonly certificateSeconds: number;
  readonly pingMs: number;
  readonly onInventory: (inventory: { agent: string; target: string; observed: Uint8Array }) => void;
};

/** The longest delay that a timer takes. */
const MAX_DELAY_MS = 2 ** 31 - 1;

/** Serves one AgentChannel.Connect call from the first byte to the last. */
export async function serveAgent(call: AgentCall, world: ConnectWorld): Promise<void> {
  const refuse = (code: RefusalCode): boolean => call.emit('error', refusalStatus(code));
  const admitted = await peerOf(call.getAuthContext(), world.identityOf, world.now());
  if (!admitted.ok) return void refuse(admitted.code);
  const hello = await firstHello(call);
  if (hello === null) return void refuse('HelloMissing');
  if (hello.agent !== admitted.peer.agent) return void refuse('AgentNameMismatch');
  if (call.cancelled) return;
  const stream = new AgentStream(call, admitted.peer, hello, world.now());
  const stopWatching = watch(stream, world);
  for (const event of ['close', 'end', 'cancelled', 'error'] as const) {
    call.once(event, () => {
      stopWatching();
      world.hub.detach(stream);
    });
  }
  call.once('end', () => call.end());
  world.hub.attach(stream);
  call.on('data', (message: AgentMessage) => receive(stream, message, world));
  call.resume();
}

function firstHello(call: AgentCall): Promise<Hello | null> {
  return new Promise((resolve) => {
    const finish = (hello: Hello | null): void => {
      clearTimeout(patience);
      call.off('data', first);
      resolve(hello);
    };
    const first = (message: AgentMessage): void => {
      call.pause(); // what follows is read once the stream is attached
      finish(message.message.case === 'hello' ? message.message.value : null);
    };
    const patience = setTimeout(() => finish(null), limits.helloTimeoutMs);
    call.on('data', first);
    for (const event of ['end', 'cancelled', 'error', 'close']) call.once(event, () => finish(null));
  });
}

/** Ends the stream with its certificate, and as soon as the documents in force no longer speak for the agent. */
function watch(stream: AgentStream, world: ConnectWorld): () => void {
  let number = 0n;
  const ping = setInterval(() => {
    void refusalInForce(stream.peer, world.identityOf).then((refusal) => {
      if (refusal !== null) return stream.end(refusal);
      stream.send({ case: 'ping', value: { number: ++number } });
    });
  }, world.pingMs);
  const lifeMs = Math.min(stream.peer.expiresAt.getTime() - world.now().getTime(), MAX_DELAY_MS);
  const expiry = setTimeout(() => stream.end('CertificateExpired'), lifeMs);
  return () => {
    clearInterval(ping);
    clearTimeout(expiry);
  };
}

function receive(stream: AgentStream, { message }: AgentMessage, world: ConnectWorld): void {
  const { agent } = stream.peer;
  switch (message.case) {
    case 'receipt':
      return world.hub.receipt(agent, message.value);
    case 'progress':
      return world.hub.progress(agent, message.value);
    case 'inventory':
      return world.onInventory({ agent, target: message.value.target, observed: message.value.observed });
    case 'renewalRequest':
      return void renew(stream, message.value, world);
    case 'pong':
      return;
    default:
      return stream.end('MessageMalformed');
  }
}

async function renew(stream: AgentStream, request: RenewalRequest, world: ConnectWorld): Promise<void> {
  const { peer } = stream;
  const refusal = await refusalInForce(peer, world.identityOf); // a suspended agent must not outlive its certificate
  if (refusal !== null) return stream.end(refusal);
  const issued = await issueAgentCertificate(world.authority, {
    agent: peer.agent,
    request: request.certificateRequest,
    identityKey: peer.publicKey,
    now: world.now(),
    validSeconds: world.certificateSeconds,
  });
  if (!issued.ok) return stream.end('RequestRefused');
  stream.send({ case: 'certificateRenewed', value: { certificateChain: [...issued.chain] } });
}
