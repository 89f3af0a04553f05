import type { Digest } from '../core/model/digest.ts';
import { documentKey, type DocumentOf } from '../core/model/documents.ts';
import { compareText } from '../core/model/names.ts';
import type { Lock, LockComponent } from '../core/model/preimages.ts';
import { buildDecisionInput, type BuiltInput } from '../core/decision/build-input.ts';
import { decide } from '../core/decision/decide.ts';
import { whatIsDue, type Extension } from '../core/decision/extension.ts';
import type { Decision } from '../core/decision/types.ts';
import { automaticPlaces, type Derivation } from '../core/decision/automatic.ts';
import { explainDerivation } from '../core/decision/explain-automatic.ts';
import { withLock } from '../core/evidence/add-lock.ts';
import type { LogState } from '../core/evidence/log-state.ts';
import { makeLock, wantedBy, type WantedComponent } from '../core/release/lock.ts';
import { resolveTag, supposedLock } from '../reconciler/lock-releases.ts';
import { promotionAsked } from '../reconciler/derive-promotion.ts';
import type { ResolveRegistry } from '../reconciler/pass.ts';
import { gatherMaterial, readFiles, type Planned, type PlanningWorld, type Subject } from '../reconciler/planning.ts';
import { CliError } from './command.ts';

/** How the lock came about that a plan is made from. */
export type LockBasis = 'recorded' | 'resolved-here' | 'none';
export type PlannedSubject = {
  readonly subject: Subject;
  readonly promotion: DocumentOf<'Promotion'>;
  /** Set where the place is automatic and nobody wrote a Promotion. */
  readonly derivation: Derivation | null;
  readonly planned: Planned;
  readonly built: BuiltInput;
  readonly decision: Decision;
  readonly lock: Lock | null;
  readonly basis: LockBasis;
  /** Why there is no lock; from the registry or the declarations. */
  readonly lockFault: string | null;
  /** Nothing needs to run: what is declared runs already. */
  readonly satisfied: boolean;
  /** What runs still has to reach targets that came later; null when none lacks it. */
  readonly extension: Extension | null;
  readonly release: DocumentOf<'Release'> | null;
};

/**
 * Plans one promotion of a commit as the reconciler would, and decides it as of `asOf`. Nothing is written. A release that is not
 * locked yet is resolved here, at registries in force.
 * @throws CliError `NoPromotion`
 */
export async function planSubject(world: PlanningWorld, subject: Subject, registry: ResolveRegistry, asOf: string): Promise<PlannedSubject> {
  const name = `${subject.environment}/${subject.application}`;
  const { promotion, derived, derivation } = promotionAsked(world, subject);
  if (promotion === null) {
    const why = derivation === null ? '' : ` ${explainDerivation(derivation).join(' ')}`;
    throw new CliError('NoPromotion', `This commit has no usable Promotion ${name}.${why}`, `Ask for one with: stella promote ${subject.application}/<version> --to ${subject.environment}; or, where a branch asks for it already, name that with --ref.`);
  }
  const release = releaseOf(world, promotion, subject.application);
  const locked = release === null ? undefined : world.state.locks.get(release.metadata.name);
  const made = locked !== undefined || release === null ? null : await lockHere(world, release, registry);
  const usable = made?.ok === true ? made : null;
  const state = usable === null || release === null ? world.state : lockedHere(world, release, usable.lock, asOf);
  const lookup = (digest: Digest): Uint8Array | undefined => usable?.files.get(digest) ?? world.lookup(digest);
  const planned = await gatherMaterial({ ...world, state, lookup }, subject, promotion, { derived });
  const built = buildDecisionInput(state, planned.material, asOf, { artifact: lookup, openPgp: world.openPgp });
  const due = whatIsDue(state, built.input, { artifact: lookup, openPgp: world.openPgp });
  return {
    subject, promotion, derivation, planned, built, decision: decide(built.input), lock: planned.lock, release,
    basis: locked !== undefined ? 'recorded' : usable !== null ? 'resolved-here' : 'none',
    lockFault: made?.ok === false ? made.detail : null,
    satisfied: due.type !== 'promotion', extension: due.type === 'extension' ? due.extension : null,
  };
}

function releaseOf(world: PlanningWorld, promotion: DocumentOf<'Promotion'>, application: string): DocumentOf<'Release'> | null {
  const { release, state } = promotion.spec;
  if (release === undefined || state === 'absent') return null;
  const entry = world.desired.usable.Release.get(documentKey('Release', `${application}/${release}`));
  return entry === undefined ? null : (entry.document as unknown as DocumentOf<'Release'>);
}

