import { generateKeyPairSync } from 'node:crypto';
import { rm } from 'node:fs/promises';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { audienceOf, verifyIdentityToken } from '../../src/core/trust/identity-token.ts';
import { applyRecord } from '../../src/core/evidence/fold.ts';
import type { CommitId } from '../../src/core/model/commit-id.ts';
import type { Digest } from '../../src/core/model/digest.ts';
import type { DocumentOf } from '../../src/core/model/documents.ts';
import { releaseSpecDigest, type Order } from '../../src/core/model/preimages.ts';
import { decodeBundle, encodeBundle } from '../../src/core/order/bundle.ts';
import { proveOrder } from '../../src/core/order/prove-order.ts';
import { buildBundle } from '../../src/reconciler/build-bundle.ts';
import { ProtectedChangeShelf } from '../../src/reconciler/protected-change-shelf.ts';
import { readEvidence, type RecordStep } from '../../src/reconciler/read-evidence.ts';
import { createSshKey, createTemporaryFolder, type SshKey } from '../fakes/git-repository.ts';
import { IdentityIssuer, type TokenEdits } from '../fakes/identity-issuer.ts';
import { openPgp } from '../fakes/openpgp.ts';
import { doc } from '../fakes/world.ts';
import { attack, verdict, type Verdict } from './attack.ts';
import { personOf, Stage } from './attacks-fixture.ts';

/**
 * A service writes releases for people, and a token of the forge says for whom. dev follows the channel `stable` and asks one sre who did not ask: so a release
 * runs only if it is known who asked, and somebody else agrees.
 */
let stage: Stage;
let folder: string;
let ci: SshKey;
let stranger: SshKey;
let idle: SshKey;
let version = 1;
const forge = new IdentityIssuer('https://ci.example');
const other = new IdentityIssuer('https://elsewhere.example', 'RS256');
const SRE = { people: 1, roles: [{ role: 'sre', count: 1 }] };

beforeAll(async () => {
  folder = await createTemporaryFolder();
  [ci, stranger, idle] = await Promise.all([createSshKey(folder, 'ci'), createSshKey(folder, 'stranger'), createSshKey(folder, 'idle')]);
  stage = await Stage.open({
    documents: [
      doc('Principal', 'ci', { type: 'service', keys: [{ key: ci.publicKey, status: 'active' }] }),
      doc('Principal', 'robot', { type: 'service', keys: [{ key: stranger.publicKey, status: 'active' }] }),
      doc('Principal', 'idle', { type: 'service', keys: [{ key: idle.publicKey, status: 'active' }] }),
      doc('Integration', 'forge', forge.spec()),
      // The same forge, for a pipeline of another repository and its service.
      doc('Integration', 'other-repository', forge.spec({ require: { repository: 'acme/tools' }, services: ['robot'] })),
      doc('Environment', 'dev', { order: 1, approvals: SRE, automatic: { channel: 'stable' } }),
    ],
    root: { proposerCounts: true },
  });
  const { alice, bob } = stage.world.people;
  for (const [key, roles, subject] of [[alice, ['dev', 'admin'], '11'], [bob, ['sre', 'admin'], '22']] as const) {
    const principal = personOf(key.name, [key], roles, { identities: [{ issuer: forge.issuer, subject }] });
    const changes = await stage.change('Principal', key.name, principal);
    await stage.world.commit([principal, await stage.changeApproval(alice, changes)], { by: alice });
    await stage.settle();
  }
});
afterAll(async () => {
  await stage.close();
  await rm(folder, { recursive: true, force: true });
});

type Written = {
  readonly by?: SshKey | null;
  readonly subject?: string;
  readonly edits?: TokenEdits;
  /** In the place of the token of this release; null: none. */
  readonly token?: (release: DocumentOf<'Release'>) => string | null;
  /** Seconds until our server sees it. */
  readonly late?: number;
};

