import { randomInt } from 'node:crypto';
import { dirname } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { secretResolver } from '../../agent/secret-resolver.ts';
import type { Forge } from '../../ports/forge.ts';
import { SecretUnavailable } from '../../ports/target-driver.ts';
import type { Repository } from '../clone.ts';
import { CliError, type CommandContext } from '../command.ts';
import { askForge, readForgeSetting } from '../forge-setting.ts';
import { localConfig } from './local-config.ts';

const TOKEN_REMEDY = 'Set STELLA_FORGE_TOKEN to a token that may read and write pull requests, or say where it lies: git config stella.forgeTokenRef file:/absolute/path (or env:NAME).';

/**
 * The forge that this clone names in its own configuration (`stella.forge`, `stella.forgeUrl`); null where it names none. What the repository holds is
 * not asked: nobody sends a person's token elsewhere by a commit (T18).
 * @throws CliError `ForgeMalformed`, `ForgeTokenMissing`, `Forge…`
 */
export async function openForgeOf(context: CommandContext, repository: Pick<Repository, 'folder'>): Promise<Forge | null> {
  const config = (name: string): Promise<string | null> => localConfig(context, repository.folder, name);
  const text = await config('stella.forge');
  if (text === null) return null;
  const setting = readForgeSetting(text, await config('stella.forgeUrl'));
  const token = await tokenFor(context, await config('stella.forgeTokenRef'));
  const { openForge } = await import('../../adapters/forge/open-forge.ts');
  const world = { now: context.now, random: () => randomInt(2 ** 32) / 2 ** 32, sleep: (ms: number) => sleep(ms), allowedHosts: null };
  const settings = { url: setting.url, repository: setting.repository, token: () => Promise.resolve(token), account: await config('stella.forgeAccount') };
  return askForge(openForge(setting.type, settings, world));
}

/** @throws CliError `ForgeTokenMissing` */
async function tokenFor({ environment }: CommandContext, reference: string | null): Promise<string> {
  const given = environment['STELLA_FORGE_TOKEN'] ?? '';
  if (given === '' && reference === null) throw new CliError('ForgeTokenMissing', 'git config stella.forge names a forge, and there is no token for it.', TOKEN_REMEDY);
  const token = given === '' && reference !== null ? await resolved(reference, environment) : given.trim();
  // What could break out of a header is no token.
  if (!/^[\x21-\x7e]{1,4096}$/.test(token)) throw new CliError('ForgeTokenMissing', 'The token for the forge is empty, or holds what no token holds.', TOKEN_REMEDY);
  return token;
}

async function resolved(reference: string, environment: CommandContext['environment']): Promise<string> {
  const folder = reference.startsWith('file:/') ? [dirname(reference.slice('file:'.length))] : [];
  try {
    return (await secretResolver({ environment, secretFolders: folder })(reference)).trim();
  } catch (cause) {
    if (!(cause instanceof SecretUnavailable)) throw cause;
    throw new CliError('ForgeTokenMissing', `git config stella.forgeTokenRef is ${JSON.stringify(reference.slice(0, 200))}, and no token can be read there.`, TOKEN_REMEDY, { cause });
  }
}
