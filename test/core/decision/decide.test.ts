import { describe, expect, it } from 'vitest';
import { decide } from '../../../src/core/decision/decide.ts';
import type { Decision, DecisionInput, GateName, GateResult } from '../../../src/core/decision/types.ts';
import { approval, approver, clause, digest, freeze, inputOf } from './inputs.ts';

function gatesOf(input: DecisionInput, gate: GateName): readonly Pick<GateResult, 'subject' | 'outcome' | 'code'>[] {
  return decide(input)
    .gates.filter((result) => result.gate === gate)
    .map(({ subject, outcome, code }) => ({ subject, outcome, code }));
}

function approvalsDetail(decision: Decision): GateResult['detail'] {
  return decision.gates.find(({ gate }) => gate === 'approvals')?.detail ?? {};
}

const four = [approver('ann', 'sre'), approver('bob', 'qa', 'sre'), approver('cid', 'qa'), approver('rita', 'qa', 'sre')];

describe('decide', () => {
  it('allows what nothing holds, for the next generation, and lets it hold as long as the environment says', () => {
    const decision = decide(inputOf());
    expect(decision).toMatchObject({ outcome: 'allow', reasons: [], generation: 4, notAfter: '2026-05-04T13:00:00.000Z', nextChangeAt: '2026-05-04T13:00:00.000Z' });
    expect(decision.gates.map(({ gate }) => gate)).toEqual(['promotion', 'lock', 'plan', 'run', 'approvals', 'separation', 'freeze', 'source']);
  });

  it('evaluates every gate even when the first one refuses', () => {
    const decision = decide(
      inputOf({
        ended: 'Superseded', lock: null, plan: null, runs: null, promotionDigest: null,
        problems: [{ code: 'LockMissing', detail: 'no tag' }, { code: 'PlanInvalid', detail: 'no target' }],
        state: { ...inputOf().state, otherRunOpen: digest('other'), closed: true },
        clauses: [clause()], requesters: { people: [], unknown: 1 }, freezes: [freeze('black-friday')], sources: [{ environment: 'staging', soakSeconds: 60, succeededAt: null }],
      }),
    );
    expect(decision.outcome).toBe('refuse');
    expect(decision.reasons).toEqual(['ApprovalsMissing', 'Closed', 'Frozen', 'LockMissing', 'PlanInvalid', 'RequesterUnknown', 'RunOpen', 'SourceNotDeployed', 'Superseded']);
    expect(decision).toMatchObject({ consumes: [], notAfter: null });
  });

  it.each(['Superseded', 'Withdrawn'] as const)('refuses a promotion that was %s', (ended) => {
    expect(decide(inputOf({ ended }))).toMatchObject({ outcome: 'refuse', reasons: [ended] });
  });

  it('refuses a closed promotion and a removal of nothing', () => {
    expect(decide(inputOf({ state: { ...inputOf().state, closed: true } })).reasons).toEqual(['Closed']);
    expect(decide(inputOf({ problems: [{ code: 'NothingToRemove', detail: 'never deployed' }] }))).toMatchObject({ outcome: 'refuse', reasons: ['NothingToRemove'] });
  });

  it('needs no lock, no runs and no source to remove', () => {
    const removal = inputOf({ operation: 'remove', release: null, lock: null, runs: null, sources: [{ environment: 'staging', soakSeconds: 0, succeededAt: null }] });
    expect(decide(removal).outcome).toBe('allow');
    expect(gatesOf(removal, 'lock')).toEqual([{ subject: '', outcome: 'passed', code: 'NotRequired' }]);
  });

  it.each([
    ['lock', { lock: null }, 'LockMissing'],
    ['plan', { plan: null }, 'PlanInvalid'],
    ['runs', { runs: null }, 'PlanInvalid'],
    ['promotion digest', { promotionDigest: null }, 'PlanInvalid'],
  ] as const)('waits where the %s is missing, even if nobody reported a problem', (_name, missing, code) => {
    expect(decide(inputOf(missing))).toMatchObject({ outcome: 'pending', reasons: [code] });
  });

  it('waits while a run of another promotion is open', () => {
    expect(decide(inputOf({ state: { ...inputOf().state, otherRunOpen: digest('x') } }))).toMatchObject({ outcome: 'pending', reasons: ['RunOpen'] });
  });

  it('names every freeze', () => {
    expect(gatesOf(inputOf({ freezes: [freeze('b'), freeze('a')] }), 'freeze')).toEqual([
      { subject: 'a', outcome: 'pending', code: 'Frozen' },
      { subject: 'b', outcome: 'pending', code: 'Frozen' },
    ]);
  });

  it.each(['', 'yesterday', '2026-05-04T12:00:00+02:00', '2026-02-30T00:00:00Z'])('never allows when the time of judgement is %j', (asOf) => {
    expect(decide(inputOf({ asOf }))).toMatchObject({ outcome: 'refuse', reasons: ['InputInvalid'], notAfter: null, nextChangeAt: null });
  });
});

