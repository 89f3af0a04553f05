import { performance } from 'node:perf_hooks';
import { forkGitLauncher } from '../../src/adapters/git/git-launcher.ts';
import { openMirror, type Mirror } from '../../src/adapters/git/mirror.ts';
import type { GitCommands } from '../../src/adapters/git/git-command.ts';
import { openCommitSigner } from '../../src/adapters/keys/commit-key.ts';
import { createDocumentParser } from '../../src/adapters/yaml/document-parser.ts';
import type { CommitId } from '../../src/core/model/commit-id.ts';
import { digestOfBytes } from '../../src/core/model/digest.ts';
import { documentDigest, type AnyDocument, type SpecOf } from '../../src/core/model/documents.ts';
import { changeDigest } from '../../src/core/model/preimages.ts';
import { inForceOf } from '../../src/core/evidence/log-state.ts';
import { changeTo } from '../../src/core/trust/apply-change.ts';
import { ArtifactCache } from '../../src/reconciler/artifact-cache.ts';
import type { ProposalWorld } from '../../src/reconciler/plan-proposal.ts';
import { TouchingCommits } from '../../src/reconciler/touching-commits.ts';
import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import type { Reconciler, ReconcilerParts } from '../../src/reconciler/reconciler.ts';
import { openPgp } from '../fakes/openpgp.ts';
import { doc, EVIDENCE_REF, recordSignerOf, World, type WorldOptions } from '../fakes/world.ts';

/** Documents of one application: itself, its component, releases, promotions, and a configuration for each environment (one per customer, say). */
const PER_APPLICATION = 100;
const RELEASES = 12;
const PROMOTIONS = 3;
const ENVIRONMENTS = Array.from({ length: PER_APPLICATION - RELEASES - PROMOTIONS - 2 }, (_, i) => `env-${String(i).padStart(2, '0')}`);
/** The environment whose promotions change. */
const CHANGING = 'env-00';
const PER_TARGET = 50;

/** A repository of many documents, and a reconciler on it as a server runs it. */
export type LargeWorld = {
  readonly reconciler: Reconciler;
  /** Number of documents. */
  readonly documents: number;
  /** How long the first passes took, from an empty mirror and no log. */
  readonly firstMs: number;
  /** Changes one promotion, makes the pass that decides it and the one that records its outcome. @returns milliseconds of the first */
  promote(round: number): Promise<number>;
  /** Branches that change one promotion each, as the mirror has them. @param from number of the first */
  propose(from: number, count: number): Promise<readonly CommitId[]>;
  /** What the server plans proposals against after its last pass. */
  proposalWorld(): ProposalWorld;
  /** Puts another rule for one environment in force. */
  changePolicy(round: number): Promise<void>;
  close(): Promise<void>;
};

/**
 * What lies in a repository of many documents.
 * @param documents how many, but for the few of every test repository; a multiple of 100
 * @param environment what holds for every environment
 */
export function largeRepository(documents: number, environment: Partial<SpecOf['Environment']> = {}): WorldOptions {
  const applications = documents / PER_APPLICATION;
  return { idle: true, documents: protectedDocuments(applications, environment), files: otherFiles(applications) };
}

/** The file of a promotion that changes with the round. */
export function changedPromotion(documents: number, round: number): Readonly<Record<string, string>> {
  const applications = documents / PER_APPLICATION;
  const application = nameOf(round % applications);
  const release = `1.${1 + (Math.floor(round / applications) % (RELEASES - 1))}`;
  return { [`promotions/${CHANGING}/${application}.yaml`]: promotionText(CHANGING, application, release) };
}

/** @param documents a multiple of 100 */
export async function createLargeWorld(documents: number, overrides: Partial<ReconcilerParts> = {}): Promise<LargeWorld> {
  const world = await World.create(largeRepository(documents));
  const commands = forkGitLauncher();
  const mirror = await openMirror({ folder: join(world.folder, 'server'), url: world.repository.folder, settings: { environment: { PATH: process.env['PATH'] }, commands }, ownPid: process.pid });
  const reconciler = await startReconciler(world, mirror, overrides);
  const start = performance.now();
  await world.settle();
  const firstMs = performance.now() - start;
  return {
    reconciler, documents, firstMs,
    promote: (round) => promote(world, reconciler, documents, round), propose: (from, count) => propose(world, mirror, documents, { from, count }),
    proposalWorld: proposalWorldOf(world, reconciler, mirror), changePolicy: (round) => changePolicy(world, reconciler, round),
    close: () => closeAll(world, mirror, commands),
  };
}

async function startReconciler(world: World, mirror: Mirror, overrides: Partial<ReconcilerParts>): Promise<Reconciler> {
  const { privateKeyPath } = world.keys.commits;
  const commits = openCommitSigner({ text: await readFile(privateKeyPath, 'utf8'), file: null, where: privateKeyPath, environment: {} });
  const { reader, remote, writer } = mirror;
  return world.reconciler({
    reader, remote, evidence: { reader, remote, branch: writer.openBranch(EVIDENCE_REF) }, signers: { records: recordSignerOf(world.keys.decisions), commits }, ...overrides,
  });
}

