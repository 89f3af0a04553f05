import { spawn } from 'node:child_process';
import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';

export type SshErrorCode = 'SshKeygenMissing' | 'SigningFailed' | 'KeyUnreadable' | 'KeyNotMade';

/** `ssh-keygen` could not do what was asked. The message tells the user what to do and holds no key. */
export class SshError extends Error {
  override readonly name = 'SshError';
  readonly code: SshErrorCode;
  readonly disposition = 'stall';

  constructor(code: SshErrorCode, message: string, cause?: unknown) {
    super(message, cause === undefined ? undefined : { cause });
    this.code = code;
  }
}

export type SshEnvironment = Readonly<Record<string, string | undefined>>;

/** Which key signs: a file (private, or public with the private half in the agent), or a public key line whose private half is in the agent. */
export type SigningKey = { readonly file: string } | { readonly line: string };

type Run = { readonly exitCode: number; readonly stdout: string; readonly stderr: string };

/**
 * Armoured SSHSIG over `payload` by `ssh-keygen -Y sign`, so that agents, passphrases and security keys work as they do for git.
 * @param p.say what `ssh-keygen` tells the person meanwhile, such as to touch a security key
 * @throws SshError `SshKeygenMissing`, `SigningFailed`
 */
export async function signWithSshKeygen(p: {
  /** Default `ssh-keygen`; git calls it `gpg.ssh.program`. */
  readonly program?: string;
  readonly key: SigningKey;
  readonly namespace: string;
  readonly payload: Uint8Array;
  readonly environment: SshEnvironment;
  readonly say?: (text: string) => void;
}): Promise<string> {
  return withKeyFile(p.key, async (file, isLiteral) => {
    const args = ['-q', '-Y', 'sign', '-n', p.namespace, '-f', file, ...(isLiteral ? ['-U'] : [])];
    const { exitCode, stdout, stderr } = await run(args, p.environment, p.payload, p);
    if (exitCode === 0 && stdout.startsWith('-----BEGIN SSH SIGNATURE-----')) return stdout;
    throw new SshError('SigningFailed', `${p.program ?? 'ssh-keygen'} did not sign with ${isLiteral ? 'the key in the agent' : file}: ${said(stderr)}. Check that the private key is there, or is loaded in ssh-agent.`);
  });
}

/**
 * The public key line of a signing key: of `<file>.pub`, of the file itself if it is a public key, else as `ssh-keygen -y` derives it.
 * @throws SshError `SshKeygenMissing`, `KeyUnreadable`
 */
export async function publicKeyLine(key: SigningKey, environment: SshEnvironment): Promise<string> {
  if ('line' in key) return key.line;
  const candidates = key.file.endsWith('.pub') ? [key.file] : [`${key.file}.pub`];
  for (const file of candidates) {
    const text = await readFile(file, 'utf8').catch(() => null);
    if (text !== null) return text.trim();
  }
  const { exitCode, stdout, stderr } = await run(['-y', '-f', key.file], environment, new Uint8Array());
  if (exitCode === 0) return stdout.trim();
  throw new SshError('KeyUnreadable', `The key ${key.file} cannot be read: ${said(stderr)}. Name the file of an SSH key, private or .pub.`);
}

/**
 * A new ed25519 key pair `<file>` and `<file>.pub` without a passphrase, mode 0600.
 * @returns the public key line. @throws SshError `SshKeygenMissing`, `KeyNotMade`
 */
export async function makeSshKey(file: string, comment: string, environment: SshEnvironment): Promise<string> {
  const { exitCode, stderr } = await run(['-q', '-t', 'ed25519', '-N', '', '-C', comment, '-f', file], environment, new Uint8Array());
  if (exitCode !== 0) throw new SshError('KeyNotMade', `ssh-keygen did not make the key ${file}: ${said(stderr)}.`);
  return (await readFile(`${file}.pub`, 'utf8')).trim();
}

/** Whether `ssh-keygen` is there and can sign. */
export async function hasSshKeygen(environment: SshEnvironment): Promise<boolean> {
  // Without arguments `-Y` names its missing operand; a version without signatures says "illegal option".
  const { stderr } = await run(['-Y', 'sign'], environment, new Uint8Array()).catch(() => ({ stderr: 'illegal option' }));
  return !/illegal option|unknown option/i.test(stderr);
}

async function withKeyFile<T>(key: SigningKey, use: (file: string, isLiteral: boolean) => Promise<T>): Promise<T> {
  if ('file' in key) return use(key.file, false);
  const folder = await mkdtemp(join(tmpdir(), 'stella-key-'));
  try {
    const file = join(folder, 'key.pub');
    await writeFile(file, `${key.line}\n`, { mode: 0o600 });
    return await use(file, true);
  } finally {
    await rm(folder, { recursive: true, force: true });
  }
}

function run(args: readonly string[], environment: SshEnvironment, input: Uint8Array, options: { readonly program?: string; readonly say?: (text: string) => void } = {}): Promise<Run> {
  const { program = 'ssh-keygen', say } = options;
  return new Promise((resolve, reject) => {
    const child = spawn(program, args, { env: { ...environment, LC_ALL: 'C' }, stdio: ['pipe', 'pipe', 'pipe'] });
    const stdout: Buffer[] = [];
    const stderr: Buffer[] = [];
    child.stdout.on('data', (chunk: Buffer) => stdout.push(chunk));
    child.stderr.on('data', (chunk: Buffer) => {
      stderr.push(chunk);
      say?.(chunk.toString());
    });
    child.stdin.on('error', () => undefined); // it may end before it has read everything
    child.on('error', (cause) => reject(new SshError('SshKeygenMissing', `${program} could not be started. Install OpenSSH 8.9 or newer${program === 'ssh-keygen' ? '' : ', or correct gpg.ssh.program'}.`, cause)));
    child.on('close', (exitCode) => resolve({ exitCode: exitCode ?? 255, stdout: Buffer.concat(stdout).toString(), stderr: Buffer.concat(stderr).toString() }));
    child.stdin.end(input);
  });
}

function said(stderr: string): string {
  return stderr.trim().split('\n').slice(0, 3).join('; ').slice(0, 500) || 'it gave no reason';
}
