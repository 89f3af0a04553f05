import type { OpenPgpVerifier } from '../core/commit/openpgp.ts';
import { parseEnvelopeKey } from '../core/evidence/dsse.ts';
import { allInForce, rootOf, type LogState } from '../core/evidence/log-state.ts';
import type { Digest } from '../core/model/digest.ts';
import type { DocumentOf, PrincipalKey, PrincipalSpec, ProtectedChange, ServiceRole, TrustRootSpec } from '../core/model/documents.ts';
import { rootRings } from '../core/trust/apply-change.ts';
import { keyName } from '../core/trust/key-ring.ts';
import { hasSay, quorumFor } from '../core/trust/quorum.ts';
import { rootHolders, successionFault, type RootFault } from '../core/trust/root-change.ts';
import { findDocument, type DesiredState } from '../core/desired/desired-state.ts';
import { pendingIn, type PendingChange } from '../core/proposal/pending.ts';

export type KeyView = Pick<PrincipalKey, 'status' | 'since' | 'notBefore' | 'notAfter'> & { readonly fingerprint: string };
export type PrincipalView = { readonly name: string; readonly type: PrincipalSpec['type']; readonly suspended: boolean; readonly roles: readonly string[]; readonly keys: readonly KeyView[] };

/** What is in force in matters of trust after `records` records. */
export type TrustView = {
  readonly logId: Digest;
  readonly records: number;
  readonly asOf: string | null;
  readonly root: {
    readonly version: number;
    readonly digest: Digest;
    readonly tenant: string;
    readonly threshold: number;
    readonly keys: readonly { readonly principal: string; readonly fingerprint: string }[];
    readonly services: readonly { readonly role: ServiceRole; readonly name: string; readonly key: string }[];
    readonly proposerCounts: boolean;
    readonly quorums: TrustRootSpec['quorums'];
    readonly minimums: TrustRootSpec['minimums'] | null;
  };
  readonly principals: readonly PrincipalView[];
};

/** A change that waits, and whose signatures it waits for. */
export type WaitingChange = ProtectedChange & { readonly quorum: string; readonly mayApprove: readonly string[]; readonly fault: RootFault | null };
export type Waiting = { readonly digest: Digest; readonly changes: readonly WaitingChange[]; readonly approvedBy: readonly string[] };

export function trustView(state: LogState): TrustView {
  const { tenant, version, threshold, keys, services, proposerCounts, quorums, minimums } = rootOf(state).spec;
  return {
    logId: state.logId, records: state.size, asOf: state.asOf,
    root: {
      version, digest: state.inForceDigests.root, tenant, threshold, proposerCounts, quorums, minimums: minimums ?? null,
      keys: keys.map(({ principal, key }) => ({ principal, fingerprint: keyName(key) ?? UNREADABLE })),
      services: services.map(({ role, name, publicKey }) => ({ role, name, key: serviceKeyName(role, publicKey) })),
    },
    principals: allInForce(state, 'Principal').map(principalView),
  };
}

const UNREADABLE = 'unreadable';

/** A fingerprint for evidence commits, else the key id that envelopes name. */
function serviceKeyName(role: ServiceRole, publicKey: string): string {
  if (role === 'evidence-commits') return keyName(publicKey) ?? UNREADABLE;
  const parsed = parseEnvelopeKey(publicKey);
  return parsed.ok ? parsed.key.keyId : UNREADABLE;
}

function principalView({ metadata, spec }: DocumentOf<'Principal'>): PrincipalView {
  const places = ({ role, environments, applications }: NonNullable<PrincipalSpec['roles']>[number]): string => {
    const bounds = [...(environments ?? []), ...(applications ?? [])];
    return bounds.length === 0 ? role : `${role} (${bounds.join(', ')})`;
  };
  return {
    name: metadata.name, type: spec.type, suspended: spec.suspended !== undefined, roles: (spec.roles ?? []).map(places),
    keys: spec.keys.map(({ key, ...rest }) => ({ fingerprint: keyName(key) ?? UNREADABLE, ...rest })),
  };
}

/** What a commit says otherwise than what is in force, with who may approve it; the trust root apart, for it changes on its own (T16). */
export function waitingIn(state: LogState, desired: DesiredState, openPgp: OpenPgpVerifier): readonly Waiting[] {
  const others = pendingIn(state, desired);
  const root = pendingIn(state, desired, ['TrustRoot']);
  const both = others.digest === root.digest ? [others] : [others, root];
  return both.flatMap(({ digest, changes }) => {
    if (digest === null) return [];
    const seen = (state.changeApprovals.get(digest) ?? []).flatMap((key) => state.approvals.get(key) ?? []);
    const approvedBy = [...new Set(seen.filter(({ action }) => action === 'approve').map(({ principal }) => principal))].sort();
    return [{ digest, changes: changes.map((change) => ({ ...change, ...entitledTo(state, desired, change, openPgp) })), approvedBy }];
  });
}

function entitledTo(state: LogState, desired: DesiredState, change: PendingChange, openPgp: OpenPgpVerifier): Pick<WaitingChange, 'mayApprove' | 'fault'> {
  if (change.kind !== 'TrustRoot') {
    const quorum = quorumFor(rootOf(state), change);
    return { mayApprove: allInForce(state, 'Principal').filter((person) => hasSay(quorum, person) && person.spec.suspended === undefined).map((person) => person.metadata.name), fault: null };
  }
  const found = findDocument(desired, 'TrustRoot', change.name);
  if (found.status !== 'present' || change.to === null) return { mayApprove: [], fault: null };
  const next = { root: found.entry.document as unknown as DocumentOf<'TrustRoot'>, digest: change.to };
  const mayApprove = [...new Set(rootRings(state, next.root, openPgp).flatMap(rootHolders))].sort();
  return { mayApprove, fault: successionFault({ root: rootOf(state), digest: state.inForceDigests.root }, next) };
}
