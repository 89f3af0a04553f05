import { spawn } from 'node:child_process';
import { kill } from 'node:process';
import type { Readable } from 'node:stream';
import { limits } from '../../core/model/limits.ts';
import { DirectoryError } from './directory-error.ts';

/** A program with its arguments; no shell reads them. */
export type CommandSpec = { readonly argv: readonly string[]; readonly timeoutSeconds: number };

export type CommandSurroundings = {
  /** Working folder. */
  readonly cwd: string;
  /** All that the program sees besides PATH. */
  readonly env: Readonly<Record<string, string>>;
  /** Gets each line of output, already redacted. */
  readonly output: (line: string) => void;
  readonly redact: (text: string) => string;
  readonly signal?: AbortSignal;
};

const searchPath = '/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin';
const shownLineChars = 1_000;
/** Of the output, in the message of a failure: that goes into a receipt. */
const shownTailChars = 300;
/** After the program has ended, what it started may keep its output open; that is not waited for any longer. */
const afterExitMs = 250;

/**
 * Runs a program to its end, in a process group of its own, which is killed on a timeout or a stop.
 * A program that leaves something running in the background must send that one's output elsewhere.
 * @throws DirectoryError `CommandFailed` (ended with another code than 0), `CommandTimedOut`, `CommandNotRun`, `Aborted`
 */
export async function runCommand(command: CommandSpec, surroundings: CommandSurroundings): Promise<void> {
  const [program, ...args] = command.argv;
  if (program === undefined || program === '') throw new DirectoryError('InvalidOrder', 'the command has no program');
  if (surroundings.signal?.aborted === true) throw new DirectoryError('Aborted', 'stopped before the command ran');
  let tail = '';
  const output = (line: string): void => {
    tail = `${tail} ${line}`.slice(-shownTailChars);
    surroundings.output(line);
  };
  const ended = await new Promise<Ended>((resolve) => watch(program, args, command, { ...surroundings, output }, resolve));
  const shown = JSON.stringify(surroundings.redact(program).slice(0, 200));
  if (ended.why === 'unstartable') {
    throw new DirectoryError('CommandNotRun', `${shown} could not be started (${ended.errorCode}); is it there, and may it be executed?`, { cause: ended.cause });
  }
  if (ended.why === 'aborted') throw new DirectoryError('Aborted', `${shown} was stopped`);
  if (ended.why === 'timeout') throw new DirectoryError('CommandTimedOut', `${shown} did not end within ${command.timeoutSeconds} s`);
  if (ended.exitCode !== 0) throw new DirectoryError('CommandFailed', `${shown} ended with ${ended.exitCode ?? ended.signalName ?? 'no code'}${tail === '' ? ' and said nothing' : `, and said last:${tail}`}`);
}

type Ended =
  | { readonly why: 'exit'; readonly exitCode: number | null; readonly signalName: string | null }
  | { readonly why: 'unstartable'; readonly errorCode: string; readonly cause: unknown }
  | { readonly why: 'timeout' }
  | { readonly why: 'aborted' };

function watch(program: string, args: readonly string[], command: CommandSpec, surroundings: CommandSurroundings, done: (ended: Ended) => void): void {
  const env = { PATH: searchPath, ...surroundings.env };
  const child = spawn(program, args, { cwd: surroundings.cwd, env, detached: true, stdio: ['ignore', 'pipe', 'pipe'] });
  const stop = (ended: Ended): void => {
    killGroup(child.pid);
    finish(ended);
  };
  const timer = setTimeout(() => stop({ why: 'timeout' }), command.timeoutSeconds * 1000);
  const onAbort = (): void => stop({ why: 'aborted' });
  const finish = (ended: Ended): void => {
    clearTimeout(timer);
    surroundings.signal?.removeEventListener('abort', onAbort);
    child.stdout.destroy();
    child.stderr.destroy();
    done(ended);
  };
  surroundings.signal?.addEventListener('abort', onAbort, { once: true });
  forwardLines(child.stdout, surroundings);
  forwardLines(child.stderr, surroundings);
  child.once('error', (cause: NodeJS.ErrnoException) => finish({ why: 'unstartable', errorCode: cause.code ?? cause.name, cause }));
  child.once('exit', (exitCode, signalName) => {
    clearTimeout(timer);
    const last = setTimeout(() => finish({ why: 'exit', exitCode, signalName }), afterExitMs);
    child.once('close', () => {
      clearTimeout(last);
      finish({ why: 'exit', exitCode, signalName });
    });
  });
}

function killGroup(pid: number | undefined): void {
  if (pid === undefined) return;
  try {
    kill(-pid, 'SIGKILL');
  } catch {
    // It ended in this moment, which is what was wanted.
  }
}

function forwardLines(stream: Readable, { output, redact }: CommandSurroundings): void {
  let pending = '';
  let tooLong = false;
  const emit = (line: string): void => {
    // Redacted before it is cut: half a secret is a secret too.
    if (tooLong) output('(a line that is too long is left out)');
    else if (line !== '') output(redact(line).slice(0, shownLineChars));
    tooLong = false;
  };
  stream.setEncoding('utf8').on('data', (text: string) => {
    const lines = (pending + text).split(/\r?\n/);
    pending = lines.pop() ?? '';
    lines.forEach(emit);
    if (pending.length > limits.commandLineBytes) {
      pending = '';
      tooLong = true;
    }
  });
  stream.once('end', () => emit(pending));
}
