import { fork, type ChildProcess } from 'node:child_process';
import { GitError, type GitErrorCode } from '../../ports/git-reader.ts';
import type { GitCommand, GitCommandResult, GitCommands } from './git-command.ts';

export type LaunchRequest = { readonly id: number; readonly command: GitCommand };
export type LaunchReply =
  | { readonly id: number; readonly ok: true; readonly result: GitCommandResult }
  | { readonly id: number; readonly ok: false; readonly code: GitErrorCode; readonly message: string };

type Waiting = { readonly resolve: (result: GitCommandResult) => void; readonly reject: (error: GitError) => void };

/**
 * Starts git through a small process that is forked now, while this one is small: a spawn from a process with 1 GB resident blocks it
 * for 48 ms, one from the small process takes 2 to 4 ms and blocks nobody. The small process and its commands end with this one.
 */
export function forkGitLauncher(): GitCommands {
  return new GitLauncher();
}

class GitLauncher implements GitCommands {
  readonly #waiting = new Map<number, Waiting>();
  #child: ChildProcess | null;
  #lastId = 0;
  #closed = false;

  constructor() {
    this.#child = this.#start();
  }

  run(command: GitCommand): Promise<GitCommandResult> {
    if (this.#closed) return Promise.reject(new GitError('Closed', 'The git process was closed already.'));
    const child = (this.#child ??= this.#start());
    const id = ++this.#lastId;
    return new Promise((resolve, reject) => {
      this.#waiting.set(id, { resolve, reject });
      child.send({ id, command } satisfies LaunchRequest, (error) => {
        if (error !== null && this.#waiting.delete(id)) reject(new GitError('ProcessFailed', 'The git process does not answer; it is started again with the next command.', error));
      });
    });
  }

  async close(): Promise<void> {
    this.#closed = true;
    const child = this.#child;
    if (child === null) return;
    const ended = new Promise<void>((resolve) => child.once('exit', () => resolve()));
    if (child.connected) child.disconnect();
    await ended;
  }

  #start(): ChildProcess {
    // Its own process group: Ctrl-C reaches the server, which then decides what may still finish.
    const child = fork(new URL('./git-launcher-process.ts', import.meta.url), { execArgv: [], env: {}, detached: true, stdio: ['ignore', 'ignore', 'ignore', 'ipc'] });
    child.on('message', (reply: LaunchReply) => this.#settle(reply));
    const lost = (cause?: unknown): void => {
      if (this.#child === child) this.#child = null;
      this.#rejectAll(new GitError('ProcessFailed', 'The git process ended unexpectedly; it is started again with the next command.', cause));
    };
    child.on('error', lost);
    child.on('exit', () => lost());
    return child;
  }

  #settle(reply: LaunchReply): void {
    const waiting = this.#waiting.get(reply.id);
    this.#waiting.delete(reply.id);
    if (reply.ok) waiting?.resolve(reply.result);
    else waiting?.reject(new GitError(reply.code, reply.message));
  }

  #rejectAll(error: GitError): void {
    for (const waiting of this.#waiting.values()) waiting.reject(error);
    this.#waiting.clear();
  }
}
