import { spawnSync } from 'node:child_process';
import { mkdir, mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import Docker from 'dockerode';
import { inject } from 'vitest';
import { programPath } from './components.ts';
import { startDaemon } from './daemon.ts';

/** A real container engine that belongs to the tests. It has no bridge: containers take `--network host` or `none`. */
export type ScratchDockerd = {
  readonly socketPath: string;
  /** Value for `DOCKER_HOST`. */
  readonly dockerHost: string;
};

/**
 * The engine that a whole run shares: the one that `STELLA_DOCKER_SOCKET` names, else one that starts with the first call.
 * It ends with the run; tests remove the containers and images they made. Ask `requireComponent('dockerd', ctx)` first.
 */
export async function startDockerd(): Promise<ScratchDockerd> {
  const named = process.env['STELLA_DOCKER_SOCKET'];
  if (named !== undefined) return at(named);
  const response = await fetch(new URL('/dockerd', inject('componentDesk')));
  const body = await response.text();
  if (!response.ok) throw new Error(`the shared dockerd did not start: ${body}`);
  return at(body);
}

const at = (socketPath: string): ScratchDockerd => ({ socketPath, dockerHost: `unix://${socketPath}` });

/** Starts an engine on a private socket in a temporary folder; `stop` removes its containers and the folder. */
export async function launchDockerd(): Promise<ScratchDockerd & { stop(): Promise<void> }> {
  const command = programPath('dockerd');
  if (command === undefined) throw new Error('dockerd is missing; call requireComponent first');
  const root = await mkdtemp(join(tmpdir(), 'stella-test-dockerd-'));
  const [dataRoot, execRoot, socketPath] = ['data', 'exec', 'docker.sock'].map((name) => join(root, name)) as [string, string, string];
  await Promise.all([dataRoot, execRoot].map((folder) => mkdir(folder)));
  const folders = ['--data-root', dataRoot, '--exec-root', execRoot, '-p', join(root, 'pid'), '-H', `unix://${socketPath}`];
  const network = ['--iptables=false', '--ip6tables=false', '--ip-forward=false', '--bridge=none'];
  const engine = new Docker({ socketPath });
  const removeFolder = async (): Promise<void> => {
    // A mount that the engine left behind would make the removal fail.
    spawnSync('sh', ['-c', `awk '{print $2}' /proc/mounts | grep "^${root}/" | sort -r | xargs -r umount -l`]);
    await rm(root, { recursive: true, force: true });
  };
  const daemon = await startDaemon({
    command,
    args: [...folders, ...network, '--storage-driver', 'overlay2'],
    logPath: join(root, 'log'),
    isReady: async () => String(await engine.ping()) === 'OK',
  }).catch(async (error: unknown) => {
    await removeFolder();
    throw error;
  });
  const stop = async (): Promise<void> => {
    const containers = await engine.listContainers({ all: true }).catch(() => []);
    for (const { Id } of containers) await engine.getContainer(Id).remove({ force: true }).catch(() => undefined);
    await daemon.stop();
    await removeFolder();
  };
  return { ...at(socketPath), stop };
}
