import type { OpenPgpVerifier } from '../commit/openpgp.ts';
import { isCertificate, primaryFingerprint } from '../commit/openpgp-certificate.ts';
import { openPgpFingerprint } from '../commit/openpgp-signature.ts';
import { createKeyCache, parseSshPublicKey, type KeyCache } from '../commit/ssh-key.ts';
import type { SignatureKeys } from '../commit/verify-signature.ts';
import type { OpenPgpKey } from '../model/openpgp-key.ts';
import { parseInstant, type InstantMs } from '../model/instant.ts';
import type { DocumentOf, PrincipalKey } from '../model/documents.ts';
import type { RejectCode } from '../decision/types.ts';
import { allInForce, type LogState } from '../evidence/log-state.ts';

/** T8: the key decides who signed. By fingerprint of a `Signer`; built from the principals in force, never from a proposal (T14). Signatures are verified with it. */
export type KeyRing = ReadonlyMap<string, KeyHolder> & Required<SignatureKeys>;
export type KeyHolder = {
  readonly principal: DocumentOf<'Principal'>;
  readonly key: PrincipalKey;
  /** The key or subkey, and the primary key that it is bound to, as their certificate describes them; null for an SSH key. */
  readonly openPgp: { readonly key: OpenPgpKey; readonly primary: OpenPgpKey } | null;
};

/** What a key in a document can sign as: one fingerprint for an SSH key, one for each signing key of a certificate. */
type SigningKey = { readonly fingerprint: string; readonly openPgp: KeyHolder['openPgp'] };

/** What OpenPGP keys are looked up in and verified with. */
export type OpenPgpSources = { readonly certificates: LogState['certificates']; readonly openPgp: OpenPgpVerifier };

/** The keys of all principals in force. */
export function keyRingIn(state: Pick<LogState, 'inForce' | 'certificates'>, openPgp: OpenPgpVerifier): KeyRing {
  return keyRingOf(allInForce(state, 'Principal'), { certificates: state.certificates, openPgp });
}

/**
 * Keys by fingerprint (`SHA256:…`, `openpgp:…`). A key that stands under two principals belongs to nobody (T10); a key that cannot be
 * read is nobody's either.
 */
export function keyRingOf(principals: readonly DocumentOf<'Principal'>[], sources: OpenPgpSources): KeyRing {
  const ring = new Map<string, KeyHolder>();
  const ssh = createKeyCache();
  const shared = new Set<string>();
  for (const principal of principals) {
    for (const key of principal.spec.keys) {
      for (const signing of signingKeysOf(key.key, sources.certificates, ssh)) {
        const { fingerprint } = signing;
        const other = ring.get(fingerprint);
        if (other !== undefined && other.principal.metadata.name !== principal.metadata.name) shared.add(fingerprint);
        // Listed twice, a key is what its worst entry says: a compromised one cannot be hidden behind an active one.
        if (other === undefined || severity(key) > severity(other.key)) ring.set(fingerprint, { principal, key, openPgp: signing.openPgp });
      }
    }
  }
  for (const fingerprint of shared) ring.delete(fingerprint);
  return ringWith(ring, sources.openPgp, ssh);
}

/** These holders as a key ring. */
export function ringWith(holders: ReadonlyMap<string, KeyHolder>, verifier: OpenPgpVerifier, ssh: KeyCache = createKeyCache()): KeyRing {
  const find = (fingerprint: string): OpenPgpKey | undefined => holders.get(openPgpFingerprint({ fingerprint }))?.openPgp?.key;
  return Object.assign(new Map(holders), { ssh, openPgp: { verifier, find } });
}

/** One name for one key, whatever can be proven of it: the fingerprint of an SSH key, or of the primary key of a certificate. Null when it cannot be read. */
export function keyName(key: string): string | null {
  if (isCertificate(key)) {
    const fingerprint = primaryFingerprint(key);
    return fingerprint === null ? null : openPgpFingerprint({ fingerprint });
  }
  const parsed = parseSshPublicKey(key);
  return parsed.ok ? parsed.key.fingerprint : null;
}

/** The keys that a key of a Principal or of the trust root may sign with; none when it cannot be read. */
function signingKeysOf(key: string, certificates: LogState['certificates'], ssh: KeyCache): readonly SigningKey[] {
  if (!isCertificate(key)) {
    const parsed = parseSshPublicKey(key, ssh);
    return parsed.ok ? [{ fingerprint: parsed.key.fingerprint, openPgp: null }] : [];
  }
  const fingerprint = primaryFingerprint(key);
  const certificate = fingerprint === null ? undefined : certificates.get(fingerprint);
  const primary = certificate?.keys.find((k) => k.fingerprint === fingerprint);
  if (certificate === undefined || primary === undefined) return [];
  return certificate.keys.filter((k) => k.maySign).map((k) => ({ fingerprint: openPgpFingerprint(k), openPgp: { key: k, primary } }));
}

const SEVERITY: Readonly<Record<PrincipalKey['status'], number>> = { active: 0, superseded: 1, retired: 2, compromised: 3 };

function severity(key: PrincipalKey): number {
  return SEVERITY[key.status];
}

export type KeyFault = Extract<RejectCode, `Key${string}` | 'PrincipalSuspended'>;

/**
 * Why a yes with this key does not count that was observed at `observedAt`, or null. Retired and superseded keys stay valid for what was
 * observed before; a compromised one is void; expiry is judged at the time of observation (T9). Of a suspended principal nothing counts (T24).
 */
export function keyFault(holder: KeyHolder, observedAt: InstantMs): KeyFault | null {
  const { principal, key } = holder;
  if (principal.spec.suspended !== undefined) return 'PrincipalSuspended';
  if (key.status === 'compromised') return 'KeyCompromised';
  if (key.status !== 'active') {
    const since = key.since === undefined ? null : parseInstant(key.since);
    if (since === null || observedAt >= since) return 'KeyNotActive';
  }
  return rejectionKeyFault(holder, observedAt);
}

/**
 * The same for a no. T24: stopping a key or a principal voids what they agreed to and never what they stopped, else one signature could turn a
 * no into a yes. A no stands until a quorum takes the key or the role out of the principal's document.
 */
export function rejectionKeyFault({ key, openPgp }: KeyHolder, observedAt: InstantMs): KeyFault | null {
  const from = key.notBefore === undefined ? Number.NEGATIVE_INFINITY : parseInstant(key.notBefore);
  const until = key.notAfter === undefined ? Number.POSITIVE_INFINITY : parseInstant(key.notAfter);
  if (from === null || observedAt < from) return 'KeyNotYetValid';
  if (until === null || observedAt >= until) return 'KeyExpired';
  return openPgp === null ? null : (openPgpFault(openPgp.primary, observedAt) ?? openPgpFault(openPgp.key, observedAt));
}

/** T9 by what the certificate says of the key. A subkey is no better than its primary key. */
function openPgpFault(key: OpenPgpKey, observedAt: InstantMs): KeyFault | null {
  if (key.revocation?.compromised === true) return 'KeyCompromised';
  if (key.revocation !== null && observedAt >= key.revocation.from) return 'KeyNotActive';
  if (observedAt < key.createdAt) return 'KeyNotYetValid';
  return key.expiresAt !== null && observedAt >= key.expiresAt ? 'KeyExpired' : null;
}
