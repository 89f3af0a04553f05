import { basename, dirname, join, resolve, sep } from 'node:path';
import type { Digest } from '../../core/model/digest.ts';
import { isSegment } from '../../core/model/names.ts';
import { applyFiles, emptyDesiredState } from '../../core/desired/desired-state.ts';
import { formatDiagnostic } from '../../core/desired/diagnostic.ts';
import type { BlobId } from '../../core/model/commit-id.ts';
import type { GenesisRules } from '../../core/trust/genesis.ts';
import type { DocumentParser } from '../../ports/document-parser.ts';
import { KEY_OPTION, type PersonalKey, type UserGit } from '../clone.ts';
import { CliError, flagOption, OUTPUT_OPTION, textOption, usageError, type Command, type CommandContext, type ExitCode } from '../command.ts';
import { diagnose } from '../../core/proposal/diagnose.ts';
import { initFiles, rootComment, rulesFor, serverConfiguration, type InitPlan, type Person } from '../init-files.ts';
import { authorEnvironment } from '../publish-approval.ts';
import { writeRepository } from '../write-repository.ts';

/** What `init` needs of the adapters; `compose/signing.ts` provides it. */
export type InitParts = {
  parser(): DocumentParser;
  randomHex(bytes: number): string;
  userGit(folder: string, environment: CommandContext['environment']): UserGit;
  personalKey(context: CommandContext, git: UserGit): Promise<PersonalKey>;
  namesIn(folder: string): Promise<readonly string[] | null>;
  writeNew(folder: string, files: ReadonlyMap<string, string>): Promise<void>;
  removeFolder(folder: string): Promise<void>;
  makeServerKeys(folder: string, environment: CommandContext['environment']): Promise<GenesisRules['services']>;
  /** @returns SPKI PEM */
  makeIdentity(stateFolder: string, agent: string): Promise<string>;
};

export const command: Command<InitParts> = {
  name: 'init',
  summary: 'Write a working repository with your own key',
  usage: ['stella init [folder] --alone', 'stella init [folder] --team bob=bob.pub,carol=carol.pub'],
  help: `
Writes a repository that works: you and your team as principals, dev, staging and prod, one example application with
targets and an agent, and the genesis root over all of it. Makes the keys of a server in a folder outside of the
repository, and a configuration file for it. Commits everything, signed with your key, and prints the genesis pin:
give that to everybody who is to check this log, by another way than the repository.

Alone, separation of duties is off, and says so in the files; in a team who asks does not approve.

Example:
  stella init shop --alone
  stella init shop --name alice --key ~/.ssh/id_ed25519.pub --team bob=keys/bob.pub,carol=keys/carol.pub

Exit codes: 0 written, 2 error; nothing that exists is ever overwritten.`,
  options: {
    alone: { type: 'boolean', description: 'You work alone: separation of duties off, visibly' },
    team: { type: 'string', value: 'NAME=FILE,…', description: 'The others, with the files of their public SSH keys' },
    name: { type: 'string', value: 'NAME', description: 'Your name as a principal (default: from git or the system)' },
    'keys-folder': { type: 'string', value: 'DIR', description: 'Where the keys of the server go (default: <folder>-keys)' },
    'non-interactive': { type: 'boolean', description: 'Never ask' },
    ...KEY_OPTION, ...OUTPUT_OPTION,
  },
  run,
};

type Places = { readonly folder: string; readonly keysFolder: string; readonly targetsFolder: string; readonly imagesFolder: string; readonly dataFolder: string };
type Team = { readonly people: readonly Person[]; readonly alone: boolean; readonly key: PersonalKey };
type Done = Places & { readonly pin: Digest; readonly alone: boolean; readonly principal: string; readonly configuration: string; readonly commit: string | null; readonly files: readonly string[] };

async function run(context: CommandContext, parts: () => Promise<InitParts>): Promise<ExitCode> {
  const places = placesIn(context);
  const init = await parts();
  await demandRoom(init, places);
  const git = init.userGit(context.cwd, context.environment);
  const team = await teamOf(context, init, git);
  try {
    const done = await write(context, init, places, team);
    await context.terminal.result(done, () => nextSteps(done));
    return 0;
  } catch (error) {
    // Keys that no root lists are of no use to anybody.
    const isWritten = (await init.namesIn(places.folder))?.includes('trust') ?? false;
    if (!isWritten) await init.removeFolder(places.keysFolder);
    throw error;
  }
}

