import { describe, expect, it } from 'vitest';
import { clausesFor, clauseSubject, trustsReconciler } from '../../../src/core/decision/clauses.ts';
import type { ApplicationSpec, ApprovalRule, DocumentOf, EnvironmentSpec } from '../../../src/core/model/documents.ts';

function environment(approvals?: ApprovalRule): DocumentOf<'Environment'> {
  const spec: EnvironmentSpec = approvals === undefined ? { order: 1 } : { order: 1, approvals };
  return { apiVersion: 'stella/v1alpha1', kind: 'Environment', metadata: { name: 'prod' }, spec };
}
function application(approvals?: ApprovalRule): DocumentOf<'Application'> {
  const plain: ApplicationSpec = { components: ['api'], deployment: { type: 'directory' } };
  const spec: ApplicationSpec = approvals === undefined ? plain : { ...plain, approvals };
  return { apiVersion: 'stella/v1alpha1', kind: 'Application', metadata: { name: 'shop' }, spec };
}

describe('clausesFor', () => {
  it('takes the demands of root, environment, targets and application, each for itself', () => {
    const minimums = {
      environments: [{ name: '*', people: 1 }, { name: 'prod', people: 2 }, { name: 'dev', people: 9 }],
      targets: [{ name: 'prod-eu-1', people: 3 }, { name: '*', people: 1 }, { name: 'other', people: 9 }],
    };
    const clauses = clausesFor({ minimums, environment: environment({ people: 2 }), application: application({ people: 1 }), targets: ['prod-eu-1', 'prod-eu-2'] });
    expect(clauses.map((clause) => `${clauseSubject(clause)} ${clause.people}`)).toEqual([
      'application/shop 1', 'environment/prod 2', 'root/environment/prod 1', 'root/environment/prod 2', 'target/* 1', 'target/prod-eu-1 3',
    ]);
  });

  it('fills in that authors never approve and that unknown requesters are denied', () => {
    const [clause] = clausesFor({ minimums: undefined, environment: environment({ people: 1 }), application: application(), targets: [] });
    expect(clause).toEqual({ origin: 'environment', name: 'prod', people: 1, roles: [], authorNeverApproves: true, unknownRequester: 'deny' });
  });

  it('makes no clause of a rule that demands nobody', () => {
    const rule = { people: 0, roles: [{ role: 'qa', count: 0 }] };
    expect(clausesFor({ minimums: { environments: [{ name: '*', ...rule }] }, environment: environment(rule), application: application(), targets: [] })).toEqual([]);
  });

  it('gives the same clauses in whatever order rules, roles and targets stand', () => {
    const roles = [{ role: 'sre', count: 1 }, { role: 'qa', count: 2 }];
    const rules = [{ name: 'a', people: 1, roles }, { name: 'b', people: 2 }];
    const of = (order: 1 | -1): unknown => {
      const flip = <T>(list: readonly T[]): readonly T[] => (order === 1 ? list : [...list].reverse());
      const minimums = { targets: flip(rules.map((rule) => ('roles' in rule ? { ...rule, roles: flip(roles) } : rule))) };
      return clausesFor({ minimums, environment: environment({ people: 1 }), application: application(), targets: flip(['a', 'b']) });
    };
    expect(of(-1)).toEqual(of(1));
  });
});

describe('an environment is reconciler-trusted', () => {
  const of = (approvals: ApprovalRule | undefined, minimum: ({ readonly name: string } & ApprovalRule) | null = null): boolean =>
    trustsReconciler({ minimums: minimum === null ? undefined : { environments: [minimum] }, name: 'prod', environment: environment(approvals) });

  it('where neither its rule nor a minimum of the root asks a person', () => {
    expect([of(undefined), of({ people: 0 }), of(undefined, { name: 'dev', people: 2 }), of(undefined, { name: '*', people: 0 })]).toEqual([true, true, true, true]);
  });

  it('and is not where one of them does, by number or by role', () => {
    expect([of({ people: 1 }), of({ people: 0, roles: [{ role: 'sre', count: 1 }] }), of(undefined, { name: '*', people: 1 }), of(undefined, { name: 'prod', people: 1 })]).toEqual([false, false, false, false]);
  });

  it('where something runs without such a document in force', () => {
    expect(trustsReconciler({ minimums: undefined, name: 'gone', environment: null })).toBe(true);
    expect(trustsReconciler({ minimums: { environments: [{ name: '*', people: 1 }] }, name: 'gone', environment: null })).toBe(false);
  });
});
