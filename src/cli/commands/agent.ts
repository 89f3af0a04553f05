import { dirname, resolve } from 'node:path';
import { parseAgentConfig, type AgentConfig, type AgentFlags } from '../../config/agent.ts';
import type { ServerConfig } from '../../config/server.ts';
import { isDigest, type Digest } from '../../core/model/digest.ts';
import { isSegment } from '../../core/model/names.ts';
import { OUTPUT_OPTION, textOption, textOptions, usageError, type Command, type CommandContext, type ExitCode } from '../command.ts';
import { terminalLog, type Log } from '../server-log.ts';
import { configInvalid, readConfigFile, readServerConfig } from './serve.ts';

export type AgentWorld = Pick<CommandContext, 'now' | 'environment' | 'version'> & { readonly log: Log };
export type Enrolment = { readonly agent: string; readonly server: string; readonly notAfter: Date };

/** What the agent's commands need of the adapters; `compose/agent-process.ts` provides it. */
export type AgentParts = {
  /** Makes the identity key in `folder` if there is none. @returns its public half, SPKI PEM */
  makeIdentity(folder: string, name: string): Promise<string>;
  /** @throws CliError `EnrolmentRefused`; EnrolConnectionError */
  enrol(p: { readonly folder: string; readonly name: string; readonly server: string; readonly token: string; readonly genesis: Digest }): Promise<Enrolment>;
  startAgentProcess(config: AgentConfig, world: AgentWorld): Promise<{ stop(): Promise<void> }>;
  /** Asks the server on this machine, or the database. @throws CliError */
  issueToken(config: ServerConfig, agent: string, world: Pick<CommandContext, 'now' | 'environment'>): Promise<string>;
};

const CAPABILITIES = ['directory_host', 'compose_host'];

export const command: Command<AgentParts> = {
  name: 'agent',
  summary: 'Run on a machine what people approved',
  usage: [
    'stella agent keygen --folder DIR --name NAME [--owner PRINCIPAL]',
    'stella agent token NAME [--config SERVER-FILE]',
    'stella agent enrol --folder DIR --server HOST:PORT --token TOKEN --genesis PIN',
    'stella agent run --folder DIR [--layout NAME=DIR] [--secret-folder DIR] [--config FILE]',
  ],
  help: `
An agent connects out to the server, proves every order from the pinned genesis (signatures, quorum, digests, its own
name), deploys, and signs a receipt. What it cannot prove it refuses, whoever asks.

Four steps, once for each machine:
  1. on the machine:   stella agent keygen --folder /var/lib/stella-agent --name web-1
     prints the Agent document: commit it, and have it approved
  2. on the server:    stella agent token web-1 --config server.yaml
     prints a token for one enrolment, valid for an hour
  3. on the machine:   stella agent enrol --folder /var/lib/stella-agent --server stella.example:9444 --token ... --genesis sha256:...
  4. on the machine:   stella agent run --folder /var/lib/stella-agent --layout images=/srv/images

--folder is the agent's own folder (key, certificates, journal); relative paths are taken from there. The genesis pin comes from a person, never from the server: it is what makes the agent refuse a stolen one.
docs/server.md has the agent's configuration file, with registries and their credentials by reference.

Exit codes: 0 done, or it was told to stop; 1 the server refused; 2 it could not be done.`,
  options: {
    name: { type: 'string', value: 'NAME', description: 'Name of the Agent document' },
    owner: { type: 'string', value: 'PRINCIPAL', description: 'Who answers for it (default: the-owner, to be replaced)' },
    capability: { type: 'string', multiple: true, value: CAPABILITIES.join('|'), description: 'Kinds of target (default: directory_host)' },
    server: { type: 'string', value: 'HOST:PORT', description: "The server's enrolment listener; with run its agent listener" },
    token: { type: 'string', value: 'TOKEN', description: 'One-time token' },
    genesis: { type: 'string', value: 'PIN', description: 'The genesis pin' },
    layout: { type: 'string', multiple: true, value: 'NAME=DIR', description: 'Folder of an OCI image layout, by the name of its Integration' },
    'secret-folder': { type: 'string', multiple: true, value: 'DIR', description: 'Where file: references may be read' },
    config: { type: 'string', value: 'FILE', description: "The agent's settings; with token those of the server" },
    ...OUTPUT_OPTION,
  },
  run,
};

async function run(context: CommandContext, parts: () => Promise<AgentParts>): Promise<ExitCode> {
  const [verb, ...rest] = context.positionals;
  if (verb === 'keygen' && rest.length === 0) return keygen(context, await parts());
  if (verb === 'token' && rest.length === 1) return token(context, rest[0] ?? '', await parts());
  if (verb === 'enrol' && rest.length === 0) return enrol(context, await parts());
  if (verb === 'run' && rest.length === 0) return runAgent(context, await parts());
  throw usageError(verb === undefined ? 'agent needs to know what: keygen, token, enrol or run.' : `agent ${context.positionals.join(' ')} is nothing that it does.`, command);
}