/** ci writes a release for alice, who asked the forge for a token. @returns its version */
async function written({ by = ci, subject = '11', edits = {}, token, late = 0 }: Written = {}): Promise<string> {
  const name = `${(version += 1)}.0`;
  stage.world.registry.put(`shop/api:${name}`, name);
  const release = doc('Release', `shop/${name}`, { components: { api: { tag: name } }, channel: 'stable' });
  const made = token === undefined ? forge.token(subject, audienceOf(releaseSpecDigest(release)), stage.world.now, edits) : token(release);
  await stage.world.commit([made === null ? release : { ...release, signatures: [{ format: 'oidc', signature: made }] }], by === null ? {} : { by });
  stage.world.now = new Date(stage.world.now.getTime() + late * 1000);
  await stage.settle();
  return name;
}

/** Codes of the decision, and of the token where that was refused. */
async function approvedBy(by: SshKey, name: string): Promise<Verdict> {
  await stage.world.commit([await stage.promotionApproval(by, 'dev')], { by: stage.world.people.alice });
  await stage.settle();
  const seen = await stage.verdict('dev', name);
  const { conditions } = await stage.reconciler();
  const refused = conditions.all().filter((c) => c.reason === 'TokenRefused' && c.name === `shop/${name}`).flatMap(({ message }) => /who asked: (\w+):/.exec(message)?.[1] ?? []);
  return { ...seen, codes: [...seen.codes, ...refused] };
}

const people = () => stage.world.people;

/** What a token is worth by itself: one without a signature fits no Release. */
async function judged(edits: TokenEdits): Promise<Verdict> {
  const result = verifyIdentityToken(await stage.world.state(), { token: forge.token('11', 'stella:x', stage.world.now, edits), audience: 'stella:x', observedAt: stage.world.now.getTime() });
  return verdict(result.ok ? null : result.code);
}

const genuine = async (): Promise<Verdict> => approvedBy(people().carol, await written());
const refused = (how: Written): (() => Promise<Verdict>) => async () => approvedBy(people().carol, await written(how));

attack('self-approval of a release that a service wrote on one’s behalf', {
  rules: ['T19'], expects: 'Requester', attempt: async () => approvedBy(people().bob, await written({ subject: '22' })), twin: async () => approvedBy(people().bob, await written({ subject: '11' })),
});
attack('release by a service without a person', { rules: ['T20'], expects: 'RequesterUnknown', attempt: refused({ token: () => null }), twin: genuine });
attack('token of another release', {
  rules: ['T19'], expects: 'OtherAudience',
  attempt: refused({ token: () => forge.token('11', audienceOf(releaseSpecDigest(doc('Release', 'shop/1.0', { components: { api: { tag: '1.0' } } }))), stage.world.now) }), twin: genuine,
});
attack('token that serves somewhere else as well', { rules: ['T19'], expects: 'OtherAudience', attempt: refused({ token: (r) => forge.token('11', '', stage.world.now, { claims: { aud: [audienceOf(releaseSpecDigest(r)), 'other'] } }) }), twin: genuine });
attack('token that was made long before the server saw it', { rules: ['T19', 'T32'], expects: 'TokenTooOld', attempt: refused({ late: 7 * 86_400 + 301 }), twin: async () => approvedBy(people().carol, await written({ late: 7 * 86_400 + 299 })) });
attack('token from the future', { rules: ['T32'], expects: 'TokenNotYetValid', attempt: refused({ edits: { claims: { iat: 4_000_000_000, nbf: 4_000_000_000, exp: 4_000_000_600 } } }), twin: genuine });
attack('token that lives for a year', { rules: ['T19'], expects: 'TokenMalformed', attempt: refused({ edits: { claims: { exp: 1_900_000_000 } } }), twin: genuine });
attack('token of an issuer that no document in force names', {
  rules: ['T14'], expects: 'IssuerUnknown', attempt: refused({ token: (r) => other.token('11', audienceOf(releaseSpecDigest(r)), stage.world.now) }), twin: genuine,
});
attack('token with algorithm none', { rules: ['T19'], expects: 'TokenMalformed', attempt: () => judged({ header: { alg: 'none' } }), twin: () => judged({}) });
attack('token with algorithm none and a signature', { rules: ['T19'], expects: 'AlgorithmRefused', attempt: refused({ edits: { header: { alg: 'None' } } }), twin: genuine });
attack('token with the public key as the secret of an HMAC', { rules: ['T19'], expects: 'AlgorithmRefused', attempt: refused({ edits: { header: { alg: 'HS256' }, hmac: forge.publicKey } }), twin: genuine });
attack('token that another key signed', { rules: ['T19'], expects: 'SignatureInvalid', attempt: refused({ edits: { key: generateKeyPairSync('ec', { namedCurve: 'P-256' }).privateKey } }), twin: genuine });
attack('token with a key id that is not in force', { rules: ['T14'], expects: 'KeyUnknown', attempt: refused({ edits: { header: { kid: 'k2' } } }), twin: genuine });
attack('token with a critical extension', { rules: ['T12'], expects: 'AlgorithmRefused', attempt: refused({ edits: { header: { crit: ['b64'], b64: false } } }), twin: genuine });
attack('token of another repository of the same forge', { rules: ['T19'], expects: 'ClaimMissing', attempt: refused({ edits: { claims: { repository: 'mallory/shop' } } }), twin: genuine });
attack('token with a claim twice', {
  rules: ['T3'], expects: 'TokenMalformed',
  attempt: refused({ token: (r) => forge.token('11', '', stage.world.now, { text: JSON.stringify({ iss: forge.issuer, aud: audienceOf(releaseSpecDigest(r)), repository: 'acme/shop', iat: 1_793_520_000, exp: 1_793_520_600, actor_id: '11' }).replace('{', '{"actor_id":"22",') }) }),
  twin: genuine,
});
attack('token for somebody who is nobody in force', { rules: ['T14'], expects: 'PersonUnknown', attempt: refused({ subject: '33' }), twin: genuine });
attack('token under a commit that nobody signed', { rules: ['T19', 'T20'], expects: 'RequesterUnknown', attempt: refused({ by: null }), twin: genuine });
attack('token under a commit of a service that may not act for anybody', { rules: ['T11', 'T20'], expects: 'RequesterUnknown', attempt: async () => approvedBy(people().carol, await written({ by: idle })), twin: genuine });

