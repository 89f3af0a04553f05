import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { readRecord, serviceKeys } from '../../src/core/evidence/record-codec.ts';
import { applyRecord } from '../../src/core/evidence/fold.ts';
import { initialState, rootOf } from '../../src/core/evidence/log-state.ts';
import type { AnyDocument, NotifierSpec } from '../../src/core/model/documents.ts';
import { EVENTS, fillTemplate, TEMPLATE_NAMES, unknownNames } from '../../src/core/model/notifier.ts';
import { isWanted, notificationOf, notificationOfCondition, wordsOf, type NotifiableStep, type Notification } from '../../src/core/proposal/notification.ts';
import type { Json } from '../../src/core/model/canonical-json.ts';
import { limits } from '../../src/core/model/limits.ts';
import { NotifyError } from '../../src/ports/notifier.ts';
import { StorageError } from '../../src/ports/storage-error.ts';
import { Conditions } from '../../src/reconciler/conditions.ts';
import { Notifications } from '../../src/reconciler/notify.ts';
import { Scratch } from '../contract/agent-fixture.ts';
import { documentOf, LogFixture, SUBJECT } from '../fakes/log-fixture.ts';
import { openPgp } from '../fakes/openpgp.ts';

/** What the records of a real log are worth telling. */
const scratch = new Scratch();
afterEach(() => scratch.clean());

let log: LogFixture;
beforeEach(async () => {
  log = await LogFixture.create(await scratch.folder(), { allowSeconds: 600, environment: { approvals: { people: 2 } } });
});

/** Every record with the states around it, from the log's bytes. */
function steps(): readonly NotifiableStep[] {
  const sources = { artifact: log.artifacts.get, openPgp };
  let state = initialState(log.root, log.pin);
  return log.envelopes.flatMap((envelope) => {
    const read = readRecord(envelope, serviceKeys(rootOf(state), 'decisions'));
    if (!read.ok) throw new Error(read.message);
    const applied = applyRecord(state, read.record, sources);
    if (!applied.ok) throw new Error(applied.message);
    const before = state;
    state = applied.state;
    return [{ before, record: read.record, after: state }];
  });
}

function told(): readonly Notification[] {
  return steps().flatMap((step) => notificationOf(step, log.artifacts.get) ?? []);
}
const events = (): readonly string[] => told().map(({ event }) => event);

function end(result: 'Succeeded' | 'Failed' | 'Aborted', fallback: 'Succeeded' | 'Failed' | null = null): void {
  const { operation, generation, promotionDigest, decision } = log.app.openRun!;
  const at = log.now.toISOString();
  const target = { target: 'web-1', agent: 'anna', result, code: 'Unhealthy', message: 'no answer', try: 1, receipt: null };
  log.close({ ...SUBJECT, operation, generation, promotionDigest, decision, result, reason: result === 'Succeeded' ? 'Ok' : 'TargetFailed', startedAt: at, endedAt: at, steps: [{ name: 'deploy', result, targets: [target] }], fallback }, []);
}

async function allow(version: string, attempt = 1): Promise<void> {
  if (!log.state.locks.has(`shop/${version}`)) log.lock(version);
  await log.promote({ release: version, attempt });
  await log.approve('bob');
  await log.approve('carol');
}

async function run(version: string, result: 'Succeeded' | 'Failed' | 'Aborted' = 'Succeeded', fallback: 'Succeeded' | 'Failed' | null = null, attempt = 1): Promise<void> {
  await allow(version, attempt);
  end(result, fallback);
  await log.decide();
}

