import { limits } from '../core/model/limits.ts';
import { parseInstant } from '../core/model/instant.ts';
import type { Json } from '../core/model/canonical-json.ts';
import type { Digest } from '../core/model/digest.ts';
import { inForceOf, allInForce, type LogState } from '../core/evidence/log-state.ts';
import type { ArtifactLookup } from '../core/evidence/fold.ts';
import { isWanted, notificationOf, notificationOfCondition, type NotifiableStep, type Notification } from '../core/proposal/notification.ts';
import type { NotificationEvent } from '../core/model/notifier.ts';
import type { JobHandler, JobQueue } from '../ports/jobs.ts';
import type { Condition, LedgerReader } from '../ports/ledger.ts';
import { NotifyError, type NotifierDocument, type SendNotification } from '../ports/notifier.ts';
import { StorageError } from '../ports/storage-error.ts';
import type { Conditions } from './conditions.ts';

export const NOTIFY_JOB = 'notify';
/** In the place of the name of an Integration, where it is none of them. */
const QUEUE = '(queue)';

export type NotifyParts = {
  readonly jobs: Pick<JobQueue, 'enqueue' | 'waiting'>;
  /** Conditions as they were last written, before this process. */
  readonly known: Pick<LedgerReader, 'conditions'>;
  readonly send: SendNotification;
  readonly now: () => Date;
  /** The log as far as it is pushed; null before it was read. */
  readonly state: () => LogState | null;
};

/** Conditions that are told, and as what. Those that come and go by themselves are not: the log of the server has them. */
const TOLD: Readonly<Record<string, NotificationEvent>> = {
  Rewound: 'stalled', LoopSuspected: 'stalled', ForeignEvidence: 'stalled', LogMissing: 'stalled', GenesisMismatch: 'stalled', HistoryFault: 'stalled', RootEquivocation: 'stalled', QuorumUnreachable: 'stalled',
  ChangePending: 'change-pending', ChangeRefused: 'change-pending', LiftingPending: 'change-pending',
};

/**
 * Tells notifiers in force of transitions, as durable jobs. Records become jobs before they are written to Postgres: what is there was told, what is not
 * is told when it is written, also after a crash. So each is told at least once, under an id that stays. Receivers are asked by the jobs alone, so one that is dead holds nobody.
 */
export class Notifications {
  readonly #parts: NotifyParts;
  #pending: Notification[] = [];
  #known: Map<string, string> | null = null;
  /** What is wrong with whom, by name of the Integration. */
  readonly #failing = new Map<string, string>();
  #dropped = 0;

  constructor(parts: NotifyParts) {
    this.#parts = parts;
  }

  /** Records that are pushed. Old ones are history: a mirror that is built anew tells nobody. */
  note(steps: readonly NotifiableStep[], artifact: ArtifactLookup): void {
    const oldest = this.#parts.now().getTime() - limits.notificationAgeMs;
    for (const step of steps) {
      if ((parseInstant(step.record.header.asOf) ?? 0) < oldest) continue;
      const notification = notificationOf(step, artifact);
      if (notification !== null) this.#pending.push(notification);
    }
    this.#bound();
  }