attack('token of one repository under a commit of the service of another, at the same forge', {
  rules: ['T19', 'T20'], expects: 'RequesterUnknown',
  attempt: async () => approvedBy(people().carol, await written({ by: stranger })),
  twin: async () => approvedBy(people().carol, await written({ by: stranger, edits: { claims: { repository: 'acme/tools' } } })),
});

attack('lock that says that its token counted by another document', {
  rules: ['T19', 'T30'], expects: 'TokenUnproven',
  attempt: () => relocked((named) => ({ ...named, integration: 'other-repository' })),
  twin: () => relocked((named) => named),
});

attack('lock that names somebody whom no token names', {
  rules: ['T19', 'T30'], expects: 'TokenUnproven',
  attempt: () => relocked((named) => ({ ...named, subject: '22' })),
  twin: () => relocked((named) => named),
});

type Named = { readonly integration: string; readonly issuer: string; readonly subject: string; readonly token: never };
type Step = RecordStep & { readonly artifact: (digest: Digest) => Uint8Array | undefined };

async function readLog(): Promise<readonly Step[]> {
  const { reader } = (await stage.world.parts()).evidence;
  const steps: Step[] = [];
  await readEvidence({ reader, openPgp }, (await stage.world.repository.tip('stella/evidence')) as CommitId, stage.world.pin, (step, artifact) => void steps.push({ ...step, artifact }));
  return steps;
}

