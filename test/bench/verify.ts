import { rm, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { objectIdOf } from '../../src/core/commit/commit-object.ts';
import { createKeyCache } from '../../src/core/commit/ssh-key.ts';
import { verifyCommit } from '../../src/core/commit/verify-commit.ts';
import type { CommitId } from '../../src/core/model/commit-id.ts';
import { signedCommit } from '../core/commit/commit-maker.ts';
import { createRepository, createTemporaryFolder, runProgram } from '../fakes/git-repository.ts';
import { makeTestKey, type TestKey } from '../core/commit/signature-maker.ts';
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
    const ids = await writeCommits(repository, key);
    const allowed = join(folder, 'allowed');
    await writeFile(allowed, `ada@example.test namespaces="git" ${key.line}\n`);
    const forGit = ids.slice(-GIT_COMMITS);
    const { ratio } = await medianOfPaired(ROUNDS, () => verifyWithGit(repository, forGit, allowed), () => verifyOurselves(repository, ids));
    return ratio * (ids.length / forGit.length);
  } finally {
    await rm(folder, { recursive: true, force: true });
  }
}

/** A chain of signed commits over an empty tree. */
async function writeCommits(repository: string, key: TestKey): Promise<readonly CommitId[]> {
  await createRepository({ folder: repository });
  const tree = (await runProgram('git', ['--git-dir', repository, 'mktree'])).toString().trim();
  const ids: CommitId[] = [];
  const paths: string[] = [];
  for (let i = 0; i < COMMITS; i += 1) {
    const person = `Ada Example <ada@example.test> ${1_767_225_600 + i} +0000`;
    const headers = [`tree ${tree}`, ...ids.slice(-1).map((id) => `parent ${id}`), `author ${person}`, `committer ${person}`];
    const raw = signedCommit(key, headers, `Promote shop 1.4.${i} to prod\n\nSoaked for a day.\n`);
    ids.push(objectIdOf(raw, 'sha1'));
    paths.push(`${repository}/commit-${i}`);
    await writeFile(paths.at(-1) ?? '', raw);
  }
  const written = await runProgram('git', ['--git-dir', repository, 'hash-object', '-t', 'commit', '-w', '--stdin-paths'], { input: `${paths.join('\n')}\n` });
  if (written.toString().trim() !== ids.join('\n')) throw new Error('git names these commits otherwise than we do');
  await runProgram('git', ['--git-dir', repository, 'update-ref', 'refs/heads/main', ids.at(-1) ?? '']);
  return ids;
}

async function verifyOurselves(repository: string, ids: readonly CommitId[]): Promise<void> {
  const output = await runProgram('git', ['--git-dir', repository, 'cat-file', '--batch'], { input: `${ids.join('\n')}\n` });
  const keys = createKeyCache();
  let offset = 0;
  for (const id of ids) {
    const lineEnd = output.indexOf('\n', offset);
    const size = Number(output.toString('latin1', offset, lineEnd).split(' ')[2]);
    const verified = verifyCommit(output.subarray(lineEnd + 1, lineEnd + 1 + size), 'sha1', id, { ssh: keys });
    if (!verified.signed) throw new Error(`${id} was refused: ${verified.message}`);
    offset = lineEnd + 1 + size + 1;
  }
}

async function verifyWithGit(repository: string, ids: readonly CommitId[], allowed: string): Promise<void> {
  await runProgram('git', ['--git-dir', repository, '-c', 'gpg.format=ssh', '-c', `gpg.ssh.allowedSignersFile=${allowed}`, 'verify-commit', ...ids]);
}
