import { fromBinary, toBinary, type DescMessage, type DescMethod, type DescService } from '@bufbuild/protobuf';
import type { Message } from '@bufbuild/protobuf';
import type { ChannelOptions, MethodDefinition, ServiceDefinition } from '@grpc/grpc-js';
import { limits } from '../../core/model/limits.ts';
import { AgentChannel, Enrolment, type AgentMessage, type ServerMessage } from '../../generated/proto/stella/agent/v1/agent_pb.ts';

const serializer = (schema: DescMessage) => (message: Message): Buffer => {
  const bytes = toBinary(schema, message);
  return Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength);
};
const deserializer = (schema: DescMessage) => (bytes: Buffer): Message => fromBinary(schema, bytes);

function methodOf(service: DescService, method: DescMethod): MethodDefinition<Message, Message> {
  const { methodKind: kind } = method;
  return {
    path: `/${service.typeName}/${method.name}`,
    requestStream: kind === 'client_streaming' || kind === 'bidi_streaming',
    responseStream: kind === 'server_streaming' || kind === 'bidi_streaming',
    requestSerialize: serializer(method.input),
    requestDeserialize: deserializer(method.input),
    responseSerialize: serializer(method.output),
    responseDeserialize: deserializer(method.output),
    originalName: method.localName,
  };
}

function definitionOf(service: DescService): ServiceDefinition {
  return Object.fromEntries(service.methods.map((method) => [method.localName, methodOf(service, method)]));
}

/** Definitions for grpc-js, from the generated descriptors. */
export const enrolmentDefinition = definitionOf(Enrolment);
export const agentChannelDefinition = definitionOf(AgentChannel);

/** Single methods, for clients. */
export const connectMethod = methodOf(AgentChannel, AgentChannel.method.connect) as unknown as MethodDefinition<AgentMessage, ServerMessage>;
export const enrolmentMethods = {
  introduce: methodOf(Enrolment, Enrolment.method.introduce),
  enrol: methodOf(Enrolment, Enrolment.method.enrol),
} as const;

/** Both sides hold the same message limit and notice a dead peer by HTTP/2 pings. */
export const channelOptions: ChannelOptions = {
  'grpc.max_receive_message_length': limits.grpcMessageBytes,
  'grpc.max_send_message_length': limits.grpcMessageBytes,
  'grpc.keepalive_time_ms': 20_000,
  'grpc.keepalive_timeout_ms': 10_000,
  'grpc.keepalive_permit_without_calls': 1,
  'grpc.enable_retries': 0,
};
