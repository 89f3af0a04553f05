import { createHash, generateKeyPairSync, sign, type KeyObject } from 'node:crypto';
import { publicKeyDer } from '../../src/adapters/pki/key-form.ts';
import { agentKeys } from '../../src/adapters/pki/agent-keys.ts';
import { openIdentity, type AgentIdentity } from '../../src/agent/identity.ts';
import { canonicalBytes } from '../../src/core/model/canonical-json.ts';
import type { CommitId } from '../../src/core/model/commit-id.ts';
import { digestOfBytes, type Digest } from '../../src/core/model/digest.ts';
import {
  API_VERSION, documentDigest, documentKey, documentPreimage, type AnyDocument, type ApprovalSpec, type DocumentOf, type Kind, type PromotionSpec, type SpecOf,
} from '../../src/core/model/documents.ts';
import { changeDigest, genesisDocumentsDigest, identityOf, intentPreimage, lockOf, preimageDigest, releaseSpecDigest, snapshotOf } from '../../src/core/model/preimages.ts';
import { assembleEnvelope, IN_TOTO_PAYLOAD_TYPE, preAuthEncoding } from '../../src/core/evidence/dsse.ts';
import { appStateOf, inForceOf, initialState, rootOf, type AppState, type LogState } from '../../src/core/evidence/log-state.ts';
import { recordPayload } from '../../src/core/evidence/record-codec.ts';
import type { DeploymentOutcomePredicate, PromotionDecisionPredicate, ProtectedChangePredicate, RecordBody, RecordHeader } from '../../src/core/evidence/records.ts';
import { STICKER } from '../../src/core/release/sticker.ts';
import { changeTo } from '../../src/core/trust/apply-change.ts';
import type { RecordSigner } from '../../src/ports/signing.ts';
import type { BundleSources } from '../../src/reconciler/build-bundle.ts';
import { Conditions } from '../../src/reconciler/conditions.ts';
import { decideSubjects } from '../../src/reconciler/decide-subjects.ts';
import { LogBatch } from '../../src/reconciler/log-batch.ts';
import { observeApprovals } from '../../src/reconciler/observe-approvals.ts';
import type { Pass } from '../../src/reconciler/pass.ts';
import { ProtectedChangeShelf } from '../../src/reconciler/protected-change-shelf.ts';
import { createSshKey, signWithSsh, type SshKey } from './git-repository.ts';
import { openPgp } from './openpgp.ts';

export type LogOptions = {
  /** Workflow of the environment `prod`. */
  readonly workflow?: SpecOf['Workflow'];
  /** Targets of `prod` by the agent that has each. Default: `web-1` of agent `anna`. */
  readonly targets?: Readonly<Record<string, string>>;
  readonly allowSeconds?: number;
  /** Agents in force that have no target. */
  readonly agents?: readonly string[];
  /** Minimums of the root. */
  readonly minimums?: NonNullable<SpecOf['TrustRoot']['minimums']>;
  /** Whether prod asks for one approval by an sre; true by default. */
  readonly approvals?: boolean;
  /** More of the environment prod. */
  readonly environment?: Partial<SpecOf['Environment']>;
};

/** alice asks; bob and carol are of the role sre, which prod demands once; mallory has a key and no role. */
export const PEOPLE = ['alice', 'bob', 'carol', 'mallory'] as const;
export type Person = (typeof PEOPLE)[number];

export const SUBJECT = { environment: 'prod', application: 'shop' } as const;
const COMMIT = 'c'.repeat(40) as CommitId;
const SCRIPT = Buffer.from('#!/bin/sh\nexec ./api\n');

export function documentOf<K extends Kind>(kind: K, name: string, spec: SpecOf[K]): DocumentOf<K> {
  return { apiVersion: API_VERSION, kind, metadata: { name }, spec };
}

function doc<K extends Kind>(kind: K, name: string, spec: SpecOf[K]): AnyDocument {
  return documentOf(kind, name, spec) as unknown as AnyDocument;
}

/**
 * A small log that is real in everything that is verified: keys, documents, records, approvals, decisions are made with the code that the
 * server uses; only the Git repository around it is left out. Every record counts as pushed. The clock stands until a test moves it.
 */
