import type { PlanningWorld } from '../reconciler/planning.ts';

/**
 * What to tell somebody who looks at a commit that does not hold the newest reconciled tip: after the merge other files may lie
 * beside it, and so another digest (T18). Null when there is nothing to say.
 */
export async function behindTarget(world: PlanningWorld): Promise<string | null> {
  const last = world.state.tip?.commit;
  if (last === undefined || last === world.tip) return null;
  const isIn = await world.reader.isAncestor(last, world.tip).catch(() => false);
  if (isIn) return null;
  return `note: ${world.tip.slice(0, 12)} does not contain ${last.slice(0, 12)}, the newest tip that was reconciled; merge or rebase first, or the plan may be another one after the merge`;
}
