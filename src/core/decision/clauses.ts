import { canonicalText } from '../model/canonical-json.ts';
import type { ApprovalRule, DocumentOf, TrustRootSpec } from '../model/documents.ts';
import { compareText } from '../model/names.ts';
import type { Clause } from '../model/preimages.ts';

/** `<origin>/<name>`: how gate results and explanations name a clause. */
export function clauseSubject(clause: Clause): string {
  return `${clause.origin}/${clause.name}`;
}

/** By which rules a promotion is judged: as always, eased towards what ran before (T28), or in an emergency (T27). */
export type RuleMode = { readonly type: 'standard' | 'rollback' } | { readonly type: 'break-glass'; readonly skip: readonly string[] };

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
  readonly mode?: RuleMode;
}): readonly Clause[] {
  const { mode = { type: 'standard' } } = p;
  const environment = p.environment.metadata.name;
  const clauses: Clause[] = [];
  const add = (origin: Clause['origin'], name: string, rule: ApprovalRule | undefined): void => {
    if (rule !== undefined && demandsSomebody(rule)) clauses.push(clauseOf(origin, name, rule));
  };
  for (const rule of minimumsOf(p.minimums, environment)) add('root', `environment/${environment}`, rule);
  for (const rule of p.minimums?.targets ?? []) {
    // A minimum for all targets is one demand, however many targets the plan has.
    if (rule.name === '*' ? p.targets.length > 0 : p.targets.includes(rule.name)) add('target', rule.name, rule);
  }
  const { approvals, rollback, breakGlass } = p.environment.spec;
  const skips = mode.type === 'break-glass' && mode.skip.includes('approvals');
  // T28: only the environment's own rule is eased. Its name says so, and so does what people sign.
  if (mode.type === 'rollback' && approvals !== undefined && rollback !== undefined) add('environment', `${environment}/rollback`, rollback);
  else if (!skips) add('environment', environment, approvals);
  if (!skips) add('application', p.application.metadata.name, p.application.spec.approvals);
  // T27: whoever breaks the glass has a quorum of their own to meet, and never less than the root's.
  if (mode.type === 'break-glass') {
    add('environment', `${environment}/break-glass`, breakGlass);
    add('root', 'break-glass', p.minimums?.breakGlass);
  }
  return sortedClauses(clauses);
}

/** Every demand of both lists, each once: none replaces another (T17). */
export function everyClause(a: readonly Clause[], b: readonly Clause[]): readonly Clause[] {
  return sortedClauses([...a, ...b]);
}

function minimumsOf(minimums: TrustRootSpec['minimums'], environment: string): readonly ApprovalRule[] {
  return (minimums?.environments ?? []).filter(({ name }) => name === '*' || name === environment);
}

/**
 * Whether an environment is `reconciler-trusted`: neither its own rule nor a minimum of the root asks a person, so agents have nothing to
 * prove there and believe the server (TRUST "What an agent proves, and what it cannot").
 * @param p.environment null where no such document is in force
 */
export function trustsReconciler(p: { readonly minimums: TrustRootSpec['minimums']; readonly name: string; readonly environment: DocumentOf<'Environment'> | null }): boolean {
  const own = p.environment?.spec.approvals;
  return ![...minimumsOf(p.minimums, p.name), ...(own === undefined ? [] : [own])].some(demandsSomebody);
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
