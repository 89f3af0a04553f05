import type { Context } from 'koa';
import { limits } from '../core/model/limits.ts';
import type { ApiWorld } from './world.ts';

/** The process lives; nothing else is asked. */
export function answerHealth(context: Context): void {
  context.body = { status: 'ok' };
}

/** Whether it does its work: it has reconciled recently, and the storage answers. */
export async function answerReadiness(context: Context, world: ApiWorld): Promise<void> {
  const status = world.status();
  const fault = status.lastReport?.fault ?? null;
  // A server that talks to itself has stopped writing: somebody has to look, and does not wait for it to be overdue.
  const reconciled = status.lastSuccessAt !== null && !status.overdue && fault?.code !== 'LoopSuspected';
  const storage = await answersInTime(world.pingStorage());
  context.status = reconciled && storage ? 200 : 503;
  context.body = { ready: reconciled && storage, reconciled, storage, lastSuccessAt: status.lastSuccessAt?.toISOString() ?? null, fault: fault === null ? null : fault.code, suspects: status.lastReport?.suspects ?? [] };
}

function answersInTime(ping: Promise<void>): Promise<boolean> {
  return new Promise((resolve) => {
    const timer = setTimeout(() => resolve(false), limits.readinessMs);
    ping.then(() => resolve(true), () => resolve(false)).finally(() => clearTimeout(timer));
  });
}
