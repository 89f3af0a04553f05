import { constants } from 'node:fs';
import { open, realpath } from 'node:fs/promises';
import { isAbsolute, sep } from 'node:path';
import { limits } from '../core/model/limits.ts';
import { SecretUnavailable } from '../ports/target-driver.ts';

export type SecretSources = {
  /** What `env:NAME` may read; the composition decides what it lets in. */
  readonly environment: { readonly [name: string]: string | undefined };
  /** Absolute folders under which `file:` may read. None by default. */
  readonly secretFolders: readonly string[];
};

/**
 * Resolves secret references on this machine: `env:NAME` and `file:/path`, the latter only within the allow-list (T18).
 * @throws SecretUnavailable for every other reference and for a value that is not there.
 */
export function secretResolver(sources: SecretSources): (reference: string) => Promise<string> {
  return async (reference) => {
    const [scheme, name] = split(reference);
    if (scheme === 'env') return fromEnvironment(sources, name);
    if (scheme === 'file') return await fromFile(sources, name);
    throw new SecretUnavailable(`${reference}: this agent resolves env:NAME and file:/path only`);
  };
}

function split(reference: string): readonly [string, string] {
  const colon = reference.indexOf(':');
  return [reference.slice(0, Math.max(colon, 0)), reference.slice(colon + 1)];
}

function fromEnvironment(sources: SecretSources, name: string): string {
  const value = Object.hasOwn(sources.environment, name) ? sources.environment[name] : undefined;
  if (value === undefined) throw new SecretUnavailable(`env:${name} is not set for this agent: set it and restart the agent`);
  return value;
}

async function fromFile(sources: SecretSources, path: string): Promise<string> {
  if (!isAbsolute(path)) throw new SecretUnavailable(`file:${path} is not an absolute path`);
  try {
    // T18: judged by the real path, so that a link inside an allowed folder cannot lead out of it.
    const real = await realpath(path);
    if (!(await isAllowed(sources.secretFolders, real))) {
      throw new SecretUnavailable(`file:${path} lies outside the secret folders of this agent: add its folder to the agent's configuration`);
    }
    return await readSecret(real);
  } catch (cause) {
    if (cause instanceof SecretUnavailable) throw cause;
    throw new SecretUnavailable(`file:${path} cannot be read by this agent: check that it exists and may be read`, { cause });
  }
}

async function isAllowed(folders: readonly string[], real: string): Promise<boolean> {
  for (const folder of folders) {
    const root = await realpath(folder).catch(() => null);
    if (root !== null && real.startsWith(root.endsWith(sep) ? root : root + sep)) return true;
  }
  return false;
}

async function readSecret(real: string): Promise<string> {
  const file = await open(real, constants.O_RDONLY | constants.O_NOFOLLOW);
  try {
    const stat = await file.stat();
    if (!stat.isFile() || stat.size > limits.secretBytes) throw new SecretUnavailable(`file:${real} is no regular file of at most ${limits.secretBytes} bytes`);
    return (await file.readFile('utf8')).replace(/\r?\n$/, ''); // editors end files with a line feed that is no part of the value
  } finally {
    await file.close();
  }
}