async function promote(world: World, reconciler: Reconciler, documents: number, round: number): Promise<number> {
  await world.commit([], { files: changedPromotion(documents, round) });
  const start = performance.now();
  const decided = await reconciler.pass();
  const elapsedMs = performance.now() - start;
  const ended = await reconciler.pass();
  if (decided.fault !== null || decided.records !== 2 || ended.records !== 1) throw new Error(`round ${round}: ${JSON.stringify([decided, ended])}`);
  return elapsedMs;
}

async function propose(world: World, mirror: Mirror, documents: number, { from, count }: { readonly from: number; readonly count: number }): Promise<readonly CommitId[]> {
  const tip = (await world.repository.tip()) as CommitId;
  const commits: CommitId[] = [];
  for (let i = from; i < from + count; i += 1) {
    await world.repository.setBranch(`proposals/${i}`, tip);
    // By somebody's key, as people sign; the promotion that one round of `promote` would change.
    commits.push(await world.commit([], { by: world.people.alice, branch: `proposals/${i}`, files: changedPromotion(documents, i) }));
  }
  const fetched = await mirror.remote.fetch(['+refs/heads/proposals/*:refs/stella/proposals/*']);
  if (!fetched.ok) throw new Error(fetched.message);
  return commits;
}

function proposalWorldOf(world: World, reconciler: Reconciler, { reader }: Mirror): () => ProposalWorld {
  const parts = { reader, parser: createDocumentParser(), openPgp, registry: () => world.registry };
  const kept = { artifacts: new ArtifactCache(reader), touching: new TouchingCommits(reader, parts.parser) };
  return () => {
    const { snapshot } = reconciler;
    if (snapshot === null) throw new Error('no pass came to its end');
    return { ...snapshot, ...parts, ...kept };
  };
}

async function changePolicy(world: World, reconciler: Reconciler, round: number): Promise<void> {
  const { state } = reconciler;
  if (state === null) throw new Error('no pass has read the log');
  const environment = doc('Environment', CHANGING, { order: 10, approvals: { people: 1 + (round % 2) } });
  const digest = changeDigest(state.logId, [changeTo(state, 'Environment', CHANGING, documentDigest(environment))]);
  await world.commit([environment], { by: world.people.alice, message: `Ask more people\n\nStella-Change: ${digest}` });
  await world.settle();
  if (inForceOf(reconciler.state ?? state, 'Environment', CHANGING)?.spec.approvals?.people !== 1 + (round % 2)) throw new Error('the rule did not come into force');
}

async function closeAll(world: World, mirror: Mirror, commands: GitCommands): Promise<void> {
  await mirror.close();
  await commands.close();
  await world.close();
}

const nameOf = (i: number): string => `app-${String(i).padStart(5, '0')}`;
const names = (applications: number): readonly string[] => Array.from({ length: applications }, (_, i) => nameOf(i));

function protectedDocuments(applications: number, environment: Partial<SpecOf['Environment']>): readonly AnyDocument[] {
  const environments = ENVIRONMENTS.map((name, i) => doc('Environment', name, { order: i + 10, ...environment }));
  const targets = Array.from({ length: Math.ceil(applications / PER_TARGET) }, (_, i) => doc('Target', `many-${i}`, {
    type: 'directory_host', agent: 'host', environments: [...ENVIRONMENTS], applications: names(applications).slice(i * PER_TARGET, (i + 1) * PER_TARGET), connection: { root: `/srv/many-${i}` },
  }));
  const each = names(applications).flatMap((name) => [
    doc('Application', name, { components: [`${name}-web`], deployment: { type: 'directory' } }), doc('Component', `${name}-web`, { repository: `many/${name}`, registry: 'images' }),
  ]);
  return [...environments, ...targets, ...each];
}

/** Releases whose components have digests, so that no registry is asked; a configuration for each environment; promotions for some. */
function otherFiles(applications: number): Readonly<Record<string, string>> {
  const files: Record<string, string> = {};
  for (const name of names(applications)) {
    for (let i = 0; i < RELEASES; i += 1) files[`apps/${name}/releases/1.${i}.yaml`] = releaseText(name, `1.${i}`);
    for (const environment of ENVIRONMENTS) files[`apps/${name}/env/${environment}.yaml`] = text('Configuration', `${environment}/${name}`, '  variables:\n    LOG_LEVEL: warn\n');
    for (const environment of ENVIRONMENTS.slice(0, PROMOTIONS)) files[`promotions/${environment}/${name}.yaml`] = promotionText(environment, name, '1.0');
  }
  return files;
}

function releaseText(application: string, version: string): string {
  return text('Release', `${application}/${version}`, `  components:\n    ${application}-web:\n      digest: ${digestOfBytes(`${application} ${version}`)}\n`);
}

function promotionText(environment: string, application: string, release: string): string {
  return text('Promotion', `${environment}/${application}`, `  release: "${release}"\n`);
}

/** Written out, because the library takes long for 50,000 documents. */
function text(kind: string, name: string, spec: string): string {
  return `apiVersion: stella/v1alpha1\nkind: ${kind}\nmetadata:\n  name: ${name}\nspec:\n${spec}`;
}
