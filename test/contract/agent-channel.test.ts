import { credentials, type ChannelCredentials } from '@grpc/grpc-js';
import { create } from '@bufbuild/protobuf';
import { Client } from '@grpc/grpc-js';
import { X509Certificate } from 'node:crypto';
import { afterEach, describe, expect, it } from 'vitest';
import { openAgentLink } from '../../src/adapters/grpc/agent-link.ts';
import { refusalCodeOf } from '../../src/adapters/grpc/refusal.ts';
import { connectMethod } from '../../src/adapters/grpc/wire.ts';
import { createCertificateRequest, issueAgentCertificate, issueServerCertificate, pemOf, type AgentAuthority } from '../../src/adapters/pki/authority.ts';
import { newPrivateKeyPem, publicKeyDer } from '../../src/adapters/pki/key-form.ts';
import { digestOfBytes } from '../../src/core/model/digest.ts';
import { limits } from '../../src/core/model/limits.ts';
import type { AgentLinkOptions, LinkState } from '../../src/ports/agent-link.ts';
import { AgentMessageSchema, HelloSchema } from '../../src/generated/proto/stella/agent/v1/agent_pb.ts';
import { enrolledAgent, eventually, newAuthority, orderFor, Scratch, startServer, type TestServer } from './agent-fixture.ts';

const scratch = new Scratch();
afterEach(() => scratch.clean());

type Enrolled = Awaited<ReturnType<typeof enrolledAgent>>;

/** What a single stream ends with: the refusal's code, or null when the connection itself failed. */
function connectOnce(server: TestServer, channel: ChannelCredentials, name: string): Promise<string> {
  const client = new Client(`127.0.0.1:${server.channelPort}`, channel, { 'grpc.use_local_subchannel_pool': 1 });
  scratch.later(() => client.close());
  const { path, requestSerialize, responseDeserialize } = connectMethod;
  const call = client.makeBidiStreamRequest(path, requestSerialize, responseDeserialize);
  call.on('data', () => undefined);
  call.write(create(AgentMessageSchema, { message: { case: 'hello', value: create(HelloSchema, { agent: name, version: 'test' }) } }));
  return new Promise((resolve) => {
    call.once('metadata', (metadata) => {
      if (metadata.get('stella-code').length === 0 && call.destroyed === false) accepted();
    });
    const accepted = (): void => void eventually(() => server.hub.connected().some(({ agent }) => agent === name)).then(() => resolve('accepted'));
    call.once('error', (error) => resolve(refusalCodeOf(error) ?? 'ConnectionFailed'));
  });
}

const mutual = (authorityPem: string, privateKeyPem: string, chainPem: string): ChannelCredentials =>
  credentials.createSsl(Buffer.from(authorityPem), Buffer.from(privateKeyPem), Buffer.from(chainPem));
const own = (agent: Enrolled): ChannelCredentials => mutual(agent.authorityPem, agent.identity.privateKeyPem, agent.certificateChainPem);

async function certify(authority: AgentAuthority, agent: string, privateKeyPem: string, now = new Date()): Promise<string> {
  const request = await createCertificateRequest({ privateKeyPem, agent });
  const issued = await issueAgentCertificate(authority, { agent, request, identityKey: publicKeyDer(privateKeyPem), now });
  if (!issued.ok) throw new Error(issued.code);
  return issued.chain.map(pemOf).join('\n');
}

/** A link that records what happens on it. */
function linkOf(server: TestServer, agent: Enrolled, more: Partial<AgentLinkOptions> = {}) {
  const states: LinkState[] = [];
  const orders: { digest: string; target: string; bundle: Uint8Array }[] = [];
  const cancelled: string[] = [];
  const link = openAgentLink({
    address: `127.0.0.1:${server.channelPort}`,
    authorityPem: agent.authorityPem,
    credentials: async () => ({ privateKeyPem: agent.identity.privateKeyPem, certificateChainPem: agent.certificateChainPem }),
    hello: () => ({ agent: agent.identity.agent, version: 'test', capabilities: ['miniature'], protectedChangeSeq: 7, generations: [] }),
    onOrder: (order) => orders.push(order),
    onCancel: (digest) => cancelled.push(digest),
    onRenewed: () => undefined,
    onState: (state) => states.push(state),
    random: () => 0,
    backOff: { firstMs: 20, maxMs: 100 },
    ...more,
  });
  scratch.later(() => link.close());
  return { link, states, orders, cancelled };
}

