import { describe, expect, it } from 'vitest';
import type { CommitId } from '../../../src/core/model/commit-id.ts';
import type { Digest } from '../../../src/core/model/digest.ts';
import { comparePlans } from '../../../src/core/proposal/compare-plans.ts';
import { finding } from '../../../src/core/proposal/finding.ts';
import type { PromotionPlan, ProposalPlan, ProtectedPlan } from '../../../src/core/proposal/plan-model.ts';
import type { Decision } from '../../../src/core/decision/types.ts';

const digest = (n: number): Digest => `sha256:${String(n).padStart(64, '0')}` as Digest;
const decision = (need: number, outcome: Decision['outcome'] = 'pending'): Decision => ({
  type: 'stella/decision/v1', outcome, promotionDigest: digest(1), generation: 2, reasons: [], consumes: [], notAfter: null, rollbackUntil: null, nextChangeAt: null,
  gates: [{ gate: 'approvals', subject: 'environment/prod', outcome: outcome === 'allow' ? 'passed' : 'pending', code: outcome === 'allow' ? 'Ok' : 'ApprovalsMissing', detail: { need, have: 0, missingRoles: ['sre'] }, opensAt: null }],
});
const promotion: PromotionPlan = {
  environment: 'prod', application: 'shop', effect: 'deploy', release: { from: '1.4.1', to: '1.5.0' }, lock: { from: digest(10), to: digest(11) },
  components: [{ name: 'api', change: 'changed', from: { tag: '1.4.1', digest: digest(20) }, to: { tag: '1.5.0', digest: digest(21) } }], files: [{ path: 'app.conf', change: 'changed', from: digest(30), to: digest(31), diff: null }],
  variables: [{ name: 'LEVEL', from: 'info', to: 'warn' }], secrets: [], targets: { all: ['web-1', 'web-2'], added: [], removed: [] }, strategy: 'default: deploy; on failure fall-back', notes: [], promotionDigest: digest(1), decision: decision(1), lines: [], couldPassAt: null,
};
const change: ProtectedPlan = { digest: digest(40), kind: 'Environment', name: 'prod', change: 'changed', diff: null, quorum: '1 person', approvedBy: [], couldApprove: ['alice', 'bob'], command: null, isMet: false, why: null };
const plan: ProposalPlan = {
  type: 'stella/proposal-plan/v1', candidate: 'c'.repeat(40) as CommitId, target: { ref: 'refs/heads/main', commit: 'd'.repeat(40) as CommitId }, logSize: 5, asOf: '2026-11-01T00:00:00.000Z', outcome: 'changes', promotions: [promotion], protectedChanges: [change], releases: [], findings: [], nextChangeAt: null,
};
const withPromotion = (over: Partial<PromotionPlan>): ProposalPlan => ({ ...plan, promotions: [{ ...promotion, ...over }] });
const withChange = (over: Partial<ProtectedPlan>): ProposalPlan => ({ ...plan, protectedChanges: [{ ...change, ...over }] });

describe('what moved between two plans', () => {
  it('is nothing where only time, the log and the tip went on', () => {
    expect(comparePlans(plan, { ...plan, asOf: '2026-11-02T00:00:00.000Z', logSize: 9, target: { ...plan.target, commit: 'e'.repeat(40) as CommitId } })).toEqual([]);
  });

  it.each<[string, ProposalPlan, readonly string[]]>([
    ['a tag that moved', withPromotion({ components: [{ ...promotion.components[0]!, to: { tag: '1.5.0', digest: digest(22) } }] }), [`prod/shop: api 1.5.0 now resolves to ${digest(22)}, and was ${digest(21)}`]],
    ['a component that is gone', withPromotion({ components: [] }), ['prod/shop: component api is not part of it any more']],
    ['a file', withPromotion({ files: [{ ...promotion.files[0]!, to: digest(32) }] }), ['prod/shop: file app.conf has another content than was planned']],
    ['a variable', withPromotion({ variables: [{ name: 'LEVEL', from: 'info', to: 'debug' }] }), ['prod/shop: variable LEVEL differs from what was planned']],
    ['targets', withPromotion({ targets: { all: ['web-1', 'web-3'], added: ['web-3'], removed: [] } }), ['prod/shop: target web-3 added', 'prod/shop: target web-2 removed']],
    ['the strategy', withPromotion({ strategy: null }), ['prod/shop: strategy is none, and was default: deploy; on failure fall-back']],
    ['another release that runs', withPromotion({ release: { from: '1.4.2', to: '1.5.0' }, lock: { from: digest(12), to: digest(11) } }), ['prod/shop: 1.4.2 runs now, which is newer, and 1.4.1 did']],
    ['the quorum', withPromotion({ decision: decision(2) }), ['prod/shop: quorum of environment/prod changed: 2, and was 1', 'prod/shop: now waits for sre (0 of 2 approved); was: waits for sre (0 of 1 approved)']],
    ['the verdict', withPromotion({ decision: decision(1, 'allow') }), ['prod/shop: gate approvals environment/prod passed, and was pending', 'prod/shop: now allowed; was: waits for sre (0 of 1 approved)']],
    ['the digest that is approved', withPromotion({ promotionDigest: digest(2) }), [`prod/shop: the promotion digest is ${digest(2)}, and was ${digest(1)}: approvals of that do not count; stella approve prod/shop`]],
    ['a place that is no longer planned', { ...plan, promotions: [] }, ['prod/shop: nothing is planned here any more']],
    ['the quorum of a protected change', withChange({ quorum: '2 people' }), ['Environment/prod: quorum changed: 2 people, and was 1 person']],
    ['who approved a protected change', withChange({ approvedBy: ['alice'], isMet: true }), ['Environment/prod: approved by alice, and was by nobody', 'Environment/prod: would come into force now']],
    ['the digest of a protected change', withChange({ digest: digest(41) }), [`Environment/prod: the change digest is ${digest(41)}, and was ${digest(40)}: approvals of that do not count`]],
    ['a refusal', { ...plan, findings: [finding({ code: 'Conflict', severity: 'refused', file: 'a.yaml', message: 'both changed it' })] }, ['new: a.yaml: refused Conflict: both changed it']],
    ['the commit', { ...plan, candidate: 'f'.repeat(40) as CommitId }, ['it is another commit: ffffffffffff, and was cccccccccccc']],
  ])('is %s', (_, after, lines) => {
    expect(comparePlans(plan, after)).toEqual(lines);
  });

  it('is told from either side', () => {
    const refused = { ...plan, findings: [finding({ code: 'Conflict', severity: 'refused', message: 'both' })], promotions: [] };
    expect(comparePlans(refused, plan)).toEqual(['prod/shop: is planned now: 1.5.0, waits for sre (0 of 1 approved)', 'no more: repository: refused Conflict: both']);
  });
});
