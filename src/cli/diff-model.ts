import { parseCanonicalJson } from '../core/model/canonical-json.ts';
import { digestOfBytes, type Digest } from '../core/model/digest.ts';
import { documentKey, type DocumentOf } from '../core/model/documents.ts';
import { parseInstant } from '../core/model/instant.ts';
import { compareText } from '../core/model/names.ts';
import type { Lock, Plan, Runs } from '../core/model/preimages.ts';
import type { DesiredState } from '../core/desired/desired-state.ts';
import { inForceOf, type AppState, type LogState } from '../core/evidence/log-state.ts';
import { compareRuns, type RunsDifference, type Side } from '../core/proposal/compare-runs.ts';
import type { FileChange } from '../core/proposal/plan-model.ts';
import { bytesDiff } from '../core/proposal/unified-diff.ts';
import { CliError } from './command.ts';

/** One application on both sides. Targets of different environments are named and not compared. */
export type ApplicationDifference = Omit<RunsDifference, 'files'> & { readonly application: string; readonly from: string | null; readonly to: string | null; readonly files: readonly FileChange[]; readonly isSame: boolean };
export type PlacesDifference = { readonly type: 'stella/diff/v1'; readonly from: string; readonly to: string; readonly isSame: boolean; readonly applications: readonly ApplicationDifference[] };

/** What is compared: where it is, and what is there by application. */
export type Place = { readonly name: string; readonly environment: string | null; readonly applications: ReadonlyMap<string, Held> };
type Held = Side & { readonly release: string | null };

export type DiffWorld = {
  readonly state: LogState;
  /** The log after each of its records. */
  readonly states: readonly { readonly seq: number; readonly asOf: string; readonly state: LogState }[];
  readonly desired: DesiredState;
  readonly artifact: (digest: Digest) => Uint8Array | undefined;
};

/**
 * What `<environment>`, `<environment>/<application>`, either with `@<time>` or `@<record>`, or `<application>/<version>` names.
 * @throws CliError `PlaceUnknown`
 */
export function placeNamed(world: DiffWorld, text: string): Place {
  const [name = '', when] = text.split('@');
  const state = when === undefined ? world.state : stateAt(world, when);
  const [first = '', second] = name.split('/');
  if (inForceOf(state, 'Environment', first) !== null) {
    const apps = [...state.states.values()].filter(({ environment, application }) => environment === first && (second === undefined || application === second));
    return { name: text, environment: first, applications: new Map(apps.filter(({ runs }) => runs !== null).map((app) => [app.application, heldIn(world, app)])) };
  }
  const locked = when === undefined ? state.locks.get(name) : undefined;
  if (locked === undefined) throw new CliError('PlaceUnknown', `${JSON.stringify(text.slice(0, 80))} names no environment in force and no release that is locked.`, 'Write staging, staging/shop, staging@2026-11-01T08:00:00Z, staging@120 or shop/1.4.0. What a release that is not merged would bring: stella plan.');
  const { lock } = locked;
  return { name: text, environment: null, applications: new Map([[lock.application, { release: lock.release, runs: runsOf(lock, locked.digest), targets: [], tagOf: tagsOf(world.desired, lock.application, lock.release) }]]) };
}

function stateAt({ states }: DiffWorld, when: string): LogState {
  const [record, at] = [/^\d{1,9}$/.test(when) ? Number(when) : null, parseInstant(when)];
  const found = states.findLast(({ seq, asOf }) => (record !== null ? seq <= record : at !== null && (parseInstant(asOf) ?? Number.POSITIVE_INFINITY) <= at));
  if (found === undefined) throw new CliError('PlaceUnknown', `@${when.slice(0, 40)} is neither a record of the log nor a moment after its first one.`, 'Write @120, or @2026-11-01T08:00:00Z.');
  return found.state;
}