function placesIn(context: CommandContext): Places {
  const [given = '.', ...rest] = context.positionals;
  if (rest.length > 0) throw usageError('Name one folder.', command);
  const folder = resolve(context.cwd, given);
  const beside = (what: string): string => join(dirname(folder), `${basename(folder)}-${what}`);
  const keysFolder = resolve(context.cwd, textOption(context.values, 'keys-folder') ?? beside('keys'));
  if (`${keysFolder}${sep}`.startsWith(`${folder}${sep}`)) throw usageError('The keys of the server do not belong into the repository: name another --keys-folder.', command);
  return { folder, keysFolder, targetsFolder: beside('targets'), imagesFolder: beside('images'), dataFolder: beside('data') };
}

async function demandRoom(init: InitParts, { folder, keysFolder }: Places): Promise<void> {
  const there = (await init.namesIn(folder)) ?? [];
  if (there.some((name) => name !== '.git')) throw new CliError('FolderInUse', `${folder} is not empty.`, 'Name a new folder: stella init never changes what exists.');
  const keys = (await init.namesIn(keysFolder)) ?? [];
  if (keys.length > 0) throw new CliError('FolderInUse', `${keysFolder} is not empty.`, 'Name another folder with --keys-folder.');
}

/** Who works here, from options, or by asking. */
async function teamOf(context: CommandContext, init: InitParts, git: UserGit): Promise<Team> {
  const { values, terminal } = context;
  const mayAsk = terminal.isInteractive && !flagOption(values, 'non-interactive');
  const key = await init.personalKey(context, git);
  const proposed = await proposedName(context, git);
  const asked = textOption(values, 'name') ?? (mayAsk ? (await terminal.ask(`Your name as a principal [${proposed}]: `)) || proposed : proposed);
  if (!isSegment(asked)) throw usageError(`${JSON.stringify(asked)} is no name: small letters, digits, \`.\`, \`_\` and \`-\`.`, command);
  const isDecided = flagOption(values, 'alone') || textOption(values, 'team') !== undefined;
  if (flagOption(values, 'alone') && textOption(values, 'team') !== undefined) throw usageError('Say --alone or --team, not both.', command);
  if (!isDecided && !mayAsk) throw usageError('Say whether you work --alone or in a --team.', command);
  const text = textOption(values, 'team') ?? (flagOption(values, 'alone') || !mayAsk ? '' : await askForTeam(context));
  const me: Person = { name: asked, publicKey: key.publicKey };
  const people = [me, ...(await othersIn(context, init, text))];
  if (new Set(people.map((p) => p.name)).size < people.length) throw usageError('Two people have one name.', command);
  if (!flagOption(values, 'alone') && isDecided && people.length < 2) throw usageError('A team has two people at least.', command);
  return { people, alone: people.length === 1, key };
}

async function proposedName(context: CommandContext, git: UserGit): Promise<string> {
  const text = (await git.tryRun(['config', '--get', 'user.name'])) ?? context.environment['USER'] ?? 'me';
  return text.trim().split(/\s+/)[0]?.toLowerCase().replace(/[^a-z0-9._-]/g, '') || 'me';
}

async function askForTeam({ terminal }: CommandContext): Promise<string> {
  const answer = await terminal.ask('Do you work alone? Then separation of duties is off. [y/N] ');
  return /^y(es)?$/i.test(answer) ? '' : terminal.ask('The others, as name=public key file, separated by commas: ');
}

async function othersIn(context: CommandContext, init: InitParts, text: string): Promise<readonly Person[]> {
  const people: Person[] = [];
  for (const part of text.split(',').map((t) => t.trim()).filter((t) => t !== '')) {
    const [name = '', ...rest] = part.split('=');
    const file = rest.join('=');
    if (!isSegment(name) || file === '') throw usageError(`${JSON.stringify(part)} is not of the form name=public key file.`, command);
    const key = await init.personalKey({ ...context, values: { key: file.endsWith('.pub') ? file : `${file}.pub` } }, init.userGit(context.cwd, context.environment));
    people.push({ name, publicKey: key.publicKey });
  }
  return people;
}

