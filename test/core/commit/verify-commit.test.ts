import { createHash } from 'node:crypto';
import { rm } from 'node:fs/promises';
import { join } from 'node:path';
import { afterAll, beforeAll, beforeEach, describe, expect, test } from 'vitest';
import { objectIdOf, parseCommit, type ParsedCommit } from '../../../src/core/commit/commit-object.ts';
import { createKeyCache } from '../../../src/core/commit/ssh-key.ts';
import { verifyCommit } from '../../../src/core/commit/verify-commit.ts';
import { parseCommitId, type CommitId } from '../../../src/core/model/commit-id.ts';
import { digestOfBytes } from '../../../src/core/model/digest.ts';
import { limits } from '../../../src/core/model/limits.ts';
import { requireComponent } from '../../fakes/components.ts';
import {
  createRepository, createSshKey, createTemporaryFolder, runProgram, verifyCommit as gitAccepts, writeAllowedSigners, type SshKey,
} from '../../fakes/git-repository.ts';
import { codeOf, commitOf, HEADERS, PERSON, signatureHeader, signedCommit, TREE, verifyRaw } from './commit-maker.ts';
import { makeSignature, makeTestKey, type TestKey } from './signature-maker.ts';

let folder: string;
let key: TestKey;
beforeAll(async () => {
  folder = await createTemporaryFolder();
  key = makeTestKey('ssh-ed25519');
});
afterAll(() => rm(folder, { recursive: true, force: true }));

describe('a commit that git signed', () => {
  beforeEach((ctx) => {
    requireComponent('git', ctx);
    requireComponent('ssh-keygen', ctx);
  });

  test.each([
    ['ed25519', undefined, 'sha1'], ['ecdsa', 256, 'sha1'], ['ecdsa', 384, 'sha1'], ['ecdsa', 521, 'sha1'], ['rsa', 3072, 'sha1'],
    ['rsa', 4096, 'sha1'], ['ed25519', undefined, 'sha256'],
  ] as const)('with %s %s in a %s repository verifies for git and for us; changed or unsigned it does for neither', async (type, bits, objectFormat) => {
    const signer = await createSshKey(folder, `${type}-${bits}-${objectFormat}`, type, bits);
    const allowed = await writeAllowedSigners(join(folder, 'allowed'), [signer]);
    const repository = await createRepository({ folder: join(folder, `${signer.name}.git`), objectFormat });
    const id = await commitWithGit(repository.folder, signer, 'Promote shop\n\nStella-Approval: none\n');
    const raw = await readRaw(repository.folder, id);
    expect([await gitAccepts(repository.folder, id, allowed), codeOf(verifyCommit(raw, objectFormat, id))]).toEqual([true, 'ok']);

    const changed = Buffer.from(raw.toString('latin1').replace('Promote shop', 'Promote shoq'), 'latin1');
    const changedId = await writeRaw(repository.folder, changed);
    expect(await gitAccepts(repository.folder, changedId, allowed)).toBe(false);
    expect(codeOf(verifyCommit(changed, objectFormat, changedId))).toBe('SignatureInvalid');

    const unsigned = await commitWithGit(repository.folder, null, 'Promote shop');
    expect(await gitAccepts(repository.folder, unsigned, allowed)).toBe(false);
    expect(codeOf(verifyCommit(await readRaw(repository.folder, unsigned), objectFormat, unsigned))).toBe('Unsigned');
  });

  test('with parents, a name beyond ASCII, an empty message or a long one verifies for git and for us', async () => {
    const signer = await createSshKey(folder, 'varied');
    const allowed = await writeAllowedSigners(join(folder, 'allowed-varied'), [signer]);
    const repository = await createRepository({ folder: join(folder, 'varied.git') });
    let parents: readonly CommitId[] = [];
    for (const message of ['', 'ÄÖÜ \u{1F680}', `${'long '.repeat(20_000)}\n\nbody\n`, 'a\n\n\n-----BEGIN SSH SIGNATURE-----\n', ' leading', '\r\n']) {
      const id = await commitWithGit(repository.folder, signer, message, parents);
      const verified = verifyCommit(await readRaw(repository.folder, id), 'sha1', id);
      expect([message.slice(0, 20), await gitAccepts(repository.folder, id, allowed), codeOf(verified)]).toEqual([message.slice(0, 20), true, 'ok']);
      expect(verified.commit?.parents).toEqual(parents);
      parents = [id, ...parents].slice(0, 2);
    }
  });

  test('with OpenPGP is refused as unsupported', async (ctx) => {
    requireComponent('gpg', ctx);
    const home = join(folder, 'gnupg');
    await runProgram('mkdir', ['-m', '700', home]);
    const environment = { GNUPGHOME: home };
    await runProgram('gpg', ['--batch', '--quiet', '--passphrase', '', '--quick-generate-key', 'ada@example.test', 'ed25519', 'sign'], { env: environment });
    const repository = await createRepository({ folder: join(folder, 'openpgp.git') });
    const tree = await repository.git(['mktree'], '');
    const output = await runProgram('git', ['--git-dir', repository.folder, 'commit-tree', '-Sada@example.test', '-m', 'x', tree], {
      env: { ...environment, ...PEOPLE },
    });
    await runProgram('gpgconf', ['--kill', 'all'], { env: environment });
    const id = parseCommitId(output.toString().trim());
    expect(codeOf(verifyCommit(await readRaw(repository.folder, id), 'sha1', id))).toBe('SignatureUnsupported');
  });

  const PEOPLE = {
    GIT_AUTHOR_NAME: 'Ada Ünal', GIT_AUTHOR_EMAIL: 'ada@example.test', GIT_COMMITTER_NAME: 'Ada Ünal', GIT_COMMITTER_EMAIL: 'ada@example.test',
    GIT_AUTHOR_DATE: '1767225600 +0530', GIT_COMMITTER_DATE: '1767225600 -0800',
  };

  async function commitWithGit(repository: string, signer: SshKey | null, message: string, parents: readonly string[] = []): Promise<CommitId> {
    const tree = (await runProgram('git', ['--git-dir', repository, 'mktree'], {})).toString().trim();
    const sign = signer === null ? [] : [`-S${signer.privateKeyPath}`];
    const args = ['--git-dir', repository, '-c', 'gpg.format=ssh', 'commit-tree', ...sign, ...parents.flatMap((id) => ['-p', id]), tree];
    return parseCommitId((await runProgram('git', args, { input: message, env: PEOPLE })).toString().trim());
  }

  function readRaw(repository: string, id: CommitId): Promise<Buffer> {
    return runProgram('git', ['--git-dir', repository, 'cat-file', 'commit', id]);
  }

  async function writeRaw(repository: string, raw: Uint8Array): Promise<CommitId> {
    const args = ['--git-dir', repository, 'hash-object', '-t', 'commit', '-w', '--stdin', '--literally'];
    return parseCommitId((await runProgram('git', args, { input: raw })).toString().trim());
  }
});