function heldIn({ desired, artifact }: DiffWorld, { application, release, runs, plan, standing }: AppState): Held {
  const read = <T>(digest: Digest | null): T | null => {
    const bytes = digest === null ? undefined : artifact(digest);
    return bytes === undefined ? null : ((parseCanonicalJson(bytes) as T | undefined) ?? null);
  };
  const reached = (standing?.targets ?? []).filter(({ succeeded }) => succeeded).map(({ target }) => target);
  return { release, runs: read<Runs>(runs), targets: reached.length > 0 ? reached : (read<Plan>(plan)?.targets ?? []).map((target) => target.name), tagOf: tagsOf(desired, application, release) };
}

/** What a release brings wherever it runs. */
function runsOf({ application, release, components, snapshot }: Lock, lock: Digest): Runs {
  return { type: 'stella/runs/v1', environment: '', application, release, lock, deployment: {}, components, artifacts: [], files: snapshot.files, variables: {}, secrets: {} };
}

function tagsOf(desired: DesiredState, application: string, release: string | null): Side['tagOf'] {
  const entry = release === null ? undefined : desired.usable.Release.get(documentKey('Release', `${application}/${release}`));
  const components = (entry?.document as unknown as DocumentOf<'Release'> | undefined)?.spec.components ?? {};
  return (name) => (Object.hasOwn(components, name) ? (components[name]?.tag ?? null) : null);
}

const NOTHING: Held = { release: null, runs: null, targets: [], tagOf: () => null };

/** Compares application by application. */
export function comparePlaces({ artifact }: DiffWorld, from: Place, to: Place): PlacesDifference {
  const isOnePlace = from.environment !== null && from.environment === to.environment;
  const names = [...new Set([...from.applications.keys(), ...to.applications.keys()])].sort(compareText);
  const texts = new Map<Digest, Uint8Array>();
  const bytesOf = (digest: Digest): Uint8Array | undefined => texts.get(digest) ?? artifact(digest);
  const applications = names.map((application) => {
    const [old, now] = [from.applications.get(application) ?? NOTHING, to.applications.get(application) ?? NOTHING].map((held) => (isOnePlace ? held : withoutPlace(held, bytesOf, texts)));
    const { files, ...found } = compareRuns(old ?? NOTHING, now ?? NOTHING);
    const isSame = [...found.components, ...files].every(({ change }) => change === 'unchanged') && found.variables.length + found.secrets.length === 0 && (!isOnePlace || found.targets.added.length + found.targets.removed.length === 0);
    return { application, from: old?.release ?? null, to: now?.release ?? null, ...found, files: files.map((file) => ({ ...file, diff: diffOf(file, bytesOf) })), isSame };
  });
  return { type: 'stella/diff/v1', from: from.name, to: to.name, isSame: applications.every(({ isSame }) => isSame), applications };
}

function diffOf({ change, from, to }: Omit<FileChange, 'diff'>, bytesOf: (digest: Digest) => Uint8Array | undefined): string | null {
  if (change === 'unchanged' || from === to) return null;
  const [before, after] = [from, to].map((digest) => (digest === null ? null : bytesOf(digest)));
  return before === undefined || after === undefined ? null : bytesDiff(before, after);
}

/** Rendered files carry the names of environment, release and lock as labels, which differ wherever anything does. */
function withoutPlace(held: Held, bytesOf: (digest: Digest) => Uint8Array | undefined, texts: Map<Digest, Uint8Array>): Held {
  if (held.runs === null) return held;
  const artifacts = held.runs.artifacts.map((file) => {
    const bytes = bytesOf(file.digest);
    if (bytes === undefined) return file;
    const kept = Buffer.from(Buffer.from(bytes).toString('utf8').split('\n').filter((line) => !/^\s*"stella\.(?:environment|release|lock)": "[^"]*"$/.test(line)).join('\n'));
    const digest = digestOfBytes(kept);
    texts.set(digest, kept);
    return { ...file, digest };
  });
  return { ...held, runs: { ...held.runs, artifacts } };
}
