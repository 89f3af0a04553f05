import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { runProgram, type OpenPgpSigner } from './git-repository.ts';

/** A real key that gpg holds. `publicKey` is its certificate as gpg exports it. */
export type GpgKey = OpenPgpSigner & { readonly fingerprint: string };

/** As gpg's --faked-system-time takes it: keys are older than anything that tests sign, and signatures too. */
const CREATED = '20260101T000000';
const SIGNED = '20260101T010000';

/** A GnuPG home of its own, far from the user's, with its agent. */
export class GpgHome {
  readonly folder: string;

  private constructor(folder: string) {
    this.folder = folder;
  }

  /** Its path is short: the agent's socket lies in it, and sockets have paths of at most 108 bytes. */
  static async create(): Promise<GpgHome> {
    return new GpgHome(await mkdtemp(join(tmpdir(), 'g-')));
  }

  /** Runs gpg without questions; keys have no passphrase. @param at its clock, `YYYYMMDDThhmmss` */
  gpg(args: readonly string[], input: string | Uint8Array = '', at = SIGNED): Promise<Buffer> {
    const standing = [...(args.includes('--command-fd') ? ['--no-tty'] : ['--batch']), '--yes', '--quiet', '--no-permission-warning', '--pinentry-mode', 'loopback', '--passphrase', '', '--faked-system-time', `${at}!`];
    return runProgram('gpg', [...standing, ...args], { input, env: { GNUPGHOME: this.folder } });
  }

  /**
   * A new key that certifies and signs.
   * @param p.algorithm as gpg names it: ed25519, nistp256, rsa3072, dsa2048 …; `usage` of the primary key; `subkeys` that sign
   */
  async createKey(name: string, p: { readonly algorithm?: string; readonly usage?: string; readonly expires?: string; readonly subkeys?: readonly string[]; readonly options?: readonly string[]; readonly at?: string } = {}): Promise<GpgKey> {
    const { algorithm = 'ed25519', usage = 'sign,cert', expires = 'never', subkeys = [], options = [], at = CREATED } = p;
    const user = `${name} <${name}@example.test>`;
    await this.gpg([...options, '--quick-gen-key', user, algorithm, usage, expires], '', at);
    const fingerprint = await this.fingerprintOf(`${name}@example.test`);
    for (const subkey of subkeys) await this.gpg([...options, '--quick-add-key', fingerprint, subkey.startsWith('nistp') ? `${subkey}/ecdsa` : subkey, 'sign', expires], '', at);
    return this.key(name, fingerprint);
  }

  /** The key as it is now: what gpg did to it since is in its certificate. */
  async key(name: string, fingerprint: string): Promise<GpgKey> {
    const publicKey = (await this.gpg(['--armor', '--export', fingerprint])).toString();
    return { name, fingerprint, publicKey, sign: (payload) => this.sign({ fingerprint }, payload) };
  }

  async fingerprintOf(user: string): Promise<string> {
    const listed = (await this.gpg(['--with-colons', '--list-keys', user])).toString();
    return /^fpr:+([0-9A-F]{40}):/m.exec(listed)?.[1] ?? '';
  }

  /** Fingerprints of the key and its subkeys, as ours are written. */
  async fingerprints(key: GpgKey): Promise<readonly string[]> {
    const listed = (await this.gpg(['--with-colons', '--list-keys', key.fingerprint])).toString();
    return [...listed.matchAll(/^fpr:+([0-9A-F]{40}):/gm)].map(([, fingerprint = '']) => fingerprint.toLowerCase());
  }

  /** A detached, armoured signature. @param options such as `--digest-algo SHA1` */
  async sign(key: Pick<GpgKey, 'fingerprint'>, payload: string | Uint8Array, options: readonly string[] = [], at?: string): Promise<string> {
    return (await this.gpg([...options, '--armor', '--local-user', `${key.fingerprint}!`, '--detach-sign'], payload, at)).toString();
  }

  /** Whether `gpg --verify` accepts a detached signature, whosever it is. @param at its clock */
  async accepts(armoured: string, payload: string | Uint8Array, at = SIGNED): Promise<boolean> {
    const file = join(this.folder, 'checked.asc');
    await writeFile(file, armoured);
    return this.gpg(['--trust-model', 'always', '--verify', file, '-'], payload, at).then(() => true, () => false);
  }

  /**
   * Revokes the key, or its n-th subkey.
   * @param reason gpg's numbers: 0 none, 1 compromised, 2 superseded, 3 no longer used
   * @returns the key with its revocation
   */
  async revoke(key: GpgKey, reason: 0 | 1 | 2 | 3, at: string, subkey?: number): Promise<GpgKey> {
    if (subkey === undefined) {
      const certificate = await this.gpg(['--command-fd', '0', '--armor', '--gen-revoke', key.fingerprint], `y\n${reason}\n\ny\n`, at);
      await this.gpg(['--import'], certificate);
    } else await this.gpg(['--command-fd', '0', '--edit-key', key.fingerprint, `key ${subkey}`, 'revkey', 'save'], `y\n${reason}\n\ny\n`, at);
    return this.key(key.name, key.fingerprint);
  }

  /** A program for `gpg.program`, with which git signs and verifies by the clock of these keys. */
  async programForGit(): Promise<string> {
    const file = join(this.folder, 'gpg-for-git');
    await writeFile(file, `#!/bin/sh\nexec env GNUPGHOME='${this.folder}' gpg --no-permission-warning --pinentry-mode loopback --passphrase '' --trust-model always --faked-system-time ${SIGNED}! "$@"\n`, { mode: 0o755 });
    return file;
  }

  /** Ends the agent and removes the keys. */
  async remove(): Promise<void> {
    await runProgram('gpgconf', ['--kill', 'all'], { env: { GNUPGHOME: this.folder } });
    await rm(this.folder, { recursive: true, force: true, maxRetries: 3 });
  }
}
