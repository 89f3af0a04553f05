import { compareText } from '../model/names.ts';
import { sortedFindings } from './finding.ts';
import type { PromotionPlan, ProposalPlan } from './plan-model.ts';

/** The same plan with every list in its order, so that one plan has one rendering however it was put together. */
export function inOrder(plan: ProposalPlan): ProposalPlan {
  return {
    ...plan, promotions: sortedBy(plan.promotions.map(inOrderHere), ({ environment, application }) => `${environment}/${application}`),
    protectedChanges: sortedBy(plan.protectedChanges.map((one) => ({ ...one, approvedBy: sorted(one.approvedBy), couldApprove: sorted(one.couldApprove) })), ({ kind, name }) => `${kind}/${name}`),
    releases: sortedBy(plan.releases.map((one) => ({ ...one, components: sortedBy(one.components, ({ name }) => name) })), ({ name }) => name), findings: sortedFindings(plan.findings),
  };
}

/** Gates and lines keep theirs: that is how they are judged. */
function inOrderHere(one: PromotionPlan): PromotionPlan {
  const { all, added, removed } = one.targets;
  return {
    ...one, components: sortedBy(one.components, ({ name }) => name), files: sortedBy(one.files, ({ path }) => path), variables: sortedBy(one.variables, ({ name }) => name), secrets: sortedBy(one.secrets, ({ name }) => name),
    targets: { all: sorted(all), added: sorted(added), removed: sorted(removed) }, notes: sorted(one.notes),
  };
}

function sorted(list: readonly string[]): readonly string[] {
  return [...list].sort(compareText);
}

function sortedBy<T>(list: readonly T[], nameOf: (one: T) => string): readonly T[] {
  return [...list].sort((a, b) => compareText(nameOf(a), nameOf(b)));
}
