import { spawn } from 'node:child_process';
import { readdir } from 'node:fs/promises';
import { createServer, type Server } from 'node:net';
import { join } from 'node:path';
import { afterEach, describe, expect, it } from 'vitest';
import { claimFolder } from '../../src/agent/sole-process.ts';
import { Scratch } from './agent-fixture.ts';

const scratch = new Scratch();
afterEach(() => scratch.clean());

/** What a container of its own leaves in a folder that it shares: a socket in it, and no abstract one that is seen outside. */
async function neighbour(folder: string): Promise<Server> {
  const server = createServer((socket) => socket.destroy());
  await new Promise<void>((resolve) => server.listen(join(folder, 'agent.sock'), resolve));
  scratch.later(() => new Promise((resolve) => server.close(resolve)));
  return server;
}

describe('the folder of an agent', () => {
  it('is one process’s alone, and free again once that gives it free', async () => {
    const folder = await scratch.folder();
    const free = await claimFolder(folder);
    await expect(claimFolder(folder)).rejects.toMatchObject({ code: 'AgentRunsAlready' });
    await free();
    await (await claimFolder(folder))();
    expect(await readdir(folder)).toEqual([]);
  });

  it('is not taken from an agent in another container that shares nothing but the folder', async () => {
    const folder = await scratch.folder();
    await neighbour(folder);
    await expect(claimFolder(folder)).rejects.toMatchObject({ code: 'AgentRunsAlready' });
    await expect(claimFolder(folder)).rejects.toMatchObject({ code: 'AgentRunsAlready' });
    expect(await readdir(folder)).toEqual(['agent.sock']);
  });

  it('is taken over from one that was killed', async () => {
    const folder = await scratch.folder();
    const script = `require('node:net').createServer().listen(${JSON.stringify(join(folder, 'agent.sock'))}, () => process.kill(process.pid, 'SIGKILL'))`;
    await new Promise((resolve) => spawn(process.execPath, ['-e', script]).once('exit', resolve));
    expect(await readdir(folder)).toEqual(['agent.sock']);
    const free = await claimFolder(folder);
    await expect(claimFolder(folder)).rejects.toMatchObject({ code: 'AgentRunsAlready' });
    await free();
  });

  it('goes to one of many that come at once', async () => {
    const folder = await scratch.folder();
    const claims = await Promise.allSettled(Array.from({ length: 8 }, () => claimFolder(folder)));
    const got = claims.filter((claim) => claim.status === 'fulfilled');
    expect(got).toHaveLength(1);
    await got[0]!.value();
  });
});