describe('the log tells', () => {
  it('that something waits once, however many approve meanwhile, then that it is allowed and deployed', async () => {
    await run('1.0.0');
    expect(events()).toEqual(['waiting', 'allowed', 'deployed']);
    expect(told()[0]).toMatchObject({ ...SUBJECT, release: '1.0.0', headline: 'prod/shop 1.0.0: waiting for approval (0 of 2 approved)' });
    expect(told()[0]!.lines.join('\n')).toContain('stella approve prod/shop');
    expect(told()[2]!.headline).toBe(`prod/shop 1.0.0: deployed by record ${told()[2]!.record}`);
  });

  it('nothing of an allow that is renewed', async () => {
    await allow('1.0.0');
    log.after(601);
    await log.decide();
    expect(log.app.openRun?.fallen).toBe(false);
    expect(events()).toEqual(['waiting', 'allowed']);
  });

  it('that a run was stopped by a freeze, once', async () => {
    await allow('1.0.0');
    await log.change(documentOf('Freeze', 'stop', { reason: 'an incident' }) as unknown as AnyDocument);
    await log.decide();
    await log.decide();
    expect(events()).toEqual(['waiting', 'allowed', 'change-in-force', 'waiting']);
  });

  it('how a run failed, once, with what failed where', async () => {
    await run('1.0.0', 'Failed');
    expect(events()).toEqual(['waiting', 'allowed', 'failed']);
    expect(told()[2]!.lines.join('\n')).toContain('web-1: Unhealthy: no answer');
    expect(told()[2]!.lines.join('\n')).toContain('stella retry prod/shop');
  });

  it('that it fell back, went back, or was stopped and then lacks somebody who asks again', async () => {
    await run('1.0.0');
    await run('2.0.0', 'Failed', 'Succeeded');
    await run('3.0.0');
    await run('1.0.0', 'Succeeded', null, 2);
    await run('4.0.0', 'Aborted');
    expect(events().filter((event) => event !== 'waiting' && event !== 'allowed')).toEqual(['deployed', 'fell-back', 'deployed', 'rolled-back', 'aborted', 'refused']);
  });

  it('that a request was superseded, taken back or refused', async () => {
    for (const version of ['1.0.0', '2.0.0']) log.lock(version);
    await log.promote({ release: '1.0.0' });
    await log.promote({ release: '2.0.0' });
    await log.withdraw();
    await log.promote({ release: '9.9.9' });
    expect(events()).toEqual(['waiting', 'superseded', 'waiting', 'withdrawn', 'refused']);
  });

  it('under ids that are all different, and the same whoever tells it again', async () => {
    await run('1.0.0');
    const ids = told().map(({ id }) => id);
    expect(new Set(ids).size).toBe(ids.length);
    expect(told().map(({ id }) => id)).toEqual(ids);
    const fault = { kind: 'Repository', name: 'declarations', reason: 'Rewound', message: 'm', event: 'stalled' as const };
    const [one, again, later] = [1, 1, 2].map((size) => notificationOfCondition(log.pin, 'now', size, fault));
    expect(again).toEqual(one);
    expect(later!.id).not.toBe(one!.id);
  });

  it('no more than fits, and nothing that moves a cursor', async () => {
    await run('1.0.0');
    for (const { headline, lines } of told()) {
      expect([...headline].length).toBeLessThanOrEqual(140);
      expect(lines.length).toBeLessThanOrEqual(20);
    }
    const hostile = notificationOfCondition(log.pin, 'now', 1, { kind: 'Promotion', name: 'prod/shop', reason: 'LoopSuspected', message: `\u001b[2J${'x'.repeat(5_000)}`, event: 'stalled' });
    expect(hostile.lines[0]!.length).toBeLessThanOrEqual(500);
    expect(hostile.lines[0]).not.toContain('\u001b');
  });
});

describe('a notifier', () => {
  const spec = (more: object): NotifierSpec => ({ type: 'notifier-webhook', url: 'https://a', secretRef: 'env:K', events: ['waiting'], ...more }) as NotifierSpec;
  const note = (more: Partial<Notification> = {}): Notification =>
    ({ type: 'stella/notification/v1', id: 'i', event: 'waiting', log: log.pin, environment: 'prod', application: 'shop', release: '1', record: 1, at: 'now', headline: 'h', lines: ['{{log}}'], ...more });

  it('is told what it asked for, and what belongs to no place only where it asked for every place', () => {
    expect([isWanted(spec({}), note()), isWanted(spec({ events: ['deployed'] }), note()), isWanted(spec({ environments: ['dev'] }), note()), isWanted(spec({ applications: ['shop'] }), note())]).toEqual([true, false, false, true]);
    const global = note({ environment: null, application: null });
    expect([isWanted(spec({}), global), isWanted(spec({ environments: ['prod'] }), global)]).toEqual([true, false]);
  });

  it('has words of its own, in which a value is a value and no template', () => {
    const said = wordsOf(spec({ template: { subject: '{{ environment }}: {{event}}', text: '{{text}}' } }), note({ environment: '{{log}}' }));
    expect(said).toEqual({ subject: '{{log}}: waiting', text: '{{log}}' });
    expect(wordsOf(spec({ template: { subject: '{{headline}}' } }), note({ headline: 'a\r\nb' })).subject).not.toMatch(/[\r\n]/);
  });

  it('knows the names of a template, and which are none', () => {
    expect(unknownNames(TEMPLATE_NAMES.map((name) => `{{${name}}}`).join(' '))).toEqual([]);
    expect(unknownNames('{{env.SECRET}} {{ event }} {{constructor}} {{ }} }}')).toEqual(['env.SECRET', 'constructor', '', '}}']);
    const values = Object.fromEntries(TEMPLATE_NAMES.map((name) => [name, name])) as Record<(typeof TEMPLATE_NAMES)[number], string>;
    expect(fillTemplate('{{toString}} {{event}}', values, (value) => `<${value}>`)).toBe('{{toString}} <event>');
  });

  it('may ask for sixteen kinds of events, as its schema says', () => {
    expect(EVENTS.length).toBe(16);
  });
});

