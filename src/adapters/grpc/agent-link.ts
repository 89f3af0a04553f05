import { create, type MessageInitShape } from '@bufbuild/protobuf';
import { Client, credentials, type ClientDuplexStream, type ServiceError } from '@grpc/grpc-js';
import { AgentMessageSchema, HelloSchema, type AgentMessage, type ServerMessage } from '../../generated/proto/stella/agent/v1/agent_pb.ts';
import { refusalCodeOf, type RefusalCode } from './refusal.ts';
import { agentChannelDefinition, channelOptions } from './wire.ts';

export type HelloInit = Omit<MessageInitShape<typeof HelloSchema>, '$typeName' | '$unknown'>;
type Outgoing = NonNullable<MessageInitShape<typeof AgentMessageSchema>['message']>;
type Call = ClientDuplexStream<AgentMessage, ServerMessage>;

export type LinkState =
  | { readonly state: 'connected' }
  /** `code` is null when nobody answered or TLS failed. */
  | { readonly state: 'waiting'; readonly code: RefusalCode | null; readonly message: string; readonly retryMs: number };

export type AgentLinkOptions = {
  /** `host:port` of the server's channel listener. */
  readonly address: string;
  /** PEM of the authority pinned at enrolment; the only root. */
  readonly authorityPem: string;
  /** Asked at each connection, so that a renewed certificate is used. */
  readonly credentials: () => Promise<{ readonly privateKeyPem: string; readonly certificateChainPem: string }>;
  readonly hello: () => HelloInit;
  readonly onOrder: (order: { digest: string; target: string; bundle: Uint8Array }) => void;
  readonly onCancel: (orderDigest: string) => void;
  readonly onRenewed: (chain: readonly Uint8Array[]) => void;
  readonly onState?: (state: LinkState) => void;
  /** A number in [0, 1), for jitter. */
  readonly random: () => number;
  readonly backOff?: { readonly firstMs: number; readonly maxMs: number };
};

/** An agent's connection to its server; connects, and connects again, until it is closed. */
export type AgentLink = {
  /** False when there is no stream: what is lost is asked for again by the server, and answered from the journal. */
  send(message: Outgoing): boolean;
  /** Drops the stream and connects at once with the present credentials. */
  reconnect(): void;
  close(): Promise<void>;
};

/** Starts the connection loop. */
export function openAgentLink(options: AgentLinkOptions): AgentLink {
  const loop = new LinkLoop(options);
  const ended = loop.run();
  return {
    send: (message) => loop.send(message),
    reconnect: () => loop.reconnect(),
    close: async () => {
      loop.close();
      await ended;
    },
  };
}

class LinkLoop {
  readonly #options: AgentLinkOptions;
  #call: Call | null = null;
  #closed = false;
  #failures = 0;
  #wake: () => void = () => undefined;

  constructor(options: AgentLinkOptions) {
    this.#options = options;
  }

  async run(): Promise<void> {
    while (!this.#closed) {
      const end = await this.#once().catch((cause: unknown) => ({ code: null, message: String(cause), wanted: false }));
      if (this.#closed) return;
      if (end.wanted) continue;
      const retryMs = this.#delay();
      this.#options.onState?.({ state: 'waiting', code: end.code, message: end.message, retryMs });
      await this.#sleep(retryMs);
    }
  }

  /** Full jitter, so that a server that comes back is not met by all agents at one moment. */
  #delay(): number {
    const { firstMs, maxMs } = this.#options.backOff ?? { firstMs: 500, maxMs: 30_000 };
    const ceiling = Math.min(maxMs, firstMs * 2 ** Math.min(this.#failures++, 16));
    return Math.round(firstMs / 2 + this.#options.random() * (ceiling - firstMs / 2));
  }

  #sleep(ms: number): Promise<void> {
    return new Promise((resolve) => {
      const timer = setTimeout(resolve, ms);
      this.#wake = () => {
        clearTimeout(timer);
        resolve();
      };
    });
  }

  /** One connection, from the handshake to its end. */
  async #once(): Promise<{ code: RefusalCode | null; message: string; wanted: boolean }> {
    const { privateKeyPem, certificateChainPem } = await this.#options.credentials();
    const channel = credentials.createSsl(Buffer.from(this.#options.authorityPem), Buffer.from(privateKeyPem), Buffer.from(certificateChainPem));
    const client = new Client(this.#options.address, channel, { ...channelOptions, 'grpc.use_local_subchannel_pool': 1 });
    const { path, requestSerialize, responseDeserialize } = agentChannelDefinition['connect']!;
    const call: Call = client.makeBidiStreamRequest(path, requestSerialize, responseDeserialize);
    try {
      if (this.#closed) call.cancel();
      this.#call = call;
      call.once('metadata', () => {
        this.#failures = 0;
        this.#options.onState?.({ state: 'connected' });
      });
      call.on('data', (message: ServerMessage) => this.#receive(message));
      this.send({ case: 'hello', value: create(HelloSchema, this.#options.hello()) });
      return await this.#ended(call);
    } finally {
      this.#call = null;
      client.close();
    }
  }

  #ended(call: Call): Promise<{ code: RefusalCode | null; message: string; wanted: boolean }> {
    return new Promise((resolve) => {
      call.on('error', (error: ServiceError) => {
        resolve({ code: refusalCodeOf(error), message: error.details, wanted: this.#call !== call });
      });
      call.once('end', () => resolve({ code: null, message: 'the server ended the stream', wanted: this.#call !== call }));
    });
  }

  #receive({ message }: ServerMessage): void {
    switch (message.case) {
      case 'order':
        return this.#options.onOrder(message.value);
      case 'cancel':
        return this.#options.onCancel(message.value.orderDigest);
      case 'ping':
        return void this.send({ case: 'pong', value: { number: message.value.number } });
      case 'certificateRenewed':
        return this.#options.onRenewed(message.value.certificateChain);
      default: // a message of a newer protocol asks for nothing that this program could do
    }
  }

  send(message: Outgoing): boolean {
    if (this.#call === null || this.#call.destroyed) return false;
    this.#call.write(create(AgentMessageSchema, { message }));
    return true;
  }

  reconnect(): void {
    const call = this.#call;
    this.#call = null;
    call?.cancel();
    this.#wake();
  }

  close(): void {
    this.#closed = true;
    this.reconnect();
  }
}
