import { Metadata, status, type ServiceError, type StatusObject } from '@grpc/grpc-js';

/** Why the server does not talk to a peer, or an agent's request came to nothing. Travels in the trailer `stella-code`. */
export type RefusalCode =
  | 'CertificateMissing'
  | 'CertificateNotForAgents'
  | 'CertificateExpired'
  | 'AgentNotInForce'
  | 'IdentityKeyChanged'
  | 'AgentNameMismatch'
  | 'HelloMissing'
  | 'IdentityUnknown'
  | 'ReplacedByNewerStream'
  | 'ServerClosing'
  | 'MessageMalformed'
  | 'TokenRefused'
  | 'RequestRefused';

const TRAILER = 'stella-code';

const remedies: { readonly [code in RefusalCode]: string } = {
  CertificateMissing: 'connect with the certificate from `stella agent enrol`',
  CertificateNotForAgents: 'the certificate does not name an agent: enrol this agent again',
  CertificateExpired: 'the certificate has expired: connect with the renewed one, or enrol again',
  AgentNotInForce: 'no Agent document of this name is in force, or the agent is suspended',
  IdentityKeyChanged: 'the Agent document in force holds another identity key: enrol again with that key',
  AgentNameMismatch: 'the agent says another name than its certificate: check the name in its configuration',
  HelloMissing: 'the first message of a stream must be Hello',
  IdentityUnknown: 'the server cannot read the Agent documents now: try again later',
  ReplacedByNewerStream: 'a newer stream of the same agent has taken over: run one process per agent',
  ServerClosing: 'the server is closing: try again',
  MessageMalformed: 'the message is empty or not of this version of the protocol',
  TokenRefused: 'the enrolment token is unknown, spent or expired: issue a new one',
  RequestRefused: 'the certificate request is not one for the identity key of the Agent document',
};

const statuses: { readonly [code in RefusalCode]?: status } = {
  IdentityUnknown: status.UNAVAILABLE,
  ServerClosing: status.UNAVAILABLE,
  CertificateExpired: status.UNAUTHENTICATED,
  ReplacedByNewerStream: status.ABORTED,
  MessageMalformed: status.INVALID_ARGUMENT,
};

/** The status with which a call is refused. */
export function refusalStatus(code: RefusalCode): Partial<StatusObject> & Error {
  const metadata = new Metadata();
  metadata.set(TRAILER, code);
  const details = `${code}: ${remedies[code]}`;
  return Object.assign(new Error(details), { code: statuses[code] ?? status.PERMISSION_DENIED, details, metadata });
}

/** The code of a refusal as the peer sees it; null when the call failed for another reason (no connection, TLS). */
export function refusalCodeOf(error: Partial<ServiceError>): RefusalCode | null {
  const code = String(error.metadata?.get(TRAILER)[0] ?? '');
  return Object.hasOwn(remedies, code) ? (code as RefusalCode) : null;
}
