import { limits } from '../../core/model/limits.ts';
import { RegistryError } from '../../ports/blob-source.ts';
import { quoted } from './reference.ts';
import { isLoopback, type RegistryAddress } from './registry-address.ts';
import { type HttpSettings, sendOnce } from './registry-http.ts';
import { readLimited } from './verified-bytes.ts';

/**
 * A credential for one host (`name` or `name:port`). It is sent to that host and to no other (T18), so a registry whose
 * tokens come from another host (a token realm) needs a second credential that names that host.
 */
export type RegistryCredential =
  | { readonly host: string; readonly username: string; readonly password: string }
  | { readonly host: string; readonly token: string };

/** What proves us to one registry, learned as it asks for it. */
export type RegistryAuthorizer = {
  /** The Authorization header for a first try, if it is already known what the registry wants. */
  readonly current: (scope: string) => string | undefined;
  /** The header that answers a 401. @throws RegistryError `RegistryUnauthorized` when nothing declared can answer it. */
  readonly answer: (challenge: string | null, scope: string, signal: AbortSignal | undefined) => Promise<string>;
  /** Drops what was refused. */
  readonly forget: (scope: string) => void;
};

type Token = { readonly header: string; readonly expiresAtMs: number };

const tokenScopes = 1_000;
/** The specification's default for a token that does not say when it expires. */
const tokenSeconds = 60;

/** Starts with no knowledge; tokens are kept per scope until shortly before they expire. */
export function createRegistryAuthorizer(settings: HttpSettings, credentials: readonly RegistryCredential[], now: () => Date): RegistryAuthorizer {
  const tokens = new Map<string, Token>();
  const registryHost = settings.address.origin.host;
  let wantsOwn = false;
  const own = (): string | undefined => headerFor(credentials, settings.address.origin);
  return {
    current: (scope) => {
      const token = tokens.get(scope);
      if (token !== undefined && token.expiresAtMs > now().getTime()) return token.header;
      return wantsOwn ? own() : undefined;
    },
    answer: async (challenge, scope, signal) => {
      const challenges = parseChallenges(challenge ?? '');
      const bearer = challenges.find((entry) => entry.scheme === 'bearer');
      const header = own();
      if (bearer?.params['realm'] !== undefined && !header?.startsWith('Bearer ')) {
        const token = await fetchToken(settings, credentials, bearer.params, scope, now, signal);
        if (tokens.size >= tokenScopes) tokens.clear();
        tokens.set(scope, token);
        return token.header;
      }
      const fits = header?.startsWith('Bearer ') ? bearer !== undefined : challenges.some((entry) => entry.scheme === 'basic');
      if (header === undefined || !fits) throw unauthorized(registryHost, `declare a credential for the host ${registryHost}`);
      wantsOwn = true;
      return header;
    },
    forget: (scope) => {
      tokens.delete(scope);
      wantsOwn = false;
    },
  };
}

/** The error for a request that the registry does not allow. */
export function unauthorized(host: string, remedy: string): RegistryError {
  return new RegistryError('RegistryUnauthorized', 'stall', `${host} does not allow this: ${remedy}`);
}

type Challenge = { readonly scheme: string; readonly params: Readonly<Record<string, string>> };

/** Parses WWW-Authenticate, which may hold several challenges in one line (RFC 9110 §11.6.1). Names are lower-cased. */
export function parseChallenges(header: string): readonly Challenge[] {
  const challenges: { scheme: string; params: Record<string, string> }[] = [];
  const parts = /([A-Za-z0-9!#$%&'*+.^_`|~-]+)(?:\s*=\s*(?:"((?:[^"\\]|\\.)*)"|([^\s,"]+)))?/g;
  for (const [, name = '', inQuotes, bare] of header.slice(0, 8192).matchAll(parts)) {
    const value = inQuotes?.replace(/\\(.)/g, '$1') ?? bare;
    if (value === undefined) challenges.push({ scheme: name.toLowerCase(), params: Object.create(null) as Record<string, string> });
    else {
      const last = challenges.at(-1);
      if (last !== undefined) last.params[name.toLowerCase()] ??= value;
    }
  }
  return challenges;
}

function headerFor(credentials: readonly RegistryCredential[], url: URL): string | undefined {
  // T18: a credential belongs to the host that was declared with it.
  const credential = credentials.find((entry) => URL.parse(`${url.protocol}//${entry.host}`)?.host === url.host);
  if (credential === undefined) return undefined;
  if ('token' in credential) return `Bearer ${credential.token}`;
  return `Basic ${Buffer.from(`${credential.username}:${credential.password}`, 'utf8').toString('base64')}`;
}

async function fetchToken(
  settings: HttpSettings,
  credentials: readonly RegistryCredential[],
  params: Readonly<Record<string, string>>,
  scope: string,
  now: () => Date,
  signal: AbortSignal | undefined,
): Promise<Token> {
  const url = realmUrl(settings.address, params['realm'] ?? '');
  if (params['service'] !== undefined) url.searchParams.set('service', params['service']);
  // Our own scope, not the one in the challenge: a registry must not talk us into a token that can do more.
  url.searchParams.set('scope', scope);
  const authorization = headerFor(credentials, url);
  const headers = { accept: 'application/json', ...(authorization === undefined ? {} : { authorization }) };
  const answer = await sendOnce(settings, { method: 'GET', url, headers, signal });
  if (answer.status !== 200) {
    await answer.discard();
    throw tokenRefused(url, answer.status, authorization !== undefined);
  }
  const body = await readLimited(answer.chunks, limits.registryAnswerBytes);
  return parseToken(url, body, now());
}

function tokenRefused(url: URL, status: number, withCredential: boolean): RegistryError {
  if (status === 429 || status >= 500) return new RegistryError('RegistryUnreachable', 'retry', `the token realm ${url.host} answered ${status}`);
  const remedy = withCredential ? `check the credential for the host ${url.host}` : `declare a credential for the host ${url.host}`;
  return unauthorized(url.host, `its token realm answered ${status}; ${remedy}`);
}

function realmUrl(address: RegistryAddress, realm: string): URL {
  const url = URL.parse(realm);
  const plainAllowed = url !== null && (url.origin === address.origin.origin || (isLoopback(url) && isLoopback(address.origin)));
  const allowed = url?.protocol === 'https:' || (url?.protocol === 'http:' && plainAllowed);
  if (url === null || !allowed || url.username !== '' || url.password !== '') {
    throw unauthorized(address.origin.host, `its token realm ${quoted(realm)} is not https, so nothing is sent there`);
  }
  url.hash = '';
  return url;
}

function parseToken(url: URL, body: Uint8Array, now: Date): Token {
  const bad = (): RegistryError => new RegistryError('RegistryLied', 'stall', `the token realm ${url.host} answered without a token`);
  let value: unknown;
  try {
    value = JSON.parse(Buffer.from(body).toString('utf8'));
  } catch {
    // No cause: the text of a parse error quotes the body, and the body may hold a token.
    throw bad();
  }
  if (typeof value !== 'object' || value === null) throw bad();
  const fields = value as Readonly<Record<string, unknown>>;
  const token = fields['token'] ?? fields['access_token'];
  if (typeof token !== 'string' || !/^[\x21-\x7e]+$/.test(token)) throw bad();
  const seconds = typeof fields['expires_in'] === 'number' && fields['expires_in'] > 0 ? Math.min(fields['expires_in'], 3600) : tokenSeconds;
  return { header: `Bearer ${token}`, expiresAtMs: now.getTime() + Math.floor(seconds * 900) };
}
