import { parseCanonicalJson } from '../core/model/canonical-json.ts';
import type { Digest } from '../core/model/digest.ts';
import type { ApprovalSpec, DocumentOf, ProtectedChange } from '../core/model/documents.ts';
import type { Clause, Plan } from '../core/model/preimages.ts';
import type { DecisionInput } from '../core/decision/types.ts';
import type { LogState, ObservedApproval } from '../core/evidence/log-state.ts';
import { isWithdrawn, withdrawalsIn } from '../core/trust/withdrawals.ts';
import type { PlanningWorld, Subject } from '../reconciler/planning.ts';
import type { RecordStep } from '../reconciler/read-evidence.ts';
import { componentsOf, differenceLines, emergencyLines, filesOf, readJson, ruleText, targetsOf, variablesOf, type PromotionView } from './approve-promotion.ts';
import { plain } from '../core/model/plain-text.ts';

/** An approval of somebody, with what they signed. */
export type EarlierApproval = { readonly seen: ObservedApproval; readonly document: DocumentOf<'Approval'> };

/** All that `principal` said to digests of this type, oldest first. A withdrawn yes is told apart by {@link stands}. */
export function saidBy(world: Pick<PlanningWorld, 'state' | 'lookup'>, principal: string, type: 'promotion' | 'change'): readonly EarlierApproval[] {
  const seen = [...world.state.approvals.values()].filter((one) => one.principal === principal && one.approves.type === type).sort((a, b) => a.seq - b.seq);
  return seen.flatMap((one) => {
    const bytes = world.lookup(one.artifact);
    const document = bytes === undefined ? undefined : (parseCanonicalJson(bytes) as DocumentOf<'Approval'> | undefined);
    return document === undefined ? [] : [{ seen: one, document }];
  });
}

/** The yes among them that were not taken back. */
export function stands(said: readonly EarlierApproval[]): readonly EarlierApproval[] {
  const withdrawals = withdrawalsIn(said.map(({ seen }) => ({ ...seen, approves: seen.approves.digest })));
  return said.filter(({ seen, document }) =>
    seen.action === 'approve' && !isWithdrawn(withdrawals, { principal: seen.principal, approves: seen.approves.digest, despite: document.spec.despite ?? [] }));
}

/** Withdrawals that a new yes to `digest` has to name. */
export function withdrawalsOf(said: readonly EarlierApproval[], digest: Digest): readonly Digest[] {
  return [...new Set(said.filter(({ seen }) => seen.action === 'withdraw' && seen.approves.digest === digest).map(({ seen }) => seen.document))].sort();
}

/** What the log holds about promotion digests: gathered while it is read. */
export class DecidedPlans {
  readonly #found = new Map<Digest, { readonly plan: Digest | null; readonly input: Digest }>();

  visit = ({ record }: Pick<RecordStep, 'record'>): void => {
    if (record.type !== 'promotion-decision' || record.predicate.decision.promotionDigest === null) return;
    this.#found.set(record.predicate.decision.promotionDigest, { plan: record.predicate.sources.plan, input: record.predicate.input });
  };

  /** Plan and rules of a promotion digest that was decided about; null for one that the server never saw. */
  of(digest: Digest, world: Pick<PlanningWorld, 'lookup'>): { readonly plan: Plan; readonly rules: readonly Clause[] } | null {
    const found = this.#found.get(digest);
    const plan = found?.plan == null ? null : readJson<Plan>(world, found.plan);
    const input = found === undefined ? null : readJson<DecisionInput>(world, found.input);
    return plan === null || input === null ? null : { plan, rules: input.clauses };
  }
}

/** What is other than when it was approved last. */
export type SinceApproval = Pick<PromotionView, 'components' | 'files' | 'variables' | 'targets'> & {
  readonly digest: Digest;
  readonly observedAt: string;
  readonly workflow: boolean;
  readonly rules: { readonly added: readonly string[]; readonly removed: readonly string[] };
  /** Whether another state is replaced: something else runs, or another run was between. */
  readonly replaces: boolean;
};

