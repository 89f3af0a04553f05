import { createHmac } from 'node:crypto';
import { readFileSync } from 'node:fs';
import { request } from 'node:http';
import { Ajv2020 } from 'ajv/dist/2020.js';
import formats from 'ajv-formats';
import { afterAll, afterEach, beforeAll, describe, expect, test } from 'vitest';
import { openStorage, type Storage } from '../../src/adapters/postgres/storage.ts';
import { webhookReaderOf } from '../../src/adapters/forge/open-forge.ts';
import { createApi, ROUTES } from '../../src/api/app.ts';
import { listen, type Listening } from '../../src/api/listen.ts';
import { createMetrics } from '../../src/api/metrics.ts';
import type { ApiWorld } from '../../src/api/world.ts';
import { limits } from '../../src/core/model/limits.ts';
import type { LoopStatus } from '../../src/reconciler/loop.ts';
import { approvalOf, AT, chainOf, LOG, promotionRow, releaseRow, stateRow, TENANT, tip } from '../contract/postgres-fixture.ts';
import { startPostgres, type ScratchPostgres } from '../fakes/postgres.ts';

const document = JSON.parse(readFileSync(new URL('../../schemas/openapi.json', import.meta.url), 'utf8')) as {
  paths: Record<string, Record<string, { responses: Record<string, { content?: Record<string, { schema: object }> }> }>>;
  components: object;
};
const SECRET = 'between us';
const RECONCILED: LoopStatus = { passes: 1, failures: 0, failuresInRow: 0, records: 2, lastSuccessAt: new Date(AT), lastReport: null, lastDurationMs: 3, overdue: false };

const sign = (body: string | Uint8Array, secret = SECRET): string => `sha256=${createHmac('sha256', secret).update(body).digest('hex')}`;

let postgres: ScratchPostgres;
let storage: Storage;
const served: Listening[] = [];

beforeAll(async () => {
  postgres = await startPostgres();
  storage = await openStorage({ database: { driver: 'postgres', url: postgres.url, ownerUrl: postgres.url }, objectStore: { driver: 'seed-fs' } }, { dataFolder: '/nowhere' });
  const { ledger, agents } = storage.of({ tenant: TENANT, logId: LOG });
  const promotion = promotionRow('prod');
  await ledger.append(chainOf([tip, approvalOf(promotion.promotionDigest!, 'bob')]), []);
  await ledger.project({
    asOf: AT, complete: false, releases: { set: ['1', '2', '3'].map((version) => releaseRow(version)) }, states: { set: [stateRow('prod')] }, promotions: { set: [promotion] },
    conditions: { set: [{ kind: 'File', name: 'a.yaml', type: 'Stalled', status: 'True', reason: 'Declaration', message: 'broken', file: 'a.yaml', line: 3 }] },
  });
  await agents.seen({ agent: 'web-1', version: '1', capabilities: ['directory_host'], lastSeenAt: AT });
});
afterAll(async () => {
  await storage.close();
  await postgres.stop();
});
afterEach(async () => {
  for (const one of served.splice(0)) await one.close();
});

async function serve(more: Partial<ApiWorld> = {}): Promise<{ readonly url: string; readonly woken: string[]; readonly errors: unknown[] }> {
  const log = storage.of({ tenant: TENANT, logId: LOG });
  const woken: string[] = [];
  const errors: unknown[] = [];
  const status = more.status ?? (() => RECONCILED);
  const metrics = createMetrics({ status, connected: () => [], now: () => new Date(AT) });
  const api = createApi({
    reader: log.reader, explain: () => Promise.resolve([]), explainDocument: () => [], agents: () => log.agents.list(), connected: () => [], pingStorage: () => storage.ping(), status, wake: (reason) => woken.push(reason), webhookSecret: SECRET, forgeWebhook: null,
    onError: (cause) => errors.push(cause), metrics: () => metrics.text(), ...more,
  });
  const listening = await listen(api, { host: '127.0.0.1', port: 0 });
  served.push(listening);
  return { url: `http://127.0.0.1:${listening.port}`, woken, errors };
}

