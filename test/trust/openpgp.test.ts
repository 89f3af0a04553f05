import { afterAll, beforeAll, beforeEach, describe } from 'vitest';
import { checkKeys } from '../../src/core/desired/check-keys.ts';
import { lookupOf, unplaced } from '../../src/core/desired/document-lookup.ts';
import { keyIdentities } from '../../src/core/desired/key-identity.ts';
import type { AnyDocument, DocumentOf, SpecOf } from '../../src/core/model/documents.ts';
import { commitOf, signatureHeader } from '../core/commit/commit-maker.ts';
import {
  armour, certificateOf, certificatePackets, CREATED, makePgpKey, makePgpSignature, packet, pgpSignatureOf, reason, subpacket, uint32, type PgpCertificateOptions, type PgpKey, type PgpSignatureOptions,
} from '../core/commit/openpgp-maker.ts';
import { requireComponent } from '../fakes/components.ts';
import type { OpenPgpSigner } from '../fakes/git-repository.ts';
import { doc, pathOf } from '../fakes/world.ts';
import { attack, survives, type Verdict } from './attack.ts';
import { personOf, Stage } from './attacks-fixture.ts';
import { ApprovalLineup, CommitLineup, type MakeCommit, type MakeSignature } from './lineup.ts';
import { Desk, putInForce } from './promotion-desk.ts';

/** Forged and worn-out OpenPGP signatures. ada is an admin; the others may approve promotions to prod, were it not for their keys. */

const primary = makePgpKey('eddsa');
const rsa = makePgpKey('rsa');
const subkey = makePgpKey('eddsa', { created: CREATED + 1 });
const unbound = makePgpKey('eddsa', { created: CREATED + 2 });
const shortSubkey = makePgpKey('rsa', { bits: 1024 });
const nobody = makePgpKey('eddsa');

const DAY = 86_400;
/** Seconds after the keys' creation until the world's clock, 2026-11-01. */
const NOW = Date.UTC(2026, 10, 1) / 1000 - CREATED;
const signer = (name: string, key: PgpKey, options: PgpCertificateOptions = {}): OpenPgpSigner => ({ name, publicKey: certificateOf(key, options), sign: (payload) => pgpSignatureOf(key, payload) });
const soft = (at: number): PgpSignatureOptions => ({ created: CREATED + at, hashed: [reason(1)] });
const worn = {
  expired: signer('expired', makePgpKey('eddsa'), { expires: NOW - DAY }),
  early: signer('early', makePgpKey('eddsa', { created: CREATED + NOW + DAY })),
  revoked: signer('revoked', makePgpKey('eddsa'), { revocation: { created: CREATED + NOW + DAY, hashed: [reason(2)] } }),
  superseded: signer('superseded', makePgpKey('eddsa'), { revocation: soft(NOW - DAY) }),
  sha1: signer('sha1', makePgpKey('rsa'), { self: { digest: 'sha1' } }),
  encrypting: signer('encrypting', makePgpKey('eddsa'), { flags: 0x0d }),
  good: signer('good', makePgpKey('eddsa'), { expires: NOW + 1_000 * DAY }),
  leaving: signer('leaving', makePgpKey('eddsa'), { revocation: soft(NOW + 5 * DAY) }),
};

let stage: Stage;
beforeEach((ctx) => requireComponent('git', ctx));
beforeAll(async () => {
  const keys: SpecOf['Principal']['keys'] = [
    certificateOf(primary, { subkeys: [{ key: subkey }, { key: unbound, backSigned: false }, { key: shortSubkey }] }), certificateOf(rsa),
  ].map((key) => ({ key, status: 'active' }));
  stage = await Stage.open({
    documents: [
      doc('Environment', 'prod', { order: 2, approvals: { people: 1, roles: [{ role: 'sre', count: 1 }] } }), doc('Principal', 'ada', { type: 'person', keys, roles: [{ role: 'admin' }] }), ...Object.values(worn).map((by) => personOf(by.name, [by], ['sre'])),
    ] as never,
  });
});
afterAll(() => stage.close());