export class LogFixture implements BundleSources {
  state: LogState;
  now: Date;
  readonly root: DocumentOf<'TrustRoot'>;
  readonly envelopes: Uint8Array[] = [];
  readonly changes = new ProtectedChangeShelf();
  readonly people: Readonly<Record<Person, SshKey>>;
  /** The key of the agents' authority. */
  readonly agentCa: KeyObject;
  readonly agents: ReadonlyMap<string, AgentIdentity>;
  readonly stored = new Map<Digest, Uint8Array>();
  readonly #decisions: KeyObject;
  /** Takes over once the root in force lists it. */
  #next: KeyObject | null = null;
  readonly #promotions = new Map<string, DocumentOf<'Promotion'>>();

  private constructor(parts: { root: DocumentOf<'TrustRoot'>; people: Record<Person, SshKey>; agents: ReadonlyMap<string, AgentIdentity>; decisions: KeyObject; agentCa: KeyObject; now: Date }) {
    this.root = parts.root;
    this.people = parts.people;
    this.agents = parts.agents;
    this.#decisions = parts.decisions;
    this.agentCa = parts.agentCa;
    this.now = parts.now;
    this.state = initialState(parts.root, documentDigest(parts.root as unknown as AnyDocument));
  }

  /** @param folder for keys; the caller removes it */
  static async create(folder: string, options: LogOptions = {}): Promise<LogFixture> {
    const people = Object.fromEntries(await Promise.all(PEOPLE.map(async (name) => [name, await createSshKey(folder, name)] as const))) as Record<Person, SshKey>;
    const targets = options.targets ?? { 'web-1': 'anna' };
    const agents = new Map(await Promise.all([...new Set([...Object.values(targets), ...(options.agents ?? [])])].map(async (name) => [name, await openIdentity(`${folder}/agent-${name}`, name, agentKeys)] as const)));
    const decisions = generateKeyPairSync('ec', { namedCurve: 'P-256' });
    const documents = firstDocuments(people, agents, targets, options);
    const agentCa = generateKeyPairSync('ec', { namedCurve: 'P-256' });
    const root = rootFor(documents, people, { decisions: spkiPem(decisions.publicKey), agentCa: spkiPem(agentCa.publicKey) }, options);
    const fixture = new LogFixture({ root, people, agents, decisions: decisions.privateKey, agentCa: agentCa.privateKey, now: new Date('2026-05-04T12:00:00.000Z') });
    fixture.#genesis(documents);
    return fixture;
  }

  get pin(): Digest {
    return this.state.logId;
  }

  get app(): AppState {
    return appStateOf(this.state, SUBJECT.environment, SUBJECT.application);
  }

  /** Artifacts as a server reads them from the evidence branch. */
  readonly artifacts = { load: (): Promise<void> => Promise.resolve(), get: (digest: Digest): Uint8Array | undefined => this.stored.get(digest) };

  readonly envelope = (seq: number): Promise<Uint8Array | undefined> => Promise.resolve(this.envelopes[seq]);

  after(seconds: number): void {
    this.now = new Date(this.now.getTime() + seconds * 1000);
  }