/** @returns null when the log does not hold what was approved then */
export function sinceApproval(earlier: EarlierApproval, plans: DecidedPlans, now: { readonly world: PlanningWorld; readonly plan: Plan; readonly view: PromotionView; readonly rules: readonly Clause[] }): SinceApproval | null {
  const { digest } = earlier.seen.approves;
  const then = plans.of(digest, now.world);
  if (then === null) return null;
  const [before, after] = [then.plan.runs, now.plan.runs];
  const [old, rules] = [then.rules.map(ruleText), now.rules.map(ruleText)];
  const same = {
    components: componentsOf(before, after, []).filter((c) => c.from !== c.to), files: filesOf(before, after), variables: variablesOf(before, after),
    targets: targetsOf(then.plan, now.plan).filter((t) => t.change !== 'same'), workflow: JSON.stringify(then.plan.workflow) !== JSON.stringify(now.plan.workflow),
    rules: { added: rules.filter((r) => !old.includes(r)), removed: old.filter((r) => !rules.includes(r)) },
  };
  const isAllSame = same.components.length + same.files.length + same.variables.length + same.targets.length + same.rules.added.length + same.rules.removed.length === 0 && !same.workflow;
  return { ...same, digest, observedAt: earlier.seen.observedAt, replaces: isAllSame && digest !== now.view.digest };
}

/** Only the differences, in the words of the full text. */
export function sinceText(view: PromotionView, since: SinceApproval): string {
  const lines = [
    `${view.application} ${view.release.to ?? ''} in ${view.environment}: what changed since your approval of ${since.observedAt}`,
    `  digest      ${since.digest.slice(0, 19)} → ${view.digest}`, ...emergencyLines(view), ...differenceLines(since), ...since.targets.map((t) => `  target      ${t.name} (agent ${t.agent}): ${t.change}`),
    ...(since.workflow ? [`  workflow    is now ${view.workflow.name}: ${view.workflow.steps.join(' → ')}, on failure ${view.workflow.onFailure}`] : []),
    ...since.rules.added.map((rule) => `  rule        new: ${rule}`), ...since.rules.removed.map((rule) => `  rule        gone: ${rule}`),
    ...(since.replaces ? [`  replaces    another state than then: now ${view.release.from ?? 'nothing'} runs there`] : []), `  approved by ${view.approvedBy.join(', ') || 'nobody yet'}`,
  ];
  return lines.map(plain).join('\n');
}

/** The last list of changes that the person approved and that shares a document with what is asked now. */
export function earlierChanges(said: readonly EarlierApproval[], keys: ReadonlySet<string>): readonly ProtectedChange[] {
  const lists = stands(said).map(({ document }) => document.spec.changes ?? []);
  return lists.findLast((list) => list.some(({ kind, name }) => keys.has(`${kind}/${name}`))) ?? [];
}

/** The standing yes of somebody to promotions of a subject, the newest last. */
export function standingFor(said: readonly EarlierApproval[], { environment, application }: Subject, state: LogState): readonly EarlierApproval[] {
  const open = new Set(state.states.get(`${environment}/${application}`)?.approvals ?? []);
  return stands(said).filter(({ seen }) => seen.subject?.environment === environment && seen.subject.application === application && open.has(seen.artifact));
}

/** The standing yes of somebody to lists of changes that are not in force. */
export function standingChanges(said: readonly EarlierApproval[], state: LogState, { change, only }: { readonly change: string | undefined; readonly only: readonly string[] }): readonly EarlierApproval[] {
  return stands(said).filter(({ seen, document }) => {
    const isMeant = change === undefined || seen.approves.digest === change;
    const isNamed = only.length === 0 || (document.spec.changes ?? []).some(({ kind, name }) => only.includes(kind) || only.includes(`${kind}/${name}`));
    return isMeant && isNamed && (state.changeApprovals.get(seen.approves.digest) ?? []).includes(seen.artifact);
  });
}

/** A withdrawal says of what, in the words of the approval that it takes back. */
export function withdrawalSpec(spec: ApprovalSpec, nonce: string, comment: string | undefined): ApprovalSpec {
  const { type, digest, environment, application, changes } = spec;
  return {
    type, digest, action: 'withdraw', ...(environment === undefined ? {} : { environment }), ...(application === undefined ? {} : { application }), ...(changes === undefined ? {} : { changes }),
    ...(comment === undefined ? {} : { comment }), nonce,
  };
}

export function aboutText({ environment, application, release, changes }: ApprovalSpec): string {
  if (changes !== undefined) return changes.map(({ kind, name }) => `${kind}/${name}`).join(', ');
  return `${application ?? ''} ${release ?? ''} in ${environment ?? ''}`;
}
