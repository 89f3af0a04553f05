import { parse } from 'yaml';
import { ComposeError } from './compose-error.ts';

/** An image as the lock file names it. */
export type PinnedImage = {
  readonly service: string;
  readonly repository: string;
  readonly digest: string;
  /** The service says itself that it does its work once: `restart: "no"` or `on-failure`. Where nothing is said it must keep running. */
  readonly ends: boolean;
};

const PINNED = /^([^@\s]+)@(sha256:[0-9a-f]{64})$/;
/** Names that would steer Compose, Docker or the loader instead of the application. */
const RESERVED = /^(PATH|HOME|LC_ALL|(LD|DYLD|DOCKER|COMPOSE|PYTHON|GO|SSL|HTTPS?|NO)_.*|PYTHON.*|GO[A-Z]*)$/i;

/**
 * Services and images of a lock file.
 * @throws ComposeError LockFileInvalid; ImageNotPinned when an image has no digest or is to be built here.
 */
export function readLockFile(bytes: Uint8Array): readonly PinnedImage[] {
  const services = servicesOf(bytes);
  return Object.entries(services).map(([service, definition]) => {
    const { image, build, restart } = (definition ?? {}) as { image?: unknown; build?: unknown; restart?: unknown };
    const match = typeof image === 'string' ? PINNED.exec(image) : null;
    if (match?.[1] === undefined || match[2] === undefined || build !== undefined) {
      throw new ComposeError('ImageNotPinned', `service ${service} has no image by digest, or a build: only digests that people approved are started`);
    }
    return { service, repository: withoutTag(match[1]), digest: match[2], ends: restart === 'no' || restart === false || /^on-failure(:\d+)?$/.test(String(restart)) };
  });
}

function servicesOf(bytes: Uint8Array): object {
  let lock: unknown;
  try {
    lock = parse(new TextDecoder('utf-8', { fatal: true }).decode(bytes), { maxAliasCount: 0 });
  } catch (cause) {
    throw new ComposeError('LockFileInvalid', 'the lock file is not YAML', { cause });
  }
  const services = (lock as { services?: unknown } | null)?.services;
  if (typeof services !== 'object' || services === null || Object.keys(services).length === 0) {
    throw new ComposeError('LockFileInvalid', 'the lock file has no services');
  }
  return services;
}

function withoutTag(name: string): string {
  return name.replace(/:[\w][\w.-]{0,127}$/, '');
}

/** One form for the names that Docker shortens: `docker.io/library/nginx` and `nginx` are one repository. */
export function familiarName(repository: string): string {
  return repository.replace(/^(index\.)?docker\.io\//, '').replace(/^library\//, '');
}

/** @throws ComposeError SecretNameReserved */
export function requireSecretNames(names: readonly string[]): void {
  const bad = names.find((name) => RESERVED.test(name) || !/^[A-Za-z_][A-Za-z0-9_]*$/.test(name));
  if (bad === undefined) return;
  throw new ComposeError('SecretNameReserved', `a secret may not be called ${JSON.stringify(bad)}: the Compose command itself would obey it. Rename it in the Configuration`);
}
