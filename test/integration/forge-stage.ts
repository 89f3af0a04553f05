import { createHmac } from 'node:crypto';
import { cp, mkdir, readFile, rm } from 'node:fs/promises';
import { join } from 'node:path';
import { writeImage } from '../../src/adapters/oci/write-layout.ts';
import type { RunningAgent } from '../../src/agent/start-agent.ts';
import { enrol, makeIdentity, startAgentProcess } from '../../src/cli/compose/agent-process.ts';
import type { StartedServer } from '../../src/cli/compose/server.ts';
import { parseAgentConfig } from '../../src/config/agent.ts';
import type { CommitId } from '../../src/core/model/commit-id.ts';
import type { AnyDocument } from '../../src/core/model/documents.ts';
import { artifactPath } from '../../src/core/evidence/layout.ts';
import type { Digest } from '../../src/core/model/digest.ts';
import { releaseSpecDigest } from '../../src/core/model/preimages.ts';
import { migratedDatabase } from '../contract/postgres-fixture.ts';
import { githubDialect } from '../fakes/forge-github.ts';
import { addProposal, type FakeForgeServer, fakeForge, type FakeProposal, startFakeForge } from '../fakes/forge-server.ts';
import { type GitHttpServer, startGitHttpServer } from '../fakes/git-http-server.ts';
import { createRepository, createTemporaryFolder, type TestRepository } from '../fakes/git-repository.ts';
import type { ScratchDatabase } from '../fakes/postgres.ts';
import { doc, pathOf, World, yamlOf } from '../fakes/world.ts';
import { environment, getJson, serverConfig, start } from './serve-fixture.ts';

const HOOK_SECRET = 'what the forge and the server both know';
export const MERGES = ['merge', 'squash', 'rebase'] as const;
export type Merge = (typeof MERGES)[number];

/** What is judged, without when and on which commit. */
export type Judged = { readonly promotionDigest: unknown; readonly outcome: unknown; readonly reasons: unknown; readonly gates: unknown; readonly approvers: unknown; readonly requesters: unknown };

const release = doc('Release', 'shop/1.0', { components: { api: { tag: '1.0' } } });

/** A repository with a release that nobody asked for yet, from which each run begins with a copy. */
export class Origin {
  readonly world: World;
  /** Where the agent is, and where it deploys. */
  readonly machine: string;

  private constructor(world: World, machine: string) {
    this.world = world;
    this.machine = machine;
  }

  static async create(): Promise<Origin> {
    const machine = await createTemporaryFolder();
    const identityKey = await makeIdentity(join(machine, 'agent'), 'host');
    const target = doc('Target', 'dev-1', { type: 'directory_host', agent: 'host', environments: ['dev'], applications: ['shop'], connection: { root: join(machine, 'srv') } });
    const agent = doc('Agent', 'host', { identityKey, owner: 'bob', capabilities: ['directory_host'] });
    const dev = doc('Environment', 'dev', { order: 1, approvals: { people: 1, roles: [{ role: 'sre', count: 1 }] } });
    const world = await World.create({ idle: true, documents: [target, agent, dev] as unknown as AnyDocument[] });
    await mkdir(join(world.folder, 'images'), { recursive: true });
    await writeImage({ layoutFolder: join(world.folder, 'images', 'shop', 'api'), tag: '1.0', files: [{ path: 'app.txt', content: 'one\n', mode: 0o644 }] });
    await world.commit([release], { by: world.people.alice });
    await cp(join(machine, 'agent'), join(machine, 'agent-before'), { recursive: true });
    return new Origin(world, machine);
  }

  /** Starts over: a copy of the repository behind a git server, a forge, a server, an agent. */
  async stage(): Promise<Stage> {
    await rm(join(this.machine, 'srv'), { recursive: true, force: true });
    await rm(join(this.machine, 'agent'), { recursive: true });
    await cp(join(this.machine, 'agent-before'), join(this.machine, 'agent'), { recursive: true });
    const folder = await createTemporaryFolder();
    await cp(this.world.repository.folder, join(folder, 'origin.git'), { recursive: true });
    return await Stage.open(this, await createRepository({ folder: join(folder, 'origin.git') }), folder);
  }

