import { describe, expect, it } from 'vitest';
import { relevantDigest } from '../../../src/core/decision/build-input.ts';
import { decide } from '../../../src/core/decision/decide.ts';
import { explainDecision } from '../../../src/core/decision/explain.ts';
import type { DecisionInput, DependencyFact, GateFact } from '../../../src/core/decision/types.ts';
import { clause, factsOf, inputOf } from './inputs.ts';

/** AS_OF is Monday, 2026-05-04, 12:00 UTC. */
const window = (from: string, to: string, more: Partial<Extract<GateFact, { type: 'window' }>['calendar']> = {}): GateFact => ({
  name: 'hours', type: 'window', calendar: { windows: [], weekly: [{ days: ['mon', 'tue'], from, to, timeZone: 'UTC' }], exceptions: [], ...more },
});
const needs = (...on: readonly Partial<DependencyFact>[]): GateFact => ({ name: 'needs', type: 'dependency', on: on.map((one) => ({ environment: 'prod', application: 'db', release: null, atLeast: null, runs: '2.3.0', ...one })) });
const few = (full: boolean, busy: readonly string[] = []): GateFact => ({ name: 'few', type: 'concurrency', most: 2, full, busy });
const asks = (expression: string): GateFact => ({ name: 'asks', type: 'expression', expression });
const hold: GateFact = { name: 'handover', type: 'hold', reason: 'until ops took over' };
const behind = (gates: readonly GateFact[], more: Partial<DecisionInput> = {}): DecisionInput => inputOf({ gates, about: factsOf(), ...more });
const result = (input: DecisionInput) => decide(input).gates.find(({ subject, gate }) => input.gates.some(({ name }) => name === subject) || (gate === 'hold' && subject === ''));

describe('a window', () => {
  it('lets a promotion run until it closes', () => {
    const decision = decide(behind([window('09:00', '12:30')]));
    expect(decision).toMatchObject({ outcome: 'allow', notAfter: '2026-05-04T12:30:00.000Z', nextChangeAt: '2026-05-04T12:30:00.000Z' });
  });

  it('keeps it waiting, and says when it opens', () => {
    const decision = decide(behind([window('14:00', '16:00')]));
    expect(decision).toMatchObject({ outcome: 'pending', reasons: ['OutsideWindow'], nextChangeAt: '2026-05-04T14:00:00.000Z' });
    expect(result(behind([window('14:00', '16:00')]))).toMatchObject({ code: 'OutsideWindow', opensAt: '2026-05-04T14:00:00.000Z' });
  });

  it('is closed at the moment at which it closes, and open at the one at which it opens', () => {
    expect(decide(behind([window('12:00', '13:00')])).outcome).toBe('allow');
    expect(decide(behind([window('11:00', '12:00')])).outcome).toBe('pending');
  });

  it('is closed during an exception, and for ever where its time zone is not known', () => {
    const exceptions = [{ start: '2026-05-04T00:00', end: '2026-05-05T00:00', timeZone: 'UTC' }];
    expect(result(behind([window('09:00', '16:00', { exceptions })]))).toMatchObject({ code: 'OutsideWindow', opensAt: '2026-05-05T09:00:00.000Z' });
    expect(result(behind([window('00:00', '00:00', { weekly: [{ days: ['mon'], from: '00:00', to: '00:00', timeZone: 'Mars/Base' }] })]))).toMatchObject({ code: 'OutsideWindow', opensAt: null });
    expect(result(behind([window('09:00', '16:00', { exceptions: [{ start: 'never', end: 'ever', timeZone: 'UTC' }] })]))).toMatchObject({ code: 'OutsideWindow', opensAt: null });
  });

  it('is never longer than a clock on the wall says where clocks change', () => {
    // In Berlin 02:00 to 03:00 is there twice on 2026-10-25: 00:00Z to 01:00Z, and 01:00Z to 02:00Z.
    const night = (asOf: string): string => decide(behind([window('00:00', '00:00', { weekly: [{ days: ['sun'], from: '02:30', to: '03:30', timeZone: 'Europe/Berlin' }] })], { asOf })).outcome;
    expect(['2026-10-25T00:45:00.000Z', '2026-10-25T01:15:00.000Z', '2026-10-25T01:45:00.000Z', '2026-10-25T02:15:00.000Z', '2026-10-25T02:30:00.000Z'].map(night)).toEqual(['pending', 'pending', 'allow', 'allow', 'pending']);
  });
});

describe('a dependency', () => {
  it.each<readonly [string, Partial<DependencyFact>, 'allow' | 'pending']>([
    ['whichever runs', {}, 'allow'], ['nothing runs', { runs: null }, 'pending'], ['exactly this', { release: '2.3.0' }, 'allow'], ['exactly another', { release: '2.3.1' }, 'pending'], ['an older one is enough', { atLeast: '2.1.0' }, 'allow'],
    ['the same is enough', { atLeast: '2.3' }, 'allow'], ['a newer one is needed', { atLeast: '2.10.0' }, 'pending'], ['a version before its release', { atLeast: '2.3.0', runs: '2.3.0-rc.1' }, 'pending'], ['what cannot be compared', { atLeast: '2.1.0', runs: 'nightly' }, 'pending'],
    ['both are demanded', { release: '2.3.0', atLeast: '3.0.0' }, 'pending'],
  ])('is met or not: %s', (_, fact, outcome) => {
    expect(decide(behind([needs(fact)])).outcome).toBe(outcome);
  });

  it('names all that is missing, and asks nothing of a removal', () => {
    const input = behind([needs({ runs: null }, { application: 'vault', runs: null, atLeast: '7.0' }, {})]);
    expect(result(input)).toMatchObject({ code: 'DependencyMissing', detail: { missing: ['prod/db', 'prod/vault (7.0 or newer)'] } });
    expect(result({ ...input, operation: 'remove', lock: null, release: null, runs: null })).toMatchObject({ outcome: 'passed', code: 'NotRequired' });
  });
});

