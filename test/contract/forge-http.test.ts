import { createServer, type IncomingMessage, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';
import fc from 'fast-check';
import { afterEach, describe, expect, it } from 'vitest';
import { createForgeHttp, type ForgeHttp, type ForgeHttpOptions, segment } from '../../src/adapters/forge/http-client.ts';
import { KeptAnswers } from '../../src/adapters/forge/kept-answers.ts';
import { collectPages, hasNextLink } from '../../src/adapters/forge/pages.ts';
import { rateLimitOf } from '../../src/adapters/forge/rate-limit.ts';
import { ratePace } from '../../src/adapters/forge/rate-pace.ts';
import { limits } from '../../src/core/model/limits.ts';
import { ForgeError } from '../../src/ports/forge.ts';
import { SecretUnavailable } from '../../src/ports/target-driver.ts';

const TOKEN = 'ghp_verysecret';
const NOW = Date.parse('2026-03-02T12:00:00.000Z');

type Answering = (request: IncomingMessage, response: ServerResponse, count: number) => void;
type Started = { readonly http: ForgeHttp; readonly seen: string[]; readonly clock: { now: number }; readonly slept: number[]; readonly origin: string };

const stops: (() => Promise<void>)[] = [];
afterEach(async () => {
  for (const stop of stops.splice(0)) await stop();
});

async function serve(answering: Answering): Promise<{ readonly origin: string; readonly seen: string[] }> {
  const seen: string[] = [];
  const server = createServer((request, response) => {
    seen.push(`${request.method ?? ''} ${request.url ?? ''} ${request.headers.authorization ?? ''}`);
    answering(request, response, seen.length);
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  stops.push(() => new Promise((resolve) => {
    server.close(() => resolve());
    server.closeAllConnections();
  }));
  return { origin: `http://127.0.0.1:${(server.address() as AddressInfo).port}`, seen };
}

async function start(answering: Answering, options: Partial<ForgeHttpOptions> = {}): Promise<Started> {
  const { origin, seen } = await serve(answering);
  const clock = { now: NOW };
  const slept: number[] = [];
  const sleep = (ms: number): Promise<void> => {
    slept.push(ms);
    clock.now += ms;
    return Promise.resolve();
  };
  const http = createForgeHttp({
    name: 'The forge', url: `${origin}/api`, token: () => Promise.resolve(TOKEN), headers: (token) => ({ authorization: `Bearer ${token}` }),
    world: { now: () => new Date(clock.now), random: () => 0.5, sleep, allowedHosts: null }, ...options,
  });
  return { http, seen, clock, slept, origin };
}

async function refusal(work: Promise<unknown>): Promise<ForgeError> {
  const error = await work.then(() => new Error('it was not refused'), (cause: unknown) => cause);
  if (!(error instanceof ForgeError)) throw error;
  return error;
}

function json(response: ServerResponse, status: number, body: unknown, headers: Record<string, string> = {}): void {
  response.writeHead(status, { 'content-type': 'application/json', ...headers });
  response.end(JSON.stringify(body));
}

describe('a request to a forge', () => {
  it.each([301, 302, 303, 307, 308])('follows no redirect (%i), so that the token goes nowhere else', async (status) => {
    const other = await serve((_request, response) => json(response, 200, {}));
    const { http } = await start((_request, response) => json(response, status, {}, { location: `${other.origin}/api/pulls` }));
    expect((await refusal(http.get('/pulls'))).code).toBe('Refused');
    expect((await refusal(http.send('POST', '/pulls', {}))).code).toBe('Refused');
    expect(other.seen).toEqual([]);
  });

  it.each([
    [400, 'Refused'], [401, 'Unauthorized'], [403, 'Unauthorized'], [404, 'NotFound'], [410, 'NotFound'], [409, 'Refused'], [422, 'Refused'], [429, 'RateLimited'], [500, 'Unavailable'], [502, 'Unavailable'], [503, 'Unavailable'],
  ] as const)('tells what %i means', async (status, code) => {
    const { http } = await start((_request, response) => json(response, status, { message: 'because' }));
    expect((await refusal(http.send('POST', '/x', {}))).code).toBe(code);
  });

  it('never tells the token, also where the forge repeats it', async () => {
    for (const status of [400, 401, 403, 404, 500]) {
      const { http } = await start((_request, response) => json(response, status, { message: `the token ${TOKEN} is bad\u001b[31m` }));
      const error = await refusal(http.get('/x'));
      expect([error.message, String(error.cause), error.stack].join(' ')).not.toContain(TOKEN);
      expect(error.message).not.toContain('\u001b');
    }
  });

  it.each([['that fits no header', `${TOKEN}\u0100`], ['that would end the header', `${TOKEN}\r\nx-evil: 1`], ['that is empty', ' \n'], ['that never ends', 'x'.repeat(5_000)]])('sends no token %s, and does not tell it', async (_what, text) => {
    const { http, seen } = await start((_request, response) => json(response, 200, {}), { token: () => Promise.resolve(text) });
    const error = await refusal(http.get('/x'));
    expect([error.code, seen.length]).toEqual(['Unauthorized', 0]);
    expect([error.message, String(error.cause)].join(' ')).not.toContain(TOKEN);
  });

  it('takes a token from a file that ends with a line break, and one that was changed, at once', async () => {
    let text = `${TOKEN}\n`;
    const { http, seen } = await start((_request, response) => json(response, 200, {}), { token: () => Promise.resolve(text) });
    await http.get('/x');
    text = 'another';
    await http.get('/x');
    expect(seen.map((line) => line.split(' ').slice(2).join(' '))).toEqual([`Bearer ${TOKEN}`, 'Bearer another']);
  });

  it('names the place where it found no token, and goes on once one is there', async () => {
    let isThere = false;
    const token = (): Promise<string> => (isThere ? Promise.resolve(TOKEN) : Promise.reject(new SecretUnavailable('file:/run/secrets/forge cannot be read by this agent')));
    const { http } = await start((_request, response) => json(response, 200, {}), { token });
    const error = await refusal(http.get('/x'));
    expect([error.code, error.message.includes('file:/run/secrets/forge')]).toEqual(['Unauthorized', true]);
    isThere = true;
    expect((await http.get('/x')).status).toBe(200);
  });

  it('reads again where a forge is out of order, with growing pauses, and then gives up', async () => {
    const { http, seen, slept } = await start((_request, response, count) => json(response, count < 3 ? 502 : 200, { ok: true }));
    expect((await http.get('/x')).body).toEqual({ ok: true });
    expect(slept.length).toBe(2);
    expect(slept[1]).toBeGreaterThan(slept[0] ?? 0);
    const broken = await start((request) => request.socket.destroy());
    expect((await refusal(broken.http.get('/x'))).code).toBe('Unavailable');
    expect(broken.seen.length).toBe(limits.forgeAttempts);
    expect(seen.length).toBe(3);
  });

  it('writes once: what got no answer may have been done', async () => {
    const { http, seen } = await start((request) => request.socket.destroy());
    expect((await refusal(http.send('POST', '/comments', { body: 'x' }))).code).toBe('Unavailable');
    expect(seen.length).toBe(1);
  });

  it('gives up on an answer that never ends', async () => {
    const { http } = await start((_request, response) => {
      response.writeHead(200);
      response.write('[');
    }, { timeoutMs: 200 });
    expect((await refusal(http.send('POST', '/x', {}))).code).toBe('Unavailable');
  });

  it('stops reading an answer that is too large', async () => {
    const { http } = await start((_request, response) => {
      response.writeHead(200);
      const block = Buffer.alloc(1024 * 1024, 0x20);
      const more = (): void => {
        if (!response.destroyed) response.write(block, more);
      };
      more();
    });
    expect((await refusal(http.get('/x'))).code).toBe('AnswerInvalid');
  }, 30_000);

  it.each(['{"a":', '<html>sign in</html>', '\u0000'])('takes %j for no answer', async (text) => {
    const { http } = await start((_request, response) => response.end(text));
    expect((await refusal(http.get('/x'))).code).toBe('AnswerInvalid');
  });

  it('asks whether what it knows still holds, and takes the answer that it knows', async () => {
    const { http } = await start((request, response) => {
      if (request.headers['if-none-match'] === '"one"') response.writeHead(304, { etag: '"one"' }).end();
      else json(response, 200, { value: 1 }, { etag: '"one"', link: '<https://elsewhere/?page=2>; rel="next"' });
    });
    const first = await http.get('/x');
    const second = await http.get('/x');
    expect(second.body).toEqual(first.body);
    expect(second.status).toBe(200);
    expect(hasNextLink(second.headers)).toBe(true);
  });

  it('takes no "not modified" that it did not ask for', async () => {
    const { http } = await start((_request, response) => response.writeHead(304).end());
    expect((await refusal(http.get('/x'))).code).toBe('AnswerInvalid');
  });

  it('goes to no host that offline refuses', () => {
    const world = { now: () => new Date(NOW), random: () => 0.5, sleep: () => Promise.resolve() };
    const options = { name: 'F', token: () => Promise.resolve(TOKEN), headers: () => ({}) };
    const open = (url: string, allowedHosts: readonly string[] | null): string => {
      try {
        return createForgeHttp({ ...options, url, world: { ...world, allowedHosts } }).base;
      } catch (error) {
        if (error instanceof ForgeError) return error.code;
        throw error;
      }
    };
    expect(open('https://git.example/api/v1/', null)).toBe('https://git.example/api/v1');
    expect(open('https://git.example/api/v1', [])).toBe('OfflineRefused');
    expect(open('https://git.example/api/v1', ['git.example'])).toBe('https://git.example/api/v1');
    expect(open('https://git.example:8443', ['git.example:8443'])).toBe('https://git.example:8443');
    expect(open('http://git.example/api', null)).toBe('Refused');
    expect(open('http://127.0.0.1:3000/api', null)).toBe('http://127.0.0.1:3000/api');
    for (const bad of ['', 'git.example', 'ftp://git.example', 'https://user:pass@git.example', 'https://git.example/?a=b', 'file:///etc/passwd']) expect(open(bad, null)).toBe('Refused');
  });

  it('leads no part of a path out of its place', () => {
    fc.assert(fc.property(fc.oneof(fc.string({ unit: 'binary' }), fc.constantFrom('.', '..', '../x', '%2e%2e', '\ud800')), (text) => {
      let made: string;
      try {
        made = segment(text);
      } catch (error) {
        return error instanceof ForgeError && error.code === 'NotFound';
      }
      const url = new URL(`https://forge.example/repos/acme/${made}/permission`);
      return url.host === 'forge.example' && url.pathname.split('/').length === 5 && url.search === '' && url.hash === '' && decodeURIComponent(url.pathname.split('/')[3] ?? '') === text;
    }));
  });
});

describe('asking too often', () => {
  const said = (status: number, headers: Record<string, string>, text = ''): number | null => {
    const until = rateLimitOf({ status, headers: new Headers(headers), text, now: NOW });
    return until === null ? null : (until - NOW) / 1000;
  };

  it.each([
    ['a primary limit', 403, { 'x-ratelimit-remaining': '0', 'x-ratelimit-reset': String(NOW / 1000 + 90) }, '', 90],
    ['a secondary limit with Retry-After', 403, { 'retry-after': '7', 'x-ratelimit-remaining': '4000' }, '', 7],
    ['a secondary limit in words', 403, { 'x-ratelimit-remaining': '4000' }, '{"message":"You have exceeded a secondary rate limit."}', 60],
    ['429 without a word', 429, {}, '', 60],
    ['429 with a date', 429, { 'retry-after': new Date(NOW + 30_000).toUTCString() }, '', 30],
    ['seconds from now', 429, { 'ratelimit-remaining': '0', 'ratelimit-reset': '45' }, '', 45],
    ['an allowance that this answer used up', 200, { 'x-ratelimit-remaining': '0', 'x-ratelimit-reset': String(NOW / 1000 + 10) }, '', 10],
    ['a reset that is past', 403, { 'x-ratelimit-remaining': '0', 'x-ratelimit-reset': String(NOW / 1000 - 90) }, '', 1],
    ['a forge that wants to silence us for a year', 429, { 'retry-after': '31536000' }, '', limits.forgeRetryAfterMs / 1000],
    ['a right that lacks', 403, { 'x-ratelimit-remaining': '4000' }, '{"message":"Resource not accessible"}', null],
    ['a good answer', 200, { 'x-ratelimit-remaining': '10' }, '', null],
    ['a number that is none', 200, { 'x-ratelimit-remaining': '0', 'x-ratelimit-reset': 'soon' }, '', null],
  ] as const)('reads %s', (_name, status, headers, text, seconds) => {
    expect(said(status, headers, text)).toBe(seconds);
  });

  it('asks nothing until the time that the forge named, and then goes on', async () => {
    const { http, seen, clock } = await start((_request, response, count) => (count === 1 ? json(response, 403, { message: 'secondary rate limit' }, { 'retry-after': '120' }) : json(response, 200, {})));
    const error = await refusal(http.send('POST', '/x', {}));
    expect([error.code, error.retryAt]).toEqual(['RateLimited', NOW + 120_000]);
    expect((await refusal(http.get('/y'))).retryAt).toBe(NOW + 120_000);
    expect(seen.length).toBe(1);
    clock.now = NOW + 120_000;
    expect((await http.get('/y')).status).toBe(200);
  });

  it('takes the answer that used up the allowance, and waits before the next', async () => {
    const { http, seen } = await start((_request, response) => json(response, 200, { ok: true }, { 'x-ratelimit-remaining': '0', 'x-ratelimit-reset': String(NOW / 1000 + 60) }));
    expect((await http.get('/x')).body).toEqual({ ok: true });
    expect((await refusal(http.get('/x'))).code).toBe('RateLimited');
    expect(seen.length).toBe(1);
  });

  it('lets writes through in a burst and slowly after that, in their order', async () => {
    const clock = { now: NOW };
    const sleep = (ms: number): Promise<void> => {
      clock.now += ms;
      return Promise.resolve();
    };
    const pace = ratePace({ burst: 3, perSecond: 2 }, { now: () => new Date(clock.now), sleep });
    const at: number[] = [];
    for (let count = 0; count < 6; count += 1) {
      await pace();
      at.push(clock.now - NOW);
    }
    expect(at).toEqual([0, 0, 0, 500, 1000, 1500]);
    clock.now += 60_000;
    await pace();
    expect(clock.now - NOW).toBe(61_500);
  });
});

describe('reading pages', () => {
  const pages = (items: readonly number[], size: number) => (page: number): Promise<{ readonly items: readonly number[]; readonly hasMore: boolean }> =>
    Promise.resolve({ items: items.slice((page - 1) * size, page * size), hasMore: items.length > page * size });

  it('takes each item once, whatever the size of a page', async () => {
    await fc.assert(fc.asyncProperty(fc.array(fc.nat(50), { maxLength: 60 }), fc.integer({ min: 1, max: 20 }), async (items, size) => {
      const { values, isComplete } = await collectPages({ limit: 1_000, read: pages(items, size), take: (item) => item as number, idOf: (value) => value });
      expect(values).toEqual([...new Set(items)]);
      expect(isComplete).toBe(true);
    }));
  });

  it('says that there are more than it takes', async () => {
    const read = pages(Array.from({ length: 30 }, (_, index) => index), 10);
    const { values, isComplete } = await collectPages({ limit: 15, read, take: (item) => item as number, idOf: (value) => value });
    expect([values.length, isComplete]).toEqual([15, false]);
  });

  it('ends with a forge that always has another page', async () => {
    const endless = { limit: 5, read: () => Promise.resolve({ items: [1, 2, 3], hasMore: true }), idOf: (value: number) => value };
    expect((await collectPages({ ...endless, take: () => null })).isComplete).toBe(false);
    expect((await collectPages({ ...endless, take: (item) => item as number })).values).toEqual([1, 2, 3]);
    expect((await collectPages({ ...endless, read: () => Promise.resolve({ items: [], hasMore: true }), take: () => null })).isComplete).toBe(true);
  });
});

it('keeps no more answers than there is room for', () => {
  const kept = new KeptAnswers();
  const text = 'x'.repeat(limits.forgeKeptChars / 8);
  for (let index = 0; index < 40; index += 1) kept.keep(`u${index}`, { etag: 'e', headers: new Headers(), text });
  expect([kept.find('u0'), kept.find('u39')?.text.length]).toEqual([null, text.length]);
  expect(Array.from({ length: 40 }, (_, index) => kept.find(`u${index}`)).filter((one) => one !== null).length).toBe(8);
  kept.keep('u39', { etag: null, headers: new Headers(), text: 'new' });
  expect(kept.find('u39')).toBeNull();
});

it('passes on why a forge refused, also where it says so further down', async () => {
  const { http } = await start((_request, response) => json(response, 422, { message: 'Validation Failed', errors: [{ resource: 'PullRequest', code: 'custom', message: 'No commits between main and promote/1' }] }));
  const error = await refusal(http.send('POST', '/pulls', {}));
  expect([error.code, error.message.includes('No commits between main and promote/1')]).toEqual(['Refused', true]);
});
