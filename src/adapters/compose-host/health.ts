import { setTimeout as sleep } from 'node:timers/promises';
import { ComposeError } from './compose-error.ts';
import type { Engine, ProjectContainer } from './engine.ts';

export type HealthWait = {
  readonly project: string;
  readonly services: readonly string[];
  readonly timeoutMs: number;
  /** How long a container without a health check must keep running to count as up. */
  readonly settleMs: number;
};

/**
 * Waits until every service has a container and every container runs, is healthy where it has a health check, and does not restart.
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
  return containers.map((container) => pendingContainer(container, wait.settleMs, runningSince)).find((pending) => pending !== null) ?? null;
}

function pendingContainer(container: ProjectContainer, settleMs: number, runningSince: Map<string, number>): string | null {
  const { service, state, health } = container;
  const isOver = state === 'exited' || state === 'dead';
  if (isOver && !container.restarts) throw new ComposeError('ServiceExited', `service ${service} ended with ${container.exitCode}`);
  if (health === 'unhealthy') throw new ComposeError('ServiceUnhealthy', `the health check of service ${service} fails`);
  if (state !== 'running') return `service ${service} is ${state}`;
  if (health !== null) return health === 'healthy' ? null : `the health check of service ${service} says ${health}`;
  const key = `${container.id} ${container.startedAt}`; // a restart begins anew
  const since = runningSince.get(key) ?? performance.now();
  runningSince.set(key, since);
  return performance.now() - since >= settleMs ? null : `service ${service} has only just started`;
}
