import { canonicalText } from '../model/canonical-json.ts';
import type { Plan } from '../model/preimages.ts';
import { compareText } from '../model/names.ts';
import type { AppState, OpenRun, Place, Standing, TargetMark } from './log-state.ts';
import type { DeploymentOutcomePredicate, PromotionDecisionPredicate } from './records.ts';

/** Where a plan puts what it runs. */
export function placesOf(plan: Plan): readonly Place[] {
  return plan.targets.map((target) => ({ target: target.name, as: canonicalText(target) }));
}

/** What stands after a promotion succeeded: its allow, and the targets of its plan. Nothing stands after a removal. */
export function standingOf(run: OpenRun, outcome: DeploymentOutcomePredicate): Standing | null {
  if (run.operation === 'remove') return null;
  const { promotionDigest, generation, plan, input, attempt, sources } = run;
  return { promotionDigest, generation, plan, input, attempt, sources, targets: run.targets.map((place) => markOf(place, outcome)), closed: null };
}

/**
 * What stands after an extension, however it ended. What runs on the other targets is as it was, so the state stays as it is;
 * targets that the extension failed on are not tried again until the attempt rises or they change (T22).
 */
export function extendedStanding(standing: Standing, run: OpenRun, outcome: DeploymentOutcomePredicate): Standing {
  const marks = new Map(standing.targets.map((mark) => [mark.target, mark]));
  for (const place of run.targets) {
    const mark = markOf(place, outcome);
    marks.set(place.target, { ...mark, try: Math.max(mark.try, marks.get(place.target)?.try ?? 0) });
  }
  const lacking = run.targets.filter(({ target }) => marks.get(target)?.succeeded !== true);
  const closed = outcome.result === 'Aborted' ? standing.closed : lacking.length === 0 ? null : { places: lacking.map(({ as }) => as), attempt: run.attempt };
  return { ...standing, targets: [...marks.values()].sort((a, b) => compareText(a.target, b.target)), closed };
}

/** A target has what was promoted once every step that was taken there succeeded. */
function markOf(place: Place, outcome: DeploymentOutcomePredicate): TargetMark {
  const results = outcome.steps.flatMap(({ targets }) => targets.filter(({ target }) => target === place.target));
  const tries = results.reduce((most, result) => Math.max(most, result.try), 0);
  return { ...place, succeeded: outcome.fallback === null && results.length > 0 && results.every(({ result }) => result === 'Succeeded'), try: tries };
}

/** Whether an extension names the allow that stands, for a state that nothing moved since. */
export function isFounded(app: AppState, p: PromotionDecisionPredicate): boolean {
  const { standing } = app;
  if (standing === null || !app.clean || standing.generation !== app.generation) return false;
  return p.sources.extends === standing.input && p.decision.promotionDigest === standing.promotionDigest && p.decision.generation === app.generation;
}
