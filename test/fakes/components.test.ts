import { execFileSync } from 'node:child_process';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import Docker from 'dockerode';
import { afterEach, expect, test, vi } from 'vitest';
import { missingComponent, requireComponent, type ComponentName } from './components.ts';
import { startDockerRegistry } from './docker-registry.ts';
import { startDockerd } from './dockerd.ts';
import { startSshd } from './sshd.ts';
import { mountTmpfs } from './tmpfs.ts';

afterEach(() => vi.unstubAllEnvs());

const NAMES: readonly ComponentName[] = ['dockerd', 'docker-registry', 'sshd', 'git', 'ssh-keygen', 'gpg', 'docker-compose', 'skopeo', 'umoci', 'tmpfs'];

test.each(NAMES)('%s is here or says why it is not', (name) => {
  const reason = missingComponent(name);
  expect(reason === undefined || reason.length > 10).toBe(true);
});

test('a test whose component is missing is skipped with the reason on a user machine', () => {
  vi.stubEnv('STELLA_DOCKER_SOCKET', '/nowhere/docker.sock');
  vi.stubEnv('STELLA_REQUIRE_ALL', '');
  const skip = vi.fn();
  requireComponent('dockerd', { skip } as never);
  expect(skip).toHaveBeenCalledExactlyOnceWith(expect.stringMatching(/dockerd.*no socket/));
});

test('a test whose component is missing fails where everything is required', () => {
  vi.stubEnv('STELLA_DOCKER_SOCKET', '/nowhere/docker.sock');
  vi.stubEnv('STELLA_REQUIRE_ALL', '1');
  const skip = vi.fn();
  expect(() => requireComponent('dockerd', { skip } as never)).toThrow(/component dockerd is missing/);
  expect(skip).not.toHaveBeenCalled();
});

test('the registry answers, and with htpasswd only to its user', async (ctx) => {
  requireComponent('docker-registry', ctx);
  const registry = await startDockerRegistry({ htpasswd: true });
  try {
    expect((await fetch(`${registry.url}/v2/`)).status).toBe(401);
    const { username, password } = registry.credentials!;
    const authorization = `Basic ${Buffer.from(`${username}:${password}`).toString('base64')}`;
    expect((await fetch(`${registry.url}/v2/`, { headers: { authorization } })).status).toBe(200);
  } finally {
    await registry.stop();
  }
});

test('git clones over the scratch sshd', async (ctx) => {
  requireComponent('sshd', ctx);
  requireComponent('git', ctx);
  const sshd = await startSshd();
  const folder = await mkdtemp(join(tmpdir(), 'stella-test-clone-'));
  try {
    execFileSync('git', ['init', '-q', '--bare', join(folder, 'origin.git')]);
    const url = `ssh://${sshd.username}@${sshd.host}:${sshd.port}${folder}/origin.git`;
    const env = { ...process.env, GIT_SSH_COMMAND: sshd.gitSshCommand };
    const refs = execFileSync('git', ['ls-remote', '--symref', url], { env, encoding: 'utf8', stdio: 'pipe' });
    expect(refs).toBe('');
  } finally {
    await sshd.stop();
    await rm(folder, { recursive: true });
  }
});

test('the shared engine answers on its private socket', async (ctx) => {
  requireComponent('dockerd', ctx);
  const { socketPath } = await startDockerd();
  const engine = new Docker({ socketPath });
  expect(await engine.version()).toMatchObject({ Os: 'linux' });
});

test('a tmpfs is full when its size is reached', async (ctx) => {
  requireComponent('tmpfs', ctx);
  const tmpfs = mountTmpfs(1);
  try {
    await expect(writeFile(join(tmpfs.path, 'big'), Buffer.alloc(2_000_000))).rejects.toMatchObject({ code: 'ENOSPC' });
  } finally {
    tmpfs.unmount();
  }
});
