import { performance } from 'node:perf_hooks';
import { openOpenPgpVerifier, type OpenedOpenPgp } from '../../src/adapters/openpgp/open-verifier.ts';
import { readCertificate } from '../../src/core/commit/openpgp-read-certificate.ts';
import { parseSshPublicKey } from '../../src/core/commit/ssh-key.ts';
import { buildDecisionInput, type BuiltInput, type DecisionMaterial } from '../../src/core/decision/build-input.ts';
import { emptyAppState, initialState, stateKey, type AppState, type InForce, type LogState, type ObservedApproval } from '../../src/core/evidence/log-state.ts';
import { BucketMap } from '../../src/core/model/bucket-map.ts';
import { canonicalBytes, type JsonObject } from '../../src/core/model/canonical-json.ts';
import { digestOfBytes, type Digest } from '../../src/core/model/digest.ts';
import { documentDigest, documentKey, documentPreimage, type AnyDocument, type DocumentOf, type DocumentSignature } from '../../src/core/model/documents.ts';
import { formatInstant } from '../../src/core/model/instant.ts';
import { certificateOf, makePgpKey, pgpSignatureOf } from '../core/commit/openpgp-maker.ts';
import { makeSignature, makeTestKey } from '../core/commit/signature-maker.ts';
import { doc } from '../fakes/world.ts';
import { median } from './figure.ts';

const APPROVALS = 1_000;
const ROUNDS = 30;
const OBSERVED = Date.UTC(2026, 4, 4);
const AS_OF = formatInstant(OBSERVED + 3_600_000);
const PROD = { environment: 'prod', application: 'shop' } as const;

type Person = { readonly principal: DocumentOf<'Principal'>; readonly fingerprint: string; readonly sign: (payload: Uint8Array) => DocumentSignature };

/**
 * Judging 1,000 signed approvals of one promotion by 1,000 people, half with SSH keys, half with OpenPGP, all ed25519: from the documents in
 * force and the archived bytes to the input of the decision, in milliseconds. No answer about a signature is known; the thread of the
 * verifier runs, because it has verified the certificates when they came into force.
 */
export async function approvals1000Ms(): Promise<number> {
  const { state, artifacts } = makeLog();
  const times: number[] = [];
  for (let round = -1; round < ROUNDS; round += 1) {
    const verifier = openOpenPgpVerifier();
    const known = { ...state, certificates: certificatesIn(state, verifier).certificates };
    const start = performance.now();
    const { input } = judge(known, artifacts, verifier);
    if (round >= 0) times.push(performance.now() - start);
    await verifier.close();
    if (input.approvals.length !== APPROVALS) throw new Error(`${input.approvals.length} approvals count, ${JSON.stringify(input.rejected[0])}`);
  }
  return median(times);
}

function judge(state: LogState, artifacts: ReadonlyMap<Digest, Uint8Array>, openPgp: OpenedOpenPgp): BuiltInput {
  return buildDecisionInput(state, MATERIAL, AS_OF, { artifact: (digest) => artifacts.get(digest), openPgp });
}

/** A removal: a promotion without images. */
const MATERIAL: DecisionMaterial = {
  ...PROD, promotion: doc('Promotion', 'prod/shop', { state: 'absent' }), derived: null, ended: null, problems: [], commits: [],
  plan: { type: 'stella/plan/v1', operation: 'remove', breakGlass: null, runs: null, workflow: { name: 'default', steps: [], onFailure: 'hold' }, targets: [] },
};

function certificatesIn(state: LogState, verifier: OpenedOpenPgp): Pick<LogState, 'certificates'> {
  const read = [...state.inForce.values()].flatMap(({ document }) => (document.kind === 'Principal' ? document.spec.keys : [])).flatMap(({ key }) => {
    const outcome = key.startsWith('-----') ? readCertificate(key, verifier) : null;
    return outcome?.ok === true ? [[outcome.certificate.primary, outcome.certificate] as const] : [];
  });
  return { certificates: BucketMap.from(read) };
}

