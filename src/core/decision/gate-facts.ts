import type { Dependency, DocumentOf, GateSpec } from '../model/documents.ts';
import type { ExpressionFacts } from '../model/expression.ts';
import { compareText } from '../model/names.ts';
import type { Lock, Plan } from '../model/preimages.ts';
import { allInForce, appStateOf, inForceOf, stateKey, type AppState, type LogState } from '../evidence/log-state.ts';
import { calendarFact } from './freeze-facts.ts';
import { firstOf } from './gate/result.ts';
import type { DecisionInput, DependencyFact, GateFact } from './types.ts';

type Place = { readonly environment: string; readonly application: string };

/** Names of the Gates that a promotion must pass, sorted: an application adds to those of the environment and takes none away (T14, T17). */
export function gateNames(state: LogState, { environment, application }: Place): readonly string[] {
  const [place, what] = [inForceOf(state, 'Environment', environment), inForceOf(state, 'Application', application)];
  return [...new Set([...(place?.spec.gates ?? []), ...(what?.spec.gates ?? [])])].sort(compareText);
}

/** @param keepsPlace its own run is open */
export function gateFacts(state: LogState, place: Place, { keepsPlace }: { readonly keepsPlace: boolean }): readonly GateFact[] {
  return gateNames(state, place).map((name) => {
    const gate = inForceOf(state, 'Gate', name);
    return gate === null ? { name, type: 'missing' } : factOf(state, place, gate, keepsPlace);
  });
}

function factOf(state: LogState, place: Place, { metadata: { name }, spec }: DocumentOf<'Gate'>, keepsPlace: boolean): GateFact {
  switch (spec.type) {
    case 'window':
      return { name, type: spec.type, calendar: calendarFact(spec.calendar) };
    case 'dependency':
      return { name, type: spec.type, on: dependencyFacts(state, place, spec.on) };
    case 'concurrency': {
      const busy = busyIn(state, spec, stateKey(place.environment, place.application));
      return { name, type: spec.type, most: spec.most, full: !keepsPlace && busy.length >= spec.most, busy: firstOf(busy) };
    }
    case 'hold':
      return { name, type: spec.type, reason: spec.reason };
    case 'expression':
      return { name, type: spec.type, expression: spec.expression };
  }
}

/** What an application needs of itself is there once it is promoted: a gate of the whole environment asks it of the others. */
function dependencyFacts(state: LogState, place: Place, on: readonly Dependency[]): readonly DependencyFact[] {
  return on
    .map(({ environment = place.environment, application, release = null, atLeast = null }): DependencyFact => {
      const { clean, release: running, lock } = appStateOf(state, environment, application);
      return { environment, application, release, atLeast, runs: clean && lock !== null ? running : null };
    })
    .filter(({ environment, application }) => environment !== place.environment || application !== place.application)
    .sort((a, b) => compareText(a.environment, b.environment) || compareText(a.application, b.application) || compareText(a.release ?? '', b.release ?? '') || compareText(a.atLeast ?? '', b.atLeast ?? ''));
}

/** Whose runs are open among those that a gate counts, sorted; without its own. Costs what runs are open. */
function busyIn(state: LogState, gate: Scope, own: string): readonly string[] {
  return [...state.openRuns.values()].filter((run) => isInScope(gate, run)).map((run) => stateKey(run.environment, run.application)).filter((key) => key !== own).sort(compareText);
}

type Scope = { readonly environments?: readonly string[]; readonly applications?: readonly string[] };

/** Whether a gate of type concurrency counts the runs of this place. */
function isInScope({ environments, applications }: Scope, { environment, application }: Place): boolean {
  return (environments?.includes(environment) ?? true) && (applications?.includes(application) ?? true);
}

/**
 * Tells of a place whether a gate that its promotions must pass asks about what runs, or is being deployed, at `moved`: then it is judged again
 * when that changes. Costs what gates, environments and applications there are, and next to nothing for each place that no such gate is named for.
 * @returns null where no gate asks about it
 */
export function asksAbout(state: LogState, moved: Place): ((place: Place) => boolean) | null {
  const asking = allInForce(state, 'Gate').filter(({ spec }) => isAbout(spec, moved, moved.environment)).map(({ metadata }) => metadata.name);
  if (asking.length === 0) return null;
  const names = new Set(asking);
  const naming = (kind: 'Environment' | 'Application'): ReadonlySet<string> => new Set(allInForce(state, kind).filter(({ spec }) => spec.gates?.some((gate) => names.has(gate)) === true).map(({ metadata }) => metadata.name));
  const [environments, applications] = [naming('Environment'), naming('Application')];
  return (place) => {
    if (!environments.has(place.environment) && !applications.has(place.application)) return false;
    return gateNames(state, place).some((name) => {
      const spec = inForceOf(state, 'Gate', name)?.spec;
      return spec !== undefined && isAbout(spec, moved, place.environment);
    });
  };
}

/** @param environment whose promotion passes the gate */
function isAbout(spec: GateSpec, moved: Place, environment: string): boolean {
  if (spec.type === 'concurrency') return isInScope(spec, moved);
  return spec.type === 'dependency' && spec.on.some((one) => one.application === moved.application && (one.environment ?? environment) === moved.environment);
}

/** What expressions may ask about one promotion; null where no gate asks. */
export function expressionFacts(input: Omit<DecisionInput, 'about'>, { plan, lock, app }: { readonly plan: Plan | null; readonly lock: Lock | null; readonly app: AppState }): ExpressionFacts | null {
  if (!input.gates.some(({ type }) => type === 'expression')) return null;
  const runs = plan?.runs ?? null;
  const components = [...(runs?.components ?? [])].sort((a, b) => compareText(a.name, b.name));
  const source = (lock?.source ?? null) as { readonly [member: string]: string | null } | null;
  return {
    environment: input.environment, application: input.application, operation: input.operation, release: input.release ?? '', previousRelease: app.release ?? '',
    attempt: input.attempt, rollback: input.mode === 'rollback', breakGlass: input.breakGlass !== null,
    components: components.map(({ name }) => name), images: Object.fromEntries(components.map(({ name, digest }) => [name, digest])),
    source: Object.fromEntries(Object.entries(source ?? {}).flatMap(([member, value]) => (value === null ? [] : [[member, value]]))),
    variables: runs?.variables ?? {}, secrets: Object.keys(runs?.secrets ?? {}).sort(compareText), targets: (plan?.targets ?? []).map(({ name }) => name).sort(compareText),
    requesters: input.requesters.people, unknownRequesters: input.requesters.unknown, sources: input.sources.flatMap(({ environment, succeededAt }) => (succeededAt === null ? [] : [environment])),
  };
}
