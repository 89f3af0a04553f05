import { spawn, type ChildProcessWithoutNullStreams } from 'node:child_process';
import { GitError } from '../../ports/git-reader.ts';
import type { GitCommand } from './git-command.ts';

/** Bytes that arrived and are not consumed yet. */
export class ByteQueue {
  #chunks: Buffer[] = [];
  #length = 0;

  push(chunk: Buffer): void {
    this.#chunks.push(chunk);
    this.#length += chunk.length;
  }

  /** Bytes up to `end` as one character per byte (latin1); `end` is consumed too. Undefined while it has not arrived. */
  takeText(end: number): string | undefined {
    const joined = this.#joined();
    const at = joined.indexOf(end);
    if (at < 0) return undefined;
    const text = joined.toString('latin1', 0, at);
    this.#advance(at + 1);
    return text;
  }

  /** Exactly `count` bytes, copied, so that a small blob does not keep a large chunk alive; undefined while they have not arrived. */
  take(count: number): Uint8Array | undefined {
    if (this.#length < count) return undefined;
    const bytes = new Uint8Array(this.#joined().subarray(0, count));
    this.#advance(count);
    return bytes;
  }

  /** The next byte without consuming it; undefined while there is none. */
  peek(): number | undefined {
    return this.#chunks.length === 0 ? undefined : this.#joined()[0];
  }

  #joined(): Buffer {
    if (this.#chunks.length !== 1) this.#chunks = this.#length === 0 ? [] : [Buffer.concat(this.#chunks)];
    return this.#chunks[0] ?? Buffer.alloc(0);
  }

  #advance(count: number): void {
    const rest = this.#joined().subarray(count);
    this.#chunks = rest.length === 0 ? [] : [rest];
    this.#length = rest.length;
  }
}

/** Reads one answer from what arrived; undefined while it is not complete. Called again with more, so it keeps what it consumed. */
export type AnswerReader<T> = (bytes: ByteQueue) => T | undefined;

type Pending = {
  readonly read: AnswerReader<unknown>;
  readonly resolve: (answer: never) => void;
  readonly reject: (error: GitError) => void;
};

const STDERR_CHARS = 4_000;

/**
 * A git process that stays and answers requests in their order. Requests are written at once and not one by one, so a
 * batch costs one round trip. When the process dies, what waits fails with `ProcessFailed` and the next request starts a new one.
 */
export class PipedProcess {
  readonly #command: GitCommand;
  readonly #pending: Pending[] = [];
  #child: ChildProcessWithoutNullStreams | null = null;
  #silence: NodeJS.Timeout | null = null;
  #closed = false;

  constructor(command: GitCommand) {
    this.#command = command;
  }

  /** Writes `request` and resolves with what `read` makes of the answer. */
  ask<T>(request: string, read: AnswerReader<T>): Promise<T> {
    if (this.#closed) return Promise.reject(new GitError('Closed', 'The repository was closed already.'));
    const child = (this.#child ??= this.#start());
    return new Promise<T>((resolve, reject) => {
      this.#pending.push({ read, resolve, reject });
      this.#silence?.refresh();
      this.#silence ??= setTimeout(() => this.#giveUp(), this.#command.timeoutMs);
      child.stdin.write(request);
    });
  }

  /** Ends the process; what still waits is answered first. */
  async close(): Promise<void> {
    this.#closed = true;
    const child = this.#child;
    if (child === null) return;
    const ended = new Promise<void>((resolve) => child.once('close', () => resolve()));
    child.stdin.end();
    await ended;
  }

  #start(): ChildProcessWithoutNullStreams {
    const { args, folder, environment } = this.#command;
    // Its own process group: Ctrl-C reaches the server, which then decides when to close this. It ends with its input.
    const child = spawn('git', args, { cwd: folder, env: environment, detached: true });
    const bytes = new ByteQueue();
    let stderr = '';
    child.stdout.on('data', (chunk: Buffer) => {
      if (this.#child === child) this.#receive(bytes, chunk);
    });
    child.stderr.on('data', (chunk: Buffer) => (stderr = (stderr + chunk.toString()).slice(-STDERR_CHARS)));
    // A write to a process that is gone: 'close' reports it with more to say.
    child.stdin.on('error', () => undefined);
    const lost = (cause?: unknown): void => {
      if (this.#child !== child) return;
      const says = stderr.trim() === '' ? 'ended unexpectedly' : `says: ${stderr.trim()}`;
      this.#drop(new GitError('ProcessFailed', `git ${args[0] ?? ''} ${says}`, cause));
    };
    child.on('error', lost);
    child.on('close', () => lost());
    return child;
  }

  #receive(bytes: ByteQueue, chunk: Buffer): void {
    this.#silence?.refresh();
    bytes.push(chunk);
    for (let first = this.#pending[0]; first !== undefined; first = this.#pending[0]) {
      let answer: unknown;
      try {
        answer = first.read(bytes);
      } catch (error) {
        // The stream cannot be understood any more; nothing behind this answer can be trusted to belong to its request.
        return this.#drop(error instanceof GitError ? error : new GitError('ProcessFailed', `git ${this.#command.args[0] ?? ''} answered what nobody asked.`, error));
      }
      if (answer === undefined) return;
      this.#pending.shift();
      first.resolve(answer as never);
    }
    if (this.#silence !== null) clearTimeout(this.#silence);
    this.#silence = null;
  }

  #giveUp(): void {
    const { args, timeoutMs } = this.#command;
    this.#drop(new GitError('Timeout', `git ${args[0] ?? ''} gave no answer for ${timeoutMs} ms and was ended. Check the disk that holds the repository.`));
  }

  #drop(error: GitError): void {
    const child = this.#child;
    this.#child = null;
    if (this.#silence !== null) clearTimeout(this.#silence);
    this.#silence = null;
    child?.kill('SIGKILL');
    for (const waiting of this.#pending.splice(0)) waiting.reject(error);
  }
}