  #bound(): void {
    const over = this.#pending.length - limits.notificationsWaiting;
    if (over <= 0) return;
    this.#dropped += over;
    this.#pending = this.#pending.slice(over);
  }

  /** Makes jobs of everything that was noted. */
  async #flush(state: LogState): Promise<void> {
    if (this.#pending.length === 0) return;
    const notifiers = notifiersOf(state);
    const wanted = this.#pending.flatMap((notification) => notifiers.filter(({ spec }) => isWanted(spec, notification)).map(({ metadata }) => ({ name: metadata.name, notification })));
    const room = wanted.length === 0 ? 0 : Math.max(limits.notificationsWaiting - (await this.#parts.jobs.waiting(NOTIFY_JOB)), 0);
    for (const { name, notification } of wanted.slice(0, room)) await this.#enqueue(name, notification);
    this.#dropped = wanted.length > room ? this.#dropped + wanted.length - room : wanted.length > 0 ? 0 : this.#dropped;
    this.#pending = [];
  }

  /**
   * Makes jobs of what was noted, and of conditions that are new or say something else; and says which receivers cannot be reached. Called before the same is
   * written to Postgres.
   * @throws StorageError while Postgres is away; then everything stays for the next time. Any other fault ends in a condition: nobody is held by it
   */
  async watch(conditions: Conditions): Promise<void> {
    this.#report(conditions);
    const state = this.#parts.state();
    if (state === null) return;
    try {
      await this.#noteConditions(state, conditions.all().filter(isTold));
      await this.#flush(state);
      this.#failing.delete(QUEUE);
    } catch (cause) {
      if (cause instanceof StorageError && cause.disposition === 'retry') throw cause;
      this.#failing.set(QUEUE, `notifications could not be queued: ${cause instanceof Error ? cause.message : String(cause)}`);
    }
  }

  async #noteConditions(state: LogState, told: readonly Condition[]): Promise<void> {
    this.#known ??= new Map((await this.#parts.known.conditions()).filter(isTold).map((c) => [keyOf(c), wordOf(c)]));
    const known = this.#known;
    const fresh = told.filter((c) => known.get(keyOf(c)) !== wordOf(c));
    const at = this.#parts.now().toISOString();
    this.#pending.push(...fresh.map((c) => notificationOfCondition(state.logId, at, state.size, { ...c, event: TOLD[c.reason] ?? 'stalled' })));
    this.#bound();
    this.#known = new Map(told.map((c) => [keyOf(c), wordOf(c)]));
  }

  /** One that the queue refuses for good holds no other. */
  async #enqueue(name: string, notification: Notification): Promise<void> {
    try {
      await this.#parts.jobs.enqueue(NOTIFY_JOB, { integration: name, notification } as unknown as Json, { jobKey: `${NOTIFY_JOB}/${notification.id}/${name}`, maxAttempts: limits.notificationAttempts });
    } catch (cause) {
      if (cause instanceof StorageError && cause.disposition === 'retry') throw cause;
      this.#failing.set(name, `it could not be queued: ${cause instanceof Error ? cause.message : String(cause)} (${notification.headline})`);
    }
  }

  #report(conditions: Conditions): void {
    const state = this.#parts.state();
    for (const name of this.#failing.keys()) if (state !== null && name !== QUEUE && notifierOf(inForceOf(state, 'Integration', name)) === null) this.#failing.delete(name);
    const failing = this.#dropped === 0 ? this.#failing : new Map([...this.#failing, [QUEUE, `${this.#dropped} notifications were dropped because ${limits.notificationsWaiting} wait already`]]);
    for (const [name, message] of failing) conditions.stalled('Integration', name, { reason: 'NotificationsFailing', message });
    for (const { kind, name, reason } of conditions.all()) if (kind === 'Integration' && reason === 'NotificationsFailing' && !failing.has(name)) conditions.stalled(kind, name, null);
  }

  /** Sends one notification. A throw means: again later. */
  readonly handler: JobHandler = async (payload, { attempt, signal }) => {
    const { integration, notification } = payload as unknown as { readonly integration: string; readonly notification: Notification };
    const state = this.#parts.state();
    // Before the log is read nobody is known; the job comes again.
    if (state === null) throw new Error('the log is not read yet');
    const notifier = notifierOf(inForceOf(state, 'Integration', integration));
    // Not in force any more, or not meant for this any more: nobody wants it.
    if (notifier === null || !isWanted(notifier.spec, notification)) return;
    if (this.#parts.now().getTime() - (parseInstant(notification.at) ?? 0) > limits.notificationAgeMs) return;
    try {
      await this.#parts.send(notifier, notification, signal);
      this.#failing.delete(integration);
    } catch (cause) {
      if (signal.aborted) throw cause;
      const code = cause instanceof NotifyError ? cause.code : 'InternalError';
      const last = attempt >= limits.notificationAttempts ? '; it was tried for the last time' : '';
      this.#failing.set(integration, `${code}: ${cause instanceof NotifyError ? cause.message : 'it could not be sent'} (${notification.headline}, try ${attempt}${last})`);
      throw cause;
    }
  };

  get handlers(): Readonly<Record<string, JobHandler>> {
    return { [NOTIFY_JOB]: this.handler };
  }
}

function isTold(c: Pick<Condition, 'type' | 'reason'>): boolean {
  return c.type === 'Stalled' && Object.hasOwn(TOLD, c.reason);
}

function keyOf({ kind, name }: Pick<Condition, 'kind' | 'name'>): string {
  return `${kind}/${name}`;
}

/** What must differ to be told again: of a change that waits, which one; of a fault, which kind. */
function wordOf({ reason, message }: Pick<Condition, 'reason' | 'message'>): string {
  return TOLD[reason] === 'change-pending' ? `${reason} ${digestIn(message) ?? message}` : reason;
}

function digestIn(message: string): Digest | null {
  return (/sha256:[0-9a-f]{64}/.exec(message)?.[0] ?? null) as Digest | null;
}

function notifiersOf(state: LogState): readonly NotifierDocument[] {
  return allInForce(state, 'Integration').flatMap((one) => notifierOf(one) ?? []);
}

function notifierOf(integration: ReturnType<typeof inForceOf<'Integration'>>): NotifierDocument | null {
  if (integration === null || integration.spec.type === 'registry' || integration.spec.type === 'identity-issuer') return null;
  return { ...integration, spec: integration.spec };
}
