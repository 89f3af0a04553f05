import { limits } from '../../core/model/limits.ts';
import { ForgeError, type ForgeWorld } from '../../ports/forge.ts';
import { SecretUnavailable } from '../../ports/target-driver.ts';
import { jitteredBackoff } from '../oci/backoff.ts';
import { isLoopback } from '../oci/registry-address.ts';
import { invalidAnswer } from './answer.ts';
import { KeptAnswers } from './kept-answers.ts';
import { type RatePace, ratePace } from './rate-pace.ts';
import { rateLimitOf } from './rate-limit.ts';

export type Query = Readonly<Record<string, string | number | boolean>>;

/** A 2xx answer with its JSON; `body` is null where there was none. */
export type ForgeAnswer = { readonly status: number; readonly headers: Headers; readonly body: unknown };

/**
 * Requests to the API of one forge. Paths begin with `/` and are relative to the base URL; make each variable part with {@link segment}. Every method throws ForgeError.
 * Reads are tried again where nothing answered or the forge is out of order, and are asked with the ETag of what is known. Writes are sent once: whether one that
 * got no answer was done, the next look at the forge says.
 */
export type ForgeHttp = {
  /** The base URL without a slash at its end. */
  readonly base: string;
  readonly get: (path: string, query?: Query) => Promise<ForgeAnswer>;
  readonly send: (method: 'POST' | 'PUT' | 'PATCH' | 'DELETE', path: string, body: unknown) => Promise<ForgeAnswer>;
};

export type ForgeHttpOptions = {
  /** How users know the forge, for messages. */
  readonly name: string;
  /** Base URL of the API. */
  readonly url: string;
  readonly token: () => Promise<string>;
  /** Headers of every request, the one with the token included. */
  readonly headers: (token: string) => Readonly<Record<string, string>>;
  readonly world: ForgeWorld;
  /** Holds writes back; none where the forge does not ask for it. */
  readonly pace?: { readonly burst: number; readonly perSecond: number };
  readonly timeoutMs?: number;
};

const BACK_OFF = { baseMs: 200, capMs: 5_000 } as const;

/** @throws ForgeError `Refused` where the URL cannot be the base of an API, `OfflineRefused` */
export function createForgeHttp(options: ForgeHttpOptions): ForgeHttp {
  const base = parseBase(options.url);
  requireAllowed(base, options.world.allowedHosts);
  const state: State = {
    base, options, kept: new KeptAnswers(), quietUntil: 0,
    pace: options.pace === undefined ? null : ratePace(options.pace, options.world),
  };
  return {
    base: base.href.replace(/\/$/, ''),
    get: (path, query = {}) => getWithTries(state, urlOf(base, path, query)),
    send: async (method, path, body) => {
      await state.pace?.();
      return await answerOf(state, { method, url: urlOf(base, path, {}), body: JSON.stringify(body), headers: { 'content-type': 'application/json' } });
    },
  };
}

/**
 * A variable part of a path.
 * @throws ForgeError `NotFound` for one that would lead to another resource: it comes from outside (the name of an account), and `..` is not escaped by encoding
 */
export function segment(text: string | number): string {
  const part = String(text);
  if (part === '' || part === '.' || part === '..' || !part.isWellFormed()) throw new ForgeError('NotFound', 'a name that is no name cannot be looked up on a forge');
  return encodeURIComponent(part);
}

type State = {
  readonly base: URL;
  readonly options: ForgeHttpOptions;
  readonly kept: KeptAnswers;
  readonly pace: RatePace | null;
  /** Milliseconds since 1970 before which nothing is asked, as the forge said. */
  quietUntil: number;
};

type Request = {
  readonly method: string;
  readonly url: URL;
  readonly headers: Readonly<Record<string, string>>;
  readonly body: string | null;
};

function parseBase(text: string): URL {
  const url = URL.parse(text);
  if (url === null || (url.protocol !== 'https:' && url.protocol !== 'http:') || url.username !== '' || url.password !== '' || url.search !== '' || url.hash !== '') {
    throw new ForgeError('Refused', 'forge.url is not the base of an API: write https://host or https://host/path, without a user and a query');
  }
  if (url.protocol === 'http:' && !isLoopback(url)) throw new ForgeError('Refused', `forge.url ${url.origin} is not encrypted: use https, the token would travel in the open`);
  return url;
}

function requireAllowed(base: URL, allowedHosts: readonly string[] | null): void {
  if (allowedHosts === null) return;
  if (allowedHosts.some((host) => host.toLowerCase() === base.hostname || host.toLowerCase() === base.host)) return;
  throw new ForgeError('OfflineRefused', `offline: true refuses the connection to ${base.host}; add it to allowHosts`);
}

function urlOf(base: URL, path: string, query: Query): URL {
  const url = new URL(base);
  url.pathname = base.pathname.replace(/\/$/, '') + path;
  for (const [name, value] of Object.entries(query)) url.searchParams.append(name, String(value));
  return url;
}

async function getWithTries(state: State, url: URL): Promise<ForgeAnswer> {
  const { random, sleep } = state.options.world;
  const backoff = jitteredBackoff({ ...BACK_OFF, random });
  for (let tries = 1; ; tries += 1) {
    try {
      return await getOnce(state, url);
    } catch (error) {
      if (!(error instanceof ForgeError) || error.code !== 'Unavailable' || tries >= limits.forgeAttempts) throw error;
      await sleep(backoff(tries));
    }
  }
}

