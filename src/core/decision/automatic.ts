import { API_VERSION, documentDigest, type AutomaticRule, type DocumentOf } from '../model/documents.ts';
import { allInForce, appStateOf, inForceOf, type AppState, type LockEntry, type LogState } from '../evidence/log-state.ts';
import type { Derived, PromotionDecisionPredicate } from '../evidence/records.ts';
import { compareReleases } from '../release/versions.ts';

export type Place = { readonly environment: string; readonly application: string };

/**
 * Why a release is not promoted by itself. NothingRuns: the environment before runs nothing in a clean state. NoRelease: the channel is empty.
 * NotNewer: what is there is no newer than what runs here. Suspended: a stop names it. Unavailable: deprecated, deleted, or changed since it was
 * locked. LeftHere: it failed here, or somebody went back from it. NotClean: what runs here is in no known state.
 */
export type HeldBackCode = 'NothingRuns' | 'NoRelease' | 'NotNewer' | 'Suspended' | 'Unavailable' | 'LeftHere' | 'NotClean';
export type HeldBack = { readonly code: HeldBackCode; /** null where there is none. */ readonly release: string | null };

export type Derivation = Place & {
  readonly derived: Derived;
  /** What is wanted; null: nothing, and what runs keeps running. */
  readonly release: string | null;
  /** It is what runs already. */
  readonly isKept: boolean;
  /** What was not taken, and why, the most wanted first. */
  readonly heldBack: readonly HeldBack[];
};

/** Releases of one channel that are asked for at most: whoever deprecates more at once promotes by hand. Part of rule set 1. */
const ASKED_RELEASES = 100;

/** The rule in force by which `place` is automatic: its environment says so, and a target may take the application there. Null: it is not. */
export function automaticRule(state: LogState, { environment, application }: Place): AutomaticRule | null {
  const rule = inForceOf(state, 'Environment', environment)?.spec.automatic;
  if (rule === undefined || inForceOf(state, 'Application', application) === null || (rule.applications !== undefined && !rule.applications.includes(application))) return null;
  return allInForce(state, 'Target').some(({ spec }) => spec.environments.includes(environment) && spec.applications.includes(application)) ? rule : null;
}

/** Every environment and application that is automatic, in no order. Costs what targets there are. */
export function automaticPlaces(state: LogState): readonly Place[] {
  const environments = new Map(allInForce(state, 'Environment').flatMap(({ metadata, spec }) => (spec.automatic === undefined ? [] : [[metadata.name, spec.automatic] as const])));
  if (environments.size === 0) return [];
  const places = new Map<string, Place>();
  for (const { spec } of allInForce(state, 'Target')) {
    for (const environment of spec.environments) {
      const rule = environments.get(environment);
      if (rule === undefined) continue;
      const wanted = spec.applications.filter((application) => rule.applications?.includes(application) ?? true);
      for (const application of wanted) if (inForceOf(state, 'Application', application) !== null) places.set(`${environment}/${application}`, { environment, application });
    }
  }
  return [...places.values()];
}

/**
 * Which release is wanted where no Promotion says so: the one that runs clean in another environment, or the newest of a channel, and never one that is
 * no newer than what runs. A function of the log alone but for `isAvailable`, whose answers are recorded: so the log tells whether a server derived
 * it or made it up. It says what is asked for; every gate still decides whether it runs.
 * @param isAvailable whether the tip still offers a locked release; asked in order, and only as far as it matters
 * @returns null where the place is not automatic
 */
export function deriveRelease(state: LogState, place: Place, isAvailable: (release: string) => boolean): Derivation | null {
  const rule = automaticRule(state, place);
  if (rule === null) return null;
  const app = appStateOf(state, place.environment, place.application);
  const from = rule.channel === undefined ? 'environment' : 'channel';
  const name = rule.channel ?? rule.from ?? '';
  const unavailable: string[] = [];
  const heldBack: HeldBack[] = [];
  const found = from === 'channel' ? inChannel(state, place, name) : inSource(state, place, name);
  let release: string | null = null;
  if (found.length === 0) heldBack.push({ code: from === 'channel' ? 'NoRelease' : 'NothingRuns', release: null });
  for (const entry of found) {
    const code = faultOf(state, app, entry, (wanted) => { const is = isAvailable(wanted); if (!is) unavailable.push(wanted); return is; });
    if (code === null) release = entry.lock.release;
    else heldBack.push({ code, release: entry.lock.release });
    // An older one takes the place of what is suspended or taken back, never of what failed or was left.
    if ((code !== 'Suspended' && code !== 'Unavailable') || unavailable.length >= ASKED_RELEASES) break;
  }
  return { ...place, derived: { from, name, unavailable }, ...(release === null ? kept(state, app, heldBack) : { release, isKept: false }), heldBack };
}

