import { limits } from '../model/limits.ts';
import { finding, type Finding } from './finding.ts';
import type { ProposalPlan } from './plan-model.ts';

/** The plan with as many findings and differences as a plan holds: it is kept, compared and published whole, and its author decides how many there are. */
export function boundedPlan(plan: ProposalPlan): ProposalPlan {
  let left: number = limits.planDiffChars;
  // In order, and none in part: what is not shown is null, like the difference of what is no text.
  const bounded = <T extends { readonly diff: string | null }>(one: T): T => {
    left -= one.diff?.length ?? 0;
    return left < 0 && one.diff !== null ? { ...one, diff: null } : one;
  };
  return {
    ...plan, findings: boundedFindings(plan.findings), protectedChanges: plan.protectedChanges.map(bounded), promotions: plan.promotions.map((one) => ({ ...one, files: one.files.map(bounded) })),
  };
}

/** The gravest stand first, so none of those that are left out is graver than one that is shown. */
function boundedFindings(findings: readonly Finding[]): readonly Finding[] {
  const more = findings.slice(limits.planFindings);
  const [gravest] = more;
  if (gravest === undefined) return findings;
  return [...findings.slice(0, limits.planFindings), finding({ code: 'MoreFindings', severity: gravest.severity, message: `${more.length} more findings are not shown`, remedy: 'Merge it in smaller parts, or look at its files: stella lint' })];
}
