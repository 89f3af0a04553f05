import { createHmac } from 'node:crypto';
import { readFile, rm } from 'node:fs/promises';
import { join } from 'node:path';
import { createServer, type IncomingHttpHeaders, type Server } from 'node:http';
import type { AddressInfo } from 'node:net';
import { SMTPServer, type SMTPServerOptions } from 'smtp-server';
import { afterEach, describe, expect, it } from 'vitest';
import { openNotifiers } from '../../src/adapters/notify/open-notifiers.ts';
import { createJobQueue } from '../../src/adapters/postgres/jobs.ts';
import { createLedger } from '../../src/adapters/postgres/ledger.ts';
import { createLedgerReader } from '../../src/adapters/postgres/ledger-reader.ts';
import { openPool, tenantDatabase } from '../../src/adapters/postgres/scope.ts';
import { documentDigest, type NotifierSpec } from '../../src/core/model/documents.ts';
import { changeDigest } from '../../src/core/model/preimages.ts';
import { changeTo } from '../../src/core/trust/apply-change.ts';
import type { Notification } from '../../src/core/proposal/notification.ts';
import type { JobQueue } from '../../src/ports/jobs.ts';
import type { Ledger } from '../../src/ports/ledger.ts';
import type { SendNotification } from '../../src/ports/notifier.ts';
import { Notifications } from '../../src/reconciler/notify.ts';
import { migratedDatabase, sql } from '../contract/postgres-fixture.ts';
import { createTemporaryFolder, runProgram } from '../fakes/git-repository.ts';
import { StorageError } from '../../src/ports/storage-error.ts';
import { doc, World } from '../fakes/world.ts';

const undo: (() => unknown)[] = [];
afterEach(async () => {
  for (const one of undo.splice(0).reverse()) await one();
});

type Received = { readonly path: string; readonly headers: IncomingHttpHeaders; readonly body: string };
type Receiver = { readonly host: string; readonly url: string; readonly received: Received[]; status: number; location: string | null };

