import { spawn } from 'node:child_process';

export type GpgErrorCode = 'GpgMissing' | 'SigningFailed' | 'KeyUnreadable';

/** gpg could not do what was asked. The message tells the user what to do and holds no key. */
export class GpgError extends Error {
  override readonly name = 'GpgError';
  readonly code: GpgErrorCode;
  readonly disposition = 'stall';

  constructor(code: GpgErrorCode, message: string, cause?: unknown) {
    super(message, cause === undefined ? undefined : { cause });
    this.code = code;
  }
}

/** The person's own gpg, or what `gpg.program` names, with their key ring, agent and smart card. */
export type Gpg = { readonly program: string; readonly environment: Readonly<Record<string, string | undefined>> };
/** `fingerprint` is of the key or subkey that signs, lower-case; `certificate` is what others verify with, armoured. */
export type GpgKey = { readonly fingerprint: string; readonly certificate: string };

type Run = { readonly exitCode: number; readonly stdout: string; readonly stderr: string };

/**
 * Which key gpg would sign with for `name`, as `user.signingKey` has it: the newest subkey that may sign, else the primary key; exactly
 * the named one where `name` ends with `!`.
 * @throws GpgError `GpgMissing`, `KeyUnreadable`
 */
export async function findGpgKey(gpg: Gpg, name: string): Promise<GpgKey> {
  const listed = await run(gpg, ['--batch', '--with-colons', '--fingerprint', '--fingerprint', '--list-secret-keys', '--', name], new Uint8Array());
  const fingerprint = listed.exitCode === 0 ? signingFingerprint(listed.stdout, name) : null;
  if (fingerprint === null) throw new GpgError('KeyUnreadable', `gpg has no secret key ${name} that may sign now: ${said(listed.stderr)}. See: gpg --list-secret-keys`);
  const exported = await run(gpg, ['--batch', '--armor', '--no-emit-version', '--no-comments', '--export-options', 'export-minimal', '--export', fingerprint], new Uint8Array());
  if (!exported.stdout.startsWith('-----BEGIN PGP PUBLIC KEY BLOCK-----')) throw new GpgError('KeyUnreadable', `gpg did not export the public key ${fingerprint}: ${said(exported.stderr)}.`);
  return { fingerprint: fingerprint.toLowerCase(), certificate: exported.stdout };
}

type Listed = { readonly isPrimary: boolean; readonly keyId: string; readonly createdAt: number; readonly maySign: boolean; fingerprint: string };

/** From `--with-colons`: fields 2 validity, 5 key id, 6 creation, 12 what the key may do; `fpr` lines follow their key. */
function signingFingerprint(listing: string, name: string): string | null {
  const keys: Listed[] = [];
  for (const line of listing.split('\n')) {
    const fields = line.split(':');
    const [type = '', validity = ''] = fields;
    if (type === 'sec' || type === 'ssb') {
      const isUsable = !/^[idre]/.test(validity) && !(fields[11] ?? '').includes('D');
      keys.push({ isPrimary: type === 'sec', keyId: fields[4] ?? '', createdAt: Number(fields[5] ?? 0), maySign: isUsable && (fields[11] ?? '').includes('s'), fingerprint: '' });
    }
    const last = keys.at(-1);
    if (type === 'fpr' && last?.fingerprint === '') last.fingerprint = fields[9] ?? '';
  }
  const able = keys.filter((key) => key.maySign && /^[0-9A-F]{40,64}$/.test(key.fingerprint));
  if (name.endsWith('!')) return able.find((key) => key.fingerprint.endsWith(name.slice(0, -1).replace(/^0x/, '').toUpperCase()))?.fingerprint ?? null;
  const [newest] = able.sort((a, b) => Number(a.isPrimary) - Number(b.isPrimary) || b.createdAt - a.createdAt);
  return newest?.fingerprint ?? null;
}

/**
 * Armoured detached binary signature over `payload` by exactly this key, as `git commit -S` asks gpg for one (T5).
 * @param p.say what gpg tells the person meanwhile
 * @throws GpgError `GpgMissing`, `SigningFailed`
 */
export async function signWithGpg(gpg: Gpg, p: { readonly fingerprint: string; readonly payload: Uint8Array; readonly say?: (text: string) => void }): Promise<string> {
  // Options of the person's own configuration that would change the form of what is signed are set back.
  const form = ['--no-textmode', '--no-emit-version', '--no-comments'];
  const { exitCode, stdout, stderr } = await run(gpg, [...form, '--status-fd=2', '-bsau', `${p.fingerprint}!`], p.payload);
  for (const line of stderr.split('\n')) if (line !== '' && !line.startsWith('[GNUPG:]')) p.say?.(line);
  if (exitCode === 0 && stdout.startsWith('-----BEGIN PGP SIGNATURE-----')) return stdout;
  throw new GpgError('SigningFailed', `${gpg.program} did not sign with ${p.fingerprint}: ${said(stderr)}. Check that the secret key is there, and that gpg-agent can ask for its passphrase (export GPG_TTY=$(tty)).`);
}

function run({ program, environment }: Gpg, args: readonly string[], input: Uint8Array): Promise<Run> {
  return new Promise((resolve, reject) => {
    const child = spawn(program, args, { env: { ...environment, LC_ALL: 'C' }, stdio: ['pipe', 'pipe', 'pipe'] });
    const stdout: Buffer[] = [];
    const stderr: Buffer[] = [];
    child.stdout.on('data', (chunk: Buffer) => stdout.push(chunk));
    child.stderr.on('data', (chunk: Buffer) => stderr.push(chunk));
    child.stdin.on('error', () => undefined); // it may end before it has read everything
    child.on('error', (cause) => reject(new GpgError('GpgMissing', `${program} could not be started. Install GnuPG, or set gpg.program.`, cause)));
    child.on('close', (exitCode) => resolve({ exitCode: exitCode ?? 255, stdout: Buffer.concat(stdout).toString(), stderr: Buffer.concat(stderr).toString() }));
    child.stdin.end(input);
  });
}

function said(stderr: string): string {
  const lines = stderr.split('\n').filter((line) => line !== '' && !line.startsWith('[GNUPG:]'));
  return lines.slice(0, 3).join('; ').slice(0, 500) || 'it gave no reason';
}
