import { afterAll, beforeAll, beforeEach, describe } from 'vitest';
import { concatBytes, wireString } from '../../src/core/commit/wire-reader.ts';
import type { SpecOf } from '../../src/core/model/documents.ts';
import { armour, makeSignature, makeSignatureBlob, makeTestKey, type SignatureOptions, type TestKey } from '../core/commit/signature-maker.ts';
import { requireComponent } from '../fakes/components.ts';
import { doc } from '../fakes/world.ts';
import { attack } from './attack.ts';
import { Stage } from './attacks-fixture.ts';
import { ApprovalLineup, type MakeSignature } from './lineup.ts';

/** Forged signatures on approvals. ada is an admin, whose yes puts a document in force; whatever else goes for her signature does not. */

const keys = { ed25519: makeTestKey('ssh-ed25519'), ecdsa: makeTestKey('ecdsa-sha2-nistp256'), rsa: makeTestKey('ssh-rsa'), touch: makeTestKey('sk-ssh-ed25519@openssh.com') };
const nobody = makeTestKey('ssh-ed25519');
const bot = makeTestKey('ssh-ed25519');

let stage: Stage;
beforeEach((ctx) => requireComponent('git', ctx));
beforeAll(async () => {
  const listed = (...all: readonly TestKey[]): SpecOf['Principal']['keys'] => all.map(({ line }) => ({ key: line, status: 'active' }));
  const roles = [{ role: 'admin' }];
  stage = await Stage.open({
    documents: [
      doc('Principal', 'ada', { type: 'person', keys: listed(...Object.values(keys)), roles }), doc('Principal', 'bot', { type: 'service', keys: listed(bot), roles }),
    ] as never,
  });
});
afterAll(() => stage.close());

const lineup = new ApprovalLineup(() => stage);
const NAMESPACE = 'stella-approval';
const by = (key: TestKey, options: SignatureOptions = {}): MakeSignature => (preimage) => makeSignature(key, preimage, { namespace: NAMESPACE, ...options });
/** The signature with these defects, and without them. */
const flawed = (options: SignatureOptions, key: TestKey = keys.ed25519) => lineup.enter({ attempt: by(key, options), twin: by(key) });
/** The armour of a signature changed, and as it was. */
const spoilt = (spoil: (armoured: string) => string) => lineup.enter({ attempt: (preimage) => spoil(by(keys.ed25519)(preimage)), twin: by(keys.ed25519) });

describe('what signs', () => {
  attack('key of a bot on an approval of a change', { rules: ['T11'], expects: 'ChangeRefused', ...lineup.enter({ attempt: by(bot), twin: by(keys.ed25519) }) });
  attack('RSA-1024', { rules: ['T4'], expects: 'KeyTooShort', ...lineup.enter({ attempt: (preimage) => by(makeTestKey('ssh-rsa', 1024))(preimage), twin: by(keys.rsa) }) });
  attack('RSA-2048', { rules: ['T4'], expects: 'KeyTooShort', ...lineup.enter({ attempt: (preimage) => by(makeTestKey('ssh-rsa', 2048))(preimage), twin: by(keys.rsa) }) });
  attack('key of somebody known laid over the signature of a stranger', {
    rules: ['T4', 'T8'], expects: 'SignatureInvalid', ...lineup.enter({ attempt: by(nobody, { keyBlob: keys.ed25519.blob }), twin: by(keys.ed25519) }),
  });
  attack('security key without user presence', { rules: ['T4'], expects: 'UserPresenceMissing', ...flawed({ flags: 0 }, keys.touch) });
});

describe('what is signed, and for what', () => {
  attack('SSHSIG namespace file', { rules: ['T4'], expects: 'NamespaceMismatch', ...flawed({ namespace: 'file' }) });
  attack('SSHSIG namespace git2', { rules: ['T4'], expects: 'NamespaceMismatch', ...flawed({ namespace: 'git2' }) });
  attack('signature of a commit used as an approval', { rules: ['T4'], expects: 'NamespaceMismatch', ...flawed({ namespace: 'git' }) });
  attack('signature of an intent used as an approval', { rules: ['T4'], expects: 'NamespaceMismatch', ...flawed({ namespace: 'stella-intent' }) });
  attack('signature over another document', {
    rules: ['T1', 'T4'], expects: 'SignatureInvalid', ...lineup.enter({ attempt: () => by(keys.ed25519)(Buffer.from('{}')), twin: by(keys.ed25519) }),
  });
  attack('signature over the approval with one space more', {
    rules: ['T1'], expects: 'SignatureInvalid', ...lineup.enter({ attempt: (preimage) => by(keys.ed25519)(concatBytes([preimage, Buffer.from(' ')])), twin: by(keys.ed25519) }),
  });
});

