import { createServer, type Server } from 'node:http';
import type Koa from 'koa';
import { limits } from '../core/model/limits.ts';

export type Listening = { readonly port: number; close(): Promise<void> };

/** @throws Error when the address cannot be taken */
export async function listen(app: Koa, at: { readonly host: string; readonly port: number }): Promise<Listening> {
  const answer = app.callback();
  const server = createServer((request, response) => void answer(request, response));
  server.requestTimeout = limits.httpRequestMs;
  server.headersTimeout = limits.httpRequestMs;
  server.maxHeadersCount = 100;
  await new Promise<void>((resolve, reject) => {
    server.once('error', (cause) => reject(new Error(`cannot listen on ${at.host}:${at.port}: choose another address or port, or stop who holds it`, { cause })));
    server.listen(at.port, at.host, resolve);
  });
  const address = server.address();
  return { port: typeof address === 'object' && address !== null ? address.port : at.port, close: () => close(server) };
}

async function close(server: Server): Promise<void> {
  await new Promise<void>((resolve) => {
    server.close(() => resolve());
    server.closeIdleConnections();
    setTimeout(() => server.closeAllConnections(), 1_000).unref();
  });
}