describe('a verified commit', () => {
  test('tells id, tree, parents, people, message, signer and the digest of the signed payload', () => {
    const raw = signedCommit(key, HEADERS, 'Promote shop\n\nWhy.\n');
    const verified = verifyRaw(raw);
    if (!verified.signed) throw new Error(verified.code);
    expect(verified.commit).toMatchObject({
      id: objectIdOf(raw, 'sha1'), tree: TREE, parents: ['1'.repeat(40)], message: 'Promote shop\n\nWhy.\n',
      author: { line: PERSON, seconds: 1_767_225_600 }, committer: { line: PERSON, seconds: 1_767_225_600 },
    });
    expect(verified.signer.fingerprint).toBe(`SHA256:${createHash('sha256').update(key.blob).digest('base64').replace(/=+$/, '')}`);
    expect(verified.payloadDigest).toBe(digestOfBytes(commitOf(HEADERS, 'Promote shop\n\nWhy.\n')));
  });

  test('keeps the digest of its payload when it is signed again: one payload, two commit ids (T7)', () => {
    const first = verifyRaw(signedCommit(key, HEADERS, 'x', { digestName: 'sha256' }));
    const second = verifyRaw(signedCommit(key, HEADERS, 'x', { digestName: 'sha512' }));
    expect([first.signed, second.signed, first.commit?.id === second.commit?.id]).toEqual([true, true, false]);
    expect(first.signed && second.signed && first.payloadDigest === second.payloadDigest).toBe(true);
  });

  test('verifies under its own id only (T1)', () => {
    const raw = signedCommit(key);
    const other = objectIdOf(signedCommit(key, HEADERS, 'other'), 'sha1');
    expect(codeOf(verifyCommit(raw, 'sha1', other))).toBe('IdMismatch');
    expect(codeOf(verifyCommit(raw, 'sha1', objectIdOf(raw, 'sha1')))).toBe('ok');
  });

  test('verifies the same with a cache of keys, filled or empty', () => {
    const keys = createKeyCache();
    const raw = signedCommit(key);
    const id = objectIdOf(raw, 'sha1');
    expect([1, 2].map(() => codeOf(verifyCommit(raw, 'sha1', id, { ssh: keys })))).toEqual(['ok', 'ok']);
    expect(keys.keys.size).toBe(1);
  });

  test('may declare UTF-8, and no other encoding (T2)', () => {
    expect(codeOf(verifyRaw(signedCommit(key, [...HEADERS, 'encoding UTF-8'])))).toBe('ok');
    expect(codeOf(verifyRaw(signedCommit(key, [...HEADERS, 'encoding ISO-8859-1'])))).toBe('EncodingUnsupported');
  });
});

