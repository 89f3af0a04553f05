import { setTimeout as sleep } from 'node:timers/promises';
import { ComposeError } from './compose-error.ts';
import type { Engine, ProjectContainer } from './engine.ts';

export type HealthWait = {
  readonly project: string;
  readonly services: readonly string[];
  /** Of these, the ones that do their work once: they are well once they have ended with 0. */
  readonly ending: ReadonlySet<string>;
  readonly timeoutMs: number;
  /** How long a container without a health check must keep running to count as up. */
  readonly settleMs: number;
};

/**
 * Waits until every service has a container and every container runs, is healthy where it has a health check, and does not restart, or has
 * done its work where that is all it was to do.
 * @throws ComposeError ServiceExited, ServiceUnhealthy, HealthTimedOut
 */
export async function waitUntilHealthy(engine: Engine, wait: HealthWait): Promise<void> {
  const giveUpAt = performance.now() + wait.timeoutMs;
  /** Since when a container has been seen running without a restart in between. */
  const runningSince = new Map<string, number>();
  for (;;) {
    const containers = await engine.containersOf(wait.project);
    const pending = pendingOf(containers, wait, runningSince);
    if (pending === null) return;
    if (performance.now() > giveUpAt) throw new ComposeError('HealthTimedOut', `${pending} after ${Math.round(wait.timeoutMs / 1000)} s`);
    await sleep(200);
  }
}

/** What is still waited for; null when all is well. */
function pendingOf(containers: readonly ProjectContainer[], wait: HealthWait, runningSince: Map<string, number>): string | null {
  const missing = wait.services.find((service) => !containers.some((container) => container.service === service));
  if (missing !== undefined) return `service ${missing} has no container`;
  return containers.map((container) => pendingContainer(container, wait, runningSince)).find((pending) => pending !== null) ?? null;
}

function pendingContainer(container: ProjectContainer, { settleMs, ending }: HealthWait, runningSince: Map<string, number>): string | null {
  const { service, state, health, exitCode } = container;
  if (ending.has(service)) return pendingWork(container);
  const isOver = state === 'exited' || state === 'dead';
  const hint = exitCode === 0 ? '; if it does its work once, say so with restart: "no"' : '';
  if (isOver && !container.restarts) throw new ComposeError('ServiceExited', `service ${service} ended with ${exitCode}${hint}`);
  if (health === 'unhealthy') throw new ComposeError('ServiceUnhealthy', `the health check of service ${service} fails`);
  if (state !== 'running') return `service ${service} is ${state}`;
  if (health !== null) return health === 'healthy' ? null : `the health check of service ${service} says ${health}`;
  const key = `${container.id} ${container.startedAt}`; // a restart begins anew
  const since = runningSince.get(key) ?? performance.now();
  runningSince.set(key, since);
  return performance.now() - since >= settleMs ? null : `service ${service} has only just started`;
}

/** Whether a container has done the one thing that it was started for. */
export function hasDoneItsWork({ state, exitCode }: Pick<ProjectContainer, 'state' | 'exitCode'>): boolean {
  return state === 'exited' && exitCode === 0;
}

function pendingWork(container: ProjectContainer): string | null {
  const { service, state, exitCode, restarts } = container;
  if (hasDoneItsWork(container)) return null;
  if ((state === 'exited' || state === 'dead') && !restarts) throw new ComposeError('ServiceExited', `service ${service} ended with ${exitCode}`);
  return `service ${service} has not ended yet`;
}