async function getOnce(state: State, url: URL): Promise<ForgeAnswer> {
  const known = state.kept.find(url.href);
  const answer = await answerOf(state, { method: 'GET', url, body: null, headers: known === null ? {} : { 'if-none-match': known.etag } });
  if (answer.status === 304) {
    if (known === null) throw invalidAnswer('it says "not modified" where nothing was asked');
    return { status: 200, headers: known.headers, body: JSON.parse(known.text) };
  }
  return answer;
}

async function answerOf(state: State, request: Request): Promise<ForgeAnswer> {
  const { options, base } = state;
  requireQuietOver(state);
  const token = await tokenOf(options);
  const { response, text } = await exchange(state, request, token);
  const { status, headers } = response;
  const limit = rateLimitOf({ status, headers, text, now: options.world.now().getTime() });
  if (limit !== null) state.quietUntil = limit;
  if (status === 304 && request.method === 'GET') return { status, headers, body: null };
  if (status >= 200 && status < 300) {
    const body = parseBody(text);
    if (request.method === 'GET') state.kept.keep(request.url.href, { etag: headers.get('etag'), headers, text });
    return { status, headers, body };
  }
  if (limit !== null) requireQuietOver(state);
  throw refusalOf(options.name, base.host, status, messageIn(text, token));
}

/** What could break out of a header is no token; neither is a value that is not there. Either can be put right while we run. */
async function tokenOf({ token, name }: ForgeHttpOptions): Promise<string> {
  const read = await token().then((text) => text.trim(), (cause: unknown) => {
    const why = cause instanceof SecretUnavailable ? `: ${cause.message}` : '';
    throw new ForgeError('Unauthorized', `the token for ${name} cannot be read${why}`);
  });
  if (!/^[\x21-\x7e]{1,4096}$/.test(read)) throw new ForgeError('Unauthorized', `the token for ${name} is empty, or holds characters that no token has`);
  return read;
}

function requireQuietOver({ quietUntil, options: { name, world } }: State): void {
  if (world.now().getTime() >= quietUntil) return;
  throw new ForgeError('RateLimited', `${name} says that we ask too often: asked again after ${new Date(quietUntil).toISOString()}`, { retryAt: quietUntil });
}

/** One request and its whole answer, within one deadline. */
async function exchange({ options, base }: State, request: Request, token: string): Promise<{ readonly response: Response; readonly text: string }> {
  const { method, url, body } = request;
  const headers = { accept: 'application/json', 'user-agent': 'stella-gitops', ...options.headers(token), ...request.headers };
  const signal = AbortSignal.timeout(options.timeoutMs ?? limits.forgeTimeoutMs);
  try {
    // T18: `url` has the origin of the base, and a redirect is an answer that goes no further, so that the token stays with the host it is for.
    const response = await fetch(url, { method, headers, body, redirect: 'manual', signal });
    return { response, text: await readBounded(response, base.host) };
  } catch (cause) {
    if (cause instanceof ForgeError) throw cause;
    const why = signal.aborted ? 'gave no answer in time' : `cannot be reached (${reasonOf(cause)})`;
    // The cause of fetch holds no header, but who knows of the next version: its code is all that leaves here.
    throw new ForgeError('Unavailable', `${base.host} ${why}; check forge.url, network and certificate`);
  }
}

async function readBounded(response: Response, host: string): Promise<string> {
  const chunks: Uint8Array[] = [];
  let bytes = 0;
  for await (const chunk of (response.body ?? []) as AsyncIterable<Uint8Array>) {
    bytes += chunk.byteLength;
    if (bytes > limits.forgeAnswerBytes) throw invalidAnswer(`${host} answers with more than ${limits.forgeAnswerBytes} bytes`);
    chunks.push(chunk);
  }
  return Buffer.concat(chunks).toString('utf8');
}

function parseBody(text: string): unknown {
  if (text.trim() === '') return null;
  try {
    return JSON.parse(text);
  } catch (cause) {
    throw invalidAnswer('it is no JSON', cause);
  }
}

function refusalOf(name: string, host: string, status: number, said: string): ForgeError {
  const words = said === '' ? '' : `: ${said}`;
  if (status >= 300 && status < 400) {
    return new ForgeError('Refused', `${host} redirects, and a token follows no redirect: the repository was renamed, or forge.url is not the address of the API`);
  }
  if (status === 401) return new ForgeError('Unauthorized', `${name} does not take the token${words}; it has expired, was revoked, or is for another host`);
  if (status === 403) return new ForgeError('Unauthorized', `${name} refuses this with the token that we have${words}; give it the rights that docs/pull-requests.md names`);
  if (status === 404 || status === 410) return new ForgeError('NotFound', `${name} knows no such thing, or the token may not see it${words}; check forge.repository and the rights of the token`);
  if (status === 408 || status >= 500) return new ForgeError('Unavailable', `${host} answered ${status}${words}`);
  return new ForgeError('Refused', `${name} answered ${status}${words}`);
}

/** What a forge says for people about a refusal, shortened and without the token; forges word it as `message`, `error`, or `error.message`, and the reason is often the second. */
function messageIn(text: string, token: string): string {
  const said = [...text.slice(0, 4_096).matchAll(/"(?:message|error_description|error)"\s*:\s*"((?:[^"\\]|\\.){1,300})/g)].slice(0, 3).map(([, words = '']) => words);
  const readable = [...new Set(said)].join('; ').replace(/[^\x20-\x7e]|\\[nrtbfu]/g, ' ').trim();
  return readable.replaceAll(token, '***');
}

function reasonOf(cause: unknown): string {
  const inner = cause instanceof Error && cause.cause instanceof Error ? cause.cause : cause;
  if (!(inner instanceof Error)) return 'unknown reason';
  return 'code' in inner && typeof inner.code === 'string' ? inner.code : inner.name;
}
