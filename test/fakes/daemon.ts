import { spawn, type ChildProcess } from 'node:child_process';
import { createWriteStream } from 'node:fs';
import { readFile } from 'node:fs/promises';
import { createServer } from 'node:net';
import { setTimeout as sleep } from 'node:timers/promises';

/** A program that runs beside the tests until somebody stops it. */
export type Daemon = {
  readonly pid: number;
  readonly logPath: string;
  /** Ends it and waits until it is gone. Calling it again does nothing. */
  stop(signal?: NodeJS.Signals): Promise<void>;
  readonly exited: boolean;
};

export type DaemonOptions = {
  readonly command: string;
  readonly args: readonly string[];
  /** Where its stdout and stderr go, appended. */
  readonly logPath: string;
  /** Asked every 20 ms until it says yes. It may throw: that counts as no. */
  readonly isReady: () => Promise<boolean>;
  readonly readyWithinMs?: number;
  readonly stopSignal?: NodeJS.Signals;
  readonly uid?: number;
  readonly gid?: number;
  readonly cwd?: string;
  readonly env?: NodeJS.ProcessEnv;
};

/** A loopback port that was free a moment ago. Whoever uses it must be ready to try another. */
export async function freePort(): Promise<number> {
  const server = createServer();
  await new Promise<void>((resolve, reject) => server.once('error', reject).listen(0, '127.0.0.1', resolve));
  const address = server.address();
  await new Promise((resolve) => server.close(resolve));
  if (address === null || typeof address === 'string') throw new Error('no port was given');
  return address.port;
}

/**
 * Starts a program and waits until it is ready.
 * @throws Error with the end of its log when it exits early or is not ready in time.
 */
export async function startDaemon(options: DaemonOptions): Promise<Daemon> {
  const child = spawn(options.command, options.args, {
    stdio: ['ignore', 'pipe', 'pipe'],
    cwd: options.cwd ?? '/',
    env: options.env ?? process.env,
    ...(options.uid === undefined ? {} : { uid: options.uid }),
    ...(options.gid === undefined ? {} : { gid: options.gid }),
  });
  const log = createWriteStream(options.logPath, { flags: 'a' });
  child.stdout.pipe(log, { end: false });
  child.stderr.pipe(log, { end: false });
  const ended = endOf(child);
  const guard = guardAgainstOurDeath(child, options.stopSignal ?? 'SIGTERM');
  void ended.then(() => {
    guard?.kill('SIGKILL');
    log.end();
  });
  const stop = async (signal: NodeJS.Signals = options.stopSignal ?? 'SIGTERM'): Promise<void> => {
    if (child.exitCode === null && child.signalCode === null) child.kill(signal);
    const patience = setTimeout(() => child.kill('SIGKILL'), 10_000);
    await ended;
    clearTimeout(patience);
  };
  await untilReady(options, child, stop);
  return {
    pid: child.pid ?? -1,
    logPath: options.logPath,
    stop,
    get exited() {
      return child.exitCode !== null || child.signalCode !== null;
    },
  };
}

/** Settles when the child is gone; a child that could not be started at all is gone too. */
function endOf(child: ChildProcess): Promise<void> {
  return new Promise((resolve) => {
    child.once('exit', () => resolve());
    child.once('error', () => resolve());
  });
}

/** A shell that waits on our end of a pipe: if we are killed without a chance to clean up, it ends the child. */
function guardAgainstOurDeath(child: ChildProcess, signal: NodeJS.Signals): ChildProcess | undefined {
  if (child.pid === undefined) return undefined;
  const script = 'read -r _; kill -s "$2" "$1" 2>/dev/null';
  const args = ['-c', script, 'guard', String(child.pid), signal.slice('SIG'.length)];
  const guard = spawn('/bin/sh', args, { stdio: ['pipe', 'ignore', 'ignore'], detached: true });
  guard.on('error', () => undefined);
  guard.stdin?.on('error', () => undefined);
  guard.unref();
  return guard;
}

async function untilReady(options: DaemonOptions, child: ChildProcess, stop: () => Promise<void>): Promise<void> {
  const withinMs = options.readyWithinMs ?? 30_000;
  const giveUpAt = performance.now() + withinMs;
  for (;;) {
    if (child.pid === undefined) throw new Error(`${options.command} could not be started`);
    if (child.exitCode !== null || child.signalCode !== null) {
      throw new Error(`${options.command} ended before it was ready:\n${await tail(options.logPath)}`);
    }
    if (await options.isReady().catch(() => false)) return;
    if (performance.now() > giveUpAt) {
      await stop();
      throw new Error(`${options.command} was not ready after ${withinMs} ms:\n${await tail(options.logPath)}`);
    }
    await sleep(20);
  }
}

async function tail(path: string): Promise<string> {
  const text = await readFile(path, 'utf8').catch(() => '(no log)');
  return text.slice(-2000);
}