function makeLog(): { readonly state: LogState; readonly artifacts: ReadonlyMap<Digest, Uint8Array> } {
  const root = doc('TrustRoot', 'root', {
    version: 1, previous: null, id: '0'.repeat(64), tenant: 'default', documents: null, keys: [], threshold: 1, services: [],
    quorums: { default: { people: 1 }, create: { people: 1 } }, proposerCounts: true,
  });
  const people = Array.from({ length: APPROVALS }, (_, i) => (i % 2 === 0 ? withSshKey(`person-${i}`) : withCertificate(`person-${i}`)));
  const documents: readonly AnyDocument[] = [
    ...people.map(({ principal }) => principal), doc('Environment', 'prod', { order: 1, approvals: { people: 2 } }), doc('Application', 'shop', { components: ['api'], deployment: { type: 'directory' } }),
  ];
  const empty = initialState(root, documentDigest(root));
  const entries = documents.map((document): InForce => ({ kind: document.kind, name: document.metadata.name, digest: documentDigest(document), document, seq: 1, tip: null, since: null, by: [], basis: 'genesis' }));
  const state = { ...empty, inForce: BucketMap.from<InForce>([...empty.inForce.entries(), ...entries.map((entry) => [documentKey(entry.kind, entry.name), entry] as const)]) };
  const { promotionDigest } = buildDecisionInput(state, MATERIAL, AS_OF, { artifact: () => undefined, openPgp: { verify: () => [] } }).input;
  if (promotionDigest === null) throw new Error('the promotion has no digest');
  const approvals = people.map((person, i) => approvalOf(person, i, promotionDigest));
  const app: AppState = { ...emptyAppState(PROD.environment, PROD.application), approvals: approvals.map(({ seen }) => seen.artifact) };
  return {
    state: { ...state, approvals: BucketMap.from(approvals.map(({ seen }) => [seen.artifact, seen])), states: BucketMap.from([[stateKey(PROD.environment, PROD.application), app]]) },
    artifacts: new Map(approvals.map(({ seen, bytes }) => [seen.artifact, bytes])),
  };
}

function withSshKey(name: string): Person {
  const key = makeTestKey('ssh-ed25519');
  const parsed = parseSshPublicKey(key.line);
  const sign = (payload: Uint8Array): DocumentSignature => ({ format: 'sshsig', signature: makeSignature(key, payload, { namespace: 'stella-approval' }) });
  return { principal: personOf(name, key.line), fingerprint: parsed.ok ? parsed.key.fingerprint : '', sign };
}

function withCertificate(name: string): Person {
  const key = makePgpKey('eddsa');
  const sign = (payload: Uint8Array): DocumentSignature => ({ format: 'openpgp', signature: pgpSignatureOf(key, payload) });
  return { principal: personOf(name, certificateOf(key)), fingerprint: `openpgp:${key.fingerprint}`, sign };
}

function personOf(name: string, key: string): DocumentOf<'Principal'> {
  return doc('Principal', name, { type: 'person', keys: [{ key, status: 'active' }] });
}

function approvalOf(person: Person, i: number, digest: Digest): { readonly seen: ObservedApproval; readonly bytes: Uint8Array } {
  const principal = person.principal.metadata.name;
  const unsigned = doc('Approval', principal, { type: 'promotion', digest, action: 'approve', ...PROD, nonce: String(i).padStart(32, '0'), comment: 'Soaked for a day on staging, nothing in the logs.' });
  const payload = documentPreimage(unsigned);
  const bytes = canonicalBytes({ ...unsigned, signatures: [person.sign(payload)] } as unknown as JsonObject);
  const seen: ObservedApproval = {
    type: 'approval', action: 'approve', document: documentDigest(unsigned), artifact: digestOfBytes(bytes), approves: { type: 'promotion', digest }, subject: PROD, principal,
    fingerprint: person.fingerprint, payload: digestOfBytes(payload), observedAt: formatInstant(OBSERVED + i), seq: i + 2,
  };
  return { seen, bytes };
}
