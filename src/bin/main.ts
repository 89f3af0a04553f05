import { resolve } from 'node:path';
import { readFileSync } from 'node:fs';
import { CliError, type Command, type CommandContext, type ExitCode } from '../cli/command.ts';
import { closestCommand } from '../cli/closest-command.ts';
import { outputForm, parseArguments, renderHelp } from '../cli/parse-arguments.ts';
import { createTerminal, type Streams } from '../cli/terminal.ts';
import { keepYoungGenerationSmall } from './young-generation.ts';

type Environment = Readonly<Record<string, string | undefined>>;
type Loaded = { readonly command: Command; readonly run: (context: CommandContext) => Promise<ExitCode> };
type Entry = { readonly name: string; readonly summary: string; readonly load: () => Promise<Loaded> };

/** A command, known by name and summary until it is asked for; what it needs of the adapters is loaded when it asks for that. */
function entry<Parts>(name: string, summary: string, load: () => Promise<{ readonly command: Command<Parts> }>, parts: () => Promise<Parts>): Entry {
  const loaded = async (): Promise<Loaded> => {
    const { command } = await load();
    return { command: command as Command, run: (context) => command.run(context, parts) };
  };
  return { name, summary, load: loaded };
}

const clone = (): Promise<typeof import('../cli/compose/clone.ts')> => import('../cli/compose/clone.ts');

async function server(): Promise<typeof import('../cli/compose/server.ts')> {
  keepYoungGenerationSmall();
  return import('../cli/compose/server.ts');
}

/** Every command, in the order in which a newcomer meets them. */
export const commands: readonly Entry[] = [
  entry('demo', 'Play a team, a server and an agent on this machine, in under a minute', () => import('../cli/commands/demo.ts'), () => import('../cli/compose/demo-stage.ts')),
  entry('init', 'Write a working repository with your own key', () => import('../cli/commands/init.ts'), () => import('../cli/compose/signing.ts')),
  entry('lint', 'Check the declarations', () => import('../cli/commands/lint.ts'), clone),
  entry('check', 'Tell before the merge what would be refused', () => import('../cli/commands/check.ts'), clone),
  entry('plan', 'Show what a branch would change if it were merged now', () => import('../cli/commands/plan.ts'), clone),
  entry('diff', 'Show what differs between environments or releases', () => import('../cli/commands/diff.ts'), clone),
  entry('release', 'Write a release, tags resolved to digests', () => import('../cli/commands/release.ts'), clone),
  entry('promote', 'Ask for a release to run in an environment', () => import('../cli/commands/promote.ts'), clone),
  entry('rollback', 'Ask for what ran before', () => import('../cli/commands/rollback.ts'), clone),
  entry('retry', 'Ask again for what failed', () => import('../cli/commands/retry.ts'), clone),
  entry('explain', 'Say why a promotion runs or waits, and who can act', () => import('../cli/commands/explain.ts'), clone),
  entry('approve', 'Approve or reject a promotion or a protected change', () => import('../cli/commands/approve.ts'), clone),
  entry('stop', 'Stop at once, with one signature', () => import('../cli/commands/stop.ts'), clone),
  entry('trust', 'Show and change who may sign what', () => import('../cli/commands/trust.ts'), clone),
  entry('status', 'Show what runs where, and what waits', () => import('../cli/commands/status.ts'), clone),
  entry('verify', 'Check the whole evidence of a clone, offline', () => import('../cli/commands/verify.ts'), clone),
  entry('replay', 'Take recorded decisions again and compare', () => import('../cli/commands/replay.ts'), clone),
  entry('serve', 'Reconcile a repository: verify, decide, record, deploy', () => import('../cli/commands/serve.ts'), server),
  entry('agent', 'Run on a machine what people approved', () => import('../cli/commands/agent.ts'), () => import('../cli/compose/agent-process.ts')),
  entry('doctor', 'Check that this clone and this machine are set up', () => import('../cli/commands/doctor.ts'), clone),
];

/**
 * The command line.
 * @param args what follows `stella`
 * @returns the exit code: 0 yes or no change, 1 no, changes or refused, 2 error
 */