async function write(context: CommandContext, init: InitParts, places: Places, team: Team): Promise<Done> {
  const services = await init.makeServerKeys(places.keysFolder, context.environment);
  const agentKey = await init.makeIdentity(join(places.keysFolder, 'agent-host-1'), 'host-1');
  const plan: InitPlan = { people: team.people, alone: team.alone, targetsFolder: places.targetsFolder, agentKey, services };
  const parser = init.parser();
  const { files, pin } = writeRepository({ files: initFiles(plan), rules: rulesFor(plan), id: init.randomHex(32), parser, rootComment: rootComment(plan) });
  demandClean(parser, files);
  await init.writeNew(places.folder, files);
  const configuration = join(places.keysFolder, 'stella-server.yaml');
  await init.writeNew(places.keysFolder, new Map([['stella-server.yaml', serverConfiguration({ repository: places.folder, pin, imagesFolder: places.imagesFolder, dataFolder: places.dataFolder })]]));
  const principal = team.people[0]?.name ?? '';
  const commit = await firstCommit(context, init, places, { pin, key: team.key, principal, files: [...files.keys()] });
  return { ...places, pin, alone: team.alone, principal, configuration, commit, files: [...files.keys()] };
}

/** No log begins on a fault. */
function demandClean(parser: DocumentParser, files: ReadonlyMap<string, string>): void {
  const changes = [...files].filter(([path]) => path.endsWith('.yaml')).map(([path, text]) => ({ path, parsed: parser.parseFile({ path, blob: '' as BlobId, bytes: new TextEncoder().encode(text) }) }));
  const fault = diagnose(applyFiles(emptyDesiredState(), changes).state).find((d) => d.severity === 'error');
  if (fault !== undefined) throw new CliError('DeclarationsInvalid', formatDiagnostic(fault), 'Check names and keys: each person needs a key of their own.');
}

/** Makes the repository and its first commit, signed; without a signature the files stay for the person to commit. */
async function firstCommit(context: CommandContext, init: InitParts, { folder, imagesFolder }: Places, p: { readonly pin: Digest; readonly key: PersonalKey; readonly principal: string; readonly files: readonly string[] }): Promise<string | null> {
  const git = init.userGit(folder, context.environment);
  const there = (await init.namesIn(folder)) ?? [];
  if (!there.includes('.git')) await git.run(['init', '--quiet', '--initial-branch=main']);
  const local = [['stella.genesis', p.pin], ['stella.layout.images', imagesFolder], ...p.key.gitConfig, ['commit.gpgSign', 'true']] as const;
  for (const [name, value] of local) await git.run(['config', '--local', name, value]);
  await git.run(['add', '--', ...p.files]);
  const isNamed = (await git.tryRun(['config', '--get', 'user.email'])) !== null;
  if (!isNamed) for (const [name, value] of [['user.name', p.principal], ['user.email', authorEnvironment(p.principal)['GIT_AUTHOR_EMAIL'] ?? '']] as const) await git.run(['config', '--local', name, value]);
  try {
    await git.run(['commit', '--quiet', '-S', '-m', 'Begin']);
    return await git.run(['rev-parse', 'HEAD']);
  } catch (error) {
    if (!(error instanceof CliError)) throw error;
    context.terminal.note(`note: the first commit could not be signed, so it was not made: ${error.message}`);
    return null;
  }
}

function nextSteps(done: Done): string {
  const say = (n: number, text: string): string => `  ${n}. ${text}`;
  const lines = [
    `${done.folder} holds ${done.files.length} files${done.commit === null ? ', not committed yet' : `, committed as ${done.commit.slice(0, 12)}`}.`,
    `The keys of the server are in ${done.keysFolder}: keep them out of Git, and back them up.`,
    ...(done.alone ? ['', 'SEPARATION OF DUTIES IS OFF: you work alone, so who asks may approve. The files say where to turn it on.'] : []),
    '', `Genesis pin: ${done.pin}`, 'Give it to everybody who is to check this log, by another way than the repository.', '', 'Next:',
  ];
  const steps = [
    ...(done.commit === null ? [`cd ${done.folder} && git commit -S -m Begin`] : []),
    `cd ${done.folder} && stella lint`,
    `stella serve --config ${done.configuration} --create-log   (begins the log; leave --create-log out afterwards)`,
    `put an image into ${join(done.imagesFolder, 'hello', 'web')} (OCI image layout), or name your registry in integrations/images.yaml`,
    'stella release create hello/1.0.0 --tag 1.0.0 && git add releases && git commit -m "Release hello 1.0.0"',
    'stella promote hello/1.0.0 --to dev, then: stella explain dev',
  ];
  return [...lines, ...steps.map((text, i) => say(i + 1, text))].join('\n');
}
