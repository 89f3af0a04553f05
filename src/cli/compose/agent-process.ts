import { X509Certificate } from 'node:crypto';
import { arch, platform } from 'node:os';
import { join } from 'node:path';
import { composeHost } from '../../adapters/compose-host/compose-host.ts';
import { directoryHost } from '../../adapters/directory-host/directory-host.ts';
import { openAgentLink } from '../../adapters/grpc/agent-link.ts';
import { enrolAgent } from '../../adapters/grpc/enrol-client.ts';
import { agentKeys } from '../../adapters/pki/agent-keys.ts';
import { openStorage } from '../../adapters/postgres/storage.ts';
import { openIdentity, storeCertificates } from '../../agent/identity.ts';
import { Journal } from '../../agent/journal.ts';
import { AgentRunsAlready, claimFolder } from '../../agent/sole-process.ts';
import { startAgent, type RunningAgent } from '../../agent/start-agent.ts';
import type { AgentConfig } from '../../config/agent.ts';
import type { ServerConfig } from '../../config/server.ts';
import type { Digest } from '../../core/model/digest.ts';
import type { SeenChange } from '../../core/order/fold-changes.ts';
import { isAgentAuthority, proveRoot } from '../../core/order/root-chain.ts';
import type { Platform } from '../../ports/blob-source.ts';
import type { TargetDriver } from '../../ports/target-driver.ts';
import { CliError } from '../command.ts';
import type { AgentWorld, Enrolment } from '../commands/agent.ts';
import type { ServerWorld } from '../running-server.ts';
import { readSettings, writeSettings } from './agent-folder.ts';
import { askForToken } from './control-socket.ts';
import { keptGenesisRoot } from './genesis-root.ts';
import { openAgentAuthority } from './server-keys.ts';
import { openAgentSources, registryAuthOf } from './server-registries.ts';
import { issueToken as issue } from './server.ts';
import { openOpenPgpVerifier } from '../../adapters/openpgp/open-verifier.ts';

export { makeIdentity } from './agent-folder.ts';

/** @param p.name empty: as keygen has kept it. @throws CliError `EnrolmentRefused`, `AgentNameMissing`; EnrolConnectionError */
export async function enrol(p: { readonly folder: string; readonly name: string; readonly server: string; readonly token: string; readonly genesis: Digest }): Promise<Enrolment> {
  const name = p.name === '' ? (await readSettings(p.folder))?.name : p.name;
  if (name === undefined) throw new CliError('AgentNameMissing', `${p.folder} does not say which agent it belongs to.`, 'Run `stella agent keygen` first, or give --name.');
  const identity = await openIdentity(p.folder, name, agentKeys);
  const known = (await Journal.read(join(p.folder, 'journal'))).stateFor(null).protectedChange;
  let shown: SeenChange | null = null;
  const openPgp = openOpenPgpVerifier();
  const enrolled = await enrolAgent({
    address: p.server, token: p.token, agent: name, privateKeyPem: identity.privateKeyPem,
    checkAuthority: (certificate, chain) => {
      const proof = checkAuthority(certificate, chain, { pin: p.genesis, known, openPgp });
      shown = proof?.last ?? null;
      return Promise.resolve(proof === null ? 'refused' : 'ok');
    },
  }).finally(() => openPgp.close());
  if (!enrolled.ok) throw new CliError('EnrolmentRefused', `The enrolment of ${name} was refused: ${enrolled.code}.`, REMEDIES[enrolled.code] ?? 'Look into the log of the server.', { exitCode: 1 });
  await storeCertificates(p.folder, enrolled);
  if (shown !== null) await rememberChange(p.folder, p.genesis, shown);
  const server = `${p.server.replace(/:\d+$/, '')}:${enrolled.channelPort}`;
  await writeSettings(p.folder, { name, server, genesis: p.genesis });
  return { agent: name, server, notAfter: enrolled.notAfter };
}

const REMEDIES: Readonly<Record<string, string>> = {
  TokenMalformed: 'Copy the whole token that `stella agent token` printed.',
  TokenRefused: 'It is unknown, spent or expired: issue a new one with `stella agent token`.',
  AuthorityMismatch: 'The server shows another authority than the token names: check address and token, somebody may stand in between.',
  AuthorityRefused: 'The pinned genesis does not list the authority of this server: check --genesis, and do not go on if it is right.',
  AgentNotInForce: 'Commit the Agent document and have it approved first.',
  IdentityUnknown: 'The server cannot read its log yet, or now: it knows its agents after its first pass. Try again in a moment.',
  RequestRefused: 'The Agent document in force holds another key: run keygen in this folder, and commit what it prints.',
};

