import type { Digest } from '../core/model/digest.ts';
import { canonicalText } from '../core/model/canonical-json.ts';
import type { AnyDocument, ApprovalSpec, ProtectedChange } from '../core/model/documents.ts';
import type { ChangeApproval } from '../core/evidence/records.ts';
import { isTakenBack } from '../core/trust/apply-change.ts';
import type { PlanningWorld } from '../reconciler/planning.ts';
import { commitText, seenCommit, type LoadedDeclarations } from './clone.ts';
import { CliError } from './command.ts';
import { bareChanges, pendingIn, sidesOf, type Pending, type PendingChange } from '../core/proposal/pending.ts';
import type { Answer } from './approve-promotion.ts';
import { plain } from '../core/model/plain-text.ts';
import { textDifference } from './text-difference.ts';

/** What one approval of protected changes approves, for the approver's eyes and for JSON. */
export type ChangeView = {
  readonly type: 'change';
  readonly digest: Digest;
  readonly changes: readonly (PendingChange & { /** The same as in the earlier approval that a refresh is compared with. */ readonly approvedBefore: boolean })[];
  readonly approvedBy: readonly string[];
  readonly rejectedBy: readonly string[];
  readonly seenAt: string;
  readonly onto: string;
};

/** @param earlier the list that the person approved last, for a refresh @throws CliError `NothingToApprove`, `OtherDigest` */
export function changeView(world: PlanningWorld, loaded: LoadedDeclarations, p: { readonly only: readonly string[]; readonly change: string | undefined; readonly earlier: readonly ProtectedChange[] }): ChangeView & { readonly rootLeftOut: boolean; readonly liftings: readonly string[] } {
  const pending = pendingFor(world, loaded, p);
  if (pending.digest === null) throw new CliError('NothingToApprove', `No protected document of this commit differs from what is in force${pending.liftings.length === 0 ? '' : ', but for stops that it does not hold'}.`, pending.liftings.length === 0 ? null : `To lift one: stella approve --pending --only ${pending.liftings[0] ?? ''}`, { exitCode: 1 });
  if (p.change !== undefined && p.change !== pending.digest) {
    throw new CliError('OtherDigest', `The pending changes of this commit have the digest ${pending.digest}, not ${p.change}.`, 'Fetch and look again: something changed, or another commit was meant (--ref, --only).', { exitCode: 1 });
  }
  const before = new Set(p.earlier.map(entryText));
  return {
    type: 'change', digest: pending.digest, changes: pending.changes.map((change) => ({ ...change, approvedBefore: before.has(entryText(change)) })),
    ...voicesOn(world, pending.digest), seenAt: seenCommit(loaded), onto: loaded.tip, rootLeftOut: pending.root, liftings: pending.liftings,
  };
}

/** The trust root changes by itself: with --change its digest finds it, or the one of everything else does. */
function pendingFor(world: PlanningWorld, { desired }: LoadedDeclarations, { only, change }: { readonly only: readonly string[]; readonly change: string | undefined }): Pending {
  const pending = pendingIn(world.state, desired, only);
  if (change === undefined || change === pending.digest || !pending.root) return pending;
  const root = pendingIn(world.state, desired, ['TrustRoot']);
  return root.digest === change ? root : pending;
}

function voicesOn({ state, lookup }: PlanningWorld, digest: Digest): Pick<ChangeView, 'approvedBy' | 'rejectedBy'> {
  const seen = (state.changeApprovals.get(digest) ?? []).flatMap((key) => state.approvals.get(key) ?? []);
  const yes = seen.filter(({ action }) => action === 'approve').filter(({ principal, document, artifact, observedAt }) => {
    const approval: ChangeApproval = { carrier: 'embedded', principal, document, artifact, observedAt };
    return !isTakenBack(state, digest, approval, lookup);
  });
  const names = (list: readonly { readonly principal: string }[]): readonly string[] => [...new Set(list.map(({ principal }) => principal))].sort();
  return { approvedBy: names(yes), rejectedBy: names(seen.filter(({ action }) => action === 'reject')) };
}

/** T15: in force against new, whatever commits lie between. */
export function changeText(world: PlanningWorld, loaded: LoadedDeclarations, view: ChangeView): string {
  const lines = [`Protected changes at commit ${commitText(loaded)}`, `digest      ${view.digest}`, `approved by ${view.approvedBy.join(', ') || 'nobody yet'}`];
  if (view.rejectedBy.length > 0) lines.push(`rejected by ${view.rejectedBy.join(', ')}`);
  const known = view.changes.filter((change) => change.approvedBefore).map(({ kind, name }) => `${kind}/${name}`);
  if (known.length > 0) lines.push(`as you approved before: ${known.join(', ')}`);
  for (const change of view.changes.filter(({ approvedBefore }) => !approvedBefore)) {
    const { before, after } = sidesOf(world.state, loaded.desired, change);
    const what = change.from === null ? 'is new' : change.to === null ? 'is deleted' : 'changes';
    lines.push('', `${change.kind}/${change.name} ${what}; needs ${change.quorum}. In force → new:`);
    lines.push(...textDifference(specText(before), specText(after)).map((line) => `  ${line}`));
  }
  return lines.map(plain).join('\n');
}

export function changeSpec(view: ChangeView, answer: Answer): ApprovalSpec {
  return { type: 'change', digest: view.digest, changes: bareChanges(view), ...answer };
}

function entryText({ kind, name, count, from, to }: ProtectedChange): string {
  return canonicalText({ kind, name, count, from, to });
}

/** Sorted members, so that only what differs in meaning differs in the text. */
function specText(document: AnyDocument | null): string {
  return document === null ? '' : JSON.stringify(JSON.parse(canonicalText(document.spec)), null, 2);
}
