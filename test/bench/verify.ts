import { rm, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { openOpenPgpVerifier } from '../../src/adapters/openpgp/open-verifier.ts';
import { objectIdOf } from '../../src/core/commit/commit-object.ts';
import { readCertificate } from '../../src/core/commit/openpgp-read-certificate.ts';
import { createKeyCache } from '../../src/core/commit/ssh-key.ts';
import { verifyCommits } from '../../src/core/commit/verify-commit.ts';
import type { SignatureKeys } from '../../src/core/commit/verify-signature.ts';
import type { CommitId } from '../../src/core/model/commit-id.ts';
import { commitOf, signatureHeader, signedCommit } from '../core/commit/commit-maker.ts';
import { createRepository, createTemporaryFolder, runProgram } from '../fakes/git-repository.ts';
import { certificateOf, makePgpKey, pgpSignatureOf } from '../core/commit/openpgp-maker.ts';
import { makeTestKey } from '../core/commit/signature-maker.ts';
import { GpgHome } from '../fakes/gpg.ts';
import { medianOfPaired } from './figure.ts';

const COMMITS = 1_000;
/** Commits that git verifies in each round, in one process: the fastest way that git has. */
const GIT_COMMITS = 20;
const ROUNDS = 30;

/**
 * How many times faster than `git verify-commit` we verify an ed25519-signed commit. Ours is one `git cat-file --batch` for all
 * commits and `verifyCommit` on each, every round with an empty cache of keys. Both run in turn on the same commits; the ratio is
 * that of the times per commit.
 */
export async function verifyVsGitSsh(): Promise<number> {
  const folder = await createTemporaryFolder();
  try {
    const key = makeTestKey('ssh-ed25519');
    const repository = join(folder, 'repository.git');
    const ids = await writeCommits(repository, (headers, message) => signedCommit(key, headers, message));
    const allowed = join(folder, 'allowed');
    await writeFile(allowed, `ada@example.test namespaces="git" ${key.line}\n`);
    const forGit = ids.slice(-GIT_COMMITS);
    const { ratio } = await medianOfPaired(ROUNDS, () => verifyWithGit(repository, forGit, ['-c', 'gpg.format=ssh', '-c', `gpg.ssh.allowedSignersFile=${allowed}`]), () => verifyOurselves(repository, ids, { ssh: createKeyCache() }));
    return ratio * (ids.length / forGit.length);
  } finally {
    await rm(folder, { recursive: true, force: true });
  }
}

/**
 * The same for commits signed with OpenPGP, ed25519. Every round has a verifier of its own, whose thread is started and which knows no
 * answer; git has gpg, with the one key in its keyring.
 */
export async function verifyVsGitOpenPgp(): Promise<number> {
  const folder = await createTemporaryFolder();
  const home = await GpgHome.create();
  try {
    const key = makePgpKey('eddsa', { created: 1_700_000_000 });
    const certificate = certificateOf(key);
    await home.gpg(['--import'], certificate);
    await home.gpg(['--import-ownertrust'], `${key.fingerprint.toUpperCase()}:6:\n`);
    const repository = join(folder, 'repository.git');
    const ids = await writeCommits(repository, (headers, message) => commitOf([...headers, signatureHeader(pgpSignatureOf(key, commitOf(headers, message)))], message));
    const forGit = ids.slice(-GIT_COMMITS);
    const ours = async (): Promise<void> => {
      const verifier = openOpenPgpVerifier();
      const read = readCertificate(certificate, verifier);
      if (!read.ok) throw new Error(read.message);
      await verifyOurselves(repository, ids, { openPgp: { verifier, find: (fingerprint) => read.certificate.keys.find((k) => k.fingerprint === fingerprint) } });
      await verifier.close();
    };
    const { ratio } = await medianOfPaired(ROUNDS, () => verifyWithGit(repository, forGit, ['-c', 'gpg.format=openpgp'], { GNUPGHOME: home.folder }), ours);
    return ratio * (ids.length / forGit.length);
  } finally {
    await home.remove();
    await rm(folder, { recursive: true, force: true });
  }
}

/** A chain of signed commits over an empty tree. */
async function writeCommits(repository: string, sign: (headers: readonly string[], message: string) => Uint8Array): Promise<readonly CommitId[]> {
  await createRepository({ folder: repository });
  const tree = (await runProgram('git', ['--git-dir', repository, 'mktree'])).toString().trim();
  const ids: CommitId[] = [];
  const paths: string[] = [];
  for (let i = 0; i < COMMITS; i += 1) {
    const person = `Ada Example <ada@example.test> ${1_767_225_600 + i} +0000`;
    const headers = [`tree ${tree}`, ...ids.slice(-1).map((id) => `parent ${id}`), `author ${person}`, `committer ${person}`];
    const raw = sign(headers, `Promote shop 1.4.${i} to prod\n\nSoaked for a day.\n`);
    ids.push(objectIdOf(raw, 'sha1'));
    paths.push(`${repository}/commit-${i}`);
    await writeFile(paths.at(-1) ?? '', raw);
  }
  const written = await runProgram('git', ['--git-dir', repository, 'hash-object', '-t', 'commit', '-w', '--stdin-paths'], { input: `${paths.join('\n')}\n` });
  if (written.toString().trim() !== ids.join('\n')) throw new Error('git names these commits otherwise than we do');
  await runProgram('git', ['--git-dir', repository, 'update-ref', 'refs/heads/main', ids.at(-1) ?? '']);
  return ids;
}

async function verifyOurselves(repository: string, ids: readonly CommitId[], keys: SignatureKeys): Promise<void> {
  const output = await runProgram('git', ['--git-dir', repository, 'cat-file', '--batch'], { input: `${ids.join('\n')}\n` });
  let offset = 0;
  const commits = ids.map((commit) => {
    const lineEnd = output.indexOf('\n', offset);
    const size = Number(output.toString('latin1', offset, lineEnd).split(' ')[2]);
    offset = lineEnd + 1 + size + 1;
    return { commit, raw: output.subarray(lineEnd + 1, lineEnd + 1 + size) };
  });
  for (const [i, verified] of verifyCommits(commits, keys).entries()) if (!verified.signed) throw new Error(`${ids[i]} was refused: ${verified.message}`);
}

async function verifyWithGit(repository: string, ids: readonly CommitId[], configuration: readonly string[], env: Record<string, string> = {}): Promise<void> {
  await runProgram('git', ['--git-dir', repository, ...configuration, 'verify-commit', ...ids], { env });
}
