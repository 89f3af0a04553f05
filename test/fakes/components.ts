import { spawnSync } from 'node:child_process';
import { accessSync, constants, mkdtempSync, rmdirSync, statSync } from 'node:fs';
import { tmpdir, userInfo } from 'node:os';
import { delimiter, join } from 'node:path';
import type { TestContext } from 'vitest';

/** Real programs that some tests need and that not every machine has. */
export type ComponentName =
  | 'dockerd'
  | 'docker-registry'
  | 'sshd'
  | 'git'
  | 'ssh-keygen'
  | 'gpg'
  | 'docker-compose'
  | 'skopeo'
  | 'umoci'
  | 'tmpfs';

/**
 * Skips the test that runs when a component it needs is missing here, saying which and why. Call it first in a test, or in
 * `beforeEach((ctx) => requireComponent('sshd', ctx))`.
 * @throws Error instead of skipping where `STELLA_REQUIRE_ALL` is set (continuous integration).
 */
export function requireComponent(name: ComponentName, ctx: Pick<TestContext, 'skip'>): void {
  const reason = missingComponent(name);
  if (reason === undefined) return;
  if (process.env['STELLA_REQUIRE_ALL']) throw new Error(`component ${name} is missing: ${reason}`);
  ctx.skip(`component ${name} is missing: ${reason}`);
}

/** Why a component cannot be used on this machine; undefined when it can. */
export function missingComponent(name: ComponentName): string | undefined {
  return CHECKS[name]();
}

/** Absolute path of a program, looked for on PATH and in the folders of system programs. */
export function programPath(program: string): string | undefined {
  const folders = [...(process.env['PATH'] ?? '').split(delimiter), '/usr/sbin', '/sbin', '/usr/local/sbin'];
  return folders.map((folder) => join(folder, program)).find(isExecutable);
}

const CHECKS: Readonly<Record<ComponentName, () => string | undefined>> = {
  dockerd: missingDockerd,
  'docker-registry': () => missingProgram('docker-registry', 'docker-registry'),
  sshd: () => missingProgram('sshd', 'openssh-server'),
  git: () => missingProgram('git', 'git'),
  'ssh-keygen': () => missingProgram('ssh-keygen', 'openssh-client'),
  gpg: () => missingProgram('gpg', 'gnupg'),
  'docker-compose': missingCompose,
  skopeo: () => missingProgram('skopeo', 'skopeo'),
  umoci: () => missingProgram('umoci', 'umoci'),
  tmpfs: missingTmpfs,
};

function missingProgram(program: string, debianPackage: string): string | undefined {
  if (programPath(program) !== undefined) return undefined;
  return `no ${program} on the PATH (Debian package ${debianPackage})`;
}

/** The engine of the user is left alone: tests want one of their own, named or started here. */
function missingDockerd(): string | undefined {
  const named = process.env['STELLA_DOCKER_SOCKET'];
  if (named !== undefined) return isSocket(named) ? undefined : `STELLA_DOCKER_SOCKET names ${named}, which is no socket`;
  if (process.platform !== 'linux') return 'a scratch dockerd needs Linux; or name a socket in STELLA_DOCKER_SOCKET';
  if (userInfo().uid !== 0) return 'a scratch dockerd needs root; or name a socket in STELLA_DOCKER_SOCKET';
  return missingProgram('dockerd', 'docker.io');
}

function missingCompose(): string | undefined {
  if (programPath('docker-compose') !== undefined) return undefined;
  const docker = programPath('docker');
  if (docker !== undefined && spawnSync(docker, ['compose', 'version'], { stdio: 'ignore' }).status === 0) return undefined;
  return 'neither `docker compose` nor docker-compose works (Debian package docker-compose)';
}

function missingTmpfs(): string | undefined {
  if (process.platform !== 'linux' || userInfo().uid !== 0) return 'mounting a tmpfs needs root on Linux';
  const folder = mkdtempSync(join(tmpdir(), 'stella-test-tmpfs-'));
  try {
    const mounted = spawnSync('mount', ['-t', 'tmpfs', '-o', 'size=64k', 'stella-test', folder], { encoding: 'utf8' });
    if (mounted.status !== 0) return `mount refused: ${(mounted.stderr || String(mounted.error)).trim()}`;
    spawnSync('umount', [folder]);
    return undefined;
  } finally {
    rmdirSync(folder);
  }
}

function isExecutable(path: string): boolean {
  try {
    accessSync(path, constants.X_OK);
    return statSync(path).isFile();
  } catch {
    return false;
  }
}

function isSocket(path: string): boolean {
  return statSync(path, { throwIfNoEntry: false })?.isSocket() ?? false;
}
