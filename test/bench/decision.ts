import { performance } from 'node:perf_hooks';
import { decide } from '../../src/core/decision/decide.ts';
import type { CountedApproval, DecisionInput } from '../../src/core/decision/types.ts';
import { formatInstant } from '../../src/core/model/instant.ts';
import { digestOfBytes } from '../../src/core/model/digest.ts';
import type { Clause } from '../../src/core/model/preimages.ts';

const AS_OF = Date.UTC(2026, 4, 4);
const CLAUSES = 31;
const FREEZES = 8;
const SOURCES = 6;
const APPROVALS = 200;
const ROLES = ['sre', 'qa', 'security', 'owner'] as const;

/** 50 gate results (31 clauses, 8 freezes, 6 sources and the five other gates) over 200 approvals by 200 people, each with an expiry of its own. */
export function largeDecisionInput(): DecisionInput {
  const digest = digestOfBytes('benchmark');
  const names = Array.from({ length: APPROVALS }, (_, i) => `person-${String(i).padStart(3, '0')}`);
  const roleOf = (i: number): string => ROLES[i % ROLES.length] ?? 'sre';
  return {
    type: 'stella/decision-input/v1', rules: 1, logId: digest, tenant: 'acme', environment: 'prod', application: 'shop', operation: 'promote',
    release: '1.4.0', attempt: 1, promotion: digest, derived: null, ended: null, lock: digest, plan: digest, runs: digest, promotionDigest: digest, problems: [],
    mode: 'standard', breakGlass: null, debts: [], fallBackSeconds: 86_400,
    state: { generation: 7, lock: digest, runs: digest, clean: true, otherRunOpen: null, previous: null, closed: false },
    clauses: Array.from({ length: CLAUSES }, (_, i) => clauseNumber(i)),
    approvers: names.map((principal, i) => ({ principal, roles: [roleOf(i), roleOf(i + 1)].sort() })),
    requesters: { people: names.slice(0, 10), unknown: 0 },
    approvals: names.map((principal, i) => approvalNumber(principal, i)),
    rejected: [],
    freezes: Array.from({ length: FREEZES }, (_, i) => ({ name: `freeze-${i}`, stops: 'place', calendar: null, except: null, excepts: [] }) as const),
    sources: Array.from({ length: SOURCES }, (_, i) => ({ environment: `staging-${i}`, soakSeconds: 3_600, succeededAt: formatInstant(AS_OF - i * 60_000) })),
    gates: [], hold: null, about: null,
    allowSeconds: 3_600,
    asOf: formatInstant(AS_OF),
  };
}

function clauseNumber(i: number): Clause {
  const roles = ROLES.map((role, k) => ({ role, count: i + k }));
  return { origin: 'target', name: `host-${String(i).padStart(3, '0')}`, people: i % 2 === 0 ? 4 : 250, roles, authorNeverApproves: true, unknownRequester: 'deny' };
}

function approvalNumber(principal: string, i: number): CountedApproval {
  const expires = formatInstant(AS_OF + (i + 1) * 60_000);
  return { principal, document: digestOfBytes(`document ${i}`), payload: digestOfBytes(`payload ${i}`), action: 'approve', observedAt: formatInstant(AS_OF - i * 1000), expires };
}

/**
 * 95th percentile of the time that one decision takes over {@link largeDecisionInput}, in milliseconds, after warming up.
 * @param rounds decisions measured
 */
export async function decisionP95Ms(rounds = 2_000): Promise<number> {
  const input = largeDecisionInput();
  const gates = decide(input).gates.length;
  if (gates < 50) throw new Error(`the benchmark wants 50 gates and has ${gates}`);
  for (let i = 0; i < 500; i++) decide(input);
  const times: number[] = [];
  for (let i = 0; i < rounds; i++) {
    const start = performance.now();
    decide(input);
    times.push(performance.now() - start);
  }
  times.sort((a, b) => a - b);
  return times[Math.floor(times.length * 0.95)] ?? Number.POSITIVE_INFINITY;
}