function required(context: CommandContext, option: string): string {
  const value = textOption(context.values, option);
  if (value === undefined || value === '') throw usageError(`--${option} is missing.`, command);
  return value;
}

function nameOf(text: string): string {
  if (!isSegment(text)) throw usageError(`${JSON.stringify(String(text).slice(0, 80))} is no name: small letters, digits, dots, hyphens and underscores.`, command);
  return text;
}

async function keygen(context: CommandContext, parts: AgentParts): Promise<ExitCode> {
  const config = configOf(context, null, null);
  const name = nameOf(required(context, 'name'));
  const given = textOptions(context.values, 'capability');
  const odd = given.find((one) => !CAPABILITIES.includes(one));
  if (odd !== undefined) throw usageError(`${JSON.stringify(odd)} is no kind of target: ${CAPABILITIES.join(' or ')}.`, command);
  const owner = nameOf(textOption(context.values, 'owner') ?? 'the-owner');
  const identityKey = await parts.makeIdentity(config.folder, name);
  const document = { apiVersion: 'stella/v1alpha1', kind: 'Agent', metadata: { name }, spec: { identityKey, owner, capabilities: given.length === 0 ? ['directory_host'] : [...given] } };
  const { stringify } = await import('yaml');
  await context.terminal.result(document, () => stringify(document, { lineWidth: 0 }));
  context.terminal.note(`The key stays in ${config.folder}. Commit this document, for example as agents/${name}.yaml.`);
  return 0;
}

async function token(context: CommandContext, agent: string, parts: AgentParts): Promise<ExitCode> {
  const config = await readServerConfig(context);
  const issued = await parts.issueToken(config, nameOf(agent), context);
  await context.terminal.result({ agent, token: issued }, () => issued);
  return 0;
}

async function enrol(context: CommandContext, parts: AgentParts): Promise<ExitCode> {
  const { file, text } = await readConfigFile(context, 'STELLA_AGENT__CONFIG');
  const config = configOf(context, file, text);
  const server = config.server ?? required(context, 'server');
  const genesis = required(context, 'genesis');
  if (!isDigest(genesis)) throw usageError('--genesis is no pin: sha256: and 64 hexadecimal digits.', command);
  const enrolled = await parts.enrol({ folder: config.folder, name: config.name ?? '', server, token: required(context, 'token'), genesis });
  const shown = { agent: enrolled.agent, server: enrolled.server, certificateUntil: enrolled.notAfter.toISOString() };
  await context.terminal.result(shown, () => `agent ${shown.agent} is enrolled at ${shown.server}\nNow: stella agent run --folder ${config.folder}`);
  return 0;
}

async function runAgent(context: CommandContext, parts: AgentParts): Promise<ExitCode> {
  const { file, text } = await readConfigFile(context, 'STELLA_AGENT__CONFIG');
  const config = configOf(context, file, text);
  const log = terminalLog(context.terminal, context.now);
  const stop = context.stopSignal();
  const { now, environment, version } = context;
  const agent = await parts.startAgentProcess(config, { now, environment, version, log });
  await new Promise<void>((stopped) => {
    if (stop.aborted) stopped();
    else stop.addEventListener('abort', () => stopped(), { once: true });
  });
  log('info', 'stopping: what runs is finished first');
  await agent.stop();
  return 0;
}

/** `--folder` is where the agent lives: every path starts there. */
function configOf(context: CommandContext, file: string | null, text: string | null): AgentConfig {
  const layouts: Record<string, string> = {};
  for (const option of textOptions(context.values, 'layout')) {
    const at = option.indexOf('=');
    if (at < 1) throw usageError(`--layout ${option} is not NAME=DIR.`, command);
    layouts[option.slice(0, at)] = resolve(context.cwd, option.slice(at + 1));
  }
  const texts = (['name', 'server', 'genesis'] as const).flatMap((option) => {
    const value = textOption(context.values, option);
    return value === undefined ? [] : [[option, value] as const];
  });
  const flags: AgentFlags = {
    ...Object.fromEntries(texts), ...(textOption(context.values, 'folder') === undefined ? {} : { folder: context.cwd }),
    layouts, secretFolders: textOptions(context.values, 'secret-folder').map((folder) => resolve(context.cwd, folder)),
  };
  const outcome = parseAgentConfig(text, context.environment, { folder: file === null ? context.cwd : dirname(file), flags });
  if (!outcome.ok) throw configInvalid(outcome.problems);
  return outcome.config;
}
