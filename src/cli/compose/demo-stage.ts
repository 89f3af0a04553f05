import { spawn, type ChildProcess } from 'node:child_process';
import { randomBytes } from 'node:crypto';
import { mkdir, open, readdir, readFile, stat, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { createInterface } from 'node:readline';
import { fileURLToPath } from 'node:url';
import { newPrivateKeyPem, publicKeyDer } from '../../adapters/pki/key-form.ts';
import { buildImage, buildLayer } from '../../adapters/oci/build-image.ts';
import { writeImage } from '../../adapters/oci/write-layout.ts';
import { makeSshKey } from '../../adapters/ssh/ssh-keygen.ts';
import { createDocumentParser } from '../../adapters/yaml/document-parser.ts';
import { parseServerConfig, type ServerConfig } from '../../config/server.ts';
import { hexOf, type Digest } from '../../core/model/digest.ts';
import type { GenesisRules } from '../../core/trust/genesis.ts';
import { DemoFailure, PEOPLE, type CommandResult, type Person, type Stage } from '../demo/stage.ts';
import { editYaml, writeRepository } from '../write-repository.ts';
import { startServer, type StartedServer } from './server.ts';

type Environment = Readonly<Record<string, string | undefined>>;
type Options = { readonly folder: string; readonly version: string; readonly environment: Environment; readonly pid: number; readonly tell: (line: string) => void };

const HOME = fileURLToPath(new URL('../../../', import.meta.url));
const LAUNCHER = join(HOME, 'src/bin/stella.js');
const AGENT = 'host-1';

/** Where a folder for the demo can be made. */
export function temporaryFolder(): string {
  return tmpdir();
}

/** Builds and starts everything that the demo needs. Whatever was started is ended when it fails. */
export async function openStage(options: Options): Promise<Stage> {
  const closers: (() => Promise<void>)[] = [];
  const close = async (): Promise<void> => {
    for (const closer of closers.splice(0).reverse()) await closer().catch(() => undefined);
  };
  try {
    return await build(options, closers, close);
  } catch (cause) {
    await close();
    throw cause;
  }
}

type Paths = { readonly keys: string; readonly origin: string; readonly images: string; readonly targets: string; readonly agent: string; readonly server: string };

async function build(options: Options, closers: (() => Promise<void>)[], close: () => Promise<void>): Promise<Stage> {
  const at = (name: string): string => join(options.folder, name);
  const paths: Paths = { keys: at('keys'), origin: at('origin.git'), images: at('images'), targets: at('targets'), agent: at('agent'), server: at('server') };
  for (const folder of [paths.keys, paths.images, paths.targets, paths.agent, paths.server]) await mkdir(folder, { recursive: true, mode: 0o700 });
  const environment = cleanEnvironment(options);
  const [keys, identity] = await Promise.all([makeKeys(paths.keys, environment), agentIdentity(paths.agent, environment), makeImages(paths.images)]);
  const { files, pin } = await declarations(paths, keys, identity);
  await makeRepository(options.folder, paths, files, pin, environment);
  const server = await startServer(serverConfig(paths, keys, pin), { now: () => new Date(), log: () => undefined, createLog: true, environment, pid: options.pid, version: options.version });
  closers.push(() => server.close());
  const agent = await startAgentProcess(server, paths, pin, environment);
  closers.push(() => endProcess(agent));
  await Promise.all(PEOPLE.map((person) => cloneFor(person, options.folder, paths, pin, environment)));
  return stageOf(options.folder, paths, pin, server, environment, close);
}

/** The caller's git configuration must not decide how the demo goes. */
function cleanEnvironment({ environment, folder }: Options): Environment {
  const kept = Object.entries(environment).filter(([name]) => !/^(?:GIT_|STELLA_|STORAGE__|CONNECTIONSTRINGS__|SSH_)/.test(name));
  return { ...Object.fromEntries(kept), HOME: folder, GIT_CONFIG_NOSYSTEM: '1', GIT_TERMINAL_PROMPT: '0', NO_COLOR: '1' };
}

type DemoKeys = { readonly people: Readonly<Record<string, string>>; readonly commits: string; readonly commitsFile: string; readonly decisionsFile: string; readonly agentCaFile: string; readonly decisions: string; readonly agentCa: string };

async function makeKeys(folder: string, environment: Environment): Promise<DemoKeys> {
  const ssh = (name: string): Promise<string> => makeSshKey(join(folder, name), `${name}@example.test`, environment);
  const [lines, commits] = await Promise.all([Promise.all(PEOPLE.map(ssh)), ssh('evidence-commits')]);
  const pem = async (name: string): Promise<{ readonly file: string; readonly publicKey: string }> => {
    const file = join(folder, `${name}.pem`);
    const privateKey = newPrivateKeyPem();
    await writeFile(file, privateKey, { mode: 0o600 });
    return { file, publicKey: spkiPem(publicKeyDer(privateKey)) };
  };
  const [decisions, agentCa] = await Promise.all([pem('decisions'), pem('agent-ca')]);
  return {
    people: Object.fromEntries(PEOPLE.map((person, i) => [person, (lines[i] ?? '').trim()])), commits: commits.trim(), commitsFile: join(folder, 'evidence-commits'),
    decisionsFile: decisions.file, agentCaFile: agentCa.file, decisions: decisions.publicKey, agentCa: agentCa.publicKey,
  };
}

function spkiPem(der: Uint8Array): string {
  const lines = Buffer.from(der).toString('base64').match(/.{1,64}/g) ?? [];
  return `-----BEGIN PUBLIC KEY-----\n${lines.join('\n')}\n-----END PUBLIC KEY-----\n`;
}

/** Two versions of two components. */
async function makeImages(folder: string): Promise<void> {
  for (const [tag, word] of [['1.4.0', 'one'], ['1.5.0', 'two']] as const) {
    for (const component of ['api', 'web']) await putImage(folder, component, tag, `${component} ${word}\n`);
  }
}

async function putImage(folder: string, component: string, tag: string, text: string): Promise<Digest> {
  const { manifestDigest } = await writeImage({ layoutFolder: join(folder, 'shop', component), tag, files: [{ path: 'app.txt', content: text, mode: 0o644 }] });
  return manifestDigest;
}

/** The example with real keys, folders of this machine, and a genesis root. Releases and promotions are left to the people. */
async function declarations(paths: Paths, keys: DemoKeys, identity: string): Promise<{ readonly files: ReadonlyMap<string, string>; readonly pin: Digest }> {
  const example = join(HOME, 'examples/repo-layout');
  const files: Record<string, string> = {};
  for (const name of await readdir(example, { recursive: true })) {
    const path = name.replaceAll('\\', '/');
    if (/^(?:releases|promotions)\/|README\.md$/.test(path) || !(await stat(join(example, name))).isFile()) continue;
    const text = await readFile(join(example, name), 'utf8');
    const target = /^targets\/(dev|staging|prod)-1\.yaml$/.exec(path);
    files[path] = target === null ? text : editYaml(text, [{ path: ['spec', 'connection', 'root'], value: join(paths.targets, target[1] ?? '') }]);
  }
  const rules: GenesisRules = {
    tenant: 'default', keys: PEOPLE.map((principal) => ({ principal, key: keys.people[principal] ?? '' })), threshold: 2, proposerCounts: false,
    services: [
      { role: 'decisions', name: 'reconciler', publicKey: keys.decisions }, { role: 'evidence-commits', name: 'reconciler', publicKey: keys.commits },
      { role: 'agent-ca', name: 'agents', publicKey: keys.agentCa },
    ],
    quorums: { default: { people: 1, roles: [{ role: 'approver', count: 1 }] }, create: { people: 1, roles: [{ role: 'approver', count: 1 }] } },
  };
  return writeRepository({ files, principals: keys.people, agents: { [AGENT]: identity }, rules, id: randomBytes(32).toString('hex'), parser: createDocumentParser() });
}

async function makeRepository(folder: string, paths: Paths, files: ReadonlyMap<string, string>, pin: Digest, environment: Environment): Promise<void> {
  await git(folder, ['init', '-q', '--bare', '--initial-branch=main', paths.origin], environment);
  const first = join(folder, 'first');
  await git(folder, ['clone', '-q', paths.origin, first], environment);
  await configure(first, 'alice', paths, pin, environment);
  for (const [path, text] of files) {
    await mkdir(dirname(join(first, path)), { recursive: true });
    await writeFile(join(first, path), text);
  }
  await git(first, ['checkout', '-q', '-B', 'main'], environment);
  await git(first, ['add', '.'], environment);
  await git(first, ['commit', '-q', '-m', 'Begin'], environment);
  await git(first, ['push', '-q', 'origin', 'main'], environment);
}

async function cloneFor(person: Person, folder: string, paths: Paths, pin: Digest, environment: Environment): Promise<void> {
  await git(folder, ['clone', '-q', paths.origin, person], environment);
  await configure(join(folder, person), person, paths, pin, environment);
}

/** What each person sets up once: who they are, how they sign, and the pin. */
async function configure(clone: string, person: Person, paths: Paths, pin: Digest, environment: Environment): Promise<void> {
  const settings = {
    'user.name': person, 'user.email': `${person}@example.test`, 'gpg.format': 'ssh', 'user.signingKey': join(paths.keys, person), 'commit.gpgSign': 'true',
    'stella.genesis': pin, 'stella.layout.images': paths.images,
  };
  const file = join(clone, '.git', 'config');
  const text = Object.entries(settings).map(([name, value]) => {
    const parts = name.split('.');
    const section = parts.length === 3 ? `[${parts[0]} "${parts[1]}"]` : `[${parts[0]}]`;
    return `${section}\n\t${parts.at(-1)} = ${JSON.stringify(value)}\n`;
  });
  await writeFile(file, `${await readFile(file, 'utf8')}${text.join('')}`);
  void environment;
}

function serverConfig(paths: Paths, keys: DemoKeys, pin: Digest): ServerConfig {
  const file = {
    repository: { url: paths.origin }, genesis: pin, dataFolder: paths.server, keys: { decisions: keys.decisionsFile, evidenceCommits: keys.commitsFile, agentCa: keys.agentCaFile },
    http: { port: 0 }, agents: { channelPort: 0, enrolmentPort: 0, serverNames: ['localhost'] }, pollSeconds: 1, tagPollSeconds: 1, offline: true, layouts: { images: paths.images },
    storage: { driver: 'inmemory', objectStore: 'seed-fs' },
  };
  const parsed = parseServerConfig(JSON.stringify(file), { STELLA_ENV: 'development' }, { folder: paths.server });
  if (!parsed.ok) throw new DemoFailure(parsed.problems.map((p) => `${p.setting}: ${p.message}`).join('\n'));
  return parsed.config;
}

/** The agent makes its key before the repository names it. @returns its public key as SPKI PEM */
async function agentIdentity(folder: string, environment: Environment): Promise<string> {
  const made = await stella(folder, ['agent', 'keygen', '--folder', folder, '--name', AGENT], environment);
  const pem = /-----BEGIN PUBLIC KEY-----[\s\S]*?-----END PUBLIC KEY-----/.exec(made.stdout)?.[0];
  if (made.exitCode !== 0 || pem === undefined) throw new DemoFailure(`stella agent keygen says: ${made.stderr}`);
  return `${pem.split('\n').map((line) => line.trim()).join('\n')}\n`;
}

async function startAgentProcess(server: StartedServer, paths: Paths, pin: Digest, environment: Environment): Promise<ChildProcess> {
  await untilLog(server);
  const token = await server.issueEnrolmentToken(AGENT);
  const enrolled = await stella(paths.agent, ['agent', 'enrol', '--server', `localhost:${server.enrolmentPort}`, '--token', token, '--genesis', pin, '--folder', paths.agent, '--name', AGENT], environment);
  if (enrolled.exitCode !== 0) throw new DemoFailure(`stella agent enrol says: ${enrolled.stderr}${enrolled.stdout}`);
  const args = ['agent', 'run', '--folder', paths.agent, '--name', AGENT, '--layout', `images=${paths.images}`];
  const child = spawn(process.execPath, [LAUNCHER, ...args], { cwd: paths.agent, env: environment as NodeJS.ProcessEnv, stdio: ['ignore', 'pipe', 'pipe'] });
  const lines: string[] = [];
  // What it says is for the message when it ends early; orders wait for it to connect.
  for (const stream of [child.stdout, child.stderr]) createInterface({ input: stream }).on('line', (line) => void (lines.push(line) > 10 && lines.shift()));
  child.once('exit', (code) => lines.push(`it ended with ${code}`));
  return child;
}

async function untilLog(server: StartedServer): Promise<void> {
  for (let i = 0; i < 500 && (server.reconciler.state?.size ?? 0) < 2; i++) await new Promise((resolve) => setTimeout(resolve, 40));
  if ((server.reconciler.state?.size ?? 0) < 2) throw new DemoFailure(`the log did not begin: ${server.reconciler.conditions.all().map((c) => c.message).join('; ')}`);
}

function endProcess(child: ChildProcess): Promise<void> {
  return new Promise((resolve) => {
    if (child.exitCode !== null || child.signalCode !== null) return resolve();
    const timer = setTimeout(() => child.kill('SIGKILL'), 5000);
    child.once('exit', () => {
      clearTimeout(timer);
      resolve();
    });
    child.kill('SIGTERM');
  });
}

function stageOf(folder: string, paths: Paths, pin: Digest, server: StartedServer, environment: Environment, close: () => Promise<void>): Stage {
  const clone = (person: Person): string => join(folder, person);
  return {
    folder, pin, apiUrl: `http://127.0.0.1:${server.httpPort}`,
    git: (person, ...args) => git(clone(person), args, environment),
    stella: (person, ...args) => stella(clone(person), args, environment),
    write: async (person, path, text) => {
      await mkdir(dirname(join(clone(person), path)), { recursive: true });
      await writeFile(join(clone(person), path), text);
    },
    state: () => {
      const { state } = server.reconciler;
      if (state === null) throw new DemoFailure('the server has no log');
      return state;
    },
    conditions: () => server.reconciler.conditions.all(),
    image: (component, tag, text) => putImage(paths.images, component, tag, text),
    damage: (component, tag) => damage(paths.images, component, tag),
    onTarget: async (name, path) => readFile(join(paths.targets, name, name, 'shop', path), 'utf8').catch(() => null),
    freshClone: async () => {
      await git(folder, ['clone', '-q', paths.origin, 'auditor'], environment);
      await git(join(folder, 'auditor'), ['config', 'stella.genesis', pin], environment);
      return (...args) => stella(join(folder, 'auditor'), args, environment);
    },
    close,
  };
}

/** Flips a byte in the layer of a component as it was built for `tag`. */
async function damage(images: string, component: string, tag: string): Promise<() => Promise<void>> {
  const word = tag === '1.4.0' ? 'one' : 'two';
  const image = buildImage([await buildLayer([{ path: 'app.txt', content: `${component} ${word}\n`, mode: 0o644 }])], { os: 'linux', architecture: 'amd64' });

  for (const digest of image.blobs.keys()) {
    const file = join(images, 'shop', component, 'blobs', 'sha256', hexOf(digest as Digest));
    const bytes = await readFile(file).catch(() => null);
    if (bytes === null || bytes[0] !== 0x1f) continue;
    const changed = Buffer.from(bytes);
    changed[changed.length - 1] = (changed.at(-1) ?? 0) ^ 1;
    await overwrite(file, changed);
    return () => overwrite(file, bytes);
  }
  throw new DemoFailure(`no layer of ${component}:${tag} was found`);
}

async function overwrite(file: string, bytes: Uint8Array): Promise<void> {
  const handle = await open(file, 'w');
  await handle.writeFile(bytes);
  await handle.close();
}

function stella(cwd: string, args: readonly string[], environment: Environment): Promise<CommandResult> {
  return run(process.execPath, [LAUNCHER, ...args], cwd, environment);
}

async function git(cwd: string, args: readonly string[], environment: Environment): Promise<string> {
  const result = await run('git', args, cwd, environment);
  if (result.exitCode !== 0) throw new DemoFailure(`git ${args.join(' ')}: ${result.stderr}`);
  return result.stdout;
}

function run(program: string, args: readonly string[], cwd: string, environment: Environment): Promise<CommandResult> {
  return new Promise((resolve, reject) => {
    const child = spawn(program, args, { cwd, env: environment as NodeJS.ProcessEnv, stdio: ['ignore', 'pipe', 'pipe'] });
    const out: Buffer[] = [];
    const err: Buffer[] = [];
    child.stdout.on('data', (chunk: Buffer) => out.push(chunk));
    child.stderr.on('data', (chunk: Buffer) => err.push(chunk));
    child.on('error', reject);
    child.on('close', (code) => resolve({ exitCode: code ?? 255, stdout: Buffer.concat(out).toString(), stderr: Buffer.concat(err).toString() }));
  });
}