describe('the agents’ channel', () => {
  it('accepts an enrolled agent', async () => {
    const server = await startServer(scratch);
    const agent = await enrolledAgent(scratch, server, 'anna');
    expect(await connectOnce(server, own(agent), 'anna')).toBe('accepted');
  });

  it('refuses a peer without a certificate', async () => {
    const server = await startServer(scratch);
    const agent = await enrolledAgent(scratch, server, 'anna');
    expect(await connectOnce(server, credentials.createSsl(Buffer.from(agent.authorityPem)), 'anna')).toBe('ConnectionFailed');
    expect(server.hub.connected()).toEqual([]);
  });

  it('refuses a certificate of another authority, also for the right key', async () => {
    const server = await startServer(scratch);
    const agent = await enrolledAgent(scratch, server, 'anna');
    const rogue = await newAuthority();
    const chain = await certify(rogue, 'anna', agent.identity.privateKeyPem);
    expect(await connectOnce(server, mutual(agent.authorityPem, agent.identity.privateKeyPem, chain), 'anna')).toBe('ConnectionFailed');
    expect(server.hub.connected()).toEqual([]);
  });

  it('is left by an agent that does not find its pinned authority there', async () => {
    const server = await startServer(scratch);
    const agent = await enrolledAgent(scratch, server, 'anna');
    const impostor = await startServer(scratch);
    expect(await connectOnce(impostor, own(agent), 'anna')).toBe('ConnectionFailed');
    expect(impostor.hub.connected()).toEqual([]);
  });

  it('is left by an agent that reaches a server certified for another host', async () => {
    const server = await startServer(scratch, { serverNames: ['elsewhere.example'] });
    const agent = await enrolledAgent(scratch, await startServer(scratch, { authority: server.authority }), 'anna');
    expect(await connectOnce(server, own(agent), 'anna')).toBe('ConnectionFailed');
  });

  it('refuses plaintext', async () => {
    const server = await startServer(scratch);
    expect(await connectOnce(server, credentials.createInsecure(), 'anna')).toBe('ConnectionFailed');
  });

  it('refuses a server’s certificate as a client’s', async () => {
    const server = await startServer(scratch);
    const pair = await issueServerCertificate(server.authority, { names: ['anna'], now: new Date() });
    expect(await connectOnce(server, mutual(server.authority.certificatePem, pair.privateKeyPem, pair.certificateChainPem), 'anna')).toBe('ConnectionFailed');
  });

  it('refuses an agent that says another agent’s name', async () => {
    const server = await startServer(scratch);
    const agent = await enrolledAgent(scratch, server, 'anna');
    await enrolledAgent(scratch, server, 'berta');
    expect(await connectOnce(server, own(agent), 'berta')).toBe('AgentNameMismatch');
  });

  it('refuses an expired certificate', async () => {
    const server = await startServer(scratch);
    const agent = await enrolledAgent(scratch, server, 'anna');
    const old = await certify(server.authority, 'anna', agent.identity.privateKeyPem, new Date(Date.now() - 3 * 86_400_000));
    expect(await connectOnce(server, mutual(agent.authorityPem, agent.identity.privateKeyPem, old), 'anna')).toBe('ConnectionFailed');
  });

  it('refuses an agent whose document is gone, holds another key, or cannot be read', async () => {
    let readable = true;
    const keys = new Map<string, Uint8Array>();
    const identityOf = async (name: string) => {
      if (!readable) throw new Error('the documents cannot be read');
      return keys.get(name) ?? null;
    };
    const server = await startServer(scratch, { identityOf });
    const plain = await startServer(scratch, { authority: server.authority });
    const agent = await enrolledAgent(scratch, plain, 'anna');
    expect(await connectOnce(server, own(agent), 'anna')).toBe('AgentNotInForce');
    keys.set('anna', publicKeyDer(newPrivateKeyPem()));
    expect(await connectOnce(server, own(agent), 'anna')).toBe('IdentityKeyChanged');
    keys.set('anna', agent.identity.publicKeyDer);
    readable = false;
    expect(await connectOnce(server, own(agent), 'anna')).toBe('IdentityUnknown');
    readable = true;
    expect(await connectOnce(server, own(agent), 'anna')).toBe('accepted');
  });

  it('ends the stream of an agent that is suspended while connected, and refuses it orders', async () => {
    const server = await startServer(scratch, { pingMs: 20 });
    const agent = await enrolledAgent(scratch, server, 'anna');
    const { states } = linkOf(server, agent);
    await eventually(() => server.hub.connected().length === 1);
    server.inForce.delete('anna');
    const order = orderFor({ target: 'web-1', generation: 1 });
    await expect(server.hub.dispatch('anna', order)).rejects.toMatchObject({ code: 'AgentNotInForce' });
    await eventually(() => states.some((state) => state.state === 'waiting' && state.code === 'AgentNotInForce'));
    expect(server.hub.connected()).toEqual([]);
  });

  it('ends a stream when its certificate ends', async () => {
    const server = await startServer(scratch, { certificateSeconds: 2 });
    const agent = await enrolledAgent(scratch, server, 'anna');
    const { states } = linkOf(server, agent);
    await eventually(() => states.some((state) => state.state === 'connected'));
    await eventually(() => states.some((state) => state.state === 'waiting'));
    expect(states.find((state) => state.state === 'waiting')).toMatchObject({ code: 'CertificateExpired' });
  });
});