describe('the approvals gate', () => {
  it('counts distinct people, not signatures', () => {
    const approvals = [approval('ann'), approval('ann', { number: 1 })];
    const decision = decide(inputOf({ clauses: [clause({ people: 2 })], approvers: four, approvals }));
    expect(decision).toMatchObject({ outcome: 'pending', reasons: ['ApprovalsMissing'] });
    expect(approvalsDetail(decision)).toMatchObject({ have: 1, need: 2, counted: ['ann'], couldApprove: ['bob', 'cid'], requesters: ['rita'] });
  });

  it('takes two people for one sre and one qa, even if one person is both', () => {
    const clauses = [clause({ people: 0, roles: [{ role: 'sre', count: 1 }, { role: 'qa', count: 1 }] })];
    const alone = decide(inputOf({ clauses, approvers: four, approvals: [approval('bob')] }));
    expect(alone.outcome).toBe('pending');
    expect(approvalsDetail(alone)).toMatchObject({ have: 1, need: 2, missingRoles: ['qa', 'sre'], couldApprove: ['ann', 'cid'] });
    expect(decide(inputOf({ clauses, approvers: four, approvals: [approval('bob'), approval('ann')] })).outcome).toBe('allow');
  });

  it('asks for the role that is missing, not for any role', () => {
    const clauses = [clause({ people: 0, roles: [{ role: 'sre', count: 1 }, { role: 'qa', count: 1 }] })];
    const decision = decide(inputOf({ clauses, approvers: four, approvals: [approval('ann')] }));
    expect(approvalsDetail(decision)).toMatchObject({ missingRoles: ['qa'], couldApprove: ['bob', 'cid'] });
  });

  it('does not count somebody without a demanded role, and says so', () => {
    const clauses = [clause({ people: 2, roles: [{ role: 'qa', count: 1 }] })];
    const decision = decide(inputOf({ clauses, approvers: four, approvals: [approval('ann'), approval('cid')] }));
    expect(decision.outcome).toBe('pending');
    expect(approvalsDetail(decision)).toMatchObject({ have: 1, need: 2, withoutRole: ['ann'], couldApprove: ['bob'] });
  });

  it('does not count who asked for the change, nor anybody who is not in force', () => {
    const decision = decide(inputOf({ clauses: [clause()], approvers: four, approvals: [approval('rita'), approval('zoe')] }));
    expect(decision.outcome).toBe('pending');
    expect(approvalsDetail(decision)).toMatchObject({ have: 0, couldApprove: ['ann', 'bob', 'cid'] });
  });

  it('counts who asked for the change where the clause lets authors approve', () => {
    const decision = decide(inputOf({ clauses: [clause({ authorNeverApproves: false })], approvers: four, approvals: [approval('rita')] }));
    expect(decision).toMatchObject({ outcome: 'allow', consumes: [approval('rita').document] });
  });

  it('judges each clause by itself, so that a weaker one never stands in for a stronger one', () => {
    const clauses = [clause({ origin: 'root', name: 'environment/prod', people: 2 }), clause({ people: 1, roles: [{ role: 'sre', count: 1 }] })];
    const input = inputOf({ clauses, approvers: four, approvals: [approval('bob'), approval('cid')] });
    expect(decide(input).outcome).toBe('allow');
    expect(gatesOf({ ...input, approvals: [approval('bob')] }, 'approvals')).toEqual([
      { subject: 'environment/prod', outcome: 'passed', code: 'Ok' },
      { subject: 'root/environment/prod', outcome: 'pending', code: 'ApprovalsMissing' },
    ]);
  });

  it('is refused by one holder of a demanded role, whatever the others say', () => {
    const clauses = [clause({ roles: [{ role: 'qa', count: 1 }] })];
    const approvals = [approval('cid'), approval('bob', { action: 'reject' })];
    expect(decide(inputOf({ clauses, approvers: four, approvals }))).toMatchObject({ outcome: 'refuse', reasons: ['ApprovalsRejected'] });
  });

  it('is not refused by somebody without a demanded role', () => {
    const clauses = [clause({ roles: [{ role: 'qa', count: 1 }] })];
    expect(decide(inputOf({ clauses, approvers: four, approvals: [approval('cid'), approval('ann', { action: 'reject' })] })).outcome).toBe('allow');
  });

  it('is refused by who asked for the change: stopping is easier than going on', () => {
    const approvals = [approval('cid'), approval('rita', { action: 'reject' })];
    expect(decide(inputOf({ clauses: [clause()], approvers: four, approvals })).outcome).toBe('refuse');
  });

  it('ends with the expiry of an approval, and looks again then', () => {
    const expires = '2026-05-04T12:30:00Z';
    const input = inputOf({ clauses: [clause()], approvers: four, approvals: [approval('ann', { expires })] });
    expect(decide(input)).toMatchObject({ outcome: 'allow', notAfter: '2026-05-04T12:30:00.000Z', nextChangeAt: '2026-05-04T12:30:00.000Z' });
    expect(decide({ ...input, asOf: '2026-05-04T12:30:00Z' }).outcome).toBe('pending');
  });

  it('does not count a yes whose expiry is no time, and keeps such a no', () => {
    const clauses = [clause()];
    expect(decide(inputOf({ clauses, approvers: four, approvals: [approval('ann', { expires: 'soon' })] })).outcome).toBe('pending');
    const approvals = [approval('ann'), approval('bob', { action: 'reject', expires: 'soon' })];
    expect(decide(inputOf({ clauses, approvers: four, approvals })).outcome).toBe('refuse');
  });

  it('never takes less than one person for a clause', () => {
    expect(decide(inputOf({ clauses: [clause({ people: 0 })], approvers: four })).outcome).toBe('pending');
  });

  it('consumes every approval that a clause counted, and no other', () => {
    const clauses = [clause({ roles: [{ role: 'qa', count: 1 }] })];
    const approvals = [approval('cid'), approval('bob'), approval('ann'), approval('rita')];
    const decision = decide(inputOf({ clauses, approvers: four, approvals }));
    expect(decision.consumes).toEqual([approval('bob').document, approval('cid').document].sort());
  });
});

