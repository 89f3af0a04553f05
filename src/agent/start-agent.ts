import { X509Certificate } from 'node:crypto';
import { join } from 'node:path';
import type { OpenPgpVerifier } from '../core/commit/openpgp.ts';
import { isDigest, type Digest } from '../core/model/digest.ts';
import type { AgentKeys } from '../ports/agent-keys.ts';
import type { AgentHello, AgentLink, LinkState, OpenAgentLink } from '../ports/agent-link.ts';
import type { TargetDriver } from '../ports/target-driver.ts';
import { Agent, type ServerLink } from './agent.ts';
import { openIdentity, readCertificates, storeCertificates, type AgentCertificates, type AgentIdentity } from './identity.ts';
import { Journal } from './journal.ts';
import { orderProver, type ProveOrder } from './order-proof.ts';
import { secretResolver, type SecretSources } from './secret-resolver.ts';
import { claimFolder } from './sole-process.ts';

export type StartAgentOptions = {
  readonly agent: string;
  /** State folder: identity key, certificates, journal. */
  readonly folder: string;
  /** `host:port` of the server's channel listener. */
  readonly address: string;
  readonly version: string;
  readonly openLink: OpenAgentLink;
  readonly keys: AgentKeys;
  readonly openPgp: OpenPgpVerifier;
  readonly drivers: readonly TargetDriver[];
  readonly secrets: SecretSources;
  /** Log id of the pinned genesis (T13); null when the journal has pinned it before. */
  readonly pin: Digest | null;
  readonly now: () => Date;
  readonly random: () => number;
  readonly log: (line: string) => void;
  readonly onState?: (state: LinkState) => void;
  /** How often targets are observed, 60 by default. */
  readonly inventorySeconds?: number;
  readonly backOff?: { readonly firstMs: number; readonly maxMs: number };
  /** Replaces the proof, for tests of the shell alone. */
  readonly proveOrder?: ProveOrder;
};

export type RunningAgent = {
  /** Ends the connection, lets what runs finish, closes the journal. */
  stop(): Promise<void>;
};

export class AgentNotEnrolled extends Error {
  readonly code = 'AgentNotEnrolled';
  readonly disposition = 'stall';
}

/**
 * Starts an enrolled agent on its state folder.
 * @throws AgentNotEnrolled, AgentRunsAlready, JournalError.
 */
export async function startAgent(options: StartAgentOptions): Promise<RunningAgent> {
  const identity = await openIdentity(options.folder, options.agent, options.keys);
  const certificates = await readCertificates(options.folder);
  if (certificates === null) throw new AgentNotEnrolled(`agent ${options.agent} has no certificate in ${options.folder}: run \`stella agent enrol\` with a token first`);
  const free = await claimFolder(options.folder);
  try {
    return await run(options, identity, certificates, free);
  } catch (cause) {
    await free();
    throw cause;
  }
}

async function run(options: StartAgentOptions, identity: AgentIdentity, certificates: AgentCertificates, free: () => Promise<void>): Promise<RunningAgent> {
  const { now, log } = options;
  const journal = await Journal.open(join(options.folder, 'journal'));
  if (options.pin !== null) {
    await journal.pinGenesis(options.pin).catch(async (cause: unknown) => {
      await journal.close();
      throw cause;
    });
  }
  const agent = new Agent({
    identity, journal, now, log,
    proveOrder: options.proveOrder ?? orderProver(identity.agent, options.openPgp),
    drivers: options.drivers,
    resolveSecret: secretResolver(options.secrets),
  });
  let stopping = false;
  const held = new HeldCertificate(options, identity, certificates);
  const link = options.openLink({
    address: options.address,
    authorityPem: certificates.authorityPem,
    credentials: async () => ({ privateKeyPem: identity.privateKeyPem, certificateChainPem: held.certificateChainPem }),
    hello: () => hello(options, journal),
    onOrder: ({ digest, target, bundle }) => {
      if (!stopping && isDigest(digest)) void agent.accept({ digest, target, bundle });
    },
    onCancel: (digest) => agent.cancel(digest as Digest),
    onRenewed: (chain) => {
      held.keep(chain).then(
        (kept) => (kept ? link.reconnect() : log('a renewed certificate is not for this agent and was dropped')),
        (cause: unknown) => log(`the renewed certificate cannot be kept: ${String(cause)}`),
      );
    },
    onState: (state) => {
      if (state.state === 'waiting' && held.hasExpired()) log('the certificate of this agent has expired: enrol again with a new token');
      options.onState?.(state);
      if (state.state === 'connected') void agent.reportInventory();
    },
    random: options.random,
    ...(options.backOff === undefined ? {} : { backOff: options.backOff }),
  });
  agent.useLink(serverLink(link));
  const inventory = setInterval(() => void agent.reportInventory(), (options.inventorySeconds ?? 60) * 1000);
  const renewal = renewWhenDue(held, link);
  return {
    stop: async () => {
      stopping = true; // what comes now is asked for again after the restart
      clearInterval(inventory);
      renewal();
      await agent.idle(); // what runs is finished and its receipt sent before the connection goes
      await link.close();
      await journal.close();
      await free();
    },
  };
}