/** TRUST "What an agent proves": before it asks for anything, the root in force by the chain from the pin must list the key of the authority. */
function checkAuthority(certificate: Uint8Array, chain: Uint8Array, p: Parameters<typeof proveRoot>[1]): { readonly last: SeenChange | null } | null {
  const proof = proveRoot(chain, p);
  const spki = new X509Certificate(certificate).publicKey.export({ type: 'spki', format: 'der' });
  return proof.ok && isAgentAuthority(proof.root, spki) ? proof : null;
}

/** T16: what the chain has shown is not forgotten, so that nobody shows this agent an older one later. While it runs it has its own word for that. */
async function rememberChange(folder: string, pin: Digest, change: SeenChange): Promise<void> {
  const free = await claimFolder(folder).catch((cause: unknown) => {
    if (cause instanceof AgentRunsAlready) return null;
    throw cause;
  });
  if (free === null) return;
  try {
    const journal = await Journal.open(join(folder, 'journal'));
    await journal.pinGenesis(pin);
    const seen = journal.fold.stateFor(null).protectedChange;
    if (seen === null || change.seq > seen.seq) await journal.append({ type: 'protected-change', ...change });
    await journal.close();
  } finally {
    await free();
  }
}

/** Runs until it is stopped. @throws CliError `AgentNotEnrolled`; AgentNotEnrolled, AgentRunsAlready, JournalError */
export async function startAgentProcess(config: AgentConfig, world: AgentWorld): Promise<RunningAgent> {
  const kept = await readSettings(config.folder);
  const name = config.name ?? kept?.name;
  const address = config.server ?? kept?.server;
  if (name === undefined || address === undefined || address === null) throw new CliError('AgentNotEnrolled', `${config.folder} holds no enrolled agent.`, 'Run `stella agent enrol` first.');
  const { now, environment, version, log } = world;
  const openPgp = openOpenPgpVerifier();
  const agent = await startAgent({
    agent: name, folder: config.folder, address, version, openLink: openAgentLink, keys: agentKeys, openPgp, drivers: await driversFor(config, world),
    secrets: { environment, secretFolders: config.secretFolders }, pin: config.genesis ?? kept?.genesis ?? null, now, random: Math.random, log: (line) => log('info', line),
    onState: (state) => {
      if (state.state === 'connected') log('info', 'connected', { server: address });
      else log('warn', 'waiting for the server', { why: state.message, code: state.code });
    },
  });
  log('info', 'agent runs', { agent: name, server: address });
  return { stop: () => agent.stop().finally(() => openPgp.close()) };
}

async function driversFor(config: AgentConfig, { environment, now }: AgentWorld): Promise<readonly TargetDriver[]> {
  const sourceOf = await openAgentSources(config, { environment, now, random: Math.random });
  const home = environment['HOME'];
  return [
    directoryHost({ sourceOf, platform: ownPlatform() }),
    composeHost({ surroundings: { path: environment['PATH'] ?? '', ...(home === undefined ? {} : { home }) }, registryAuth: registryAuthOf(config, environment) }),
  ];
}

/** This machine in the words of the OCI image index. */
function ownPlatform(): Platform {
  const names: Readonly<Record<string, string>> = { x64: 'amd64', ia32: '386' };
  return { os: platform(), architecture: names[arch()] ?? arch() };
}

/**
 * A token from the server that runs on this machine; where none runs, from the database itself.
 * @throws CliError `TokenRefused`, `LogUnknown`; StorageError
 */
export async function issueToken(config: ServerConfig, agent: string, world: Pick<ServerWorld, 'now' | 'environment'>): Promise<string> {
  const asked = await askForToken(config.dataFolder, agent);
  if (asked !== null) return asked;
  const root = await keptGenesisRoot(config);
  if (root === null) throw new CliError('LogUnknown', `No server has run on ${config.dataFolder} yet.`, 'Start `stella serve` first.');
  const authority = await openAgentAuthority(config, world.environment, world.now());
  const storage = await openStorage(config.storage, { dataFolder: config.dataFolder });
  try {
    return await issue(storage.of({ tenant: root.document.spec.tenant, logId: config.genesis }), authority, agent, world.now());
  } finally {
    await storage.close();
  }
}
