import { chmod, mkdir, stat } from 'node:fs/promises';
import { dirname } from 'node:path';
import { forkGitLauncher } from '../../adapters/git/git-launcher.ts';
import { startAgentServer, type AgentServer } from '../../adapters/grpc/agent-server.ts';
import { enrolmentTokenDigest, newEnrolmentToken } from '../../adapters/pki/enrolment-token.ts';
import type { AgentAuthority } from '../../adapters/pki/authority.ts';
import { openStorage, type LogStorage, type Storage } from '../../adapters/postgres/storage.ts';
import { createDocumentParser } from '../../adapters/yaml/document-parser.ts';
import { secretResolver } from '../../agent/secret-resolver.ts';
import { createApi } from '../../api/app.ts';
import { listen } from '../../api/listen.ts';
import { createMetrics, type Metrics } from '../../api/metrics.ts';
import type { ServerConfig } from '../../config/server.ts';
import { recordPath } from '../../core/evidence/layout.ts';
import { failuresOf, failureText } from '../../core/evidence/failures.ts';
import { limits } from '../../core/model/limits.ts';
import { encodeRootChain } from '../../core/order/root-chain.ts';
import { RunExecutor } from '../../reconciler/execute-runs.ts';
import { explainDocument } from '../../core/proposal/situation-document.ts';
import { explainPromotion } from '../../reconciler/explain-promotion.ts';
import { LOOP_MESSAGE } from '../../reconciler/loop-suspects.ts';
import { processTimers, ReconcileLoop, type LoopPass } from '../../reconciler/loop.ts';
import type { Notifications } from '../../reconciler/notify.ts';
import { ProtectedChangeShelf } from '../../reconciler/protected-change-shelf.ts';
import { PromotionTrail } from '../../reconciler/proposals/promotion-trail.ts';
import { Reconciler } from '../../reconciler/reconciler.ts';
import { identityIn } from '../../reconciler/run-dispatch.ts';
import { CliError } from '../command.ts';
import type { RunningServer, ServerWorld } from '../running-server.ts';
import { AgentInventory } from './agent-inventory.ts';
import { openControlSocket } from './control-socket.ts';
import { openNotifications } from './notifications.ts';
import { findGenesisRoot } from './genesis-root.ts';
import { openProposals, type RunningProposals } from './proposals.ts';
import { openRepositories, type Repositories } from './repositories.ts';
import { openAgentAuthority, openSigners } from './server-keys.ts';
import { openServerRegistries } from './server-registries.ts';
import { Unwinding } from './unwinding.ts';
import { watchRepository } from './watch-repository.ts';
import { openOpenPgpVerifier } from '../../adapters/openpgp/open-verifier.ts';

export type StartedServer = RunningServer & { readonly reconciler: Reconciler; readonly loop: ReconcileLoop };

const AUTHOR = { name: 'Stella reconciler', email: 'reconciler@stella.invalid' } as const;
const TOKEN_SECONDS = 3600;
/** Passes between two packings of the mirrors. */
const REPACK_PASSES = 2_000;

/**
 * Starts everything that a server is, and makes the first pass in the background. It may be stopped at any moment, also by a crash: what is
 * not pushed has not happened, and everything else is taken up again.
 * @throws StorageError, GitError, KeyError, CliError: nothing stays running then
 */
export async function startServer(config: ServerConfig, world: ServerWorld): Promise<StartedServer> {
  const unwinding = new Unwinding();
  try {
    return await start(config, world, unwinding);
  } catch (cause) {
    await unwinding.run();
    throw cause;
  }
}

