import { parseCanonicalJson } from '../model/canonical-json.ts';
import type { Digest } from '../model/digest.ts';
import { documentDigest, type AnyDocument, type ApprovalSpec, type ApprovalType, type DocumentOf } from '../model/documents.ts';
import { compareText } from '../model/names.ts';
import type { LogState } from '../evidence/log-state.ts';
import type { LogSources } from '../evidence/fold.ts';
import type { ObservedYes } from '../evidence/records.ts';
import { hasExpired, personOf } from './apply-change.ts';
import { signersOf } from './embedded-signers.ts';
import { keyRingIn, type KeyRing } from './key-ring.ts';
import { despiteIn, isWithdrawn, withdrawalsIn } from './withdrawals.ts';

/** What an observed Approval must say to count. */
export type Wanted = { readonly type: ApprovalType; readonly digest: Digest; readonly asOf: string };

/** Who said yes and no to one digest, as of a moment, by the documents in force and the archived bytes. */
export type Voices = { readonly yes: ReadonlyMap<string, Voice>; readonly no: readonly DocumentOf<'Principal'>[] };
export type Voice = { readonly person: DocumentOf<'Principal'>; readonly approval: ObservedYes };

/**
 * Counts people, not keys: several approvals of one person are one voice, the one observed first (T21).
 * @param approvals artifacts of observed Approvals
 * @returns null when bytes are missing that may be a no: then nothing can be said
 */
export function voicesIn(state: LogState, approvals: readonly Digest[], wanted: Wanted, { artifact, openPgp }: LogSources): Voices | null {
  const ring = keyRingIn(state, openPgp);
  const yes = new Map<string, Voice>();
  const no: DocumentOf<'Principal'>[] = [];
  const withdrawals = withdrawalsIn(approvals.flatMap((key) => state.approvals.get(key) ?? []).map(({ principal, document, action }) => ({ principal, document, action, approves: wanted.digest })));
  for (const key of [...approvals].sort((a, b) => seqOf(state, a) - seqOf(state, b) || compareText(a, b))) {
    const seen = state.approvals.get(key);
    const bytes = seen === undefined ? undefined : artifact(key);
    if (seen === undefined || bytes === undefined) return null;
    if (seen.action === 'withdraw') continue;
    const person = signerOf(bytes, { ...wanted, seen, ring });
    if (person === null) continue;
    const { name } = person.metadata;
    if (seen.action === 'reject') no.push(person);
    else if (isWithdrawn(withdrawals, { principal: seen.principal, approves: wanted.digest, despite: despiteIn(parseCanonicalJson(bytes) as AnyDocument | undefined) })) continue;
    else if (!yes.has(name)) yes.set(name, { person, approval: { principal: name, document: seen.document, artifact: key, observedAt: seen.observedAt } });
  }
  return { yes, no };
}

function seqOf(state: LogState, approval: Digest): number {
  return state.approvals.get(approval)?.seq ?? -1;
}

type Seen = { readonly action: ApprovalSpec['action']; readonly principal: string; readonly document: Digest; readonly observedAt: string };

/** Signature and content again from the raw bytes: the observation says when, not who. */
function signerOf(bytes: Uint8Array, q: Wanted & { readonly seen: Seen; readonly ring: KeyRing }): DocumentOf<'Principal'> | null {
  const document = parseCanonicalJson(bytes) as AnyDocument | undefined;
  if (document?.kind !== 'Approval' || documentDigest(document) !== q.seen.document) return null;
  const { type, digest, action, expires } = document.spec;
  if (type !== q.type || digest !== q.digest || action !== q.seen.action) return null;
  if (expires !== undefined && hasExpired(expires, { asOf: q.asOf, action })) return null;
  return personOf(signersOf(document, 'stella-approval', q.ring).map((s) => s.fingerprint), q.seen, { ...q, action: q.seen.action });
}