  async close(): Promise<void> {
    await this.world.close();
    await rm(this.machine, { recursive: true, force: true });
  }
}

/** One run of everything, over real protocols: git over HTTP, the REST API of a forge, signed webhooks, an agent that deploys. */
export class Stage {
  readonly origin: Origin;
  readonly repository: TestRepository;
  readonly folder: string;
  git!: GitHttpServer;
  forge!: FakeForgeServer;
  server!: StartedServer;
  #agent: RunningAgent | null = null;
  #database: ScratchDatabase | null = null;
  #deliveries = 0;

  private constructor(origin: Origin, repository: TestRepository, folder: string) {
    this.origin = origin;
    this.repository = repository;
    this.folder = folder;
  }

  static async open(origin: Origin, repository: TestRepository, folder: string): Promise<Stage> {
    const stage = new Stage(origin, repository, folder);
    stage.git = await startGitHttpServer({ repository: repository.folder });
    stage.forge = await startFakeForge(githubDialect(), fakeForge({ now: () => new Date() }));
    stage.#database = await migratedDatabase();
    const base = await serverConfig(origin.world, {
      STORAGE__DRIVER: 'postgres', CONNECTIONSTRINGS__DEFAULT: stage.#database.url, STELLA_REPOSITORY__URL: stage.git.url, STELLA_FORGE__TYPE: 'github', STELLA_FORGE__URL: stage.forge.url,
      STELLA_FORGE__REPOSITORY: 'acme/deploy', STELLA_FORGE__TOKEN_REF: 'env:FORGE_TOKEN', STELLA_FORGE__WEBHOOK_SECRET_REF: 'env:FORGE_HOOK', STELLA_POLL_SECONDS: '3600', STELLA_DATA_FOLDER: join(folder, 'server'),
    });
    stage.server = await start(base, { createLog: true, environment: { ...environment, FORGE_TOKEN: 'token-of-stella', FORGE_HOOK: HOOK_SECRET } });
    return stage;
  }

  /** The agent enrols and begins to work. */
  async startAgent(): Promise<void> {
    const { machine, world } = this.origin;
    const folder = join(machine, 'agent');
    const token = await this.server.issueEnrolmentToken('host');
    await enrol({ folder, name: '', server: `127.0.0.1:${this.server.enrolmentPort}`, token, genesis: world.pin });
    const outcome = parseAgentConfig(null, {}, { folder: machine, flags: { folder, server: `127.0.0.1:${this.server.channelPort}`, layouts: { images: join(world.folder, 'images') } } });
    if (!outcome.ok) throw new Error(JSON.stringify(outcome.problems));
    this.#agent = await startAgentProcess(outcome.config, { now: () => new Date(), environment, version: '0', log: () => undefined });
  }

  /** alice asks for the release on a branch, and opens a pull request. */
  async propose(): Promise<FakeProposal> {
    const { world } = this.origin;
    const promotion = await world.promotion('dev', '1.0', { by: world.people.alice, releaseSpec: releaseSpecDigest(release) });
    await this.repository.setBranch('promote/dev-shop', (await this.repository.tip())!);
    const commit = await this.repository.commit({ branch: 'promote/dev-shop', message: 'Promote shop 1.0 to dev', files: { [pathOf(promotion)]: yamlOf(promotion) }, sshKey: world.people.alice });
    const proposal = addProposal(this.forge.forge, { title: 'Promote shop 1.0 to dev', branch: 'promote/dev-shop', commit });
    await this.repository.git(['update-ref', `refs/pull/${proposal.number}/head`, commit]);
    await this.deliver('pull_request', { action: 'opened', number: proposal.number });
    return proposal;
  }

  /** bob approves a promotion, as its digest stands in the comment. */
  async approve(digest: string): Promise<void> {
    const { world } = this.origin;
    const approval = await world.approval(world.people.bob, { type: 'promotion', digest: digest as typeof world.pin, environment: 'dev', application: 'shop' });
    await this.repository.commit({ branch: `stella/approvals/${digest.slice(7, 23)}/bob`, parents: [(await this.repository.tip())!], files: { [pathOf(approval)]: yamlOf(approval) } });
    await this.deliver('push', { ref: 'refs/heads/stella/approvals' });
  }