async function start(config: ServerConfig, world: ServerWorld, unwinding: Unwinding): Promise<StartedServer> {
  // First, while this process is small.
  const commands = unwinding.keep(forkGitLauncher(), (launcher) => launcher.close());
  await makeDataFolder(config.dataFolder);
  const storage = unwinding.keep(await openStorage(config.storage, { dataFolder: config.dataFolder }), (opened) => opened.close());
  const repositories = unwinding.keep(await openRepositories(config, { commands, environment: world.environment, pid: world.pid }), (opened) => opened.close());
  const root = await findGenesisRoot(config, repositories);
  const log = storage.of({ tenant: root.document.spec.tenant, logId: config.genesis });
  const authority = await openAgentAuthority(config, world.environment, world.now());
  const core = await startCore({ config, world, unwinding, repositories, log, authority });
  const metrics = createMetrics({ status: () => core.loop.status, connected: () => core.agents.hub.connected(), now: world.now, proposals: core.proposals.numbers });
  core.listeners.push((pass) => metrics.observePass(pass));
  const http = unwinding.keep(await startApi({ config, world, storage, log, metrics, repositories, ...core }), (opened) => opened.close());
  await startWatching(config, core, unwinding);
  const issueEnrolmentToken = async (agent: string): Promise<string> => {
    const state = core.reconciler.state;
    if (state !== null && identityIn(state, agent) === null) throw new CliError('AgentNotInForce', `no Agent document named ${agent} is in force`, 'Commit the document that `stella agent keygen` prints, and have it approved.');
    return issueToken(log, authority, agent, world.now());
  };
  const control = await openControlSocket(config.dataFolder, issueEnrolmentToken);
  if (control !== null) unwinding.keep(control, (opened) => opened.close());
  core.loop.start();
  core.proposals.loop.start();
  return {
    reconciler: core.reconciler, loop: core.loop, httpPort: http.port, channelPort: core.agents.channelPort, enrolmentPort: core.agents.enrolmentPort, issueEnrolmentToken,
    close: () => unwinding.run(),
  };
}

/** Others may pass through: an embedded Postgres runs as another account when we are root. What is secret in it has its own permissions. */
async function makeDataFolder(folder: string): Promise<void> {
  if (await stat(folder).then(() => true, () => false)) return;
  await mkdir(folder, { recursive: true });
  await chmod(folder, 0o711);
}

type Parts = {
  readonly config: ServerConfig;
  readonly world: ServerWorld;
  readonly unwinding: Unwinding;
  readonly repositories: Repositories;
  readonly log: LogStorage;
  readonly authority: AgentAuthority;
};
type Tools = Pick<ConstructorParameters<typeof Reconciler>[0], 'parser' | 'openPgp' | 'registry' | 'signers' | 'author'> & { readonly trail: PromotionTrail };
type Core = { readonly reconciler: Reconciler; readonly loop: ReconcileLoop; readonly agents: AgentServer; readonly proposals: RunningProposals; readonly openPgp: Tools['openPgp']; readonly listeners: ((pass: LoopPass) => void)[] };

/** Reconciler, agents and executor, which need each other: the reconciler decides, the executor follows the log, agents answer to both. */
async function startCore(parts: Parts): Promise<Core> {
  const { world, unwinding, repositories, log } = parts;
  const { now } = world;
  const late: { reconciler: Reconciler | null; loop: ReconcileLoop | null } = { reconciler: null, loop: null };
  const shelf = new ProtectedChangeShelf();
  const agents = unwinding.keep(await startAgents(parts, shelf, () => late.reconciler), (server) => server.close());
  const jobs = unwinding.keep(log.jobs({ onInterrupted: (cause) => world.log('warn', 'jobs wait', { why: messageOf(cause) }) }), (queue) => queue.stop());
  const executor = new RunExecutor({
    hub: agents.hub, runs: log.runs, jobs, now, changes: shelf, artifacts: artifactsOf(() => late.reconciler), envelope: (seq) => readEnvelope(late.reconciler, repositories, seq),
    onFinished: ({ environment, application, predicate }) => {
      const { result, reason } = predicate;
      world.log(result === 'Succeeded' ? 'info' : 'warn', 'run ended', { environment, application, result, reason });
      for (const failure of failuresOf(predicate)) world.log('warn', failureText(failure), { environment, application, target: failure.target, step: failure.step, code: failure.code });
      late.loop?.wake('run ended');
    },
    onRenewal: () => late.loop?.wake('allow lapsed'),
    onProgress: ({ environment, application, target, lines }) => {
      for (const line of lines) world.log('info', line, { environment, application, target });
    },
    onInterrupted: (cause) => world.log('warn', 'a run waits', { why: messageOf(cause) }),
  });
  unwinding.keep(executor, (opened) => opened.close());
  const tools = await openTools(parts);
  const notifications = openNotifications(parts, () => late.reconciler?.state ?? null);
  const reconciler = createReconciler(parts, tools, executor, { shelf, notifications });
  late.reconciler = reconciler;
  jobs.start(executor.handlers);
  const listeners: Core['listeners'] = [];
  const loop = createLoop(parts, reconciler, listeners);
  late.loop = loop;
  unwinding.keep(loop, (running) => running.stop());
  const proposals = await openProposals({ ...tools, ...repositories, config: parts.config, world, reconciler, wakeReconciler: (reason) => loop.wake(reason) });
  unwinding.keep(proposals.loop, (running) => running.stop());
  listeners.push(() => proposals.worldMoved());
  return { reconciler, loop, agents, proposals, openPgp: tools.openPgp, listeners };
}

