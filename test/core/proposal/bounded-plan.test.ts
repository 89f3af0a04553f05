import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { boundedPlan } from '../../../src/core/proposal/bounded-plan.ts';
import { finding } from '../../../src/core/proposal/finding.ts';
import type { ProposalPlan } from '../../../src/core/proposal/plan-model.ts';
import { limits } from '../../../src/core/model/limits.ts';
import { hostilePlan } from '../../property/plan-arbitraries.ts';

const diffsOf = ({ promotions, protectedChanges }: ProposalPlan): readonly string[] => [...promotions.flatMap(({ files }) => files), ...protectedChanges].flatMap(({ diff }) => diff ?? []);

describe('a plan', () => {
  it('that is small is left as it is', () => {
    fc.assert(fc.property(hostilePlan, (plan) => { expect(boundedPlan(plan)).toEqual(plan); }), { numRuns: 50 });
  });

  it('holds so many characters of differences and no more, and each of them whole', () => {
    fc.assert(fc.property(hostilePlan, fc.integer({ min: 1, max: 8 }), (plan, times) => {
      const [long, change] = ['+'.repeat(limits.planDiffChars / 4), plan.protectedChanges[0]];
      fc.pre(change !== undefined);
      const kept = diffsOf(boundedPlan({ ...plan, promotions: [], protectedChanges: Array.from({ length: times }, () => ({ ...(change as NonNullable<typeof change>), diff: long })) }));
      expect(kept).toEqual(Array.from({ length: Math.min(times, 4) }, () => long));
    }), { numRuns: 30 });
  });

  it('with more findings than it holds says how many are left out, as gravely as the gravest of them', () => {
    const [plan] = fc.sample(hostilePlan, 1) as [ProposalPlan];
    const findings = Array.from({ length: limits.planFindings + 5 }, (_, i) => finding({ code: 'Wrong', severity: 'refused', message: String(i) }));
    const bounded = boundedPlan({ ...plan, findings });
    expect(bounded.findings).toHaveLength(limits.planFindings + 1);
    expect(bounded.findings.at(-1)).toMatchObject({ code: 'MoreFindings', severity: 'refused', message: expect.stringMatching(/^5 more/) as unknown });
  });
});
