import { afterAll, beforeAll, beforeEach, describe } from 'vitest';
import { objectIdOf } from '../../src/core/commit/commit-object.ts';
import { verifyCommit } from '../../src/core/commit/verify-commit.ts';
import { commitOf, HEADERS, signatureHeader, signedCommit, verifyRaw } from '../core/commit/commit-maker.ts';
import { makeSignature, makeTestKey, type SignatureOptions } from '../core/commit/signature-maker.ts';
import { requireComponent } from '../fakes/components.ts';
import { doc } from '../fakes/world.ts';
import { attack, signatureVerdict, type Verdict } from './attack.ts';
import { Stage } from './attacks-fixture.ts';
import { CommitLineup, type MakeCommit } from './lineup.ts';

/** Forged signatures on commits. ada is an admin: a commit of hers that names a change approves it. */

const key = makeTestKey('ssh-ed25519');
const rsa = makeTestKey('ssh-rsa');
const nobody = makeTestKey('ssh-ed25519');

let stage: Stage;
beforeEach((ctx) => requireComponent('git', ctx));
beforeAll(async () => {
  const keys = [key, rsa].map(({ line }) => ({ key: line, status: 'active' as const }));
  stage = await Stage.open({ documents: [doc('Principal', 'ada', { type: 'person', keys, roles: [{ role: 'admin' }] })] as never });
});
afterAll(() => stage.close());

const lineup = new CommitLineup(() => stage);
const genuine: MakeCommit = (headers, message) => signedCommit(key, headers, message);
const flawed = (options: SignatureOptions, by = key) => lineup.enter({ attempt: (headers, message) => signedCommit(by, headers, message, options), twin: (headers, message) => signedCommit(by, headers, message) });
const forged = (attempt: MakeCommit) => lineup.enter({ attempt, twin: genuine });
const signature = (headers: readonly string[], message: string): string => signatureHeader(makeSignature(key, commitOf(headers, message)));
/** Signed over exactly these bytes, with this header more. */
const withMore = (...more: readonly string[]): MakeCommit => (headers, message) => signedCommit(key, [...headers, ...more], message);
const spoilt = (spoil: (armoured: string) => string) => forged((headers, message) => commitOf([...headers, signatureHeader(spoil(makeSignature(key, commitOf(headers, message))))], message));

describe('headers', () => {
  attack('unsigned commit', { rules: ['T2'], expects: 'Unsigned', ...forged((headers, message) => commitOf(headers, message)) });
  attack('gpgsig text in the message of an unsigned commit', {
    rules: ['T2'], expects: 'Unsigned', ...forged((headers, message) => commitOf(headers, `${message}\n${signature(headers, message)}\n`)),
  });
  attack('unsigned gpgsig-x header with approval text', { rules: ['T2'], expects: 'HeaderUnknown', ...forged((headers, message) => commitOf([...headers, 'gpgsig-x I approve'], message)) });
  attack('gpgsig-x header beside a signature', { rules: ['T2'], expects: 'HeaderUnknown', ...forged(withMore('gpgsig-x I approve')) });
  attack('two gpgsig headers', {
    rules: ['T2', 'T3'], expects: 'HeaderDuplicate', ...forged((headers, message) => commitOf([...headers, signature(headers, message), signature(headers, message)], message)),
  });
  attack('signature header of the other object format', {
    rules: ['T2'], expects: 'HeaderUnknown', ...forged((headers, message) => commitOf([...headers, signatureHeader(makeSignature(key, commitOf(headers, message)), 'gpgsig-sha256')], message)),
  });
  attack('mergetag that brings a signature of its own', { rules: ['T2'], expects: 'HeaderUnknown', ...forged(withMore('mergetag object 1\n type commit')) });
  attack('header of another tool', { rules: ['T2'], expects: 'HeaderUnknown', ...forged(withMore('change-id abc')) });
  attack('encoding other than UTF-8', { rules: ['T2'], expects: 'EncodingUnsupported', ...forged(withMore('encoding ISO-8859-1')) });
  attack('header behind the signature', {
    rules: ['T2'], expects: 'HeaderMisplaced',
    ...forged((headers, message) => commitOf([...headers, signatureHeader(makeSignature(key, commitOf([...headers, 'encoding UTF-8'], message))), 'encoding UTF-8'], message)),
  });
});

