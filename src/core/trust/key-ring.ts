import { parseSshPublicKey } from '../commit/ssh-key.ts';
import { parseInstant, type InstantMs } from '../model/instant.ts';
import type { DocumentOf, PrincipalKey } from '../model/documents.ts';
import type { RejectCode } from '../decision/types.ts';

/** T8: the key decides who signed. Built from the principals in force, never from a proposal (T14). */
export type KeyRing = ReadonlyMap<string, KeyHolder>;
export type KeyHolder = { readonly principal: DocumentOf<'Principal'>; readonly key: PrincipalKey };

/**
 * Keys by fingerprint (`SHA256:…`). A key that stands under two principals belongs to nobody (T10); a key that cannot be
 * read is nobody's either.
 */
export function keyRingOf(principals: readonly DocumentOf<'Principal'>[]): KeyRing {
  const ring = new Map<string, KeyHolder>();
  const shared = new Set<string>();
  for (const principal of principals) {
    for (const key of principal.spec.keys) {
      const parsed = parseSshPublicKey(key.key);
      if (!parsed.ok) continue;
      const other = ring.get(parsed.key.fingerprint);
      if (other !== undefined && other.principal.metadata.name !== principal.metadata.name) shared.add(parsed.key.fingerprint);
      // Listed twice, a key is what its worst entry says: a compromised one cannot be hidden behind an active one.
      if (other === undefined || severity(key) > severity(other.key)) ring.set(parsed.key.fingerprint, { principal, key });
    }
  }
  for (const fingerprint of shared) ring.delete(fingerprint);
  return ring;
}

const SEVERITY: Readonly<Record<PrincipalKey['status'], number>> = { active: 0, superseded: 1, retired: 2, compromised: 3 };

function severity(key: PrincipalKey): number {
  return SEVERITY[key.status];
}

/**
 * Why a key did not count for what was observed at `observedAt`, or null (T9). Retired and superseded keys stay valid for
 * what was observed before; a compromised one is void; expiry is judged at the time of observation.
 */
export function keyFault(key: PrincipalKey, observedAt: InstantMs): Extract<RejectCode, `Key${string}`> | null {
  if (key.status === 'compromised') return 'KeyCompromised';
  if (key.status !== 'active') {
    const since = key.since === undefined ? null : parseInstant(key.since);
    if (since === null || observedAt >= since) return 'KeyNotActive';
  }
  const from = key.notBefore === undefined ? Number.NEGATIVE_INFINITY : parseInstant(key.notBefore);
  const until = key.notAfter === undefined ? Number.POSITIVE_INFINITY : parseInstant(key.notAfter);
  if (from === null || observedAt < from) return 'KeyNotYetValid';
  if (until === null || observedAt >= until) return 'KeyExpired';
  return null;
}
