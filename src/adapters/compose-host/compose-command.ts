import { spawn, type ChildProcess } from 'node:child_process';
import { kill } from 'node:process';
import { limits } from '../../core/model/limits.ts';
import { ComposeError } from './compose-error.ts';

/** What the agent's process lends to the Compose command: never the agent's whole environment. */
export type ComposeSurroundings = {
  readonly path: string;
  /** Where the user's `docker compose` plugin may lie; absent: none is looked for there. */
  readonly home?: string;
};

/** The command in front of all arguments: `docker compose` (v2) or `docker-compose` (v1). */
export type ComposeProgram = { readonly argv: readonly [string, ...string[]]; readonly major: 1 | 2 };

export type ComposeProject = {
  readonly name: string;
  /** Holds the lock file and all files that it refers to. */
  readonly folder: string;
  readonly lockFile: string;
  /** An empty file: a `.env` that was shipped must not decide anything. */
  readonly envFile: string;
};

export type ComposeCall = {
  readonly surroundings: ComposeSurroundings;
  readonly socket: string;
  /** Values for the placeholders in the lock file. In the environment of the call, never among its arguments. */
  readonly secrets: Readonly<Record<string, string>>;
  readonly output: (line: string) => void;
};

const OUTPUT_CHARS = 16 * 1024;

/**
 * Finds Compose, v2 first.
 * @throws ComposeError ComposeMissing
 */
export async function findCompose(surroundings: ComposeSurroundings): Promise<ComposeProgram> {
  const env = environmentOf({ surroundings, socket: '/nonexistent', secrets: {} });
  const quiet = (): void => undefined;
  if ((await run(['docker', 'compose', 'version'], env, quiet)).exitCode === 0) return { argv: ['docker', 'compose'], major: 2 };
  if ((await run(['docker-compose', 'version'], env, quiet)).exitCode === 0) return { argv: ['docker-compose'], major: 1 };
  throw new ComposeError('ComposeMissing', 'neither `docker compose` nor docker-compose works on this machine: install the Compose plugin of Docker');
}

/** Reads the lock file without touching the engine. @throws ComposeError ComposeInvalid */
export async function checkLockFile(program: ComposeProgram, project: ComposeProject, call: ComposeCall): Promise<void> {
  const ended = await compose(program, project, call, ['config', '-q']);
  if (ended.exitCode !== 0) throw new ComposeError('ComposeInvalid', `Compose does not accept the lock file: ${ended.tail}`);
}

/** Starts what the lock file says and removes what it does not. Images must be there: none is pulled or built. @throws ComposeError UpFailed */
export async function composeUp(program: ComposeProgram, project: ComposeProject, call: ComposeCall): Promise<void> {
  const pull = program.major === 2 ? ['--pull', 'never'] : []; // v1 pulls only what is missing, and nothing is
  const ended = await compose(program, project, call, ['up', '-d', '--no-build', '--remove-orphans', ...pull]);
  if (ended.exitCode !== 0) throw new ComposeError('UpFailed', `Compose could not start the application: ${ended.tail}`);
}

/** Stops and removes the containers and networks; named volumes hold what people want to keep and stay. @throws ComposeError DownFailed */
export async function composeDown(program: ComposeProgram, project: ComposeProject, call: ComposeCall): Promise<void> {
  const ended = await compose(program, project, call, ['down', '--remove-orphans']);
  if (ended.exitCode !== 0) throw new ComposeError('DownFailed', `Compose could not remove the application: ${ended.tail}`);
}

type Ended = { readonly exitCode: number | null; readonly tail: string };

function compose(program: ComposeProgram, project: ComposeProject, call: ComposeCall, args: readonly string[]): Promise<Ended> {
  const where = ['-p', project.name, '-f', project.lockFile, '--project-directory', project.folder, '--env-file', project.envFile];
  return run([...program.argv, ...where, ...args], environmentOf(call), call.output);
}

function environmentOf(call: Pick<ComposeCall, 'surroundings' | 'socket' | 'secrets'>): Record<string, string> {
  const { path, home } = call.surroundings;
  return { ...call.secrets, PATH: path, ...(home === undefined ? {} : { HOME: home }), DOCKER_HOST: `unix://${call.socket}`, LC_ALL: 'C.UTF-8' };
}

/** A program in a process group of its own, which is killed when it takes too long. A program that is not there has no exit code. */
function run(argv: readonly [string, ...string[]], env: Record<string, string>, output: (line: string) => void): Promise<Ended> {
  const [program, ...args] = argv;
  return new Promise((resolve) => {
    const child = spawn(program, args, { env, detached: true, stdio: ['ignore', 'pipe', 'pipe'], cwd: '/' });
    let tail = '';
    const patience = setTimeout(() => killGroup(child), limits.composeTimeoutMs);
    const line = (text: string): void => {
      output(text);
      tail = `${tail}\n${text}`.slice(-1_000).trim();
    };
    for (const stream of [child.stdout, child.stderr]) eachLine(stream, line);
    child.once('error', (cause) => {
      clearTimeout(patience);
      resolve({ exitCode: null, tail: cause.message });
    });
    child.once('close', (exitCode) => {
      clearTimeout(patience);
      resolve({ exitCode, tail });
    });
  });
}

function eachLine(stream: NodeJS.ReadableStream, line: (text: string) => void): void {
  let pending = '';
  stream.setEncoding('utf8');
  stream.on('data', (text: string) => {
    const lines = (pending + text).split(/[\r\n]+/);
    pending = (lines.pop() ?? '').slice(-OUTPUT_CHARS);
    for (const one of lines) if (one !== '') line(one);
  });
  stream.on('end', () => {
    if (pending !== '') line(pending);
  });
}

function killGroup(child: ChildProcess): void {
  try {
    if (child.pid !== undefined) kill(-child.pid, 'SIGKILL');
  } catch {
    // It ended in this moment, which is what was wanted.
  }
}
