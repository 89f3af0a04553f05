import { ForgeError } from '../../ports/forge.ts';
import { segment } from './http-client.ts';

/** `owner` and `name`, each fit for a path. */
export type RepositoryName = { readonly owner: string; readonly name: string; readonly path: string };

/**
 * Reads `owner/name`.
 * @throws ForgeError `Refused`
 */
export function parseRepositoryName(text: string): RepositoryName {
  const [, owner, name] = /^([A-Za-z0-9_.-]{1,100})\/([A-Za-z0-9_.-]{1,100})$/.exec(text) ?? [];
  if (owner === undefined || name === undefined || /^\.{1,2}$/.test(owner) || /^\.{1,2}$/.test(name)) {
    throw new ForgeError('Refused', 'forge.repository is not owner/name');
  }
  return { owner, name, path: `/repos/${segment(owner)}/${segment(name)}` };
}

const BRANCH = 'refs/heads/';

/**
 * The name of a branch without `refs/heads/`.
 * @throws ForgeError `Refused` for another kind of ref
 */
export function branchOf(ref: string): string {
  if (!ref.startsWith(BRANCH) || ref.length === BRANCH.length) throw new ForgeError('Refused', 'a forge knows branches only: name the ref as refs/heads/…');
  return ref.slice(BRANCH.length);
}

/** At most `chars` characters, with an ellipsis where something was cut; never half of a character. */
export function cutTo(chars: number, text: string): string {
  if (text.length <= chars) return text;
  return `${text.slice(0, chars - 1).replace(/[\ud800-\udbff]$/, '')}…`;
}
