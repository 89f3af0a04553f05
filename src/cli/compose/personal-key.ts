import { isAbsolute, resolve } from 'node:path';
import { publicKeyLine, signWithSshKeygen, type SigningKey } from '../../adapters/ssh/ssh-keygen.ts';
import { parseSshPublicKey } from '../../core/commit/ssh-key.ts';
import type { PersonalKey, UserGit } from '../clone.ts';
import { CliError, textOption, type CommandContext } from '../command.ts';

/**
 * The key of the person at the keyboard: `--key`, else what git signs with.
 * @throws CliError `KeyMissing`, `KeyUnusable`; SshError
 */
export async function personalKey(context: CommandContext, repository: { readonly git: UserGit }): Promise<PersonalKey> {
  const { key, gitValue } = await findKey(context, repository.git);
  const publicKey = await publicKeyLine(key, context.environment);
  const parsed = parseSshPublicKey(publicKey);
  if (!parsed.ok) throw new CliError('KeyUnusable', `The key ${gitValue} may not sign: ${parsed.message}.`, 'Use an ed25519, ecdsa or security key, or RSA of at least 3072 bits.');
  return {
    publicKey, fingerprint: parsed.key.fingerprint, gitValue,
    sign: (payload, namespace) => signWithSshKeygen({ key, namespace, payload, environment: context.environment, say: context.terminal.note }),
  };
}

async function findKey(context: CommandContext, git: UserGit): Promise<{ readonly key: SigningKey; readonly gitValue: string }> {
  const given = textOption(context.values, 'key');
  if (given !== undefined) {
    const file = pathOf(given, context.cwd, context.environment);
    return { key: { file }, gitValue: file };
  }
  const configured = await git.tryRun(['config', '--get', 'user.signingKey']);
  const format = await git.tryRun(['config', '--get', 'gpg.format']);
  if (configured === null || configured === '' || format !== 'ssh') {
    throw new CliError('KeyMissing', 'git has no SSH key to sign with.', 'Give --key ~/.ssh/id_ed25519, or: git config gpg.format ssh && git config user.signingKey ~/.ssh/id_ed25519.pub');
  }
  const literal = configured.startsWith('key::') ? configured.slice('key::'.length) : configured.startsWith('ssh-') ? configured : null;
  if (literal !== null) return { key: { line: literal }, gitValue: configured };
  const file = pathOf(configured, context.cwd, context.environment);
  return { key: { file }, gitValue: file };
}

function pathOf(text: string, cwd: string, environment: CommandContext['environment']): string {
  const home = environment['HOME'];
  if (text.startsWith('~/') && home !== undefined) return resolve(home, text.slice(2));
  return isAbsolute(text) ? text : resolve(cwd, text);
}
