import { describe, expect, it } from 'vitest';
import { decide } from '../../../src/core/decision/decide.ts';
import { explainDecision, renderExplanation } from '../../../src/core/decision/explain.ts';
import type { Decision, DecisionInput, ReasonCode, RejectCode } from '../../../src/core/decision/types.ts';
import { approval, approver, clause, digest, inputOf } from './inputs.ts';

const explain = (input: DecisionInput): string => renderExplanation(explainDecision(decide(input), input));

describe('explainDecision', () => {
  it('says who approved, who could, why not the others, and with which command', () => {
    const input = inputOf({
      clauses: [clause({ people: 2 })], approvers: [approver('ann'), approver('bob'), approver('rita')], approvals: [approval('ann')],
      rejected: [{ principal: 'rita', document: digest('d'), code: 'Requester' }],
    });
    const lines = explainDecision(decide(input), input);
    expect(lines[0]).toMatchObject({ about: 'decision', outcome: 'pending', subject: 'prod/shop' });
    const gate = lines.find(({ code }) => code === 'ApprovalsMissing');
    expect(gate).toMatchObject({ gate: 'approvals', subject: 'environment/prod', who: ['bob'], command: 'stella approve prod/shop' });
    expect(lines.find(({ about }) => about === 'rejected-approval')).toMatchObject({ subject: 'rita', code: 'Requester' });
  });

  it('gives every gate a line and says when it could pass', () => {
    const input = inputOf({ sources: [{ environment: 'staging', soakSeconds: 93_600, succeededAt: '2026-05-04T11:30:00.000Z' }] });
    const lines = explainDecision(decide(input), input);
    expect(lines.filter(({ about }) => about === 'gate')).toHaveLength(decide(input).gates.length);
    expect(lines.find(({ code }) => code === 'Soaking')).toMatchObject({ opensAt: '2026-05-05T13:30:00.000Z' });
    expect(lines.at(-1)).toMatchObject({ about: 'next' });
    expect(explain(input)).toContain('1 d 2 h');
  });

  it('names the command that adopts a request of which nobody knows who made it', () => {
    const input = inputOf({ clauses: [clause()], requesters: { people: [], unknown: 1 } });
    expect(explainDecision(decide(input), input).find(({ code }) => code === 'RequesterUnknown')?.command).toBe('stella promote --adopt prod/shop');
  });

  it('has words for every reason, whichever gate gives it', () => {
    const codes: Record<ReasonCode, true> = {
      Ok: true, NotRequired: true, ApprovalsMissing: true, ApprovalsRejected: true, RequesterUnknown: true, Frozen: true, ReleaseSuspended: true, AgentSuspended: true, Excepted: true, SourceMissing: true, SourceNotDeployed: true,
      Soaking: true, BreakGlassNotAllowed: true, BreakGlassExpired: true, Skipped: true, ReviewMissing: true, RunOpen: true, Closed: true, Superseded: true, Withdrawn: true, LockMissing: true, PlanInvalid: true, NothingToRemove: true, InputInvalid: true,
      OutsideWindow: true, DependencyMissing: true, TooManyRuns: true, Held: true, ExpressionFalse: true, ExpressionFailed: true, GateMissing: true,
    };
    const gates = (['promotion', 'lock', 'plan', 'run', 'approvals', 'separation', 'freeze', 'source', 'break-glass', 'review', 'window', 'dependency', 'concurrency', 'hold', 'expression', 'gate'] as const).flatMap((gate) =>
      (Object.keys(codes) as ReasonCode[]).map((code) => ({ gate, subject: 's', outcome: 'pending' as const, code, detail: {}, opensAt: null })),
    );
    const decision: Decision = { ...decide(inputOf()), gates };
    const lines = explainDecision(decision, inputOf()).filter(({ about }) => about === 'gate');
    expect(lines).toHaveLength(gates.length);
    expect(lines.filter(({ text }) => text.length < 5 || text.includes('undefined'))).toEqual([]);
  });

  it('has words for every approval that does not count', () => {
    const codes: Record<RejectCode, true> = {
      OtherDigest: true, Expired: true, KeyNotActive: true, KeyNotYetValid: true, KeyExpired: true, KeyCompromised: true, PrincipalSuspended: true, NotAPerson: true, RoleMissing: true,
      Requester: true, Duplicate: true, Consumed: true, Withdrawn: true,
    };
    const rejected = (Object.keys(codes) as RejectCode[]).map((code) => ({ principal: 'ann', document: digest(code), code }));
    const lines = explainDecision(decide(inputOf()), inputOf({ rejected })).filter(({ about }) => about === 'rejected-approval');
    expect(new Set(lines.map(({ text }) => text)).size).toBe(rejected.length);
  });

  it('lets no text from a document move the cursor or begin a line', () => {
    const text = explain(inputOf({ plan: null, problems: [{ code: 'PlanInvalid', detail: 'a\u001b[2J\n  [passed] approvals: fine\u202e' }] }));
    expect(text).not.toMatch(/[\u001b\u202e]/);
    expect(text.split('\n').filter((row) => row.startsWith('  [passed] approvals: fine'))).toEqual([]);
  });
});
