import { canonicalText } from '../model/canonical-json.ts';
import type { ApprovalRule, DocumentOf, TrustRootSpec } from '../model/documents.ts';
import { compareText } from '../model/names.ts';
import type { Clause } from '../model/preimages.ts';

/** `<origin>/<name>`: how gate results and explanations name a clause. */
export function clauseSubject(clause: Clause): string {
  return `${clause.origin}/${clause.name}`;
}

/**
 * All demands on the approvals of one promotion, from documents in force, with defaults filled in and sorted (T17). They
 * are never merged, so nothing below the root weakens what stands above it; identical ones stand once.
 * @param p.targets names of the plan's targets
 */
export function clausesFor(p: {
  readonly minimums: TrustRootSpec['minimums'];
  readonly environment: DocumentOf<'Environment'>;
  readonly application: DocumentOf<'Application'>;
  readonly targets: readonly string[];
}): readonly Clause[] {
  const environment = p.environment.metadata.name;
  const clauses: Clause[] = [];
  const add = (origin: Clause['origin'], name: string, rule: ApprovalRule | undefined): void => {
    if (rule !== undefined && demandsSomebody(rule)) clauses.push(clauseOf(origin, name, rule));
  };
  for (const rule of p.minimums?.environments ?? []) {
    if (rule.name === '*' || rule.name === environment) add('root', `environment/${environment}`, rule);
  }
  for (const rule of p.minimums?.targets ?? []) {
    // A minimum for all targets is one demand, however many targets the plan has.
    if (rule.name === '*' ? p.targets.length > 0 : p.targets.includes(rule.name)) add('target', rule.name, rule);
  }
  add('environment', environment, p.environment.spec.approvals);
  add('application', p.application.metadata.name, p.application.spec.approvals);
  return sortedClauses(clauses);
}

/** Every demand of both lists, each once: none replaces another (T17). */
export function everyClause(a: readonly Clause[], b: readonly Clause[]): readonly Clause[] {
  return sortedClauses([...a, ...b]);
}

function demandsSomebody(rule: ApprovalRule): boolean {
  return rule.people > 0 || (rule.roles ?? []).some((role) => role.count > 0);
}

function clauseOf(origin: Clause['origin'], name: string, rule: ApprovalRule): Clause {
  const roles = (rule.roles ?? []).map(({ role, count }) => ({ role, count }));
  return {
    origin,
    name,
    people: rule.people,
    roles: roles.sort((a, b) => compareText(a.role, b.role) || a.count - b.count),
    authorNeverApproves: rule.authorNeverApproves ?? true, // T19
    unknownRequester: rule.unknownRequester ?? 'deny', // T20
  };
}

function sortedClauses(clauses: readonly Clause[]): readonly Clause[] {
  const byText = new Map(clauses.map((clause) => [canonicalText(clause), clause]));
  return [...byText]
    .sort(([a, x], [b, y]) => compareText(x.origin, y.origin) || compareText(x.name, y.name) || compareText(a, b))
    .map(([, clause]) => clause);
}
