import { join } from 'node:path';
import { PassThrough } from 'node:stream';
import { writeImage } from '../../src/adapters/oci/write-layout.ts';
import { main } from '../../src/bin/main.ts';
import type { Digest } from '../../src/core/model/digest.ts';
import { runProgram, type SshKey } from '../fakes/git-repository.ts';
import type { World } from '../fakes/world.ts';

export type CliResult = { readonly code: number; readonly stdout: string; readonly stderr: string };
export type CliOptions = { readonly environment?: Readonly<Record<string, string>>; /** Answers to questions: there is a person. */ readonly answers?: string };

/** Runs the command line in this process, with a home folder without configuration. */
export async function stella(args: readonly string[], options: CliOptions = {}): Promise<CliResult> {
  const isAsked = options.answers !== undefined;
  const stdin = Object.assign(new PassThrough(), { isTTY: isAsked });
  const [stdout, stderr] = [new PassThrough(), Object.assign(new PassThrough(), { isTTY: isAsked })];
  stdin.end(options.answers ?? '');
  const environment = { PATH: process.env['PATH'] ?? '', HOME: '/nonexistent', GIT_CONFIG_GLOBAL: '/dev/null', GIT_CONFIG_NOSYSTEM: '1', NO_COLOR: '1', ...options.environment };
  const code = await main(args, environment, { stdin, stdout, stderr });
  const text = (stream: PassThrough): string => ((stream.read() as Buffer | null) ?? '').toString();
  return { code, stdout: text(stdout), stderr: text(stderr) };
}

/** What a command prints with `-o json`. */
export function json<T>(result: CliResult): T {
  if (result.stdout === '') throw new Error(`nothing was printed; stderr: ${result.stderr}`);
  return JSON.parse(result.stdout) as T;
}

export type Clone = {
  readonly folder: string;
  git(...args: readonly string[]): Promise<string>;
  stella(args: readonly string[], options?: CliOptions): Promise<CliResult>;
  /** Brings the clone to what is on origin. */
  pull(): Promise<void>;
};

/** Somebody's clone of a world's repository: pinned, with their key. */
export async function cloneFor(world: World, key: SshKey): Promise<Clone> {
  const folder = join(world.folder, `clone-${key.name}`);
  await runProgram('git', ['clone', '-q', world.repository.folder, folder]);
  const git = async (...args: readonly string[]): Promise<string> => (await runProgram('git', ['-C', folder, ...args])).toString().trim();
  const config = { 'stella.genesis': world.pin, 'stella.layout.images': imagesOf(world), 'gpg.format': 'ssh', 'user.signingKey': key.privateKeyPath, 'user.name': key.name, 'user.email': `${key.name}@example.test` };
  for (const [name, value] of Object.entries(config)) await git('config', name, value);
  return {
    folder, git, stella: (args, options) => stella([...args, '-C', folder], options),
    pull: async () => {
      await git('fetch', '-q', '--prune', 'origin');
      await git('reset', '-q', '--hard', 'origin/main');
    },
  };
}

function imagesOf(world: World): string {
  return join(world.folder, 'images');
}

/** An image in the layout folder that clones know, under the same digest in the server's registry. */
export async function putImage(world: World, repository: string, tag: string, content: string): Promise<Digest> {
  const { manifestDigest } = await writeImage({ layoutFolder: join(imagesOf(world), repository), tag, files: [{ path: 'app.txt', content, mode: 0o644 }] });
  world.registry.tags.set(`${repository}:${tag}`, manifestDigest);
  return manifestDigest;
}
