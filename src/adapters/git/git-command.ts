import { spawn } from 'node:child_process';
import { limits } from '../../core/model/limits.ts';
import { GitError } from '../../ports/git-reader.ts';

/** One git command that runs to its end. `environment` is complete (see `hardened-git.ts`). */
export type GitCommand = {
  readonly folder: string;
  readonly args: readonly string[];
  readonly environment: Readonly<Record<string, string>>;
  /** Longest silence before the command is ended. */
  readonly timeoutMs: number;
};

export type GitCommandResult = { readonly exitCode: number; readonly stdout: string; readonly stderr: string };

/** Starts git commands: from a small process of its own in a server, directly in a short-lived CLI. */
export interface GitCommands {
  /** @throws GitError `Timeout`, `ProcessFailed`, `LimitExceeded`, `Closed`. A non-zero exit code is a result. */
  run(command: GitCommand): Promise<GitCommandResult>;
  close(): Promise<void>;
}

/** Starts git from this process: right for the CLI, dear in a process with much memory (see `git-launcher.ts`). */
export function directGitCommands(): GitCommands {
  return { run: runDirectly, close: () => Promise.resolve() };
}

function runDirectly(command: GitCommand): Promise<GitCommandResult> {
  return new Promise((resolve, reject) => {
    const child = spawn('git', command.args, { cwd: command.folder, env: command.environment, stdio: ['ignore', 'pipe', 'pipe'] });
    const stdout: Buffer[] = [];
    const stderr: Buffer[] = [];
    let bytes = 0;
    const fail = (error: GitError): void => {
      child.kill('SIGKILL');
      reject(error);
    };
    const timer = setTimeout(() => fail(silentTooLong(command)), command.timeoutMs);
    const collect = (into: Buffer[]) => (chunk: Buffer) => {
      timer.refresh();
      into.push(chunk);
      bytes += chunk.length;
      if (bytes > limits.gitOutputBytes) fail(new GitError('LimitExceeded', `git ${command.args[0] ?? ''} answered more than ${limits.gitOutputBytes} bytes.`));
    };
    child.stdout.on('data', collect(stdout));
    child.stderr.on('data', collect(stderr));
    child.on('error', (cause) => fail(cannotStart(cause)));
    child.on('close', (exitCode) => {
      clearTimeout(timer);
      resolve({ exitCode: exitCode ?? 255, stdout: Buffer.concat(stdout).toString(), stderr: Buffer.concat(stderr).toString() });
    });
  });
}

/** The failure of a command that said nothing for its `timeoutMs`. */
export function silentTooLong(command: Pick<GitCommand, 'args' | 'timeoutMs'>): GitError {
  return new GitError('Timeout', `git ${command.args[0] ?? ''} made no progress for ${command.timeoutMs} ms and was ended. Check the network or the disk.`);
}

/** The failure to start git at all. */
export function cannotStart(cause: unknown): GitError {
  return new GitError('ProcessFailed', 'git could not be started. Install git 2.39 or newer and put it on the PATH.', cause);
}
