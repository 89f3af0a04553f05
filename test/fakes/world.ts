import { createPrivateKey, createPublicKey, generateKeyPairSync, randomBytes, sign, type KeyObject } from 'node:crypto';
import { rm } from 'node:fs/promises';
import { join } from 'node:path';
import { stringify } from 'yaml';
import { directGitCommands } from '../../src/adapters/git/git-command.ts';
import { openMirror, type Mirror } from '../../src/adapters/git/mirror.ts';
import { createDocumentParser } from '../../src/adapters/yaml/document-parser.ts';
import type { JsonObject } from '../../src/core/model/canonical-json.ts';
import type { CommitId } from '../../src/core/model/commit-id.ts';
import { digestOfBytes, type Digest } from '../../src/core/model/digest.ts';
import { API_VERSION, documentDigest, documentPreimage, isProtected, type AnyDocument, type DocumentOf, type Kind, type SpecOf } from '../../src/core/model/documents.ts';
import { canonicalBytes } from '../../src/core/model/canonical-json.ts';
import { genesisDocumentsDigest, intentPreimage } from '../../src/core/model/preimages.ts';
import { keyIdOf } from '../../src/core/evidence/dsse.ts';
import type { DigestResolver } from '../../src/ports/digest-resolver.ts';
import type { RecordSigner } from '../../src/ports/signing.ts';
import type { LogState, OpenRun } from '../../src/core/evidence/log-state.ts';
import type { DeploymentOutcomePredicate } from '../../src/core/evidence/records.ts';
import type { FinishedRun } from '../../src/reconciler/run-outcome.ts';
import { Reconciler, type ReconcilerParts } from '../../src/reconciler/reconciler.ts';
import { createRepository, createSshKey, createTemporaryFolder, signWith, signWithSsh, type Signer, type SshKey, type TestRepository } from './git-repository.ts';
import { openPgp } from './openpgp.ts';

export const TARGET_REF = 'refs/heads/main';
export const EVIDENCE_REF = 'refs/heads/stella/evidence';

/** A document of any kind. */
export function doc<K extends Kind>(kind: K, name: string, spec: SpecOf[K]): DocumentOf<K> {
  return { apiVersion: API_VERSION, kind, metadata: { name }, spec } as unknown as DocumentOf<K>;
}

export function yamlOf(document: AnyDocument): string {
  return stringify(document, { lineWidth: 0 });
}

/** The path of the folder convention, good enough for tests. */
export function pathOf(document: AnyDocument): string {
  return `${document.kind.toLowerCase()}s/${document.metadata.name}.yaml`;
}

export type People = { readonly alice: SshKey; readonly bob: SshKey; readonly carol: SshKey };

/** A registry in memory: tags by `<repository>:<tag>`. */
export class TagTable implements DigestResolver {
  readonly tags = new Map<string, Digest>();
  unreachable = false;

  async resolve({ repository, tag }: { readonly repository: string; readonly tag: string }): ReturnType<DigestResolver['resolve']> {
    if (this.unreachable) return { ok: false, code: 'RegistryUnreachable', message: 'nobody answers', disposition: 'retry' };
    const digest = this.tags.get(`${repository}:${tag}`);
    if (digest === undefined) return { ok: false, code: 'TagUnknown', message: `no tag ${tag}`, disposition: 'wait' };
    return { ok: true, digest, mediaType: 'application/vnd.oci.image.manifest.v1+json', size: 1 };
  }

  async exists(): ReturnType<DigestResolver['exists']> {
    return { ok: true, exists: true };
  }

  async listTags(): ReturnType<DigestResolver['listTags']> {
    return { ok: true, tags: [], truncated: false };
  }

  /** Points `<repository>:<tag>` to an image that is told apart by `content`. */
  put(reference: string, content: string): Digest {
    const digest = digestOfBytes(content);
    this.tags.set(reference, digest);
    return digest;
  }
}

export type ServerKeys = { readonly decisions: KeyObject; readonly decisionsPem: string; readonly agentCaPem: string; readonly agentCaKeyPem: string; readonly commits: SshKey };