type Answer = { readonly status: number; readonly headers: Headers; readonly body: Record<string, unknown> };
async function get(url: string, init: RequestInit = {}): Promise<Answer> {
  const response = await fetch(url, init);
  const text = await response.text();
  return { status: response.status, headers: response.headers, body: text.startsWith('{') ? (JSON.parse(text) as Record<string, unknown>) : { text } };
}
const idsOf = ({ body }: Answer): unknown[] => (body['data'] as { id: string; name?: string }[]).map(({ id, name }) => name ?? id);

describe('the reads', () => {
  test('answer as the document of the API says, route by route', async () => {
    const { url } = await serve();
    const ajv = new Ajv2020({ strict: false, allErrors: true });
    (formats as unknown as (to: Ajv2020) => void)(ajv);
    ajv.addSchema({ $id: 'api', components: document.components });
    const [promotion] = (await get(`${url}/api/v1/promotions`)).body['data'] as { id: string }[];
    const ids: Readonly<Record<string, string>> = { releases: 'shop%2F1', environments: 'prod', promotions: promotion!.id, documents: 'Environment%2Fprod', evidence: '1' };
    for (const [path, { get: operation }] of Object.entries(document.paths)) {
      if (operation === undefined || path === '/metrics') continue;
      const asked = path.replace('{id}', ids[path.split('/')[3] ?? ''] ?? '');
      const answer = await get(url + asked);
      const schema = JSON.parse(JSON.stringify(operation.responses['200']?.content?.['application/json']?.schema).replaceAll('"#/components/', '"api#/components/')) as object;
      expect([asked, answer.status, ajv.validate(schema, answer.body), ajv.errorsText()]).toEqual([asked, 200, true, 'No errors']);
    }
  });

  test('are the routes of the document, no more and no fewer', () => {
    const described = Object.entries(document.paths).flatMap(([path, methods]) => Object.keys(methods).map((method) => `${method} ${path}`));
    const routed = ROUTES.map(({ method, path }) => `${method} ${path.replace(':id', '{id}')}`);
    expect([...routed].sort()).toEqual([...described].sort());
  });

  test('tell of protected documents by kind and name, and of nothing else', async () => {
    const asked: string[] = [];
    const { url } = await serve({ explainDocument: (kind, name) => { asked.push(`${kind} ${name}`); return []; } });
    expect((await get(`${url}/api/v1/documents/TrustRoot%2Froot`)).body).toEqual({ data: { kind: 'TrustRoot', name: 'root', explanation: [] } });
    for (const id of ['Promotion%2Fprod%2Fshop', 'Environment', 'environment%2Fprod', '__proto__%2Fx', '%2F']) expect([id, (await get(`${url}/api/v1/documents/${id}`)).status]).toEqual([id, 404]);
    expect(asked).toEqual(['TrustRoot root']);
  });

  test('come in pages that together are the whole list', async () => {
    const { url } = await serve();
    const pages = await Promise.all([1, 2, 3].map((page) => get(`${url}/api/v1/releases?page=${page}&pageSize=1`)));
    expect(pages.map(({ body }) => body['meta'])).toEqual([1, 2, 3].map((page) => ({ total: 3, page, pageSize: 1 })));
    expect(new Set(pages.flatMap(idsOf))).toEqual(new Set(['shop/1', 'shop/2', 'shop/3']));
    const first = await get(`${url}/api/v1/evidence?limit=1`);
    expect(first.body['meta']).toEqual({ fromSeq: 0, limit: 1, next: 1 });
  });

  test('find a thing by its name or its id, and show who approved', async () => {
    const { url } = await serve();
    const named = await get(`${url}/api/v1/releases/shop%2F2`);
    const { id } = named.body['data'] as { id: string };
    expect((await get(`${url}/api/v1/releases/${id}`)).body).toEqual(named.body);
    const [promotion] = idsOf(await get(`${url}/api/v1/promotions?environment=prod`));
    expect((await get(`${url}/api/v1/promotions/${String(promotion)}`)).body['data']).toMatchObject({ approvals: [{ principal: 'bob' }] });
  });

  test.each([
    ['/api/v1/releases?page=0', 400, 'QueryInvalid'],
    ['/api/v1/releases?pageSize=501', 400, 'QueryInvalid'],
    ['/api/v1/releases?status=lost', 400, 'QueryInvalid'],
    ['/api/v1/releases?aplication=shop', 400, 'QueryInvalid'],
    ['/api/v1/releases?page=1&page=2', 400, 'QueryInvalid'],
    ['/api/v1/evidence?fromSeq=-1', 400, 'QueryInvalid'],
    ['/api/v1/releases/shop%2F9', 404, 'NotFound'],
    ['/api/v1/promotions/not-an-id', 404, 'NotFound'],
    ['/api/v1/evidence/99', 404, 'NotFound'],
    ['/api/v1/evidence/first', 404, 'NotFound'],
    ['/api/v1/environments/nowhere', 404, 'NotFound'],
    ['/api/v2/releases', 404, 'NotFound'],
  ] as const)('%s is a problem with a stable code', async (path, status, code) => {
    const { url } = await serve();
    const answer = await get(url + path);
    expect(answer).toMatchObject({ status, body: { status, code } });
    expect(answer.headers.get('content-type')).toContain('application/problem+json');
  });

  test.each(['POST', 'PUT', 'PATCH', 'DELETE'])('cannot be written to by %s', async (method) => {
    const { url } = await serve();
    expect(await get(`${url}/api/v1/releases`, { method })).toMatchObject({ status: 405, body: { code: 'MethodNotAllowed' } });
  });

  test('carry headers that keep browsers from doing anything with them', async () => {
    const { url } = await serve();
    for (const path of ['/healthz', '/api/v1/releases', '/nothing']) {
      const { headers } = await get(url + path);
      expect(Object.fromEntries(headers)).toMatchObject({ 'x-content-type-options': 'nosniff', 'cache-control': 'no-store', 'content-security-policy': expect.stringContaining("default-src 'none'") as string });
    }
  });

  test('say nothing of what went wrong inside, and the log says it', async () => {
    const { url, errors } = await serve({ agents: () => Promise.reject(new Error('the password is hunter2')) });
    const answer = await get(`${url}/api/v1/agents`);
    expect(answer).toMatchObject({ status: 500, body: { code: 'InternalError' } });
    expect(JSON.stringify(answer.body)).not.toContain('hunter2');
    expect(errors).toHaveLength(1);
  });
});

