import type { Json } from '../model/canonical-json.ts';
import type { Digest } from '../model/digest.ts';
import { documentKey, isProtected, type AnyDocument, type DocumentKey, type DocumentOf, type Kind, type ProtectedChange } from '../model/documents.ts';
import type { InstantMs } from '../model/instant.ts';
import { compareText } from '../model/names.ts';
import type { OpenPgpVerifier } from '../commit/openpgp.ts';
import type { DesiredState } from '../desired/desired-state.ts';
import { rootOf, type LogState } from '../evidence/log-state.ts';
import { renderYaml } from '../release/render-yaml.ts';
import { rootRings } from '../trust/apply-change.ts';
import { keyFault, keyRingIn, type KeyRing } from '../trust/key-ring.ts';
import { hasSay, quorumFor } from '../trust/quorum.ts';
import { rootHolders } from '../trust/root-change.ts';
import { pendingIn, sidesOf, type Pending, type PendingChange } from './pending.ts';
import type { ProtectedPlan } from './plan-model.ts';
import { unifiedDiff } from './unified-diff.ts';

export type ProtectedQuestion = {
  /** Before anything that the candidate brings came into force. */
  readonly state: LogState;
  /** After everything came into force that its quorum approved. */
  readonly after: LogState;
  readonly desired: DesiredState;
  readonly changedKeys: readonly DocumentKey[];
  readonly openPgp: OpenPgpVerifier;
  readonly asOf: InstantMs;
  /** Lists of changes and who agreed to them. */
  readonly agreed: readonly { readonly digest: Digest; readonly changes: readonly ProtectedChange[]; readonly people: readonly string[] }[];
  /** Who wrote the changes, where nobody may approve their own; null where that does not matter. */
  readonly proposers: readonly string[] | null;
  readonly why: (change: ProtectedChange) => string | null;
};

/** Where the protected documents of a candidate differ from what is in force, each with what it needs (T15), sorted. The root changes alone (T16). */
export function protectedPlans(q: ProtectedQuestion): readonly ProtectedPlan[] {
  const keys = q.changedKeys.filter((key) => isProtected(key.slice(0, key.indexOf('/')) as Kind));
  if (keys.length === 0) return [];
  const [root, rest] = [keys.filter((key) => key.startsWith('TrustRoot/')), keys.filter((key) => !key.startsWith('TrustRoot/'))];
  const ring = keyRingIn(q.state, q.openPgp);
  return [...(rest.length === 0 ? [] : plansIn(q, rest, ring)), ...(root.length === 0 ? [] : plansIn(q, root, ring))]
    .sort((a, b) => compareText(a.kind, b.kind) || compareText(a.name, b.name));
}

function plansIn(q: ProtectedQuestion, keys: readonly DocumentKey[], ring: KeyRing): readonly ProtectedPlan[] {
  const own = pendingIn(q.state, q.desired, keys);
  const all = pendingIn(q.state, q.desired);
  return own.changes.map((change) => {
    const approvedBy = approversOf(q, own.digest, change);
    return {
      digest: own.digest, kind: change.kind, name: change.name, change: change.from === null ? 'added' : change.to === null ? 'removed' : 'changed', diff: documentDiff(q, change), quorum: change.quorum,
      approvedBy, couldApprove: couldApprove(q, change, ring).filter((name) => !approvedBy.includes(name)), command: commandFor(own, all), isMet: isInForce(q.after, change), why: q.why(change),
    };
  });
}

/** With `--only` where other changes are pending as well, because the list decides the digest. */
function commandFor(own: Pending, all: Pending): string | null {
  if (own.digest === null) return null;
  const isWhole = own.digest === all.digest || own.changes.some(({ kind }) => kind === 'TrustRoot');
  return [`stella approve --change ${own.digest}`, ...(isWhole ? [] : own.changes.map(({ kind, name }) => `--only ${kind}/${name}`))].join(' ');
}

/** Those who agreed to the candidate's own list, or to the one with this change that most agreed to. */
function approversOf({ agreed }: ProtectedQuestion, digest: Digest | null, change: PendingChange): readonly string[] {
  const lists = agreed.filter(({ changes }) => changes.some((one) => one.kind === change.kind && one.name === change.name && one.count === change.count && one.from === change.from && one.to === change.to));
  const exact = lists.find((list) => list.digest === digest && list.people.length > 0);
  return (exact ?? [...lists].sort((a, b) => b.people.length - a.people.length || compareText(a.digest, b.digest))[0])?.people ?? [];
}

/** People whose yes would count today, with a key that is good (T9, T11, T21); of the root those who hold its keys (T16). */
function couldApprove(q: ProtectedQuestion, change: PendingChange, ring: KeyRing): readonly string[] {
  const { after } = sidesOf(q.state, q.desired, change);
  if (change.kind === 'TrustRoot') return after?.kind !== 'TrustRoot' ? [] : [...new Set(rootRings(q.state, after, q.openPgp).flatMap(rootHolders))].sort(compareText);
  const quorum = quorumFor(rootOf(q.state), change);
  const able = [...ring.values()].filter((holder) => keyFault(holder, q.asOf) === null).map(({ principal }) => principal);
  const people = new Map<string, DocumentOf<'Principal'>>(able.map((principal) => [principal.metadata.name, principal]));
  return [...people.values()].filter((person) => hasSay(quorum, person)).map(({ metadata }) => metadata.name).filter((name) => q.proposers?.includes(name) !== true).sort(compareText);
}

function isInForce(state: LogState, { kind, name, to }: PendingChange): boolean {
  return (state.inForce.get(documentKey(kind, name))?.digest ?? null) === to;
}

function documentDiff({ state, desired }: ProtectedQuestion, change: ProtectedChange): string | null {
  const { before, after } = sidesOf(state, desired, change);
  return unifiedDiff(documentText(before), documentText(after));
}

/** Sorted members, so that only what differs in meaning differs in the text. */
function documentText(document: AnyDocument | null): string {
  return document === null ? '' : renderYaml(document.spec as unknown as Json);
}