export async function main(args: readonly string[], environment: Environment, streams: Streams): Promise<ExitCode> {
  try {
    return await dispatch(args, environment, streams);
  } catch (error) {
    streams.stderr.write(`${describeError(error, environment['STELLA_DEBUG'] !== undefined)}\n`);
    return error instanceof CliError ? error.exitCode : 2;
  }
}

async function dispatch(args: readonly string[], environment: Environment, streams: Streams): Promise<ExitCode> {
  const [first, ...rest] = args;
  if (first === undefined || first === '--help' || first === '-h' || (first === 'help' && rest.length === 0)) {
    streams.stdout.write(overview());
    return first === undefined ? 2 : 0;
  }
  // `stella -C clone status`, as git has it.
  if (first === '-C' && rest.length > 1) return dispatch([rest[1] ?? '', '-C', rest[0] ?? '', ...rest.slice(2)], environment, streams);
  if (first === 'help') return dispatch([rest[0] ?? '', '--help'], environment, streams);
  if (first === 'version' || first === '--version') {
    streams.stdout.write(`${ownVersion()}\n`);
    return 0;
  }
  const found = commands.find(({ name }) => name === first);
  if (found === undefined) throw unknownCommand(first);
  const { command, run } = await found.load();
  if (asksForHelp(rest)) {
    streams.stdout.write(renderHelp(command));
    return 0;
  }
  return run(contextOf(command, rest, environment, streams));
}

function contextOf(command: Command, args: readonly string[], environment: Environment, streams: Streams): CommandContext {
  const { values, positionals } = parseArguments(command, args);
  const colours = streams.stdout.isTTY === true && (environment['NO_COLOR'] ?? '') === '' && environment['TERM'] !== 'dumb';
  const folder = values['folder'];
  return {
    values, positionals, environment, version: ownVersion(), pid: process.pid, now: () => new Date(), stopSignal,
    terminal: createTerminal(streams, { form: outputForm(values, command), colours }),
    cwd: resolve(process.cwd(), typeof folder === 'string' ? folder : '.'),
  };
}

function asksForHelp(args: readonly string[]): boolean {
  const end = args.indexOf('--');
  return args.slice(0, end < 0 ? undefined : end).some((arg) => arg === '--help' || arg === '-h');
}

function overview(): string {
  const width = Math.max(...commands.map(({ name }) => name.length));
  const lines = commands.map(({ name, summary }) => `  ${name.padEnd(width)}  ${summary}`);
  return `stella: releases are promoted in Git, signatures approve them, and anyone can check the trail.\n\nUsage: stella <command> [options]\n\nCommands:\n${lines.join('\n')}\n\n` +
    'stella <command> --help explains one command. Exit codes: 0 yes or no change, 1 no, changes or refused, 2 error.\n';
}

function unknownCommand(name: string): CliError {
  const meant = closestCommand(name, commands.map((c) => c.name));
  const shown = JSON.stringify(name.slice(0, 40));
  return new CliError('UnknownCommand', `There is no command ${shown}.`, meant === null ? 'See `stella --help`.' : `Did you mean \`stella ${meant}\`?`);
}

/** What went wrong and what to do; where in the code, only for those who ask. */
function describeError(error: unknown, isDebugging: boolean): string {
  if (!(error instanceof Error)) return `stella: ${String(error)}`;
  if (isDebugging) return `stella: ${error.stack ?? error.message}${error.cause === undefined ? '' : `\ncaused by ${String((error.cause as Error).stack ?? error.cause)}`}`;
  const remedy = error instanceof CliError ? error.remedy : 'code' in error ? null : 'This is unexpected. With STELLA_DEBUG=1 it says where it happened.';
  return `stella: ${error.message}${remedy === null ? '' : `\n        ${remedy}`}`;
}

/** Aborts on the first request to end. */
function stopSignal(): AbortSignal {
  const controller = new AbortController();
  for (const name of ['SIGINT', 'SIGTERM', 'SIGHUP'] as const) process.once(name, () => controller.abort(name));
  return controller.signal;
}

function ownVersion(): string {
  return (JSON.parse(readFileSync(new URL('../../package.json', import.meta.url), 'utf8')) as { version: string }).version;
}