async function startAgents({ config, world, log, authority }: Parts, shelf: ProtectedChangeShelf, reconciler: () => Reconciler | null): Promise<AgentServer> {
  const { host, channelPort, enrolmentPort, serverNames } = config.agents;
  const started: { server: AgentServer | null } = { server: null };
  const inventory = new AgentInventory({
    register: log.agents, connected: () => started.server?.hub.connected() ?? [], now: world.now, onError: (cause) => world.log('warn', 'an inventory is lost', { why: messageOf(cause) }),
  });
  started.server = await startAgentServer({
    authority, tokens: log.enrolmentTokens, now: world.now, serverNames, listen: { host, channelPort, enrolmentPort },
    identityOf: async (agent) => {
      const state = reconciler()?.state ?? null;
      // T12: before the log is read nobody is known.
      if (state === null) throw new Error('the log is not read yet');
      return identityIn(state, agent);
    },
    trustBundle: () => rootChainOf(shelf, reconciler),
    onInventory: (said) => inventory.note(said),
  });
  return started.server;
}

/** Every protected change with what it names: from it an agent proves the root in force, and that it lists our authority, before it enrols. */
async function rootChainOf(shelf: ProtectedChangeShelf, reconciler: () => Reconciler | null): Promise<Uint8Array> {
  // T12: before the log is read the root in force is not known, and an older one is not shown in its place.
  if ((reconciler()?.state ?? null) === null) throw new Error('the log is not read yet');
  const { envelopes, artifacts } = shelf.all();
  const source = artifactsOf(reconciler);
  await source.load(artifacts);
  return encodeRootChain({ changes: envelopes, artifacts: artifacts.flatMap((digest) => source.get(digest) ?? []) });
}

/** What reconciling and planning have in common. */
async function openTools({ config, world: { environment, now, random = Math.random }, unwinding }: Parts): Promise<Tools> {
  return {
    parser: createDocumentParser(), openPgp: unwinding.keep(openOpenPgpVerifier(), (verifier) => verifier.close()), registry: openServerRegistries(config, { environment, now, random }),
    signers: await openSigners(config.keys, environment), author: AUTHOR, trail: new PromotionTrail(),
  };
}

function createReconciler({ config, world, repositories, log }: Parts, tools: Tools, executor: RunExecutor, { shelf, notifications }: { readonly shelf: ProtectedChangeShelf; readonly notifications: Notifications }): Reconciler {
  const { declarations, evidence } = repositories;
  const { now, version } = world;
  const { trail, ...shared } = tools;
  return new Reconciler({
    ...shared, reader: declarations.reader, remote: declarations.remote,
    evidence: { reader: evidence.reader, remote: evidence.remote, branch: evidence.writer.openBranch(config.evidence.ref) },
    ledger: log.ledger, executor, notifications, now, engineVersion: version, targetRef: config.repository.ref, pin: config.genesis, createLog: world.createLog ?? false,
    tagPollSeconds: config.tagPollSeconds, candidateRefs: config.repository.candidates, 
    onRecord: ({ record, envelope }) => {
      shelf.add(record, envelope);
      trail.add(record);
    },
  });
}

function createLoop({ config, world, repositories }: Parts, reconciler: Reconciler, listeners: Core['listeners']): ReconcileLoop {
  const said = { fault: '', suspects: '', overdue: false };
  const loop: ReconcileLoop = new ReconcileLoop({
    reconciler, now: world.now, timers: processTimers, random: world.random ?? Math.random, pollSeconds: config.pollSeconds,
    onPass: async (pass) => {
      const { report, reasons, durationMs } = pass;
      for (const listener of listeners) listener(pass);
      const fault = report.fault === null ? '' : `${report.fault.code}: ${report.fault.message}`;
      if (report.records > 0) world.log('info', 'reconciled', { records: report.records, tip: report.tip, ms: durationMs, woken: reasons.join(',') });
      if (fault !== said.fault) world.log(fault === '' ? 'info' : 'warn', fault === '' ? 'reconciles again' : 'the reconcile cannot go on', report.fault ?? {});
      const suspects = report.suspects.join(', ');
      if (suspects !== said.suspects) world.log(suspects === '' ? 'info' : 'error', suspects === '' ? 'no loop is suspected any more' : LOOP_MESSAGE, { code: 'LoopSuspected', places: suspects });
      if (loop.status.overdue && !said.overdue) world.log('error', 'no reconcile has succeeded for several polls', report.fault ?? {});
      said.fault = fault;
      said.suspects = suspects;
      said.overdue = loop.status.overdue;
      if (loop.status.passes % REPACK_PASSES === 0) await repack(repositories, world);
    },
  });
  return loop;
}