describe('health', () => {
  test('is about the process, readiness about its work', async () => {
    const { url } = await serve({ status: () => ({ ...RECONCILED, lastSuccessAt: null }) });
    expect((await get(`${url}/healthz`)).status).toBe(200);
    expect(await get(`${url}/readyz`)).toMatchObject({ status: 503, body: { ready: false, reconciled: false, storage: true } });
  });

  test('is not ready once reconciles are overdue', async () => {
    const { url } = await serve({ status: () => ({ ...RECONCILED, overdue: true }) });
    expect(await get(`${url}/readyz`)).toMatchObject({ status: 503, body: { ready: false } });
  });

  test('is told in numbers', async () => {
    const { url } = await serve();
    const { body, headers } = await get(`${url}/metrics`);
    expect(headers.get('content-type')).toContain('text/plain');
    for (const name of ['stella_reconcile_passes_total', 'stella_reconcile_seconds', 'stella_records_total', 'stella_agents_connected 0', 'stella_reconcile_last_success_age_seconds 0', 'stella_reconcile_overdue 0']) {
      expect(body['text']).toContain(name);
    }
  });

  test('says that Postgres is away, reads say so too, and both come back by themselves', async () => {
    const { url } = await serve();
    await postgres.pause();
    try {
      expect(await get(`${url}/readyz`)).toMatchObject({ status: 503, body: { ready: false, storage: false } });
      for (const path of ['releases', 'releases/shop%2F1', 'environments', 'promotions', 'evidence', 'conditions', 'agents']) {
        const answer = await get(`${url}/api/v1/${path}`);
        expect(answer).toMatchObject({ status: 503, body: { code: 'StorageUnavailable' } });
        expect(answer.headers.get('retry-after')).toBe('5');
      }
      expect((await get(`${url}/healthz`)).status).toBe(200);
    } finally {
      await postgres.resume();
    }
    expect((await get(`${url}/readyz`)).status).toBe(200);
    expect((await get(`${url}/api/v1/releases`)).status).toBe(200);
  });
});

