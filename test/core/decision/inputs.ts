import type { ExpressionFacts } from '../../../src/core/model/expression.ts';
import { digestOfBytes, type Digest } from '../../../src/core/model/digest.ts';
import type { Clause } from '../../../src/core/model/preimages.ts';
import type { Approver, CountedApproval, DecisionInput, FreezeFact } from '../../../src/core/decision/types.ts';

export const AS_OF = '2026-05-04T12:00:00.000Z';

export function digest(of: string): Digest {
  return digestOfBytes(of);
}

/** `alice approves` with one document and payload of her own for each `number`. */
export function approval(principal: string, more: Partial<CountedApproval> & { readonly number?: number } = {}): CountedApproval {
  const { number = 0, ...rest } = more;
  const name = `${principal} ${rest.action ?? 'approve'} ${number}`;
  return {
    principal, document: digest(`document ${name}`), payload: digest(`payload ${name}`), action: 'approve', observedAt: '2026-05-04T11:00:00.000Z', expires: null, ...rest,
  };
}

export function clause(more: Partial<Clause> = {}): Clause {
  return { origin: 'environment', name: 'prod', people: 1, roles: [], authorNeverApproves: true, unknownRequester: 'deny', ...more };
}

export function approver(principal: string, ...roles: readonly string[]): Approver {
  return { principal, roles };
}

/** A latch that nobody may except. */
export function freeze(name: string, more: Partial<FreezeFact> = {}): FreezeFact {
  return { name, stops: 'place', calendar: null, except: null, excepts: [], ...more };
}

/** What expressions are asked about, unless a test says otherwise. */
export function factsOf(more: Partial<ExpressionFacts> = {}): ExpressionFacts {
  return {
    environment: 'prod', application: 'shop', operation: 'promote', release: '1.4.0', previousRelease: '1.3.0', attempt: 1, rollback: false, breakGlass: false, components: ['api', 'web'],
    images: { api: digest('api'), web: digest('web') }, source: { branch: 'main', repository: 'https://git.example/shop' }, variables: { LEVEL: 'info' }, secrets: ['TOKEN'], targets: ['prod-1', 'prod-2'],
    requesters: ['rita'], unknownRequesters: 0, sources: ['staging'], ...more,
  };
}

/** A promotion that is allowed: nothing is missing and nothing is demanded. */
export function inputOf(more: Partial<DecisionInput> = {}): DecisionInput {
  return {
    type: 'stella/decision-input/v1', rules: 1, logId: digest('log'), tenant: 'acme', environment: 'prod', application: 'shop', operation: 'promote',
    release: '1.4.0', attempt: 1, promotion: digest('promotion'), derived: null, ended: null, lock: digest('lock'), plan: digest('plan'), runs: digest('runs'),
    promotionDigest: digest('promotion digest'), problems: [],
    state: { generation: 3, lock: digest('old lock'), runs: digest('old runs'), clean: true, otherRunOpen: null, previous: null, closed: false },
    mode: 'standard', breakGlass: null, debts: [], clauses: [], approvers: [], requesters: { people: ['rita'], unknown: 0 }, approvals: [], rejected: [], freezes: [], sources: [], gates: [], hold: null, about: null, allowSeconds: 3_600, fallBackSeconds: 86_400, asOf: AS_OF,
    ...more,
  };
}