describe('the separation gate', () => {
  const unknown = { people: ['rita'], unknown: 1 };

  it('refuses an unknown requester by default', () => {
    const input = inputOf({ clauses: [clause()], approvers: four, approvals: [approval('ann'), approval('bob')], requesters: unknown });
    expect(decide(input)).toMatchObject({ outcome: 'refuse', reasons: ['RequesterUnknown'] });
  });

  it('takes one person more for each unknown requester where the clause says so', () => {
    const input = inputOf({ clauses: [clause({ unknownRequester: 'one-more' })], approvers: four, approvals: [approval('ann')], requesters: unknown });
    expect(decide(input)).toMatchObject({ outcome: 'pending', reasons: ['ApprovalsMissing'] });
    expect(decide({ ...input, approvals: [approval('ann'), approval('bob')] }).outcome).toBe('allow');
  });

  it('asks nothing where authors may approve', () => {
    const input = inputOf({ clauses: [clause({ authorNeverApproves: false })], approvers: four, approvals: [approval('ann')], requesters: unknown });
    expect(decide(input).outcome).toBe('allow');
    expect(gatesOf(input, 'separation')).toEqual([{ subject: '', outcome: 'passed', code: 'NotRequired' }]);
  });
});

describe('the source gate', () => {
  const soaking = { environment: 'staging', soakSeconds: 3_600, succeededAt: '2026-05-04T11:30:00.000Z' };

  it('waits until the soak ends and says when', () => {
    const decision = decide(inputOf({ sources: [soaking] }));
    expect(decision).toMatchObject({ outcome: 'pending', reasons: ['Soaking'], nextChangeAt: '2026-05-04T12:30:00.000Z' });
    expect(decision.gates.at(-1)).toMatchObject({ subject: 'staging', opensAt: '2026-05-04T12:30:00.000Z' });
    expect(decide(inputOf({ sources: [soaking], asOf: '2026-05-04T12:30:00Z' })).outcome).toBe('allow');
  });

  it('passes when any one source is satisfied', () => {
    const sources = [soaking, { environment: 'canary', soakSeconds: 60, succeededAt: '2026-05-04T11:30:00.000Z' }, { environment: 'qa', soakSeconds: 0, succeededAt: null }];
    expect(gatesOf(inputOf({ sources }), 'source')).toEqual([
      { subject: 'canary', outcome: 'passed', code: 'Ok' },
      { subject: 'qa', outcome: 'passed', code: 'NotRequired' },
      { subject: 'staging', outcome: 'passed', code: 'NotRequired' },
    ]);
  });

  it.each([null, 'last week'])('waits when the release succeeded there at %j', (succeededAt) => {
    expect(decide(inputOf({ sources: [{ ...soaking, succeededAt }] }))).toMatchObject({ outcome: 'pending', reasons: ['SourceNotDeployed'], nextChangeAt: null });
  });
});