function hello(options: StartAgentOptions, journal: Journal): AgentHello {
  const state = journal.fold.stateFor(null);
  return {
    agent: options.agent,
    version: options.version,
    capabilities: options.drivers.map(({ type }) => type),
    protectedChangeSeq: state.protectedChange?.seq ?? -1,
    generations: [...state.generations].map(([key, mark]) => {
      const [environment = '', application = '', target = ''] = key.split('/');
      return { environment, application, target, generation: mark.generation };
    }),
  };
}

function serverLink(link: AgentLink): ServerLink {
  return {
    progress: (orderDigest, lines) => void link.send({ case: 'progress', orderDigest, lines }),
    receipt: (orderDigest, envelope) => void link.send({ case: 'receipt', orderDigest, envelope }),
    inventory: (target, observed) => void link.send({ case: 'inventory', target, observed }),
  };
}

/** The certificate that this agent shows, and when it must be renewed. */
class HeldCertificate {
  readonly #folder: string;
  readonly #keys: AgentKeys;
  readonly #identity: AgentIdentity;
  readonly #authorityPem: string;
  readonly #now: () => Date;
  #chainPem: string;

  constructor(p: Pick<StartAgentOptions, 'folder' | 'keys' | 'now'>, identity: AgentIdentity, certificates: AgentCertificates) {
    this.#folder = p.folder;
    this.#keys = p.keys;
    this.#identity = identity;
    this.#authorityPem = certificates.authorityPem;
    this.#chainPem = certificates.certificateChainPem;
    this.#now = p.now;
  }

  get certificateChainPem(): string {
    return this.#chainPem;
  }

  /** Keeps a renewed chain if it is for this agent's name and key under the pinned authority. */
  async keep(chain: readonly Uint8Array[]): Promise<boolean> {
    const { agent, privateKeyPem } = this.#identity;
    const renewed = this.#keys.chainForIdentity({ chain, agent, privateKeyPem, authorityPem: this.#authorityPem });
    if (renewed === null) return false;
    await storeCertificates(this.#folder, { certificateChainPem: renewed.certificateChainPem, authorityPem: this.#authorityPem });
    this.#chainPem = renewed.certificateChainPem;
    return true;
  }

  hasExpired(): boolean {
    return new X509Certificate(this.#chainPem).validToDate <= this.#now();
  }

  /** Milliseconds until two thirds of the certificate's life are over; 0 when they are. */
  untilRenewalMs(): number {
    const { validFromDate, validToDate } = new X509Certificate(this.#chainPem);
    const dueAt = validToDate.getTime() - (validToDate.getTime() - validFromDate.getTime()) / 3;
    return Math.max(0, dueAt - this.#now().getTime());
  }

  request(): Promise<Uint8Array> {
    return this.#keys.createCertificateRequest(this.#identity);
  }
}

/** Asks again and again until a renewed certificate is there: a request may be lost with its stream. @returns stops it. */
function renewWhenDue(held: HeldCertificate, link: AgentLink): () => void {
  const MIN_MS = 1_000;
  const MAX_MS = 60_000;
  const ask = async (): Promise<void> => {
    if (held.untilRenewalMs() > 0) return;
    link.send({ case: 'renewal-request', certificateRequest: await held.request() });
  };
  let timer: NodeJS.Timeout;
  const again = (): void => {
    timer = setTimeout(() => void ask().then(again, again), Math.min(MAX_MS, Math.max(MIN_MS, held.untilRenewalMs())));
  };
  again();
  return () => clearTimeout(timer);
}
