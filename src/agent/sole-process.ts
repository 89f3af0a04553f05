import { createHash } from 'node:crypto';
import { realpath } from 'node:fs/promises';
import { createServer } from 'node:net';
import { platform } from 'node:os';

export class AgentRunsAlready extends Error {
  readonly code = 'AgentRunsAlready';
  readonly disposition = 'stall';
}

/**
 * Makes this process the only one that works with a state folder: two journals of one agent would execute one order twice. Held by an
 * abstract socket, which the kernel frees with the process, so nothing is left after a crash. Linux only; elsewhere it holds nothing.
 * @returns gives the folder free.
 * @throws AgentRunsAlready
 */
export async function claimFolder(folder: string): Promise<() => Promise<void>> {
  if (platform() !== 'linux') return () => Promise.resolve();
  const name = `\0stella-agent-${createHash('sha256').update(await realpath(folder)).digest('hex')}`;
  const server = createServer((socket) => socket.destroy());
  await new Promise<void>((resolve, reject) => {
    server.once('error', (cause) => {
      reject(new AgentRunsAlready(`another process works with ${folder}: stop it, or give this agent a state folder of its own`, { cause }));
    });
    server.listen(name, resolve);
  });
  server.unref();
  return () => new Promise((resolve) => server.close(() => resolve()));
}
