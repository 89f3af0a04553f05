import { findRewound } from '../reconciler/rewrites.ts';
import type { Evidence, Repository } from './clone.ts';

/**
 * What to tell where the target branch, as it was fetched last, left the history that the log follows (T25).
 * @returns null when it did not, or when this clone cannot tell
 */
export async function rewoundNote(repository: Repository, { state }: Evidence): Promise<string | null> {
  const { tip } = state;
  if (tip === null) return null;
  const fetched = await repository.reader.resolveRef(`refs/remotes/origin/${tip.ref.slice('refs/heads/'.length)}`);
  const rewound = fetched === null ? null : await findRewound(repository.reader, state, tip.ref, fetched);
  if (rewound === null) return null;
  const { from, to } = rewound.rewrite;
  return `${tip.ref} went from ${from.slice(0, 12)} to ${to.slice(0, 12)}, which does not descend from it: what that touches stands still until a quorum accepts it: stella approve --rewrite ${from}..${to}`;
}
