import { limits } from '../../core/model/limits.ts';
import { RegistryError } from '../../ports/blob-source.ts';
import { type Backoff, retryAfterMs } from './backoff.ts';
import { type RegistryAuthorizer, unauthorized } from './registry-auth.ts';
import { type HttpAnswer, type HttpSettings, sendFollowing } from './registry-http.ts';
import { readLimited } from './verified-bytes.ts';

export type RegistryTransportOptions = {
  readonly settings: HttpSettings;
  readonly authorizer: RegistryAuthorizer;
  readonly backoff: Backoff;
  readonly sleep: (ms: number, signal?: AbortSignal) => Promise<void>;
  readonly now: () => Date;
};

/** Requests to one registry, with credentials, redirects, tries again and limits. Answers are 2xx or 404 (for HEAD also 405 and 501); all else is thrown. */
export type RegistryTransport = {
  readonly origin: URL;
  readonly head: (repository: string, path: string, accept: string) => Promise<{ readonly status: number; readonly headers: Headers }>;
  readonly get: (
    repository: string,
    path: string,
    options: { readonly accept: string; readonly maxBytes: number; readonly signal?: AbortSignal },
  ) => Promise<{ readonly status: number; readonly headers: Headers; readonly body: Uint8Array }>;
  /** The body is streamed and is not tried again once it has begun. */
  readonly open: (repository: string, path: string, signal: AbortSignal | undefined) => Promise<HttpAnswer>;
};

type Request = {
  readonly method: 'GET' | 'HEAD';
  readonly repository: string;
  readonly path: string;
  readonly accept: string;
  readonly signal: AbortSignal | undefined;
};

/** @throws RegistryError from each request, see {@link RegistryTransport} */
export function createRegistryTransport(options: RegistryTransportOptions): RegistryTransport {
  return {
    origin: options.settings.address.origin,
    head: (repository, path, accept) =>
      withTries(options, undefined, async () => {
        const answer = await ask(options, { method: 'HEAD', repository, path, accept, signal: undefined });
        await answer.discard();
        return { status: answer.status, headers: answer.headers };
      }),
    get: (repository, path, { accept, maxBytes, signal }) =>
      withTries(options, signal, async () => {
        // A whole small answer has a deadline too: one byte now and then keeps a connection alive for ever.
        const deadline = AbortSignal.timeout(options.settings.timeoutMs * 4);
        const joined = signal === undefined ? deadline : AbortSignal.any([signal, deadline]);
        try {
          const answer = await ask(options, { method: 'GET', repository, path, accept, signal: joined });
          return { status: answer.status, headers: answer.headers, body: await readLimited(answer.chunks, maxBytes) };
        } catch (cause) {
          if (!deadline.aborted || signal?.aborted === true) throw cause;
          throw new RegistryError('RegistryUnreachable', 'retry', `${options.settings.address.origin.host} answers too slowly`, { cause });
        }
      }),
    open: (repository, path, signal) =>
      withTries(options, signal, () => ask(options, { method: 'GET', repository, path, accept: 'application/octet-stream, */*', signal })),
  };
}

/** Answers with a Retry-After carry how long to wait. */
class TryLater extends RegistryError {
  readonly waitMs: number | undefined;

  constructor(message: string, waitMs: number | undefined) {
    super('RegistryUnreachable', 'retry', message);
    this.waitMs = waitMs;
  }
}

async function withTries<T>(options: RegistryTransportOptions, signal: AbortSignal | undefined, attempt: () => Promise<T>): Promise<T> {
  for (let tries = 1; ; tries += 1) {
    try {
      return await attempt();
    } catch (error) {
      if (!(error instanceof RegistryError) || error.disposition !== 'retry' || tries >= limits.registryAttempts) throw error;
      const askedMs = error instanceof TryLater ? error.waitMs : undefined;
      if (askedMs !== undefined && askedMs > limits.registryRetryAfterMs) {
        throw new RegistryError('RegistryUnreachable', 'wait', `${error.message}; it asks to wait ${Math.ceil(askedMs / 1000)} s`, { cause: error });
      }
      await pause(options, Math.max(askedMs ?? 0, options.backoff(tries)), signal);
    }
  }
}

async function pause(options: RegistryTransportOptions, ms: number, signal: AbortSignal | undefined): Promise<void> {
  try {
    await options.sleep(ms, signal);
  } catch (cause) {
    throw new RegistryError('Aborted', 'wait', 'stopped while waiting for the registry', { cause });
  }
}

async function ask(options: RegistryTransportOptions, request: Request): Promise<HttpAnswer> {
  const { settings, authorizer } = options;
  const scope = `repository:${request.repository}:pull`;
  const origin = settings.address.origin;
  const url = new URL(request.path, origin);
  const http = { method: request.method, url, headers: { accept: request.accept }, signal: request.signal };
  let answer = await sendFollowing(settings, http, authorizer.current(scope));
  if (answer.status === 401 && answer.url.origin === origin.origin) {
    await answer.discard();
    authorizer.forget(scope);
    const authorization = await authorizer.answer(answer.headers.get('www-authenticate'), scope, request.signal);
    answer = await sendFollowing(settings, http, authorization);
    if (answer.status === 401) authorizer.forget(scope);
  }
  return await requireUsable(options, request.method, answer);
}

async function requireUsable(options: RegistryTransportOptions, method: 'GET' | 'HEAD', answer: HttpAnswer): Promise<HttpAnswer> {
  const { status, url } = answer;
  if (method === 'HEAD' && (status === 405 || status === 501)) return answer;
  if ((status >= 200 && status < 300) || status === 404) return answer;
  await answer.discard();
  if (status === 401 || status === 403) throw unauthorized(url.host, `it answered ${status}; check the credential for the host ${url.host} and what it may read`);
  if (status === 429 || status >= 500) throw new TryLater(`${url.host} answered ${status}`, retryAfterMs(answer.headers.get('retry-after'), options.now()));
  throw new RegistryError('RegistryUnreachable', 'stall', `${url.host} answered ${status}, which is no answer of a registry; check the address`);
}
