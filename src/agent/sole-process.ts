import { createHash, randomUUID } from 'node:crypto';
import { link, realpath, rename, rm } from 'node:fs/promises';
import { connect, createServer, type Server } from 'node:net';
import { platform } from 'node:os';
import { join } from 'node:path';

export class AgentRunsAlready extends Error {
  readonly code = 'AgentRunsAlready';
  readonly disposition = 'stall';
}

/** Longest path of a socket that Linux takes. */
const SOCKET_PATH_BYTES = 107;
const SOCKET = 'agent.sock';

/**
 * Makes this process the only one that works with a state folder: two journals of one agent would execute one order twice. Held by an
 * abstract socket, which the kernel frees with the process, and by one in the folder, which containers that share nothing else see as
 * well: whoever listens there is alive, and what a crash has left does not answer. Linux only; elsewhere it holds nothing.
 * @returns gives the folder free.
 * @throws AgentRunsAlready
 */
export async function claimFolder(folder: string): Promise<() => Promise<void>> {
  if (platform() !== 'linux') return () => Promise.resolve();
  const path = await realpath(folder);
  const busy = (cause?: unknown): AgentRunsAlready => new AgentRunsAlready(`another process works with ${folder}: stop it, or give this agent a state folder of its own`, { cause });
  const abstract = await listen(`\0stella-agent-${createHash('sha256').update(path).digest('hex')}`).catch((cause: unknown) => {
    throw busy(cause);
  });
  const file = join(path, SOCKET);
  try {
    const held = Buffer.byteLength(`${file}.${randomUUID()}`) > SOCKET_PATH_BYTES ? null : await listenIn(file);
    if (held === 'taken') throw busy();
    return async () => {
      if (held !== null) await rm(file, { force: true });
      await Promise.all([close(abstract), ...(held === null ? [] : [close(held)])]);
    };
  } catch (cause) {
    await close(abstract);
    throw cause;
  }
}

/** A socket takes its place by a link, which only one of many gets; one that nobody answers at is put aside and looked at once more. */
async function listenIn(file: string): Promise<Server | 'taken'> {
  const own = `${file}.${randomUUID()}`;
  const server = await listen(own);
  try {
    if (await linked(own, file)) return server;
    if (await answers(file)) return await givenUp(server);
    const aside = `${file}.${randomUUID()}`;
    await rename(file, aside).catch(() => undefined);
    // Somebody may have taken the place between the look and the move: then it is theirs.
    if (await answers(aside)) {
      await linked(aside, file);
      await rm(aside, { force: true });
      return await givenUp(server);
    }
    await rm(aside, { force: true });
    return (await linked(own, file)) ? server : await givenUp(server);
  } finally {
    await rm(own, { force: true });
  }
}

async function givenUp(server: Server): Promise<'taken'> {
  await close(server);
  return 'taken';
}

async function linked(from: string, to: string): Promise<boolean> {
  try {
    await link(from, to);
    return true;
  } catch (cause) {
    if ((cause as NodeJS.ErrnoException).code === 'EEXIST') return false;
    throw cause;
  }
}

function listen(path: string): Promise<Server> {
  const server = createServer((socket) => socket.destroy());
  return new Promise((resolve, reject) => {
    server.once('error', reject);
    server.listen(path, () => {
      server.unref();
      resolve(server);
    });
  });
}

function answers(path: string): Promise<boolean> {
  return new Promise((resolve) => {
    const socket = connect(path);
    const end = (alive: boolean) => (): void => {
      socket.destroy();
      resolve(alive);
    };
    socket.once('connect', end(true)).once('error', end(false));
  });
}

function close(server: Server): Promise<void> {
  return new Promise((resolve) => server.close(() => resolve()));
}
