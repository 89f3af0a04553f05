import type { InstantMs } from './instant.ts';

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
