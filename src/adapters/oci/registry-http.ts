import { limits } from '../../core/model/limits.ts';
import { RegistryError } from '../../ports/blob-source.ts';
import { type Network, redirectRefused, redirectTarget, type RegistryAddress, requireReachable } from './registry-address.ts';

/** One request, before credentials. */
export type HttpRequest = {
  readonly method: 'GET' | 'HEAD';
  readonly url: URL;
  readonly headers: Readonly<Record<string, string>>;
  readonly signal: AbortSignal | undefined;
};

/** An answer whose body has not been read: read `chunks` to the end or call `discard`. */
export type HttpAnswer = {
  readonly status: number;
  readonly headers: Headers;
  /** Where the answer came from, after redirects. */
  readonly url: URL;
  readonly chunks: AsyncIterable<Uint8Array>;
  readonly discard: () => Promise<void>;
};

/** What every request of one client has in common. */
export type HttpSettings = { readonly address: RegistryAddress; readonly network: Network; readonly timeoutMs: number };

/**
 * Sends a request and follows redirects by hand. `authorization` goes to the request's own origin and to no other (T18).
 * @throws RegistryError `OfflineRefused`, `RedirectRefused`, `RegistryUnreachable`, `Aborted`
 */
export async function sendFollowing(settings: HttpSettings, request: HttpRequest, authorization: string | undefined): Promise<HttpAnswer> {
  let url = request.url;
  for (let followed = 0; followed <= limits.redirects; followed += 1) {
    const ours = url.origin === request.url.origin; // T18: scheme, host and port
    const headers = { ...request.headers, ...(ours && authorization !== undefined ? { authorization } : {}) };
    const answer = await sendOnce(settings, { ...request, url, headers });
    if (!isRedirect(answer.status)) return answer;
    await answer.discard();
    url = redirectTarget(settings.address, url, answer.headers.get('location'));
  }
  throw redirectRefused(`${request.url.origin} redirects more than ${limits.redirects} times`);
}

/** Sends exactly one request; a redirect is an answer like any other. */
export async function sendOnce(settings: HttpSettings, request: HttpRequest): Promise<HttpAnswer> {
  const { url, method } = request;
  requireReachable(settings.network, url);
  const watchdog = startWatchdog(settings.timeoutMs, request.signal);
  try {
    watchdog.arm();
    const response = await fetch(url, { method, headers: { 'accept-encoding': 'identity', ...request.headers }, redirect: 'manual', signal: watchdog.signal });
    watchdog.disarm();
    const discard = async (): Promise<void> => {
      await response.body?.cancel().catch(() => undefined);
    };
    return { status: response.status, headers: response.headers, url, chunks: readBody(response, url, watchdog), discard };
  } catch (cause) {
    watchdog.disarm();
    throw connectionError(url, cause, watchdog);
  }
}

function isRedirect(status: number): boolean {
  return status === 301 || status === 302 || status === 303 || status === 307 || status === 308;
}

type Watchdog = {
  readonly signal: AbortSignal;
  readonly arm: () => void;
  readonly disarm: () => void;
  readonly barked: () => boolean;
  readonly callerStopped: () => boolean;
};

/** Aborts when `timeoutMs` pass between `arm` and `disarm`, or when the caller's signal does. */
function startWatchdog(timeoutMs: number, caller: AbortSignal | undefined): Watchdog {
  const controller = new AbortController();
  let timer: NodeJS.Timeout | undefined;
  let barked = false;
  const bark = (): void => {
    barked = true;
    controller.abort();
  };
  return {
    signal: caller === undefined ? controller.signal : AbortSignal.any([caller, controller.signal]),
    arm: () => {
      timer = setTimeout(bark, timeoutMs);
    },
    disarm: () => clearTimeout(timer),
    barked: () => barked,
    callerStopped: () => caller?.aborted === true,
  };
}

async function* readBody(response: Response, url: URL, watchdog: Watchdog): AsyncGenerator<Uint8Array> {
  if (response.body === null) return;
  const reader = response.body.getReader();
  try {
    for (;;) {
      watchdog.arm();
      const { done, value } = await reader.read();
      watchdog.disarm();
      if (done) return;
      // While the consumer works the watchdog sleeps: a slow disk is not a slow registry.
      yield value as Uint8Array;
    }
  } catch (cause) {
    throw connectionError(url, cause, watchdog);
  } finally {
    watchdog.disarm();
    await reader.cancel().catch(() => undefined);
  }
}

function connectionError(url: URL, cause: unknown, watchdog: Watchdog): RegistryError {
  if (watchdog.callerStopped()) return new RegistryError('Aborted', 'wait', `the request to ${url.host} was stopped`, { cause });
  const why = watchdog.barked() ? 'gave no answer in time' : `cannot be reached (${reasonOf(cause)})`;
  return new RegistryError('RegistryUnreachable', 'retry', `${url.host} ${why}; check name, network and certificate`, { cause });
}

function reasonOf(cause: unknown): string {
  const inner = cause instanceof Error && cause.cause instanceof Error ? cause.cause : cause;
  if (!(inner instanceof Error)) return 'unknown reason';
  return 'code' in inner && typeof inner.code === 'string' ? inner.code : inner.name;
}