  /** Records go into the log together. */
  push(fill: (batch: LogBatch) => void | Promise<void>): void | Promise<void> {
    const batch = new LogBatch(this.state, { records: this.#signer(), commits: () => '', ...(this.#next === null ? {} : { next: { records: this.#signer(this.#next) } }) }, { artifact: this.artifacts.get, openPgp }, { commit: COMMIT, asOf: this.now.toISOString(), engineVersion: '0' });
    const keep = (): void => {
      this.state = batch.state;
      for (const [digest, bytes] of batch.artifacts) this.stored.set(digest, bytes);
      for (const { record, envelope } of batch.records) {
        this.envelopes.push(envelope);
        this.changes.add(record, envelope);
      }
    };
    const filled = fill(batch);
    return filled === undefined ? keep() : filled.then(keep);
  }

  record(body: RecordBody): void {
    void this.push((batch) => void batch.add(body));
  }

  /** Locks `shop/<version>`; its one component has a digest made of the version. */
  lock(version: string): void {
    const release = releaseOf(version);
    const script = { path: 'shop/run.sh', digest: digestOfBytes(SCRIPT), mode: 0o755 };
    const component = { name: 'api', repository: 'shop/api', registry: 'local', digest: componentDigest(version), tag: version };
    const lock = lockOf({ logId: this.pin, application: 'shop', release: version, components: [component], source: null, snapshot: snapshotOf(APPLICATION, [script]) });
    void this.push((batch) => {
      batch.artifact(SCRIPT);
      const tags = [{ component: 'api', tag: version, digest: component.digest }];
      const predicate = { application: 'shop', release: version, releaseSpec: releaseSpecDigest(release), spec: identityOf(release.spec), lock, lockDigest: preimageDigest(lock), basis: 'resolved', tags, approval: null, onBehalfOf: null } as const;
      batch.add({ type: 'release-lock', predicate });
    });
  }

  /** Puts a Promotion with alice's intent on the target branch and decides. @param by null: nobody signed it @returns the decision as it stands in the log */
  async promote(spec: PromotionSpec, by: Person | null = 'alice'): Promise<PromotionDecisionPredicate> {
    const promotion = documentOf('Promotion', `${SUBJECT.environment}/${SUBJECT.application}`, spec);
    const releaseSpec = spec.release === undefined ? null : releaseSpecDigest(releaseOf(spec.release));
    const signature = by === null ? null : await signWithSsh(this.people[by], canonicalBytes(intentPreimage({ logId: this.pin, promotion, releaseSpec })), 'stella-intent');
    this.#promotions.set(documentKey('Promotion', promotion.metadata.name), signature === null ? promotion : { ...promotion, signatures: [{ format: 'sshsig', signature }] });
    return this.decide();
  }

  /** Takes the Promotion off the target branch and decides. @returns the last decision in the log */
  async withdraw(): Promise<PromotionDecisionPredicate> {
    this.#promotions.clear();
    return this.decide();
  }

  /** Decides the promotion again, with the code of the reconciler. @returns the last decision in the log */
  async decide(): Promise<PromotionDecisionPredicate> {
    await this.push(async (batch) => { await decideSubjects(this.#pass(batch), [`${SUBJECT.environment}/${SUBJECT.application}`]); });
    return this.lastDecision();
  }

  lastDecision(): PromotionDecisionPredicate {
    const envelope = this.envelopes[this.app.lastDecision?.seq ?? -1] ?? Buffer.from('{}');
    const { payload } = JSON.parse(Buffer.from(envelope).toString()) as { payload: string };
    return (JSON.parse(Buffer.from(payload, 'base64').toString()) as { predicate: { content: PromotionDecisionPredicate } }).predicate.content;
  }

  /** An approval of the last decision's promotion digest, as `stella approve` signs it. It is not in the log yet. */
  async approval(by: Person, more: Partial<ApprovalSpec> = {}): Promise<DocumentOf<'Approval'>> {
    const { promotionDigest } = this.lastDecision().decision;
    if (promotionDigest === null) throw new Error('the last decision has no promotion digest to approve');
    const nonce = createHash('sha256').update(`${by} ${this.envelopes.length}`).digest('hex').slice(0, 32);
    const spec: ApprovalSpec = { type: 'promotion', digest: promotionDigest, action: 'approve', ...SUBJECT, nonce, ...more };
    return this.signed(documentOf('Approval', `${by}-${nonce.slice(0, 8)}`, spec), by);
  }

  async signed(document: DocumentOf<'Approval'>, by: Person): Promise<DocumentOf<'Approval'>> {
    const signature = await signWithSsh(this.people[by], documentPreimage(document), 'stella-approval');
    return { ...document, signatures: [{ format: 'sshsig', signature }] };
  }

  /** Observes an approval of `by` and decides again. */
  async approve(by: Person = 'bob', more: Partial<ApprovalSpec> = {}): Promise<PromotionDecisionPredicate> {
    const document = await this.approval(by, more);
    void this.push((batch) => void observeApprovals(this.#pass(batch), [document]));
    return this.decide();
  }

  /** Observes an approval without deciding. */
  observe(document: DocumentOf<'Approval'>): void {
    void this.push((batch) => void observeApprovals(this.#pass(batch), [document]));
  }

  /** The Principal in force. */
  principal(name: Person): DocumentOf<'Principal'> {
    const found = inForceOf(this.state, 'Principal', name);
    if (found === null) throw new Error(`${name} is not in force`);
    return found;
  }

  /** Locks, asks, approves: the run is open then. */
  async allow(version: string, attempt = 1): Promise<PromotionDecisionPredicate> {
    if (!this.state.locks.has(`shop/${version}`)) this.lock(version);
    await this.promote({ release: version, attempt });
    return this.approve('bob');
  }

  /** What a thief of the server's keys can do: turns the last decision into an allow that no quorum stands behind. */
  forgeAllow(): PromotionDecisionPredicate {
    const last = this.lastDecision();
    const notAfter = new Date(this.now.getTime() + 3_600_000).toISOString();
    void this.push((batch) => {
      const sticker = { name: STICKER, digest: batch.artifact(Buffer.from('{}')) };
      const decision = { ...last.decision, outcome: 'allow', gates: [], reasons: [], consumes: [], notAfter, rollbackUntil: notAfter } as const;
      batch.add({ type: 'promotion-decision', predicate: { ...last, decision, artifacts: [sticker] } });
    });
    return this.lastDecision();
  }

  /** Puts a protected document in force with the approval of `by`. */
  async change(document: AnyDocument, by: Person = 'bob'): Promise<void> {
    const { approval, predicate } = await this.changeOf(document, by);
    void this.push((batch) => {
      observeApprovals(this.#pass(batch), [approval]);
      batch.artifact(documentPreimage(document));
      batch.artifact(canonicalBytes(approval));
      batch.add({ type: 'protected-change', predicate });
    });
  }

  /** What `change` would record, and the approval it would rest on. */
  async changeOf(document: AnyDocument, by: Person): Promise<{ readonly approval: DocumentOf<'Approval'>; readonly predicate: ProtectedChangePredicate }> {
    const changes = [changeTo(this.state, document.kind, document.metadata.name, documentDigest(document))];
    const digest = changeDigest(this.pin, changes);
    const nonce = digest.slice(-32);
    const approval = await this.signed(documentOf('Approval', `change-${nonce.slice(0, 8)}`, { type: 'change', digest, action: 'approve', changes, nonce }), by);
    const artifact = digestOfBytes(canonicalBytes(approval));
    const embedded = { carrier: 'embedded', principal: by, document: documentDigest(approval as unknown as AnyDocument), artifact, observedAt: this.now.toISOString() } as const;
    return { approval, predicate: { basis: 'quorum', changeDigest: digest, changes, approvals: [embedded], proposers: { people: [], unknown: 0, commits: [] } } };
  }

  /** The next root, which lists another key for decisions; from then on that signs. `forge` goes on with the old one. */
  async rotateDecisions(by: Person = 'bob'): Promise<void> {
    const { privateKey, publicKey } = generateKeyPairSync('ec', { namedCurve: 'P-256' });
    this.#next = privateKey;
    const root = rootOf(this.state);
    const services = [...root.spec.services.filter(({ role }) => role !== 'decisions'), { role: 'decisions' as const, name: 'next', publicKey: spkiPem(publicKey) }];
    await this.change(documentOf('TrustRoot', root.metadata.name, { ...root.spec, version: root.spec.version + 1, previous: this.state.inForceDigests.root, documents: null, services }) as unknown as AnyDocument, by);
  }

  close(predicate: DeploymentOutcomePredicate, receipts: readonly Uint8Array[]): void {
    void this.push((batch) => {
      for (const receipt of receipts) batch.artifact(receipt);
      batch.add({ type: 'deployment-outcome', predicate });
    });
  }

  /** A record signed with the server's key that goes into no log: what a thief of that key can show. @returns its envelope file */
  forge(body: RecordBody, more: { readonly header?: Partial<RecordHeader>; readonly key?: KeyObject } = {}): Uint8Array {
    const { size, head, logId, tenant, inForceDigests } = this.state;
    const header: RecordHeader = { seq: size, prev: head, logId, tenant, ...inForceDigests, commit: COMMIT, asOf: this.now.toISOString(), rules: 1, engine: { name: 'thief', version: '0' }, ...more.header };
    const payload = recordPayload(header, body);
    const signer = this.#signer(more.key);
    return assembleEnvelope(payload, [{ keyid: signer.keyId, sig: signer.sign(preAuthEncoding(IN_TOTO_PAYLOAD_TYPE, payload)) }]);
  }

  #genesis(documents: readonly AnyDocument[]): void {
    const all = [this.root as unknown as AnyDocument, ...documents];
    void this.push((batch) => {
      batch.add({ type: 'observation', predicate: { type: 'tip', ref: 'refs/heads/main', commit: COMMIT } });
      const changes = all.map((document) => ({ kind: document.kind, name: document.metadata.name, count: 0, from: null, to: batch.artifact(documentPreimage(document)) }));
      batch.add({ type: 'protected-change', predicate: { basis: 'genesis', changeDigest: null, changes, approvals: [], proposers: { people: [], unknown: 0, commits: [] } } });
    });
  }

  #signer(key = this.#decisions): RecordSigner {
    const keyId = createHash('sha256').update(publicKeyDer(key.export({ type: 'pkcs8', format: 'pem' }) as string)).digest('hex');
    return { keyId, sign: (bytes) => sign('sha256', bytes, key) };
  }

  /** As much of a pass as deciding and observing use where no file of the repository is asked for. */
  #pass(batch: LogBatch): Pass {
    const declared = new Map([...this.#promotions].map(([key, document]) => [key, { document }]));
    const loaded = { state: { usable: { Promotion: declared, Configuration: new Map(), TrustRoot: new Map() } } };
    return { batch, loaded, evidenceTip: null, tip: COMMIT, frozen: null, touching: { find: () => Promise.resolve([]) }, conditions: new Conditions() } as unknown as Pass;
  }
}

export function componentDigest(version: string): Digest {
  return digestOfBytes(`image of api ${version}`);
}

function releaseOf(version: string): DocumentOf<'Release'> {
  return documentOf('Release', `shop/${version}`, { components: { api: { tag: version } } });
}

function spkiPem(key: KeyObject): string {
  return key.export({ type: 'spki', format: 'pem' }) as string;
}

const APPLICATION: SpecOf['Application'] = { components: ['api'], deployment: { type: 'directory', files: ['shop/run.sh'] } };

function firstDocuments(people: Record<Person, SshKey>, agents: ReadonlyMap<string, AgentIdentity>, targets: Readonly<Record<string, string>>, options: LogOptions): AnyDocument[] {
  const roles: Record<Person, SpecOf['Principal']['roles']> = { alice: [{ role: 'developer' }], bob: [{ role: 'sre' }], carol: [{ role: 'sre' }], mallory: [] };
  const pem = (der: Uint8Array): string => `-----BEGIN PUBLIC KEY-----\n${Buffer.from(der).toString('base64').replace(/(.{64})/g, '$1\n').trimEnd()}\n-----END PUBLIC KEY-----\n`;
  const approvals = { people: 1, roles: [{ role: 'sre', count: 1 }] };
  const allow = options.allowSeconds === undefined ? {} : { allowSeconds: options.allowSeconds };
  return [
    ...PEOPLE.map((name) => doc('Principal', name, { type: 'person', keys: [{ key: people[name].publicKey, status: 'active' }], roles: roles[name] ?? [] })),
    doc('Environment', 'prod', { order: 1, ...(options.approvals === false ? {} : { approvals }), workflow: 'rollout', ...allow, ...options.environment }),
    doc('Application', 'shop', APPLICATION),
    doc('Component', 'api', { repository: 'shop/api', registry: 'local' }),
    doc('Integration', 'local', { type: 'registry', layout: 'images' }),
    doc('Workflow', 'rollout', options.workflow ?? { steps: [{ name: 'deploy', type: 'deploy' }, { name: 'check', type: 'health-check', needs: ['deploy'] }] }),
    ...Object.entries(targets).map(([name, agent]) =>
      doc('Target', name, { type: 'directory_host', agent, environments: ['prod'], applications: ['shop'], connection: { root: `/srv/${name}` } })),
    ...[...agents].map(([name, identity]) => doc('Agent', name, { identityKey: pem(identity.publicKeyDer), owner: 'bob', capabilities: ['directory_host'] })),
  ];
}

function rootFor(documents: readonly AnyDocument[], people: Record<Person, SshKey>, keys: { readonly decisions: string; readonly agentCa: string }, options: LogOptions): DocumentOf<'TrustRoot'> {
  return documentOf('TrustRoot', 'root', {
    version: 1, previous: null, id: '1f'.repeat(32), tenant: 'acme',
    documents: genesisDocumentsDigest(documents.map((document) => ({ kind: document.kind, name: document.metadata.name, digest: documentDigest(document) }))),
    keys: [{ principal: 'bob', key: people.bob.publicKey }], threshold: 1, services: [{ role: 'decisions', name: 'decisions', publicKey: keys.decisions }, { role: 'agent-ca', name: 'agent-ca', publicKey: keys.agentCa }],
    quorums: { default: { people: 1 }, create: { people: 1 } }, proposerCounts: true, ...(options.minimums === undefined ? {} : { minimums: options.minimums }),
  });
}
