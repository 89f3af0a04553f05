import http from 'node:http';
import https from 'node:https';
import type { GitHttpRequest, GitHttpResponse } from 'isomorphic-git';
import { isObjectId } from '../../core/model/commit-id.ts';
import { limits } from '../../core/model/limits.ts';
import type { GitRef } from '../../ports/git-reader.ts';
import type { RemoteRefusal } from '../../ports/git-remote.ts';

/** Lists references of one http server in this process: no spawn, connections stay open. */
export type ServerRefs = {
  list(prefix: string): Promise<{ readonly ok: true; readonly refs: readonly GitRef[] } | RemoteRefusal>;
  close(): void;
};

/** @param authorization value of the header, sent to this URL only: redirects are refused (T18). */
export function openServerRefs(url: string, authorization: string | null, timeoutMs: number): ServerRefs {
  const agent = url.startsWith('https:') ? new https.Agent({ keepAlive: true }) : new http.Agent({ keepAlive: true });
  const headers = authorization === null ? {} : { Authorization: authorization };
  const client = keepAliveClient(agent, timeoutMs);
  return {
    async list(prefix) {
      // Loaded when first needed: a CLI that lists nothing should not wait for it.
      const { listServerRefs } = await import('isomorphic-git');
      try {
        const found = await listServerRefs({ http: client, url, headers: { ...headers }, prefix, protocolVersion: 2 });
        const refs = found.flatMap(({ ref, oid }) => (isObjectId(oid) && ref.startsWith(prefix) ? [{ name: ref, id: oid }] : []));
        return { ok: true, refs: refs.sort((a, b) => (a.name < b.name ? -1 : 1)) };
      } catch (error) {
        return refusalOf(error, new URL(url).host);
      }
    },
    close: () => agent.destroy(),
  };
}

function refusalOf(error: unknown, host: string): RemoteRefusal {
  const statusCode = (error as { readonly data?: { readonly statusCode?: number } }).data?.statusCode;
  if (statusCode === 401 || statusCode === 403) return { ok: false, code: 'Unauthorized', message: `${host} answers ${statusCode}. Check the token and what it may read.` };
  if (statusCode !== undefined && statusCode >= 300 && statusCode < 400) {
    return { ok: false, code: 'Unreachable', message: `${host} redirects. Redirects are not followed, because they would carry the token away: configure the final URL.` };
  }
  const why = statusCode === undefined ? (error instanceof Error ? error.message : String(error)) : `it answers ${statusCode}`;
  return { ok: false, code: 'Unreachable', message: `${host} cannot be asked for its references: ${why}` };
}

/** The http client of isomorphic-git, bounded, without redirects; it remembers that a server speaks protocol v2, which saves a request. */
function keepAliveClient(agent: http.Agent, timeoutMs: number): { request(request: GitHttpRequest): Promise<GitHttpResponse> } {
  let capabilities: { readonly url: string; readonly response: Buffered } | null = null;
  return {
    async request(request) {
      const isDiscovery = (request.method ?? 'GET') === 'GET';
      if (isDiscovery && capabilities?.url === request.url) return asResponse(request, capabilities.response);
      const response = await send(request, agent, timeoutMs).catch((error: unknown) => {
        capabilities = null;
        throw error;
      });
      // In protocol v2 this answer holds no references, so it does not grow old; what the server can do seldom changes.
      const keeps = isDiscovery && response.statusCode === 200 && response.body.includes('version 2\n');
      if (keeps) capabilities = { url: request.url, response };
      else if (response.statusCode !== 200) capabilities = null;
      return asResponse(request, response);
    },
  };
}

type Buffered = { readonly statusCode: number; readonly statusMessage: string; readonly headers: Record<string, string>; readonly body: Buffer };

async function send(request: GitHttpRequest, agent: http.Agent, timeoutMs: number): Promise<Buffered> {
  const body: Uint8Array[] = [];
  for await (const chunk of request.body ?? []) body.push(chunk);
  const start = request.url.startsWith('https:') ? https.request : http.request;
  return new Promise((resolve, reject) => {
    const outgoing = start(request.url, { method: request.method ?? 'GET', headers: request.headers, agent, timeout: timeoutMs });
    outgoing.on('timeout', () => outgoing.destroy(new Error(`no answer for ${timeoutMs} ms`)));
    outgoing.on('error', reject);
    outgoing.on('response', (incoming) => {
      const chunks: Buffer[] = [];
      let bytes = 0;
      incoming.on('data', (chunk: Buffer) => {
        chunks.push(chunk);
        bytes += chunk.length;
        if (bytes > limits.refListBytes) outgoing.destroy(new Error(`the list is longer than ${limits.refListBytes} bytes`));
      });
      incoming.on('error', reject);
      incoming.on('end', () =>
        resolve({
          statusCode: incoming.statusCode ?? 0,
          statusMessage: incoming.statusMessage ?? '',
          headers: Object.fromEntries(Object.entries(incoming.headers).map(([name, value]) => [name, String(value)])),
          body: Buffer.concat(chunks),
        }),
      );
    });
    outgoing.end(Buffer.concat(body));
  });
}

function asResponse(request: GitHttpRequest, { body, ...head }: Buffered): GitHttpResponse {
  async function* chunks(): AsyncIterableIterator<Uint8Array> {
    yield body;
  }
  return { url: request.url, method: request.method ?? 'GET', ...head, body: chunks() };
}
