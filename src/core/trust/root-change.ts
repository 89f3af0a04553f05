import { createPublicKey } from 'node:crypto';
import { parseSshPublicKey } from '../commit/ssh-key.ts';
import { demandOf } from '../decision/match-roles.ts';
import type { Digest } from '../model/digest.ts';
import { compareText } from '../model/names.ts';
import type { DocumentOf, ProtectedChange, ServiceRole, TrustRootSpec } from '../model/documents.ts';
import { keyName, keyRingOf, ringWith, type KeyHolder, type KeyRing, type OpenPgpSources } from './key-ring.ts';

/** Why a root does not follow the one in force (T10, T16). */
export type RootFault = {
  readonly code: 'RootVersionSkipped' | 'RootRegressed' | 'RootEquivocation' | 'RootPreviousOther' | 'RootIdentityOther' | 'RootThresholdInvalid' | 'RootKeysMissing';
  readonly message: string;
};
export type RootInForce = { readonly root: DocumentOf<'TrustRoot'>; readonly digest: Digest };

const SERVICE_ROLES: readonly ServiceRole[] = ['decisions', 'evidence-commits', 'agent-ca'];

/** T16: the root changes alone, so that its own quorum is the only one that has to be met. */
export function isRootChange(changes: readonly ProtectedChange[]): boolean {
  return changes.some((change) => change.kind === 'TrustRoot');
}

/**
 * Whether `next` may follow the root in force: version one higher, `previous` its digest, the same log, and never one that nobody
 * could follow in turn (T10, T16). Who must agree is another question: {@link meetsThreshold}.
 * @returns null when it may
 */
export function successionFault(before: RootInForce, next: RootInForce): RootFault | null {
  const [old, spec] = [before.root.spec, next.root.spec];
  // T16: two contents of one version. Somebody shows different people different roots, or means to.
  if (spec.version === old.version && next.digest !== before.digest) {
    return fault('RootEquivocation', `version ${old.version} of the trust root is ${before.digest}, and another root with the same version is ${next.digest}: withdraw it, or write version ${old.version + 1}`);
  }
  if (!Number.isSafeInteger(spec.version) || spec.version > old.version + 1) return fault('RootVersionSkipped', `the root in force has version ${old.version}, so the next one has ${old.version + 1} and not ${String(spec.version)}`);
  if (spec.version <= old.version) return fault('RootRegressed', `version ${old.version} of the trust root is in force, and version ${String(spec.version)} would go back`);
  if (spec.previous !== before.digest) return fault('RootPreviousOther', `\`previous\` must be the digest of the root in force, ${before.digest}`);
  const same = spec.id === old.id && spec.tenant === old.tenant && spec.documents === null && next.root.metadata.name === before.root.metadata.name;
  if (!same) return fault('RootIdentityOther', '`metadata.name`, `id` and `tenant` of a trust root never change, and `documents` is null after the first');
  return thresholdFault(spec) ?? servicesFault(old, spec);
}

/** T10: a threshold below one, or above the people who hold keys that can be read. */
function thresholdFault(spec: TrustRootSpec): RootFault | null {
  const people = new Set(rootKeys(spec).values()).size;
  if (Number.isSafeInteger(spec.threshold) && spec.threshold >= 1 && spec.threshold <= people) return null;
  return fault('RootThresholdInvalid', `a threshold of ${String(spec.threshold)} cannot be met or is none: ${people} ${people === 1 ? 'person holds' : 'people hold'} root keys that can be read`);
}

/** Whoever takes our last key of a role out of the root would end the log: nothing could be recorded any more, not even the way back. */
function servicesFault(old: TrustRootSpec, next: TrustRootSpec): RootFault | null {
  const holds = (spec: TrustRootSpec, role: ServiceRole): boolean => spec.services.some((service) => service.role === role && isServiceKey(role, service.publicKey));
  const lost = SERVICE_ROLES.find((role) => holds(old, role) && !holds(next, role));
  return lost === undefined ? null : fault('RootKeysMissing', `the root lists no readable key for ${lost}, so nothing could be recorded under it`);
}

function isServiceKey(role: ServiceRole, publicKey: string): boolean {
  if (role === 'evidence-commits') return parseSshPublicKey(publicKey).ok;
  try {
    return createPublicKey({ key: publicKey, format: 'pem', type: 'spki' }).asymmetricKeyDetails?.namedCurve === 'prime256v1';
  } catch {
    // T12: a key that cannot be read is no key.
    return false;
  }
}

/** The person of each root key by its name. A key under two names is nobody's (T10). */
function rootKeys(spec: TrustRootSpec): ReadonlyMap<string, string> {
  const byKey = Map.groupBy(spec.keys, ({ key }) => keyName(key));
  return new Map([...byKey].flatMap(([name, keys]) => (name === null || new Set(keys.map((k) => k.principal)).size > 1 ? [] : [[name, keys[0]?.principal ?? '']])));
}

/** Root keys carry no status of their own: as principals they are active. */
function stubs(spec: TrustRootSpec): readonly DocumentOf<'Principal'>[] {
  return [...Map.groupBy(spec.keys, (key) => key.principal)].map(([name, keys]) => ({
    apiVersion: 'stella/v1alpha1', kind: 'Principal', metadata: { name }, spec: { type: 'person', keys: keys.map(({ key }) => ({ key, status: 'active' })) },
  }));
}

/**
 * Root keys as a key ring: by fingerprint, each with the principal in force whose name the root gives. Whoever is not in force, or is a
 * service, holds none (T11, T12). Where the principal's own document lists the key too, its status and dates there hold (T9).
 */
export function rootKeyRing(root: DocumentOf<'TrustRoot'>, principals: readonly DocumentOf<'Principal'>[], sources: OpenPgpSources): KeyRing {
  const ring = new Map<string, KeyHolder>();
  const byName = new Map(principals.map((principal) => [principal.metadata.name, principal]));
  const owned = principals.map((principal) => ({ name: principal.metadata.name, keys: keyRingOf([principal], sources) }));
  for (const [fingerprint, { key, openPgp, principal: { metadata: { name } } }] of keyRingOf(stubs(root.spec), sources)) {
    const principal = byName.get(name);
    if (principal?.spec.type !== 'person') continue;
    const owners = owned.filter(({ keys }) => keys.has(fingerprint));
    if (owners.some((owner) => owner.name !== name)) continue;
    ring.set(fingerprint, { principal, key: owners[0]?.keys.get(fingerprint)?.key ?? key, openPgp });
  }
  return ringWith(ring, sources.openPgp);
}

/** The people who hold the keys of a ring, sorted. */
export function rootHolders(ring: KeyRing): readonly string[] {
  return [...new Set([...ring.values()].map(({ principal }) => principal.metadata.name))].sort(compareText);
}

/** T16: whether these people are enough for this root; people are counted, not keys. A threshold below one is none (T10). */
export function meetsThreshold(root: DocumentOf<'TrustRoot'>, people: ReadonlySet<string>): boolean {
  const demanded = demandOf(root.spec.threshold);
  return demanded >= 1 && people.size >= demanded;
}

function fault(code: RootFault['code'], message: string): RootFault {
  return { code, message };
}
