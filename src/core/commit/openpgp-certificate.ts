import { limits } from '../model/limits.ts';
import { decodeArmour } from './openpgp-armour.ts';
import { keyFingerprint, splitPackets, TAG } from './openpgp-packet.ts';
import type { OpenPgpCertificate, OpenPgpKey, OpenPgpRevocation } from '../model/openpgp-key.ts';

/** Whether a key in a document is an OpenPGP certificate; if not it is an OpenSSH line. */
export function isCertificate(key: string): boolean {
  return key.startsWith('-----BEGIN PGP ');
}

/** Fingerprint of the primary key of an armoured certificate; null when it cannot be read. What the certificate proves is not looked at. */
export function primaryFingerprint(armoured: string): string | null {
  if (armoured.length > limits.certificateBytes) return null;
  const armour = decodeArmour(armoured, 'PGP PUBLIC KEY BLOCK');
  const first = armour.ok ? splitPackets(armour.bytes, limits.certificatePackets)?.[0] : undefined;
  return first?.tag === TAG.publicKey ? keyFingerprint(first.body) : null;
}

/**
 * Two versions of one certificate as one. Nothing that was known is forgotten (T9): a revocation once in force stays, also when a later
 * version leaves it out, and so does a subkey; of each key the newer binding counts. Commutative, associative and idempotent.
 */
export function mergeCertificates(a: OpenPgpCertificate | undefined, b: OpenPgpCertificate): OpenPgpCertificate {
  if (a === undefined || a === b) return b;
  const keys = new Map(a.keys.map((key) => [key.fingerprint, key]));
  for (const key of b.keys) {
    const other = keys.get(key.fingerprint);
    keys.set(key.fingerprint, other === undefined ? key : mergeKeys(other, key));
  }
  return { primary: a.primary, keys: [...keys.values()].sort((x, y) => (x.fingerprint < y.fingerprint ? -1 : 1)) };
}

function mergeKeys(a: OpenPgpKey, b: OpenPgpKey): OpenPgpKey {
  const revocation = earlierRevocation(a.revocation, b.revocation);
  if (a.boundAt !== b.boundAt) return { ...(a.boundAt > b.boundAt ? a : b), revocation };
  // Two bindings of the same second: the stricter says.
  return { ...a, revocation, maySign: a.maySign && b.maySign, expiresAt: earliest(a.expiresAt, b.expiresAt) };
}

function earliest(a: number | null, b: number | null): number | null {
  return a === null || b === null ? (a ?? b) : Math.min(a, b);
}

/** The one that reaches further back; of a key that was called compromised once nothing else is said. */
export function earlierRevocation(a: OpenPgpRevocation | null, b: OpenPgpRevocation | null): OpenPgpRevocation | null {
  if (a === null || b === null) return a ?? b;
  return { from: Math.min(a.from, b.from), compromised: a.compromised || b.compromised };
}
