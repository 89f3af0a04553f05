import { createServer, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';
import type { TestProject } from 'vitest/node';
import { startPostgres, type ScratchPostgres } from './fakes/postgres.ts';

declare module 'vitest' {
  interface ProvidedContext {
    /** Where test files ask for components that a whole run shares. */
    componentDesk: string;
  }
}

/**
 * Opens a desk on loopback that lends shared components. Nothing starts before a test file asks for it,
 * so a run of pure tests pays nothing; what was started ends with the run.
 */
export default async function setup(project: TestProject): Promise<() => Promise<void>> {
  let postgres: Promise<ScratchPostgres> | undefined;
  const desk = createServer((request, response) => {
    if (request.url !== '/postgres') return void answer(response, 404, 'unknown component');
    postgres ??= startPostgres();
    postgres.then(
      (server) => answer(response, 200, server.url),
      (cause: unknown) => answer(response, 503, String(cause)),
    );
  });
  await new Promise<void>((resolve) => desk.listen(0, '127.0.0.1', resolve));
  project.provide('componentDesk', `http://127.0.0.1:${(desk.address() as AddressInfo).port}`);
  return async () => {
    desk.close();
    desk.closeAllConnections();
    const server = await postgres?.catch(() => undefined);
    await server?.stop();
  };
}

function answer(response: ServerResponse, status: number, body: string): void {
  response.writeHead(status, { 'content-type': 'text/plain' }).end(body);
}