async function repack({ declarations, evidence }: Repositories, { log }: ServerWorld): Promise<void> {
  for (const mirror of new Set([declarations, evidence])) await mirror.repack().catch((cause: unknown) => log('warn', 'a mirror could not be packed', { why: messageOf(cause) }));
}

function artifactsOf(reconciler: () => Reconciler | null): ConstructorParameters<typeof RunExecutor>[0]['artifacts'] {
  return {
    load: async (digests) => {
      const opened = reconciler();
      if (opened !== null && opened.evidenceTip !== null) await opened.artifacts.load(opened.evidenceTip, digests);
    },
    get: (digest) => reconciler()?.artifacts.get(digest),
  };
}

/** The file of a record as it was pushed. */
async function readEnvelope(reconciler: Reconciler | null, { evidence }: Repositories, seq: number): Promise<Uint8Array | undefined> {
  const tip = reconciler?.evidenceTip ?? null;
  if (tip === null) return undefined;
  const path = recordPath(seq);
  const { entries } = await evidence.reader.readTree(tip, { under: dirname(path) });
  const blob = entries.find((entry) => entry.path === path)?.blob;
  const object = blob === undefined ? undefined : (await evidence.reader.readBlobs([blob], limits.recordBytes)).get(blob);
  return object?.ok === true ? object.bytes : undefined;
}

async function startApi(p: Pick<Core, 'loop' | 'agents' | 'proposals' | 'reconciler' | 'openPgp'> & { readonly repositories: Repositories; readonly config: ServerConfig; readonly world: ServerWorld; readonly storage: Storage; readonly log: LogStorage; readonly metrics: Metrics }): Promise<Awaited<ReturnType<typeof listen>>> {
  const { config, world, storage, log, loop, agents, metrics, reconciler, repositories, proposals, openPgp } = p;
  const { secretRef } = config.webhook;
  const secret = secretResolver({ environment: world.environment, secretFolders: config.secretFolders });
  const api = createApi({
    reader: log.reader, explain: (row) => explainPromotion({ log: () => logOf(reconciler), reader: repositories.evidence.reader, records: log.reader }, row),
    explainDocument: (kind, name) => (reconciler.snapshot === null ? [] : explainDocument({ ...reconciler.snapshot, openPgp }, kind, name)),
    agents: () => log.agents.list(), connected: () => agents.hub.connected(), pingStorage: () => storage.ping(), status: () => loop.status,
    wake: (reason) => {
      loop.wake(reason);
      proposals.look(reason);
    },
    webhookSecret: secretRef === null ? null : await secret(secretRef), forgeWebhook: proposals.webhook, metrics: () => metrics.text(),
    onError: (cause) => world.log('error', 'a request failed', { why: messageOf(cause) }),
  });
  return listen(api, config.http);
}

function logOf({ state, evidenceTip }: Reconciler): ReturnType<Parameters<typeof explainPromotion>[0]['log']> {
  return state === null || evidenceTip === null ? null : { state, evidenceTip };
}

async function startWatching(config: ServerConfig, { loop, proposals }: Pick<Core, 'loop' | 'proposals'>, unwinding: Unwinding): Promise<void> {
  const watching = await watchRepository(config.repository.url, {
    ignoredRefs: [config.evidence.ref, config.proposals.plansRef],
    onMove: () => {
      loop.wake('file');
      proposals.look('file');
    },
  });
  if (watching !== null) unwinding.keep(watching, (opened) => opened.close());
}

/** One-time, for one agent, for an hour. Only its digest is kept. */
export async function issueToken(log: Pick<LogStorage, 'enrolmentTokens'>, authority: Pick<AgentAuthority, 'certificateDer'>, agent: string, now: Date): Promise<string> {
  const token = newEnrolmentToken(authority.certificateDer);
  await log.enrolmentTokens.issue({ tokenDigest: enrolmentTokenDigest(token), agent, expiresAt: new Date(now.getTime() + TOKEN_SECONDS * 1000) });
  return token;
}

function messageOf(cause: unknown): string {
  return cause instanceof Error ? cause.message : String(cause);
}