const approvals = new ApprovalLineup(() => stage);
const by = (key: PgpKey, options: PgpSignatureOptions = {}): MakeSignature => (preimage) => pgpSignatureOf(key, preimage, options);
/** The signature with these defects, and without them. */
const flawed = (options: PgpSignatureOptions, key = primary) => approvals.enter({ attempt: by(key, options), twin: by(key) });
const spoilt = (spoil: (armoured: string) => string) => approvals.enter({ attempt: (preimage) => spoil(by(primary)(preimage)), twin: by(primary) });
const packets = (make: (body: Buffer) => Buffer) => approvals.enter({ attempt: (preimage) => armour('PGP SIGNATURE', make(makePgpSignature(primary, preimage))), twin: by(primary) });

describe('an approval signed with OpenPGP', () => {
  attack('SHA-1 OpenPGP signature', { rules: ['T5'], expects: 'DigestUnsupported', ...flawed({ digest: 'sha1' }, rsa) });
  attack('MD5 OpenPGP signature', { rules: ['T5'], expects: 'DigestUnsupported', ...flawed({ digest: 'md5' }, rsa) });
  attack('text-mode OpenPGP signature', { rules: ['T5'], expects: 'SignatureTypeUnsupported', ...flawed({ type: 0x01 }) });
  attack('OpenPGP signature of a certification over the bytes of an approval', { rules: ['T5'], expects: 'SignatureTypeUnsupported', ...flawed({ type: 0x10 }) });
  attack('OpenPGP signature with a critical notation', { rules: ['T5'], expects: 'SubpacketUnsupported', ...flawed({ hashed: [subpacket(20, Buffer.from('80000000000100016178', 'hex'), true)] }) });
  attack('OpenPGP signature that names its key where nobody signed it', {
    rules: ['T5'], expects: 'IssuerMissing', ...flawed({ issuer: null, unhashed: [subpacket(33, Buffer.concat([Buffer.of(4), Buffer.from(primary.fingerprint, 'hex')]))] }),
  });
  attack('OpenPGP signature by a stranger', { rules: ['T5', 'T8'], expects: 'KeyUnknown', ...approvals.enter({ attempt: by(nobody), twin: by(primary) }) });
  attack('fingerprint of somebody known in the OpenPGP signature of a stranger', { rules: ['T5', 'T8'], expects: 'SignatureInvalid', ...approvals.enter({ attempt: by(nobody, { issuer: primary.fingerprint }), twin: by(primary) }) });
  attack('OpenPGP signature over another document', { rules: ['T1', 'T5'], expects: 'SignatureInvalid', ...approvals.enter({ attempt: () => by(primary)(Buffer.from('{}')), twin: by(primary) }) });
  attack('unbound OpenPGP subkey', { rules: ['T5'], expects: 'KeyUnknown', ...approvals.enter({ attempt: by(unbound), twin: by(subkey) }) });
  attack('OpenPGP subkey of RSA-1024', { rules: ['T5'], expects: 'KeyUnknown', ...approvals.enter({ attempt: by(shortSubkey), twin: by(rsa) }) });
});

describe('form of an OpenPGP signature', () => {
  attack('two OpenPGP signatures in one block', { rules: ['T3', 'T5'], expects: 'SignatureMalformed', ...packets((body) => Buffer.concat([packet(2, body), packet(2, body)])) });
  attack('OpenPGP message that brings its own text', { rules: ['T3', 'T5'], expects: 'SignatureMalformed', ...packets((body) => Buffer.concat([packet(4, Buffer.alloc(13)), packet(11, Buffer.alloc(9)), packet(2, body)])) });
  attack('trailing bytes behind the OpenPGP packet', { rules: ['T3'], expects: 'SignatureMalformed', ...packets((body) => Buffer.concat([packet(2, body), Buffer.of(0)])) });
  attack('OpenPGP number in a longer spelling', { rules: ['T3'], expects: 'SignatureMalformed', ...packets((body) => packet(2, longer(body))) });
  attack('OpenPGP armour with comment', { rules: ['T3'], expects: 'ArmourMalformed', ...spoilt((a) => a.replace('-----\n\n', '-----\nComment: approved\n\n')) });
  attack('OpenPGP armour with preamble', { rules: ['T3'], expects: 'ArmourMalformed', ...spoilt((a) => a.replace('-----\n\n', '-----\napproved\n\n')) });
  attack('end-marker smuggling in an OpenPGP approval', { rules: ['T3'], expects: 'ArmourMalformed', ...spoilt((a) => a.replace('\n=', '\n-----END PGP SIGNATURE-----\nI approve\n=')) });
  attack('OpenPGP armour with a wrong checksum', { rules: ['T3'], expects: 'ArmourMalformed', ...spoilt((a) => a.replace(/\n=..../, '\n=AAAA')) });
});

