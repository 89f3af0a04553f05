import { mkdir, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { startServer, type StartedServer } from '../../src/cli/compose/server.ts';
import { parseServerConfig, type ServerConfig } from '../../src/config/server.ts';
import type { World } from '../fakes/world.ts';

export const environment = { PATH: process.env['PATH'], HOME: process.env['HOME'], STELLA_ENV: 'test', HOOK_SECRET: 'between us' };

/** A configuration as a user writes it, for the repository of a test world. Ports are free ones. */
export async function serverConfig(world: World, variables: Readonly<Record<string, string>> = {}): Promise<ServerConfig> {
  const keys = join(world.folder, 'server-keys');
  await mkdir(keys, { recursive: true });
  await writeFile(join(keys, 'decisions.pem'), world.keys.decisions.export({ type: 'pkcs8', format: 'pem' }), { mode: 0o600 });
  await writeFile(join(keys, 'agent-ca.pem'), world.keys.agentCaKeyPem, { mode: 0o600 });
  const text = `
repository: { url: ./origin.git }
genesis: ${world.pin}
dataFolder: server
keys: { decisions: server-keys/decisions.pem, evidenceCommits: ${world.keys.commits.privateKeyPath}, agentCa: server-keys/agent-ca.pem }
http: { port: 0 }
agents: { channelPort: 0, enrolmentPort: 0 }
webhook: { secretRef: env:HOOK_SECRET }
layouts: { images: images }
pollSeconds: 1
storage: { driver: inmemory, objectStore: seed-fs }
`;
  const outcome = parseServerConfig(text, { ...environment, ...variables }, { folder: world.folder });
  if (!outcome.ok) throw new Error(JSON.stringify(outcome.problems));
  return outcome.config;
}

export function start(config: ServerConfig, options: { readonly createLog?: boolean; readonly environment?: Readonly<Record<string, string | undefined>> } = {}): Promise<StartedServer> {
  return startServer(config, { now: () => new Date(), log: () => undefined, environment: options.environment ?? environment, pid: process.pid, version: '0.0.0-test', createLog: options.createLog ?? false });
}

export async function getJson(server: StartedServer, path: string): Promise<{ readonly status: number; readonly body: Record<string, unknown> }> {
  const response = await fetch(`http://127.0.0.1:${server.httpPort}${path}`);
  return { status: response.status, body: (await response.json()) as Record<string, unknown> };
}