describe('dispatching', () => {
  it('tells who is connected and what it says of itself', async () => {
    const server = await startServer(scratch);
    linkOf(server, await enrolledAgent(scratch, server, 'anna'));
    const [presence] = await eventually(() => (server.hub.connected().length === 1 ? server.hub.connected() : null));
    expect(presence).toMatchObject({ agent: 'anna', version: 'test', capabilities: ['miniature'], protectedChangeSeq: 7 });
  });

  it('carries a bundle of many megabytes down and the raw receipt up', async () => {
    const server = await startServer(scratch);
    const { link, orders } = linkOf(server, await enrolledAgent(scratch, server, 'anna'));
    const bundle = new Uint8Array(limits.grpcMessageBytes - 64 * 1024).fill(7);
    const lines: string[] = [];
    const digest = digestOfBytes(bundle);
    const receipt = server.hub.dispatch('anna', { digest, target: 'web-1', bundle }, { onProgress: (more) => lines.push(...more) });
    const order = await eventually(() => orders[0]);
    expect(digestOfBytes(order.bundle)).toBe(digest);
    link.send({ case: 'progress', orderDigest: digest, lines: ['half way'] });
    link.send({ case: 'receipt', orderDigest: digest, envelope: Buffer.from('signed') });
    expect(Buffer.from(await receipt).toString()).toBe('signed');
    expect(lines).toEqual(['half way']);
  });

  it('refuses a bundle that no message can hold', async () => {
    const server = await startServer(scratch);
    await enrolledAgent(scratch, server, 'anna');
    const order = { ...orderFor({ target: 'web-1', generation: 1 }), bundle: new Uint8Array(limits.grpcMessageBytes) };
    await expect(server.hub.dispatch('anna', order)).rejects.toMatchObject({ code: 'BundleTooLarge' });
  });

  it('waits for an agent that is away and sends again to one that comes back', async () => {
    const server = await startServer(scratch);
    const agent = await enrolledAgent(scratch, server, 'anna');
    const order = orderFor({ target: 'web-1', generation: 1 });
    const receipt = server.hub.dispatch('anna', order);
    const { link, orders } = linkOf(server, agent);
    await eventually(() => orders.length === 1);
    link.reconnect(); // the stream breaks while the order runs
    await eventually(() => orders.length === 2);
    expect(orders[1]).toMatchObject({ digest: order.digest });
    link.send({ case: 'receipt', orderDigest: order.digest, envelope: Buffer.from('from the journal') });
    expect(Buffer.from(await receipt).toString()).toBe('from the journal');
  });

  it('takes back without a trace what has not gone out, and says when it goes', async () => {
    const server = await startServer(scratch);
    const agent = await enrolledAgent(scratch, server, 'anna');
    const sent: string[] = [];
    const takenBack = new AbortController();
    const first = server.hub.dispatch('anna', orderFor({ target: 'web-1', generation: 1 }), { signal: takenBack.signal, onSent: () => sent.push('first') });
    const second = server.hub.dispatch('anna', orderFor({ target: 'web-1', generation: 2 }), { onSent: () => sent.push('second') });
    takenBack.abort();
    await expect(first).rejects.toMatchObject({ code: 'DispatchAborted' });
    const { link, orders } = linkOf(server, agent);
    await eventually(() => orders.length > 0);
    link.send({ case: 'receipt', orderDigest: orderFor({ target: 'web-1', generation: 2 }).digest, envelope: Buffer.from('signed') });
    await second;
    expect([sent, orders.map(({ digest }) => digest)]).toEqual([['second'], [orderFor({ target: 'web-1', generation: 2 }).digest]]);
  });

  it('gives everybody who waits for one order the one receipt, and sends it once', async () => {
    const server = await startServer(scratch);
    const { link, orders } = linkOf(server, await enrolledAgent(scratch, server, 'anna'));
    const order = orderFor({ target: 'web-1', generation: 1 });
    await eventually(() => server.hub.connected().length === 1);
    const both = [server.hub.dispatch('anna', order), server.hub.dispatch('anna', order)];
    await eventually(() => orders.length > 0);
    link.send({ case: 'receipt', orderDigest: order.digest, envelope: Buffer.from('one') });
    const [first, second] = await Promise.all(both);
    expect(first).toEqual(second);
    expect(orders).toHaveLength(1);
  });

  it('takes nobody’s word on an order but that of the agent it was sent to', async () => {
    const server = await startServer(scratch);
    const anna = linkOf(server, await enrolledAgent(scratch, server, 'anna'));
    const berta = linkOf(server, await enrolledAgent(scratch, server, 'berta'));
    await eventually(() => server.hub.connected().length === 2);
    const order = orderFor({ target: 'web-1', generation: 1 });
    const receipt = server.hub.dispatch('anna', order);
    await eventually(() => anna.orders.length === 1);
    berta.link.send({ case: 'receipt', orderDigest: order.digest, envelope: Buffer.from('forged') });
    berta.link.send({ case: 'inventory', target: 'web-1', observed: Buffer.from('{}') });
    await eventually(() => server.inventories.length === 1); // so the forged receipt has arrived
    anna.link.send({ case: 'receipt', orderDigest: order.digest, envelope: Buffer.from('true') });
    expect(Buffer.from(await receipt).toString()).toBe('true');
  });

  it('withdraws an order when the caller stops waiting', async () => {
    const server = await startServer(scratch);
    const { orders, cancelled } = linkOf(server, await enrolledAgent(scratch, server, 'anna'));
    const order = orderFor({ target: 'web-1', generation: 1 });
    const stop = new AbortController();
    const receipt = server.hub.dispatch('anna', order, { signal: stop.signal });
    const refused = expect(receipt).rejects.toMatchObject({ code: 'DispatchAborted' });
    await eventually(() => orders.length === 1);
    stop.abort();
    await refused;
    await eventually(() => cancelled.includes(order.digest));
  });

  it('fails what waits when the server closes, and the agent comes back to the next server', async () => {
    const authority = await newAuthority();
    const first = await startServer(scratch, { authority });
    const agent = await enrolledAgent(scratch, first, 'anna');
    const { states } = linkOf(first, agent);
    await eventually(() => first.hub.connected().length === 1);
    const refused = expect(first.hub.dispatch('anna', orderFor({ target: 'web-1', generation: 1 }))).rejects.toMatchObject({ code: 'HubClosed' });
    await first.close();
    await refused;
    await eventually(() => states.some((state) => state.state === 'waiting'));
    const listen = { host: '127.0.0.1', channelPort: first.channelPort, enrolmentPort: 0 };
    const second = await startServer(scratch, { authority, listen, identityOf: async () => agent.identity.publicKeyDer });
    await eventually(() => second.hub.connected().length === 1);
  });
});

