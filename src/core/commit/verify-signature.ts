import type { OpenPgpKeys } from './openpgp.ts';
import { openPgpFingerprint, questionOf, verifyOpenPgpSignature } from './openpgp-signature.ts';
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

export interface SignatureInput {
  readonly armoured: string;
  /** The signed bytes, raw (T1). */
  readonly message: Uint8Array;
  /** Of SSH signatures. OpenPGP has none: what a signature is for, its message says alone. */
  readonly namespace: SignatureNamespace;
  readonly keys: SignatureKeys;
}

/** Verifies an armoured signature of any supported format. */
export function verifySignature({ armoured, message, namespace, keys }: SignatureInput): SignatureOutcome {
  if (isOpenPgp(armoured)) {
    const outcome = verifyOpenPgpSignature({ armoured, message, keys: keys.openPgp });
    return outcome.ok ? { ok: true, signer: { fingerprint: openPgpFingerprint(outcome.key) } } : outcome;
  }
  const outcome = verifySshSignature({ armoured, message, namespace, ...(keys.ssh === undefined ? {} : { keys: keys.ssh }) });
  return outcome.ok ? { ok: true, signer: { fingerprint: outcome.key.fingerprint } } : outcome;
}

/** Has OpenPGP signatures verified together, so that {@link verifySignature} finds the answers known. Changes no answer. */
export function verifyTogether(signatures: readonly Pick<SignatureInput, 'armoured' | 'message'>[], { openPgp }: SignatureKeys): void {
  if (openPgp === undefined) return;
  const questions = signatures.filter(({ armoured }) => isOpenPgp(armoured)).flatMap(({ armoured, message }) => {
    const asked = questionOf({ armoured, message, keys: openPgp });
    return asked.ok ? [asked.question] : [];
  });
  if (questions.length > 1) openPgp.verifier.verify(questions);
}

function isOpenPgp(armoured: string): boolean {
  return armoured.startsWith('-----BEGIN PGP ');
}
