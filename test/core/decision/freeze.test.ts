import { describe, expect, it } from 'vitest';
import { decide } from '../../../src/core/decision/decide.ts';
import type { DecisionInput } from '../../../src/core/decision/types.ts';
import { approval, approver, freeze, inputOf } from './inputs.ts';

/** Judged on Monday, 4 May 2026, 12:00 by UTC: 14:00 in Berlin. */
const calendar = (start: string, end: string) => ({ windows: [{ start, end, timeZone: 'Europe/Berlin' }], weekly: [], exceptions: [] });
const decided = (more: Partial<DecisionInput>) => decide(inputOf(more));

describe('the freeze gate', () => {
  it('holds a promotion while a calendar does, and says until when', () => {
    expect(decided({ freezes: [freeze('now', { calendar: calendar('2026-05-04T13:00', '2026-05-04T15:00') })] })).toMatchObject({
      outcome: 'pending', reasons: ['Frozen'], nextChangeAt: '2026-05-04T13:00:00.000Z', gates: expect.arrayContaining([expect.objectContaining({ gate: 'freeze', opensAt: '2026-05-04T13:00:00.000Z' })]) as unknown,
    });
  });

  it('lets it go before, and ends the allow when the freeze begins', () => {
    expect(decided({ freezes: [freeze('soon', { calendar: calendar('2026-05-04T14:20', '2026-05-04T15:00') })] })).toMatchObject({ outcome: 'allow', notAfter: '2026-05-04T12:20:00.000Z', nextChangeAt: '2026-05-04T12:20:00.000Z' });
    expect(decided({ freezes: [freeze('later', { calendar: calendar('2026-05-05T14:20', '2026-05-05T15:00') })] })).toMatchObject({ outcome: 'allow', notAfter: '2026-05-04T13:00:00.000Z' });
    expect(decided({ freezes: [freeze('over', { calendar: calendar('2026-05-01T14:20', '2026-05-02T15:00') })] })).toMatchObject({ outcome: 'allow', notAfter: '2026-05-04T13:00:00.000Z' });
  });

  it('refuses a suspended release outright, and waits for a suspended agent', () => {
    expect(decided({ freezes: [freeze('bad', { stops: 'release' })] })).toMatchObject({ outcome: 'refuse', reasons: ['ReleaseSuspended'] });
    expect(decided({ freezes: [freeze('agent/host', { stops: 'agent' })] })).toMatchObject({ outcome: 'pending', reasons: ['AgentSuspended'] });
  });

  describe('with an exception', () => {
    const yes = approval('ann', { expires: '2026-05-04T12:30:00.000Z' });
    const excepted = (people: number, more: Partial<DecisionInput> = {}, roles: readonly string[] = ['sre']) =>
      decided({ approvers: [approver('ann', 'sre'), approver('bob', 'qa')], approvals: [yes, approval('bob')], freezes: [freeze('f', { except: { people, roles: roles.map((role) => ({ role, count: 1 })) }, excepts: [yes.document] })], ...more });

    it('lets through what enough of those whom it names say, and consumes their approvals', () => {
      expect(excepted(1)).toMatchObject({ outcome: 'allow', reasons: [], consumes: [yes.document], notAfter: '2026-05-04T12:30:00.000Z' });
      expect(excepted(2)).toMatchObject({ outcome: 'pending', reasons: ['Frozen'] });
      expect(excepted(1, {}, ['qa'])).toMatchObject({ outcome: 'pending', reasons: ['Frozen'] });
    });

    it('takes nobody’s approval for it that does not say so', () => {
      expect(excepted(1, { freezes: [freeze('f', { except: { people: 1, roles: [] }, excepts: [] })] })).toMatchObject({ outcome: 'pending' });
      expect(excepted(1, { freezes: [freeze('f', { except: null, excepts: [yes.document] })] })).toMatchObject({ outcome: 'pending' });
    });

    it('counts nobody who asked, known or not (T19, T20)', () => {
      expect(excepted(1, { requesters: { people: ['ann'], unknown: 0 } })).toMatchObject({ outcome: 'pending', reasons: ['Frozen'] });
      expect(excepted(1, { requesters: { people: [], unknown: 1 } })).toMatchObject({ outcome: 'pending', reasons: ['Frozen'] });
    });

    it('counts no approval that has expired', () => {
      expect(excepted(1, { asOf: '2026-05-04T12:30:00.000Z' })).toMatchObject({ outcome: 'pending', reasons: ['Frozen'] });
    });

    it('holds for a freeze to come as well, so that the allow is not cut short', () => {
      const freezes = [freeze('f', { calendar: calendar('2026-05-04T14:20', '2026-05-04T15:00'), except: { people: 1, roles: [] }, excepts: [approval('bob').document] })];
      expect(excepted(1, { freezes })).toMatchObject({ outcome: 'allow', notAfter: '2026-05-04T13:00:00.000Z' });
    });
  });
});
