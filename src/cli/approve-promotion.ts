import type { Digest } from '../core/model/digest.ts';
import type { BreakGlass, ApprovalSpec } from '../core/model/documents.ts';
import type { Clause, Lock, Plan, PlanTarget, Runs } from '../core/model/preimages.ts';
import { canonicalText, parseCanonicalJson } from '../core/model/canonical-json.ts';
import type { DecisionInput } from '../core/decision/types.ts';
import { clauseSubject } from '../core/decision/clauses.ts';
import { appStateOf } from '../core/evidence/log-state.ts';
import type { PlanningWorld } from '../reconciler/planning.ts';
import { CliError } from './command.ts';
import type { PlannedSubject, TagCheck } from './plan-subject.ts';
import { plain } from '../core/model/plain-text.ts';

/** What one approval of a promotion approves, for the approver's eyes and for JSON. */
export type PromotionView = {
  readonly type: 'promotion';
  readonly digest: Digest;
  readonly environment: string;
  readonly application: string;
  readonly operation: string;
  /** By which rules it is judged. */
  readonly mode: DecisionInput['mode'];
  /** The emergency that it is asked for as. */
  readonly breakGlass: BreakGlass | null;
  readonly release: { readonly from: string | null; readonly to: string | null };
  readonly components: readonly { readonly name: string; readonly from: Digest | null; readonly to: Digest | null; readonly tag: string | null; readonly tagNow: Digest | null; readonly fault: string | null }[];
  /** Files that reach the targets and differ from what runs. */
  readonly files: readonly { readonly path: string; readonly change: 'added' | 'changed' | 'removed' }[];
  readonly variables: readonly { readonly name: string; readonly from: string | null; readonly to: string | null }[];
  readonly targets: readonly { readonly name: string; readonly agent: string; readonly change: 'added' | 'changed' | 'same' | 'removed' }[];
  readonly workflow: { readonly name: string; readonly steps: readonly string[]; readonly onFailure: string; readonly differs: boolean };
  readonly rules: readonly string[];
  readonly approvedBy: readonly string[];
  readonly rejectedBy: readonly string[];
  /** Approvals that do not count, and why. */
  readonly notCounted: readonly { readonly principal: string; readonly code: string }[];
  readonly requesters: readonly string[];
  readonly digestsChecked: boolean;
};

/**
 * Describes what would run against what runs.
 * @throws CliError `NotApprovable` when there is no promotion digest, with what is missing
 */
export function promotionView(world: PlanningWorld, one: PlannedSubject, tags: readonly TagCheck[]): PromotionView {
  const { input } = one.built;
  const plan = one.planned.material.plan;
  if (input.promotionDigest === null || plan === null) {
    const why = one.lockFault ?? input.problems[0]?.detail ?? 'there is no plan';
    throw new CliError('NotApprovable', `There is nothing to approve yet: ${why}.`, 'Mend that first; `stella explain` shows everything that is missing.', { exitCode: 1 });
  }
  const app = appStateOf(world.state, one.subject.environment, one.subject.application);
  const before = app.runs === null ? null : readJson<Runs>(world, app.runs);
  const planBefore = app.plan === null ? null : readJson<Plan>(world, app.plan);
  const counted = (action: 'approve' | 'reject'): readonly string[] => [...new Set(input.approvals.filter((a) => a.action === action).map((a) => a.principal))];
  return {
    type: 'promotion', digest: input.promotionDigest, environment: input.environment, application: input.application, operation: input.operation,
    mode: input.mode, breakGlass: plan.breakGlass, release: { from: app.release, to: input.release }, components: componentsOf(before, one.lock, tags), files: filesOf(before, plan.runs), variables: variablesOf(before, plan.runs),
    targets: targetsOf(planBefore, plan), workflow: { ...workflowOf(plan), differs: planBefore !== null && canonicalText(planBefore.workflow) !== canonicalText(plan.workflow) },
    rules: input.clauses.map(ruleText),
    approvedBy: counted('approve'), rejectedBy: counted('reject'),
    notCounted: input.rejected.map(({ principal, code }) => ({ principal, code })), requesters: input.requesters.people,
    digestsChecked: tags.length > 0 && tags.every((t) => t.now === t.locked),
  };
}

export function ruleText(c: Clause): string {
  return `${clauseSubject(c)}: ${c.people} of ${c.roles.length === 0 ? 'anybody' : c.roles.map((r) => `${r.count} ${r.role}`).join(', ')}${c.authorNeverApproves ? ', not who asked' : ''}`;
}

/** What an answer says besides what it is about. `expires` is RFC 3339 in UTC. */
export type Answer = Pick<ApprovalSpec, 'action' | 'nonce' | 'comment' | 'expires' | 'despite' | 'excepts'>;

export function promotionSpec(view: PromotionView, answer: Answer): ApprovalSpec {
  const components = Object.fromEntries(view.components.flatMap((c) => (c.to === null ? [] : [[c.name, c.to]])));
  return {
    type: 'promotion', digest: view.digest, environment: view.environment, application: view.application,
    ...(view.release.to === null ? {} : { release: view.release.to, components, digestsChecked: view.digestsChecked }), ...answer,
  };
}

export function readJson<T>(world: Pick<PlanningWorld, 'lookup'>, digest: Digest): T | null {
  const bytes = world.lookup(digest);
  return bytes === undefined ? null : ((parseCanonicalJson(bytes) as T | undefined) ?? null);
}