describe('renewal', () => {
  it('comes over the open stream, for the same key', async () => {
    const server = await startServer(scratch, { certificateSeconds: 3_600 });
    const agent = await enrolledAgent(scratch, server, 'anna');
    const chains: (readonly Uint8Array[])[] = [];
    const { link } = linkOf(server, agent, { onRenewed: (chain) => chains.push(chain) });
    await eventually(() => server.hub.connected().length === 1);
    const certificateRequest = await createCertificateRequest(agent.identity);
    link.send({ case: 'renewal-request', certificateRequest });
    const [leaf = new Uint8Array()] = await eventually(() => chains[0]);
    const renewed = new X509Certificate(leaf);
    expect(renewed.serialNumber).not.toBe(new X509Certificate(agent.certificateChainPem).serialNumber);
    expect(renewed.publicKey.export({ type: 'spki', format: 'der' })).toEqual(agent.identity.publicKeyDer);
  });

  it('is refused for another key and for a suspended agent', async () => {
    const server = await startServer(scratch);
    const agent = await enrolledAgent(scratch, server, 'anna');
    const { link, states } = linkOf(server, agent);
    await eventually(() => server.hub.connected().length === 1);
    const other = await createCertificateRequest({ privateKeyPem: newPrivateKeyPem(), agent: 'anna' });
    link.send({ case: 'renewal-request', certificateRequest: other });
    await eventually(() => states.some((state) => state.state === 'waiting' && state.code === 'RequestRefused'));
    await eventually(() => server.hub.connected().length === 1);
    server.inForce.delete('anna');
    link.send({ case: 'renewal-request', certificateRequest: await createCertificateRequest(agent.identity) });
    await eventually(() => states.some((state) => state.state === 'waiting' && state.code === 'AgentNotInForce'));
  });
});
