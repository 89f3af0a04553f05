import type { Digest } from '../model/digest.ts';
import { compareText } from '../model/names.ts';
import type { Plan, Runs } from '../model/preimages.ts';
import type { Change, ChangeKind, ComponentChange, FileChange, TargetChange } from './plan-model.ts';
import { compareVersions } from '../release/versions.ts';

/** What runs, or would; null where nothing does. */
export type Side = { readonly runs: Runs | null; readonly targets: readonly string[]; /** Tag that its Release names for a component, where that is known. */ readonly tagOf: (component: string) => string | null };
/** What reaches targets, on both sides; `diff` is left to who has the bytes. */
export type RunsDifference = {
  readonly components: readonly ComponentChange[];
  readonly files: readonly Omit<FileChange, 'diff'>[];
  readonly variables: readonly ({ readonly name: string } & Change<string>)[];
  readonly secrets: readonly ({ readonly name: string } & Change<string>)[];
  readonly targets: TargetChange;
};

/** Compares two sides by name. Variables and secrets that stay are left out, everything else is named. */
export function compareRuns(from: Side, to: Side): RunsDifference {
  return {
    components: components(from, to), files: files(from.runs, to.runs),
    variables: settings(from.runs?.variables, to.runs?.variables), secrets: settings(from.runs?.secrets, to.runs?.secrets), targets: targets(from.targets, to.targets),
  };
}

/** Whether anything that reaches targets differs, or where it goes. */
export function differs({ components, files, variables, secrets, targets }: RunsDifference): boolean {
  return [...components, ...files].some(({ change }) => change !== 'unchanged') || variables.length + secrets.length + targets.added.length + targets.removed.length > 0;
}

function components(from: Side, to: Side): readonly ComponentChange[] {
  const versions = (side: Side): ReadonlyMap<string, { readonly tag: string | null; readonly digest: Digest }> => new Map((side.runs?.components ?? []).map(({ name, digest }) => [name, { tag: side.tagOf(name), digest }]));
  return paired(versions(from), versions(to)).map(({ name, from: old, to: now }) => ({ name, change: kindOf(old?.digest, now?.digest), from: old, to: now }));
}

function files(from: Runs | null, to: Runs | null): readonly Omit<FileChange, 'diff'>[] {
  const listed = (runs: Runs | null): ReadonlyMap<string, { readonly digest: Digest; readonly mode: number }> => new Map([...(runs?.files ?? []), ...(runs?.artifacts ?? [])].map(({ path, digest, mode }) => [path, { digest, mode }]));
  return paired(listed(from), listed(to)).map(({ name: path, from: old, to: now }) => {
    const change = kindOf(old === null ? undefined : `${old.digest} ${old.mode}`, now === null ? undefined : `${now.digest} ${now.mode}`);
    return { path, change, from: old?.digest ?? null, to: now?.digest ?? null };
  });
}

function settings(from: Readonly<Record<string, string>> = {}, to: Readonly<Record<string, string>> = {}): readonly ({ readonly name: string } & Change<string>)[] {
  return paired(new Map(Object.entries(from)), new Map(Object.entries(to))).filter((one) => one.from !== one.to);
}

function targets(from: readonly string[], to: readonly string[]): TargetChange {
  const sorted = (names: readonly string[]): readonly string[] => [...new Set(names)].sort(compareText);
  return { all: sorted(to), added: sorted(to.filter((name) => !from.includes(name))), removed: sorted(from.filter((name) => !to.includes(name))) };
}

function paired<T>(from: ReadonlyMap<string, T>, to: ReadonlyMap<string, T>): readonly ({ readonly name: string } & Change<T>)[] {
  return [...new Set([...from.keys(), ...to.keys()])].sort(compareText).map((name) => ({ name, from: from.get(name) ?? null, to: to.get(name) ?? null }));
}

function kindOf(from: string | undefined, to: string | undefined): ChangeKind {
  if (from === to) return 'unchanged';
  return from === undefined ? 'added' : to === undefined ? 'removed' : 'changed';
}

/** `rolling: deploy, health-check; on failure fall-back`. */
export function strategyText({ workflow: { name, steps, onFailure } }: Plan): string {
  return `${name}: ${steps.map((step) => (step.name === step.type ? step.name : `${step.name} (${step.type})`)).join(', ')}; on failure ${onFailure}`;
}

/** Components whose tag is an older version than the one that runs. */
export function downgradeNotes(changes: readonly ComponentChange[]): readonly string[] {
  return changes.flatMap(({ name, from, to }) => {
    const [old, now] = [from?.tag ?? null, to?.tag ?? null];
    const order = old === null || now === null ? null : compareVersions(now, old);
    return order !== null && order < 0 ? [`${name} goes back from ${old ?? ''} to ${now ?? ''}`] : [];
  });
}
