import { createPublicKey, randomBytes } from 'node:crypto';
import { chmod, mkdir, readdir, rm, writeFile } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { newPrivateKeyPem } from '../../adapters/pki/key-form.ts';
import { makeSshKey } from '../../adapters/ssh/ssh-keygen.ts';
import { createDocumentParser } from '../../adapters/yaml/document-parser.ts';
import type { GenesisRules } from '../../core/trust/genesis.ts';
import type { DocumentParser } from '../../ports/document-parser.ts';
import type { PersonalKey, UserGit } from '../clone.ts';
import type { CommandContext } from '../command.ts';
import { personalKey as openPersonalKey } from './personal-key.ts';
import { openUserGit } from './user-git.ts';

export { makeIdentity } from './agent-folder.ts';

type Environment = CommandContext['environment'];

export function parser(): DocumentParser {
  return createDocumentParser();
}

export function randomHex(bytes: number): string {
  return randomBytes(bytes).toString('hex');
}

export function userGit(folder: string, environment: Environment): UserGit {
  return openUserGit(folder, environment);
}

export function personalKey(context: CommandContext, git: UserGit): Promise<PersonalKey> {
  return openPersonalKey(context, { git });
}

/** Names in a folder; null when there is no such folder. */
export async function namesIn(folder: string): Promise<readonly string[] | null> {
  return readdir(folder).catch((error: NodeJS.ErrnoException) => {
    if (error.code === 'ENOENT') return null;
    throw error;
  });
}

/** Writes files that are not there yet. @throws when one is (`EEXIST`): nothing is ever overwritten */
export async function writeNew(folder: string, files: ReadonlyMap<string, string>): Promise<void> {
  for (const [path, text] of files) {
    const file = join(folder, path);
    await mkdir(dirname(file), { recursive: true });
    await writeFile(file, text, { flag: 'wx' });
  }
}

export async function removeFolder(folder: string): Promise<void> {
  await rm(folder, { recursive: true, force: true });
}

/**
 * The server's three separate keys (T29) in `folder`, which is made with mode 0700; each file 0600.
 * @returns what the root lists
 */
export async function makeServerKeys(folder: string, environment: Environment): Promise<GenesisRules['services']> {
  await mkdir(folder, { recursive: true, mode: 0o700 });
  await chmod(folder, 0o700);
  const decisions = await makePem(join(folder, 'decisions.pem'));
  const agentCa = await makePem(join(folder, 'agent-ca.pem'));
  const commits = await makeSshKey(join(folder, 'evidence-commits'), 'stella evidence commits', environment);
  return [
    { role: 'decisions', name: 'reconciler', publicKey: decisions }, { role: 'agent-ca', name: 'agents', publicKey: agentCa },
    { role: 'evidence-commits', name: 'reconciler', publicKey: commits },
  ];
}

/** A new P-256 key, mode 0600. @returns its public half, SPKI PEM */
async function makePem(file: string): Promise<string> {
  const pem = newPrivateKeyPem();
  await writeFile(file, pem, { mode: 0o600, flag: 'wx' });
  return createPublicKey(pem).export({ type: 'spki', format: 'pem' }).toString();
}
