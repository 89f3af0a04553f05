import { spawn } from 'node:child_process';
import { limits } from '../../core/model/limits.ts';
import { CliError } from '../command.ts';
import type { UserGit } from '../clone.ts';

type Environment = Readonly<Record<string, string | undefined>>;
type Result = { readonly exitCode: number; readonly stdout: string; readonly stderr: string };

/**
 * The person's own git, with their configuration, credential helpers, hooks and signing program. For what they would type
 * themselves; whatever is judged is read by the hardened reader instead (T6).
 */
export function openUserGit(folder: string, environment: Environment): UserGit {
  const call = (args: readonly string[], options: { readonly input?: string; readonly environment?: Readonly<Record<string, string>> } = {}): Promise<Result> =>
    runGit(folder, args, { ...environment, ...options.environment }, options.input ?? '');
  return {
    run: async (args, options) => {
      const { exitCode, stdout, stderr } = await call(args, options);
      if (exitCode === 0) return stdout.trim();
      const name = args.find((arg, i) => !arg.startsWith('-') && args[i - 1] !== '-c') ?? '';
      throw new CliError('GitFailed', `git ${name} says: ${(stderr.trim() || stdout.trim()).slice(0, limits.remoteMessageChars)}`);
    },
    tryRun: async (args) => {
      const { exitCode, stdout } = await call(args);
      return exitCode === 0 ? stdout.trim() : null;
    },
  };
}

function runGit(folder: string, args: readonly string[], environment: Environment, input: string): Promise<Result> {
  return new Promise((resolve, reject) => {
    const child = spawn('git', args, { cwd: folder, env: { ...environment, LC_ALL: 'C' }, stdio: ['pipe', 'pipe', 'pipe'] });
    const stdout: Buffer[] = [];
    const stderr: Buffer[] = [];
    child.stdout.on('data', (chunk: Buffer) => stdout.push(chunk));
    child.stderr.on('data', (chunk: Buffer) => stderr.push(chunk));
    child.stdin.on('error', () => undefined); // git may end before it has read everything
    child.on('error', (cause) => reject(new CliError('GitMissing', 'git could not be started.', 'Install git 2.39 or newer and put it on the PATH.', { cause })));
    child.on('close', (exitCode) => resolve({ exitCode: exitCode ?? 255, stdout: Buffer.concat(stdout).toString(), stderr: Buffer.concat(stderr).toString() }));
    child.stdin.end(input);
  });
}
