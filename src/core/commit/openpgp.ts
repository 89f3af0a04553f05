import type { OpenPgpKey } from '../model/openpgp-key.ts';

/**
 * Asks whether `signature` was made with the key in `keyPacket` over `message`: a document, or what a certificate's own signatures cover.
 * Whether algorithms, types and times are good enough is not asked.
 */
export interface OpenPgpQuestion {
  /** Body of the public key packet. */
  readonly keyPacket: Uint8Array;
  /** Body of the one signature packet. */
  readonly signature: Uint8Array;
  readonly message: Uint8Array;
}

/**
 * The verifier does not work: nothing was found out about any signature. A failure, never an answer: whoever turns errors into refusals lets it
 * through, or a busy machine would decide otherwise than any other.
 */
export class OpenPgpUnavailable extends Error {
  readonly code = 'OpenPgpUnavailable';
  readonly disposition = 'retry';
}

/** The cryptography of OpenPGP. Synchronous, and the same answers for the same bytes on any machine: without clock, network or key store. */
export interface OpenPgpVerifier {
  /**
   * One answer for each question, in their order; null for one that takes more time or memory than is given. Asked together, many are answered sooner;
   * answers are remembered. @throws OpenPgpUnavailable
   */
  verify(questions: readonly OpenPgpQuestion[]): readonly (boolean | null)[];
}

/** Keys of certificates in force. An OpenPGP signature names its key and does not carry it. */
export interface OpenPgpKeys {
  readonly verifier: OpenPgpVerifier;
  find(fingerprint: string): OpenPgpKey | undefined;
}
