import type { Digest } from '../core/model/digest.ts';
import { parseCanonicalJson } from '../core/model/canonical-json.ts';
import { compareText, splitPair } from '../core/model/names.ts';
import type { Plan, Runs } from '../core/model/preimages.ts';
import { clausesFor, trustsReconciler } from '../core/decision/clauses.ts';
import { lackingTargets } from '../core/decision/extension.ts';
import { explainDecision, type ExplainLine } from '../core/decision/explain.ts';
import { explainSituation } from '../core/proposal/situation.ts';
import type { Decision, DecisionInput } from '../core/decision/types.ts';
import { allInForce, appStateOf, inForceOf, rootOf, type AppState, type Debt, type LogState } from '../core/evidence/log-state.ts';
import type { TargetFailure } from '../core/evidence/failures.ts';
import type { PromotionDecisionPredicate } from '../core/evidence/records.ts';
import type { Evidence } from './clone.ts';
import { stopsInForce, type StopView } from './stop-view.ts';

export type Waiting = { readonly record: number; readonly release: string | null; readonly outcome: Decision['outcome']; readonly reasons: readonly string[]; readonly lines: readonly string[]; readonly nextChangeAt: string | null };
export type ApplicationStatus = {
  readonly application: string;
  /** How it stands: what runs and by which records, what became of runs and requests, in the words of `stella explain`. */
  readonly lines: readonly ExplainLine[];
  readonly release: string | null;
  readonly components: readonly { readonly name: string; readonly digest: Digest }[];
  readonly generation: number;
  readonly clean: boolean;
  /** Targets in force that do not run it: put in force, or edited, since. */
  readonly lacking: readonly string[];
  readonly succeededAt: string | null;
  readonly running: { readonly release: string | null; readonly generation: number; readonly record: number } | null;
  readonly waiting: Waiting | null;
  readonly lastOutcome: { readonly result: string; readonly reason: string; readonly endedAt: string; /** What went wrong on which target; not all of it where much did. */ readonly failures: readonly TargetFailure[] } | null;
  /** Broken glass that nobody has reviewed (T27). */
  readonly debts: readonly Debt[];
  /** What a rollback goes back to. */
  readonly previous: { readonly release: string; readonly replacedAt: string } | null;
  /** No rule asks a person: that it was right rests on the server's word (TRUST "What an agent proves"). */
  readonly reconcilerTrusted: boolean;
  /** A rule lets who asked approve as well. */
  readonly separationOff: boolean;
};
export type EnvironmentStatus = { readonly environment: string; readonly order: number | null; /** No rule of the environment or the root asks a person. */ readonly reconcilerTrusted: boolean; readonly applications: readonly ApplicationStatus[] };
export type StatusModel = {
  readonly logId: Digest;
  readonly records: number;
  readonly asOf: string | null;
  readonly tip: string | null;
  readonly environments: readonly EnvironmentStatus[];
  /** Stops in force: everywhere, or where they apply to the environment that was asked for. */
  readonly stops: readonly StopView[];
  /** Plain sentences about what this log does not protect against. */
  readonly warnings: readonly string[];
};

/**
 * What runs where, as the log says.
 * @param decisions last decision by `<environment>/<application>`
 */
export function statusOf(evidence: Evidence, decisions: ReadonlyMap<string, PromotionDecisionPredicate & { readonly seq: number }>, { only, now }: { readonly only: string | null; readonly now: Date }): StatusModel {
  const { state } = evidence;
  const names = new Set([...allInForce(state, 'Environment').map((e) => e.metadata.name), ...[...state.states.values()].map((s) => s.environment)]);
  const environments = [...names].filter((name) => only === null || name === only).map((name) => environmentStatus(evidence, name, decisions));
  return {
    logId: state.logId, records: state.size, asOf: state.asOf, tip: state.tip?.commit ?? null, warnings: warningsOf(state, environments),
    stops: stopsInForce(state, now.getTime()).filter(({ environments: where }) => only === null || where === null || where.includes(only)),
    environments: environments.sort((a, b) => (a.order ?? Number.MAX_SAFE_INTEGER) - (b.order ?? Number.MAX_SAFE_INTEGER) || compareText(a.environment, b.environment)),
  };
}

