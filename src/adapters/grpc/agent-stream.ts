import { create, type MessageInitShape } from '@bufbuild/protobuf';
import { Metadata, type ServerDuplexStream } from '@grpc/grpc-js';
import { limits } from '../../core/model/limits.ts';
import type { AgentPresence } from '../../ports/agent-hub.ts';
import { ServerMessageSchema, type AgentMessage, type Hello, type ServerMessage } from '../../generated/proto/stella/agent/v1/agent_pb.ts';
import type { Peer } from './peer.ts';
import { refusalStatus, type RefusalCode } from './refusal.ts';

export type AgentCall = ServerDuplexStream<AgentMessage, ServerMessage>;
type Payload = NonNullable<MessageInitShape<typeof ServerMessageSchema>['message']>;

/** One open stream to one agent: sends in order, waits when the peer does not read, ends once. */
export class AgentStream {
  readonly peer: Peer;
  readonly presence: AgentPresence;
  readonly #call: AgentCall;
  #sending: Promise<void> = Promise.resolve();
  #ended = false;

  constructor(call: AgentCall, peer: Peer, hello: Hello, connectedAt: Date) {
    this.#call = call;
    this.peer = peer;
    this.presence = presenceOf(peer.agent, hello, connectedAt);
    call.once('close', () => {
      this.#ended = true;
    });
    call.sendMetadata(new Metadata()); // tells the agent that it has been accepted
  }

  /** Queues a message. A stream that has ended drops it: whoever waits for an answer sends again on the next stream. */
  send(message: Payload): void {
    const write = async (): Promise<void> => {
      if (this.#ended) return;
      if (!this.#call.write(create(ServerMessageSchema, { message }))) await this.#drained();
    };
    this.#sending = this.#sending.then(write);
  }

  #drained(): Promise<void> {
    return new Promise((resolve) => {
      const go = (): void => {
        for (const event of ['drain', 'close', 'error', 'cancelled']) this.#call.off(event, go);
        resolve();
      };
      for (const event of ['drain', 'close', 'error', 'cancelled']) this.#call.once(event, go);
    });
  }

  end(code: RefusalCode): void {
    if (this.#ended) return;
    this.#ended = true;
    this.#call.emit('error', refusalStatus(code));
  }
}

function presenceOf(agent: string, hello: Hello, connectedAt: Date): AgentPresence {
  return {
    agent,
    version: hello.version.slice(0, 100),
    capabilities: hello.capabilities.slice(0, 20),
    connectedAt,
    protectedChangeSeq: Number(hello.protectedChangeSeq),
    generations: hello.generations.slice(0, limits.ordersPerAgent).map((mark) => ({
      environment: mark.environment,
      application: mark.application,
      target: mark.target,
      generation: Number(mark.generation),
    })),
  };
}