/** What runs stays wanted, so that its configuration is followed; what is in no known state is for people to look at. */
function kept(state: LogState, app: AppState, heldBack: HeldBack[]): Pick<Derivation, 'release' | 'isKept'> {
  if (app.release === null || !state.locks.has(`${app.application}/${app.release}`)) return { release: null, isKept: false };
  if (app.clean) return { release: app.release, isKept: true };
  heldBack.push({ code: 'NotClean', release: app.release });
  return { release: null, isKept: false };
}

function inChannel(state: LogState, { application }: Place, channel: string): readonly LockEntry[] {
  return (state.channels.get(`${application}/${channel}`) ?? []).flatMap((release) => state.locks.get(`${application}/${release}`) ?? []);
}

function inSource(state: LogState, { application }: Place, environment: string): readonly LockEntry[] {
  const source = appStateOf(state, environment, application);
  const entry = source.release === null || !source.clean ? undefined : state.locks.get(`${application}/${source.release}`);
  return entry === undefined || entry.digest !== source.lock ? [] : [entry];
}

function faultOf(state: LogState, app: AppState, entry: LockEntry, isAvailable: (release: string) => boolean): HeldBackCode | null {
  const { release } = entry.lock;
  const running = app.release === null ? undefined : state.locks.get(`${app.application}/${app.release}`);
  if (running !== undefined && compareReleases({ release, seq: entry.seq }, { release: running.lock.release, seq: running.seq }) <= 0) return 'NotNewer';
  if (isSuspended(state, app, release)) return 'Suspended';
  if (!isAvailable(release)) return 'Unavailable';
  return app.left.some((left) => left.lock === entry.digest) ? 'LeftHere' : null;
}

/** T24: whatever its calendar says, so that no derivation waits for a clock. Who wants it all the same promotes it. */
function isSuspended(state: LogState, { environment, application }: Place, release: string): boolean {
  return allInForce(state, 'Freeze').some(({ spec }) => {
    const covers = (list: readonly string[] | undefined, name: string): boolean => list === undefined || list.includes(name);
    return spec.releases?.includes(`${application}/${release}`) === true && covers(spec.environments, environment) && covers(spec.applications, application);
  });
}

/** The document that stands for what was derived: what somebody would have written. */
export function derivedPromotion({ environment, application }: Place, release: string): DocumentOf<'Promotion'> {
  return { apiVersion: API_VERSION, kind: 'Promotion', metadata: { name: `${environment}/${application}` }, spec: { release } };
}

/**
 * Whether what a record calls derived follows from the log before it. What ended, what runs, and what an extension brings further followed from
 * the log when it was first decided; then the record names the same promotion.
 */
export function isDerivedFrom(state: LogState, p: Pick<PromotionDecisionPredicate, 'environment' | 'application' | 'operation' | 'sources'>): boolean {
  const { derived, promotionDocument, promotion, ended } = p.sources;
  if (derived === null || p.operation === 'extend') return true;
  // Nobody signed it: an intent on it would be somebody's request.
  if (promotion !== promotionDocument) return false;
  const { openRun, lastDecision } = appStateOf(state, p.environment, p.application);
  if (ended !== null) return lastDecision?.derived != null && isSame(lastDecision.derived, derived) && lastDecision.promotion === promotionDocument;
  const run = openRun?.sources.derived ?? null;
  if (openRun !== null && run !== null && isSame(run, derived) && openRun.promotion === promotionDocument && openRun.plan === p.sources.plan) return true;
  const again = deriveRelease(state, p, (release) => !derived.unavailable.includes(release));
  if (again === null || again.release === null || documentDigest(derivedPromotion(p, again.release)) !== promotionDocument) return false;
  return isSame(again.derived, derived);
}

function isSame(a: Derived, b: Derived): boolean {
  return a.from === b.from && a.name === b.name && a.unavailable.join(' ') === b.unavailable.join(' ');
}
