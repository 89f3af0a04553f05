import type { CommitId } from '../../core/model/commit-id.ts';
import { limits } from '../../core/model/limits.ts';
import { plain } from '../../core/model/plain-text.ts';
import { renderExplanation } from '../../core/decision/explain.ts';
import type { ProposalPlan } from '../../core/proposal/plan-model.ts';
import { fenced, prose } from '../../core/proposal/markdown.ts';
import { planContent, planStatus, withOthers, type PlanStatus } from '../../core/proposal/plan-status.ts';
import type { ForgeProposal } from '../../ports/forge.ts';
import type { WantedComment, WantedStatus } from './forge-publisher.ts';
import type { MergedFate } from './merged-fate.ts';
import type { BranchPlan } from './plans-branch.ts';
import { contentDigest } from './sticky-comment.ts';

/** What is said of a merge, and what of it was decided otherwise, each has at most so many characters. */
const SAID_CHARS = 4_000;

/** How plans become text. */
export type Render = {
  /** @param maxChars UTF-16 code units */
  readonly markdown: (plan: ProposalPlan, maxChars: number) => string;
  readonly json: (plan: ProposalPlan) => string;
};

/** One thing that was planned, as people call it: `#12`, or the name of a branch. */
export type Planned = { readonly name: string; readonly plan: ProposalPlan };

/** Plans in which each names the others that change the same place. */
export function knowingEachOther(planned: readonly Planned[]): readonly Planned[] {
  const byPlace = Map.groupBy(planned.flatMap(({ name, plan }) => plan.promotions.map((p) => ({ name, commit: plan.candidate, place: `${p.environment}/${p.application}` }))), ({ place }) => place);
  return planned.map(({ name, plan }) => {
    const others = new Map(plan.promotions.map(({ environment, application }) => {
      const place = `${environment}/${application}`;
      return [place, (byPlace.get(place) ?? []).filter((other) => other.name !== name && other.commit !== plan.candidate).map((other) => other.name)];
    }));
    return { name, plan: withOthers(plan, others) };
  });
}

/** @param proposal null for what a merge queue tries */
export function openStatus(proposal: ForgeProposal | null, plan: ProposalPlan): WantedStatus {
  return { commit: plan.candidate, status: planStatus(plan), url: proposal?.url ?? null };
}

export function openComment({ number }: ForgeProposal, plan: ProposalPlan, render: Render): WantedComment {
  return {
    number, head: plan.candidate, onto: plan.target.commit, status: planStatus(plan), content: planContent(plan), above: null, moved: { text: '', isWhole: true },
    planned: new Map(plan.promotions.flatMap((p) => (p.promotionDigest === null ? [] : [[`${p.environment}/${p.application}`, p.promotionDigest] as const]))),
    plan: (maxChars) => render.markdown(plan, maxChars),
  };
}

/** T18: what strangers push is not planned before somebody asks; the command names the commit, so that it is that one and no other. */
export function forkStatus({ head, url }: ForgeProposal): WantedStatus {
  return { commit: head.commit, url, status: { state: 'pending', description: `a maintainer may ask for a plan: /stella plan ${head.commit}` } };
}

/** Never a success: the head may be proposed for our branch again. */
export function retargetedStatus({ head, url, baseRef }: ForgeProposal): WantedStatus {
  return { commit: head.commit, url, status: { state: 'pending', description: `not planned: it goes into ${plain(baseRef.replace(/^refs\/heads\//, ''))}, which is not reconciled` } };
}

/** On the head, where people look, and on what the forge made of it. */
export function mergedStatuses({ head, mergeCommit, url }: ForgeProposal, { status }: MergedFate): readonly WantedStatus[] {
  const commits = new Set<CommitId>([head.commit, ...(mergeCommit === null ? [] : [mergeCommit])]);
  return [...commits].map((commit) => ({ commit, status, url }));
}

/** What became of it, above the plan that was merged. */
export function mergedComment({ number, head, mergeCommit }: ForgeProposal, fate: MergedFate, onto: CommitId): WantedComment {
  const above = [`**${headline(fate.status)}**`, ...block(renderExplanation(fate.lines))].join('\n\n');
  const { lines, isWhole } = fate.moved;
  const moved = { text: lines.length === 0 ? '' : ['Decided otherwise than planned:', ...block(lines.map(plain).join('\n'))].join('\n\n'), isWhole };
  return { number, head: head.commit, onto, status: fate.status, content: contentDigest('merged', mergeCommit, above), above, planned: null, moved, plan: null };
}

export function branchPlan({ name, plan }: Planned, render: Render): BranchPlan {
  return { branch: name, content: planContent(plan), markdown: () => render.markdown(plan, limits.publishedPlanChars), json: () => render.json(plan) };
}

function headline({ state, description }: PlanStatus): string {
  const sign = { pending: '⏳', success: '✅', failure: '❌', error: '❌' }[state];
  return `${sign} ${prose(description)}`;
}

function block(text: string): readonly string[] {
  return text === '' ? [] : [fenced(text.length <= SAID_CHARS ? text : `${text.slice(0, text.lastIndexOf('\n', SAID_CHARS))}\n…`, 'text')];
}
