import { allInForce, rootOf, type LogState } from '../core/evidence/log-state.ts';
import type { PrincipalKey } from '../core/model/documents.ts';
import { formatInstant, parseInstant, type InstantMs } from '../core/model/instant.ts';
import { isCertificate } from '../core/commit/openpgp-certificate.ts';
import { keyName } from '../core/trust/key-ring.ts';

export type AllowedSigners = { readonly lines: readonly string[]; /** Keys that the file cannot hold, and why. */ readonly leftOut: readonly string[] };

/** Namespaces that our rules give a meaning to; `git` is that of commits. */
const NAMESPACES = 'git,stella-approval,stella-intent';

/**
 * The keys in force as an allowed_signers file of OpenSSH, for `git verify-commit` and `ssh-keygen -Y verify`. Plain git judges by the time that the signature
 * or the commit claims, we by when the log first saw it (T9): the file says what plain tools can say, and no more.
 */
export function allowedSigners(state: LogState): AllowedSigners {
  const lines: string[] = [];
  const leftOut: string[] = [];
  for (const { metadata: { name }, spec } of allInForce(state, 'Principal')) {
    for (const key of spec.keys) {
      const shown = `${name} ${keyName(key.key) ?? 'unreadable'}`;
      if (spec.suspended !== undefined) leftOut.push(`${shown}: the principal is suspended`);
      else if (key.status === 'compromised') leftOut.push(`${shown}: compromised, so nothing that it signed counts`);
      else if (isCertificate(key.key)) leftOut.push(`${shown}: OpenPGP, which this file cannot hold; import it into gpg`);
      else lines.push(lineOf(name, NAMESPACES, key));
    }
  }
  for (const { role, name, publicKey } of rootOf(state).spec.services) {
    // A name that no principal can have: it holds a slash.
    if (role === 'evidence-commits') lines.push(lineOf(`${role}/${name}`, 'git', { key: publicKey, status: 'active' }));
  }
  return { lines, leftOut };
}

function lineOf(name: string, namespaces: string, key: PrincipalKey): string {
  const [algorithm = '', blob = ''] = key.key.split(' ');
  const ends = [key.notAfter, key.status === 'active' ? undefined : key.since].flatMap((text) => (text === undefined ? [] : [parseInstant(text) ?? 0]));
  const begin = key.notBefore === undefined ? [] : [`valid-after="${timeOf(parseInstant(key.notBefore) ?? 0)}"`];
  const end = ends.length === 0 ? [] : [`valid-before="${timeOf(Math.min(...ends))}"`];
  return [name, [`namespaces="${namespaces}"`, ...begin, ...end].join(','), algorithm, blob].join(' ');
}

/** As ssh-keygen reads it; Z: UTC, whatever the time zone of the reader. */
function timeOf(instant: InstantMs): string {
  return `${formatInstant(instant).slice(0, 19).replaceAll(/[-:T]/g, '')}Z`;
}
