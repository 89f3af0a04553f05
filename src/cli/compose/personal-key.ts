import { isAbsolute, resolve } from 'node:path';
import { findGpgKey, signWithGpg, type Gpg } from '../../adapters/openpgp/gpg-signer.ts';
import { publicKeyLine, signWithSshKeygen, type SigningKey } from '../../adapters/ssh/ssh-keygen.ts';
import { openPgpFingerprint } from '../../core/commit/openpgp-signature.ts';
import { parseSshPublicKey } from '../../core/commit/ssh-key.ts';
import type { PersonalKey, UserGit } from '../clone.ts';
import { CliError, textOption, type CommandContext } from '../command.ts';

/**
 * The key of the person at the keyboard: `--key`, else what git signs with, by the program that git signs with.
 * @throws CliError `KeyMissing`, `KeyUnusable`; SshError; GpgError
 */
export async function personalKey(context: CommandContext, repository: { readonly git: UserGit }): Promise<PersonalKey> {
  const given = textOption(context.values, 'key');
  if (given !== undefined) return sshKey(context, repository.git, fileKey(pathOf(given, context)));
  const config = async (name: string): Promise<string | null> => (await repository.git.tryRun(['config', '--get', name])) || null;
  const configured = await config('user.signingKey');
  const format = await config('gpg.format');
  if (configured === null && format === null) throw keyMissing();
  if (format === 'x509') throw new CliError('KeyUnusable', 'git signs with X.509 here, which is not supported yet.', 'Sign with SSH or OpenPGP: git config gpg.format ssh');
  if (format !== 'ssh') return gpgKey(context, repository.git, configured);
  if (configured === null) throw keyMissing();
  const literal = configured.startsWith('key::') ? configured.slice('key::'.length) : configured.startsWith('ssh-') ? configured : null;
  return sshKey(context, repository.git, literal === null ? fileKey(pathOf(configured, context)) : { key: { line: literal }, gitValue: configured });
}

function keyMissing(): CliError {
  return new CliError('KeyMissing', 'git has no key to sign with.', 'Give --key ~/.ssh/id_ed25519, or: git config gpg.format ssh && git config user.signingKey ~/.ssh/id_ed25519.pub');
}

type Found = { readonly key: SigningKey; readonly gitValue: string };

function fileKey(file: string): Found {
  return { key: { file }, gitValue: file };
}

async function sshKey(context: CommandContext, git: UserGit, { key, gitValue }: Found): Promise<PersonalKey> {
  const { environment } = context;
  const program = (await git.tryRun(['config', '--get', 'gpg.ssh.program'])) || 'ssh-keygen';
  const publicKey = await publicKeyLine(key, environment);
  const parsed = parseSshPublicKey(publicKey);
  if (!parsed.ok) throw new CliError('KeyUnusable', `The key ${gitValue} may not sign: ${parsed.message}.`, 'Use an ed25519, ecdsa or security key, or RSA of at least 3072 bits.');
  return {
    publicKey, fingerprint: parsed.key.fingerprint, format: 'sshsig', gitConfig: [['gpg.format', 'ssh'], ['user.signingKey', gitValue]],
    sign: (payload, namespace) => signWithSshKeygen({ program, key, namespace, payload, environment, say: context.terminal.note }),
  };
}

/** As git does: gpg finds the key by what `user.signingKey` says, else by the committer. */
async function gpgKey(context: CommandContext, git: UserGit, configured: string | null): Promise<PersonalKey> {
  const program = (await git.tryRun(['config', '--get', 'gpg.openpgp.program'])) || (await git.tryRun(['config', '--get', 'gpg.program'])) || 'gpg';
  const gpg: Gpg = { program, environment: context.environment };
  const name = configured ?? (await git.tryRun(['var', 'GIT_COMMITTER_IDENT']))?.replace(/^(.*>).*$/, '$1') ?? null;
  if (name === null) throw keyMissing();
  const { fingerprint, certificate } = await findGpgKey(gpg, name);
  return {
    publicKey: certificate, fingerprint: openPgpFingerprint({ fingerprint }), format: 'openpgp', gitConfig: [['gpg.format', 'openpgp'], ['user.signingKey', `${fingerprint}!`]],
    // An OpenPGP signature has no namespace; the preimages tell requests and approvals apart.
    sign: (payload) => signWithGpg(gpg, { fingerprint, payload, say: context.terminal.note }),
  };
}

function pathOf(text: string, { cwd, environment }: CommandContext): string {
  const home = environment['HOME'];
  if (text.startsWith('~/') && home !== undefined) return resolve(home, text.slice(2));
  return isAbsolute(text) ? text : resolve(cwd, text);
}