describe('a commit with one defect is not signed, its twin without it is (T2, T3)', () => {
  const [tree = '', parent = '', author = '', committer = ''] = HEADERS;
  const header = (signed: Buffer, message = 'Promote\n'): string => signatureHeader(makeSignature(key, signed), 'gpgsig') + `\n\n${message}`;
  /** Headers in which the last is the signature over `over`, by default over all the others. */
  const withSignature = (headers: readonly string[], name = 'gpgsig'): Buffer =>
    commitOf([...headers, signatureHeader(makeSignature(key, commitOf(headers)), name)]);

  const cases: readonly [string, string, () => Buffer][] = [
    ['no signature', 'Unsigned', () => commitOf(HEADERS)],
    ['gpgsig text in the message of an unsigned commit', 'Unsigned', () => commitOf(HEADERS, `x\n\n${header(commitOf(HEADERS))}`)],
    ['unsigned gpgsig-x header with approval text', 'HeaderUnknown', () => commitOf([...HEADERS, 'gpgsig-x I approve'])],
    ['gpgsig-x header beside the signature', 'HeaderUnknown', () => withSignature([...HEADERS, 'gpgsig-x I approve'])],
    ['two gpgsig headers', 'HeaderDuplicate', () => commitOf([...HEADERS, ...[1, 2].map(() => signatureHeader(makeSignature(key, commitOf(HEADERS))))])],
    ['the signature of the other object format', 'HeaderUnknown', () => withSignature(HEADERS, 'gpgsig-sha256')],
    ['a header named signature', 'HeaderUnknown', () => withSignature([...HEADERS, 'signature x'])],
    ['duplicate tree', 'HeaderDuplicate', () => withSignature([tree, `tree ${'2'.repeat(40)}`, parent, author, committer])],
    ['duplicate author', 'HeaderDuplicate', () => withSignature([tree, parent, author, author, committer])],
    ['duplicate committer', 'HeaderDuplicate', () => withSignature([...HEADERS, committer])],
    ['duplicate encoding', 'HeaderDuplicate', () => withSignature([...HEADERS, 'encoding UTF-8', 'encoding UTF-8'])],
    ['a parent behind the author', 'HeaderMisplaced', () => withSignature([tree, author, parent, committer])],
    ['committer before author', 'HeaderMisplaced', () => withSignature([tree, parent, committer, author])],
    ['the signature before the committer', 'HeaderMisplaced', () =>
      commitOf([tree, parent, author, signatureHeader(makeSignature(key, commitOf(HEADERS))), committer])],
    ['encoding behind the signature', 'HeaderMisplaced', () =>
      commitOf([...HEADERS, signatureHeader(makeSignature(key, commitOf([...HEADERS, 'encoding UTF-8']))), 'encoding UTF-8'])],
    ['a header of another tool', 'HeaderUnknown', () => withSignature([...HEADERS, 'change-id abc'])],
    ['a mergetag', 'HeaderUnknown', () => withSignature([...HEADERS, 'mergetag object 1\n type commit'])],
    ['no author', 'HeaderMalformed', () => withSignature([tree, parent, committer])],
    ['no committer', 'HeaderMalformed', () => withSignature([tree, parent, author])],
    ['an author without time', 'HeaderMalformed', () => withSignature([tree, parent, 'author Ada <ada@example.test>', committer])],
    ['an author of two lines', 'HeaderMalformed', () => withSignature([tree, parent, `${author}\n more`, committer])],
    ['a tree of two lines', 'CommitMalformed', () => withSignature([`${tree}\n more`, parent, author, committer])],
    ['no tree', 'CommitMalformed', () => withSignature([parent, author, committer])],
    ['a tree in capitals', 'CommitMalformed', () => withSignature([tree.replaceAll('b', 'B'), parent, author, committer])],
    ['a parent that is too short', 'CommitMalformed', () => withSignature([tree, parent.slice(0, -1), author, committer])],
    ['NUL in the message', 'NulByte', () => signedCommit(key, HEADERS, 'x\0I approve\n')],
    ['NUL in the author', 'NulByte', () => signedCommit(key, [tree, parent, author.replace('Ada', 'A\0da'), committer])],
    ['trailing data', 'SignatureInvalid', () => Buffer.concat([signedCommit(key), Buffer.from('trailing')])],
    ['NUL and trailing data', 'NulByte', () => Buffer.concat([signedCommit(key), Buffer.from('\0trailing')])],
    ['bytes that are not UTF-8', 'NotUtf8', () => withBytes(Buffer.from('Promote \xff\n', 'latin1'))],
    ['no blank line behind the headers', 'HeaderMalformed', () => signedCommit(key, HEADERS, '').subarray(0, -1)],
    ['armour with comment', 'ArmourMalformed', () => spoilt((a) => a.replace('-----\n', '-----\nComment: x\n'))],
    ['armour with preamble', 'ArmourMalformed', () => spoilt((a) => `preamble\n${a}`)],
    ['armour with trailing text', 'ArmourMalformed', () => spoilt((a) => `${a}more\n`)],
    ['armour with a trailing blank line', 'ArmourMalformed', () => spoilt((a) => `${a}\n`, (h) => `${h}\n `)],
    ['end-marker smuggling', 'ArmourMalformed', () => spoilt((a) => a.replace('-----END', '-----END SSH SIGNATURE-----\nI approve\n-----END'))],
    ['end-marker smuggling of a second signature', 'ArmourMalformed', () => spoilt((a) => a + a)],
    ['X.509', 'SignatureUnsupported', () => spoilt((a) => a.replaceAll('SSH SIGNATURE', 'SIGNED MESSAGE'))],
    ['namespace file', 'NamespaceMismatch', () => signedCommit(key, HEADERS, 'x', { namespace: 'file' })],
    ['namespace git2', 'NamespaceMismatch', () => signedCommit(key, HEADERS, 'x', { namespace: 'git2' })],
    ['a signature for an approval', 'NamespaceMismatch', () => signedCommit(key, HEADERS, 'x', { namespace: 'stella-approval' })],
    ['SSHSIG sha1', 'DigestUnsupported', () => signedCommit(key, HEADERS, 'x', { digestName: 'sha1' })],
    ['the signature of another commit', 'SignatureInvalid', () => commitOf([...HEADERS, signatureHeader(makeSignature(key, commitOf(HEADERS)))], 'other\n')],
  ];
  test.each(cases)('%s: %s', (_, refused, build) => {
    expect(codeOf(verifyRaw(build()))).toBe(refused);
    expect(codeOf(verifyRaw(withSignature(HEADERS)))).toBe('ok');
  });

  test('ssh-rsa and RSA-1024', () => {
    const rsa = makeTestKey('ssh-rsa');
    expect(codeOf(verifyRaw(signedCommit(rsa, HEADERS, 'x', { algorithm: 'ssh-rsa', rsaDigest: 'sha1' })))).toBe('AlgorithmUnsupported');
    expect(codeOf(verifyRaw(signedCommit(makeTestKey('ssh-rsa', 1024))))).toBe('KeyTooShort');
    expect(codeOf(verifyRaw(signedCommit(rsa)))).toBe('ok');
  });

  test('a commit larger than the limit is refused before it is read', () => {
    const room = limits.commitBytes - signedCommit(key, HEADERS, '').length;
    expect(codeOf(verifyRaw(signedCommit(key, HEADERS, 'x'.repeat(room))))).toBe('ok');
    expect(codeOf(verifyRaw(signedCommit(key, HEADERS, 'x'.repeat(room + 1))))).toBe('CommitTooLarge');
  });

  function withBytes(message: Buffer): Buffer {
    const over = Buffer.concat([commitOf(HEADERS, ''), message]);
    return Buffer.concat([commitOf([...HEADERS, signatureHeader(makeSignature(key, over))], ''), message]);
  }

  function spoilt(change: (armoured: string) => string, changeHeader = (text: string): string => text): Buffer {
    return commitOf([...HEADERS, changeHeader(signatureHeader(change(makeSignature(key, commitOf(HEADERS)))))]);
  }
});

describe('a commit whose signature is void', () => {
  test('is still read, so that history can be walked past it', () => {
    const outcome = parse(commitOf([...HEADERS, 'gpgsig-x I approve']));
    expect(outcome).toMatchObject({ tree: TREE, parents: ['1'.repeat(40)], signature: { state: 'malformed', code: 'HeaderUnknown' } });
  });

  test('has no person where the line is malformed, and a message with replaced bytes where it is not UTF-8', () => {
    const raw = Buffer.concat([commitOf([`tree ${TREE}`, 'author nobody', `committer ${PERSON}`], ''), Buffer.of(0xff)]);
    expect(parse(raw)).toMatchObject({ author: null, committer: { seconds: 1_767_225_600 }, message: '\uFFFD', signature: { state: 'unsigned' } });
  });

  function parse(raw: Uint8Array): ParsedCommit {
    const outcome = parseCommit(raw, 'sha1');
    if (!outcome.ok) throw new Error(outcome.code);
    return outcome.commit;
  }
});