function environmentStatus(evidence: Evidence, environment: string, decisions: Parameters<typeof statusOf>[1]): EnvironmentStatus {
  const { state } = evidence;
  const applications = new Set([...state.states.values()].filter((s) => s.environment === environment).map((s) => s.application));
  for (const key of decisions.keys()) if (splitPair(key)[0] === environment) applications.add(splitPair(key)[1]);
  return {
    environment, order: inForceOf(state, 'Environment', environment)?.spec.order ?? null, reconcilerTrusted: trustsReconciler({ minimums: rootOf(state).spec.minimums, name: environment, environment: inForceOf(state, 'Environment', environment) }),
    applications: [...applications].sort(compareText).map((application) => applicationStatus(evidence, appStateOf(state, environment, application), decisions.get(`${environment}/${application}`))),
  };
}

function applicationStatus({ state, artifact }: Evidence, app: AppState, last: Parameters<typeof statusOf>[1] extends ReadonlyMap<string, infer D> ? D | undefined : never): ApplicationStatus {
  const runs = app.runs === null ? null : readJson<Runs>(artifact, app.runs);
  const approved = app.standing === null ? null : readJson<Plan>(artifact, app.standing.plan);
  const rules = rulesOf(state, app, last?.sources.plan == null ? null : readJson<Plan>(artifact, last.sources.plan));
  return {
    application: app.application, lines: explainSituation({ state, environment: app.environment, application: app.application, artifact }), release: app.release, components: runs?.components.map(({ name, digest }) => ({ name, digest })) ?? [], generation: app.generation, clean: app.clean,
    lacking: approved === null ? [] : lackingTargets(state, app, approved).map((t) => t.name),
    succeededAt: app.succeededAt, running: app.openRun === null ? null : { release: app.openRun.release, generation: app.openRun.generation, record: app.openRun.decision.seq },
    waiting: last === undefined || last.decision.outcome === 'allow' || last.sources.ended !== null ? null : waitingOf(last, readJson<DecisionInput>(artifact, last.input)),
    debts: app.debts, previous: app.previous === null ? null : { release: app.previous.release, replacedAt: app.previous.replacedAt },
    lastOutcome: app.lastOutcome === null ? null : { result: app.lastOutcome.result, reason: app.lastOutcome.reason, endedAt: app.lastOutcome.endedAt, failures: app.lastOutcome.failures },
    reconcilerTrusted: rules.length === 0, separationOff: rules.some((r) => !r.authorNeverApproves),
  };
}

function rulesOf(state: LogState, app: AppState, plan: Plan | null): ReturnType<typeof clausesFor> {
  const environment = inForceOf(state, 'Environment', app.environment);
  const application = inForceOf(state, 'Application', app.application);
  if (environment === null || application === null) return [];
  return clausesFor({ minimums: rootOf(state).spec.minimums, environment, application, targets: plan?.targets.map((t) => t.name) ?? [] });
}

function waitingOf({ seq, release, decision }: PromotionDecisionPredicate & { readonly seq: number }, input: DecisionInput | null): Waiting {
  const lines = input === null ? [] : explainDecision(decision, input).filter((l) => l.about === 'gate' && l.outcome !== 'passed').map((l) => (l.command === null ? l.text : `${l.text} ${l.command}`));
  return { record: seq, release, outcome: decision.outcome, reasons: decision.reasons, lines, nextChangeAt: decision.nextChangeAt };
}

function warningsOf(state: LogState, environments: readonly EnvironmentStatus[]): readonly string[] {
  const isOff = (e: EnvironmentStatus): boolean => inForceOf(state, 'Environment', e.environment)?.spec.approvals?.authorNeverApproves === false || e.applications.some((a) => a.separationOff);
  const off = environments.filter(isOff).map((e) => e.environment);
  const rewritten = state.lastRewrite;
  const warnings = off.length === 0 ? [] : [`separation of duties is off in ${off.join(', ')}: who asks may approve`];
  if (rootOf(state).spec.proposerCounts) warnings.push('separation of duties is off for protected documents: who proposes a change counts towards its quorum');
  if (rewritten !== null) warnings.push(`the history of ${rewritten.ref} was rewritten from ${rewritten.from.slice(0, 12)} to ${rewritten.to.slice(0, 12)}, which a quorum accepted (record ${rewritten.seq})`);
  return warnings;
}

function readJson<T>(artifact: (digest: Digest) => Uint8Array | undefined, digest: Digest): T | null {
  const bytes = artifact(digest);
  return bytes === undefined ? null : ((parseCanonicalJson(bytes) as T | undefined) ?? null);
}
