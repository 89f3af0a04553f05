import { createServer, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';
import type { TestProject } from 'vitest/node';
import { launchDockerd } from './fakes/dockerd.ts';
import { startPostgres } from './fakes/postgres.ts';

declare module 'vitest' {
  interface ProvidedContext {
    /** Where test files ask for components that a whole run shares. */
    componentDesk: string;
  }
}

type Lent = { readonly address: string; stop(): Promise<void> };

/** What can be lent, by request path. */
const STARTERS: Readonly<Record<string, () => Promise<Lent>>> = {
  '/postgres': async () => {
    const server = await startPostgres();
    return { address: server.url, stop: server.stop };
  },
  '/dockerd': async () => {
    const engine = await launchDockerd();
    return { address: engine.socketPath, stop: engine.stop };
  },
};

/**
 * Opens a desk on loopback that lends shared components. Nothing starts before a test file asks for it, so a run of pure
 * tests pays nothing; what was started ends with the run.
 */
export default async function setup(project: TestProject): Promise<() => Promise<void>> {
  const lent = new Map<string, Promise<Lent>>();
  const desk = createServer((request, response) => {
    const path = request.url ?? '';
    const start = STARTERS[path];
    if (start === undefined) return answer(response, 404, 'unknown component');
    const component = lent.get(path) ?? start();
    lent.set(path, component);
    component.then(
      ({ address }) => answer(response, 200, address),
      (cause: unknown) => answer(response, 503, String(cause)),
    );
  });
  await new Promise<void>((resolve) => desk.listen(0, '127.0.0.1', resolve));
  project.provide('componentDesk', `http://127.0.0.1:${(desk.address() as AddressInfo).port}`);
  return async () => {
    desk.close();
    desk.closeAllConnections();
    await Promise.all([...lent.values()].map((component) => component.then((it) => it.stop(), () => undefined)));
  };
}

function answer(response: ServerResponse, status: number, body: string): void {
  response.writeHead(status, { 'content-type': 'text/plain' }).end(body);
}