  /** Merges as the forge does: in commits that nobody of ours signs. */
  async merge(proposal: FakeProposal, method: Merge): Promise<CommitId> {
    // Others merged meanwhile, so that a rebase makes another commit.
    await this.repository.commit({ message: 'Say hello', files: { 'README.md': 'hello\n' }, sshKey: this.origin.world.people.carol });
    const from = proposal.commit as CommitId;
    const mergeCommit = method === 'merge' ? await this.repository.merge({ from, message: 'Merge pull request #1' }) : await this.repository.squash({ from, message: method === 'squash' ? 'Promote (#1)' : 'Promote shop 1.0 to dev' });
    const at = new Date().toISOString();
    Object.assign(proposal, { state: 'merged', mergeCommit, mergedAt: at, updatedAt: at });
    await this.deliver('pull_request', { action: 'closed', number: proposal.number });
    return mergeCommit;
  }

  /** A webhook, as the forge sends it. */
  async deliver(event: string, payload: object): Promise<void> {
    const [status] = await this.post({ event, body: JSON.stringify({ ...payload, repository: { full_name: 'acme/deploy' } }), id: `delivery-${(this.#deliveries += 1)}` });
    if (status !== 202) throw new Error(`the webhook was answered with ${status}`);
  }

  /** A webhook, as anybody may send it. @returns the status, and whether it woke the server or the code of the refusal */
  async post({ event = 'pull_request', body, id, secret = HOOK_SECRET }: { readonly event?: string; readonly body: string; readonly id: string; readonly secret?: string }): Promise<readonly [number, unknown]> {
    const response = await fetch(`http://127.0.0.1:${this.server.httpPort}/api/v1/webhooks/github`, {
      method: 'POST', body,
      headers: { 'content-type': 'application/json', 'x-github-event': event, 'x-github-delivery': id, 'x-hub-signature-256': `sha256=${createHmac('sha256', secret).update(body).digest('hex')}` },
    });
    const { data, code } = (await response.json()) as { readonly data?: { readonly woken: boolean }; readonly code?: string };
    return [response.status, data?.woken ?? code];
  }

  /** Newest status of a commit, as `state: description`. */
  status(commit: string): string {
    const status = this.forge.forge.statuses.findLast((one) => one.commit === commit);
    return status === undefined ? 'none' : `${status.state}: ${status.description}`;
  }

  /** Comments of ours. */
  comments(): readonly string[] {
    const { comments, account } = this.forge.forge;
    return comments.filter(({ author }) => author === account).map(({ body }) => body);
  }

  deployed(): Promise<string> {
    return readFile(join(this.origin.machine, 'srv', 'dev', 'shop', 'current', 'api', 'app.txt'), 'utf8').catch(() => 'nothing');
  }

  /** Predicates of records of one type, oldest first. */
  async records(type: string): Promise<readonly Readonly<Record<string, unknown>>[]> {
    const { body } = await getJson(this.server, `/api/v1/evidence?type=${type}&limit=100`);
    return (body['data'] as readonly { readonly statement: { readonly predicate: Readonly<Record<string, unknown>> } }[]).map(({ statement }) => statement.predicate);
  }

  /** Reasons of conditions. */
  conditions(): readonly string[] {
    return this.server.reconciler.conditions.all().map(({ reason }) => reason);
  }

  /** How the last decision judged, as the evidence branch has it. */
  async judged(): Promise<Judged> {
    const { content } = (await this.records('promotion-decision')).at(-1) as { readonly content: { readonly decision: Judged; readonly input: Digest } };
    const { promotionDigest, outcome, reasons, gates } = content.decision;
    const input = JSON.parse(await this.repository.git(['show', `refs/heads/stella/evidence:${artifactPath(content.input)}`])) as { readonly approvals: readonly { readonly principal: string }[]; readonly requesters: unknown };
    return { promotionDigest, outcome, reasons, gates, approvers: input.approvals.map(({ principal }) => principal), requesters: input.requesters };
  }

  async close(): Promise<void> {
    await this.#agent?.stop();
    await this.server.close();
    await this.forge.stop();
    await this.git.close();
    await this.#database?.drop();
    await rm(this.folder, { recursive: true, force: true });
  }
}