describe('a limit of runs', () => {
  it('keeps waiting what finds no place, and names whose runs are open', () => {
    expect(decide(behind([few(false, ['prod/a'])])).outcome).toBe('allow');
    expect(result(behind([few(true, ['prod/b', 'prod/a'])]))).toMatchObject({ code: 'TooManyRuns', detail: { most: 2, busy: ['prod/a', 'prod/b'] } });
  });

  it('makes no news of which runs those are', () => {
    expect(relevantDigest(behind([few(true, ['prod/a', 'prod/b'])]))).toBe(relevantDigest(behind([few(true, ['prod/b', 'prod/c'])])));
    expect(relevantDigest(behind([few(true)]))).not.toBe(relevantDigest(behind([few(false)])));
  });
});

describe('a hold', () => {
  it('keeps everything waiting, with its reason', () => {
    expect(result(behind([hold]))).toMatchObject({ code: 'Held', outcome: 'pending', detail: { reason: 'until ops took over' } });
    expect(result(behind([], { hold: 'not before the sale' }))).toMatchObject({ code: 'Held', subject: '', detail: { reason: 'not before the sale' } });
  });
});

describe('an expression', () => {
  it('passes where it holds, and waits with a reason where it does not or cannot be evaluated', () => {
    expect(decide(behind([asks('source.branch == "main"')])).outcome).toBe('allow');
    expect(result(behind([asks('source.branch == "dev"')]))).toMatchObject({ outcome: 'pending', code: 'ExpressionFalse' });
    expect(result(behind([asks('source.commit == "x"')]))).toMatchObject({ outcome: 'pending', code: 'ExpressionFailed', detail: { fault: 'Failed' } });
    expect(result(behind([asks('attempt')]))).toMatchObject({ outcome: 'pending', code: 'ExpressionFailed', detail: { fault: 'Invalid' } });
    expect(result(behind([asks('true')], { about: null }))).toMatchObject({ outcome: 'pending', code: 'ExpressionFailed' });
  });
});

describe('broken glass', () => {
  const gates: readonly GateFact[] = [window('14:00', '16:00'), needs({ runs: null }), few(true), asks('false')];
  const types = ['window', 'dependency', 'concurrency', 'expression'] as const;
  const broken = (skip: readonly (typeof types)[number][], maySkip: readonly (typeof types)[number][] = skip): Partial<DecisionInput> => ({
    mode: 'break-glass', breakGlass: { skip, reason: 'down', expires: '2026-05-04T13:00:00.000Z', allowed: { skip: maySkip, withinSeconds: 7_200 } },
  });

  it('skips gates by their type where policy lists it', () => {
    expect(decide(behind(gates, broken(types))).outcome).toBe('allow');
    for (const left of types) expect(decide(behind(gates, broken(types.filter((type) => type !== left)))).gates.filter(({ outcome }) => outcome !== 'passed').map(({ gate }) => gate)).toEqual([left]);
    expect(decide(behind(gates, broken(types, ['window']))).reasons).toContain('BreakGlassNotAllowed');
  });

  it('skips neither a hold nor a gate that is missing', () => {
    expect(decide(behind([hold, { name: 'gone', type: 'missing' }], broken(types))).reasons).toEqual(['GateMissing', 'Held']);
  });

  it('outlives a window that it skips', () => {
    expect(decide(behind([window('09:00', '12:10')], broken(['window']))).notAfter).toBe('2026-05-04T13:00:00.000Z');
  });
});

it('two results that differ in nothing but when they open stand in one order', () => {
  const both = [window('14:00', '16:00'), window('15:00', '16:00')];
  expect(decide(behind(both)).gates).toEqual(decide(behind([...both].reverse())).gates);
});

it('a window means the same in whatever time zone it is judged', () => {
  const berlin = window('13:30', '14:30', { weekly: [{ days: ['mon'], from: '13:30', to: '14:30', timeZone: 'Europe/Berlin' }] });
  const before = process.env['TZ'];
  const decided = ['UTC', 'Pacific/Kiritimati', 'America/St_Johns'].map((zone) => {
    process.env['TZ'] = zone;
    return decide(behind([berlin]));
  });
  if (before === undefined) delete process.env['TZ'];
  else process.env['TZ'] = before;
  expect(decided.map(({ outcome, notAfter }) => [outcome, notAfter])).toEqual(Array.from({ length: 3 }, () => ['allow', '2026-05-04T12:30:00.000Z']));
});

it('all gates are judged, whatever the others say, and each is explained with a way out', () => {
  const input = behind([window('14:00', '16:00'), needs({ runs: null }), few(true, ['prod/a']), hold, asks('false'), { name: 'gone', type: 'missing' }], { hold: 'not yet', clauses: [clause()] });
  const decision = decide(input);
  expect(decision.reasons).toEqual(['ApprovalsMissing', 'DependencyMissing', 'ExpressionFalse', 'GateMissing', 'Held', 'OutsideWindow', 'TooManyRuns']);
  const lines = explainDecision(decision, input).filter(({ about, outcome, gate }) => about === 'gate' && outcome === 'pending' && gate !== 'approvals');
  expect(lines.map(({ gate }) => gate)).toEqual(['hold', 'hold', 'gate', 'window', 'dependency', 'concurrency', 'expression']);
  expect(lines.filter(({ remedy }) => remedy === null)).toEqual([]);
});
