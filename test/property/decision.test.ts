import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { decide } from '../../src/core/decision/decide.ts';
import { explainDecision, renderExplanation } from '../../src/core/decision/explain.ts';
import type { DecisionInput, GateFact } from '../../src/core/decision/types.ts';
import { canonicalText } from '../../src/core/model/canonical-json.ts';
import { formatInstant } from '../../src/core/model/instant.ts';
import { approval, AS_OF, inputOf } from '../core/decision/inputs.ts';
import { arbitraryApproval, arbitraryBreakGlass, arbitraryCalendar, arbitraryClause, arbitraryGate, arbitraryInput, arbitraryPerson, arbitraryWildInput, shuffled } from './decision-arbitraries.ts';

const rank = { refuse: 0, pending: 1, allow: 2 } as const;
/** Whether `after` is at least as far from an allow as `before`. */
function isNoCloser(before: DecisionInput, after: DecisionInput): boolean {
  return decide(after).outcome !== 'allow' || decide(before).outcome === 'allow';
}

describe('decide', () => {
  it('is tried with allowed, waiting and refused inputs', () => {
    const outcomes = fc.sample(arbitraryInput, { numRuns: 500, seed: 1 }).map((input) => decide(input).outcome);
    for (const outcome of ['allow', 'pending', 'refuse'] as const) expect(outcomes.filter((o) => o === outcome).length).toBeGreaterThan(40);
  });

  it('gives the same bytes for the same input in any order', () => {
    const both = arbitraryInput.chain((input) => fc.tuple(fc.constant(input), shuffled(input)));
    fc.assert(fc.property(both, ([input, other]) => canonicalText(decide(input)) === canonicalText(decide(other))), { numRuns: 500 });
  });

  it('gives the same bytes for the same input again, and changes nothing of it', () => {
    fc.assert(
      fc.property(arbitraryInput, (input) => {
        const before = canonicalText(input);
        const first = canonicalText(decide(input));
        return canonicalText(decide(JSON.parse(before) as DecisionInput)) === first && canonicalText(input) === before;
      }),
    );
  });

  it('never turns a no into a yes when an approval is dropped', () => {
    fc.assert(
      fc.property(arbitraryInput, fc.nat(), (input, at) => {
        const index = input.approvals.length === 0 ? -1 : at % input.approvals.length;
        fc.pre(index >= 0 && input.approvals[index]?.action === 'approve');
        return isNoCloser(input, { ...input, approvals: input.approvals.toSpliced(index, 1) });
      }),
      { numRuns: 1_000 },
    );
  });

  it('skips by broken glass nothing but what is listed, and only where policy lists it too', () => {
    fc.assert(
      fc.property(arbitraryInput, arbitraryBreakGlass, (input, breakGlass) => {
        const whole = decide({ ...input, breakGlass: null });
        const broken = decide({ ...input, breakGlass });
        const rest = (decision: typeof whole, ...without: readonly string[]): string => canonicalText(decision.gates.filter(({ gate }) => !without.includes(gate)));
        const isBroken = broken.gates.some(({ gate, outcome }) => gate === 'break-glass' && outcome === 'passed');
        const mayPass = isBroken ? breakGlass.skip.filter((gate) => gate !== 'approvals' && breakGlass.allowed?.skip.includes(gate) === true) : [];
        return rest(whole, ...mayPass) === rest(broken, ...mayPass, 'break-glass') && mayPass.every((skip) => broken.gates.every(({ gate, outcome }) => gate !== skip || outcome === 'passed'));
      }),
      { numRuns: 1_000 },
    );
  });

  it('never turns a no into a yes when a rejection is added', () => {
    fc.assert(
      fc.property(arbitraryInput, arbitraryPerson, (input, who) => isNoCloser(input, { ...input, approvals: [...input.approvals, approval(who, { action: 'reject' })] })),
      { numRuns: 500 },
    );
  });

  it('never turns a yes into a no when an approval is added', () => {
    fc.assert(
      fc.property(arbitraryInput, arbitraryApproval, (input, more) => {
        fc.pre(more.action === 'approve');
        return isNoCloser({ ...input, approvals: [...input.approvals, more] }, input);
      }),
      { numRuns: 500 },
    );
  });

  it('never turns a no into a yes when a requester is added, known or unknown', () => {
    fc.assert(
      fc.property(arbitraryInput, fc.option(arbitraryPerson), (input, who) => {
        const { people, unknown } = input.requesters;
        return isNoCloser(input, { ...input, requesters: who === null ? { people, unknown: unknown + 1 } : { people: [...people, who], unknown } });
      }),
      { numRuns: 1_000 },
    );
  });

  it('never turns a no into a yes when a clause is added or a threshold raised', () => {
    fc.assert(
      fc.property(arbitraryInput, arbitraryClause, fc.nat(), (input, clause, at) => {
        const index = at % Math.max(1, input.clauses.length);
        const raised = input.clauses.map((c, i) => (i === index ? { ...c, people: c.people + 1 } : c));
        return isNoCloser(input, { ...input, clauses: [...input.clauses, clause] }) && isNoCloser(input, { ...input, clauses: raised });
      }),
      { numRuns: 500 },
    );
  });

  it('never turns a no into a yes when a role demand is raised in a clause that names roles', () => {
    fc.assert(
      fc.property(arbitraryInput, (input) => {
        const clauses = input.clauses.map((c) => ({ ...c, roles: c.roles.map(({ role, count }) => ({ role, count: count + 1 })) }));
        return isNoCloser(input, { ...input, clauses });
      }),
    );
  });

  it('never turns a no into a yes when a gate is added, or the promotion itself says that it waits', () => {
    fc.assert(
      fc.property(arbitraryInput, arbitraryGate, (input, gate) => isNoCloser(input, { ...input, gates: [...input.gates, gate] }) && decide({ ...input, hold: 'x' }).outcome !== 'allow'),
      { numRuns: 500 },
    );
  });

  it('never turns a no into a yes when something that a dependency asks for stops running, or another run opens', () => {
    fc.assert(
      fc.property(arbitraryInput, fc.nat(9), (input, at) => {
        const gates = input.gates.map((gate): GateFact => {
          if (gate.type === 'dependency') return { ...gate, on: gate.on.map((one, i) => (i === at % 3 ? { ...one, runs: null } : one)) };
          return gate.type === 'concurrency' ? { ...gate, full: true } : gate;
        });
        return isNoCloser(input, { ...input, gates });
      }),
      { numRuns: 500 },
    );
  });

  it('gives every gate that is named a result of its own, and allows only what passes all of them', () => {
    fc.assert(
      fc.property(arbitraryInput, (input) => {
        const { outcome, gates } = decide(input);
        for (const { name, type } of input.gates) expect(gates.some((result) => result.gate === (type === 'missing' ? 'gate' : type) && result.subject === name)).toBe(true);
        if (outcome === 'allow') expect(gates.filter((gate) => gate.outcome !== 'passed')).toEqual([]);
      }),
    );
  });

  it('allows nothing for longer than every window that it needs is open', () => {
    const always = inputOf({ approvals: [], clauses: [] });
    fc.assert(
      fc.property(fc.array(arbitraryCalendar, { minLength: 1, maxLength: 2 }), fc.integer({ min: 0, max: 7_200_000 }), (calendars, laterMs) => {
        const gates = calendars.map((calendar, i): GateFact => ({ name: `g${i}`, type: 'window', calendar }));
        const { outcome, notAfter } = decide({ ...always, gates });
        fc.pre(outcome === 'allow');
        const asOf = formatInstant(Date.parse(AS_OF) + laterMs);
        return (notAfter !== null && asOf >= notAfter) || decide({ ...always, gates, asOf }).outcome === 'allow';
      }),
      { numRuns: 150 },
    );
  });

  it('never loses a soak that has ended', () => {
    fc.assert(
      fc.property(arbitraryInput.map((input) => ({ ...input, breakGlass: null })), fc.nat(7_200), (input, later) => {
        const source = (i: DecisionInput): boolean => decide(i).gates.every((gate) => gate.gate !== 'source' || gate.outcome === 'passed');
        return !source(input) || source({ ...input, asOf: formatInstant(Date.parse(AS_OF) + later * 1000) });
      }),
    );
  });

  it('changes by time alone not before the moment that it names', () => {
    fc.assert(
      fc.property(arbitraryInput, fc.integer({ min: 1, max: 7_200_000 }), (input, laterMs) => {
        const decision = decide(input);
        const asOf = formatInstant(Date.parse(AS_OF) + laterMs);
        fc.pre(decision.nextChangeAt === null || asOf < decision.nextChangeAt);
        const later = decide({ ...input, asOf });
        expect(later.gates).toEqual(decision.gates);
        expect(later.outcome).toBe(decision.outcome);
      }),
      { numRuns: 500 },
    );
  });

  it('allows only until the first approval that it consumes expires', () => {
    fc.assert(
      fc.property(arbitraryInput, (input) => {
        const { outcome, consumes, notAfter } = decide(input);
        if (outcome !== 'allow') return notAfter === null && consumes.length === 0;
        const used = input.approvals.filter(({ document }) => consumes.includes(document));
        const standing = used.filter(({ expires }) => expires === null || expires > AS_OF);
        return notAfter !== null && standing.every(({ expires }) => expires === null || notAfter <= expires);
      }),
    );
  });

  it('ranks its outcome by its gates: any refusal refuses, any waiting waits', () => {
    fc.assert(
      fc.property(arbitraryInput, (input) => {
        const { outcome, gates } = decide(input);
        const worst = Math.min(...gates.map((gate) => ({ refused: 0, pending: 1, passed: 2 })[gate.outcome]));
        return rank[outcome] === worst;
      }),
    );
  });

  it('answers and explains whatever its type lets through, and never throws', () => {
    fc.assert(
      fc.property(arbitraryWildInput, (input) => {
        const decision = decide(input);
        expect(renderExplanation(explainDecision(decision, input)).length).toBeGreaterThan(0);
        if (decision.outcome === 'allow') expect(decision.notAfter).not.toBeNull();
      }),
      { numRuns: 1_000 },
    );
  });
});
