import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { startAgentServer, type AgentServer, type AgentServerOptions } from '../../src/adapters/grpc/agent-server.ts';
import { enrolAgent } from '../../src/adapters/grpc/enrol-client.ts';
import { agentKeys } from '../../src/adapters/pki/agent-keys.ts';
import { certifyAuthority, openAuthority, type AgentAuthority } from '../../src/adapters/pki/authority.ts';
import { enrolmentTokenDigest, newEnrolmentToken } from '../../src/adapters/pki/enrolment-token.ts';
import { newPrivateKeyPem } from '../../src/adapters/pki/key-form.ts';
import { memoryEnrolmentTokens } from '../../src/adapters/pki/memory-enrolment-tokens.ts';
import { openIdentity, storeCertificates, type AgentIdentity } from '../../src/agent/identity.ts';
import type { OrderProof, ProveOrder, UnprovenOrder } from '../../src/agent/order-proof.ts';
import { slotKey, type JournalState } from '../../src/agent/journal-state.ts';
import { digestOf, digestOfBytes, type Digest } from '../../src/core/model/digest.ts';
import type { Runs } from '../../src/core/model/preimages.ts';
import type { ProvenWork } from '../../src/ports/target-driver.ts';

/** Cleans up in reverse order. */
export class Scratch {
  readonly #undo: (() => unknown)[] = [];
  later(undo: () => unknown): void {
    this.#undo.push(undo);
  }
  async folder(): Promise<string> {
    const path = await mkdtemp(join(tmpdir(), 'stella-agent-'));
    this.later(() => rm(path, { recursive: true, force: true }));
    return path;
  }
  async clean(): Promise<void> {
    for (const undo of this.#undo.splice(0).reverse()) await undo();
  }
}

export async function newAuthority(name = 'agents of the test log'): Promise<AgentAuthority> {
  const privateKeyPem = newPrivateKeyPem();
  return await openAuthority({ privateKeyPem, certificatePem: await certifyAuthority({ privateKeyPem, name, now: new Date() }) });
}

/** A server with its documents in force: name of the agent → SPKI of its identity key. */
export type TestServer = AgentServer & {
  readonly authority: AgentAuthority;
  readonly inForce: Map<string, Uint8Array>;
  readonly inventories: { agent: string; target: string; observed: Uint8Array }[];
  issueToken(agent: string, expiresAt?: Date): Promise<string>;
};

export async function startServer(scratch: Scratch, more: Partial<AgentServerOptions> = {}): Promise<TestServer> {
  const authority = more.authority ?? (await newAuthority());
  const tokens = memoryEnrolmentTokens();
  const inForce = new Map<string, Uint8Array>();
  const inventories: TestServer['inventories'] = [];
  const server = await startAgentServer({
    authority,
    tokens,
    identityOf: async (name) => inForce.get(name) ?? null,
    trustBundle: async () => Buffer.from('the root chain'),
    now: () => new Date(),
    serverNames: ['127.0.0.1', 'localhost'],
    listen: { host: '127.0.0.1', channelPort: 0, enrolmentPort: 0 },
    onInventory: (inventory) => inventories.push(inventory),
    ...more,
  });
  scratch.later(() => server.close());
  return {
    ...server,
    authority,
    inForce,
    inventories,
    issueToken: async (agent, expiresAt = new Date(Date.now() + 60_000)) => {
      const token = newEnrolmentToken(authority.certificateDer);
      await tokens.issue({ tokenDigest: enrolmentTokenDigest(token), agent, expiresAt });
      return token;
    },
  };
}

/** An agent with a state folder, in force on the server. */
export async function newAgent(scratch: Scratch, server: TestServer, name: string): Promise<{ folder: string; identity: AgentIdentity }> {
  const folder = await scratch.folder();
  const identity = await openIdentity(folder, name, agentKeys);
  server.inForce.set(name, identity.publicKeyDer);
  return { folder, identity };
}

export async function enrol(server: TestServer, identity: AgentIdentity, token: string, more: Partial<Parameters<typeof enrolAgent>[0]> = {}) {
  return await enrolAgent({
    address: `127.0.0.1:${server.enrolmentPort}`,
    token,
    agent: identity.agent,
    privateKeyPem: identity.privateKeyPem,
    checkAuthority: async () => 'ok',
    ...more,
  });
}

/** An agent that is enrolled and has its certificates in its folder. */
export async function enrolledAgent(scratch: Scratch, server: TestServer, name: string) {
  const { folder, identity } = await newAgent(scratch, server, name);
  const enrolled = await enrol(server, identity, await server.issueToken(name));
  if (!enrolled.ok) throw new Error(`enrolment was refused: ${enrolled.code}`);
  await storeCertificates(folder, enrolled);
  return { folder, identity, ...enrolled };
}

export type Demand = {
  readonly target: string;
  readonly generation: number;
  readonly try?: number;
  readonly application?: string;
  readonly operation?: ProvenWork['operation'];
  readonly connection?: ProvenWork['target']['connection'];
  readonly runs?: Partial<Runs>;
};

/** An order whose bundle says what the miniature proof below believes. */
export function orderFor(demand: Demand): UnprovenOrder {
  const bundle = Buffer.from(JSON.stringify(demand));
  return { digest: digestOfBytes(bundle), target: demand.target, bundle };
}

export const promotionDigestOf = (generation: number): Digest => digestOf({ type: 'stella/test-promotion/v1', generation });

/** Judges generations as the real proof does; everything else is believed. The real one has its own tests. */
export const miniatureProof: ProveOrder = (order: UnprovenOrder, journal: JournalState): OrderProof => {
  const demand = JSON.parse(Buffer.from(order.bundle).toString('utf8')) as Demand;
  const { application = 'shop', generation, try: tryNumber = 1 } = demand;
  const last = journal.generations.get(slotKey({ environment: 'prod', application, target: demand.target }));
  const isNewer = last === undefined || generation > last.generation || (generation === last.generation && tryNumber > last.try);
  if (!isNewer) return { ok: false, code: 'GenerationOld', message: `generation ${generation} is not newer` };
  const work: ProvenWork = {
    operation: demand.operation ?? 'promote',
    environment: 'prod',
    application,
    release: `${application}/1.0.0`,
    generation,
    promotionDigest: promotionDigestOf(generation),
    try: tryNumber,
    target: { name: demand.target, type: 'miniature', agent: 'anna', connection: demand.connection ?? {} },
    runs: demand.operation === 'remove' ? null : ({ secrets: {}, components: [], ...demand.runs } as unknown as Runs),
    artifacts: new Map(),
    sticker: Buffer.from('{}'),
    notAfter: '2100-01-01T00:00:00.000Z',
    quorumProven: true,
    protectedChange: { seq: 1, digest: promotionDigestOf(0) },
  };
  return { ok: true, work };
};

/** Asks until the answer is not null. The limit of the test is the only limit. */
export async function eventually<T>(ask: () => T | null | undefined | false): Promise<T> {
  for (;;) {
    const answer = ask();
    if (answer !== null && answer !== undefined && answer !== false) return answer;
    await new Promise((resolve) => setTimeout(resolve, 10));
  }
}