const commits = new CommitLineup(() => stage);
const signedBy = (key: PgpKey, options: PgpSignatureOptions = {}): MakeCommit => (headers, message) => commitOf([...headers, signatureHeader(pgpSignatureOf(key, commitOf(headers, message), options))], message);

describe('a commit signed with OpenPGP', () => {
  attack('CRLF message with text-mode signature', {
    rules: ['T1', 'T5'], expects: 'SignatureTypeUnsupported',
    ...commits.enter({
      // Signed are lines that end with CR and LF, in the commit they end with LF alone: in text mode that is the same.
      attempt: (headers, message) => commitOf([...headers, signatureHeader(pgpSignatureOf(primary, Buffer.from(commitOf(headers, message).toString().replaceAll('\n', '\r\n')), { type: 0x01 }))], message),
      twin: signedBy(primary),
    }),
  });
  attack('SHA-1 OpenPGP signature on a commit', { rules: ['T5'], expects: 'DigestUnsupported', ...commits.enter({ attempt: signedBy(rsa, { digest: 'sha1' }), twin: signedBy(rsa) }) });
  attack('OpenPGP signature of another commit', { rules: ['T1'], expects: 'SignatureInvalid', ...commits.enter({ attempt: (headers, message) => commitOf([...headers, signatureHeader(pgpSignatureOf(primary, commitOf(headers, `${message}\n`)))], message), twin: signedBy(primary) }) });
  attack('unbound OpenPGP subkey on a commit', { rules: ['T5'], expects: 'KeyUnknown', ...commits.enter({ attempt: signedBy(unbound), twin: signedBy(subkey) }) });
  attack('X.509 signature', { rules: ['T12'], expects: 'SignatureUnsupported', ...commits.enter({ attempt: (headers, message) => commitOf([...headers, signatureHeader('-----BEGIN SIGNED MESSAGE-----\nMIIB\n-----END SIGNED MESSAGE-----\n')], message), twin: signedBy(primary) }) });
});

const approving = (name: keyof typeof worn) => async (): Promise<Verdict> => (await Desk.asked(stage)).approvedBy(worn[name]);

describe('an OpenPGP key at the moment of observation', () => {
  attack('OpenPGP key expired at observation', { rules: ['T5', 'T9'], expects: 'KeyExpired', attempt: approving('expired'), twin: approving('good') });
  attack('OpenPGP key not yet valid', { rules: ['T5', 'T9'], expects: 'KeyNotYetValid', attempt: approving('early'), twin: approving('good') });
  attack('OpenPGP key revoked as compromised', { rules: ['T5', 'T9'], expects: 'KeyCompromised', attempt: approving('revoked'), twin: approving('good') });
  attack('OpenPGP key superseded before observation', { rules: ['T5', 'T9'], expects: 'KeyNotActive', attempt: approving('superseded'), twin: approving('good') });
  survives('OpenPGP key superseded after observation', { rules: ['T9'], expects: 'KeyNotActive', genuine: approving('leaving'), forged: approving('superseded') });
  attack('OpenPGP key that binds itself by SHA-1', { rules: ['T5'], expects: 'ApprovalsMissing', attempt: approving('sha1'), twin: approving('good') });
  attack('OpenPGP key that may not sign', { rules: ['T5'], expects: 'ApprovalsMissing', attempt: approving('encrypting'), twin: approving('good') });
});