type Made = { readonly ok: true; readonly lock: Lock; readonly files: ReadonlyMap<Digest, Uint8Array> } | { readonly ok: false; readonly detail: string };

/** The lock that the reconciler would record for this commit now. */
async function lockHere(world: PlanningWorld, release: DocumentOf<'Release'>, registry: ResolveRegistry): Promise<Made> {
  const wanted = wantedBy(world.state, release);
  if (!wanted.ok) return wanted;
  const { files, faults } = await readFiles(world.reader, world.tip, wanted.files, world.candidate?.files);
  if (faults[0] !== undefined) return { ok: false, detail: faults[0] };
  const components: LockComponent[] = [];
  for (const component of wanted.components) {
    const digest = component.digest ?? (await resolveComponent(world.state, component, registry));
    if (typeof digest !== 'string') return { ok: false, detail: digest.message };
    components.push({ ...component, digest });
  }
  const lock = makeLock({
    logId: world.state.logId, release, application: wanted.application, components, files: files.map(({ path, digest, mode }) => ({ path, digest, mode })),
  });
  return { ok: true, lock, files: new Map(files.map((f) => [f.digest, f.bytes])) };
}

function lockedHere({ state, tip }: PlanningWorld, release: DocumentOf<'Release'>, lock: Lock, at: string): LogState {
  return withLock(state, release.metadata.name, supposedLock(state, release, { lock, tip, at }));
}

/** What the tag of a component points to now, by the same rules as on the server. */
export async function resolveComponent(state: LogState, component: WantedComponent, registry: ResolveRegistry): Promise<Digest | { readonly message: string }> {
  // Of the batch it only reads the state; a clone has no batch.
  const pass = { batch: { state }, registry } as unknown as Parameters<typeof resolveTag>[0];
  try {
    return await resolveTag(pass, component);
  } catch (error) {
    if (!(error instanceof Error)) throw error;
    return { message: `component ${component.name}: ${error.message}${error instanceof CliError && error.remedy !== null ? ` ${error.remedy}` : ''}` };
  }
}

export type TagCheck = { readonly component: string; readonly tag: string | null; readonly locked: Digest; readonly now: Digest | null; readonly fault: string | null };

/** Asks this machine's registries what the tags of a locked release point to now; a digest without a tag is asked for by itself. */
export async function checkTags(world: PlanningWorld, planned: PlannedSubject, registry: ResolveRegistry): Promise<readonly TagCheck[]> {
  const { release, lock } = planned;
  const wanted = release === null || lock === null ? null : wantedBy(world.state, release);
  if (wanted?.ok !== true || lock === null) return [];
  const checks: TagCheck[] = [];
  for (const component of wanted.components) {
    const locked = lock.components.find((c) => c.name === component.name)?.digest;
    if (locked === undefined) continue;
    if (component.tag === null) {
      checks.push({ component: component.name, tag: null, locked, now: locked, fault: null });
      continue;
    }
    const now = await resolveComponent(world.state, component, registry);
    checks.push({ component: component.name, tag: component.tag, locked, now: typeof now === 'string' ? now : null, fault: typeof now === 'string' ? null : now.message });
  }
  return checks.sort((a, b) => compareText(a.component, b.component));
}

/** `prod/shop`, or every promotion of `prod`, sorted. @throws CliError `NoPromotion` */
export function subjectsNamed(world: PlanningWorld, text: string): readonly Subject[] {
  const [environment = '', application] = text.split('/');
  if (application !== undefined) return [{ environment, application }];
  const declared = [...world.desired.usable.Promotion.values()].map((e) => e.document.metadata.name);
  const derived = automaticPlaces(world.state).filter((place) => promotionAsked(world, place).promotion !== null).map((place) => `${place.environment}/${place.application}`);
  const names = [...new Set([...declared, ...derived])].filter((name) => name.startsWith(`${environment}/`));
  if (names.length === 0) throw new CliError('NoPromotion', `This commit has no Promotion for ${environment}.`, `Ask for one with: stella promote <application>/<version> --to ${environment}; or, where a branch asks for one already, name that with --ref.`);
  return names.sort(compareText).map((name) => ({ environment, application: name.slice(environment.length + 1) }));
}