describe('the queue of notifications', () => {
  const HOOK: NotifierSpec = { type: 'notifier-webhook', url: 'https://a', secretRef: 'env:K', events: [...EVENTS] };
  type Queued = { readonly name: string; readonly payload: { readonly integration: string; readonly notification: Notification }; readonly key: string | undefined };

  /** A queue in memory, in the place of Postgres. */
  async function opened(p: { readonly waiting?: number; readonly refuses?: (queued: Queued) => boolean } = {}) {
    await log.change(documentOf('Integration', 'hook', HOOK) as unknown as AnyDocument, 'bob');
    const queued: Queued[] = [];
    const conditions = new Conditions();
    const notifications = new Notifications({
      jobs: {
        waiting: () => Promise.resolve(p.waiting ?? 0),
        enqueue: (name, payload, options) => {
          const one = { name, payload: payload as unknown as Queued['payload'], key: options?.jobKey };
          if (p.refuses?.(one) === true) return Promise.reject(new StorageError('LimitExceeded', 'too large'));
          return Promise.resolve(void queued.push(one));
        },
      },
      known: { conditions: () => Promise.resolve([]) }, send: () => Promise.reject(new NotifyError('Refused', 'no')), now: () => log.now, state: () => log.state,
    });
    const failing = async (): Promise<readonly string[]> => {
      await notifications.watch(conditions);
      return conditions.all().filter(({ reason }) => reason === 'NotificationsFailing').map(({ name }) => name);
    };
    return { notifications, queued, failing };
  }

  it('takes each wanted notification once, under a key made of its id and receiver', async () => {
    const { notifications, queued, failing } = await opened();
    await run('1.0.0');
    notifications.note(steps(), log.artifacts.get);
    expect(await failing()).toEqual([]);
    expect(queued.map(({ payload, key }) => [payload.notification.event, key])).toEqual(told().map(({ event, id }) => [event, `notify/${id}/hook`]));
    await failing();
    expect(queued).toHaveLength(told().length);
  });

  it('tells no history: what is older than a day', async () => {
    const { notifications, queued, failing } = await opened();
    await run('1.0.0');
    log.after(25 * 3600);
    notifications.note(steps(), log.artifacts.get);
    await failing();
    expect(queued).toEqual([]);
  });

  it('drops what does not fit any more, and says so', async () => {
    const { notifications, queued, failing } = await opened({ waiting: limits.notificationsWaiting - 1 });
    await run('1.0.0');
    notifications.note(steps(), log.artifacts.get);
    await failing();
    expect(queued).toHaveLength(1);
    expect(await failing()).toEqual(['(queue)']);
  });

  it('is held by no notification that it refuses', async () => {
    const { notifications, queued, failing } = await opened({ refuses: ({ payload }) => payload.notification.event === 'waiting' });
    await run('1.0.0');
    notifications.note(steps(), log.artifacts.get);
    await failing();
    expect(queued.map(({ payload }) => payload.notification.event)).toEqual(told().map(({ event }) => event).filter((event) => event !== 'waiting'));
    expect(await failing()).toEqual(['hook']);
  });

  it('says nothing more of a receiver that is not in force any more, and sends it nothing', async () => {
    const { notifications, failing } = await opened();
    await run('1.0.0');
    const job = { integration: 'hook', notification: told()[0] } as unknown as Json;
    const context = { attempt: 1, signal: new AbortController().signal };
    await expect(notifications.handler(job, context)).rejects.toMatchObject({ code: 'Refused' });
    expect(await failing()).toEqual(['hook']);
    log.state = { ...log.state, inForce: log.state.inForce.delete('Integration/hook') };
    expect(await failing()).toEqual([]);
    await expect(notifications.handler(job, context)).resolves.toBeUndefined();
  });
});
