import { create, type MessageInitShape } from '@bufbuild/protobuf';
import { Client, credentials, type ClientDuplexStream, type ServiceError } from '@grpc/grpc-js';
import { AgentMessageSchema, type AgentMessage, type HelloSchema, type ServerMessage } from '../../generated/proto/stella/agent/v1/agent_pb.ts';
import type { AgentHello, AgentLink, AgentLinkOptions, AgentSays } from '../../ports/agent-link.ts';
import { refusalCodeOf, type RefusalCode } from './refusal.ts';
import { tlsTo } from './server-address.ts';
import { channelOptions, connectMethod } from './wire.ts';

type Outgoing = NonNullable<MessageInitShape<typeof AgentMessageSchema>['message']>;
type Call = ClientDuplexStream<AgentMessage, ServerMessage>;

/** Starts the connection loop. */
export function openAgentLink(options: AgentLinkOptions): AgentLink {
  const loop = new LinkLoop(options);
  const ended = loop.run();
  return {
    send: (message) => loop.send(outgoing(message)),
    reconnect: () => loop.reconnect(),
    close: async () => {
      loop.close();
      await ended;
    },
  };
}

function helloOf(hello: AgentHello): MessageInitShape<typeof HelloSchema> {
  return {
    ...hello,
    capabilities: [...hello.capabilities],
    protectedChangeSeq: BigInt(hello.protectedChangeSeq),
    generations: hello.generations.map((mark) => ({ ...mark, generation: BigInt(mark.generation) })),
  };
}

function outgoing(message: AgentSays): Outgoing {
  switch (message.case) {
    case 'progress':
      return { case: 'progress', value: { orderDigest: message.orderDigest, lines: [...message.lines] } };
    case 'receipt':
      return { case: 'receipt', value: { orderDigest: message.orderDigest, envelope: message.envelope } };
    case 'inventory':
      return { case: 'inventory', value: { target: message.target, observed: message.observed } };
    case 'renewal-request':
      return { case: 'renewalRequest', value: { certificateRequest: message.certificateRequest } };
  }
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
    const { verify, channel } = tlsTo(this.#options.address);
    const tls = credentials.createSsl(Buffer.from(this.#options.authorityPem), Buffer.from(privateKeyPem), Buffer.from(certificateChainPem), verify);
    const client = new Client(this.#options.address, tls, { ...channelOptions, ...channel, 'grpc.use_local_subchannel_pool': 1 });
    const { path, requestSerialize, responseDeserialize } = connectMethod;
    const call: Call = client.makeBidiStreamRequest(path, requestSerialize, responseDeserialize);
    try {
      if (this.#closed) call.cancel();
      this.#call = call;
      call.once('metadata', () => {
        this.#failures = 0;
        this.#options.onState?.({ state: 'connected' });
      });
      call.on('data', (message: ServerMessage) => this.#receive(message));
      this.send({ case: 'hello', value: helloOf(this.#options.hello()) });
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
