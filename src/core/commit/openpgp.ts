import type { InstantMs } from '../model/instant.ts';
import type { SignatureRefusal } from './signature-code.ts';

/** From when on a revocation counts. One without a reason, or for a compromised key, counts from the beginning (T9). */
export type OpenPgpRevocation = { readonly from: InstantMs; readonly compromised: boolean };

/** A key of a certificate, as its own signatures describe it. Plain values: whether it may be used is judged at *observed at* (T9). */
export interface OpenPgpKey {
  /** Lower-case hexadecimal digits: 40 of a v4 key, 64 of a v6 key. */
  readonly fingerprint: string;
  readonly primary: string;
  /** Body of the public key packet. */
  readonly packet: Uint8Array;
  readonly createdAt: InstantMs;
  /** When the newest signature that binds this key to its certificate was made; of two versions of a certificate the newer one counts. */
  readonly boundAt: InstantMs;
  /** Whether it may sign documents: its key flags say so, and a subkey has signed its binding itself (T5). */
  readonly maySign: boolean;
  readonly expiresAt: InstantMs | null;
  readonly revocation: OpenPgpRevocation | null;
}

export interface OpenPgpCertificate {
  /** Fingerprint of the primary key. */
  readonly primary: string;
  /** The primary key and the keys that are bound to it, sorted by fingerprint. */
  readonly keys: readonly OpenPgpKey[];
}

export type OpenPgpCertificateOutcome = { readonly ok: true; readonly certificate: OpenPgpCertificate } | ({ readonly ok: false } & SignatureRefusal);

/** Asks whether `signature` over `message` was made with the key in `keyPacket`. */
export interface OpenPgpQuestion {
  /** Body of the public key packet. */
  readonly keyPacket: Uint8Array;
  /** Body of the one signature packet. */
  readonly signature: Uint8Array;
  readonly message: Uint8Array;
}

/**
 * The cryptography of OpenPGP. Synchronous, and the same answers for the same bytes on any machine: without clock, network or key store.
 * It judges no time and no person.
 */
export interface OpenPgpVerifier {
  /** What an armoured certificate says of itself; only what its own signatures prove. */
  readCertificate(armoured: string): OpenPgpCertificateOutcome;
  /** One answer for each question, in their order. Asked together, many are answered sooner; answers are remembered. */
  verify(questions: readonly OpenPgpQuestion[]): readonly boolean[];
}

/** Keys of certificates in force. An OpenPGP signature names its key and does not carry it. */
export interface OpenPgpKeys {
  readonly verifier: OpenPgpVerifier;
  find(fingerprint: string): OpenPgpKey | undefined;
}
