import { FORGE_TYPES, ForgeError, type ForgeErrorCode, type ForgeType } from '../ports/forge.ts';
import { CliError } from './command.ts';

/** What a clone says of its forge (D6): `git config stella.forge`, `stella.forgeUrl`. */
export type ForgeSetting = { readonly type: ForgeType; /** `owner/name`; with subgroups where the forge has them. */ readonly repository: string; /** Base of the API; null: the default of the type. */ readonly url: string | null };

const SETTING = /^([a-z]+):([A-Za-z0-9][A-Za-z0-9._-]*(?:\/[A-Za-z0-9_][A-Za-z0-9._-]*){1,10})$/;

/**
 * Reads `<type>:<owner>/<name>`.
 * @throws CliError `ForgeMalformed`
 */
export function readForgeSetting(text: string, url: string | null): ForgeSetting {
  const [, type, repository = ''] = SETTING.exec(text) ?? [];
  const known = FORGE_TYPES.find((one) => one === type);
  if (known === undefined || repository.endsWith('.git')) {
    throw new CliError('ForgeMalformed', `git config stella.forge is ${JSON.stringify(text.slice(0, 100))}, which names no forge.`, `Write it as <type>:<owner>/<name>, with one of ${FORGE_TYPES.join(', ')}: git config stella.forge github:acme/deploy`);
  }
  const base = url === null ? null : URL.parse(url);
  // T18: a token goes to no address that is not meant as one, and to none that holds another credential.
  if (url !== null && (base === null || !/^https?:$/.test(base.protocol) || base.username !== '' || base.password !== '')) {
    throw new CliError('ForgeMalformed', 'git config stella.forgeUrl is no address of an API.', 'Write it as https://host/path, without a user in it; or leave it out for the default of the forge.');
  }
  return { type: known, repository, url };
}

const REMEDIES: Readonly<Record<ForgeErrorCode, string>> = {
  RateLimited: 'Wait until then and run it again; it goes on where it was.',
  Unauthorized: 'Give STELLA_FORGE_TOKEN a token that has not expired and may read and write pull requests of this repository.',
  NotFound: 'Check the number, `git config stella.forge`, and that the token may see the repository.',
  Refused: 'See what the forge says, then run it again; it goes on where it was.',
  OfflineRefused: 'Check `git config stella.forgeUrl`.',
  Unavailable: 'Run it again later; it goes on where it was. Without the forge: a branch name in the place of a number.',
  AnswerInvalid: 'Check `git config stella.forgeUrl`: something else than the API of the forge answered.',
};

/**
 * One question to a forge; what it refuses becomes something that the user can mend.
 * @param done what is there already, as a sentence; empty where nothing is
 * @throws CliError `Forge<code>`
 */
export async function askForge<T>(work: Promise<T>, done = ''): Promise<T> {
  try {
    return await work;
  } catch (cause) {
    if (!(cause instanceof ForgeError)) throw cause;
    const when = cause.retryAt === null ? '' : ` Ask again after ${new Date(cause.retryAt).toISOString()}.`;
    throw new CliError(`Forge${cause.code}`, `${done === '' ? '' : `${done} `}The forge did not answer as asked: ${cause.message.replace(/\.?$/, '.')}${when}`, REMEDIES[cause.code], { cause });
  }
}
