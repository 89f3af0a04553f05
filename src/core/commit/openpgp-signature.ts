import type { OpenPgpKey, OpenPgpKeys } from './openpgp.ts';
import { refusal, type SignatureRefusal } from './signature-code.ts';

export interface OpenPgpSignatureInput {
  readonly armoured: string;
  /** The signed bytes, raw (T1). */
  readonly message: Uint8Array;
  readonly keys: OpenPgpKeys | undefined;
}

export type OpenPgpSignatureOutcome = { readonly ok: true; readonly key: OpenPgpKey } | ({ readonly ok: false } & SignatureRefusal);

/** Verifies one armoured OpenPGP signature over `message` against the keys in force (T3, T5). */
export function verifyOpenPgpSignature(input: OpenPgpSignatureInput): OpenPgpSignatureOutcome {
  return input.keys === undefined ? { ok: false, ...refusal('SignatureUnsupported', 'openpgp') } : { ok: false, ...refusal('SignatureUnsupported', 'openpgp') };
}

/** How records and messages name an OpenPGP key. */
export function openPgpFingerprint(key: Pick<OpenPgpKey, 'fingerprint'>): string {
  return `openpgp:${key.fingerprint}`;
}
