import { openNotifiers } from '../../adapters/notify/open-notifiers.ts';
import type { LogStorage } from '../../adapters/postgres/storage.ts';
import { secretResolver } from '../../agent/secret-resolver.ts';
import type { ServerConfig } from '../../config/server.ts';
import type { LogState } from '../../core/evidence/log-state.ts';
import { Notifications } from '../../reconciler/notify.ts';
import type { ServerWorld } from '../running-server.ts';
import type { Unwinding } from './unwinding.ts';

/** Receivers that are talked to at once. */
const AT_ONCE = 4;

/** Starts sending what the log makes of notifications, in jobs of their own: a receiver that answers slowly holds no run. @param state null before the log was read */
export function openNotifications(p: { readonly config: ServerConfig; readonly world: ServerWorld; readonly unwinding: Unwinding; readonly log: LogStorage }, state: () => LogState | null): Notifications {
  const { config, world, unwinding, log } = p;
  const onInterrupted = (cause: unknown): void => world.log('warn', 'notifications wait', { why: cause instanceof Error ? cause.message : String(cause) });
  const jobs = unwinding.keep(log.jobs({ lane: 'notify', concurrency: AT_ONCE, onInterrupted }), (queue) => queue.stop());
  const send = openNotifiers({ secret: secretResolver({ environment: world.environment, secretFolders: config.secretFolders }), network: { allowedHosts: config.offline ? config.allowHosts : null } });
  const notifications = new Notifications({ jobs, known: log.reader, send, now: world.now, state });
  jobs.start(notifications.handlers);
  return notifications;
}
