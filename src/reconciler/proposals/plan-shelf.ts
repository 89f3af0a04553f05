import type { AppState, LogState } from '../../core/evidence/log-state.ts';
import type { CommitId } from '../../core/model/commit-id.ts';
import { parseInstant } from '../../core/model/instant.ts';
import type { ProposalPlan } from '../../core/proposal/plan-model.ts';
import type { Snapshot } from '../snapshot.ts';

type Shelved = {
  readonly plan: ProposalPlan;
  readonly snapshot: Snapshot;
  readonly plannedAt: number;
  /** When it is tried again, because it could not be made. */
  readonly retryAt: number | null;
  /** What the log says of the places that the plan is about; values that only change by being replaced. */
  readonly places: ReadonlyMap<string, AppState>;
};

/** now: something that the plan is made of moved. later: the log moved somewhere else, which few gates look at. */
export type Due = 'now' | 'later' | null;

/**
 * The newest plan of each commit, and whether it still says what a new one would. What the log says elsewhere (of what a dependency gate
 * names, for instance) makes a plan old only after `laterMs`, so that a busy server does not plan everything after every record.
 */
export class PlanShelf {
  readonly #laterMs: number;
  readonly #plans = new Map<CommitId, Shelved>();

  constructor(laterMs: number) {
    this.#laterMs = laterMs;
  }

  get(commit: CommitId): ProposalPlan | undefined {
    return this.#plans.get(commit)?.plan;
  }

  put(commit: CommitId, plan: ProposalPlan, snapshot: Snapshot, now: number, retryAt: number | null = null): void {
    this.#plans.set(commit, { plan, snapshot, plannedAt: now, retryAt, places: placesOf(plan, snapshot.state) });
  }

  /** Forgets what nobody proposes any more. */
  keepOnly(commits: ReadonlySet<CommitId>): void {
    for (const commit of this.#plans.keys()) if (!commits.has(commit)) this.#plans.delete(commit);
  }

  /** Those that need a plan: first the ones without any, as they are given, then the ones that were planned longest ago. */
  due(commits: readonly CommitId[], snapshot: Snapshot, now: number): readonly CommitId[] {
    const due = [...new Set(commits)].filter((commit) => this.#isDue(commit, snapshot, now));
    const ageOf = (commit: CommitId): number => this.#plans.get(commit)?.plannedAt ?? 0;
    return due.sort((a, b) => ageOf(a) - ageOf(b));
  }

  /** When time alone makes one of them old, milliseconds since 1970; null if it does not. */
  nextDue(snapshot: Snapshot): number | null {
    const times = [...this.#plans.values()].flatMap((shelved) => {
      const later = stateOf(shelved, snapshot) === 'later' ? shelved.plannedAt + this.#laterMs : null;
      return [changeOf(shelved), later].filter((at) => at !== null);
    });
    return times.length === 0 ? null : Math.min(...times);
  }

  #isDue(commit: CommitId, snapshot: Snapshot, now: number): boolean {
    const shelved = this.#plans.get(commit);
    if (shelved === undefined) return true;
    const change = changeOf(shelved);
    if (change !== null && change <= now) return true;
    const due = stateOf(shelved, snapshot);
    return due === 'now' || (due === 'later' && now - shelved.plannedAt >= this.#laterMs);
  }
}

function changeOf({ plan, retryAt }: Shelved): number | null {
  return retryAt ?? (plan.nextChangeAt === null ? null : parseInstant(plan.nextChangeAt));
}

function stateOf({ plan, snapshot: before, places }: Shelved, { state, tip }: Snapshot): Due {
  if (before.tip !== tip) return 'now';
  if (before.state === state) return null;
  const [was, is] = [before.state.inForceDigests, state.inForceDigests];
  if (was.root !== is.root || was.principals !== is.principals || was.policy !== is.policy) return 'now';
  if (plan.protectedChanges.length > 0 && before.state.changeApprovals !== state.changeApprovals) return 'now';
  const now = placesOf(plan, state);
  if (now.size !== places.size || [...now].some(([key, app]) => places.get(key) !== app)) return 'now';
  return before.state.size === state.size ? null : 'later';
}

/** Everything that the log says of an environment or an application of the plan: where releases come from, what runs beside it. */
function placesOf({ promotions }: ProposalPlan, { states }: LogState): ReadonlyMap<string, AppState> {
  const environments = new Set(promotions.map((p) => p.environment));
  const applications = new Set(promotions.map((p) => p.application));
  return new Map([...states.entries()].filter(([, app]) => environments.has(app.environment) || applications.has(app.application)));
}