describe('the webhook', () => {
  const deliver = (url: string, body: string, headers: Record<string, string> = {}): Promise<Answer> =>
    get(`${url}/api/v1/webhooks/generic`, { method: 'POST', body, headers: { 'x-stella-signature': sign(body), 'x-stella-delivery': 'one', ...headers } });

  test('wakes the reconciler, whatever it says', async () => {
    const { url, woken } = await serve();
    expect(await deliver(url, '{"ref":"refs/heads/evil","deploy":"now"}')).toMatchObject({ status: 202, body: { data: { woken: true } } });
    expect(woken).toEqual(['webhook']);
  });

  test('wakes nobody for a delivery that is sent again', async () => {
    const { url, woken } = await serve();
    await deliver(url, 'a');
    expect(await deliver(url, 'a')).toMatchObject({ status: 202, body: { data: { woken: false } } });
    expect(woken).toHaveLength(1);
    await deliver(url, 'a', { 'x-stella-delivery': 'two' });
    expect(woken).toHaveLength(2);
  });

  test.each([
    ['a signature with another secret', { 'x-stella-signature': sign('a', 'guess') }, 401, 'SignatureInvalid'],
    ['the signature of another body', { 'x-stella-signature': sign('b') }, 401, 'SignatureInvalid'],
    ['a signature that is too short', { 'x-stella-signature': sign('a').slice(0, -2) }, 401, 'SignatureMissing'],
    ['no signature', { 'x-stella-signature': '' }, 401, 'SignatureMissing'],
    ['no id', { 'x-stella-delivery': '' }, 400, 'DeliveryInvalid'],
    ['an id that is too long', { 'x-stella-delivery': 'x'.repeat(limits.deliveryIdChars + 1) }, 400, 'DeliveryInvalid'],
  ] as const)('refuses %s and wakes nobody', async (_, headers, status, code) => {
    const { url, woken } = await serve();
    expect(await deliver(url, 'a', headers)).toMatchObject({ status, body: { code } });
    expect(woken).toEqual([]);
  });

  test('does not remember a delivery that it refused', async () => {
    const { url, woken } = await serve();
    await deliver(url, 'a', { 'x-stella-signature': sign('a', 'guess') });
    await deliver(url, 'a');
    expect(woken).toHaveLength(1);
  });

  test('refuses a body that announces more than it may have', async () => {
    const { url, woken } = await serve();
    const body = 'x'.repeat(limits.webhookBytes + 1);
    expect(await deliver(url, body).then(({ body: { code } }) => code, () => 'cut off')).toMatch(/^(BodyTooLarge|cut off)$/);
    expect(woken).toEqual([]);
  });

  test('stops reading a body that never ends', async () => {
    const { url, woken } = await serve();
    const sent = await endless(`${url}/api/v1/webhooks/generic`, { 'x-stella-signature': sign(''), 'x-stella-delivery': 'endless' });
    expect(sent).toBeLessThan(50 * limits.webhookBytes);
    expect(woken).toEqual([]);
  });

  test('is off without a secret', async () => {
    const { url, woken } = await serve({ webhookSecret: null });
    expect(await deliver(url, 'a')).toMatchObject({ status: 404, body: { code: 'WebhookOff' } });
    expect(woken).toEqual([]);
  });
});

