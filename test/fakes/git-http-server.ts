import { spawn } from 'node:child_process';
import { createServer, type IncomingMessage, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';
import { dirname, basename } from 'node:path';

export type GitHttpCredential = { readonly kind: 'basic'; readonly username: string; readonly password: string } | { readonly kind: 'bearer'; readonly token: string };

export type GitHttpRequest = { readonly method: string; readonly path: string; readonly authorization: string | undefined };

export type GitHttpServer = {
  /** URL of the repository. */
  readonly url: string;
  /** Every request so far, refused ones too. */
  readonly requests: readonly GitHttpRequest[];
  /** Answers every request with a redirect there from now on; null serves again. */
  redirectTo(url: string | null): void;
  close(): Promise<void>;
};

/**
 * Serves one bare repository over smart http through `git http-backend`: clone, fetch and push. With `credential`, only for those
 * who present it. To refuse pushes, use `rejectPushes` of the repository.
 */
export async function startGitHttpServer(options: { repository: string; credential?: GitHttpCredential }): Promise<GitHttpServer> {
  const requests: GitHttpRequest[] = [];
  let redirect: string | null = null;
  const server = createServer((request, response) => {
    requests.push({ method: request.method ?? '', path: request.url ?? '', authorization: request.headers.authorization });
    if (redirect !== null) response.writeHead(302, { location: redirect + (request.url ?? '').slice(`/${basename(options.repository)}`.length) }).end();
    else if (isAllowed(request, options.credential)) serve(options.repository, request, response);
    else response.writeHead(401, { 'www-authenticate': 'Basic realm="git"' }).end('who are you?\n');
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  return {
    url: `http://127.0.0.1:${(server.address() as AddressInfo).port}/${basename(options.repository)}`,
    requests,
    redirectTo: (url) => void (redirect = url),
    close: () =>
      new Promise((resolve) => {
        server.close(() => resolve());
        server.closeAllConnections();
      }),
  };
}

function isAllowed(request: IncomingMessage, credential: GitHttpCredential | undefined): boolean {
  if (credential === undefined) return true;
  const expected = credential.kind === 'bearer' ? `Bearer ${credential.token}` : `Basic ${Buffer.from(`${credential.username}:${credential.password}`).toString('base64')}`;
  return request.headers.authorization === expected;
}

/** One request through the CGI program that git brings. */
function serve(repository: string, request: IncomingMessage, response: ServerResponse): void {
  const [path = '', query = ''] = (request.url ?? '').split('?');
  const header = (name: string): string => String(request.headers[name] ?? '');
  const child = spawn('git', ['http-backend'], {
    env: {
      PATH: process.env['PATH'],
      GIT_CONFIG_NOSYSTEM: '1',
      GIT_CONFIG_GLOBAL: '/dev/null',
      GIT_CONFIG_COUNT: '2',
      GIT_CONFIG_KEY_0: 'http.receivepack',
      GIT_CONFIG_VALUE_0: 'true',
      GIT_CONFIG_KEY_1: 'receive.autogc',
      GIT_CONFIG_VALUE_1: 'false',
      GIT_PROJECT_ROOT: dirname(repository),
      GIT_HTTP_EXPORT_ALL: '1',
      GIT_PROTOCOL: header('git-protocol'),
      REQUEST_METHOD: request.method,
      PATH_INFO: decodeURIComponent(path),
      QUERY_STRING: query,
      CONTENT_TYPE: header('content-type'),
      HTTP_CONTENT_ENCODING: header('content-encoding'),
      ...(request.headers['content-length'] === undefined ? {} : { CONTENT_LENGTH: header('content-length') }),
      REMOTE_ADDR: '127.0.0.1',
      REMOTE_USER: 'test',
    },
    stdio: ['pipe', 'pipe', 'ignore'],
  });
  child.stdin.on('error', () => undefined);
  request.pipe(child.stdin);
  let head: Buffer | null = Buffer.alloc(0);
  child.stdout.on('data', (chunk: Buffer) => {
    if (head === null) return void response.write(chunk);
    head = Buffer.concat([head, chunk]);
    const end = head.indexOf('\r\n\r\n');
    if (end < 0) return;
    writeHead(response, head.subarray(0, end).toString());
    response.write(head.subarray(end + 4));
    head = null;
  });
  child.on('close', () => response.end());
  response.on('close', () => child.kill());
}

function writeHead(response: ServerResponse, head: string): void {
  let status = 200;
  for (const line of head.split('\r\n')) {
    const [name = '', ...rest] = line.split(': ');
    if (name.toLowerCase() === 'status') status = Number.parseInt(rest.join(': '), 10);
    else response.appendHeader(name, rest.join(': '));
  }
  response.writeHead(status);
}