export function recordSignerOf(key: KeyObject): RecordSigner {
  const der = createPublicKey(key).export({ format: 'der', type: 'spki' });
  return { keyId: keyIdOf(der), sign: (bytes) => sign('sha256', bytes, key) };
}

async function makeServerKeys(folder: string): Promise<ServerKeys> {
  const pair = (): { key: KeyObject; pem: string; keyPem: string } => {
    const { privateKey, publicKey } = generateKeyPairSync('ec', { namedCurve: 'P-256' });
    const keyPem = privateKey.export({ format: 'pem', type: 'pkcs8' }).toString();
    return { key: createPrivateKey(keyPem), keyPem, pem: publicKey.export({ format: 'pem', type: 'spki' }).toString() };
  };
  const decisions = pair();
  const agentCa = pair();
  return { decisions: decisions.key, decisionsPem: decisions.pem, agentCaPem: agentCa.pem, agentCaKeyPem: agentCa.keyPem, commits: await createSshKey(folder, 'evidence-commits') };
}

export type WorldOptions = {
  /** Further protected documents of genesis, or replacements by kind and name. */
  readonly documents?: readonly AnyDocument[];
  readonly root?: Partial<SpecOf['TrustRoot']> | ((people: People) => Partial<SpecOf['TrustRoot']>);
  /** Files in the first commit that are no protected documents. */
  readonly files?: Readonly<Record<string, string>>;
  /** Genesis lies in the repository, but no pass has run yet. */
  readonly idle?: boolean;
  /** Where the server keeps its mirror; below the world's own folder by default. */
  readonly mirrorFolder?: string;
};

/** The protected documents of a small shop: dev without approvals, prod after dev with one approval of role sre. */
export function shopDocuments(people: People): readonly AnyDocument[] {
  const person = (key: SshKey, roles: SpecOf['Principal']['roles']): DocumentOf<'Principal'> =>
    doc('Principal', key.name, { type: 'person', keys: [{ key: key.publicKey, status: 'active' }], ...(roles === undefined ? {} : { roles }) });
  const identity = generateKeyPairSync('ec', { namedCurve: 'P-256' }).publicKey.export({ format: 'pem', type: 'spki' }).toString();
  const target = (name: string, environment: string): DocumentOf<'Target'> =>
    doc('Target', name, { type: 'directory_host', agent: 'host', environments: [environment], applications: ['shop'], connection: { root: `/srv/${environment}` } });
  return [
    person(people.alice, [{ role: 'dev' }, { role: 'admin' }]), person(people.bob, [{ role: 'sre' }, { role: 'admin' }]), person(people.carol, [{ role: 'sre' }]),
    doc('Environment', 'dev', { order: 1 }),
    doc('Environment', 'prod', { order: 2, from: [{ environment: 'dev' }], approvals: { people: 1, roles: [{ role: 'sre', count: 1 }] } }),
    doc('Application', 'shop', { components: ['api'], deployment: { type: 'directory' } }),
    doc('Component', 'api', { repository: 'shop/api', registry: 'images' }),
    doc('Integration', 'images', { type: 'registry', layout: 'images' }),
    doc('Agent', 'host', { identityKey: identity, owner: 'bob', capabilities: ['directory_host'] }),
    target('dev-1', 'dev'), target('prod-1', 'prod'),
  ];
}

/** A repository with a log, real keys and a reconciler in this process; without database, agents and network. */
export class World {
  readonly folder: string;
  readonly repository: TestRepository;
  readonly people: People;
  readonly keys: ServerKeys;
  readonly registry: TagTable;
  readonly pin: Digest;
  now = new Date('2026-11-01T08:00:00.000Z');
  readonly executor = new InstantExecutor(() => this.now);
  #mirror: Mirror | null = null;
  #reconciler: Reconciler | null = null;
  #opened = 0;
  readonly #mirrorFolder: string;

  private constructor(p: { folder: string; repository: TestRepository; people: People; keys: ServerKeys; registry: TagTable; pin: Digest; mirrorFolder: string | undefined }) {
    this.folder = p.folder;
    this.repository = p.repository;
    this.people = p.people;
    this.keys = p.keys;
    this.registry = p.registry;
    this.pin = p.pin;
    this.#mirrorFolder = p.mirrorFolder ?? p.folder;
  }

