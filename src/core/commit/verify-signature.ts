import type { OpenPgpKeys } from './openpgp.ts';
import { openPgpFingerprint, verifyOpenPgpSignature } from './openpgp-signature.ts';
import type { SignatureRefusal } from './signature-code.ts';
import type { KeyCache } from './ssh-key.ts';
import { verifySshSignature, type SignatureNamespace } from './ssh-signature.ts';

/** The key that signed. Whose it is, the principals in force say (T8). */
export interface Signer {
  /** `SHA256:…`, as `ssh-keygen -l` prints it, or `openpgp:` and the full fingerprint of the key or subkey. */
  readonly fingerprint: string;
}

/** What signatures are verified with, besides their own bytes. A `KeyRing` is one. */
export interface SignatureKeys {
  /** SSH keys already parsed; optional, makes many signatures of few keys faster. */
  readonly ssh?: KeyCache;
  /** Without it OpenPGP signatures are refused as `SignatureUnsupported`. */
  readonly openPgp?: OpenPgpKeys;
}

export type SignatureOutcome = { readonly ok: true; readonly signer: Signer } | ({ readonly ok: false } & SignatureRefusal);

/** Verifies an armoured signature of any supported format over `message`. SSH signatures have a namespace, OpenPGP has none. */
export function verifySignature(p: { readonly armoured: string; readonly message: Uint8Array; readonly namespace: SignatureNamespace; readonly keys: SignatureKeys }): SignatureOutcome {
  const { armoured, message, namespace, keys } = p;
  if (armoured.startsWith('-----BEGIN PGP ')) {
    const outcome = verifyOpenPgpSignature({ armoured, message, keys: keys.openPgp });
    return outcome.ok ? { ok: true, signer: { fingerprint: openPgpFingerprint(outcome.key) } } : outcome;
  }
  const outcome = verifySshSignature({ armoured, message, namespace, ...(keys.ssh === undefined ? {} : { keys: keys.ssh }) });
  return outcome.ok ? { ok: true, signer: { fingerprint: outcome.key.fingerprint } } : outcome;
}