/** The order of the last allow in dev, as its agent would judge it. @param edit what else comes with it */
async function proven(edit: (artifacts: Map<Digest, Uint8Array>, token: Digest) => void): Promise<Verdict> {
  await approvedBy(people().carol, await written());
  const steps = await readLog();
  const shelf = new ProtectedChangeShelf();
  for (const { record, envelope } of steps) shelf.add(record, envelope);
  const allow = steps.findLast(({ record }) => record.type === 'promotion-decision' && record.predicate.decision.outcome === 'allow')!;
  const token = allow.record.type === 'promotion-decision' ? allow.record.predicate.sources.onBehalfOf! : fail();
  const held = new Map<Digest, Uint8Array>();
  const get = (digest: Digest): Uint8Array | undefined => steps.at(-1)!.artifact(digest);
  const order: Order = { type: 'stella/order/v1', decision: allow.record.digest, operation: 'promote', target: 'dev-1', try: 1 };
  const built = await buildBundle(order, { seq: allow.record.header.seq, digest: allow.record.digest }, { changes: shelf, artifacts: { load: () => Promise.resolve(), get }, envelope: (seq) => Promise.resolve(steps[seq]?.envelope) });
  const bundle = built.ok ? decodeBundle(built.bundle)! : fail();
  for (const [digest, bytes] of bundle.artifacts) held.set(digest, bytes);
  edit(held, token);
  const proof = proveOrder({
    bundle: encodeBundle({ ...bundle, artifacts: held }), pin: stage.world.pin, agent: 'host', memory: { protectedChange: null, lastOrders: () => [], hasRun: () => false }, now: stage.world.now.getTime(), openPgp,
  });
  return verdict(proof.ok ? null : proof.code);
}

function fail(): never {
  throw new Error('the log is not as this test expects');
}

attack('order whose release was written for somebody, without the token that says so', {
  rules: ['T19', 'T20'], expects: 'ArtifactMissing',
  attempt: () => proven((artifacts, token) => void artifacts.delete(token)),
  twin: () => proven(() => undefined),
});

/** The last lock as a thief of the server's keys would have written it, read as everybody reads the log. */
async function relocked(edit: (named: Named) => Named): Promise<Verdict> {
  await written();
  for (const { before, record, artifact } of (await readLog()).toReversed()) {
    if (record.type !== 'release-lock' || record.predicate.onBehalfOf === null) continue;
    const result = applyRecord(before, { ...record, predicate: { ...record.predicate, onBehalfOf: edit(record.predicate.onBehalfOf as Named) } }, { artifact, openPgp });
    return verdict(result.ok ? null : result.code);
  }
  throw new Error('no lock names anybody');
}

describe('a service that acts for somebody', () => {
  it('makes that person the one who asked, in the decision and for auditors', async () => {
    const name = await written();
    const { detail } = stage.decision('dev').gates.find(({ gate }) => gate === 'separation')!;
    expect(detail).toMatchObject({ requesters: ['alice'], unknown: 0 });
    expect((await approvedBy(people().carol, name)).accepted).toBe(true);
    expect(stage.history.at(-1)?.sources.onBehalfOf).not.toBeNull();
  });

  it('is nobody’s word any more once the issuer is not in force', async () => {
    await written();
    const state = await stage.world.state();
    const token = forge.token('11', 'stella:x', stage.world.now);
    const p = { token, audience: 'stella:x', observedAt: stage.world.now.getTime() };
    expect(verifyIdentityToken(state, p)).toEqual({ ok: true, integration: 'forge', issuer: forge.issuer, subject: '11' });
    expect(verifyIdentityToken({ ...state, inForce: state.inForce.delete('Integration/forge').delete('Integration/other-repository') }, p)).toMatchObject({ code: 'IssuerUnknown' });
  });

  it('may come from an issuer with an RSA key of 2048 bits, and from no smaller one', async () => {
    const state = await stage.world.state();
    const withIssuer = (publicKey: string) => ({ ...state, inForce: state.inForce.set('Integration/other', { ...state.inForce.get('Integration/forge')!, document: doc('Integration', 'other', { ...other.spec(), keys: [{ id: 'k1', publicKey }] }) }) });
    const p = { token: other.token('11', 'stella:x', stage.world.now), audience: 'stella:x', observedAt: stage.world.now.getTime() };
    expect(verifyIdentityToken(withIssuer(other.publicKey), p)).toMatchObject({ ok: true });
    const small = generateKeyPairSync('rsa', { modulusLength: 1024 }).publicKey.export({ type: 'spki', format: 'pem' }).toString();
    expect(verifyIdentityToken(withIssuer(small), p)).toMatchObject({ code: 'KeyUnknown' });
  });
});
