import { once } from 'node:events';
import { isMainThread, parentPort, Worker, workerData } from 'node:worker_threads';
import { startGitHttpServer } from '../fakes/git-http-server.ts';

export type GitServerThread = {
  /** URL of a bare repository in the served folder. */
  urlOf(name: string): string;
  close(): Promise<void>;
};

/**
 * Serves the bare repositories of `folder` over smart http from a thread of its own, so that the programs it starts do not hold up
 * the event loop of whoever is measured.
 */
export async function startGitServerThread(folder: string): Promise<GitServerThread> {
  const worker = new Worker(new URL(import.meta.url), { workerData: { folder } });
  const [url] = (await once(worker, 'message')) as [string];
  return { urlOf: (name) => new URL(name, url).href, close: async () => void (await worker.terminate()) };
}

if (!isMainThread && parentPort !== null) {
  const { folder } = workerData as { readonly folder: string };
  const server = await startGitHttpServer({ repository: `${folder}/any.git` });
  parentPort.postMessage(server.url);
}
