import { spawn } from 'node:child_process';
import { chmod, mkdir, mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { DocumentSignature } from '../../src/core/model/documents.ts';
import type { CommitId } from '../../src/core/model/commit-id.ts';

/** A real key pair made by `ssh-keygen`. */
export type SshKey = { readonly name: string; readonly privateKeyPath: string; readonly publicKeyPath: string; readonly publicKey: string };

/** Whoever signs with OpenPGP: gpg, or keys of which a test makes every byte. */
export type OpenPgpSigner = { readonly name: string; readonly publicKey: string; readonly sign: (payload: Uint8Array) => Promise<string> | string };
export type Signer = SshKey | OpenPgpSigner;

export type TestFile = string | Uint8Array | { readonly content: string | Uint8Array; readonly mode: '100644' | '100755' | '120000' };

export type TestCommit = {
  readonly message?: string;
  /** Default `main`. The branch moves to the new commit. */
  readonly branch?: string;
  /** Added or replaced files by path; the rest comes from the first parent. */
  readonly files?: Readonly<Record<string, TestFile>>;
  /** Removed files or folders. */
  readonly deletes?: readonly string[];
  /** Default: the tip of the branch, or none for its first commit. */
  readonly parents?: readonly CommitId[];
  /** Signs with this key; unsigned without. */
  readonly sshKey?: Signer | undefined;
  readonly author?: { readonly name: string; readonly email: string };
  /** Default: a minute after the last commit of this repository, from 2026-01-01 on. */
  readonly at?: Date;
};

export type TestJoin = Omit<TestCommit, 'parents'> & { readonly from: CommitId };

export type TestRepository = {
  /** The bare repository; also a URL that git takes. */
  readonly folder: string;
  commit(commit: TestCommit): Promise<CommitId>;
  /** A merge of `from` into `branch`, with `files` laid over the result. */
  merge(join: TestJoin): Promise<CommitId>;
  /** What a forge makes of a pull request: one commit on `branch` with the content of a merge. */
  squash(join: TestJoin): Promise<CommitId>;
  tip(branch?: string): Promise<CommitId | null>;
  setBranch(branch: string, commit: CommitId): Promise<void>;
  /** Makes the server refuse every push with this text, or accept again with null. */
  rejectPushes(text: string | null): Promise<void>;
  /** Runs git in the repository and returns what it prints, trimmed. */
  git(args: readonly string[], input?: string | Uint8Array): Promise<string>;
  remove(): Promise<void>;
};

const BASE_ENVIRONMENT: Readonly<Record<string, string>> = {
  GIT_CONFIG_NOSYSTEM: '1',
  GIT_CONFIG_GLOBAL: '/dev/null',
  GIT_TERMINAL_PROMPT: '0',
  LC_ALL: 'C',
  TZ: 'UTC',
};

/** Runs a program to its end and returns its output; a non-zero exit is an error with what it said. */
export function runProgram(program: string, args: readonly string[], options: { cwd?: string; input?: string | Uint8Array; env?: Record<string, string> } = {}): Promise<Buffer> {
  return new Promise((resolve, reject) => {
    const child = spawn(program, args, { cwd: options.cwd, env: { ...process.env, ...BASE_ENVIRONMENT, ...options.env } });
    const stdout: Buffer[] = [];
    const stderr: Buffer[] = [];
    child.stdout.on('data', (chunk: Buffer) => stdout.push(chunk));
    child.stderr.on('data', (chunk: Buffer) => stderr.push(chunk));
    child.stdin.on('error', () => undefined);
    child.on('error', reject);
    child.on('close', (code) => {
      if (code === 0) resolve(Buffer.concat(stdout));
      else reject(new Error(`${program} ${args.join(' ')} exited with ${code}: ${Buffer.concat(stderr).toString()}`));
    });
    child.stdin.end(options.input ?? '');
  });
}

/** A new folder under the system's temporary folder. */
export function createTemporaryFolder(): Promise<string> {
  return mkdtemp(join(tmpdir(), 'stella-git-'));
}

/** Makes a key pair `<folder>/<name>` without passphrase. `type` as `ssh-keygen -t` takes it, with `bits` for rsa. */
export async function createSshKey(folder: string, name: string, type = 'ed25519', bits?: number): Promise<SshKey> {
  await mkdir(folder, { recursive: true });
  const privateKeyPath = join(folder, name);
  await runProgram('ssh-keygen', ['-q', '-t', type, ...(bits === undefined ? [] : ['-b', String(bits)]), '-N', '', '-C', `${name}@example.test`, '-f', privateKeyPath]);
  const publicKeyPath = `${privateKeyPath}.pub`;
  return { name, privateKeyPath, publicKeyPath, publicKey: (await readFile(publicKeyPath, 'utf8')).trim() };
}

/** Armoured SSHSIG of `payload` by `ssh-keygen -Y sign`. */
export async function signWithSsh(key: SshKey, payload: Uint8Array | string, namespace = 'git'): Promise<string> {
  return (await runProgram('ssh-keygen', ['-q', '-Y', 'sign', '-n', namespace, '-f', key.privateKeyPath], { input: payload })).toString();
}

/** The signature of `payload` as documents carry it. */
export async function signWith(key: Signer, payload: Uint8Array, namespace: string): Promise<DocumentSignature> {
  if ('sign' in key) return { format: 'openpgp', signature: await key.sign(payload) };
  return { format: 'sshsig', signature: await signWithSsh(key, payload, namespace) };
}

/** Writes an allowed_signers file in which each key belongs to `<name>@example.test`. */
export async function writeAllowedSigners(file: string, keys: readonly SshKey[]): Promise<string> {
  await writeFile(file, keys.map((key) => `${key.name}@example.test namespaces="git" ${key.publicKey}\n`).join(''));
  return file;
}

/** Whether `git verify-commit` accepts a commit, with what it says. */
export async function verifyCommit(folder: string, commit: CommitId, allowedSignersFile: string): Promise<boolean> {
  const args = ['-C', folder, '-c', 'gpg.format=ssh', '-c', `gpg.ssh.allowedSignersFile=${allowedSignersFile}`, 'verify-commit', commit];
  return runProgram('git', args).then(
    () => true,
    () => false,
  );
}

/** A new bare repository with `main` as its branch and no commits, in `folder` or in a temporary folder. */
export async function createRepository(options: { folder?: string; objectFormat?: 'sha1' | 'sha256' } = {}): Promise<TestRepository> {
  const folder = options.folder ?? join(await createTemporaryFolder(), 'repository.git');
  await runProgram('git', ['init', '-q', '--bare', '--initial-branch=main', `--object-format=${options.objectFormat ?? 'sha1'}`, folder]);
  return new BareTestRepository(folder, options.folder === undefined ? join(folder, '..') : folder);
}

class BareTestRepository implements TestRepository {
  readonly folder: string;
  readonly #removable: string;
  #atSeconds = Date.UTC(2026, 0, 1) / 1000;

  constructor(folder: string, removable: string) {
    this.folder = folder;
    this.#removable = removable;
  }

  async commit(commit: TestCommit): Promise<CommitId> {
    const branch = commit.branch ?? 'main';
    const tip = commit.parents === undefined ? await this.tip(branch) : null;
    const parents = commit.parents ?? (tip === null ? [] : [tip]);
    return this.#write(branch, parents, null, commit);
  }

  async merge(join: TestJoin): Promise<CommitId> {
    const tip = await this.#demandTip(join.branch ?? 'main');
    return this.#write(join.branch ?? 'main', [tip, join.from], await this.#mergedTree(tip, join.from), join);
  }

  async squash(join: TestJoin): Promise<CommitId> {
    const tip = await this.#demandTip(join.branch ?? 'main');
    return this.#write(join.branch ?? 'main', [tip], await this.#mergedTree(tip, join.from), join);
  }

  async tip(branch = 'main'): Promise<CommitId | null> {
    const id = await this.git(['for-each-ref', '--format=%(objectname)', `refs/heads/${branch}`]);
    return id === '' ? null : (id as CommitId);
  }

  async setBranch(branch: string, commit: CommitId): Promise<void> {
    await this.git(['update-ref', `refs/heads/${branch}`, commit]);
  }

  async rejectPushes(text: string | null): Promise<void> {
    const hook = join(this.folder, 'hooks', 'pre-receive');
    if (text === null) return rm(hook, { force: true });
    await mkdir(join(this.folder, 'hooks'), { recursive: true });
    await writeFile(`${hook}.txt`, `${text}\n`);
    await writeFile(hook, '#!/bin/sh\ncat "$(dirname "$0")/pre-receive.txt" >&2\nexit 1\n');
    await chmod(hook, 0o755);
  }

  async git(args: readonly string[], input?: string | Uint8Array): Promise<string> {
    const output = await runProgram('git', ['--git-dir', this.folder, ...args], input === undefined ? {} : { input });
    return output.toString().trim();
  }

  async remove(): Promise<void> {
    await rm(this.#removable, { recursive: true, force: true });
  }

  async #demandTip(branch: string): Promise<CommitId> {
    const tip = await this.tip(branch);
    if (tip === null) throw new Error(`the branch ${branch} has no commit yet`);
    return tip;
  }

  async #mergedTree(ours: CommitId, theirs: CommitId): Promise<string> {
    return (await this.git(['merge-tree', '--write-tree', ours, theirs])).split('\n')[0] ?? '';
  }

  /** One `git fast-import` makes blobs, trees and the commit; a signed commit is the same bytes once more with the signature in. */
  async #write(branch: string, parents: readonly CommitId[], tree: string | null, commit: TestCommit): Promise<CommitId> {
    this.#atSeconds = commit.at === undefined ? this.#atSeconds + 60 : Math.floor(commit.at.getTime() / 1000);
    const author = commit.author ?? { name: 'Test', email: 'test@example.test' };
    const person = `${author.name} <${author.email}> ${this.#atSeconds} +0000`;
    const message = Buffer.from(`${commit.message ?? 'Change'}\n`);
    const ref = commit.sshKey === undefined ? `refs/heads/${branch}` : 'refs/scratch/unsigned';
    const stream = [
      `commit ${ref}\nmark :1\nauthor ${person}\ncommitter ${person}\ndata ${message.length}\n`,
      message,
      parents.map((parent, i) => `${i === 0 ? 'from' : 'merge'} ${parent}\n`).join(''),
      tree === null ? '' : `M 040000 ${tree} ""\n`,
      ...(commit.deletes ?? []).map((path) => `D ${JSON.stringify(path)}\n`),
      ...Object.entries(commit.files ?? {}).flatMap(([path, file]) => importFile(path, file)),
      'get-mark :1\nls :1 ""\ndone\n',
    ];
    // An orphan on an existing branch, or a branch that goes elsewhere, is what the caller asked for: --force.
    const output = await this.git(['fast-import', '--quiet', '--force', '--done'], Buffer.concat(stream.map((part) => Buffer.from(part))));
    const [id = '', listing = ''] = output.split('\n');
    return commit.sshKey === undefined ? (id as CommitId) : this.#sign(branch, parents, listing.split(/[ \t]/)[2] ?? '', person, message, commit.sshKey);
  }

  async #sign(branch: string, parents: readonly CommitId[], tree: string, person: string, message: Buffer, key: Signer): Promise<CommitId> {
    const head = [`tree ${tree}`, ...parents.map((parent) => `parent ${parent}`), `author ${person}`, `committer ${person}`].join('\n');
    const { signature: armoured } = await signWith(key, Buffer.from(`${head}\n\n${message.toString()}`), 'git');
    const signature = armoured.trimEnd();
    const header = tree.length === 64 ? 'gpgsig-sha256' : 'gpgsig';
    const object = `${head}\n${header} ${signature.replaceAll('\n', '\n ')}\n\n${message.toString()}`;
    const id = (await this.git(['hash-object', '-t', 'commit', '-w', '--stdin'], object)) as CommitId;
    await this.git(['update-ref', '--stdin'], `update refs/heads/${branch} ${id}\ndelete refs/scratch/unsigned\n`);
    return id;
  }
}

function importFile(path: string, file: TestFile): (string | Uint8Array)[] {
  const { content, mode } = typeof file === 'string' || file instanceof Uint8Array ? { content: file, mode: '100644' } : file;
  const bytes = Buffer.from(content);
  return [`M ${mode} inline ${JSON.stringify(path)}\ndata ${bytes.length}\n`, bytes, '\n'];
}
