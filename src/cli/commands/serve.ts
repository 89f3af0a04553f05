import { readFile } from 'node:fs/promises';
import { dirname, resolve } from 'node:path';
import { parseServerConfig, type ServerConfig } from '../../config/server.ts';
import { CliError, flagOption, textOption, usageError, type Command, type CommandContext, type ExitCode } from '../command.ts';
import type { RunningServer, ServerWorld } from '../running-server.ts';
import { terminalLog } from '../server-log.ts';

/** What the server's command needs of the adapters; `compose/server.ts` provides it. */
export type ServeParts = { startServer(config: ServerConfig, world: ServerWorld): Promise<RunningServer> };

export const command: Command<ServeParts> = {
  name: 'serve',
  summary: 'Reconcile a repository: verify, decide, record, deploy',
  usage: ['stella serve [--config FILE] [--create-log]'],
  help: `
Watches a Git repository, judges every promotion, writes signed decisions to the evidence branch, and has agents
deploy what is allowed. Runs until it is told to stop (Ctrl-C or SIGTERM): the first signal lets the pass that runs
end and exits with 0, the second one ends at once. Nothing is lost either way.

Settings come from a YAML file and from the environment, which wins: http.port is STELLA_HTTP__PORT. The least that
is needed:

  repository: { url: https://git.example/team/deploy.git, tokenRef: env:GIT_TOKEN }
  genesis: sha256:...            # what stella init printed
  dataFolder: /var/lib/stella
  keys: { decisions: /etc/stella/decisions.pem, evidenceCommits: /etc/stella/evidence-commits, agentCa: /etc/stella/agent-ca.pem }
  storage: { driver: filesystem, objectStore: seed-fs }

All of them, with what they mean, are in docs/server.md.

The first start of a new log needs --create-log, once: a log that has gone missing must never be begun anew by
itself.

Exit codes: 0 it was told to stop, 2 it could not start.`,
  options: {
    config: { type: 'string', value: 'FILE', description: 'Settings; else the file that STELLA_CONFIG names, else the environment alone' },
    'create-log': { type: 'boolean', description: 'Begin the log if there is none' },
  },
  run,
};

async function run(context: CommandContext, parts: () => Promise<ServeParts>): Promise<ExitCode> {
  if (context.positionals.length > 0) throw usageError(`serve takes no ${JSON.stringify(context.positionals[0])}.`, command);
  const config = await readServerConfig(context);
  const log = terminalLog(context.terminal, context.now);
  const { startServer } = await parts();
  const stop = context.stopSignal();
  const { now, environment, pid, version } = context;
  const server = await startServer(config, { now, log, environment, pid, version, createLog: flagOption(context.values, 'create-log') });
  log('info', 'serving', { api: `http://${config.http.host}:${server.httpPort}`, agents: `${config.agents.host}:${server.channelPort}`, enrolment: `${config.agents.host}:${server.enrolmentPort}` });
  await new Promise<void>((stopped) => {
    if (stop.aborted) stopped();
    else stop.addEventListener('abort', () => stopped(), { once: true });
  });
  log('info', 'stopping: the pass that runs is finished first');
  await server.close();
  return 0;
}

/** @throws CliError `ConfigInvalid` with everything that is wrong, `ConfigUnreadable` */
export async function readServerConfig(context: CommandContext): Promise<ServerConfig> {
  const { file, text } = await readConfigFile(context, 'STELLA_CONFIG');
  const outcome = parseServerConfig(text, context.environment, { folder: file === null ? context.cwd : dirname(file) });
  if (!outcome.ok) throw configInvalid(outcome.problems);
  for (const setting of outcome.assumed) context.terminal.note(`development assumes ${setting}`);
  return outcome.config;
}

/** The file that `--config` or a variable names; null when neither does. @throws CliError `ConfigUnreadable` */
export async function readConfigFile(context: CommandContext, variable: string): Promise<{ readonly file: string | null; readonly text: string | null }> {
  const named = textOption(context.values, 'config') ?? context.environment[variable];
  if (named === undefined || named === '') return { file: null, text: null };
  const file = resolve(context.cwd, named);
  const text = await readFile(file, 'utf8').catch((cause: unknown) => {
    throw new CliError('ConfigUnreadable', `The configuration ${file} cannot be read.`, 'Check the path and its permissions.', { cause });
  });
  return { file, text };
}

export function configInvalid(problems: readonly { readonly setting: string; readonly message: string }[]): CliError {
  return new CliError('ConfigInvalid', `The configuration is not usable:\n${problems.map(({ setting, message }) => `  ${setting} ${message}`).join('\n')}`, 'docs/server.md explains every setting.');
}