describe('form of an SSHSIG', () => {
  attack('SSHSIG sha1', { rules: ['T4'], expects: 'DigestUnsupported', ...flawed({ digestName: 'sha1' }) });
  attack('SSHSIG sha384', { rules: ['T4'], expects: 'DigestUnsupported', ...flawed({ digestName: 'sha384' }) });
  attack('ssh-rsa', { rules: ['T4'], expects: 'AlgorithmUnsupported', ...flawed({ algorithm: 'ssh-rsa', rsaDigest: 'sha1' }, keys.rsa) });
  attack('rsa-sha2-512 in name over SHA-1', { rules: ['T4'], expects: 'SignatureInvalid', ...flawed({ rsaDigest: 'sha1' }, keys.rsa) });
  attack('algorithm of another key type', { rules: ['T4'], expects: 'AlgorithmMismatch', ...flawed({ algorithm: 'rsa-sha2-512' }) });
  attack('webauthn algorithm', { rules: ['T4'], expects: 'AlgorithmUnsupported', ...flawed({ algorithm: 'webauthn-sk-ecdsa-sha2-nistp256@openssh.com' }) });
  attack('SSHSIG version 2', { rules: ['T4'], expects: 'SignatureMalformed', ...flawed({ version: 2 }) });
  attack('reserved field that is not empty', { rules: ['T4'], expects: 'SignatureMalformed', ...flawed({ reserved: 'x' }) });
  attack('trailing bytes behind the SSHSIG', { rules: ['T4'], expects: 'SignatureMalformed', ...flawed({ trailing: Uint8Array.of(0) }) });
  attack('trailing bytes behind the inner signature', { rules: ['T4'], expects: 'SignatureMalformed', ...flawed({ innerTrailing: Uint8Array.of(0) }) });
  attack('trailing bytes behind the numbers', { rules: ['T4'], expects: 'SignatureMalformed', ...flawed({ numbersTrailing: Uint8Array.of(0) }, keys.ecdsa) });
  attack('ECDSA number with a leading zero', { rules: ['T3', 'T4'], expects: 'SignatureMalformed', ...flawed({ changeNumbers: withLeadingZero }, keys.ecdsa) });
});

describe('form of the armour', () => {
  attack('armour with comment', { rules: ['T3'], expects: 'ArmourMalformed', ...spoilt((a) => a.replace('-----\n', '-----\nComment: approved\n\n')) });
  attack('armour with preamble', { rules: ['T3'], expects: 'ArmourMalformed', ...spoilt((a) => `Approved by me\n${a}`) });
  attack('armour with text behind it', { rules: ['T3'], expects: 'ArmourMalformed', ...spoilt((a) => `${a}and more\n`) });
  attack('end-marker smuggling in an approval', {
    rules: ['T3'], expects: 'ArmourMalformed', ...spoilt((a) => a.replace('-----END', '-----END SSH SIGNATURE-----\nI approve\n-----END')),
  });
  attack('two signatures in one armour text', { rules: ['T3'], expects: 'ArmourMalformed', ...spoilt((a) => a + a) });
  attack('armour with carriage returns', { rules: ['T3'], expects: 'ArmourMalformed', ...spoilt((a) => a.replaceAll('\n', '\r\n')) });
  attack('armour in lines of 76', {
    rules: ['T3'], expects: 'ArmourMalformed',
    ...lineup.enter({ attempt: (preimage) => armour(makeSignatureBlob(keys.ed25519, preimage, { namespace: NAMESPACE }), 76), twin: by(keys.ed25519) }),
  });
});

function withLeadingZero(numbers: Uint8Array): Uint8Array {
  const length = new DataView(numbers.buffer, numbers.byteOffset).getUint32(0);
  return concatBytes([wireString(concatBytes([Uint8Array.of(0), numbers.subarray(4, 4 + length)])), numbers.subarray(4 + length)]);
}