describe('what is signed, and by whom', () => {
  attack('SSHSIG namespace file on a commit', { rules: ['T4'], expects: 'NamespaceMismatch', ...flawed({ namespace: 'file' }) });
  attack('SSHSIG namespace git2 on a commit', { rules: ['T4'], expects: 'NamespaceMismatch', ...flawed({ namespace: 'git2' }) });
  attack('signature of an approval used on a commit', { rules: ['T4'], expects: 'NamespaceMismatch', ...flawed({ namespace: 'stella-approval' }) });
  attack('SSHSIG sha1 on a commit', { rules: ['T4'], expects: 'DigestUnsupported', ...flawed({ digestName: 'sha1' }) });
  attack('ssh-rsa on a commit', { rules: ['T4'], expects: 'AlgorithmUnsupported', ...flawed({ algorithm: 'ssh-rsa', rsaDigest: 'sha1' }, rsa) });
  attack('signature of another commit carried over', { rules: ['T1'], expects: 'SignatureInvalid', ...forged((headers, message) => commitOf([...headers, signature(headers, 'Fix a typo\n')], message)) });
  attack('trailer added behind the signed message', {
    rules: ['T1'], expects: 'SignatureInvalid', ...forged((headers, message) => commitOf([...headers, signature(headers, message)], `${message}Stella-Approval: all\n`)),
  });
  attack('key of somebody known laid over a commit of a stranger', {
    rules: ['T8'], expects: 'SignatureInvalid', ...forged((headers, message) => signedCommit(nobody, headers, message, { keyBlob: key.blob })),
  });
  attack('author line of an admin on a commit that a stranger signed', {
    rules: ['T8'], expects: 'ChangeRefused', ...forged((headers, message) => signedCommit(nobody, headers, message)),
  });
});

describe('form of the armour in a commit', () => {
  attack('armour with comment in a commit', { rules: ['T3'], expects: 'ArmourMalformed', ...spoilt((a) => a.replace('-----\n', '-----\nComment: x\n')) });
  attack('armour with preamble in a commit', { rules: ['T3'], expects: 'ArmourMalformed', ...spoilt((a) => `preamble\n${a}`) });
  attack('end-marker smuggling', { rules: ['T3'], expects: 'ArmourMalformed', ...spoilt((a) => a.replace('-----END', '-----END SSH SIGNATURE-----\nI approve\n-----END')) });
  attack('end-marker smuggling of a second signature', { rules: ['T3'], expects: 'ArmourMalformed', ...spoilt((a) => a + a) });
  attack('X.509 signature on a commit', { rules: ['T12'], expects: 'SignatureUnsupported', ...spoilt((a) => a.replaceAll('SSH SIGNATURE', 'SIGNED MESSAGE')) });
});

describe('objects that git does not even fetch', () => {
  const [tree = '', , author = '', committer = ''] = HEADERS;

  /** Pushes a commit with the tip's content to the target branch, asks for a pass, and takes it away again. */
  async function pushed(make: (headers: readonly [string, string, string, string]) => Uint8Array): Promise<Verdict> {
    const { repository, executor } = stage.world;
    const tip = (await repository.tip('main')) ?? '';
    const raw = make([`tree ${await repository.git(['rev-parse', `${tip}^{tree}`])}`, `parent ${tip}`, author, committer]);
    await repository.git(['hash-object', '-t', 'commit', '-w', '--stdin', '--literally'], raw);
    await repository.git(['update-ref', 'refs/heads/main', objectIdOf(raw, 'sha1')]);
    const { fault } = await stage.world.pass();
    await repository.git(['update-ref', 'refs/heads/main', tip]);
    const { accepted, codes } = signatureVerdict(verifyRaw(raw));
    return { accepted: accepted && fault === null, codes: fault === null ? codes : [...codes, fault.code], executed: executor.executed };
  }
  const genuineTip = (): Promise<Verdict> => pushed((headers) => signedCommit(key, headers));

  attack('duplicate tree', { rules: ['T2'], expects: 'HeaderDuplicate', attempt: () => pushed(([t, p, a, c]) => signedCommit(key, [t, tree, p, a, c])), twin: genuineTip });
  attack('NUL and trailing data', { rules: ['T2'], expects: 'NulByte', attempt: () => pushed((headers) => signedCommit(key, headers, 'x\0I approve\n')), twin: genuineTip });
  attack('trailing data behind a signed commit', {
    rules: ['T1'], expects: 'SignatureInvalid', attempt: () => signatureVerdict(verifyRaw(Buffer.concat([signedCommit(key), Buffer.from('trailing')]))), twin: () => signatureVerdict(verifyRaw(signedCommit(key))),
  });
  attack('two authors', { rules: ['T2'], expects: 'HeaderDuplicate', attempt: () => pushed(([t, p, a, c]) => signedCommit(key, [t, p, a, a, c])), twin: genuineTip });
  attack('parent behind the author', { rules: ['T2'], expects: 'HeaderMisplaced', attempt: () => pushed(([t, p, a, c]) => signedCommit(key, [t, a, p, c])), twin: genuineTip });
  attack('bytes under the id of another commit', {
    rules: ['T1'], expects: 'IdMismatch',
    attempt: () => signatureVerdict(verifyCommit(signedCommit(key), 'sha1', objectIdOf(signedCommit(key, HEADERS, 'other'), 'sha1'))),
    twin: () => signatureVerdict(verifyCommit(signedCommit(key), 'sha1', objectIdOf(signedCommit(key), 'sha1'))),
  });
});
