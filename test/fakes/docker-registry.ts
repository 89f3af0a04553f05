import { spawn } from 'node:child_process';
import { existsSync } from 'node:fs';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import os from 'node:os';
import path from 'node:path';

const binary = '/usr/bin/docker-registry';

export const registryUser = { username: 'robot', password: 'correct horse' } as const;
/** bcrypt of the password above, cost 5. */
const htpasswdLine = 'robot:$2b$05$abcdefghijklmnopqrstuuHNbAKRhpaujgo33bRWs.NLUTJO3lOy2\n';

/** A real registry (distribution 2.8) with its data in a temporary folder. */
export type DockerRegistry = { readonly origin: string; readonly folder: string; readonly stop: () => Promise<void> };

/** Why the registry cannot be started here; undefined when it can, or when nothing may be skipped and the start shall fail. */
export function dockerRegistryMissing(): string | undefined {
  const present = existsSync(binary) || process.env['STELLA_REQUIRE_ALL'] !== undefined;
  return present ? undefined : 'docker-registry is not installed (apt-get install docker-registry)';
}

/** Starts it on a free port of 127.0.0.1. */
export async function startDockerRegistry(options: { readonly basicAuth?: boolean } = {}): Promise<DockerRegistry> {
  const folder = await mkdtemp(path.join(os.tmpdir(), 'stella-registry-'));
  const auth = { auth: { htpasswd: { realm: 'test', path: path.join(folder, 'htpasswd') } } };
  const config = {
    version: '0.1',
    log: { level: 'info', formatter: 'text' },
    storage: { filesystem: { rootdirectory: path.join(folder, 'store') }, delete: { enabled: true } },
    http: { addr: '127.0.0.1:0', secret: 'only for tests' },
    ...(options.basicAuth === true ? auth : {}),
  };
  await writeFile(path.join(folder, 'htpasswd'), htpasswdLine);
  await writeFile(path.join(folder, 'config.yml'), JSON.stringify(config)); // JSON is YAML
  const child = spawn(binary, ['serve', path.join(folder, 'config.yml')], { stdio: ['ignore', 'ignore', 'pipe'] });
  const ended = new Promise<void>((resolve) => child.once('exit', () => resolve()));
  const stop = async (): Promise<void> => {
    child.kill('SIGKILL');
    await ended;
    await rm(folder, { recursive: true, force: true });
  };
  const port = await new Promise<string>((resolve, reject) => {
    let log = '';
    child.once('error', reject);
    child.once('exit', () => reject(new Error(`docker-registry ended: ${log}`)));
    child.stderr.setEncoding('utf8').on('data', (text: string) => {
      log += text;
      const found = /listening on 127\.0\.0\.1:(\d+)/.exec(log)?.[1];
      if (found !== undefined) resolve(found);
    });
  }).catch(async (error: unknown) => {
    await stop();
    throw error;
  });
  return { origin: `http://127.0.0.1:${port}`, folder, stop };
}

/** The Authorization header of {@link registryUser}, for pushes in tests. */
export function basicHeader(): Readonly<Record<string, string>> {
  return { authorization: `Basic ${Buffer.from(`${registryUser.username}:${registryUser.password}`).toString('base64')}` };
}