  static async create(options: WorldOptions = {}): Promise<World> {
    const folder = await createTemporaryFolder();
    const [alice, bob, carol] = await Promise.all(['alice', 'bob', 'carol'].map((name) => createSshKey(join(folder, 'keys'), name)));
    const people: People = { alice: alice!, bob: bob!, carol: carol! };
    const keys = await makeServerKeys(join(folder, 'keys'));
    const repository = await createRepository({ folder: join(folder, 'origin.git') });
    const given = new Map(shopDocuments(people).map((d) => [`${d.kind}/${d.metadata.name}`, d]));
    for (const d of options.documents ?? []) given.set(`${d.kind}/${d.metadata.name}`, d);
    const documents = [...given.values()];
    const root = doc('TrustRoot', 'root', {
      version: 1, previous: null, id: randomBytes(32).toString('hex'), tenant: 'default',
      documents: genesisDocumentsDigest(documents.filter((d) => isProtected(d.kind)).map((d) => ({ kind: d.kind, name: d.metadata.name, digest: documentDigest(d) }))),
      keys: [{ principal: 'alice', key: people.alice.publicKey }], threshold: 1,
      services: [
        { role: 'decisions', name: 'reconciler', publicKey: keys.decisionsPem }, { role: 'agent-ca', name: 'agents', publicKey: keys.agentCaPem },
        { role: 'evidence-commits', name: 'reconciler', publicKey: keys.commits.publicKey },
      ],
      quorums: { default: { people: 1, roles: [{ role: 'admin', count: 1 }] }, create: { people: 1, roles: [{ role: 'admin', count: 1 }] } },
      proposerCounts: true, ...(typeof options.root === 'function' ? options.root(people) : options.root),
    });
    const files = Object.fromEntries([root, ...documents].map((d) => [pathOf(d), yamlOf(d)]));
    await repository.commit({ message: 'Begin', files: { ...files, ...options.files }, sshKey: people.alice });
    const world = new World({ folder, repository, people, keys, registry: new TagTable(), pin: documentDigest(root), mirrorFolder: options.mirrorFolder });
    if (options.idle !== true) await world.settle();
    return world;
  }

  /** Parts of a reconciler on a mirror of its own; `restart` opens another. */
  async parts(overrides: Partial<ReconcilerParts> = {}): Promise<ReconcilerParts> {
    const settings = { environment: { PATH: process.env['PATH'] }, commands: directGitCommands() };
    this.#mirror ??= await openMirror({ folder: join(this.#mirrorFolder, `mirror-${this.#opened++}`), url: this.repository.folder, settings, ownPid: process.pid });
    const { reader, remote, writer } = this.#mirror;
    return {
      reader, remote, evidence: { reader, remote, branch: writer.openBranch(EVIDENCE_REF) }, parser: createDocumentParser(), openPgp, registry: () => this.registry,
      signers: { records: recordSignerOf(this.keys.decisions), commits: (payload) => signWithSsh(this.keys.commits, payload) },
      ledger: null, executor: this.executor, now: () => this.now, engineVersion: 'test', targetRef: TARGET_REF, pin: this.pin, createLog: true,
      author: { name: 'stella', email: 'stella@example.test' }, tagPollSeconds: 1_000_000, ...overrides,
    };
  }

  async reconciler(overrides?: Partial<ReconcilerParts>): Promise<Reconciler> {
    this.#reconciler ??= new Reconciler(await this.parts(overrides));
    return this.#reconciler;
  }

  /** One reconcile; a pass that stalls fails the test unless `stalls` is asked for. */
  async pass(): Promise<Awaited<ReturnType<Reconciler['pass']>>> {
    return (await this.reconciler()).pass();
  }

  /** Passes until nothing more is written, as the server's loop does. @returns how many records */
  async settle(): Promise<number> {
    let records = 0;
    for (let last = -1; last !== 0; records += last) {
      const report = await this.pass();
      if (report.fault !== null) throw new Error(`${report.fault.code}: ${report.fault.message}`);
      last = report.records;
    }
    return records;
  }

