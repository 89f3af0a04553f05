import { createHmac } from 'node:crypto';
import { createServer, type IncomingHttpHeaders } from 'node:http';
import type { AddressInfo } from 'node:net';
import { afterEach, expect, test } from 'vitest';
import type { ExplainLine } from '../../src/core/decision/explain.ts';
import { migratedDatabase } from '../contract/postgres-fixture.ts';
import { putImage } from './cli-fixture.ts';
import { doc, World } from '../fakes/world.ts';
import { environment, getJson, serverConfig, start } from './serve-fixture.ts';

const within = { timeout: 40_000, interval: 100 };
const undo: (() => unknown)[] = [];
afterEach(async () => {
  for (const one of undo.splice(0).reverse()) await one();
});

test('a server tells the receiver that a document in force names, in the words of its API, with a secret of its own environment', async () => {
  const received: { readonly headers: IncomingHttpHeaders; readonly body: string }[] = [];
  const receiver = createServer((request, response) => {
    const chunks: Buffer[] = [];
    request.on('data', (chunk: Buffer) => chunks.push(chunk));
    request.on('end', () => {
      received.push({ headers: request.headers, body: Buffer.concat(chunks).toString() });
      response.end();
    });
  });
  await new Promise<void>((resolve) => receiver.listen(0, '127.0.0.1', resolve));
  undo.push(() => { receiver.closeAllConnections(); receiver.close(); });
  const url = `http://127.0.0.1:${(receiver.address() as AddressInfo).port}/`;
  const world = await World.create({ idle: true, documents: [doc('Integration', 'hook', { type: 'notifier-webhook', url, secretRef: 'env:TELL_KEY', events: ['waiting'], environments: ['prod'] })] });
  undo.push(() => world.close());
  const database = await migratedDatabase();
  undo.push(() => database.drop());
  const server = await start(await serverConfig(world, { STORAGE__DRIVER: 'postgres', CONNECTIONSTRINGS__DEFAULT: database.url }), { createLog: true, environment: { ...environment, TELL_KEY: 'the key' } });
  undo.push(() => server.close());
  await expect.poll(() => server.loop.status.lastReport, within).toMatchObject({ ok: true });
  await putImage(world, 'shop/api', '1.0', 'one');
  await world.commit([doc('Release', 'shop/1.0', { components: { api: { tag: '1.0' } } }), doc('Promotion', 'prod/shop', { release: '1.0' })], { by: world.people.alice });
  server.loop.wake('test');
  await expect.poll(() => received.length, within).toBe(1);
  const { headers, body } = received[0]!;
  expect(headers['x-stella-signature']).toBe(`sha256=${createHmac('sha256', 'the key').update(`${String(headers['x-stella-delivery'])}.${body}`).digest('hex')}`);
  expect(body).not.toContain('the key');
  const told = JSON.parse(body) as { readonly event: string; readonly lines: readonly string[] };
  expect(told.event).toBe('waiting');
  // What is told is queued before the mirror has it.
  const rows = async (): Promise<readonly { readonly id: string }[]> => (await getJson(server, '/api/v1/promotions')).body['data'] as { readonly id: string }[];
  await expect.poll(async () => (await rows()).length, within).toBe(1);
  const [row] = await rows();
  const { explanation } = (await getJson(server, `/api/v1/promotions/${row!.id}`)).body['data'] as { readonly explanation: readonly ExplainLine[] };
  const held = explanation.filter(({ about, outcome }) => about === 'gate' && outcome !== 'passed');
  expect(held.length).toBeGreaterThan(0);
  for (const { text } of held) expect(told.lines.some((line) => line.startsWith(text))).toBe(true);
});