describe('a certificate in a document', () => {
  /** A change by alice, an admin, of a Principal. */
  const changed = async (document: DocumentOf<'Principal'>): Promise<Verdict> => {
    const { alice } = stage.world.people;
    await stage.world.commit([document as AnyDocument, await stage.changeApproval(alice, await stage.change('Principal', document.metadata.name, document as AnyDocument))], { by: alice });
    await stage.settle();
    const verdict = await stage.changeVerdict(document as AnyDocument);
    if (verdict.accepted) return verdict;
    const others = [...(await stage.world.state()).inForce.values()].map((entry) => entry.document);
    const faults = checkKeys(lookupOf([...others, document as AnyDocument].map(unplaced)), keyIdentities).map(({ code }) => code);
    await stage.world.commit([], { deletes: [pathOf(document as AnyDocument)] });
    await stage.settle();
    return { ...verdict, codes: [...verdict.codes, ...faults] };
  };
  const withKey = (name: string, key: string) => () => changed(personOf(name, [{ name, publicKey: key, sign: () => '' }], ['sre']));
  const fresh = (): PgpKey => makePgpKey('eddsa');

  attack('OpenPGP certificate of RSA-1024', { rules: ['T5', 'T10'], expects: 'KeyUnreadable', attempt: withKey('short', certificateOf(makePgpKey('rsa', { bits: 1024 }))), twin: withKey('short', certificateOf(makePgpKey('rsa'))) });
  attack('OpenPGP subkey of somebody else in one\'s own certificate', {
    rules: ['T5', 'T10'], expects: 'SharedKey', attempt: withKey('mallory', certificateOf(fresh(), { subkeys: [{ key: subkey, backSigned: false }] })), twin: withKey('mallory', certificateOf(fresh(), { subkeys: [{ key: fresh() }] })),
  });
  attack('two OpenPGP keys in one certificate', {
    rules: ['T3', 'T10'], expects: 'KeyUnreadable', attempt: withKey('twins', armour('PGP PUBLIC KEY BLOCK', Buffer.concat([certificatePackets(fresh()), certificatePackets(fresh())]))), twin: withKey('twins', certificateOf(fresh())),
  });

  /** Signs after the Principal first had a revoked certificate (or not), and then one without the revocation. */
  const restored = (name: string, revocation: PgpSignatureOptions | undefined) => async (): Promise<Verdict> => {
    const key = fresh();
    await putInForce(stage, personOf(name, [signer(name, key, revocation === undefined ? {} : { revocation })], ['sre']) as AnyDocument);
    const back = signer(name, key, { self: { created: CREATED + NOW - 60 } });
    await putInForce(stage, personOf(name, [back], ['sre']) as AnyDocument);
    return (await Desk.asked(stage)).approvedBy(back);
  };
  attack('revocation left out of a renewed certificate', { rules: ['T9'], expects: 'KeyCompromised', attempt: restored('phoenix', { created: CREATED + DAY }), twin: restored('renewed', undefined) });
  attack('revocation of a superseded key left out of a renewed certificate', { rules: ['T9'], expects: 'KeyNotActive', attempt: restored('phoenix-2', soft(DAY)), twin: restored('renewed-2', undefined) });

  /** A renewal that a later document with the older certificate cannot undo: the older end came first. */
  survives('OpenPGP certificate renewed', {
    rules: ['T9'], expects: 'KeyExpired',
    genuine: async () => { const key = fresh(); return renewedTo('later', key, [{ expires: NOW - DAY }, { expires: NOW + DAY, self: { created: CREATED + NOW - 60 } }, { expires: NOW - DAY }]); },
    forged: async () => { const key = fresh(); return renewedTo('shorter', key, [{ expires: NOW + DAY }, { expires: NOW - DAY, self: { created: CREATED + NOW - 60 } }, { expires: NOW + DAY }]); },
  });
  const renewedTo = async (name: string, key: PgpKey, versions: readonly PgpCertificateOptions[]): Promise<Verdict> => {
    const signers = versions.map((options) => signer(name, key, options));
    for (const one of signers) await putInForce(stage, personOf(name, [one], ['sre']) as AnyDocument);
    return (await Desk.asked(stage)).approvedBy(...signers.slice(-1));
  };
});

/** The first number of an EdDSA signature with a zero in front. */
function longer(body: Buffer): Buffer {
  const at = 6 + body.readUInt16BE(4) + 2 + body.readUInt16BE(6 + body.readUInt16BE(4)) + 2;
  const numbers = body.subarray(at);
  const bits = numbers.readUInt16BE(0);
  return Buffer.concat([body.subarray(0, at), uint32(bits + 8).subarray(2), Buffer.of(0), numbers.subarray(2)]);
}