  async state(): Promise<LogState> {
    const { state } = await this.reconciler();
    if (state === null) throw new Error('no pass has read the log');
    return state;
  }

  /** The server is killed and started again on an empty disk. */
  async restart(): Promise<void> {
    await this.#mirror?.close();
    this.#mirror = null;
    this.#reconciler = null;
  }

  async commit(documents: readonly AnyDocument[], options: { readonly by?: Signer; readonly message?: string; readonly branch?: string; readonly files?: Record<string, string>; readonly deletes?: readonly string[] } = {}): Promise<CommitId> {
    const files = { ...Object.fromEntries(documents.map((d) => [pathOf(d), yamlOf(d)])), ...options.files };
    return this.repository.commit({
      message: options.message ?? 'Change', files, sshKey: options.by, ...(options.branch === undefined ? {} : { branch: options.branch }), ...(options.deletes === undefined ? {} : { deletes: options.deletes }),
    });
  }

  /** A Promotion with the requester's intent signature. */
  async promotion(environment: string, release: string, options: { readonly by?: Signer; readonly attempt?: number; readonly releaseSpec?: Digest | null } = {}): Promise<DocumentOf<'Promotion'>> {
    const promotion = doc('Promotion', `${environment}/shop`, { release, ...(options.attempt === undefined ? {} : { attempt: options.attempt }) });
    if (options.by === undefined) return promotion;
    const releaseSpec = options.releaseSpec ?? (await this.reconciler()).state?.locks.get(`shop/${release}`)?.releaseSpec ?? null;
    const preimage = canonicalBytes(intentPreimage({ logId: this.pin, promotion, releaseSpec }) as unknown as JsonObject);
    return { ...promotion, signatures: [await signWith(options.by, preimage, 'stella-intent')] };
  }

  /** An Approval document with an embedded signature. */
  async approval(by: Signer, spec: Omit<SpecOf['Approval'], 'nonce' | 'action'> & Partial<SpecOf['Approval']>): Promise<DocumentOf<'Approval'>> {
    const nonce = randomBytes(16).toString('hex');
    const document = doc('Approval', `${by.name}-${nonce.slice(0, 8)}`, { action: 'approve', nonce, ...spec } as SpecOf['Approval']);
    return { ...document, signatures: [await signWith(by, documentPreimage(document), 'stella-approval')] };
  }

  async close(): Promise<void> {
    await this.#mirror?.close();
    await rm(this.folder, { recursive: true, force: true });
  }
}

/** How a deployment to all targets of a plan ended, without receipts. */
export function deployStep(targets: OpenRun['targets'], result: 'Succeeded' | 'Failed'): DeploymentOutcomePredicate['steps'][number] {
  return { name: 'deploy', result, targets: targets.map(({ target }) => ({ target, agent: 'host', result, code: 'Applied', message: '', try: 1, receipt: null })) };
}

/** Ends every run at once with the result that `answer` gives; stands where agents would be. */
export class InstantExecutor {
  readonly executed: { readonly environment: string; readonly generation: number; readonly release: string | null }[] = [];
  answer: 'Succeeded' | 'Failed' = 'Succeeded';
  #finished: FinishedRun[] = [];
  readonly #now: () => Date;

  constructor(now: () => Date) {
    this.#now = now;
  }

  async sync(state: LogState): Promise<void> {
    this.#finished = [];
    for (const app of state.states.values()) {
      const run = app.openRun;
      if (run === null) continue;
      const at = this.#now().toISOString();
      this.executed.push({ environment: app.environment, generation: run.generation, release: run.release });
      this.#finished.push({
        environment: app.environment, application: app.application, receipts: [],
        predicate: {
          environment: app.environment, application: app.application, operation: run.operation, generation: run.generation, promotionDigest: run.promotionDigest, decision: run.decision,
          result: this.answer, reason: this.answer === 'Succeeded' ? 'Ok' : 'TargetFailed', startedAt: at, endedAt: at, steps: [deployStep(run.targets, this.answer)], fallback: null,
        },
      });
    }
  }

  takeFinished(): readonly FinishedRun[] {
    return this.#finished;
  }

  needsRenewal(): readonly string[] {
    return [];
  }
}
