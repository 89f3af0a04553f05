import { create } from '@bufbuild/protobuf';
import type { sendUnaryData, ServerUnaryCall } from '@grpc/grpc-js';
import {
  EnrolResponseSchema,
  IntroduceResponseSchema,
  type EnrolRequest,
  type EnrolResponse,
  type IntroduceRequest,
  type IntroduceResponse,
} from '../../generated/proto/stella/agent/v1/agent_pb.ts';
import type { EnrolmentTokens } from '../../ports/enrolment-tokens.ts';
import { issueAgentCertificate, type AgentAuthority } from '../pki/authority.ts';
import { authorityOfToken, enrolmentTokenDigest } from '../pki/enrolment-token.ts';
import type { IdentityOf } from './peer.ts';
import { refusalStatus, type RefusalCode } from './refusal.ts';

export type EnrolmentWorld = {
  readonly authority: AgentAuthority;
  readonly tokens: EnrolmentTokens;
  readonly identityOf: IdentityOf;
  /** Proof from the genesis that the trust root lists the authority; read by the agent before it asks for anything. */
  readonly trustBundle: () => Promise<Uint8Array>;
  readonly now: () => Date;
  readonly certificateSeconds: number;
  readonly channelPort: () => number;
};

type Answer<T> = { readonly ok: true; readonly value: T } | { readonly ok: false; readonly code: RefusalCode };

/** Implementation of the Enrolment calls for grpc-js. */
export function enrolmentHandlers(world: EnrolmentWorld) {
  return {
    introduce: (_call: ServerUnaryCall<IntroduceRequest, IntroduceResponse>, answer: sendUnaryData<IntroduceResponse>) =>
      settle(introduce(world), answer),
    enrol: (call: ServerUnaryCall<EnrolRequest, EnrolResponse>, answer: sendUnaryData<EnrolResponse>) =>
      settle(enrol(call.request, world), answer),
  };
}

function settle<T>(work: Promise<Answer<T>>, answer: sendUnaryData<T>): void {
  work.then(
    (result) => (result.ok ? answer(null, result.value) : answer(refusalStatus(result.code))),
    () => answer(refusalStatus('IdentityUnknown')), // what went wrong inside is not for strangers
  );
}

async function introduce(world: EnrolmentWorld): Promise<Answer<IntroduceResponse>> {
  const trustBundle = await world.trustBundle();
  return { ok: true, value: create(IntroduceResponseSchema, { authorityCertificate: world.authority.certificateDer, trustBundle }) };
}

async function enrol(request: EnrolRequest, world: EnrolmentWorld): Promise<Answer<EnrolResponse>> {
  if (authorityOfToken(request.token) === null) return { ok: false, code: 'TokenRefused' };
  // Spent before anything else is looked at, so that no answer below can be asked for twice with one token.
  const holder = await world.tokens.consume(enrolmentTokenDigest(request.token), world.now());
  if (holder === null) return { ok: false, code: 'TokenRefused' };
  const identityKey = await world.identityOf(holder.agent);
  if (identityKey === null) return { ok: false, code: 'AgentNotInForce' };
  const issued = await issueAgentCertificate(world.authority, {
    agent: holder.agent,
    request: request.certificateRequest,
    identityKey,
    now: world.now(),
    validSeconds: world.certificateSeconds,
  });
  if (!issued.ok) return { ok: false, code: 'RequestRefused' };
  const value = create(EnrolResponseSchema, { certificateChain: [...issued.chain], agent: holder.agent, channelPort: world.channelPort() });
  return { ok: true, value };
}
