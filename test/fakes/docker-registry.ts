import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { programPath } from './components.ts';
import { freePort, startDaemon, type Daemon } from './daemon.ts';

/** A real registry (distribution) on loopback over plain http. */
export type ScratchRegistry = {
  /** `127.0.0.1:PORT`, as it stands in an image reference. */
  readonly host: string;
  /** `http://127.0.0.1:PORT`. */
  readonly url: string;
  /** Where it keeps its blobs, to tamper with. */
  readonly storageFolder: string;
  /** Set when it was started with basic authentication. */
  readonly credentials: { readonly username: string; readonly password: string } | undefined;
  stop(): Promise<void>;
};

// The registry takes bcrypt only and Node has none, so the pair is fixed. It guards nothing but test images.
const CREDENTIALS = { username: 'reader', password: 'read-only-please' };
const HTPASSWD_LINE = 'reader:$2b$04$abcdefghijklmnopqrstuufeRPEOA9GJ2lifZZ3YVdMhZu8oznT7i\n';

/** Starts an empty registry on a free port. With `htpasswd` it asks for the user in `credentials`. */
export async function startDockerRegistry(options: { readonly htpasswd?: boolean } = {}): Promise<ScratchRegistry> {
  const command = programPath('docker-registry');
  if (command === undefined) throw new Error('docker-registry is missing; call requireComponent first');
  const root = await mkdtemp(join(tmpdir(), 'stella-test-registry-'));
  const credentials = options.htpasswd === true ? CREDENTIALS : undefined;
  const launch = async (): Promise<{ daemon: Daemon; port: number }> => {
    const port = await freePort();
    await writeFile(join(root, 'config.yml'), configOf(root, port, credentials !== undefined));
    const daemon = await startDaemon({
      command,
      args: ['serve', join(root, 'config.yml')],
      logPath: join(root, 'log'),
      isReady: async () => (await fetch(`http://127.0.0.1:${port}/v2/`)).status < 500,
    });
    return { daemon, port };
  };
  if (credentials !== undefined) await writeFile(join(root, 'htpasswd'), HTPASSWD_LINE);
  // Somebody else may have taken the port in between: once more with another.
  const { daemon, port } = await launch().catch(launch);
  return {
    host: `127.0.0.1:${port}`,
    url: `http://127.0.0.1:${port}`,
    storageFolder: join(root, 'storage'),
    credentials,
    stop: async () => {
      await daemon.stop();
      await rm(root, { recursive: true, force: true });
    },
  };
}

function configOf(root: string, port: number, basic: boolean): string {
  const config = {
    version: 0.1,
    log: { level: 'warn' },
    storage: { filesystem: { rootdirectory: join(root, 'storage') }, delete: { enabled: true } },
    http: { addr: `127.0.0.1:${port}` },
    ...(basic ? { auth: { htpasswd: { realm: 'stella-test', path: join(root, 'htpasswd') } } } : {}),
  };
  return JSON.stringify(config); // JSON is YAML
}