async function receiver(): Promise<Receiver> {
  const received: Received[] = [];
  const one: Receiver = { host: '', url: '', received, status: 200, location: null };
  const server: Server = createServer((request, response) => {
    const chunks: Buffer[] = [];
    request.on('data', (chunk: Buffer) => chunks.push(chunk));
    request.on('end', () => {
      received.push({ path: request.url ?? '', headers: request.headers, body: Buffer.concat(chunks).toString() });
      response.writeHead(one.status, one.location === null ? {} : { location: one.location }).end('x'.repeat(100_000));
    });
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  undo.push(() => new Promise((resolve) => { server.close(resolve); server.closeAllConnections(); }));
  const host = `127.0.0.1:${(server.address() as AddressInfo).port}`;
  return Object.assign(one, { host, url: `http://${host}/hook?x=1` });
}

type Mail = { readonly raw: string; readonly to: readonly string[]; readonly secure: boolean; readonly user: string | undefined };
async function mailServer(options: SMTPServerOptions = {}): Promise<{ readonly host: string; readonly mails: Mail[] }> {
  const mails: Mail[] = [];
  const server = new SMTPServer({
    authOptional: true, logger: false, ...options,
    onAuth: ({ username, password }, _, done) => (password === 'pass word' ? done(null, { user: username ?? '' }) : done(new Error('no'))),
    onData: (stream, session, done) => {
      const chunks: Buffer[] = [];
      stream.on('data', (chunk: Buffer) => chunks.push(chunk));
      stream.on('end', () => {
        mails.push({ raw: Buffer.concat(chunks).toString(), to: session.envelope.rcptTo.map(({ address }) => address), secure: session.secure, user: session.user as string | undefined });
        done();
      });
    },
  });
  server.on('error', () => undefined);
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  undo.push(() => new Promise<void>((resolve) => server.close(resolve)));
  return { host: `127.0.0.1:${(server.server.address() as AddressInfo).port}`, mails };
}

const NOTE: Notification = {
  type: 'stella/notification/v1', id: 'a'.repeat(32), event: 'waiting', log: `sha256:${'0'.repeat(64)}` as Notification['log'], environment: 'prod', application: 'shop', release: '1.5.0', record: 42,
  at: '2026-05-04T12:00:00.000Z', headline: 'prod/shop 1.5.0: waiting for sre (1 of 2 approved)', lines: ['<!channel> *now* <https://evil.example|click>', 'Approve it. stella approve prod/shop'],
};
const SECRETS: Readonly<Record<string, string>> = { 'env:KEY': 'the key', 'env:MAIL': 'pass word' };
const sender = (more: Partial<Parameters<typeof openNotifiers>[0]> & { readonly secrets?: Readonly<Record<string, string>> } = {}): SendNotification =>
  openNotifiers({ secret: (reference) => Promise.resolve({ ...SECRETS, ...more.secrets }[reference] ?? ''), network: { allowedHosts: null }, ...more });
const notifier = (spec: NotifierSpec) => ({ ...doc('Integration', 'one', spec), spec });
const send = (spec: NotifierSpec, with_ = sender(), note = NOTE) => with_(notifier(spec), note, new AbortController().signal);
const hook = (url: string, more: Partial<NotifierSpec> = {}) => ({ type: 'notifier-webhook', url, secretRef: 'env:KEY', events: ['waiting'], ...more }) as NotifierSpec;

describe('a webhook', () => {
  it('gets the notification with its delivery id and a signature over both', async () => {
    const there = await receiver();
    await send(hook(there.url));
    const [{ body, headers, path }] = there.received as [Received];
    expect(path).toBe('/hook?x=1');
    expect(headers['x-stella-signature']).toBe(`sha256=${createHmac('sha256', 'the key').update(`${NOTE.id}.${body}`).digest('hex')}`);
    expect(headers['x-stella-delivery']).toBe(NOTE.id);
    expect(JSON.parse(body)).toMatchObject({ ...NOTE, subject: '[stella] prod/shop 1.5.0: waiting for sre (1 of 2 approved)' });
  });

  it('is asked again where it is out of order, not where it says no, and is followed nowhere', async () => {
    const [there, elsewhere] = [await receiver(), await receiver()];
    there.status = 503;
    await expect(send(hook(there.url))).rejects.toMatchObject({ code: 'Unavailable', disposition: 'retry' });
    there.status = 403;
    await expect(send(hook(there.url))).rejects.toMatchObject({ code: 'Refused' });
    Object.assign(there, { status: 307, location: elsewhere.url });
    await expect(send(hook(there.url))).rejects.toMatchObject({ code: 'Refused' });
    expect(elsewhere.received).toEqual([]);
    await expect(send(hook('http://127.0.0.1:1/'))).rejects.toMatchObject({ code: 'Unavailable' });
  });

  it('is asked by https only, and offline only where it is allowed', async () => {
    const there = await receiver();
    await expect(send(hook('http://hooks.example/'))).rejects.toMatchObject({ code: 'Refused' });
    await expect(send(hook(there.url), sender({ network: { allowedHosts: ['other'] } }))).rejects.toMatchObject({ code: 'OfflineRefused' });
    await send(hook(there.url), sender({ network: { allowedHosts: [there.host] } }));
    expect(there.received).toHaveLength(1);
  });
});

describe('a chat', () => {
  const slack = (host: string): NotifierSpec => ({ type: 'notifier-slack', host, urlRef: 'env:URL', events: ['waiting'] });

  it('gets text that calls nobody, links nowhere and has no markup of others', async () => {
    const there = await receiver();
    await send(slack(there.host), sender({ secrets: { 'env:URL': there.url } }));
    const { text } = JSON.parse(there.received[0]!.body) as { text: string };
    expect(text).toContain('&lt;');
    expect(text).not.toMatch(/<|(?<!\u200b)[*!|]/);
    expect(text).toContain('stella approve prod/shop');
  });

  it('is not asked at an address on another host than the declared one, and the address is in no message', async () => {
    const there = await receiver();
    const secret = `${there.url}&token=hunter2`;
    const refused = await send(slack('hooks.example'), sender({ secrets: { 'env:URL': secret } })).catch((error: unknown) => error as Error);
    expect(refused).toMatchObject({ code: 'Refused' });
    there.status = 500;
    const failed = await send(slack(there.host), sender({ secrets: { 'env:URL': secret } })).catch((error: unknown) => error as Error);
    expect(`${String(refused)} ${String(failed)}`).not.toContain('hunter2');
  });
});

describe('a mail', () => {
  const mail = (host: string, more: object = {}): NotifierSpec => ({ type: 'notifier-email', host, security: 'none', from: 'stella@shop.example', to: ['ops@shop.example', 'sre@shop.example'], events: ['waiting'], ...more });

  it('goes to each address, with the id of the notification, in plain text', async () => {
    const { host, mails } = await mailServer({ disabledCommands: ['STARTTLS'] });
    await send(mail(host));
    const [{ raw, to }] = mails as [Mail];
    expect(to).toEqual(['ops@shop.example', 'sre@shop.example']);
    expect(raw).toContain('Subject: [stella] prod/shop 1.5.0: waiting for sre (1 of 2 approved)');
    expect(raw).toContain(`Message-ID: <${NOTE.id}@shop.example>`);
    expect(raw).toMatch(/^Content-Type: text\/plain/m);
  });

  it('has no header that a name brought along', async () => {
    const { host, mails } = await mailServer({ disabledCommands: ['STARTTLS'] });
    await send(mail(host, { template: { subject: '{{headline}}' } }), sender(), { ...NOTE, headline: 'a\r\nBcc: thief@evil.example\r\n\r\nbody' });
    expect(mails[0]!.to).not.toContain('thief@evil.example');
    expect(mails[0]!.raw.split('\r\n\r\n')[0]).not.toMatch(/^Bcc:/m);
  });

  it('gives its password to a server with the right certificate only, and after STARTTLS only', async () => {
    const folder = await createTemporaryFolder();
    undo.push(() => rm(folder, { recursive: true, force: true }));
    const [keyFile, certFile] = [join(folder, 'key.pem'), join(folder, 'cert.pem')];
    await runProgram('openssl', ['req', '-x509', '-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:P-256', '-nodes', '-days', '2', '-subj', '/CN=mail', '-addext', 'subjectAltName=IP:127.0.0.1', '-keyout', keyFile, '-out', certFile]);
    const [key, cert] = [await readFile(keyFile, 'utf8'), await readFile(certFile, 'utf8')];
    const { host, mails } = await mailServer({ key, cert });
    const login = { security: 'starttls', credentials: { username: 'stella', passwordRef: 'env:MAIL' } };
    await expect(send(mail(host, login))).rejects.toMatchObject({ code: 'Unavailable' });
    const plain = await mailServer({ disabledCommands: ['STARTTLS'], allowInsecureAuth: true });
    await expect(send(mail(plain.host, login))).rejects.toMatchObject({ code: expect.stringMatching(/Refused|Unavailable/) as string });
    expect([...mails, ...plain.mails]).toEqual([]);
    await send(mail(host, login), sender({ certificates: [cert] }));
    expect(mails).toMatchObject([{ secure: true, user: 'stella' }]);
    const wrong = { ...login, credentials: { username: 'stella', passwordRef: 'env:KEY' } };
    const refused = await send(mail(host, wrong), sender({ certificates: [cert] })).catch((error: unknown) => error as Error);
    expect(refused).toMatchObject({ code: 'Refused' });
    expect(String(refused)).not.toContain('the key');
    await expect(send(mail('mail.example:25'))).rejects.toMatchObject({ code: 'Refused' });
  });
});

/** A world whose records reach Postgres, and whose notifications are jobs there. */
async function stage(integrations: Readonly<Record<string, NotifierSpec>>, secrets: Readonly<Record<string, string>> = {}) {
  const world = await World.create({ idle: true, documents: Object.entries(integrations).map(([name, spec]) => doc('Integration', name, spec)) });
  undo.push(() => world.close());
  const database = await migratedDatabase();
  const pool = openPool(database.url, { applicationName: 'test', maxConnections: 3 });
  undo.push(async () => { await pool.end(); await database.drop(); });
  const scope = tenantDatabase(pool, { tenant: 'default', logId: world.pin });
  const postgres: { away: 'nothing' | 'mirror' | 'everything' } = { away: 'nothing' };
  const jobs: JobQueue = createJobQueue({ tenant: 'default', logId: world.pin, url: database.url, lane: 'notify', concurrency: 2 });
  undo.push(() => jobs.stop());
  const open = async (): Promise<Notifications> => {
    const made: { reconciler: Awaited<ReturnType<World['reconciler']>> | null } = { reconciler: null };
    const unlessAway = async <T>(act: () => Promise<T>, when: readonly string[]): Promise<T> => {
      if (when.includes(postgres.away)) throw new StorageError('StorageUnavailable', 'away');
      return act();
    };
    const queue = { enqueue: (...given: Parameters<JobQueue['enqueue']>) => unlessAway(() => jobs.enqueue(...given), ['everything']), waiting: (name: string) => unlessAway(() => jobs.waiting(name), ['everything']) };
    const ledger = createLedger(scope);
    const mirror: Ledger = { ...ledger, append: (...given) => unlessAway(() => ledger.append(...given), ['mirror', 'everything']) };
    const notifications = new Notifications({ jobs: queue, known: createLedgerReader(scope), send: sender({ secrets }), now: () => world.now, state: () => made.reconciler?.state ?? null });
    made.reconciler = await world.reconciler({ ledger: mirror, notifications });
    return notifications;
  };
  const notifications = await open();
  await world.settle();
  world.registry.put('shop/api:1.0', 'one');
  return { world, database, jobs, notifications, open, postgres };
}

const eventsOf = ({ received }: Receiver): readonly string[] => received.map(({ headers }) => String(headers['x-stella-event']));
const shop = doc('Release', 'shop/1.0', { components: { api: { tag: '1.0' } } });
const soon = { timeout: 20_000 };

describe('a server', () => {
  it('tells each transition once, to those that asked for it, and nothing of passes without news', async () => {
    const [all, prod] = [await receiver(), await receiver()];
    const { world, jobs, notifications } = await stage({
      all: hook(all.url, { events: ['waiting', 'allowed', 'deployed', 'stopped', 'change-in-force'] }), prod: hook(prod.url, { events: ['waiting', 'deployed'], environments: ['prod'] }),
    });
    jobs.start(notifications.handlers);
    await world.commit([shop, doc('Promotion', 'dev/shop', { release: '1.0' })], { by: world.people.alice });
    await world.settle();
    await world.commit([await world.promotion('prod', '1.0', { by: world.people.alice })], { by: world.people.alice });
    await world.settle();
    for (let n = 0; n < 3; n++) await world.pass();
    await expect.poll(() => eventsOf(all).toSorted(), soon).toEqual(['allowed', 'deployed', 'waiting']);
    await expect.poll(() => eventsOf(prod), soon).toEqual(['waiting']);
    const said = JSON.parse(prod.received[0]!.body) as Notification;
    expect(said).toMatchObject({ environment: 'prod', application: 'shop', release: '1.0', headline: 'prod/shop 1.0: waiting for sre (0 of 1 approved)' });
    expect(said.lines.join('\n')).toContain('stella approve prod/shop');
  });

  it('tells nothing again after a restart, and what a crash left untold, under the same id', async () => {
    const there = await receiver();
    const { world, jobs, open, database, postgres } = await stage({ all: hook(there.url, { events: ['allowed', 'deployed'] }) });
    const queued = (): Promise<object[]> => sql(database.url, 'SELECT count(*)::int AS n FROM graphile_worker.jobs');
    await world.commit([shop, doc('Promotion', 'dev/shop', { release: '1.0' })], { by: world.people.alice });
    // Pushed, and neither told nor mirrored: Postgres was away, and the server died.
    postgres.away = 'everything';
    expect((await world.pass()).fault).toMatchObject({ code: 'StorageUnavailable' });
    expect(await queued()).toEqual([{ n: 0 }]);
    await world.restart();
    await open();
    // Told, and not mirrored: the server died in between.
    postgres.away = 'mirror';
    expect((await world.pass()).fault).toMatchObject({ code: 'StorageUnavailable' });
    expect(await queued()).toEqual([{ n: 1 }]);
    await world.restart();
    const last = await open();
    postgres.away = 'nothing';
    await world.settle();
    expect(await queued()).toEqual([{ n: 2 }]);
    await world.restart();
    await open();
    await world.settle();
    expect(await queued()).toEqual([{ n: 2 }]);
    jobs.start(last.handlers);
    await expect.poll(() => eventsOf(there).toSorted(), soon).toEqual(['allowed', 'deployed']);
  });

  it('goes on while a receiver is dead, says so, and says no more once it is back', async () => {
    const there = await receiver();
    there.status = 500;
    const { world, jobs, notifications } = await stage({ ill: hook(there.url, { events: ['deployed'] }) });
    jobs.start(notifications.handlers);
    await world.commit([shop, doc('Promotion', 'dev/shop', { release: '1.0' })], { by: world.people.alice });
    await world.settle();
    await expect.poll(() => there.received.length, soon).toBeGreaterThan(0);
    const failing = async (): Promise<boolean> => {
      expect((await world.pass()).ok).toBe(true);
      return (await world.reconciler()).conditions.all().some(({ reason, name }) => reason === 'NotificationsFailing' && name === 'ill');
    };
    await expect.poll(failing, soon).toBe(true);
    there.status = 200;
    await expect.poll(failing, soon).toBe(false);
    const ids = new Set(there.received.map(({ headers }) => headers['x-stella-delivery']));
    expect(ids.size).toBe(1);
  });

  it('tells of a change that waits for its quorum, once, and when it comes into force', async () => {
    const there = await receiver();
    const { world, jobs, notifications } = await stage({ all: hook(there.url, { events: ['change-pending', 'change-in-force'] }) });
    jobs.start(notifications.handlers);
    await world.commit([doc('Environment', 'dev', { order: 3 })], { by: world.people.carol });
    await world.settle();
    for (let n = 0; n < 3; n++) await world.pass();
    await expect.poll(() => eventsOf(there), soon).toEqual(['change-pending']);
    expect(JSON.parse(there.received[0]!.body)).toMatchObject({ lines: [expect.stringContaining('Environment/dev')] });
    const state = await world.state();
    const changes = [changeTo(state, 'Environment', 'dev', documentDigest(doc('Environment', 'dev', { order: 3 })))];
    await world.commit([await world.approval(world.people.bob, { type: 'change', digest: changeDigest(world.pin, changes), changes })], { by: world.people.bob });
    await world.settle();
    await expect.poll(() => eventsOf(there), soon).toEqual(['change-pending', 'change-in-force']);
    expect(JSON.parse(there.received[1]!.body)).toMatchObject({ lines: [expect.stringContaining('approved by bob')] });
  });
});