describe('the webhook of a forge', () => {
  const payload = (repository: string): string => JSON.stringify({ action: 'opened', number: 7, pull_request: { number: 7 }, repository: { full_name: repository } });
  const send = (url: string, body: string, headers: Record<string, string> = {}, type = 'github'): Promise<Answer> =>
    get(`${url}/api/v1/webhooks/${type}`, {
      method: 'POST', body,
      headers: { 'content-type': 'application/json', 'x-github-event': 'pull_request', 'x-github-delivery': 'one', 'x-hub-signature-256': sign(body), ...headers },
    });
  async function called(): Promise<{ readonly url: string; readonly told: unknown[] }> {
    const told: unknown[] = [];
    const forgeWebhook = { reader: await webhookReaderOf('github'), secret: SECRET, repository: 'shop/deploy', onDelivery: (...delivery: unknown[]) => void told.push(delivery) };
    return { ...(await serve({ forgeWebhook })), told };
  }

  test('takes a delivery that the forge signed, and again only once', async () => {
    const { url, told } = await called();
    expect(await send(url, payload('Shop/deploy'))).toMatchObject({ status: 202, body: { data: { woken: true } } });
    expect(await send(url, payload('Shop/deploy'))).toMatchObject({ status: 202, body: { data: { woken: false } } });
    expect(told).toEqual([[expect.objectContaining({ event: 'proposal', number: 7 }), true]]);
  });

  test('reads no body that comes without a signature, however long it says that it is', async () => {
    const { url, told } = await called();
    const { hostname, port } = new URL(url);
    const code = await new Promise<number | undefined>((resolve, reject) => {
      const asked = request({ hostname, port, path: '/api/v1/webhooks/github', method: 'POST', headers: { 'content-length': '1000', 'x-github-delivery': 'one' } }, (answer) => {
        resolve(answer.statusCode);
        asked.destroy();
      });
      asked.on('error', reject);
      asked.flushHeaders();
    });
    expect(code).toBe(401);
    expect(told).toEqual([]);
  });

  test('takes one for another repository, tells of it, and wakes nobody', async () => {
    const { url, told } = await called();
    expect(await send(url, payload('thief/deploy'))).toMatchObject({ status: 202, body: { data: { woken: false } } });
    expect(told).toEqual([[expect.objectContaining({ repository: 'thief/deploy' }), false]]);
  });

  test.each([
    ['a signature with another secret', payload('shop/deploy'), { 'x-hub-signature-256': sign(payload('shop/deploy'), 'guess') }, 401],
    ['no signature', payload('shop/deploy'), { 'x-hub-signature-256': '' }, 401],
    ['no id', payload('shop/deploy'), { 'x-github-delivery': '' }, 400],
    ['a payload that was cut off', payload('shop/deploy').slice(0, -9), {}, 400],
  ] as const)('refuses %s', async (_, body, headers, status) => {
    const { url, told } = await called();
    expect(await send(url, body, headers)).toMatchObject({ status });
    expect(told).toEqual([]);
  });

  test('stops reading a body that never ends', async () => {
    const { url, told } = await called();
    const sent = await endless(`${url}/api/v1/webhooks/github`, { 'x-hub-signature-256': sign(''), 'x-github-delivery': 'endless', 'x-github-event': 'push' });
    expect(sent).toBeLessThan(50 * limits.webhookBytes);
    expect(told).toEqual([]);
  });

  test('is off without a secret, and for every other forge', async () => {
    const { url } = await called();
    expect(await send(url, payload('shop/deploy'), {}, 'gitea')).toMatchObject({ status: 404, body: { code: 'WebhookOff' } });
    expect(await send((await serve()).url, payload('shop/deploy'))).toMatchObject({ status: 404, body: { code: 'WebhookOff' } });
  });
});

/** Sends without an end until the server ends it. @returns bytes that were sent */
function endless(url: string, headers: Record<string, string>): Promise<number> {
  return new Promise((resolve) => {
    let sent = 0;
    let over = false;
    const chunk = Buffer.alloc(64 * 1024);
    const end = (): void => {
      over = true;
      call.destroy();
      resolve(sent);
    };
    const call = request(url, { method: 'POST', headers: { ...headers, 'transfer-encoding': 'chunked' } });
    call.on('error', end);
    call.on('response', end);
    const send = (): void => {
      if (over) return;
      sent += chunk.length;
      if (call.write(chunk)) setImmediate(send);
      else call.once('drain', send);
    };
    send();
  });
}