export function targetsOf(before: Plan | null, after: Plan): PromotionView['targets'] {
  const gone = (before?.targets ?? []).filter((t) => !after.targets.some((other) => other.name === t.name));
  const changeOf = (target: PlanTarget): PromotionView['targets'][number]['change'] => {
    const old = before?.targets.find((t) => t.name === target.name);
    return old === undefined ? 'added' : canonicalText(old) === canonicalText(target) ? 'same' : 'changed';
  };
  return [...after.targets.map((t) => ({ name: t.name, agent: t.agent, change: changeOf(t) })), ...gone.map((t) => ({ name: t.name, agent: t.agent, change: 'removed' as const }))];
}

function workflowOf({ workflow }: Plan): Omit<PromotionView['workflow'], 'differs'> {
  return { name: workflow.name, steps: workflow.steps.map((s) => s.name), onFailure: workflow.onFailure };
}

export function componentsOf(before: Runs | null, lock: Pick<Lock, 'components'> | null, tags: readonly TagCheck[]): PromotionView['components'] {
  const names = [...new Set([...(before?.components ?? []), ...(lock?.components ?? [])].map((c) => c.name))].sort();
  return names.map((name) => {
    const tag = tags.find((t) => t.component === name);
    return {
      name, from: before?.components.find((c) => c.name === name)?.digest ?? null, to: lock?.components.find((c) => c.name === name)?.digest ?? null,
      tag: tag?.tag ?? null, tagNow: tag?.now ?? null, fault: tag?.fault ?? null,
    };
  });
}

export function filesOf(before: Runs | null, after: Runs | null): PromotionView['files'] {
  const all = (runs: Runs | null): ReadonlyMap<string, string> => new Map([...(runs?.files ?? []), ...(runs?.artifacts ?? [])].map((f) => [f.path, `${f.digest} ${f.mode}`]));
  const [old, now] = [all(before), all(after)];
  return [...new Set([...old.keys(), ...now.keys()])].sort().flatMap((path) => {
    if (old.get(path) === now.get(path)) return [];
    return [{ path, change: !old.has(path) ? 'added' : now.has(path) ? 'changed' : 'removed' } as const];
  });
}

export function variablesOf(before: Runs | null, after: Runs | null): PromotionView['variables'] {
  const all = (runs: Runs | null): Readonly<Record<string, string>> => ({ ...runs?.variables, ...Object.fromEntries(Object.entries(runs?.secrets ?? {}).map(([name, ref]) => [name, `secret ${ref}`])) });
  const [old, now] = [all(before), all(after)];
  return [...new Set([...Object.keys(old), ...Object.keys(now)])].sort().flatMap((name) => (old[name] === now[name] ? [] : [{ name, from: old[name] ?? null, to: now[name] ?? null }]));
}

/** What the approver reads before they answer. */
export function promotionText(view: PromotionView): string {
  const lines = [
    `${view.operation === 'remove' ? 'Removal of' : 'Promotion of'} ${view.application} ${view.release.to ?? ''} in ${view.environment} (now: ${view.release.from ?? 'nothing'})`,
    `  digest      ${view.digest}`, `  asked by    ${list(view.requesters, 'nobody that is known')}`, ...emergencyLines(view), ...differenceLines(view),
    `  targets     ${list(view.targets.map((t) => `${t.name} (agent ${t.agent}${t.change === 'same' ? '' : `, ${t.change}`})`), 'none')}`,
    `  workflow    ${view.workflow.name}: ${view.workflow.steps.join(' → ')}, on failure ${view.workflow.onFailure}${view.workflow.differs ? ' (CHANGED)' : ''}`,
    ...(view.rules.length === 0 ? ['  rule        none: nobody needs to approve here'] : view.rules.map((rule) => `  rule        ${rule}`)),
    `  approved by ${list(view.approvedBy, 'nobody yet')}`, ...(view.rejectedBy.length === 0 ? [] : [`  rejected by ${view.rejectedBy.join(', ')}`]),
    ...view.notCounted.map(({ principal, code }) => `  not counted ${principal}: ${code}`),
  ];
  return lines.map(plain).join('\n');
}

/** What is not as always about it: whoever approves signs that as well. */
export function emergencyLines({ mode, breakGlass }: Pick<PromotionView, 'mode' | 'breakGlass'>): readonly string[] {
  if (breakGlass !== null) return [`  BREAKS THE GLASS: skips ${breakGlass.skip.join(', ')} until ${breakGlass.expires}, because: ${breakGlass.reason}. Who approves cannot review it.`];
  return mode === 'rollback' ? ['  rollback    to exactly what ran before, under the eased rule'] : [];
}

/** Components, files and variables, old and new. */
export function differenceLines(view: Pick<PromotionView, 'components' | 'files' | 'variables'>): readonly string[] {
  const short = (digest: string | null): string => digest?.slice(0, 19) ?? 'nothing';
  return [
    ...view.components.map((c) => `  component   ${c.name}: ${short(c.from)} → ${short(c.to)}${c.tag === null ? '' : ` (tag ${c.tag}${tagRemark(c)})`}`),
    ...view.files.map((f) => `  file        ${f.path}: ${f.change}`),
    ...view.variables.map((v) => `  variable    ${v.name}: ${v.from ?? 'not set'} → ${v.to ?? 'not set'}`),
  ];
}

function tagRemark(c: PromotionView['components'][number]): string {
  if (c.fault !== null) return `, not checked: ${c.fault}`;
  return c.tagNow === c.to ? ', checked from here' : `, POINTS TO ${c.tagNow?.slice(0, 19) ?? 'nothing'} NOW`;
}

function list(names: readonly string[], otherwise: string): string {
  return names.length === 0 ? otherwise : names.join(', ');
}
